//! A message that comes in several pieces, as one.

use bytes::Bytes;

use super::message::PREFIX;
use crate::pieces::copied_together;

/// The key of `raw_input_contents`: field 7, of bytes.
const RAW: u64 = 7 << 3 | 2;
/// Fields of a message that are looked through: more than tensors and parameters it may have.
const MOST_FIELDS: usize = 4096;

/// How long the message is, its prefix included.
pub(super) fn expected_length(pieces: &[Bytes]) -> Option<usize> {
    let mut bytes = pieces.iter().flatten().skip(1);
    let mut length = [0; PREFIX - 1];
    for place in &mut length {
        *place = *bytes.next()?;
    }
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    length.checked_add(PREFIX)
}

/// The message in one piece, copied once, its largest raw contents on a boundary of 64 bytes: an
/// engine reads them where they lie.
pub(super) fn together(pieces: &[Bytes], length: usize) -> Bytes {
    copied_together(pieces, length, largest_raw(pieces).unwrap_or(0))
}

/// Where the largest of the raw contents begins; `None` where the message has none.
fn largest_raw(pieces: &[Bytes]) -> Option<usize> {
    let mut cursor = Cursor {
        pieces,
        within: 0,
        position: 0,
    };
    cursor.skip(PREFIX)?;
    let mut largest: Option<(usize, usize)> = None;
    for _ in 0..MOST_FIELDS {
        let Some(key) = cursor.varint() else {
            break;
        };
        let length = match key & 7 {
            0 => cursor.varint().map(|_| 0),
            1 => Some(8),
            2 => cursor
                .varint()
                .and_then(|length| usize::try_from(length).ok()),
            5 => Some(4),
            _ => None,
        };
        let Some(length) = length else {
            break;
        };
        if key == RAW && largest.is_none_or(|(most, _)| length > most) {
            largest = Some((length, cursor.position));
        }
        if cursor.skip(length).is_none() {
            break;
        }
    }
    largest.map(|(_, position)| position)
}

/// A place in bytes that lie in several pieces.
struct Cursor<'a> {
    /// The piece that it is in and those behind.
    pieces: &'a [Bytes],
    within: usize,
    /// The place in the whole.
    position: usize,
}

impl Cursor<'_> {
    fn byte(&mut self) -> Option<u8> {
        loop {
            let (piece, rest) = self.pieces.split_first()?;
            if let Some(byte) = piece.get(self.within) {
                self.within += 1;
                self.position += 1;
                return Some(*byte);
            }
            (self.pieces, self.within) = (rest, 0);
        }
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// Goes on by so many bytes; `None` where there are fewer.
    fn skip(&mut self, mut count: usize) -> Option<()> {
        while count > 0 {
            let (piece, rest) = self.pieces.split_first()?;
            let here = count.min(piece.len() - self.within);
            self.within += here;
            self.position += here;
            count -= here;
            if self.within == piece.len() {
                (self.pieces, self.within) = (rest, 0);
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;
    use oip_protocol::proto::generated::ModelInferRequest;
    use prost::Message;

    use super::*;
    use crate::pieces::BOUNDARY;

    /// A message of these raw contents behind its prefix.
    fn message(raw: &[usize]) -> Vec<u8> {
        let request = ModelInferRequest {
            model_name: "m".to_owned(),
            id: "some id".to_owned(),
            raw_input_contents: raw.iter().map(|size| vec![7; *size].into()).collect(),
            ..ModelInferRequest::default()
        };
        let mut whole = vec![0];
        whole.put_u32(request.encoded_len() as u32);
        request.encode(&mut whole).unwrap();
        whole
    }

    fn cut(whole: &[u8], size: usize) -> Vec<Bytes> {
        whole.chunks(size).map(Bytes::copy_from_slice).collect()
    }

    #[test]
    fn the_largest_raw_contents_lie_on_a_boundary_however_the_message_is_cut() {
        for raw in [&[5000][..], &[3, 5000], &[5000, 9, 200], &[1, 2, 3, 5000]] {
            let whole = message(raw);
            for size in [1, 2, 7, 100, 1024, 4999] {
                let pieces = cut(&whole, size);
                let together = together(&pieces, whole.len());
                assert_eq!(together, whole);
                let read = ModelInferRequest::decode(together.slice(PREFIX..)).unwrap();
                let largest = read.raw_input_contents.iter().max_by_key(|raw| raw.len());
                let address = largest.unwrap().as_ptr().addr();
                assert!(
                    address.is_multiple_of(BOUNDARY),
                    "{raw:?} in pieces of {size}"
                );
                assert!(
                    together.as_ptr_range().contains(&(address as *const u8)),
                    "copied again"
                );
            }
        }
    }

    #[test]
    fn what_is_no_message_is_put_together_all_the_same() {
        let whole = message(&[300]);
        for end in 0..whole.len() {
            let pieces = cut(&whole[..end], 9);
            assert_eq!(together(&pieces, end), whole[..end]);
        }
        let long: Vec<u8> = [&[0; PREFIX][..], &[0x3a, 0xff, 0xff, 0xff, 0xff, 0x7f, 1]].concat();
        assert_eq!(together(&cut(&long, 3), long.len()), long);
        let endless = vec![0xff; 100];
        assert_eq!(together(&cut(&endless, 3), 100), endless);
    }
}
