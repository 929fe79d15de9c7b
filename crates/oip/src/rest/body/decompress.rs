//! Compressed bodies.

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use oip_protocol::error::excerpt;
use oip_protocol::{Error, Limit, Result};

use super::gather::too_large;

/// Most codings one after the other.
const MOST: usize = 2;
/// How much room is made at a time for what comes out, in bytes.
const ROOM: usize = 64 << 10;
/// The largest window of either format, as a power of two.
const WINDOW: u8 = 15;

/// One content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
}

/// The codings of a body, in the order in which they were applied.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Codings(Vec<Coding>);

impl Codings {
    /// What `Content-Encoding` says.
    ///
    /// # Errors
    /// `UnsupportedMedia` for a coding that is not read.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self> {
        let mut codings = Vec::new();
        for value in headers.get_all(CONTENT_ENCODING) {
            let value = String::from_utf8_lossy(value.as_bytes());
            for name in value.split(',') {
                match name.trim().to_ascii_lowercase().as_str() {
                    "" | "identity" => continue,
                    "gzip" | "x-gzip" => codings.push(Coding::Gzip),
                    "deflate" => codings.push(Coding::Deflate),
                    other => return Err(unsupported(other)),
                }
                if codings.len() > MOST {
                    return Err(unsupported(&value));
                }
            }
        }
        Ok(Self(codings))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the codings off, the last first.
    ///
    /// # Errors
    /// `TooLarge` when more than `limit` bytes come out of one; `Malformed` when it is broken.
    pub(super) fn decode(&self, mut body: Bytes, limit: usize) -> Result<Bytes> {
        for coding in self.0.iter().rev() {
            body = match coding {
                Coding::Gzip => gzip(&body, limit)?,
                Coding::Deflate => deflate(&body, limit)?,
            };
        }
        Ok(body)
    }
}

/// Source: RFC 1952. Several members one after the other count as one.
fn gzip(body: &[u8], limit: usize) -> Result<Bytes> {
    let mut out = Vec::new();
    let mut left = body;
    loop {
        let mut member = Decompress::new_gzip(WINDOW);
        left = inflate(&mut member, left, &mut out, limit, "gzip")?;
        if left.is_empty() {
            return Ok(out.into());
        }
    }
}

/// Source: RFC 1950; some clients send RFC 1951 without its envelope, which is read too.
fn deflate(body: &[u8], limit: usize) -> Result<Bytes> {
    let mut out = Vec::new();
    let mut stream = Decompress::new(has_envelope(body));
    let left = inflate(&mut stream, body, &mut out, limit, "deflate")?;
    match left.is_empty() {
        true => Ok(out.into()),
        false => Err(broken("deflate")),
    }
}

/// Whether the two bytes of the envelope are there: method 8 and a sum that 31 divides.
fn has_envelope(body: &[u8]) -> bool {
    match body {
        [method, flags, ..] => {
            method & 0x0f == 8 && (u16::from(*method) << 8 | u16::from(*flags)) % 31 == 0
        }
        _ => true,
    }
}

/// Decompresses one stream to its end; returns what stands behind it.
fn inflate<'a>(
    stream: &mut Decompress,
    body: &'a [u8],
    out: &mut Vec<u8>,
    limit: usize,
    name: &str,
) -> Result<&'a [u8]> {
    let mut left = body;
    loop {
        // One byte more than allowed shows that there is too much, and no more is taken.
        let allowed = limit.saturating_add(1).saturating_sub(out.len());
        if allowed == 0 {
            return Err(too_large(limit).at_limit(Limit::Decompressed));
        }
        out.reserve(ROOM.min(allowed));
        let (read, written) = (stream.total_in(), out.len());
        let status = stream
            .decompress_vec(left, out, FlushDecompress::None)
            .map_err(|_| broken(name))?;
        let taken = usize::try_from(stream.total_in() - read).unwrap_or(usize::MAX);
        left = left.get(taken..).unwrap_or_default();
        if out.len() > limit {
            return Err(too_large(limit).at_limit(Limit::Decompressed));
        }
        match status {
            Status::StreamEnd => return Ok(left),
            Status::Ok | Status::BufError if taken > 0 || out.len() > written => {}
            // Nothing goes in, nothing comes out, and the end has not come.
            Status::Ok | Status::BufError => return Err(broken(name)),
        }
    }
}

fn broken(name: &str) -> Error {
    Error::malformed(format!("the body is no well-formed {name}"))
}

fn unsupported(coding: &str) -> Error {
    Error::unsupported_media(format!(
        "the content encoding '{}' is not read; known are gzip, deflate and identity",
        excerpt(coding)
    ))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use oip_protocol::ErrorKind;

    use super::*;

    fn gzipped(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zlibbed(text: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn decode(codings: &[Coding], body: Vec<u8>, limit: usize) -> Result<Bytes> {
        Codings(codings.to_vec()).decode(body.into(), limit)
    }

    #[test]
    fn every_coding_reads_back() {
        let text = b"the quick brown fox ".repeat(10_000);
        let limit = text.len();
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::fast());
        raw.write_all(&text).unwrap();
        for (codings, body) in [
            (&[Coding::Gzip][..], gzipped(&text)),
            (&[Coding::Deflate], zlibbed(&text)),
            (&[Coding::Deflate], raw.finish().unwrap()),
            (&[Coding::Deflate, Coding::Gzip], gzipped(&zlibbed(&text))),
        ] {
            assert_eq!(decode(codings, body, limit).unwrap(), text, "{codings:?}");
        }
        let members = [gzipped(&text[..7]), gzipped(&text[7..])].concat();
        assert_eq!(decode(&[Coding::Gzip], members, limit).unwrap(), text);
        assert_eq!(decode(&[Coding::Gzip], gzipped(b""), 0).unwrap(), "");
    }

    #[test]
    fn more_than_the_limit_is_refused_after_hardly_more_than_the_limit() {
        let bomb = gzipped(&vec![0; 32 << 20]);
        let error = decode(&[Coding::Gzip], bomb.clone(), 1 << 20).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(decode(&[Coding::Gzip], bomb, 32 << 20).is_ok());
        let error = decode(&[Coding::Deflate], zlibbed(&[0; 11]), 10).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }

    #[test]
    fn what_is_cut_short_broken_or_followed_by_something_else_is_malformed() {
        let text = b"abc".repeat(1000);
        let (gzip, zlib) = (gzipped(&text), zlibbed(&text));
        for (coding, body) in [
            (Coding::Gzip, Vec::new()),
            (Coding::Gzip, b"{}".to_vec()),
            (Coding::Gzip, gzip[..gzip.len() - 1].to_vec()),
            (Coding::Gzip, gzip[..20].to_vec()),
            (Coding::Gzip, [&gzip[..], b"x"].concat()),
            (Coding::Deflate, Vec::new()),
            (Coding::Deflate, b"{\"inputs\"".to_vec()),
            (Coding::Deflate, zlib[..zlib.len() - 1].to_vec()),
            (Coding::Deflate, [&zlib[..], b"x"].concat()),
        ] {
            let error = decode(&[coding], body.clone(), 1 << 20).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Malformed, "{coding:?} {body:?}");
        }
    }

    #[test]
    fn a_coding_that_is_not_read_is_named() {
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_ENCODING, value.parse().unwrap());
            Codings::of(&headers)
        };
        assert_eq!(of("GZIP, identity").unwrap(), Codings(vec![Coding::Gzip]));
        assert!(of("identity").unwrap().is_empty());
        let error = of("br").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnsupportedMedia);
        assert!(error.message().contains("'br'"));
        assert!(of("gzip, gzip, gzip").is_err());
    }
}
