//! `oip replay`: sends inferences that were kept to another server or version, and compares.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ArgMatches;
use oip::auth::http::{HttpClient, HttpOptions, HttpResponse, PlainHttp};
use oip::replay::{Body, HeaderName, Recorded, Told, is_for_load};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::credential::Credential;
use crate::exit::{Exit, fail};
use crate::print;

mod command;
mod compare;

pub(crate) use command::command;
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

pub(crate) fn run(matches: &ArgMatches) -> Exit {
    let replay = match Replay::new(matches) {
        Ok(replay) => replay,
        Err(error) => return fail(Exit::Usage, error),
    };
    let Some(path) = matches.get_one::<PathBuf>("file") else {
        return Exit::Usage;
    };
    let file = match open(path) {
        Ok(file) => file,
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

/// A file as far as it goes now: the server that is asked may be the one that writes it, and then
/// every request would be followed by one more.
fn open(path: &Path) -> std::io::Result<impl BufRead> {
    let file = File::open(path)?;
    let about = file.metadata()?;
    let length = match about.is_file() {
        true => about.len(),
        // A pipe, say.
        false => u64::MAX,
    };
    Ok(BufReader::new(file.take(length)))
}

struct Replay {
    client: HttpClient,
    url: String,
    model: Option<String>,
    version: Option<String>,
    /// The header by which the server knows who asks.
    shown: Option<Credential>,
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
        let printed = print::line(format_args!(
            "{alike} alike, {differ} differ, {refused} refused for want of room or time, {failed} could \
             not be asked, {unreadable} could not be read, {skipped} without anything to compare"
        ));
        if let Err(exit) = printed {
            return exit;
        }
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
    /// Whoever asks may not, now: the rest would be refused too.
    NotLetIn(u16),
}

/// Why a replay ends before its file does.
enum End {
    /// What it finds cannot be printed.
    Printing(Exit),
    /// Nobody will be answered any more, for this reason.
    NotLetIn(String),
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
        let path = |name: &str| matches.get_one::<PathBuf>(name);
        let shown = Credential::of(matches)?;
        let client = HttpClient::new(HttpOptions {
            timeout: Duration::from_secs(120),
            max_response_bytes: LONGEST,
            ca_file: path("ca-file").cloned(),
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
            shown,
            tolerance,
        })
    }

    async fn all(&self, mut file: impl BufRead) -> Exit {
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
                Ok(Some(recorded)) => match self.one(number, &recorded, &mut counts).await {
                    ControlFlow::Continue(()) => {}
                    ControlFlow::Break(End::Printing(exit)) => return exit,
                    ControlFlow::Break(End::NotLetIn(why)) => {
                        counts.report();
                        return fail(Exit::Failed, why);
                    }
                },
                Ok(None) => counts.skipped += 1,
                Err(error) => {
                    if counts.unreadable < SHOWN {
                        print::aside(format_args!("line {number} cannot be read: {error}"));
                    }
                    counts.unreadable += 1;
                }
            }
        }
        counts.report()
    }

    /// Asks again for one inference. Breaks where nobody will be answered any more.
    async fn one(&self, number: u64, recorded: &Recorded, counts: &mut Counts) -> ControlFlow<End> {
        // What was cut short has nothing to be compared with.
        let Some(told) = &recorded.told else {
            counts.skipped += 1;
            return ControlFlow::Continue(());
        };
        let model = self.model.as_deref().unwrap_or(&recorded.model);
        let found = match self.ask(model, recorded).await {
            Ok(found) => found,
            Err(error) => {
                if counts.failed < SHOWN {
                    print::aside(format_args!("line {number}: {model}: {error}"));
                }
                counts.failed += 1;
                return ControlFlow::Continue(());
            }
        };
        let id = recorded.request_id.as_deref();
        let id = id.map_or_else(String::new, |id| format!(" ({id})"));
        match self.compare(told, recorded, &found) {
            Outcome::Alike => counts.alike += 1,
            Outcome::WasRefused => counts.skipped += 1,
            Outcome::Refused(status) => {
                if counts.refused < SHOWN {
                    print::aside(format_args!(
                        "line {number}{id}: {model}: refused with {status}"
                    ));
                }
                counts.refused += 1;
            }
            Outcome::Differs(difference) => {
                let shown = counts.differ < SHOWN;
                counts.differ += 1;
                let difference = format_args!("line {number}{id}: {model}: {difference}");
                if shown && let Err(exit) = print::line(difference) {
                    return ControlFlow::Break(End::Printing(exit));
                }
            }
            Outcome::NotLetIn(status) => {
                counts.differ += 1;
                return ControlFlow::Break(End::NotLetIn(format!(
                    "line {number}{id}: {model}: refused with {status}, and was answered {told} then: \
                     the rest is not asked (--token-file, --api-key-file)"
                )));
            }
        }
        ControlFlow::Continue(())
    }

    async fn ask(&self, model: &str, recorded: &Recorded) -> Result<HttpResponse, String> {
        let segment = |text| utf8_percent_encode(text, SEGMENT).to_string();
        let mut url = format!("{}/v2/models/{}", self.url, segment(model));
        // Another model has other versions.
        let asked = recorded.asked_version.as_ref();
        let asked = asked.filter(|_| model == recorded.model);
        if let Some(version) = self.version.as_ref().or(asked) {
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
        if let Some(shown) = &self.shown {
            headers.push((name(shown.header), shown.value.as_str()));
        }
        let body = recorded.request.bytes.clone();
        let answer = self.client.post(&uri, &headers, body).await;
        answer.map_err(|error| error.to_string())
    }

    fn compare(&self, told: &Told, recorded: &Recorded, found: &HttpResponse) -> Outcome {
        if !told.is(found.status) {
            if matches!(found.status, 401 | 403) {
                return Outcome::NotLetIn(found.status);
            }
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

fn name(name: &'static str) -> HeaderName {
    HeaderName::from_static(name)
}
