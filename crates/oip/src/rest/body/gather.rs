//! The pieces of a body as they come, and the one piece that decoders read.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;
use oip_core::execute::Held;
use oip_core::telemetry::count_alignment_copy;
use oip_protocol::{Error, Limit, Result};
use tokio::time::Instant;

use crate::aligned::copied_together;
use crate::door::Body;

/// What the largest element needs, in bytes.
const ELEMENT: usize = 8;
/// Pieces below this are copied together as they come, in bytes. Each is a part of a buffer of at
/// least so much, which is kept as long as the piece is.
const SMALL: usize = 8 << 10;

static CUT_SHORT: AtomicU64 = AtomicU64::new(0);

/// How many bodies, since the process began, ended before they were whole.
#[must_use]
pub fn bodies_cut_short() -> u64 {
    CUT_SHORT.load(Relaxed)
}

/// The length that a body says of itself; `None` where it says none.
pub(in crate::rest) fn declared(headers: &HeaderMap) -> Option<usize> {
    let declared = headers.get(CONTENT_LENGTH)?.to_str().ok()?;
    let length = declared.trim().parse::<u64>().ok()?;
    Some(usize::try_from(length).unwrap_or(usize::MAX))
}

/// Refuses a body that says of itself that it is over the limit, before any of it is read.
///
/// # Errors
/// `TooLarge`.
pub(super) fn refuse_declared(declared: Option<usize>, limit: usize) -> Result<()> {
    match declared {
        Some(length) if length > limit => Err(too_large(limit)),
        _ => Ok(()),
    }
}

/// How long a body may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Longest that nothing comes.
    pub(super) pause: Duration,
    /// Longest in all.
    pub(super) total: Duration,
}

/// The error of a body over the limit.
pub(super) fn too_large(limit: usize) -> Error {
    let refusal = Error::too_large(format!("the body is over the limit of {limit} bytes"));
    refusal.at_limit(Limit::BodyLimit)
}

/// Reads a body until its end or until it is over the limit.
///
/// # Errors
/// `TooLarge`; `Malformed` when it is cut short; `TimedOut` when nothing comes for too long, or
/// all of it takes too long; `TooManyRequests` when it does not fit into the memory for bodies.
pub(super) async fn gather(
    body: &mut Body,
    limit: usize,
    patience: Patience,
    held: &mut Held,
) -> Result<Gathered> {
    let mut gathered = Gathered::default();
    let mut clock = Clock {
        patience,
        end: None,
    };
    while let Some(frame) = clock.patiently(body.frame()).await? {
        let frame = frame.map_err(|error| {
            CUT_SHORT.fetch_add(1, Relaxed);
            Error::malformed("the body is cut short or not well formed").caused_by(error)
        })?;
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        if piece.len() > limit.saturating_sub(gathered.length) {
            return Err(too_large(limit));
        }
        held.grow(piece.len())?;
        gathered.push(piece);
    }
    Ok(gathered)
}

/// The time that a body takes, from the first wait for it.
struct Clock {
    patience: Patience,
    end: Option<Instant>,
}

impl Clock {
    /// Waits no longer than allowed. What is there already is taken without looking at a clock.
    async fn patiently<T>(&mut self, next: impl Future<Output = T>) -> Result<T> {
        let mut next = pin!(next);
        let first = std::future::poll_fn(|context| Poll::Ready(next.as_mut().poll(context)));
        if let Poll::Ready(there) = first.await {
            return Ok(there);
        }
        let now = Instant::now();
        let Patience { pause, total } = self.patience;
        let end = *self.end.get_or_insert(now + total);
        let waited = tokio::time::timeout_at(end.min(now + pause), next).await;
        waited.map_err(|_| match Instant::now() >= end {
            true => Error::timed_out("the body took too long to arrive").at_limit(Limit::BodyTime),
            false => Error::timed_out("the body stopped arriving").at_limit(Limit::BodyTimeout),
        })
    }
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
        let is_first = self.pieces.is_empty() && self.tail.is_empty();
        if piece.len() < SMALL && !is_first {
            if let [first] = &*self.pieces
                && first.len() < SMALL
            {
                self.tail.extend_from_slice(first);
                self.pieces.clear();
            }
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
    count_alignment_copy();
    let length = bytes.len();
    copied_together(&[bytes], length, place)
}

#[cfg(test)]
mod tests {
    use oip_core::telemetry::alignment_copies;

    use super::*;
    use crate::aligned::BOUNDARY;

    const PATIENCE: Patience = Patience {
        pause: Duration::from_secs(1),
        total: Duration::from_secs(10),
    };

    fn nothing() -> Held {
        oip_core::execute::Memory::new(1000).nothing()
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_is_timed_out_when_its_time_is_over() {
        let trickle = futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(900)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), ()))
        });
        let mut body = Body::new(axum::body::Body::from_stream(trickle));
        let begun = Instant::now();
        let refused = gather(&mut body, 500, PATIENCE, &mut nothing()).await;
        assert_eq!(refused.err().unwrap().limit(), Some(Limit::BodyTime));
        assert!(begun.elapsed() <= Duration::from_secs(11));
    }

    #[tokio::test]
    async fn a_body_that_does_not_fit_into_the_memory_is_refused() {
        let mut body = Body::whole(vec![0; 1001]);
        let refused = gather(&mut body, 5000, PATIENCE, &mut nothing()).await;
        assert_eq!(refused.err().unwrap().limit(), Some(Limit::BodyMemory));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_arriving_is_timed_out() {
        let silence = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
        let mut body = Body::new(axum::body::Body::from_stream(silence));
        let error = gather(&mut body, 5, PATIENCE, &mut nothing())
            .await
            .err()
            .unwrap();
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
            let long: [&[u8]; 3] = [&[1; 9000], &[2; 5], &[3; 30_000]];
            let small: [&[u8]; 3] = [&[1; 2000], &[2; 5], &[3; 3000]];
            for (pieces, boundary) in [(long, BOUNDARY), (small, ELEMENT)] {
                let body = gathered(&pieces).aligned(place);
                assert_eq!(body, pieces.concat());
                let at = body[place..].as_ptr().addr();
                assert!(at.is_multiple_of(boundary), "{place}");
            }
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
        assert_eq!(gathered.pieces.len(), 0);
        assert_eq!(gathered.aligned(0).len(), 10_000);
    }

    #[test]
    fn pieces_that_are_small_beside_the_buffers_they_lie_in_keep_none_of_those() {
        let buffer = Bytes::from(vec![7; 8 << 10]);
        let mut gathered = Gathered::default();
        for _ in 0..100 {
            gathered.push(buffer.slice(..1030));
        }
        assert!(buffer.is_unique(), "a piece is kept as it came");
        assert_eq!(gathered.pieces.len(), 0);
        gathered.push(buffer.clone());
        gathered.push(buffer.slice(..1030));
        assert_eq!(gathered.pieces.len(), 2);
        assert_eq!(gathered.length(), 101 * 1030 + buffer.len());
        assert!(gathered.aligned(0).iter().all(|byte| *byte == 7));
    }

    #[tokio::test]
    async fn what_comes_beyond_the_limit_is_refused() {
        let body = || Body::whole("12345");
        assert_eq!(
            gather(&mut body(), 5, PATIENCE, &mut nothing())
                .await
                .unwrap()
                .length(),
            5
        );
        let error = gather(&mut body(), 4, PATIENCE, &mut nothing())
            .await
            .err()
            .unwrap();
        assert_eq!(error.message(), "the body is over the limit of 4 bytes");
    }

    #[test]
    fn a_declared_length_over_the_limit_is_refused_before_reading() {
        let refused = |length: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_LENGTH, length.parse().unwrap());
            refuse_declared(declared(&headers), 10).is_err()
        };
        assert!(!refused("10") && refused("11") && refused("18446744073709551615"));
    }
}
