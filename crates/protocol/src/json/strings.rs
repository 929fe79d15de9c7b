//! JSON strings: borrowed where they hold no escape, and appended to a buffer.

use std::borrow::Cow;

use super::scanner::Fault;

/// Reads a string whose opening quote has been read; returns it and what follows its closing one.
pub(super) fn read(rest: &[u8]) -> Result<(Cow<'_, str>, &[u8]), Fault<'_>> {
    let (run, after) = plain_run(rest)?;
    if let Some((b'"', after)) = after.split_first() {
        return Ok((Cow::Borrowed(run), after));
    }
    let mut text = Vec::with_capacity(run.len() + 16);
    let after = append(rest, &mut text)?;
    let text = String::from_utf8(text).map_err(|_| Fault::new(rest, NOT_UTF8))?;
    Ok((Cow::Owned(text), after))
}

/// Appends the text of a string whose opening quote has been read; returns what follows it.
pub(super) fn append<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Result<&'a [u8], Fault<'a>> {
    loop {
        let (run, after) = plain_run(rest)?;
        text.extend_from_slice(run.as_bytes());
        rest = match after.split_first() {
            Some((b'"', after)) => return Ok(after),
            Some((b'\\', escape)) => unescape(after, escape, text)?,
            Some(_) => return Err(Fault::new(after, CONTROL)),
            None => return Err(Fault::new(after, UNTERMINATED)),
        };
    }
}

/// Steps over a string whose opening quote has been read, and checks it all the same.
pub(super) fn skip(mut rest: &[u8]) -> Result<&[u8], Fault<'_>> {
    let mut unescaped = Vec::new();
    loop {
        let (_, after) = plain_run(rest)?;
        rest = match after.split_first() {
            Some((b'"', after)) => return Ok(after),
            Some((b'\\', escape)) => unescape(after, escape, &mut unescaped)?,
            Some(_) => return Err(Fault::new(after, CONTROL)),
            None => return Err(Fault::new(after, UNTERMINATED)),
        };
        unescaped.clear();
    }
}

const NOT_UTF8: &str = "a string is not valid UTF-8";
const CONTROL: &str = "a control character in a string must be escaped";
const UNTERMINATED: &str = "a string does not end";
const ESCAPE: &str = "a backslash must be followed by one of \" \\ / b f n r t u";
const HEX: &str = "\\u must be followed by four hexadecimal digits";
const LONE: &str = "half of a surrogate pair stands alone and is no character";

/// What stands before the next byte that must be escaped, and from there on.
pub(super) fn split_plain(rest: &[u8]) -> (&[u8], &[u8]) {
    rest.split_at_checked(plain_length(rest))
        .unwrap_or((rest, &[]))
}

/// The characters up to the next quote, backslash or control character, and what follows them.
fn plain_run(rest: &[u8]) -> Result<(&str, &[u8]), Fault<'_>> {
    let (run, after) = split_plain(rest);
    match std::str::from_utf8(run) {
        Ok(run) => Ok((run, after)),
        Err(error) => Err(Fault::new(
            rest.get(error.valid_up_to()..).unwrap_or_default(),
            NOT_UTF8,
        )),
    }
}

const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);

/// How many bytes stand before the next quote, backslash or control character.
fn plain_length(rest: &[u8]) -> usize {
    let mut left = rest;
    // Eight bytes at a time. A borrow can flag bytes above the first that is really special, never
    // below it, and the first is all that counts.
    while let Some((chunk, after)) = left.split_first_chunk::<8>() {
        let chunk = u64::from_le_bytes(*chunk);
        let quote = chunk ^ (ONES * u64::from(b'"'));
        let backslash = chunk ^ (ONES * u64::from(b'\\'));
        let special = (quote.wrapping_sub(ONES) & !quote)
            | (backslash.wrapping_sub(ONES) & !backslash)
            | (chunk.wrapping_sub(ONES * 0x20) & !chunk);
        if special & HIGH != 0 {
            let before = (special & HIGH).trailing_zeros() / 8;
            return rest.len() - left.len() + before as usize;
        }
        left = after;
    }
    let tail = left
        .iter()
        .position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
    rest.len() - left.len() + tail.unwrap_or(left.len())
}

/// Appends the character that an escape stands for. `at` is its backslash, `rest` what follows.
fn unescape<'a>(at: &'a [u8], rest: &'a [u8], text: &mut Vec<u8>) -> Result<&'a [u8], Fault<'a>> {
    let (kind, rest) = rest.split_first().ok_or(Fault::new(rest, UNTERMINATED))?;
    let plain = match kind {
        b'"' | b'\\' | b'/' => *kind,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'u' => {
            let (character, rest) = unicode(at, rest)?;
            text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            return Ok(rest);
        }
        _ => return Err(Fault::new(at, ESCAPE)),
    };
    text.push(plain);
    Ok(rest)
}

/// The character of `\uXXXX`, or of two of them that form a surrogate pair.
fn unicode<'a>(at: &'a [u8], rest: &'a [u8]) -> Result<(char, &'a [u8]), Fault<'a>> {
    let (first, rest) = hex(rest).ok_or(Fault::new(at, HEX))?;
    if let Some(character) = char::from_u32(first) {
        return Ok((character, rest));
    }
    // What is no character is one half of a pair; only a high half may lead.
    let second = rest.strip_prefix(b"\\u").and_then(hex);
    match second {
        Some((second @ 0xdc00..0xe000, rest)) if first < 0xdc00 => {
            let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            let character = char::from_u32(code).ok_or(Fault::new(at, LONE))?;
            Ok((character, rest))
        }
        _ => Err(Fault::new(at, LONE)),
    }
}

fn hex(rest: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = rest.split_first_chunk::<4>()?;
    let code = digits.iter().try_fold(0, |code, digit| {
        Some(code << 4 | char::from(*digit).to_digit(16)?)
    })?;
    Some((code, rest))
}
