//! A scanner over a JSON body: whitespace, punctuation, and where things went wrong.
//!
//! It holds what is left of the body as a slice, so that a read past the end cannot be written.

use std::borrow::Cow;

use super::members::Member;
use super::{numbers, strings};
use crate::DecodeError;
use crate::error::excerpt;

/// JSON that is wrong: where (what was left of the body there) and why.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault<'a> {
    pub(super) at: &'a [u8],
    pub(super) message: &'static str,
}

impl<'a> Fault<'a> {
    #[cold]
    pub(super) fn new(at: &'a [u8], message: &'static str) -> Self {
        Self { at, message }
    }
}

/// What is left of a body, and how deep in it we are.
#[derive(Debug, Clone)]
pub(super) struct Scanner<'a> {
    body: &'a [u8],
    pub(super) rest: &'a [u8],
    depth: usize,
    max_depth: usize,
}

/// Whether an array or object has more to come; made by the scanner's `open_…`.
#[derive(Debug)]
pub(super) struct Items {
    first: bool,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(body: &'a [u8], max_depth: usize) -> Self {
        Self {
            body,
            rest: body,
            depth: 0,
            max_depth,
        }
    }

    /// The next byte that is not whitespace, not consumed; `None` at the end of the body.
    pub(super) fn peek(&mut self) -> Option<u8> {
        self.rest = skip_space(self.rest);
        self.rest.first().copied()
    }

    /// Consumes the next byte that is not whitespace if it is this one.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
        found
    }

    /// Consumes a byte that must come next.
    pub(super) fn expect(&mut self, byte: u8, expected: &str) -> Result<(), DecodeError> {
        if self.take(byte) {
            return Ok(());
        }
        Err(self.unexpected(expected))
    }

    /// Consumes an opening bracket or brace that has been seen.
    pub(super) fn enter(&mut self) -> Result<Items, DecodeError> {
        if self.depth >= self.max_depth {
            let (offset, line, column) = self.position(self.rest);
            return Err(DecodeError::TooDeep {
                offset,
                line,
                column,
                limit: self.max_depth,
            });
        }
        self.depth += 1;
        self.rest = self.rest.get(1..).unwrap_or_default();
        Ok(Items { first: true })
    }

    /// Counts one level less after a closing bracket or brace.
    pub(super) fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    /// Steps to the next item of an array; `false` after its closing bracket.
    pub(super) fn next_item(&mut self, items: &mut Items) -> Result<bool, DecodeError> {
        let first = std::mem::replace(&mut items.first, false);
        if self.take(b']') {
            self.leave();
            return Ok(false);
        }
        if first {
            return Ok(true);
        }
        self.expect(b',', "',' or ']'")?;
        Ok(true)
    }

    /// Steps to the next member of an object of ours and reads which it is; `None` after the
    /// closing brace.
    pub(super) fn next_member(&mut self, items: &mut Items) -> Result<Option<Member>, DecodeError> {
        self.next_named(items, Member::read)
    }

    /// Steps to the next member of any object and reads its name; `None` after the closing brace.
    pub(super) fn next_name(
        &mut self,
        items: &mut Items,
    ) -> Result<Option<Cow<'a, str>>, DecodeError> {
        self.next_named(items, strings::read)
    }

    #[inline(always)]
    fn next_named<T>(
        &mut self,
        items: &mut Items,
        read: impl Fn(&'a [u8]) -> Result<(T, &'a [u8]), Fault<'a>>,
    ) -> Result<Option<T>, DecodeError> {
        let first = std::mem::replace(&mut items.first, false);
        if self.take(b'}') {
            self.leave();
            return Ok(None);
        }
        if !first {
            self.expect(b',', "',' or '}'")?;
        }
        if self.peek() != Some(b'"') {
            let expected = if first {
                "a member's name in quotes or '}'"
            } else {
                "a member's name in quotes"
            };
            return Err(self.unexpected(expected));
        }
        let after_quote = self.rest.get(1..).unwrap_or_default();
        let (name, rest) = read(after_quote).map_err(|fault| self.fault(fault))?;
        self.rest = rest;
        self.expect(b':', "':'")?;
        Ok(Some(name))
    }

    /// Reads a string whose opening quote has been seen.
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        let after_quote = self.rest.get(1..).unwrap_or_default();
        let (text, rest) = strings::read(after_quote).map_err(|fault| self.fault(fault))?;
        self.rest = rest;
        Ok(text)
    }

    /// Reads `true` or `false`, whose first letter has been seen.
    pub(super) fn boolean(&mut self) -> Result<bool, DecodeError> {
        let value = self.rest.first() == Some(&b't');
        self.literal(if value { "true" } else { "false" })?;
        Ok(value)
    }

    /// Consumes `null` if it comes next.
    pub(super) fn take_null(&mut self) -> Result<bool, DecodeError> {
        if self.peek() != Some(b'n') {
            return Ok(false);
        }
        self.literal("null").map(|()| true)
    }

    fn literal(&mut self, word: &'static str) -> Result<(), DecodeError> {
        match self.rest.strip_prefix(word.as_bytes()) {
            Some(rest) if !rest.first().is_some_and(u8::is_ascii_alphanumeric) => {
                self.rest = rest;
                Ok(())
            }
            _ => Err(self.unexpected("a value")),
        }
    }

    /// Steps over a value of any kind and checks that it is JSON.
    pub(super) fn skip_value(&mut self) -> Result<(), DecodeError> {
        // One entry for each array (`true`) and object (`false`) that is open.
        let mut open: Vec<(bool, Items)> = Vec::new();
        loop {
            match self.peek() {
                Some(b'[') => open.push((true, self.enter()?)),
                Some(b'{') => open.push((false, self.enter()?)),
                _ => self.skip_scalar()?,
            }
            loop {
                let Some((is_array, items)) = open.last_mut() else {
                    return Ok(());
                };
                let more = if *is_array {
                    self.next_item(items)?
                } else {
                    self.next_name(items)?.is_some()
                };
                if more {
                    break;
                }
                open.pop();
            }
        }
    }

    fn skip_scalar(&mut self) -> Result<(), DecodeError> {
        match self.peek() {
            Some(b'"') => {
                let after_quote = self.rest.get(1..).unwrap_or_default();
                self.rest = strings::skip(after_quote).map_err(|fault| self.fault(fault))?;
                Ok(())
            }
            Some(b't' | b'f') => self.boolean().map(drop),
            Some(b'n') => self.literal("null"),
            Some(b'-' | b'0'..=b'9') => {
                let (_, rest) = numbers::scan(self.rest).map_err(|fault| self.fault(fault))?;
                self.rest = rest;
                Ok(())
            }
            _ => Err(self.unexpected("a value")),
        }
    }

    /// Steps over a value by its brackets and quotes alone, quickly. What is inside is not
    /// checked: the caller comes back to read it.
    pub(super) fn skip_unchecked(&mut self) -> Result<(), DecodeError> {
        match self.peek() {
            Some(b'[') => {}
            Some(b'{') => return self.skip_value(),
            _ => return self.skip_scalar_unchecked(),
        }
        let outside = self.depth;
        loop {
            let next = memchr::memchr3(b'[', b']', b'"', self.rest).unwrap_or(self.rest.len());
            self.rest = self.rest.get(next..).unwrap_or_default();
            match self.rest.first() {
                Some(b'[') => {
                    self.enter()?;
                }
                Some(b'"') => self.skip_scalar()?,
                Some(_) => {
                    self.rest = self.rest.get(1..).unwrap_or_default();
                    self.leave();
                    if self.depth <= outside {
                        return Ok(());
                    }
                }
                None => return Err(self.unexpected("',' or ']'")),
            }
        }
    }

    /// The same for a scalar, which may be one that JSON does not know, such as `NaN`.
    fn skip_scalar_unchecked(&mut self) -> Result<(), DecodeError> {
        if self.peek() == Some(b'"') {
            return self.skip_scalar();
        }
        let length = token(self.rest).len();
        if length == 0 {
            return Err(self.unexpected("a value"));
        }
        self.rest = self.rest.get(length..).unwrap_or_default();
        Ok(())
    }

    /// Nothing but whitespace may follow.
    pub(super) fn end(&mut self) -> Result<(), DecodeError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.unexpected("nothing after the JSON object")),
        }
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// What comes next, as a message may repeat it.
    pub(super) fn found(&mut self) -> String {
        self.peek();
        describe(self.rest)
    }

    /// Something else comes next than JSON allows here.
    #[cold]
    pub(super) fn unexpected(&mut self, expected: &str) -> DecodeError {
        self.peek();
        let found = match self.rest.first() {
            None => "the body ends".to_owned(),
            Some(byte) if byte.is_ascii_graphic() => format!("found '{}'", char::from(*byte)),
            Some(byte) => format!("found byte 0x{byte:02x}"),
        };
        self.syntax(self.rest, format!("expected {expected} but {found}"))
    }

    #[cold]
    pub(super) fn fault(&self, fault: Fault<'_>) -> DecodeError {
        self.syntax(fault.at, fault.message.to_owned())
    }

    /// A syntax error where `at`, a tail of the body, begins.
    #[cold]
    pub(super) fn syntax(&self, at: &[u8], message: String) -> DecodeError {
        let (offset, line, column) = self.position(at);
        DecodeError::Syntax {
            offset,
            line,
            column,
            message,
        }
    }

    /// Offset, line and column of a tail of the body.
    #[cold]
    fn position(&self, at: &[u8]) -> (usize, usize, usize) {
        let offset = self.body.len().saturating_sub(at.len());
        let before = self.body.get(..offset).unwrap_or_default();
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
        let line = before.get(line_start..).unwrap_or_default();
        // Bytes that only continue a character do not count as columns.
        let column = line.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
        let line = memchr::memchr_iter(b'\n', before).count() + 1;
        (offset, line, column + 1)
    }
}

/// What follows the whitespace.
#[inline(always)]
pub(super) fn skip_space(mut rest: &[u8]) -> &[u8] {
    while let Some((b' ' | b'\n' | b'\r' | b'\t', after)) = rest.split_first() {
        rest = after;
    }
    rest
}

/// The bytes up to the next separator, such as a number or a misspelt word.
pub(super) fn token(rest: &[u8]) -> &[u8] {
    let length = rest.iter().position(|byte| {
        matches!(byte, b',' | b'[' | b']' | b'{' | b'}' | b':' | b'"') || *byte <= b' '
    });
    rest.get(..length.unwrap_or(rest.len())).unwrap_or_default()
}

/// The value that comes next, as a message may repeat it.
#[cold]
pub(super) fn describe(rest: &[u8]) -> String {
    match rest.first() {
        None => "the end of the body".to_owned(),
        Some(b'[') => "a list".to_owned(),
        Some(b'{') => "an object".to_owned(),
        Some(b'"') => match strings::read(rest.get(1..).unwrap_or_default()) {
            Ok((text, _)) => format!("the string \"{}\"", excerpt(&text)),
            Err(_) => "a string".to_owned(),
        },
        Some(_) => {
            let token = token(rest);
            // A whole body may be one token; no more of it than is shown need be read.
            excerpt(&String::from_utf8_lossy(token.get(..400).unwrap_or(token)))
        }
    }
}
