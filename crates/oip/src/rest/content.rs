//! What an answer's body holds, and how it is sent.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::door::Body;

/// The bytes of an answer. Those of most lie in one piece, which needs no list around it.
#[derive(Clone)]
pub(super) enum Content {
    One(Bytes),
    Many(Vec<Bytes>),
}

impl Content {
    pub(super) fn empty() -> Self {
        Self::Many(Vec::new())
    }

    /// The same as a body. No piece is copied.
    pub(super) fn into_body(self) -> Body {
        match self {
            Self::One(only) => Body::whole(only),
            Self::Many(none) if none.is_empty() => Body::empty(),
            Self::Many(pieces) => Body::new(Pieces::new(pieces)),
        }
    }
}

impl From<Bytes> for Content {
    fn from(only: Bytes) -> Self {
        Self::One(only)
    }
}

impl From<Vec<u8>> for Content {
    fn from(only: Vec<u8>) -> Self {
        Self::One(only.into())
    }
}

impl From<String> for Content {
    fn from(only: String) -> Self {
        Self::One(only.into())
    }
}

impl From<Vec<Bytes>> for Content {
    fn from(pieces: Vec<Bytes>) -> Self {
        match <[Bytes; 1]>::try_from(pieces) {
            Ok([only]) => Self::One(only),
            Err(pieces) => Self::Many(pieces),
        }
    }
}

impl Deref for Content {
    type Target = [Bytes];

    fn deref(&self) -> &[Bytes] {
        match self {
            Self::One(only) => std::slice::from_ref(only),
            Self::Many(pieces) => pieces,
        }
    }
}

impl DerefMut for Content {
    fn deref_mut(&mut self) -> &mut [Bytes] {
        match self {
            Self::One(only) => std::slice::from_mut(only),
            Self::Many(pieces) => pieces,
        }
    }
}

/// A body in several pieces, sent one after the other without being copied together.
struct Pieces {
    pieces: VecDeque<Bytes>,
    left: u64,
}

impl Pieces {
    fn new(pieces: Vec<Bytes>) -> Self {
        let length = |piece: &Bytes| u64::try_from(piece.len()).unwrap_or(u64::MAX);
        Self {
            left: pieces.iter().map(length).sum(),
            pieces: pieces
                .into_iter()
                .filter(|piece| !piece.is_empty())
                .collect(),
        }
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.pieces.pop_front();
        if let Some(piece) = &next {
            self.left = self
                .left
                .saturating_sub(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        }
        Poll::Ready(next.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
