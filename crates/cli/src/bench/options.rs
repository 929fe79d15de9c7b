//! The command line of `oip bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, ValueParser};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::identity;
use super::target::{Host, Target};
use super::work::{WORKS, Work};
use super::{BenchError, children};

/// Connections for `--batching`, where no number is given.
const BATCHING_CONNECTIONS: usize = 64;
/// Most seconds that one measurement may be asked to take.
const MOST_SECONDS: f64 = 3600.0;

const LONG_ABOUT: &str = "\
Measures how fast a server of the Open Inference Protocol is, as a part of what is possible.

Started plainly, it runs two other processes of this program: the floor, which is what the \
libraries below us cost when nobody looks at the bytes (bare axum sends the body back, bare tonic \
the tensors), and our server with a model that returns its inputs, every check switched on. Both \
have one half of the CPUs, the load has the other. Each kind of request is looked at once for the \
right numbers, warmed up, then measured over connections that always have one request under way.

With --url or --grpc-url it measures the server that runs there instead, ours or another's.";

const COLUMNS: &str = "\
What the columns say:
  requests/s          good answers per second
  p50 ms, p99 ms      half of the answers, 99 of 100, came within this time
  CPU us/req          CPU time of the server for one answer, in microseconds, all its threads
  part of the floor   by throughput: server's requests/s over the floor's
                      by CPU: the floor's CPU time over the server's; where the load generator
                      cannot keep the server busy, this is the one to trust

Examples:
  oip bench
  oip bench --only rest-json-16 --only grpc-16 --repeat 5
  oip bench --url http://127.0.0.1:8000 --grpc-url 127.0.0.1:8001 --model iris
  oip bench --gates --repeat 5
  oip bench --seconds 20 --csv figures.csv
  oip bench --batching";

/// The command line.
pub(crate) fn command() -> Command {
    let works = PossibleValuesParser::new(WORKS.map(|work| work.name));
    let seconds = || ValueParser::new(seconds);
    let count = || value_parser!(u32).range(1..=4096);
    let named = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let file = |name, help| named(name, "FILE", help).value_parser(value_parser!(PathBuf));
    Command::new("bench")
        .about("Measure a server, ours or another's, against bare axum and tonic")
        .long_about(LONG_ABOUT)
        .after_help(COLUMNS)
        .args([
            named(
                "only",
                "WORK",
                "Measure only this kind of request; may be repeated",
            )
            .action(ArgAction::Append)
            .value_parser(works),
            named(
                "connections",
                "N",
                "Connections, each with one request under way",
            )
            .default_value("32")
            .value_parser(count()),
            named("seconds", "S", "How long each measurement takes")
                .default_value("5")
                .value_parser(seconds()),
            named("warm-up", "S", "How long the same load runs before it")
                .default_value("1")
                .value_parser(seconds()),
            named(
                "repeat",
                "N",
                "Measure so often; show the median and the spread",
            )
            .default_value("1")
            .value_parser(count()),
            named(
                "url",
                "URL",
                "Measure the REST door here instead of a server of our own",
            )
            .value_parser(ValueParser::new(host)),
            named("grpc-url", "URL", "Measure the gRPC door here")
                .value_parser(ValueParser::new(host)),
            named(
                "model",
                "NAME",
                "Which model runs there; inputs are made from its metadata",
            )
            .default_value(identity::NAME),
            named("pid", "PID", "Process of that server, to show its CPU time")
                .value_parser(value_parser!(u32)),
            file(
                "token-file",
                "File of a bearer token to show with every request",
            ),
            Arg::new("gates")
                .long("gates")
                .help("Measure what authentication, the audit and the access log cost instead")
                .long_help(
                    "Measure what authentication, the audit and the access log cost: our server \
                     without and with them, each as a part of the server without, on the small \
                     requests of both doors.",
                )
                .action(ArgAction::SetTrue)
                .conflicts_with_all(["url", "grpc-url", "no-floor", "token-file"]),
            Arg::new("no-floor")
                .long("no-floor")
                .help("Measure no floor, so show no ratios")
                .action(ArgAction::SetTrue),
            Arg::new("batching")
                .long("batching")
                .help("Measure what dynamic batching brings, at 64 connections by default")
                .action(ArgAction::SetTrue)
                .conflicts_with_all(["url", "grpc-url", "only", "csv"]),
            file("json", "Write everything as JSON"),
            file("csv", "Write the medians as CSV"),
        ])
}

/// The hidden command line of the processes that are measured.
pub(crate) fn child_command() -> Command {
    let roles = PossibleValuesParser::new(children::Role::ALL.map(children::Role::name));
    Command::new(children::COMMAND)
        .hide(true)
        .about("What `oip bench` measures; it runs this by itself")
        .arg(Arg::new("role").required(true).value_parser(roles))
        .arg(Arg::new("folder").value_parser(value_parser!(PathBuf)))
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= MOST_SECONDS => {
            Ok(Duration::from_secs_f64(seconds))
        }
        _ => Err(format!("must be a number above 0, {MOST_SECONDS} at most")),
    }
}

fn host(text: &str) -> Result<Host, BenchError> {
    Host::parse(text)
}

/// What was asked for.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) works: Vec<Work>,
    pub(super) connections: usize,
    pub(super) warm_up: Duration,
    pub(super) measure: Duration,
    pub(super) repeat: u32,
    pub(super) model: String,
    /// The server to be measured; `None` is our own.
    pub(super) target: Option<Target>,
    pub(super) floor: bool,
    /// Measure batching instead.
    pub(super) batching: bool,
    /// Our server with its gates is measured against the same without.
    pub(super) gates: bool,
    /// Where the bearer token is that is shown.
    pub(super) token_file: Option<PathBuf>,
    pub(super) json: Option<PathBuf>,
    pub(super) csv: Option<PathBuf>,
}

impl Options {
    pub(super) fn of(matches: &ArgMatches) -> Self {
        let seconds = |name| {
            matches
                .get_one(name)
                .copied()
                .unwrap_or(Duration::from_secs(1))
        };
        let count = |name| matches.get_one(name).copied().unwrap_or(1);
        let file = |name| matches.get_one::<PathBuf>(name).cloned();
        let target = target(matches);
        let batching = matches.get_flag("batching");
        let only: Option<Vec<&String>> = matches.get_many("only").map(Iterator::collect);
        let mut works = WORKS.to_vec();
        let gates = matches.get_flag("gates");
        works.retain(|work| match (&only, &target) {
            // What the gates cost does not hang on the tensors.
            (None, None) if gates => work.is_small(),
            (Some(only), _) => only.iter().any(|name| *name == work.name),
            (None, Some(target)) => target.host(work.is_grpc()).is_some(),
            (None, None) => true,
        });
        Self {
            works,
            connections: match (batching, matches.value_source("connections")) {
                (true, Some(ValueSource::DefaultValue)) => BATCHING_CONNECTIONS,
                _ => count("connections") as usize,
            },
            batching,
            warm_up: seconds("warm-up"),
            measure: seconds("seconds"),
            repeat: count("repeat"),
            model: matches
                .get_one("model")
                .cloned()
                .unwrap_or_else(|| identity::NAME.to_owned()),
            target,
            floor: !matches.get_flag("no-floor"),
            gates,
            token_file: file("token-file"),
            json: file("json"),
            csv: file("csv"),
        }
    }
}

impl Options {
    /// The bearer token that is to be shown.
    pub(super) fn token(&self) -> Result<Option<String>, BenchError> {
        let read = |file: &PathBuf| {
            let token = std::fs::read_to_string(file);
            let token = token.map(|token| token.trim().to_owned());
            token.map_err(|source| BenchError::Read {
                file: file.display().to_string(),
                source,
            })
        };
        self.token_file.as_ref().map(read).transpose()
    }
}

fn target(matches: &ArgMatches) -> Option<Target> {
    let rest: Option<Host> = matches.get_one("url").cloned();
    let grpc: Option<Host> = matches.get_one("grpc-url").cloned();
    let named = rest.as_ref().or(grpc.as_ref())?;
    Some(Target {
        name: named.authority.clone(),
        process: matches.get_one("pid").copied(),
        rest,
        grpc,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(arguments: &[&str]) -> Result<Options, clap::Error> {
        let arguments = [&["bench"], arguments].concat();
        let matches = command().try_get_matches_from(arguments)?;
        Ok(Options::of(&matches))
    }

    #[test]
    fn the_command_lines_are_consistent() {
        command().debug_assert();
        child_command().debug_assert();
    }

    #[test]
    fn plainly_everything_is_measured_on_our_own_server() {
        let options = options(&[]).unwrap();
        assert_eq!(options.works.len(), WORKS.len());
        assert_eq!((options.connections, options.repeat), (32, 1));
        assert_eq!(options.measure, Duration::from_secs(5));
        assert!(options.target.is_none() && options.floor);
    }

    #[test]
    fn a_server_with_one_door_is_measured_through_that_door() {
        let options = options(&["--grpc-url", "127.0.0.1:8001"]).unwrap();
        assert!(options.works.iter().all(Work::is_grpc));
        assert_eq!(options.works.len(), 2);
    }

    #[test]
    fn the_gates_are_measured_with_small_requests_on_our_own_server() {
        let gates = options(&["--gates"]).unwrap();
        let names: Vec<&str> = gates.works.iter().map(|work| work.name).collect();
        assert_eq!(names, ["rest-json-16", "grpc-16"]);
        assert!(options(&["--gates", "--url", "127.0.0.1:1"]).is_err());
    }

    #[test]
    fn times_and_counts_that_make_no_sense_are_refused() {
        for arguments in [
            ["--seconds", "0"],
            ["--seconds", "nan"],
            ["--seconds", "1e9"],
            ["--connections", "0"],
            ["--only", "rest-xml"],
            ["--url", "ftp://x"],
        ] {
            assert!(options(&arguments).is_err(), "{arguments:?}");
        }
    }
}
