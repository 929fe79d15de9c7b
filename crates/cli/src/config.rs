//! `oip config`: what is configured, and where it comes from.

use std::fmt::Write as _;

use clap::{ArgMatches, Command};
use oip::Server;
use oip::config::{Config, ConfigOption, Entry, Group, Origin};
use oip::gates::{DecisionPoint, Gates};
use oip::tls::Tls;

use crate::args;
use crate::exit::{Exit, misconfigured};

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
    let sources = args::sources(matches);
    let config = match Config::resolve(&sources) {
        Ok(config) => config,
        // What else is wrong is told with it.
        Err(error) => return misconfigured(&Config::checked(&sources).err().unwrap_or(error)),
    };
    for warning in config.warnings() {
        eprintln!("warning: {warning}");
    }
    for warning in warnings(&config) {
        eprintln!("warning: {warning}");
    }
    let refusals = refusals(&config);
    if !check {
        print!("{}", print(&config));
        for refusal in refusals {
            eprintln!("warning: 'oip serve' does not start like this: {refusal}");
        }
        return Exit::Success;
    }
    if refusals.is_empty() {
        println!("the configuration is fine");
        return Exit::Success;
    }
    for refusal in refusals {
        eprintln!("error: {refusal}");
    }
    Exit::Usage
}

/// What 'oip serve' would warn of: what is open, and what is odd in the keys, policies and
/// certificates that are configured.
fn warnings(config: &Config) -> Vec<String> {
    let Ok(settings) = config.settings() else {
        return Vec::new();
    };
    // As if no sockets were handed over.
    let mut warnings = settings.concerns(settings.reach());
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

/// All that keeps a server from starting like this, as far as can be told without starting it.
fn refusals(config: &Config) -> Vec<String> {
    let settings = match config.settings() {
        Ok(settings) => settings,
        Err(error) => return error.each().iter().map(ToString::to_string).collect(),
    };
    let mut refusals = Vec::new();
    let mut add = |error: Option<String>| {
        if let Some(error) = error.filter(|error| !refusals.contains(error)) {
            refusals.push(error);
        }
    };
    // A start ends at the first of these.
    add(failed(Server::from_settings(&settings)));
    add(settings.tls.clone().and_then(|tls| failed(Tls::open(tls))));
    if settings.auth_enabled {
        add(failed(Gates::new(&settings)));
        add(failed(DecisionPoint::new(&settings.access)));
    }
    refusals
}

fn failed<T, E: ToString>(done: Result<T, E>) -> Option<String> {
    done.err().map(|error| error.to_string())
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
    let hidden = secret || entry.shown().contains("***");
    let comment = if entry.shown().is_empty() || hidden {
        "#"
    } else {
        ""
    };
    let value = entry.shown().replace('\\', "\\\\").replace('\n', "\\n");
    let _ = writeln!(text, "{comment}{key}={value}\n");
}
