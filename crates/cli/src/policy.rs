//! `oip policy`: what a policy would decide, and whether it can be read.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use oip::ModelRef;
use oip::access::{Action, Decision, Subject};
use oip::auth::pdp::embedded::Embedded;
use oip::auth::pdp::{Explanation, Situation, explain};
use oip::config::Config;
use oip::gates::DecisionPoint;

use crate::args;
use crate::exit::{Exit, fail};

/// The options that say who decides.
const OPTIONS: &[&str] = &["policy_file", "pdp", "pdp_url", "pdp_timeout"];

const EXAMPLES: &str = "\
Examples:
  oip policy explain --as alice --role user infer iris
  oip policy explain server_metadata
  oip policy explain --policy-file teams.cedar --as bob --role team-a load fraud";

pub(crate) fn command() -> Command {
    let file = Arg::new("file")
        .value_name("FILE")
        .required(true)
        .value_parser(value_parser!(PathBuf))
        .help("File of Cedar policies");
    let check = Command::new("check")
        .about("Read Cedar policies and hold them against the schema")
        .arg(file);
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
    let action = Arg::new("action")
        .value_name("ACTION")
        .required(true)
        .value_parser(Action::ALL.map(Action::name))
        .help("What would be asked for");
    let model = Arg::new("model")
        .value_name("MODEL")
        .help("Of which model; none for what concerns no model");
    let command = Command::new("explain")
        .about("Say what would be decided, which policy decides, and what it is asked")
        .after_help(EXAMPLES)
        .arg(text(
            "as",
            "ID",
            "Who would ask; Anonymous where nobody is named",
        ))
        .arg(
            text("role", "ROLE", "A role of theirs; may come again")
                .action(ArgAction::Append)
                .requires("as"),
        )
        .arg(text("version", "VERSION", "Of which version of the model").requires("model"))
        .arg(text("from", "IP", "From which address").value_parser(value_parser!(IpAddr)))
        .arg(text("path", "PATH", "By which path").default_value("/v2"))
        .arg(action)
        .arg(model);
    args::with_some_options(command, OPTIONS)
}

pub(crate) fn run(matches: &ArgMatches) -> Exit {
    match matches.subcommand() {
        Some(("explain", matches)) => run_explain(matches),
        Some(("check", matches)) => {
            let file = matches.get_one::<PathBuf>("file").cloned();
            match Embedded::from_file(file.unwrap_or_default()) {
                Ok(_) => {
                    println!("the policies are fine");
                    Exit::Success
                }
                Err(error) => fail(Exit::Usage, error),
            }
        }
        _ => Exit::Usage,
    }
}

fn run_explain(matches: &ArgMatches) -> Exit {
    let config = Config::resolve(&args::some_sources(matches, OPTIONS));
    let access = match config.and_then(|config| config.access()) {
        Ok(access) => access,
        Err(error) => return fail(Exit::Usage, error),
    };
    let pdp = match DecisionPoint::new(&access) {
        Ok(pdp) => pdp.explain(),
        Err(error) => return fail(Exit::Usage, error),
    };
    let Some(situation) = situation(matches) else {
        return Exit::Usage;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let explained = match runtime {
        Ok(runtime) => runtime.block_on(explain(&*pdp, &situation)),
        Err(error) => return fail(Exit::Failed, format!("cannot start: {error}")),
    };
    match explained {
        Ok(explanation) => say(&explanation),
        Err(error) => fail(Exit::Failed, error),
    }
}

fn situation(matches: &ArgMatches) -> Option<Situation> {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let roles = matches.get_many::<String>("role").into_iter().flatten();
    let subject = text("as").map(|id| Subject {
        id,
        roles: roles.cloned().collect(),
        ..Subject::default()
    });
    let model = text("model").map(|name| {
        let mut model = ModelRef::new(name);
        model.version = text("version");
        model
    });
    Some(Situation {
        subject,
        action: Action::by_name(&text("action")?)?,
        model,
        peer: matches.get_one::<IpAddr>("from").copied(),
        path: text("path")?,
    })
}

fn say(explanation: &Explanation) -> Exit {
    let word = match &explanation.decision {
        Decision::Permit { .. } => "permit",
        Decision::Deny { .. } => "deny",
        Decision::Fault { .. } => "no decision, which refuses",
    };
    println!("{word}: {}", explanation.decision.reason());
    println!("decided by: {}", explanation.pdp);
    println!("asked:\n{}", explanation.asked);
    match explanation.decision {
        Decision::Fault { .. } => Exit::Failed,
        _ => Exit::Success,
    }
}
