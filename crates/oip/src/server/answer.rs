//! The body of an answer, until the other end has taken it.
//!
//! With HTTP/2 a client takes each stream by itself, as fast as it likes, and what it does not take
//! is seen at no socket: it waits here, or in the library below. Both are timed.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use oip_core::execute::UNCOUNTED;

use super::burden::burdening;
use super::life::{InFlight, Life};
use super::owed::Spell;
use crate::door::Body;

/// Pieces up to this are not followed beyond this place, in bytes: what is small is no burden, and
/// counts as no memory.
const SMALL: usize = UNCOUNTED;
/// Largest piece that is given to a stream at once, in bytes. A client has `write_timeout` for it.
const PIECE: usize = 256 << 10;

/// The body of an answer, in flight until its end.
pub(super) struct Answer {
    body: Body,
    /// What is left of a long piece.
    rest: Bytes,
    /// Since when the other end has to take what it was given, where streams share a connection.
    owed: Option<Spell>,
    shared: bool,
    in_flight: InFlight,
}

impl Answer {
    /// `shared`: whether others share its connection.
    pub(super) fn new(body: Body, in_flight: InFlight, shared: bool) -> Self {
        Self {
            body,
            rest: Bytes::new(),
            owed: None,
            shared,
            in_flight,
        }
    }

    /// The other end has taken what it was given.
    fn taken(&mut self) {
        if let Some(spell) = self.owed.take() {
            self.in_flight.life().taken(spell);
        }
    }

    /// A frame which counts, where it is not small, until all of it is gone. Many that are not large
    /// are a burden together.
    fn burdening(&self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match frame.data_ref().is_some_and(|piece| piece.len() > SMALL) {
            true => frame.map_data(|piece| burdening(piece, self.in_flight.shared_life())),
            false => frame,
        }
    }

    /// A piece as it is handed on, followed until it was sent.
    fn followed(&mut self, piece: Bytes) -> Bytes {
        if piece.len() <= SMALL {
            return piece;
        }
        let life = self.in_flight.shared_life();
        let spell = life.owes();
        self.rest = piece;
        let bytes = self.rest.split_to(self.rest.len().min(PIECE));
        Bytes::from_owner(Followed { bytes, life, spell })
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.taken();
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if !self.shared {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
            return Poll::Ready(frame.map(|frame| frame.map(|frame| self.burdening(frame))));
        }
        self.taken();
        let frame = if self.rest.is_empty() {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
            frame.map(|frame| frame.map(|frame| self.burdening(frame)))
        } else {
            // It counts already, as a part of the piece that it was cut from.
            Some(Ok(Frame::data(std::mem::take(&mut self.rest))))
        };
        let Some(Ok(frame)) = frame else {
            return Poll::Ready(frame);
        };
        self.owed = Some(self.in_flight.life().owes());
        let frame = match frame.into_data() {
            Ok(piece) => Frame::data(self.followed(piece)),
            Err(trailers) => trailers,
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut whole = SizeHint::new();
        if let Some(upper) = hint.upper() {
            whole.set_upper(upper.saturating_add(rest));
        }
        whole.set_lower(hint.lower().saturating_add(rest));
        whole
    }
}

/// A piece that the library below holds until the other end takes it.
struct Followed {
    bytes: Bytes,
    life: Arc<Life>,
    spell: Spell,
}

impl AsRef<[u8]> for Followed {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.life.taken(self.spell);
    }
}

#[cfg(test)]
mod tests {
    use http::Version;
    use http_body::Body as _;
    use http_body_util::BodyExt;

    use super::*;
    use crate::door::pace::LARGE;
    use crate::server::ConnectionLimits;

    #[tokio::test]
    async fn a_long_answer_of_a_shared_connection_goes_in_pieces_and_loses_nothing() {
        let sent: Vec<u8> = (0..PIECE * 2 + 77).map(|n| (n % 251) as u8).collect();
        for shared in [true, false] {
            let life = Arc::new(Life::new(Arc::new(ConnectionLimits::default())));
            let in_flight = life.begin(Version::HTTP_2);
            let mut answer = Answer::new(Body::whole(sent.clone()), in_flight, shared);
            let (mut pieces, mut got) = (Vec::new(), Vec::new());
            while let Some(frame) = answer.frame().await {
                assert_eq!(
                    answer.size_hint().exact(),
                    Some((sent.len() - got.len()) as u64 - frame_length(&frame))
                );
                let piece = frame.unwrap().into_data().unwrap();
                got.extend_from_slice(&piece);
                pieces.push(piece);
                let holds = life.burden().holds();
                assert_eq!(holds, sent.len(), "after {} pieces", pieces.len());
            }
            assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
            assert_eq!(pieces.len(), if shared { 3 } else { 1 });
            drop((answer, pieces));
            assert_eq!(life.burden().holds(), 0);
        }
    }

    #[tokio::test]
    async fn answers_below_what_is_large_are_a_burden_together_and_small_ones_are_none() {
        for shared in [true, false] {
            let life = Arc::new(Life::new(Arc::new(ConnectionLimits::default())));
            let mut pieces = Vec::new();
            for length in [SMALL, SMALL + 1, LARGE - 1] {
                let in_flight = life.begin(Version::HTTP_2);
                let mut answer = Answer::new(Body::whole(vec![0; length]), in_flight, shared);
                let frame = answer.frame().await.unwrap().unwrap();
                pieces.push(frame.into_data().unwrap());
            }
            assert_eq!(life.burden().holds(), SMALL + LARGE);
            drop(pieces);
            assert_eq!(life.burden().holds(), 0);
        }
    }

    fn frame_length(frame: &Result<Frame<Bytes>, axum::Error>) -> u64 {
        let frame = frame.as_ref().unwrap();
        frame.data_ref().map_or(0, |data| data.len() as u64)
    }
}
