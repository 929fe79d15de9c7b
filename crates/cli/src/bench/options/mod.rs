//! The command line of `oip bench`.

mod flags;
mod parse;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ArgMatches;
use clap::parser::ValueSource;
use oip::auth::http::trusting;

use super::BenchError;
use super::arrivals::{Rate, Spacing};
use super::identity;
use super::stream::{HTTP_1, HTTP_2};
use super::target::Target;
use super::work::{SMALL, WORKS, Wire, Work};
use crate::credential::Credential;

pub(crate) use flags::{child_command, command};

/// Connections for `--batching`, `--onnx` and `--overload`, where no number is given.
const BATCHING_CONNECTIONS: usize = 64;
const ONNX_CONNECTIONS: usize = 8;
const OVERLOAD_CONNECTIONS: usize = 256;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Throughput, against the floor.
    Plain,
    Gates,
    Batching,
    Latency,
    Mixed,
    Overload,
    Onnx,
}

/// What was asked for.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) mode: Mode,
    pub(super) works: Vec<Work>,
    /// Never empty.
    pub(super) connections: Vec<usize>,
    /// Of an open loop; empty: a closed one.
    pub(super) rates: Vec<Rate>,
    pub(super) warm_up: Duration,
    pub(super) measure: Duration,
    pub(super) repeat: u32,
    pub(super) model: String,
    /// The request to be sent, where it is not to be made up.
    pub(super) input: Option<PathBuf>,
    /// The servers to be measured that run already.
    pub(super) targets: Vec<Target>,
    /// Whether one of our own is measured beside them.
    pub(super) own: bool,
    pub(super) floor: bool,
    /// How long the model of `--overload` takes.
    pub(super) service_time: Duration,
    /// How soon an answer must come to count in `--overload`.
    pub(super) within: Duration,
    /// What is shown with every request.
    pub(super) credential: Option<Credential>,
    pub(super) json: Option<PathBuf>,
    pub(super) csv: Option<PathBuf>,
    pub(super) plot: Option<PathBuf>,
}

impl Options {
    /// Reads what was given.
    ///
    /// # Errors
    /// [`BenchError::Usage`] for flags that contradict each other.
    pub(super) fn of(matches: &ArgMatches) -> Result<Self, BenchError> {
        let time = |name| matches.get_one(name).copied().unwrap_or_default();
        let file = |name| matches.get_one::<PathBuf>(name).cloned();
        let mode = mode(matches);
        of_use(matches, mode)?;
        let mut targets = parse::targets(
            all(matches, "url"),
            all(matches, "grpc-url"),
            all(matches, "pid"),
        )?;
        trust(&mut targets, file("ca-file").as_deref())?;
        Ok(Self {
            mode,
            works: works(matches, mode, &targets)?,
            connections: connections(matches, mode)?,
            rates: rates(matches),
            warm_up: time("warm-up"),
            measure: time("seconds"),
            repeat: matches.get_one("repeat").copied().unwrap_or(1),
            model: matches
                .get_one("model")
                .cloned()
                .unwrap_or_else(|| identity::NAME.to_owned()),
            input: file("input"),
            own: targets.is_empty() || matches.get_flag("own"),
            targets,
            floor: !matches.get_flag("no-floor"),
            service_time: time("service-time"),
            within: time("within"),
            credential: Credential::of(matches).map_err(|why| BenchError::Usage { why })?,
            json: file("json"),
            csv: file("csv"),
            plot: file("plot"),
        })
    }

    /// How many servers are measured, without the floor.
    pub(super) fn servers(&self) -> usize {
        self.targets.len() + usize::from(self.own)
    }

    /// The number of connections of a run that has one.
    pub(super) fn one_connections(&self) -> usize {
        self.connections.first().copied().unwrap_or(1)
    }

    /// The number of elements of a run that has one.
    pub(super) fn one_elements(&self) -> usize {
        let first = self.works.first().and_then(|work| work.elements);
        first.unwrap_or(SMALL)
    }
}

fn all<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Vec<T> {
    let values = matches.get_many(name);
    values
        .map(|values| values.cloned().collect())
        .unwrap_or_default()
}

/// Gives those that are asked over TLS what a handshake needs: whom to trust, and the protocol.
fn trust(targets: &mut [Target], ca_file: Option<&Path>) -> Result<(), BenchError> {
    let usage = |why: String| BenchError::Usage { why };
    let mut hosts = Vec::new();
    for Target { rest, grpc, .. } in targets {
        hosts.extend(rest.iter_mut().map(|host| (host, HTTP_1)));
        hosts.extend(grpc.iter_mut().map(|host| (host, HTTP_2)));
    }
    if !hosts.iter().any(|(host, _)| host.secure) {
        return match ca_file {
            Some(_) => Err(usage("--ca-file is for servers of https://".to_owned())),
            None => Ok(()),
        };
    }
    let config = trusting(ca_file).map_err(|error| usage(error.to_string()))?;
    let mut hosts = hosts.into_iter();
    hosts.try_for_each(|(host, protocol)| host.secure(&config, protocol))
}

fn mode(matches: &ArgMatches) -> Mode {
    let modes = [
        ("gates", Mode::Gates),
        ("batching", Mode::Batching),
        ("latency", Mode::Latency),
        ("mixed", Mode::Mixed),
        ("overload", Mode::Overload),
        ("onnx", Mode::Onnx),
    ];
    let asked = modes.into_iter().find(|(name, _)| matches.get_flag(name));
    asked.map_or(Mode::Plain, |(_, mode)| mode)
}

/// Refuses flags that were given and would change nothing.
fn of_use(matches: &ArgMatches, mode: Mode) -> Result<(), BenchError> {
    let given = |name| matches.value_source(name) == Some(ValueSource::CommandLine);
    let refuse = |why: &str| Err(BenchError::Usage { why: why.into() });
    if given("arrivals") && !given("rate") {
        return refuse("--arrivals says how the requests of --rate lie apart: give --rate too");
    }
    if given("service-time") && mode != Mode::Overload {
        return refuse("--service-time is that of the model of --overload: give --overload too");
    }
    if given("within") && mode != Mode::Overload {
        return refuse("--within is for the answers of --overload: give --overload too");
    }
    Ok(())
}

fn rates(matches: &ArgMatches) -> Vec<Rate> {
    let spacing = matches.get_one::<String>("arrivals");
    let spacing = spacing.and_then(|name| Spacing::parse(name));
    let spacing = spacing.unwrap_or(Spacing::Poisson);
    let rates = matches.get_one::<Vec<f64>>("rate").into_iter().flatten();
    let of = |rate: &f64| Rate {
        per_second: *rate,
        spacing,
    };
    rates.map(of).collect()
}

fn connections(matches: &ArgMatches, mode: Mode) -> Result<Vec<usize>, BenchError> {
    let given = matches.get_one::<Vec<usize>>("connections").cloned();
    let given = given.unwrap_or_default();
    if given.len() > 1 && mode != Mode::Plain && mode != Mode::Gates {
        return Err(BenchError::Usage {
            why: "--connections: one number, no list, for what is measured here".to_owned(),
        });
    }
    let plain = matches.value_source("connections") == Some(ValueSource::DefaultValue);
    Ok(match mode {
        Mode::Batching if plain => vec![BATCHING_CONNECTIONS],
        Mode::Onnx if plain => vec![ONNX_CONNECTIONS],
        Mode::Overload if plain => vec![OVERLOAD_CONNECTIONS],
        _ => given,
    })
}

/// The kinds of request: those asked for by name, of those sizes; else those whose door is known.
fn works(matches: &ArgMatches, mode: Mode, targets: &[Target]) -> Result<Vec<Work>, BenchError> {
    let only: Vec<String> = all(matches, "only");
    let is_asked = |work: &Work| {
        let (name, wire) = (work.name(), work.wire.name());
        only.iter().any(|asked| *asked == name || asked == wire)
    };
    let elements = matches.get_one::<Vec<usize>>("elements");
    if mode == Mode::Overload && elements.is_some_and(|elements| elements.len() > 1) {
        return Err(BenchError::Usage {
            why: "--elements: one number, no list, for --overload".to_owned(),
        });
    }
    let mut works = match elements {
        _ if matches.contains_id("input") => Wire::ALL.map(Work::of_file).to_vec(),
        Some(elements) => {
            let of_wire = |wire| {
                elements
                    .iter()
                    .map(move |elements| Work::new(wire, *elements))
            };
            Wire::ALL.into_iter().flat_map(of_wire).collect()
        }
        None => WORKS.to_vec(),
    };
    let sized = only
        .iter()
        .find(|asked| asked.ends_with(|last: char| last.is_ascii_digit()));
    if let (Some(sized), true) = (sized, elements.is_some() || matches.contains_id("input")) {
        return Err(BenchError::Usage {
            why: format!(
                "--only {sized} says how many elements there are; beside --elements or --input \
                 say only how they travel: rest-json, rest-binary, grpc"
            ),
        });
    }
    let own = matches.get_flag("own");
    works.retain(|work| match (only.is_empty(), targets) {
        (false, _) => is_asked(work),
        (true, _) if own => true,
        // What the gates cost does not hang on the tensors.
        (true, []) => mode != Mode::Gates || work.is_small(),
        (true, targets) => targets
            .iter()
            .any(|target| target.host(work.is_grpc()).is_some()),
    });
    Ok(works)
}
