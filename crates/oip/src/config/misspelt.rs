//! Variables of the environment that look like ours and are not.

use super::nearest::{nearest, nearest_within};
use super::options::{ConfigOption, OPTIONS};
use super::source::Sources;

/// What names begin with of which one without `OIP_` was most likely meant for us.
const GATES: [&str; 4] = ["auth_", "audit_", "pdp_", "policy_"];

/// Warns of names that look like ours and are not. Only near misses: others may use the prefix
/// too, and names without it belong to others unless they are all but one that we read.
pub(super) fn warn_of_unknown_variables(sources: &Sources, warnings: &mut Vec<String>) {
    let known: Vec<String> = OPTIONS
        .iter()
        .flat_map(ConfigOption::variable_spellings)
        .collect();
    let names = sources.environment.keys();
    for name in names.filter(|name| !known.contains(name)) {
        let meant = match name.starts_with("OIP_") {
            true => nearest(name, known.iter().map(String::as_str)).map(str::to_owned),
            false => without_prefix(name).or_else(|| all_but(name, &known)),
        };
        if let Some(meant) = meant {
            warnings.push(format!(
                "environment variable {name} is not known; is {meant} meant?"
            ));
        }
    }
}

/// The variable of an option of ours that was written without its prefix.
fn without_prefix(name: &str) -> Option<String> {
    let mut options = OPTIONS.iter();
    let meant = options.find(|option| {
        let of_gates = GATES.iter().any(|prefix| option.key.starts_with(prefix));
        of_gates && name.eq_ignore_ascii_case(option.key)
    });
    meant.map(ConfigOption::variable)
}

/// The name without our prefix that this one all but is.
fn all_but(name: &str, known: &[String]) -> Option<String> {
    let most = if name.len() < 12 { 1 } else { 2 };
    let others = known.iter().filter(|known| !known.starts_with("OIP_"));
    nearest_within(most, name, others.map(String::as_str)).map(str::to_owned)
}
