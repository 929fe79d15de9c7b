//! Bodies and messages that come in pieces, copied together so that a tensor lies aligned.

use bytes::Bytes;

/// Where the tensor's buffer lands, in bytes.
pub(crate) const BOUNDARY: usize = 64;

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
