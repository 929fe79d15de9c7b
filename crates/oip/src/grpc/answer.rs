//! Answers as the pieces that are sent: encoded, and compressed where their caller compresses.

use std::pin::pin;

use bytes::{BufMut, Bytes, BytesMut};
use oip_core::execute::{Held, UNCOUNTED, blocking, until};
use oip_protocol::proto::generated::{ModelInferResponse, ModelStreamInferResponse};
use oip_protocol::proto::{self, ContentsForm};
use oip_protocol::{InferResponse, Tensor};
use prost::Message;
use prost::encoding::encode_varint;
use tokio::time::Instant;
use tonic::Status;

use super::message::PREFIX;
use super::{packed, respond};

/// Raw contents from this size on, together, are sent as they are, in bytes.
const SHARED: usize = 8 << 10;
/// The key of `raw_output_contents`: field 6, of bytes.
const RAW: u8 = 6 << 3 | 2;
/// The key of a stream's `infer_response`: field 2, a message.
const INFER_RESPONSE: u8 = 2 << 3 | 2;

/// Typed contents of more elements than this, or of more bytes than that, are encoded off the
/// async threads. Buffers that are raw are not touched.
const MANY: usize = 128 << 10;
const LARGE: usize = 1 << 20;
/// Answers above this are compressed off the async threads, in bytes.
const LARGE_PACKED: usize = 64 << 10;

/// How answers are sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wrapping {
    /// Each as the message of a stream, which holds it.
    pub(super) streams: bool,
    /// Compressed.
    pub(super) packs: bool,
}

/// An answer, encoded.
pub(super) struct Encoded {
    /// With its prefix, and not compressed.
    pieces: Vec<Bytes>,
    /// How many bytes of the first piece stand before the `ModelInferResponse`.
    before: usize,
    /// How many bytes that takes.
    length: usize,
    /// Whether buffers of the model are among the pieces.
    shares: bool,
    /// The same, compressed.
    packed: Option<Bytes>,
}

/// Encodes an answer until a deadline, off the async threads where that takes long.
///
/// # Errors
/// An answer that is over 4 GiB; and the deadline.
pub(super) async fn encode(
    response: InferResponse,
    form: ContentsForm,
    wrapping: Wrapping,
    deadline: impl FnOnce() -> Option<Instant>,
) -> Result<Encoded, Status> {
    if !is_large(&response.outputs, form, wrapping) {
        return encode_now(response, form, wrapping);
    }
    let encoded = pin!(blocking::run(move || encode_now(response, form, wrapping)));
    let encoded = until(deadline(), encoded).await;
    encoded.unwrap_or_else(|error| Err(respond::status(&error)))
}

/// Whether encoding it takes long.
fn is_large(outputs: &[Tensor], form: ContentsForm, wrapping: Wrapping) -> bool {
    if form == ContentsForm::Raw && !wrapping.packs {
        return false;
    }
    let bytes: usize = outputs.iter().map(|output| output.data().len()).sum();
    if wrapping.packs && bytes > LARGE_PACKED {
        return true;
    }
    let elements: usize = outputs.iter().map(Tensor::element_count).sum();
    form == ContentsForm::Typed && (bytes > LARGE || elements > MANY)
}

fn encode_now(
    response: InferResponse,
    form: ContentsForm,
    wrapping: Wrapping,
) -> Result<Encoded, Status> {
    let encoded = encoded(proto::encode_response(response, form), wrapping.streams)?;
    encoded.packed_as(wrapping)
}

/// The failure of one request of a stream.
///
/// # Errors
/// As [`encode`].
pub(super) fn failed(
    sentence: &str,
    infer_response: ModelInferResponse,
    wrapping: Wrapping,
) -> Result<Encoded, Status> {
    let message = ModelStreamInferResponse {
        error_message: sentence.to_owned(),
        infer_response: Some(infer_response),
    };
    let length = message.encoded_len();
    let mut text = begun(length, length)?;
    written(&message, &mut text)?;
    let encoded = Encoded {
        pieces: vec![text.freeze()],
        before: PREFIX,
        length,
        shares: false,
        packed: None,
    };
    encoded.packed_as(wrapping)
}

/// A buffer with the prefix of a message of so many bytes, and room for those of them that are
/// written into it.
fn begun(length: usize, own: usize) -> Result<BytesMut, Status> {
    let length = u32::try_from(length)
        .map_err(|_| Status::resource_exhausted("the answer is over 4 GiB"))?;
    let mut text = BytesMut::with_capacity(PREFIX + own);
    text.put_u8(0);
    text.put_u32(length);
    Ok(text)
}

fn written(message: &impl Message, text: &mut BytesMut) -> Result<(), Status> {
    let written = message.encode(text);
    written.map_err(|error| Status::internal(error.to_string()))
}

fn encoded(mut response: ModelInferResponse, streams: bool) -> Result<Encoded, Status> {
    let raw: usize = response.raw_output_contents.iter().map(Bytes::len).sum();
    let shared = match raw >= SHARED {
        true => std::mem::take(&mut response.raw_output_contents),
        false => Vec::new(),
    };
    let keys: usize = shared
        .iter()
        .map(|buffer| 1 + prost::length_delimiter_len(buffer.len()) + buffer.len())
        .sum();
    let own = response.encoded_len();
    let length = own + keys;
    let wrapper = match streams {
        true => 1 + prost::length_delimiter_len(length),
        false => 0,
    };
    let mut text = begun(wrapper + length, wrapper + own + 16 * shared.len())?;
    if streams {
        text.put_u8(INFER_RESPONSE);
        encode_varint(length as u64, &mut text);
    }
    written(&response, &mut text)?;
    let shares = !shared.is_empty();
    let mut pieces = Vec::with_capacity(1 + 2 * shared.len());
    for buffer in shared {
        text.put_u8(RAW);
        encode_varint(buffer.len() as u64, &mut text);
        pieces.push(text.split().freeze());
        // HTTP/2 has no use for empty frames.
        if !buffer.is_empty() {
            pieces.push(buffer);
        }
    }
    if !text.is_empty() {
        pieces.push(text.freeze());
    }
    Ok(Encoded {
        pieces,
        before: PREFIX + wrapper,
        length,
        shares,
        packed: None,
    })
}

impl Encoded {
    fn packed_as(mut self, wrapping: Wrapping) -> Result<Self, Status> {
        if wrapping.packs {
            let packed = packed::packed(&without(&self.pieces, PREFIX));
            self.packed = Some(packed.map_err(|error| respond::status(&error))?);
        }
        Ok(self)
    }

    /// How many bytes the answer takes, before it is compressed.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// The `ModelInferResponse`, in pieces.
    pub(super) fn message(&self) -> Vec<Bytes> {
        without(&self.pieces, self.before)
    }

    /// The pieces to send, which count as memory until they are sent. `held` is what the message of
    /// the request holds, if anything, and `asked` how many bytes it takes: the answer may share
    /// its buffer, and then keeps all of it.
    ///
    /// # Errors
    /// `TooManyRequests` where others hold everything.
    pub(super) fn sent(self, mut held: Held, asked: usize) -> Result<Vec<Bytes>, Status> {
        let length = match &self.packed {
            Some(packed) => packed.len(),
            None if self.shares => self.length.max(asked),
            None => self.length,
        };
        let mut pieces = match self.packed {
            Some(packed) => vec![packed],
            None => self.pieces,
        };
        if length > UNCOUNTED {
            let room = held.exchange(length);
            room.map_err(|error| respond::status(&error))?;
            held.goes_with(&mut pieces);
        }
        Ok(pieces)
    }
}

/// The pieces without so many bytes of the first.
fn without(pieces: &[Bytes], before: usize) -> Vec<Bytes> {
    let mut pieces = pieces.to_vec();
    if let Some(first) = pieces.first_mut() {
        *first = first.slice(before..);
    }
    pieces
}
