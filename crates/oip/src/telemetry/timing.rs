//! The `Server-Timing` header: how long each room took, for the caller.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue};
use oip_core::telemetry::{Room, Seen};

/// The header by which a caller asks for it.
static ASKED: HeaderName = HeaderName::from_static("x-oip-server-timing");
static ANSWER: HeaderName = HeaderName::from_static("server-timing");

/// Whether a request asks for the times of its rooms.
pub(crate) fn is_asked(headers: &HeaderMap) -> bool {
    headers.get(&ASKED).is_some_and(|value| {
        let no = ["false", "0", "no", "off"];
        !no.iter()
            .any(|word| value.as_bytes().eq_ignore_ascii_case(word.as_bytes()))
    })
}

/// Writes the times so far, in milliseconds. Source: W3C Server Timing.
pub(crate) fn write(seen: &Seen, headers: &mut HeaderMap) {
    let mut text = String::with_capacity(192);
    let laps = seen.laps();
    for (place, lap) in laps.iter().enumerate() {
        // A room may be entered twice: what is decoded in two steps is one line.
        if laps[..place].iter().any(|before| before.room == lap.room) {
            continue;
        }
        let same = laps[place..].iter().filter(|other| other.room == lap.room);
        let took = same.map(|lap| lap.took.as_secs_f64()).sum::<f64>() * 1e3;
        let _ = write!(text, "{};dur={took:.3}, ", lap.room.name());
        if lap.room == Room::Compute {
            let parts = seen.parts();
            for (name, part) in [
                ("input", parts.input),
                ("infer", parts.infer),
                ("output", parts.output),
            ] {
                let _ = write!(text, "{name};dur={:.3}, ", part.as_secs_f64() * 1e3);
            }
        }
    }
    let total = seen.begun().elapsed().as_secs_f64() * 1e3;
    let _ = write!(text, "total;dur={total:.3}");
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(&ANSWER, value);
    }
}
