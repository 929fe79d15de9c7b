//! Compressed messages, in and out. Done here and not by tonic, which does it on the threads that
//! serve connections, whatever it takes.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderName, HeaderValue};
use oip_protocol::{Error, Limit, Result};

use super::message::PREFIX;

static ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
static ACCEPTED: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// How the messages of a call are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Packing {
    /// Those of the caller may be.
    pub(super) comes: bool,
    /// Those of the server are.
    pub(super) goes: bool,
}

impl Packing {
    /// What the head of a call says; none where it names an encoding that is not read.
    ///
    /// Answers are compressed only for requests that are compressed themselves. That a client
    /// understands gzip says nothing: those of Python always say so, and packing an answer takes
    /// many times what making it takes.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        match headers.get(&ENCODING).map(HeaderValue::as_bytes) {
            None | Some(b"identity") => Some(Self::default()),
            Some(b"gzip") => Some(Self {
                comes: true,
                goes: understands(headers),
            }),
            Some(_) => None,
        }
    }

    /// Says so in the head of an answer.
    pub(super) fn tell(self, headers: &mut HeaderMap) {
        if self.goes {
            headers.insert(ENCODING.clone(), HeaderValue::from_static("gzip"));
        }
    }
}

fn understands(headers: &HeaderMap) -> bool {
    let accepted = headers.get(&ACCEPTED).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|accepted| accepted.split(',').any(|name| name.trim() == "gzip"))
}

/// A message unpacked, as a message that never was compressed: with room for a prefix in front,
/// which is written.
///
/// # Errors
/// `TooLarge` when more than `limit` bytes come out; `Malformed` when it is broken.
pub(super) fn unpacked(packed: &[u8], limit: usize) -> Result<Bytes> {
    let mut whole = vec![0; PREFIX];
    // One byte more than allowed shows that there is too much, and no more is taken.
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let read = GzDecoder::new(packed).take(most).read_to_end(&mut whole);
    if read.map_err(|_| Error::malformed("the message is no well-formed gzip"))? > limit {
        let refusal = Error::too_large(format!(
            "the message is over the limit of {limit} bytes when it is unpacked"
        ));
        return Err(refusal.at_limit(Limit::Decompressed));
    }
    write_length(&mut whole)?;
    Ok(whole.into())
}

/// A message in pieces, compressed, with its prefix.
///
/// # Errors
/// When it is over 4 GiB.
pub(super) fn packed(pieces: &[Bytes]) -> Result<Bytes> {
    let mut prefix = vec![0; PREFIX];
    prefix[0] = 1;
    let mut packer = GzEncoder::new(prefix, Compression::fast());
    let written = pieces.iter().try_for_each(|piece| packer.write_all(piece));
    let packed = written.and_then(|()| packer.finish());
    let mut whole = packed.map_err(Error::handler_failed)?;
    write_length(&mut whole)?;
    Ok(whole.into())
}

/// Writes into its prefix how long a message is.
fn write_length(whole: &mut [u8]) -> Result<()> {
    let length = u32::try_from(whole.len() - PREFIX);
    let length = length.map_err(|_| Error::too_large("the message is over 4 GiB"))?;
    whole[1..PREFIX].copy_from_slice(&length.to_be_bytes());
    Ok(())
}
