//! `oip config`: what is configured, and where it comes from.

use std::fmt::Write as _;

use clap::{ArgMatches, Command};
use oip::Server;
use oip::config::{Config, ConfigOption, Entry, Group, Origin};
use oip::gates::{DecisionPoint, Gates};
use oip::tls::Tls;

use crate::args;
use crate::exit::{Exit, misconfigured};
use crate::print;
use crate::serve::announce::unused_without_authentication;

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
                 Takes the flags of 'oip serve'. What is printed is an oip.properties again: what \
                 was given is a setting; defaults, and what follows from other options, stand \
                 behind a #. Secrets are shown as *** behind a #, to be filled in.",
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
        print::aside(format_args!("warning: {warning}"));
    }
    for warning in warnings(&config) {
        print::aside(format_args!("warning: {warning}"));
    }
    let refusals = refusals(&config);
    if !check {
        let printed = print::text(written(&config));
        for refusal in refusals {
            print::aside(format_args!(
                "warning: 'oip serve' does not start like this: {refusal}"
            ));
        }
        return printed.err().unwrap_or(Exit::Success);
    }
    if refusals.is_empty() {
        let printed = print::line("the configuration is fine");
        return printed.err().unwrap_or(Exit::Success);
    }
    for refusal in refusals {
        print::aside(format_args!("error: {refusal}"));
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
    if !settings.auth_enabled {
        warnings.extend(unused_without_authentication(config));
    } else if let Ok(gates) = Gates::new(&settings) {
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
fn written(config: &Config) -> String {
    let mut text = String::new();
    for group in Group::ALL {
        let all = config.entries().iter();
        let entries = all.filter(|entry| entry.option.group == group);
        let _ = writeln!(text, "## {}\n", group.title());
        for entry in entries {
            print_entry(&mut text, config, entry);
        }
    }
    text
}

/// An option with what is in force of it. It is a setting only where it was given and counts: a
/// default that is given is something else to a server, which may refuse it beside other options.
fn print_entry(text: &mut String, config: &Config, entry: &Entry) {
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
    let follows = config.follows(entry);
    let _ = match (&follows, &entry.origin) {
        (Some(follows), _) => writeln!(text, "# from: {}; default: {default}", named(follows.from)),
        (None, Origin::Default) => writeln!(text, "# from: default"),
        (None, origin) => writeln!(text, "# from: {origin}; default: {default}"),
    };
    if follows.is_some() && entry.is_given() {
        let _ = writeln!(text, "# passed over: {}", named(entry));
    }
    if hot {
        let _ = writeln!(text, "# can change without a restart (reload=true)");
    }
    let value = follows
        .as_ref()
        .map_or(entry.shown(), |follows| &follows.value);
    let hidden = secret || value.contains("***");
    // What follows from an option that is not written out would be another value without it.
    let stands = follows
        .as_ref()
        .is_some_and(|follows| is_hidden(follows.from) && !hidden);
    let counts = stands || entry.is_given() && follows.is_none() && !hidden;
    let expanded = counts && value.contains('$');
    if expanded {
        let _ = writeln!(
            text,
            "# not for a file, where what begins with $ is replaced"
        );
    }
    let comment = if counts && !expanded { "" } else { "#" };
    let value = escaped(value);
    let _ = writeln!(text, "{comment}{key}={value}\n");
}

/// Whether an option's value is not written out, or not whole.
fn is_hidden(entry: &Entry) -> bool {
    entry.option.secret || entry.shown().contains("***")
}

/// An option, its value and where that came from.
fn named(entry: &Entry) -> String {
    let value = escaped(entry.shown());
    format!("{} = {value} ({})", entry.option.key, entry.origin)
}

/// A value in one line of a properties file.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('\n', "\\n")
        .replace('\r', "\\r")
}

#[cfg(test)]
mod tests;
