//! `oip replay`: sends inferences that were kept to another server or version, and compares.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use oip::auth::http::{HttpClient, HttpOptions, HttpResponse, PlainHttp};
use oip::replay::{Body, Recorded};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::exit::{Exit, fail};

mod compare;

use compare::Tolerance;

/// What may stand in a segment of a path as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// Longest answer that is read, in bytes.
const LONGEST: usize = 256 << 20;
/// Differences, and failures, that are shown.
const SHOWN: u64 = 20;

const EXAMPLES: &str = "\
FILE is what payload_log has written: a CloudEvent on each line. Each request is sent again, and
what comes back is compared with what was answered then: the status, and of an answer the names,
datatypes, shapes and elements of its outputs.

Examples:
  oip replay payloads.jsonl --url http://localhost:8082
      The same models on a server that runs a new version.
  oip replay payloads.jsonl --url http://localhost:8082 --model-version 2 --rtol 1e-3
      Version 2 of them, whose numbers may differ a little.

Exit codes: 0 all alike, 1 some differ or could not be asked, 2 asked wrongly.";

pub(crate) fn command() -> Command {
    let tolerance = |name: &'static str, help: &'static str, default: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("NUMBER")
            .default_value(default)
            .value_parser(value_parser!(f64))
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
                .help("Ask this version; else the one that the server chooses"),
        )
        .arg(
            Arg::new("token-file")
                .long("token-file")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("File of the bearer token to show"),
        )
        .arg(
            Arg::new("plain-http")
                .long("plain-http")
                .action(ArgAction::SetTrue)
                .help("Allow http:// to another machine"),
        )
}

pub(crate) fn run(matches: &ArgMatches) -> Exit {
    let replay = match Replay::new(matches) {
        Ok(replay) => replay,
        Err(error) => return fail(Exit::Usage, error),
    };
    let Some(path) = matches.get_one::<PathBuf>("file") else {
        return Exit::Usage;
    };
    let file = match File::open(path) {
        Ok(file) => BufReader::new(file),
        Err(error) => return fail(Exit::Usage, format!("{}: {error}", path.display())),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(replay.all(file)),
        Err(error) => fail(Exit::Failed, format!("cannot start: {error}")),
    }
}

struct Replay {
    client: HttpClient,
    url: String,
    model: Option<String>,
    version: Option<String>,
    token: Option<String>,
    tolerance: Tolerance,
}

/// How many of what.
#[derive(Default)]
struct Counts {
    alike: u64,
    differ: u64,
    failed: u64,
    skipped: u64,
}

impl Replay {
    fn new(matches: &ArgMatches) -> Result<Self, String> {
        let text = |name: &str| matches.get_one::<String>(name).cloned();
        let number = |name: &str| matches.get_one::<f64>(name).copied().unwrap_or_default();
        let tolerance = Tolerance {
            relative: number("rtol"),
            absolute: number("atol"),
        };
        if !(tolerance.relative >= 0.0 && tolerance.absolute >= 0.0) {
            return Err("--rtol and --atol are 0 or more".to_owned());
        }
        let token = matches.get_one::<PathBuf>("token-file").map(|path| {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
            Ok::<_, String>(format!("Bearer {}", text.trim()))
        });
        let client = HttpClient::new(HttpOptions {
            timeout: Duration::from_secs(120),
            max_response_bytes: LONGEST,
            plain_http: match matches.get_flag("plain-http") {
                true => PlainHttp::Anywhere,
                false => PlainHttp::Loopback,
            },
            ..HttpOptions::default()
        });
        let client = client.map_err(|error| error.to_string())?;
        let url = text("url").unwrap_or_default();
        client
            .check(&url)
            .map_err(|error| format!("--url: {error}"))?;
        Ok(Self {
            client,
            url: url.trim_end_matches('/').to_owned(),
            model: text("model"),
            version: text("model-version"),
            token: token.transpose()?,
            tolerance,
        })
    }

    async fn all(&self, file: BufReader<File>) -> Exit {
        let mut counts = Counts::default();
        for (number, line) in (1_u64..).zip(file.lines()) {
            let line = match line {
                Ok(line) if line.trim().is_empty() => continue,
                Ok(line) => line,
                Err(error) => return fail(Exit::Failed, format!("line {number}: {error}")),
            };
            let recorded = match Recorded::read(&line) {
                Ok(Some(recorded)) => recorded,
                Ok(None) => {
                    counts.skipped += 1;
                    continue;
                }
                Err(error) => return fail(Exit::Usage, format!("line {number}: {error}")),
            };
            self.one(number, &recorded, &mut counts).await;
        }
        let Counts {
            alike,
            differ,
            failed,
            skipped,
        } = counts;
        println!(
            "{alike} alike, {differ} differ, {failed} could not be asked, {skipped} without a request to send"
        );
        match differ + failed {
            0 => Exit::Success,
            _ => Exit::Failed,
        }
    }

    async fn one(&self, number: u64, recorded: &Recorded, counts: &mut Counts) {
        // What was cut short has nothing to be compared with.
        let Some(status) = recorded.status else {
            counts.skipped += 1;
            return;
        };
        let model = self.model.as_deref().unwrap_or(&recorded.model);
        let found = match self.ask(model, recorded).await {
            Ok(found) => found,
            Err(error) => {
                if counts.failed < SHOWN {
                    eprintln!("line {number}: {model}: {error}");
                }
                counts.failed += 1;
                return;
            }
        };
        let difference = self.difference(status, recorded, &found);
        match difference {
            None => counts.alike += 1,
            Some(difference) => {
                if counts.differ < SHOWN {
                    let id = recorded.request_id.as_deref();
                    let id = id.map_or_else(String::new, |id| format!(" ({id})"));
                    println!("line {number}{id}: {model}: {difference}");
                }
                counts.differ += 1;
            }
        }
    }

    async fn ask(&self, model: &str, recorded: &Recorded) -> Result<HttpResponse, String> {
        let segment = |text| utf8_percent_encode(text, SEGMENT).to_string();
        let mut url = format!("{}/v2/models/{}", self.url, segment(model));
        if let Some(version) = &self.version {
            url.push_str(&format!("/versions/{}", segment(version)));
        }
        url.push_str("/infer");
        let uri = self.client.check(&url).map_err(|error| error.to_string())?;
        let length = recorded
            .request
            .header_length
            .map(|length| length.to_string());
        let kind = match &length {
            None => "application/json",
            Some(_) => "application/octet-stream",
        };
        let mut headers = vec![(name("content-type"), kind)];
        if let Some(length) = &length {
            headers.push((name("inference-header-content-length"), length.as_str()));
        }
        if let Some(token) = &self.token {
            headers.push((name("authorization"), token.as_str()));
        }
        let body = recorded.request.bytes.clone();
        let answer = self.client.post(&uri, &headers, body).await;
        answer.map_err(|error| error.to_string())
    }

    fn difference(&self, status: u16, recorded: &Recorded, found: &HttpResponse) -> Option<String> {
        if found.status != status {
            let sentence = String::from_utf8_lossy(&found.body);
            let sentence: String = sentence.chars().take(300).collect();
            return Some(format!(
                "answered {} then and {} now: {sentence}",
                status, found.status
            ));
        }
        if status != 200 {
            return None;
        }
        let before = match recorded.response.as_ref().map(Body::response) {
            Some(Ok(before)) => before,
            Some(Err(error)) => return Some(format!("the recorded answer: {error}")),
            None => return None,
        };
        let now = Body::of_answer(found.content_type.as_deref(), found.body.clone());
        match now.response() {
            Ok(now) => compare::difference(&before, &now, self.tolerance),
            Err(error) => Some(format!("the answer: {error}")),
        }
    }
}

fn name(name: &'static str) -> oip::replay::HeaderName {
    oip::replay::HeaderName::from_static(name)
}
