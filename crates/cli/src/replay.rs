//! `oip replay`: sends inferences that were kept to another server or version, and compares.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use oip::auth::http::{HttpClient, HttpOptions, HttpResponse, PlainHttp};
use oip::replay::{Body, Recorded, Told, is_for_load};
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
/// Longest line that is read, in bytes.
const LONGEST_LINE: u64 = 1 << 30;
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

A request that is refused for want of room or time (429, 503, 504), then or now, is not compared.

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
    refused: u64,
    failed: u64,
    unreadable: u64,
    skipped: u64,
}

impl Counts {
    fn report(&self) -> Exit {
        let Self {
            alike,
            differ,
            refused,
            failed,
            unreadable,
            skipped,
        } = self;
        println!(
            "{alike} alike, {differ} differ, {refused} refused for want of room or time, {failed} could \
             not be asked, {unreadable} could not be read, {skipped} without anything to compare"
        );
        match differ + refused + failed + unreadable {
            0 => Exit::Success,
            _ => Exit::Failed,
        }
    }
}

/// What a request was answered, held against what it was answered then.
enum Outcome {
    Alike,
    Differs(String),
    /// It was refused for want of room or time now.
    Refused(u16),
    /// It was then.
    WasRefused,
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

    async fn all(&self, mut file: BufReader<File>) -> Exit {
        let mut counts = Counts::default();
        for number in 1_u64.. {
            let line = match next_line(&mut file) {
                Ok(Some(line)) if line.trim_ascii().is_empty() => continue,
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(error) => {
                    counts.report();
                    return fail(Exit::Failed, format!("line {number}: {error}"));
                }
            };
            match Recorded::read(&line) {
                Ok(Some(recorded)) => self.one(number, &recorded, &mut counts).await,
                Ok(None) => counts.skipped += 1,
                Err(error) => {
                    if counts.unreadable < SHOWN {
                        eprintln!("line {number} cannot be read: {error}");
                    }
                    counts.unreadable += 1;
                }
            }
        }
        counts.report()
    }

    async fn one(&self, number: u64, recorded: &Recorded, counts: &mut Counts) {
        // What was cut short has nothing to be compared with.
        let Some(told) = &recorded.told else {
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
        let id = recorded.request_id.as_deref();
        let id = id.map_or_else(String::new, |id| format!(" ({id})"));
        match self.compare(told, recorded, &found) {
            Outcome::Alike => counts.alike += 1,
            Outcome::WasRefused => counts.skipped += 1,
            Outcome::Refused(status) => {
                if counts.refused < SHOWN {
                    eprintln!("line {number}{id}: {model}: refused with {status}");
                }
                counts.refused += 1;
            }
            Outcome::Differs(difference) => {
                if counts.differ < SHOWN {
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

    fn compare(&self, told: &Told, recorded: &Recorded, found: &HttpResponse) -> Outcome {
        if !told.is(found.status) {
            if is_for_load(found.status) {
                return Outcome::Refused(found.status);
            }
            if told.is_for_load() {
                return Outcome::WasRefused;
            }
            let said = sentence(found);
            let status = found.status;
            return Outcome::Differs(format!("answered {told} then and {status} now: {said}"));
        }
        match self.difference(recorded, found) {
            None => Outcome::Alike,
            Some(difference) => Outcome::Differs(difference),
        }
    }

    fn difference(&self, recorded: &Recorded, found: &HttpResponse) -> Option<String> {
        if found.status != 200 {
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

/// The next line of a file, of whatever it consists; `None` at its end.
fn next_line(file: &mut impl std::io::BufRead) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let read = file.take(LONGEST_LINE).read_until(b'\n', &mut line)?;
    if read as u64 == LONGEST_LINE && line.last() != Some(&b'\n') {
        // Its rest is no line of its own.
        file.skip_until(b'\n')?;
    }
    Ok((read > 0).then_some(line))
}

/// What an answer says, as a terminal may show it.
fn sentence(found: &HttpResponse) -> String {
    let is_json = found
        .content_type
        .as_deref()
        .is_some_and(|kind| kind.contains("json"));
    match std::str::from_utf8(&found.body) {
        Ok(text) if is_json => {
            let shown = text.chars().filter(|c| !c.is_control());
            shown.take(300).collect()
        }
        _ => format!(
            "{} bytes of {}",
            found.body.len(),
            found.content_type.as_deref().unwrap_or("no content type")
        ),
    }
}

fn name(name: &'static str) -> oip::replay::HeaderName {
    oip::replay::HeaderName::from_static(name)
}
