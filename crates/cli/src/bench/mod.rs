//! `oip bench`: how fast a server is, as a part of what is possible.
//!
//! | file | what is there |
//! |---|---|
//! | `options`, `work` | what is asked for, and what is measured |
//! | `sample`, `input`, `request` | inputs made from a model's metadata or read from a file, and the bytes of a request |
//! | `host`, `target` | where a server is, and what it says of its model |
//! | `load`, `arrivals`, `http1`, `http2`, `stream` | the load generator, in a closed and an open loop |
//! | `children`, `ours`, `floor`, `identity` | the processes that are measured |
//! | `check` | the first answer, looked at closely |
//! | `run`, `figures`, `report`, `plot` | measuring, and what came of it |
//! | `gates` | our server with authentication, audit and access log, against itself without |
//! | `batching`, `onnx` | what gathering requests brings, on networks made on the spot |
//! | `latency`, `mixed` | latency at half of the load, and beside large requests |
//! | `overload` | what remains of the throughput at ten times the load |
//! | `engine`, `bare` | a network of ResNet-18's size, against ONNX Runtime alone |

mod affinity;
mod answer;
mod arrivals;
mod bare;
mod batching;
mod buffer;
mod check;
mod children;
mod engine;
mod figures;
mod floor;
mod frames;
mod gates;
mod host;
mod http1;
mod http2;
mod identity;
mod input;
mod latency;
mod load;
mod mixed;
mod onnx;
mod options;
mod ours;
mod overload;
mod plot;
mod progress;
mod random;
mod report;
mod request;
mod run;
mod sample;
mod stream;
mod target;
mod work;

use clap::ArgMatches;

use crate::exit::{Exit, fail};

use options::{Mode, Options};

pub(crate) use children::COMMAND as CHILD;
pub(crate) use options::{child_command, command};

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error("'{url}' cannot be measured: {why}")]
    Url { url: String, why: String },
    #[error("{address} cannot be asked: {why}")]
    Reach { address: String, why: String },
    #[error("{address} has given no answer within {seconds} s")]
    Silent { address: String, seconds: u64 },
    #[error("the server refused the call: {code:?}: {message}")]
    Refused { code: tonic::Code, message: String },
    #[error("the metadata of model '{model}' cannot be read: {why}")]
    Metadata { model: String, why: String },
    #[error("the answer is wrong: {why}")]
    Wrong { why: String },
    #[error("{work} at {server}: {source}")]
    Check {
        work: String,
        server: String,
        source: Box<BenchError>,
    },
    #[error("--only {work} needs {flag}, where that door listens")]
    NoDoor { work: String, flag: &'static str },
    #[error("{why}")]
    Usage { why: String },
    #[error("{file} is no inference request: {why}")]
    Input { file: String, why: String },
    #[error(transparent)]
    Plot(#[from] plot::PlotError),
    #[error("cannot start {role}: {source}")]
    Child {
        role: &'static str,
        source: std::io::Error,
    },
    #[error("cannot read {file}: {source}")]
    Read {
        file: String,
        source: std::io::Error,
    },
    #[error("cannot put load on the server: {0}")]
    Load(std::io::Error),
    #[error("cannot write {file}: {source}")]
    Write {
        file: String,
        source: std::io::Error,
    },
}

/// Measures, prints the table and writes the files.
pub(crate) fn run(matches: &ArgMatches) -> Exit {
    let done = Options::of(matches).and_then(|options| measure(&options));
    match done {
        Ok(None) => Exit::Success,
        Ok(Some(why)) => fail(Exit::Failed, why),
        Err(error @ (BenchError::NoDoor { .. } | BenchError::Usage { .. })) => {
            fail(Exit::Usage, error)
        }
        Err(error) => fail(Exit::Failed, error),
    }
}

/// Measures what was asked for; what is wrong with the figures, if anything is.
fn measure(options: &Options) -> Result<Option<String>, BenchError> {
    let outcome = match options.mode {
        Mode::Plain | Mode::Gates => of_report(run::run(options)?, options)?,
        Mode::Onnx => of_report(engine::run(options)?, options)?,
        Mode::Batching => {
            let (conditions, gains) = batching::run(options)?;
            Outcome {
                table: batching::table(&gains),
                json: batching::as_json(&conditions, &gains),
                failures: batching::failures(&gains),
                ..Outcome::default()
            }
        }
        Mode::Latency => {
            let delays = latency::run(options)?;
            Outcome {
                table: delays.table(),
                json: delays.json(),
                plots: delays.plots(),
                failures: delays.failures(),
                unmeasured: delays.unmeasured,
                ..Outcome::default()
            }
        }
        Mode::Mixed => {
            let (conditions, mixtures) = mixed::run(options)?;
            Outcome {
                table: mixed::table(&mixtures),
                json: mixed::as_json(&conditions, &mixtures),
                failures: mixed::failures(&mixtures),
                ..Outcome::default()
            }
        }
        Mode::Overload => {
            let (conditions, overloads) = overload::run(options)?;
            Outcome {
                table: overload::table(&overloads),
                json: overload::as_json(&conditions, &overloads),
                plots: overload::plots(&overloads)?,
                failures: overload::failures(&overloads),
                ..Outcome::default()
            }
        }
    };
    print!("{}", outcome.table);
    write(options.json.as_deref(), || format!("{:#}\n", outcome.json))?;
    write(options.csv.as_deref(), || outcome.csv)?;
    if let Some(folder) = &options.plot {
        plot::write(folder, &outcome.plots)?;
    }
    Ok(match (outcome.failures, outcome.unmeasured.as_slice()) {
        (0, []) => None,
        (0, unmeasured) => Some(format!("not measured: {}", unmeasured.join("; "))),
        (failures, _) => Some(format!("{failures} requests failed")),
    })
}

/// What is shown and written.
#[derive(Debug, Default)]
struct Outcome {
    table: String,
    json: serde_json::Value,
    csv: String,
    plots: Vec<plot::Plot>,
    failures: u64,
    /// What could not be measured, and why.
    unmeasured: Vec<String>,
}

fn of_report(report: report::Report, options: &Options) -> Result<Outcome, BenchError> {
    let plots = match &options.plot {
        Some(_) => plot::of_report(&report)?,
        None => Vec::new(),
    };
    Ok(Outcome {
        table: report.table(),
        json: report.json(),
        csv: report.csv(),
        plots,
        failures: report.failures(),
        unmeasured: report.unmeasured,
    })
}

/// Is one of the processes that are measured.
pub(crate) fn run_child(matches: &ArgMatches) -> Exit {
    let role = matches.get_one::<String>("role");
    let folder = matches.get_one::<std::path::PathBuf>("folder");
    match role.and_then(|role| children::Role::parse(role)) {
        Some(role) => match children::be(role, folder.map(std::path::PathBuf::as_path)) {
            Ok(()) => Exit::Success,
            Err(error) => fail(Exit::Failed, error),
        },
        None => Exit::Usage,
    }
}

fn read(file: &std::path::Path) -> Result<String, BenchError> {
    std::fs::read_to_string(file).map_err(|source| BenchError::Read {
        file: file.display().to_string(),
        source,
    })
}

fn write(file: Option<&std::path::Path>, text: impl FnOnce() -> String) -> Result<(), BenchError> {
    let Some(file) = file else { return Ok(()) };
    std::fs::write(file, text()).map_err(|source| BenchError::Write {
        file: file.display().to_string(),
        source,
    })
}
