//! Reading the values of flags.

use std::time::Duration;

use super::super::BenchError;
use super::super::host::Host;
use super::super::target::Target;

/// Most seconds that one measurement may be asked to take.
const MOST_SECONDS: f64 = 3600.0;
/// Most values in a list.
const MOST_VALUES: usize = 64;
/// Most connections.
const MOST_CONNECTIONS: usize = 4096;
/// Most elements of an input: 64 MiB of FP32.
const MOST_ELEMENTS: usize = 1 << 24;
/// Most requests a second that may be asked for.
const MOST_RATE: f64 = 1e7;

/// A value that may have a server's name before it: `NAME=VALUE`.
#[derive(Debug, Clone)]
pub(super) struct Named<T> {
    pub(super) name: Option<String>,
    pub(super) value: T,
}

pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    match seconds_or_none(text) {
        Ok(seconds) if !seconds.is_zero() => Ok(seconds),
        _ => Err(format!("must be a number above 0, {MOST_SECONDS} at most")),
    }
}

/// A time that may be 0.
pub(super) fn seconds_or_none(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=MOST_SECONDS).contains(&seconds) => {
            Ok(Duration::from_secs_f64(seconds))
        }
        _ => Err(format!("must be a number from 0 to {MOST_SECONDS}")),
    }
}

/// A time in milliseconds.
pub(super) fn millis(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(millis) if millis > 0.0 && millis <= 1e3 * MOST_SECONDS => {
            Ok(Duration::from_secs_f64(millis / 1e3))
        }
        _ => Err("must be a number of milliseconds above 0".to_owned()),
    }
}

pub(super) fn connections(text: &str) -> Result<Vec<usize>, String> {
    let whole = |word: &str| word.parse().ok();
    let range = |count: &usize| (1..=MOST_CONNECTIONS).contains(count);
    list(text, whole, range, || {
        format!("whole numbers from 1 to {MOST_CONNECTIONS}")
    })
}

pub(super) fn elements(text: &str) -> Result<Vec<usize>, String> {
    let whole = |word: &str| match word.strip_suffix(['k', 'K']) {
        Some(thousands) => thousands.parse::<usize>().ok()?.checked_mul(1 << 10),
        None => match word.strip_suffix('M') {
            Some(millions) => millions.parse::<usize>().ok()?.checked_mul(1 << 20),
            None => word.parse().ok(),
        },
    };
    let range = |count: &usize| (1..=MOST_ELEMENTS).contains(count);
    list(text, whole, range, || {
        format!("whole numbers from 1 to {MOST_ELEMENTS}, such as 16, 4k, 1M")
    })
}

pub(super) fn rates(text: &str) -> Result<Vec<f64>, String> {
    let range = |rate: &f64| *rate > 0.0 && *rate <= MOST_RATE;
    list(
        text,
        |word| word.parse().ok(),
        range,
        || format!("requests a second above 0, {MOST_RATE} at most"),
    )
}

/// Values with commas between them.
fn list<T>(
    text: &str,
    read: impl Fn(&str) -> Option<T>,
    allowed: impl Fn(&T) -> bool,
    what: impl Fn() -> String,
) -> Result<Vec<T>, String> {
    let words: Vec<&str> = text.split(',').map(str::trim).collect();
    if words.len() > MOST_VALUES {
        return Err(format!("{} values; {MOST_VALUES} at most", words.len()));
    }
    let value = |word: &&str| {
        let value = read(word).filter(|value| allowed(value));
        value.ok_or_else(|| format!("'{word}' is not one of: {}", what()))
    };
    words.iter().map(value).collect()
}

/// `URL` or `NAME=URL`.
pub(super) fn host(text: &str) -> Result<Named<Host>, BenchError> {
    let (name, url) = named(text);
    Ok(Named {
        name,
        value: Host::parse(url)?,
    })
}

/// `PID` or `NAME=PID`.
pub(super) fn process(text: &str) -> Result<Named<u32>, String> {
    let (name, pid) = named(text);
    match pid.parse() {
        // The system takes 0 for whoever asks.
        Ok(0) | Err(_) => Err(format!("'{pid}' is no process id")),
        Ok(value) => Ok(Named { name, value }),
    }
}

/// A name has no colon and no slash, which every URL with an `=` in it has before that.
fn named(text: &str) -> (Option<String>, &str) {
    match text.split_once('=') {
        Some((name, rest)) if !name.is_empty() && !name.contains([':', '/']) => {
            (Some(name.to_owned()), rest)
        }
        _ => (None, text),
    }
}

/// The servers that these flags describe, in the order in which they are named first.
pub(super) fn targets(
    rest: Vec<Named<Host>>,
    grpc: Vec<Named<Host>>,
    processes: Vec<Named<u32>>,
) -> Result<Vec<Target>, BenchError> {
    let refuse = |why: String| BenchError::Usage { why };
    let alone = rest.len() <= 1 && grpc.len() <= 1;
    let mut targets: Vec<Target> = Vec::new();
    for (is_grpc, named) in tagged(rest, false).chain(tagged(grpc, true)) {
        let name = match (&named.name, targets.first()) {
            (Some(name), _) => name.clone(),
            // Two doors without a name are one server's.
            (None, Some(first)) if alone => first.name.clone(),
            (None, _) => named.value.authority.clone(),
        };
        let place = targets.iter().position(|target| target.name == name);
        let place = place.unwrap_or_else(|| {
            targets.push(Target::nowhere(&name));
            targets.len() - 1
        });
        let target = &mut targets[place];
        let door = if is_grpc {
            &mut target.grpc
        } else {
            &mut target.rest
        };
        if door.replace(named.value).is_some() {
            let flag = if is_grpc { "--grpc-url" } else { "--url" };
            return Err(refuse(format!("{flag}: server '{name}' has two of it")));
        }
    }
    for process in processes {
        let target = match &process.name {
            Some(name) => targets.iter_mut().find(|target| target.name == *name),
            None if targets.len() == 1 => targets.first_mut(),
            None => None,
        };
        let target = target.ok_or_else(|| {
            refuse("--pid: say of which server it is: NAME=PID, with a NAME of --url".to_owned())
        })?;
        target.process = Some(process.value);
    }
    Ok(targets)
}

fn tagged(hosts: Vec<Named<Host>>, grpc: bool) -> impl Iterator<Item = (bool, Named<Host>)> {
    hosts.into_iter().map(move |host| (grpc, host))
}
