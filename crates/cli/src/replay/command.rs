//! What `oip replay` is asked with.

use std::path::PathBuf;

use clap::{Arg, ArgAction, Command, value_parser};

use crate::credential;

const EXAMPLES: &str = "\
FILE is what payload_log has written: a CloudEvent on each line. Each request is sent again, and
what comes back is compared with what was answered then: the status, and of an answer the names,
datatypes, shapes and elements of its outputs.

Examples:
  oip replay payloads.jsonl --url http://localhost:8082
      The same models on a server that runs a new version.
  oip replay payloads.jsonl --url http://localhost:8082 --model-version 2 --rtol 1e-3
      Version 2 of them, whose numbers may differ a little.

A request that is refused for want of room or time (429, 503, 504), then or now, is not compared.
One whose caller named a version asks for that version, unless --model-version or another --model is
given. A file that is still being written is read as far as it goes at the start. The first request
that is refused with 401 or 403 and was not then ends the replay.

Exit codes: 0 all alike, 1 some differ, were refused now, could not be asked or not be read, 2 asked
wrongly.";

pub(crate) fn command() -> Command {
    let tolerance = |name: &'static str, help: &'static str, default: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("NUMBER")
            .default_value(default)
            .value_parser(value_parser!(f64))
            .help(help)
    };
    let file = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help(help)
    };
    Command::new("replay")
        .about(
            "Send inferences that payload_log has kept to another server, and compare the answers",
        )
        .after_help(EXAMPLES)
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("What payload_log has written"),
        )
        .arg(
            Arg::new("url")
                .long("url")
                .value_name("URL")
                .required(true)
                .help("The REST door of the other server"),
        )
        .arg(tolerance(
            "rtol",
            "Difference of floats that is allowed, relative to the recorded one",
            "1e-5",
        ))
        .arg(tolerance(
            "atol",
            "Difference of floats that is allowed besides",
            "1e-8",
        ))
        .arg(
            Arg::new("model")
                .long("model")
                .value_name("NAME")
                .help("Ask this model, whichever was asked then"),
        )
        .arg(
            Arg::new("model-version")
                .long("model-version")
                .value_name("VERSION")
                .help(
                    "Ask this version; else the one that was asked for, or that the server chooses",
                ),
        )
        .args(credential::flags())
        .arg(file(
            "ca-file",
            "PEM file of the authorities to trust, in place of the system's",
        ))
        .arg(
            Arg::new("plain-http")
                .long("plain-http")
                .action(ArgAction::SetTrue)
                .help("Allow http:// to another machine"),
        )
}
