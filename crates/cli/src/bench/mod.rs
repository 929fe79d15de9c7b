//! `oip bench`: how fast a server is, as a part of what is possible.
//!
//! | file | what is there |
//! |---|---|
//! | `work` | what is measured |
//! | `sample`, `request` | inputs made from a model's metadata, and the bytes of a request |
//! | `load`, `http1`, `http2` | the load generator |
//! | `children`, `floor`, `identity` | the processes that are measured |
//! | `gates` | our server with authentication, audit and access log, against itself without |
//! | `check` | the first answer, looked at closely |
//! | `figures`, `report` | what came of it |
//! | `batching`, `onnx` | what gathering requests brings, on networks made on the spot |

mod affinity;
mod answer;
mod batching;
mod buffer;
mod check;
mod children;
mod figures;
mod floor;
mod frames;
mod gates;
mod http1;
mod http2;
mod identity;
mod load;
mod onnx;
mod options;
mod progress;
mod report;
mod request;
mod run;
mod sample;
mod target;
mod work;

use clap::ArgMatches;

use crate::exit::{Exit, fail};

pub(crate) use children::COMMAND as CHILD;
pub(crate) use options::{child_command, command};

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error("'{url}' cannot be measured: {why}")]
    Url { url: String, why: String },
    #[error("{address} cannot be asked: {why}")]
    Reach { address: String, why: String },
    #[error("the server refused the call: {code:?}: {message}")]
    Refused { code: tonic::Code, message: String },
    #[error("the metadata of model '{model}' cannot be read: {why}")]
    Metadata { model: String, why: String },
    #[error("the answer is wrong: {why}")]
    Wrong { why: String },
    #[error("{work} at {server}: {source}")]
    Check {
        work: &'static str,
        server: String,
        source: Box<BenchError>,
    },
    #[error("--only {work} needs {flag}, where that door listens")]
    NoDoor {
        work: &'static str,
        flag: &'static str,
    },
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
    let options = options::Options::of(matches);
    if options.batching {
        return run_batching(&options);
    }
    let report = match run::run(&options) {
        Ok(report) => report,
        Err(error @ BenchError::NoDoor { .. }) => return fail(Exit::Usage, error),
        Err(error) => return fail(Exit::Failed, error),
    };
    print!("{}", report.table());
    let json = || format!("{:#}\n", report.json());
    let written = write(options.json.as_deref(), json)
        .and_then(|()| write(options.csv.as_deref(), || report.csv()));
    if let Err(error) = written {
        return fail(Exit::Failed, error);
    }
    match report.failures() {
        0 => Exit::Success,
        failures => fail(Exit::Failed, format!("{failures} requests failed")),
    }
}

/// Measures what batching brings, prints the table and writes the file.
fn run_batching(options: &options::Options) -> Exit {
    let gains = match batching::run(options) {
        Ok(gains) => gains,
        Err(error) => return fail(Exit::Failed, error),
    };
    print!("{}", batching::table(&gains));
    let json = || format!("{:#}\n", batching::as_json(&gains));
    if let Err(error) = write(options.json.as_deref(), json) {
        return fail(Exit::Failed, error);
    }
    match batching::failures(&gains) {
        0 => Exit::Success,
        failures => fail(Exit::Failed, format!("{failures} requests failed")),
    }
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

fn write(file: Option<&std::path::Path>, text: impl FnOnce() -> String) -> Result<(), BenchError> {
    let Some(file) = file else { return Ok(()) };
    std::fs::write(file, text()).map_err(|source| BenchError::Write {
        file: file.display().to_string(),
        source,
    })
}
