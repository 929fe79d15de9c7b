//! HTTP/2 frames, as far as a client needs them that sends one call at a time.
//!
//! Source: RFC 9113, sections 4 and 6; RFC 7541 for header blocks.

use super::http2::Call;
use crate::credential::Credential;

/// Bytes of a frame's head.
pub(super) const HEAD: usize = 9;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

/// Of SETTINGS and PING.
pub(super) const ACK: u8 = 1;
/// Of DATA and HEADERS.
pub(super) const END_STREAM: u8 = 1;
/// Of HEADERS and CONTINUATION.
pub(super) const END_HEADERS: u8 = 4;

pub(super) const SETTING_TABLE: u16 = 1;
pub(super) const SETTING_PUSH: u16 = 2;
pub(super) const SETTING_WINDOW: u16 = 4;
pub(super) const SETTING_FRAME: u16 = 5;

/// The least table of headers that entries are looked up in.
pub(super) const LEAST_TABLE: usize = 4_096;
/// What an entry takes in it at most beside its value: 32 and its name (RFC 7541, 4.1).
const ENTRY: usize = 32 + 16;

/// A frame's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    /// Bytes of its payload.
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl Frame {
    /// Reads a head; `None` when it has not arrived whole.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *bytes.first_chunk::<HEAD>()?;
        Some(Self {
            length: u32::from_be_bytes([0, l0, l1, l2]) as usize,
            kind,
            flags,
            stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]),
        })
    }

    pub(super) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Writes a frame.
pub(super) fn put(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let [_, l0, l1, l2] = (payload.len() as u32).to_be_bytes();
    out.extend_from_slice(&[l0, l1, l2, kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Writes a WINDOW_UPDATE.
pub(super) fn put_window(out: &mut Vec<u8>, stream: u32, by: u32) {
    put(out, WINDOW_UPDATE, 0, stream, &by.to_be_bytes());
}

/// Writes SETTINGS.
pub(super) fn put_settings(out: &mut Vec<u8>, settings: &[(u16, u32)]) {
    let payload: Vec<u8> = settings
        .iter()
        .flat_map(|(name, value)| {
            let (name, value) = (name.to_be_bytes(), value.to_be_bytes());
            name.into_iter().chain(value)
        })
        .collect();
    put(out, SETTINGS, 0, 0, &payload);
}

/// The settings in a payload.
pub(super) fn settings(payload: &[u8]) -> impl Iterator<Item = (u16, u32)> + '_ {
    payload.chunks_exact(6).filter_map(|entry| {
        let (name, value) = entry.split_first_chunk::<2>()?;
        let value = value.first_chunk::<4>()?;
        Some((u16::from_be_bytes(*name), u32::from_be_bytes(*value)))
    })
}

/// The header block of a gRPC call, as a client writes it that fills the server's table with the
/// first call (`indexed` false) and points into it from then on.
pub(super) fn call_headers(call: &Call, indexed: bool) -> Vec<u8> {
    let agent = concat!("oip-bench/", env!("CARGO_PKG_VERSION"));
    let mut headers = vec![
        (Name::Known(4), call.path),
        (Name::Known(1), call.authority.as_str()),
        (Name::Known(31), "application/grpc"),
        (Name::Known(58), agent),
        (Name::New("te"), "trailers"),
    ];
    if let Some(shown) = &call.shown {
        let name = match shown.header {
            Credential::AUTHORIZATION => Name::Known(23),
            other => Name::New(other),
        };
        headers.push((name, &shown.value));
    }
    // :method POST and :scheme, from the static table.
    let mut block = vec![0x83, if call.secure { 0x87 } else { 0x86 }];
    // What does not fit into the table empties it.
    let room = headers.iter().map(|(_, value)| value.len() + ENTRY);
    if indexed && room.sum::<usize>() <= LEAST_TABLE {
        // The entries that the first call added: the latest is 62.
        block.extend((0xbe..0xbe + headers.len() as u8).rev());
        return block;
    }
    for (name, value) in headers {
        // A literal that is to be added to the table.
        match name {
            Name::Known(index) => block.push(0x40 | index),
            Name::New(name) => {
                block.push(0x40);
                put_string(&mut block, name);
            }
        }
        put_string(&mut block, value);
    }
    block
}

/// The name of a header.
enum Name {
    /// Its place in the static table.
    Known(u8),
    New(&'static str),
}

/// A string without Huffman coding.
fn put_string(block: &mut Vec<u8>, text: &str) {
    let mut length = text.len();
    if length < 127 {
        block.push(length as u8);
    } else {
        block.push(127);
        length -= 127;
        while length >= 128 {
            block.push((length % 128) as u8 | 128);
            length /= 128;
        }
        block.push(length as u8);
    }
    block.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let mut out = Vec::new();
        put(&mut out, DATA, END_STREAM, 7, &[1; 300]);
        let frame = Frame::parse(&out).unwrap();
        assert_eq!((frame.length, frame.kind, frame.stream), (300, DATA, 7));
        assert!(frame.has(END_STREAM));
        assert_eq!(out.len(), HEAD + 300);
        assert_eq!(Frame::parse(&out[..8]), None);
    }

    #[test]
    fn settings_are_read_as_they_were_written() {
        let mut out = Vec::new();
        put_settings(
            &mut out,
            &[(SETTING_WINDOW, 65_535), (SETTING_FRAME, 1 << 20)],
        );
        let read: Vec<_> = settings(&out[HEAD..]).collect();
        assert_eq!(read, [(SETTING_WINDOW, 65_535), (SETTING_FRAME, 1 << 20)]);
    }

    #[test]
    fn calls_after_the_first_point_at_headers_that_the_server_has_room_for() {
        let call = |token: usize| Call {
            authority: "localhost".to_owned(),
            path: "/a/b",
            secure: true,
            shown: Some(Credential::bearer(&"x".repeat(token))),
            message: Vec::new(),
        };
        let short = call_headers(&call(100), true);
        assert_eq!(short, [0x83, 0x87, 0xc3, 0xc2, 0xc1, 0xc0, 0xbf, 0xbe]);
        let long = call(4_000);
        assert_eq!(call_headers(&long, true), call_headers(&long, false));
    }

    #[test]
    fn a_long_string_has_its_length_in_seven_bit_groups() {
        let mut block = Vec::new();
        put_string(&mut block, &"x".repeat(127 + 300));
        // RFC 7541 section 5.1: 127 in the prefix, then 300 as 44 + 128, 2.
        assert_eq!(block[..3], [127, 172, 2]);
    }
}
