//! `BYTES` elements as the text that both engines insist on, and back without a loss.
//!
//! The protocol lets an element hold any bytes. tract wants valid UTF-8, ONNX Runtime valid UTF-8
//! without NUL. So each byte that is no part of a valid character, and NUL, travels through the
//! engine as the private-use character `U+10FF00` + the byte. The characters `U+10FF00` to
//! `U+10FFFF` themselves, which nobody uses, travel byte by byte in the same way, so that what
//! comes out says for certain what went in. All other text stays as it is.
//!
//! A model that only moves elements (Identity, Gather, Concat, Reshape) gives back every byte. An
//! operator that looks into an element (a comparison, a normaliser) sees the private-use
//! characters, and no text in the model file is rewritten: there such bytes match nothing.

use std::borrow::Cow;

/// The character of byte 0; that of byte 255 is the last of Unicode.
const FIRST: u32 = 0x10_FF00;

/// The first byte of every character in `U+100000..=U+10FFFF`, and of no other.
const LEAD: u8 = 0xF4;

/// The bytes of an element as text without NUL.
pub(super) fn encode(bytes: &[u8]) -> Cow<'_, str> {
    if memchr::memchr2(0, LEAD, bytes).is_none()
        && let Ok(text) = std::str::from_utf8(bytes)
    {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character == '\0' || byte_of(character).is_some() {
                let mut buffer = [0; 4];
                text.extend(character.encode_utf8(&mut buffer).bytes().map(stand_in));
            } else {
                text.push(character);
            }
        }
        text.extend(chunk.invalid().iter().copied().map(stand_in));
    }
    Cow::Owned(text)
}

/// The bytes that an engine's text stands for.
pub(super) fn decode(text: &str) -> Cow<'_, [u8]> {
    if memchr::memchr(LEAD, text.as_bytes()).is_none() {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        if let Some(byte) = byte_of(character) {
            bytes.push(byte);
        } else {
            let mut buffer = [0; 4];
            bytes.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
        }
    }
    Cow::Owned(bytes)
}

/// The character that stands for a byte.
fn stand_in(byte: u8) -> char {
    // Every one of these 256 numbers is a character.
    char::from_u32(FIRST + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The byte that a character stands for, if it does.
fn byte_of(character: char) -> Option<u8> {
    let byte = u32::from(character).checked_sub(FIRST)?;
    u8::try_from(byte).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_byte_that_is_no_text_becomes_its_private_character() {
        assert_eq!(encode(b"\xff\0a"), "\u{10FFFF}\u{10FF00}a");
        assert_eq!(*decode("\u{10FFFF}\u{10FF00}a"), *b"\xff\0a");
    }

    #[test]
    fn a_private_character_that_is_meant_is_not_taken_for_a_byte() {
        for meant in ["\u{10FF00}", "\u{10FFFF}", "a\u{10FF61}b", "\u{10FEFF}"] {
            assert_eq!(*decode(&encode(meant.as_bytes())), *meant.as_bytes());
        }
        assert_eq!(encode("\u{10FEFF}".as_bytes()), "\u{10FEFF}");
        assert_ne!(encode("\u{10FFFF}".as_bytes()), encode(b"\xff"));
    }

    #[test]
    fn every_byte_has_a_character_of_its_own() {
        for byte in u8::MIN..=u8::MAX {
            assert_eq!(byte_of(stand_in(byte)), Some(byte));
        }
    }

    #[test]
    fn ordinary_text_is_not_copied() {
        for text in ["", "the end", "häß\u{1F980}"] {
            assert!(matches!(encode(text.as_bytes()), Cow::Borrowed(same) if same == text));
            assert!(matches!(decode(text), Cow::Borrowed(same) if same == text.as_bytes()));
        }
    }

    /// Bytes in which text, cut text, NUL and private characters meet.
    fn mixed() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            any::<Vec<u8>>(),
            any::<String>().prop_map(String::into_bytes),
            any::<u8>().prop_map(|byte| stand_in(byte).to_string().into_bytes()),
            (any::<u8>(), 0_usize..4)
                .prop_map(|(byte, end)| { stand_in(byte).to_string().as_bytes()[..end].to_vec() }),
            Just(vec![0]),
        ];
        prop::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn decoding_is_the_inverse_of_encoding(bytes in mixed()) {
            let text = encode(&bytes);
            prop_assert!(!text.contains('\0'));
            prop_assert_eq!(&*decode(&text), &bytes[..]);
        }

        #[test]
        fn text_without_nul_and_private_characters_stays_itself(text in "[^\0\u{10FF00}-\u{10FFFF}]*") {
            prop_assert_eq!(&*encode(text.as_bytes()), &text[..]);
            prop_assert_eq!(&*decode(&text), text.as_bytes());
        }
    }
}
