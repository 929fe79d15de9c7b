//! W3C trace context: `traceparent` and `tracestate`, in and out.
//!
//! Source: W3C Trace Context, level 1.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::{HeaderMap, HeaderName, HeaderValue};

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Length of a `traceparent` of version 00.
const LENGTH: usize = 55;
/// Longest `tracestate` that is passed on, in bytes, as the specification asks for at least.
const LONGEST_STATE: usize = 512;

/// Where a request stands in a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TraceContext {
    pub(crate) trace: [u8; 16],
    /// The caller's span; `None` where the trace begins here.
    pub(crate) parent: Option<[u8; 8]>,
    /// This server's span.
    pub(crate) span: [u8; 8],
    pub(crate) sampled: bool,
    pub(crate) state: Option<HeaderValue>,
}

impl TraceContext {
    /// The context that a request brings. One that is not well formed counts as none.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(&TRACEPARENT).iter();
        let text = values.next()?.to_str().ok()?;
        if values.next().is_some() {
            return None;
        }
        let (trace, parent, flags) = parse(text)?;
        Some(Self {
            trace,
            parent: Some(parent),
            span: id(),
            sampled: flags & 1 == 1,
            state: state(headers),
        })
    }

    /// The beginning of a trace.
    pub(crate) fn begin() -> Self {
        let mut trace = [0; 16];
        trace[..8].copy_from_slice(&id());
        trace[8..].copy_from_slice(&id());
        Self {
            trace,
            parent: None,
            span: id(),
            sampled: true,
            state: None,
        }
    }

    /// Writes the context, with this server's span as the parent, in place of what is there.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let flags = u8::from(self.sampled);
        let text = format!("00-{}-{}-{flags:02x}", hex(&self.trace), hex(&self.span));
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(&TRACEPARENT, value);
        }
        match &self.state {
            Some(state) => _ = headers.insert(&TRACESTATE, state.clone()),
            None => _ = headers.remove(&TRACESTATE),
        }
    }
}

/// `version-trace-parent-flags`.
fn parse(text: &str) -> Option<([u8; 16], [u8; 8], u8)> {
    let known = text.get(..LENGTH)?;
    let mut parts = known.split('-');
    let [version] = bytes::<1>(parts.next()?)?;
    let trace = bytes(parts.next()?)?;
    let parent = bytes(parts.next()?)?;
    let [flags] = bytes::<1>(parts.next()?)?;
    let rest = text.get(LENGTH..)?;
    let fits = match version {
        0 => rest.is_empty(),
        0xff => false,
        // Later versions may say more behind.
        _ => rest.is_empty() || rest.starts_with('-'),
    };
    let usable = fits && parts.next().is_none() && trace != [0; 16] && parent != [0; 8];
    usable.then_some((trace, parent, flags))
}

/// So many bytes in lower-case hexadecimal, and nothing else.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != 2 * N || !text.bytes().all(lower) {
        return None;
    }
    let mut found = [0; N];
    for (n, byte) in found.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * n..2 * n + 2)?, 16).ok()?;
    }
    Some(found)
}

fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let values: Option<Vec<&str>> = headers
        .get_all(&TRACESTATE)
        .iter()
        .map(|value| value.to_str().ok())
        .collect();
    let text = values?.join(",");
    let sensible = !text.is_empty() && text.len() <= LONGEST_STATE;
    sensible.then(|| HeaderValue::try_from(text).ok()).flatten()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A number that nobody has had before, and never 0. Nothing secret hangs on it.
pub(crate) fn number() -> u64 {
    static SEED: OnceLock<RandomState> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Relaxed);
    SEED.get_or_init(RandomState::new).hash_one(count).max(1)
}

fn id() -> [u8; 8] {
    number().to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_is_read_and_written_with_a_span_of_our_own() {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", GOOD.parse().unwrap());
        headers.append("tracestate", "a=1".parse().unwrap());
        headers.append("tracestate", "b=2".parse().unwrap());
        let context = TraceContext::of(&headers).unwrap();
        assert!(context.sampled && context.state.as_ref().unwrap() == "a=1,b=2");
        context.write(&mut headers);
        let out = headers["traceparent"].to_str().unwrap();
        assert!(out.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && out.ends_with("-01"));
        assert!(!out.contains("00f067aa0ba902b7"), "{out}");
    }

    #[test]
    fn what_is_no_context_counts_as_none() {
        for text in [
            "",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4bf92f3577b34da6a3ce929d0e0e473\u{e9}-00f067aa0ba902b7-01",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        let later = format!("cc{}-what", &GOOD[2..]);
        assert!(parse(&later).is_some());
        let mut headers = HeaderMap::new();
        headers.append("traceparent", GOOD.parse().unwrap());
        headers.append("traceparent", GOOD.parse().unwrap());
        assert_eq!(TraceContext::of(&headers), None);
    }
}
