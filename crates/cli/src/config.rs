//! `oip config`: what is configured, and where it comes from.

use std::fmt::Write as _;

use clap::{ArgMatches, Command};
use oip::Server;
use oip::config::{Config, ConfigOption, Entry, Group, Origin};
use oip::gates::Gates;
use oip::tls::Tls;

use crate::args;
use crate::exit::{Exit, fail};

pub(crate) fn command() -> Command {
    let check = Command::new("check")
        .about("Check the configuration as 'oip serve' would, and serve nothing")
        .long_about(
            "Check the configuration as 'oip serve' would, and serve nothing.\n\n\
             What only a start can tell is not checked: whether ports are free, whether audit_file \
             can be written, whether a remote decision point or key set answers, and whether the \
             models load.",
        );
    args::with_options(
        Command::new("config")
            .about("Print the value in force of every option, and where it came from")
            .long_about(
                "Print the value in force of every option, where it came from, and its default.\n\n\
                 Takes the flags of 'oip serve'. What is printed is an oip.properties again; \
                 secrets are shown as ***.",
            )
            .args_conflicts_with_subcommands(true),
    )
    .subcommand(args::with_options(check))
}

pub(crate) fn run(matches: &ArgMatches) -> Exit {
    let (matches, check) = match matches.subcommand() {
        Some((_, matches)) => (matches, true),
        None => (matches, false),
    };
    let config = match Config::resolve(&args::sources(matches)) {
        Ok(config) => config,
        Err(error) => return fail(Exit::Usage, error),
    };
    for warning in config.warnings() {
        eprintln!("warning: {warning}");
    }
    for warning in warnings(&config) {
        eprintln!("warning: {warning}");
    }
    let refusal = refusal(&config);
    match (check, refusal) {
        (true, Some(refusal)) => fail(Exit::Usage, refusal),
        (true, None) => {
            println!("the configuration is fine");
            Exit::Success
        }
        (false, refusal) => {
            print!("{}", print(&config));
            if let Some(refusal) = refusal {
                eprintln!("warning: 'oip serve' does not start like this: {refusal}");
            }
            Exit::Success
        }
    }
}

/// What 'oip serve' would warn of in the keys, policies and certificates that are configured.
fn warnings(config: &Config) -> Vec<String> {
    let Ok(settings) = config.settings() else {
        return Vec::new();
    };
    let mut warnings = Vec::new();
    if let Some(tls) = settings.tls.clone().and_then(|tls| Tls::open(tls).ok()) {
        warnings.extend(tls.warnings());
    }
    if settings.auth_enabled
        && let Ok(gates) = Gates::new(&settings)
    {
        warnings.extend_from_slice(gates.warnings());
    }
    warnings
}

/// Why a server would not start like this, as far as can be told without starting it.
fn refusal(config: &Config) -> Option<String> {
    let settings = match config.settings() {
        Ok(settings) => settings,
        Err(error) => return Some(error.to_string()),
    };
    Server::from_settings(&settings)
        .err()
        .map(|error| error.to_string())
}

/// The configuration in the syntax of a properties file.
fn print(config: &Config) -> String {
    let mut text = String::new();
    for group in Group::ALL {
        let all = config.entries().iter();
        let entries = all.filter(|entry| entry.option.group == group);
        let _ = writeln!(text, "## {}\n", group.title());
        for entry in entries {
            print_entry(&mut text, entry);
        }
    }
    text
}

fn print_entry(text: &mut String, entry: &Entry) {
    let ConfigOption {
        key,
        help,
        default,
        secret,
        hot,
        ..
    } = *entry.option;
    let _ = writeln!(text, "# {help}");
    let default = if default.is_empty() { "none" } else { default };
    let _ = match &entry.origin {
        Origin::Default => writeln!(text, "# from: default"),
        origin => writeln!(text, "# from: {origin}; default: {default}"),
    };
    if hot {
        let _ = writeln!(text, "# can change without a restart (reload=true)");
    }
    // What has no value, or must not be shown, is no setting.
    let comment = if entry.shown().is_empty() || secret {
        "#"
    } else {
        ""
    };
    let value = entry.shown().replace('\\', "\\\\").replace('\n', "\\n");
    let _ = writeln!(text, "{comment}{key}={value}\n");
}
