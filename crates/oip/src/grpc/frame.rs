//! One message as it is framed: a flag, its length, its bytes.

use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt;
use tonic::Status;

use super::message::{Messages, PREFIX};
use super::pieces;

/// A message that is all there.
#[derive(Clone)]
pub(super) struct Frame {
    /// As it came, its prefix included.
    pieces: Vec<Bytes>,
    length: usize,
    flag: u8,
}

impl Frame {
    /// What stands before its length: 1 where it is compressed, else 0.
    pub(super) fn flag(&self) -> u8 {
        self.flag
    }

    /// How many bytes it takes, as it came.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Its prefix and its bytes, in one piece. What came in several is copied together.
    pub(super) fn whole(mut self) -> Bytes {
        match self.pieces.len() {
            1 => self.pieces.swap_remove(0),
            _ => pieces::together(&self.pieces, self.length),
        }
    }

    /// Its bytes alone.
    pub(super) fn bytes(self) -> Bytes {
        self.whole().slice(PREFIX..)
    }
}

/// The next message; none at the end. No more is read than that.
pub(super) async fn next(body: &mut Messages) -> Result<Option<Frame>, Status> {
    let mut pieces: Vec<Bytes> = Vec::new();
    let (mut length, mut expected) = (0, None);
    while let Some(frame) = body.frame().await {
        // Trailers say nothing here.
        let Ok(piece) = frame?.into_data() else {
            continue;
        };
        length += piece.len();
        pieces.push(piece);
        if expected.is_none() && length >= PREFIX {
            expected = pieces::expected_length(&pieces);
        }
        if expected.is_some_and(|expected| length >= expected) {
            let flag = pieces.iter().find_map(|piece| piece.first()).copied();
            return Ok(Some(Frame {
                pieces,
                length,
                flag: flag.unwrap_or_default(),
            }));
        }
    }
    // A part of a message does not come this far.
    Ok(None)
}

/// The one message of a call, and its body to the end; none where the body is empty. What follows
/// the message is read and dropped.
pub(super) async fn only(body: &mut Messages) -> Result<Option<Frame>, Status> {
    let only = next(body).await?;
    while !body.is_end_stream() {
        match body.frame().await {
            Some(frame) => drop(frame?),
            None => break,
        }
    }
    Ok(only)
}
