//! `oip policy`: what a policy would decide, and whether it can be read.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use oip::access::{Action, Decision};
use oip::auth::pdp::embedded::Embedded;
use oip::auth::pdp::{Explanation, Situation, explain};
use oip::config::{Config, PdpKind, Value};
use oip::gates::DecisionPoint;

use crate::args;
use crate::exit::{Exit, fail, misconfigured};
use crate::print;

mod question;

/// The options that say who decides.
const OPTIONS: &[&str] = &["policy_file", "pdp", "pdp_url", "pdp_timeout"];

const EXAMPLES: &str = "\
Examples:
  oip policy explain --as alice --role user infer iris
  oip policy explain server_metadata
  oip policy explain --policy-file teams.cedar --as bob --role team-a load fraud
  oip policy explain --as carol --claim clearance=3 infer iris --version 2
  oip policy explain --as bob --expect deny load iris

With --expect the exit code is 0 where the decision is that one, and 1 where it is not.";

pub(crate) fn command() -> Command {
    let file = Arg::new("file")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .conflicts_with("policy-file")
        .help("File of Cedar policies; the configured policy_file where none is given");
    let check = Command::new("check")
        .about("Read Cedar policies and hold them against the schema")
        .arg(file);
    let check = args::with_some_options(check, OPTIONS);
    Command::new("policy")
        .about("Ask what the policy decides, or check policies")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(explain_command())
        .subcommand(check)
}

fn explain_command() -> Command {
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let named =
        |name, value, help| text(name, value, help).value_parser(NonEmptyStringValueParser::new());
    let action = Arg::new("action")
        .value_name("ACTION")
        .required(true)
        .value_parser(Action::ALL.map(Action::name))
        .help("What would be asked for");
    let model = Arg::new("model")
        .value_name("MODEL")
        .value_parser(NonEmptyStringValueParser::new())
        .help("Of which model; none for what concerns no model");
    let command = Command::new("explain")
        .about("Say what would be decided, which policy decides, and what it is asked")
        .after_help(EXAMPLES)
        .arg(text(
            "as",
            "ID",
            "Who would ask; without it, a caller who shows no credential",
        ))
        .arg(
            text("role", "ROLE", "A role of theirs; may come again")
                .action(ArgAction::Append)
                .requires("as"),
        )
        .arg(
            text(
                "claim",
                "NAME=VALUE",
                "A claim of theirs, as JSON or else text; that of auth_roles_claim gives roles; may come again",
            )
            .action(ArgAction::Append)
            .requires("as"),
        )
        .arg(named("version", "VERSION", "Of which version of the model").requires("model"))
        .arg(text("from", "IP", "From which address").value_parser(value_parser!(IpAddr)))
        .arg(text(
            "path",
            "PATH",
            "By which path; that of the REST call where none is given",
        ))
        .arg(
            text("expect", "DECISION", "End with 1 unless this is decided")
                .value_parser(["permit", "deny"]),
        )
        .arg(action)
        .arg(model);
    args::with_some_options(command, OPTIONS)
}

pub(crate) fn run(matches: &ArgMatches) -> Exit {
    match matches.subcommand() {
        Some(("explain", matches)) => run_explain(matches),
        Some(("check", matches)) => run_check(matches),
        _ => Exit::Usage,
    }
}

fn run_check(matches: &ArgMatches) -> Exit {
    let file = match matches.get_one::<PathBuf>("file") {
        Some(file) => Ok(file.clone()),
        None => configured(matches),
    };
    let file = match file {
        Ok(file) => file,
        Err(error) => return fail(Exit::Usage, error),
    };
    match Embedded::from_file(file) {
        Ok(_) => {
            let printed = print::line("the policies are fine");
            printed.err().unwrap_or(Exit::Success)
        }
        Err(error) => fail(Exit::Usage, error),
    }
}

/// The policies that a server of this configuration would read.
fn configured(matches: &ArgMatches) -> Result<PathBuf, String> {
    let config = Config::resolve(&args::some_sources(matches, OPTIONS));
    let access = config.and_then(|config| config.access());
    let access = access.map_err(|error| error.to_string())?;
    match (access.pdp, access.policy_file) {
        (PdpKind::Embedded, Some(file)) => Ok(file),
        (PdpKind::Embedded, None) => {
            Err("no policies to check: name a file, or set policy_file".to_owned())
        }
        (kind, _) => Err(format!(
            "no policies to check: pdp is {}, which decides by its own; name a file",
            kind.as_str()
        )),
    }
}

fn run_explain(matches: &ArgMatches) -> Exit {
    let config = match Config::resolve(&args::some_sources(matches, OPTIONS)) {
        Ok(config) => config,
        Err(error) => return misconfigured(&error),
    };
    let access = match config.access() {
        Ok(access) => access,
        Err(error) => return misconfigured(&error),
    };
    let situation = match question::situation(matches, &access.auth_roles_claim) {
        Ok(situation) => situation,
        Err(error) => return fail(Exit::Usage, error),
    };
    let pdp = match DecisionPoint::new(&access) {
        Ok(pdp) => pdp.explain(),
        Err(error) => return fail(Exit::Usage, error),
    };
    for note in notes(&config, &situation) {
        print::aside(format_args!("note: {note}"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let explained = match runtime {
        Ok(runtime) => runtime.block_on(explain(&*pdp, &situation)),
        Err(error) => return fail(Exit::Failed, format!("cannot start: {error}")),
    };
    match explained {
        Ok(explanation) => {
            let expected = matches.get_one::<String>("expect");
            say(&explanation, expected.map(String::as_str))
        }
        Err(error) => fail(Exit::Failed, error),
    }
}

/// What of the configuration makes a server do otherwise than is said here.
fn notes(config: &Config, situation: &Situation) -> Vec<String> {
    let of = |key: &str| {
        config
            .entries()
            .iter()
            .find(|entry| entry.option.key == key)
    };
    let said = |key: &str, wanted: &Value, meaning: &str| {
        let entry = of(key).filter(|entry| entry.value == *wanted)?;
        let (shown, origin) = (entry.shown(), &entry.origin);
        Some(format!("{key} is {shown} ({origin}): {meaning}"))
    };
    let word = |word: &str| Value::Text(word.to_owned());
    let probe = situation.model.is_none();
    let probe = probe && matches!(situation.action, Action::Live | Action::Ready);
    let notes = [
        said(
            "auth_enabled",
            &Value::Bool(false),
            "the server asks nobody and permits everything",
        ),
        said(
            "policy_mode",
            &word("shadow"),
            "the server lets everything pass and logs what is denied",
        ),
        said(
            "probe_access",
            &word("open"),
            "the server permits probes without asking",
        )
        .filter(|_| probe),
    ];
    notes.into_iter().flatten().collect()
}

fn say(explanation: &Explanation, expected: Option<&str>) -> Exit {
    let word = match &explanation.decision {
        Decision::Permit { .. } => "permit",
        Decision::Deny { .. } => "deny",
        Decision::Fault { .. } => "no decision, which refuses",
    };
    let printed = print::text(format_args!(
        "{word}: {}\ndecided by: {}\nasked:\n{}\n",
        explanation.decision.reason(),
        explanation.pdp,
        explanation.asked
    ));
    if let Err(exit) = printed {
        return exit;
    }
    match (&explanation.decision, expected) {
        (Decision::Fault { .. }, _) => Exit::Failed,
        (_, Some(expected)) if expected != word => {
            fail(Exit::Failed, format!("{expected} was expected, not {word}"))
        }
        _ => Exit::Success,
    }
}
