//! A request's body: never more than the limit, decompressed, and in one piece that lies aligned.

mod decompress;
mod gather;
mod media;

use bytes::Bytes;
use http::Uri;
use oip_core::Action;
use oip_core::execute::{Held, blocking};
use oip_protocol::{Limit, Result};

use super::Arrived;
use crate::door::{Body, Present};
use crate::pieces::{Pieces, realigned};
use decompress::Codings;
use gather::Patience;
pub use gather::bodies_cut_short;
pub(super) use gather::declared;
pub(super) use media::{Form, HEADER_LENGTH};

/// Compressed bodies above this are decompressed off the async threads, in bytes, and such as grow
/// to more than that.
const SHORT: usize = 64 << 10;
const MUCH: usize = 256 << 10;
/// Bodies above this are put together off the async threads, in bytes: that takes milliseconds.
const LONG: usize = 16 << 20;

/// Reads the body of a request, whose head [`declared`] its length or did not.
///
/// `header_length` is how many bytes of JSON stand before the tensors' buffers; the byte behind
/// them lies aligned for any element. It is 0 where there are no such buffers.
///
/// # Errors
/// `TooLarge` beyond the limit, as it comes or decompressed; `UnsupportedMedia` for a coding that
/// is not read; `Malformed` for a body that is cut short or is not of its coding.
///
/// What it takes of the memory for bodies is `held`.
pub(super) async fn read(
    arrived: &mut Arrived,
    declared: Option<usize>,
    header_length: usize,
    held: &mut Held,
) -> Result<Bytes> {
    let door = &arrived.rest.door;
    let limit = door.options.body_limit;
    let patience = Patience::of(door, arrived.action == Some(Action::Infer));
    let codings = match arrived.present.has(Present::ENCODING) {
        true => Codings::of(&arrived.parts.headers)?,
        false => Codings::default(),
    };
    gather::refuse_declared(declared, limit)?;
    // Of a connection of HTTP/2 the path is a part of the buffer that its frame came in, of up to
    // hundreds of kilobytes, which is not to be kept while the body is waited for. It was read.
    arrived.parts.uri = Uri::default();
    let gathered = gather::gather(&mut arrived.body, limit, patience, held).await?;
    // Read to its end: there is nothing left to linger for.
    arrived.body = Body::empty();
    if codings.is_empty() {
        return match gathered.length() > LONG {
            true => blocking::run(move || gathered.aligned(header_length)).await,
            false => Ok(gathered.aligned(header_length)),
        };
    }
    let decompressed = decompress(codings, gathered, limit, header_length).await?;
    held.grow(decompressed.len())?;
    Ok(decompressed)
}

/// What little there is is decompressed, and laid aligned, here: it need not wait for what takes long.
async fn decompress(
    codings: Codings,
    gathered: Pieces,
    limit: usize,
    header_length: usize,
) -> Result<Bytes> {
    let unpack = move |body: Bytes, limit| {
        let body = codings.decode(body, limit)?;
        Ok(realigned(body, header_length))
    };
    if gathered.length() > SHORT {
        return blocking::run(move || unpack(gathered.aligned(0), limit)).await?;
    }
    let body = gathered.aligned(0);
    match unpack(body.clone(), limit.min(MUCH)) {
        Err(error) if limit > MUCH && error.limit() == Some(Limit::Decompressed) => {
            blocking::run(move || unpack(body, limit)).await?
        }
        decompressed => decompressed,
    }
}
