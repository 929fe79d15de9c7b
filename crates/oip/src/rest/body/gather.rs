//! The pieces of a body as they come, and the one piece that decoders read.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;
use oip_protocol::{Error, Result};

/// Where the first tensor's buffer lands when the body is copied together, in bytes.
const BOUNDARY: usize = 64;
/// What the largest element needs, in bytes.
const ELEMENT: usize = 8;
/// Pieces below this are copied together as they come, in bytes: a body that comes byte by byte
/// must not cost a hundred bytes of bookkeeping for each.
const SMALL: usize = 1024;

static ALIGNMENT_COPIES: AtomicU64 = AtomicU64::new(0);

/// How many bodies, since the process began, came in one piece and were copied nevertheless, only
/// because their tensors did not lie aligned.
#[must_use]
pub fn alignment_copies() -> u64 {
    ALIGNMENT_COPIES.load(Relaxed)
}

/// Refuses a body that says of itself that it is over the limit, before any of it is read.
///
/// # Errors
/// `TooLarge`.
pub(super) fn refuse_declared(headers: &HeaderMap, limit: usize) -> Result<()> {
    let declared = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    match declared.and_then(|value| value.trim().parse::<u64>().ok()) {
        Some(length) if usize::try_from(length).is_ok_and(|length| length <= limit) => Ok(()),
        Some(_) => Err(too_large(limit)),
        None => Ok(()),
    }
}

/// The error of a body over the limit.
pub(super) fn too_large(limit: usize) -> Error {
    Error::too_large(format!("the body is over the limit of {limit} bytes"))
}

/// Reads a body until its end or until it is over the limit.
///
/// # Errors
/// `TooLarge`; `Malformed` when it is cut short; `TimedOut` when nothing comes for `patience`.
pub(super) async fn gather(body: &mut Body, limit: usize, patience: Duration) -> Result<Gathered> {
    let mut gathered = Gathered::default();
    while let Some(frame) = patiently(body.frame(), patience).await? {
        let frame = frame.map_err(|error| {
            Error::malformed("the body is cut short or not well formed").caused_by(error)
        })?;
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        if piece.len() > limit.saturating_sub(gathered.length) {
            return Err(too_large(limit));
        }
        gathered.push(piece);
    }
    Ok(gathered)
}

/// Waits no longer than `patience`. What is there already is taken without looking at a clock.
async fn patiently<T>(next: impl Future<Output = T>, patience: Duration) -> Result<T> {
    let mut next = pin!(next);
    let first = std::future::poll_fn(|context| Poll::Ready(next.as_mut().poll(context)));
    if let Poll::Ready(there) = first.await {
        return Ok(there);
    }
    let waited = tokio::time::timeout(patience, next).await;
    waited.map_err(|_| Error::timed_out("the body stopped arriving"))
}

/// A whole body in the pieces it came in.
#[derive(Default)]
pub(super) struct Gathered {
    pieces: Vec<Bytes>,
    /// Small pieces that came after the last of `pieces`.
    tail: BytesMut,
    length: usize,
}

impl Gathered {
    fn push(&mut self, piece: Bytes) {
        self.length += piece.len();
        // The first piece is most often the only one, and stays as it is.
        if piece.len() < SMALL && !self.pieces.is_empty() {
            self.tail.extend_from_slice(&piece);
            return;
        }
        self.flush();
        if !piece.is_empty() {
            self.pieces.push(piece);
        }
    }

    fn flush(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push(self.tail.split().freeze());
        }
    }

    /// The length of the body in bytes.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// The body in one piece, in which the byte at `place` lies aligned. One piece that lies so
    /// already is handed on as it is; anything else is copied once.
    pub(super) fn aligned(mut self, place: usize) -> Bytes {
        self.flush();
        match self.pieces.len() {
            0 => Bytes::new(),
            1 => self
                .pieces
                .pop()
                .map(|only| realigned(only, place))
                .unwrap_or_default(),
            _ => copied_together(&self.pieces, self.length, place),
        }
    }
}

/// The same bytes, with the byte at `place` aligned for any element: copied only where it is not,
/// and counted then.
pub(super) fn realigned(bytes: Bytes, place: usize) -> Bytes {
    let buffers = bytes.get(place..).unwrap_or_default();
    if place == 0 || buffers.is_empty() || buffers.as_ptr().addr().is_multiple_of(ELEMENT) {
        return bytes;
    }
    ALIGNMENT_COPIES.fetch_add(1, Relaxed);
    let length = bytes.len();
    copied_together(&[bytes], length, place)
}

/// The pieces in one new buffer, the byte at `place` on a boundary of 64 bytes.
fn copied_together(pieces: &[Bytes], length: usize, place: usize) -> Bytes {
    let mut whole: Vec<u8> = Vec::with_capacity(length + BOUNDARY);
    let place = whole.as_ptr().addr().wrapping_add(place);
    let front = place.wrapping_neg() % BOUNDARY;
    whole.resize(front, 0);
    for piece in pieces {
        whole.extend_from_slice(piece);
    }
    Bytes::from(whole).slice(front..)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_arriving_is_timed_out() {
        let silence = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
        let mut body = Body::from_stream(silence);
        let error = gather(&mut body, 5, PATIENCE).await.err().unwrap();
        assert_eq!(error.kind(), oip_protocol::ErrorKind::TimedOut);
    }

    fn gathered(pieces: &[&'static [u8]]) -> Gathered {
        let mut gathered = Gathered::default();
        for piece in pieces {
            gathered.push(Bytes::from_static(piece));
        }
        gathered
    }

    #[test]
    fn a_body_in_pieces_is_copied_together_with_its_first_tensor_on_a_boundary() {
        for place in [1, 13, 64, 1025] {
            let pieces: [&[u8]; 3] = [&[1; 2000], &[2; 5], &[3; 3000]];
            let body = gathered(&pieces).aligned(place);
            assert_eq!(body, pieces.concat());
            assert!(
                body[place..].as_ptr().addr().is_multiple_of(BOUNDARY),
                "{place}"
            );
        }
    }

    #[test]
    fn one_piece_that_lies_aligned_is_not_copied() {
        let piece = Bytes::from(
            vec![0_u64; 8]
                .into_iter()
                .flat_map(u64::to_le_bytes)
                .collect::<Vec<_>>(),
        );
        let place = piece.as_ptr().addr().wrapping_neg() % ELEMENT + ELEMENT;
        assert_eq!(realigned(piece.clone(), place).as_ptr(), piece.as_ptr());
        assert_eq!(realigned(piece.clone(), 0).as_ptr(), piece.as_ptr());
        let before = alignment_copies();
        let moved = realigned(piece.clone(), place + 1);
        assert_eq!(moved, piece);
        assert_ne!(moved.as_ptr(), piece.as_ptr());
        assert!(alignment_copies() > before);
    }

    #[test]
    fn a_header_length_beyond_the_body_is_left_to_the_decoder() {
        assert_eq!(gathered(&[b"{}"]).aligned(usize::MAX), "{}");
        assert_eq!(
            gathered(&[&[1; 2000], &[2; 2000]])
                .aligned(usize::MAX)
                .len(),
            4000
        );
    }

    #[test]
    fn a_body_that_comes_byte_by_byte_is_kept_in_few_pieces() {
        let mut gathered = Gathered::default();
        for _ in 0..10_000 {
            gathered.push(Bytes::from_static(b"x"));
        }
        assert_eq!(gathered.pieces.len(), 1);
        assert_eq!(gathered.aligned(0).len(), 10_000);
    }

    #[tokio::test]
    async fn what_comes_beyond_the_limit_is_refused() {
        let body = || Body::from("12345");
        assert_eq!(gather(&mut body(), 5, PATIENCE).await.unwrap().length(), 5);
        let error = gather(&mut body(), 4, PATIENCE).await.err().unwrap();
        assert_eq!(error.message(), "the body is over the limit of 4 bytes");
    }

    #[test]
    fn a_declared_length_over_the_limit_is_refused_before_reading() {
        let refused = |length: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_LENGTH, length.parse().unwrap());
            refuse_declared(&headers, 10).is_err()
        };
        assert!(!refused("10") && refused("11") && refused("18446744073709551615"));
    }
}
