//! Compressed answers, for callers who ask for them.

use std::io::Write;
use std::pin::pin;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, VARY};
use http::{HeaderMap, HeaderValue};
use oip_core::execute::{blocking, until};
use tokio::time::Instant;

use super::respond::Reply;

/// Bodies below this gain nothing, in bytes.
const WORTH_IT: usize = 1024;
/// Bodies above this are compressed off the async threads, in bytes.
const LARGE: usize = 64 << 10;

/// A coding of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Deflate,
}

impl Coding {
    const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    /// The coding that a caller likes best, of those that we write; `None` for no coding.
    pub(super) fn wanted(headers: &HeaderMap) -> Option<Self> {
        let mut weights = Weights::default();
        for value in headers.get_all(ACCEPT_ENCODING) {
            for item in value.to_str().ok()?.split(',') {
                weights.read(item);
            }
        }
        weights.best()
    }
}

/// How much a caller likes each coding, in thousandths.
#[derive(Default)]
struct Weights {
    gzip: Option<u16>,
    deflate: Option<u16>,
    identity: Option<u16>,
    any: Option<u16>,
}

impl Weights {
    /// Source: RFC 9110, sections 12.4.2 and 12.5.3.
    fn read(&mut self, item: &str) {
        let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
        let weight = match parameters.trim().split_once('=') {
            Some((name, value)) if name.trim().eq_ignore_ascii_case("q") => {
                thousandths(value.trim())
            }
            _ => 1000,
        };
        match name.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => self.gzip = Some(weight),
            "deflate" => self.deflate = Some(weight),
            "identity" => self.identity = Some(weight),
            "*" => self.any = Some(weight),
            _ => {}
        }
    }

    fn best(&self) -> Option<Coding> {
        let gzip = self.gzip.or(self.any).unwrap_or(0);
        let deflate = self.deflate.or(self.any).unwrap_or(0);
        let (best, weight) = match gzip >= deflate {
            true => (Coding::Gzip, gzip),
            false => (Coding::Deflate, deflate),
        };
        (weight > 0 && weight >= self.identity.unwrap_or(0)).then_some(best)
    }
}

/// A weight between 0 and 1; what is none counts as 0.
fn thousandths(value: &str) -> u16 {
    match value.parse::<f32>() {
        Ok(weight) if (0.0..=1.0).contains(&weight) => (weight * 1000.0) as u16,
        _ => 0,
    }
}

/// Compresses an answer where that is worth it. Where its turn does not come before the deadline
/// it stays as it is.
pub(super) async fn compress(mut reply: Reply, coding: Coding, deadline: Option<Instant>) -> Reply {
    let length = reply.length();
    if length < WORTH_IT || reply.headers.contains_key(CONTENT_ENCODING) {
        return reply;
    }
    // Pieces are shared buffers: these clones copy nothing.
    let content = reply.content.clone();
    let compressed = match length > LARGE {
        true => {
            let compressed = pin!(blocking::run(move || deflate(&content, coding)));
            until(deadline, compressed).await.ok().flatten()
        }
        false => deflate(&content, coding),
    };
    reply
        .headers
        .append(VARY, HeaderValue::from_static("Accept-Encoding"));
    if let Some(compressed) = compressed {
        let name = HeaderValue::from_static(coding.name());
        reply.headers.insert(CONTENT_ENCODING, name);
        reply.replace(compressed);
    }
    reply
}

/// The pieces compressed together; `None` when that fails, which writing to memory does not.
fn deflate(content: &[Bytes], coding: Coding) -> Option<Bytes> {
    let level = Compression::fast();
    let compressed = match coding {
        Coding::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), level);
            content
                .iter()
                .try_for_each(|piece| encoder.write_all(piece))
                .ok()?;
            encoder.finish()
        }
        Coding::Deflate => {
            let mut encoder = ZlibEncoder::new(Vec::new(), level);
            content
                .iter()
                .try_for_each(|piece| encoder.write_all(piece))
                .ok()?;
            encoder.finish()
        }
    };
    compressed.ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rest::respond::JSON;

    fn wanted(value: &'static str) -> Option<Coding> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(value));
        Coding::wanted(&headers)
    }

    #[test]
    fn the_coding_that_the_caller_likes_best_is_chosen() {
        for (value, expected) in [
            ("gzip", Some(Coding::Gzip)),
            ("gzip, deflate, br", Some(Coding::Gzip)),
            ("gzip;q=0.5, deflate;q=0.8", Some(Coding::Deflate)),
            ("DEFLATE", Some(Coding::Deflate)),
            ("*", Some(Coding::Gzip)),
            ("gzip;q=0, *", Some(Coding::Deflate)),
            ("identity;q=1, gzip;q=0.5", None),
            ("gzip;q=0", None),
            ("gzip;q=nonsense", None),
            ("br", None),
            ("", None),
        ] {
            assert_eq!(wanted(value), expected, "{value}");
        }
        assert_eq!(Coding::wanted(&HeaderMap::new()), None);
    }

    #[tokio::test]
    async fn small_and_already_compressed_answers_stay_as_they_are() {
        let small = Reply::of(JSON, vec![Bytes::from(vec![b' '; WORTH_IT - 1])]);
        let small = compress(small, Coding::Gzip, None).await;
        assert!(!small.headers.contains_key(CONTENT_ENCODING));
        let mut done = Reply::of(JSON, vec![Bytes::from(vec![b' '; 2 * WORTH_IT])]);
        let gzip = HeaderValue::from_static("gzip");
        done.headers.insert(CONTENT_ENCODING, gzip.clone());
        let done = compress(done, Coding::Deflate, None).await;
        assert_eq!(done.headers.get(CONTENT_ENCODING), Some(&gzip));
    }

    #[tokio::test]
    async fn an_answer_in_pieces_is_compressed_as_one() {
        let pieces = vec![Bytes::from(vec![b'a'; LARGE]), Bytes::from(vec![b'b'; 10])];
        let reply = compress(Reply::of(JSON, pieces), Coding::Gzip, None).await;
        let mut text = Vec::new();
        let mut decoder = flate2::read::GzDecoder::new(&reply.content[0][..]);
        std::io::Read::read_to_end(&mut decoder, &mut text).unwrap();
        assert_eq!(text.len(), LARGE + 10);
        assert!(text.ends_with(b"abbbbbbbbbb"));
    }
}
