//! Bodies and messages in the pieces they come in, and those copied together so that a tensor lies
//! aligned.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use oip_core::telemetry::count_alignment_copy;

/// What the largest element needs, in bytes.
const ELEMENT: usize = 8;
/// Where the tensor's buffer lands, in bytes.
pub(crate) const BOUNDARY: usize = 64;
/// Pieces below this are copied together as they come, in bytes. Each is a part of a buffer of at
/// least so much, which is kept as long as the piece is.
const SMALL: usize = 8 << 10;

/// What has come, in order.
#[derive(Default)]
pub(crate) struct Pieces {
    /// The first, most often the only one, which so needs no list.
    first: Option<Bytes>,
    pieces: VecDeque<Bytes>,
    /// Small pieces that came after the last of `pieces`.
    tail: BytesMut,
    length: usize,
}

impl Pieces {
    pub(crate) fn push(&mut self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        let is_first = self.length == 0;
        self.length += piece.len();
        if is_first {
            // Whatever its size, it stays as it is.
            self.first = Some(piece);
            return;
        }
        if piece.len() >= SMALL {
            self.close();
            self.pieces.push_back(piece);
            return;
        }
        if self.pieces.is_empty()
            && self.tail.is_empty()
            && let Some(first) = self.first.take_if(|first| first.len() < SMALL)
        {
            self.tail.extend_from_slice(&first);
        }
        self.tail.extend_from_slice(&piece);
    }

    /// The small pieces at the end are one now.
    fn close(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
    }

    /// All of them together, in bytes.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// The first bytes, when so many are there.
    pub(crate) fn first<const N: usize>(&self) -> Option<[u8; N]> {
        let pieces = self.first.iter().chain(&self.pieces);
        let mut bytes = pieces.flatten().chain(&self.tail).copied();
        let mut first = [0; N];
        for place in &mut first {
            *place = bytes.next()?;
        }
        Some(first)
    }

    /// Takes the first piece out, or of it so many bytes.
    pub(crate) fn pop(&mut self, most: usize) -> Option<Bytes> {
        if self.first.is_none() {
            if self.pieces.is_empty() {
                self.close();
            }
            self.first = self.pieces.pop_front();
        }
        let first = self.first.as_mut()?;
        let piece = match first.len() <= most {
            true => self.first.take()?,
            false => first.copy_to_bytes(most),
        };
        self.length -= piece.len();
        Some(piece)
    }

    /// All of them in one piece, in which the byte at `place` lies aligned. One piece that lies so
    /// already is handed on as it is; anything else is copied once.
    pub(crate) fn aligned(mut self, place: usize) -> Bytes {
        self.close();
        if let Some(first) = self.first.take() {
            if self.pieces.is_empty() {
                return realigned(first, place);
            }
            self.pieces.push_front(first);
        }
        if self.pieces.len() > 1 {
            return copied_together(self.pieces.make_contiguous(), self.length, place);
        }
        let only = self.pieces.pop_front();
        only.map(|only| realigned(only, place)).unwrap_or_default()
    }
}

/// The same bytes, with the byte at `place` aligned for any element: copied only where it is not,
/// and counted then.
pub(crate) fn realigned(bytes: Bytes, place: usize) -> Bytes {
    let buffers = bytes.get(place..).unwrap_or_default();
    if place == 0 || buffers.is_empty() || buffers.as_ptr().addr().is_multiple_of(ELEMENT) {
        return bytes;
    }
    count_alignment_copy();
    let length = bytes.len();
    copied_together(&[bytes], length, place)
}

/// The pieces in one new buffer, the byte at `place` on a boundary of 64 bytes.
pub(crate) fn copied_together(pieces: &[Bytes], length: usize, place: usize) -> Bytes {
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
    use oip_core::telemetry::alignment_copies;

    use super::*;

    #[test]
    fn pieces_that_are_small_beside_the_buffers_they_lie_in_keep_none_of_those() {
        let buffer = Bytes::from(vec![7; 8 << 10]);
        let mut pieces = Pieces::default();
        for _ in 0..100 {
            pieces.push(buffer.slice(..1030));
        }
        assert!(buffer.is_unique(), "a piece is kept as it came");
        pieces.push(buffer.clone());
        pieces.push(buffer.slice(..1030));
        assert_eq!(pieces.length(), 101 * 1030 + buffer.len());
        let mut sizes = Vec::new();
        while let Some(piece) = pieces.pop(usize::MAX) {
            assert!(piece.iter().all(|byte| *byte == 7));
            sizes.push(piece.len());
        }
        assert_eq!(sizes, [100 * 1030, buffer.len(), 1030]);
        assert_eq!(pieces.length(), 0);
    }

    #[test]
    fn what_comes_byte_by_byte_is_kept_in_one_piece() {
        let mut pieces = Pieces::default();
        for _ in 0..10_000 {
            pieces.push(Bytes::from_static(b"x"));
        }
        assert_eq!(pieces.first::<4>(), Some(*b"xxxx"));
        assert_eq!(pieces.pop(9_999).map(|piece| piece.len()), Some(9_999));
        assert_eq!(pieces.pop(9_999).map(|piece| piece.len()), Some(1));
        assert_eq!(pieces.pop(9_999), None);
        assert_eq!(pieces.first::<1>(), None);
    }

    #[test]
    fn what_came_comes_out_in_its_order_however_much_is_taken_at_a_time() {
        let long: Vec<u8> = (0..10_000).map(|number| number as u8).collect();
        for most in [1, 100, 9_950, 20_000] {
            let mut pieces = Pieces::default();
            let (mut came, mut taken) = (Vec::new(), Vec::new());
            for piece in [&b"first"[..], &long, b"", b"a", b"bc", &long, b"def"] {
                came.extend_from_slice(piece);
                pieces.push(Bytes::copy_from_slice(piece));
                taken.extend(pieces.pop(most).into_iter().flatten());
                assert_eq!(pieces.length(), came.len() - taken.len());
            }
            while let Some(piece) = pieces.pop(most) {
                taken.extend_from_slice(&piece);
            }
            assert_eq!(taken, came, "{most} at a time");
        }
    }

    fn of(pieces: &[&'static [u8]]) -> Pieces {
        let mut came = Pieces::default();
        for piece in pieces {
            came.push(Bytes::from_static(piece));
        }
        came
    }

    #[test]
    fn a_body_in_pieces_is_copied_together_with_its_first_tensor_on_a_boundary() {
        for place in [1, 13, 64, 1025] {
            let long: [&[u8]; 3] = [&[1; 9000], &[2; 5], &[3; 30_000]];
            let small: [&[u8]; 3] = [&[1; 2000], &[2; 5], &[3; 3000]];
            for (pieces, boundary) in [(long, BOUNDARY), (small, ELEMENT)] {
                let body = of(&pieces).aligned(place);
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
        assert_eq!(of(&[b"{}"]).aligned(usize::MAX), "{}");
        let two = of(&[&[1; 2000], &[2; 2000]]);
        assert_eq!(two.aligned(usize::MAX).len(), 4000);
    }
}
