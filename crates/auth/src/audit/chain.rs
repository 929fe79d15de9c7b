//! The chain: each line's code is made of the line and of the code before it.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use ring::{digest, hmac};

use super::AuditError;

/// The code of a line: SHA-256 of it, or HMAC-SHA256 under the key.
pub(super) type Code = [u8; 32];

/// The key of a chain. Never shown.
#[derive(Clone)]
pub struct AuditKey(hmac::Key);

impl AuditKey {
    /// A key of at least 32 bytes.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(bytes: &[u8]) -> Result<Self, &'static str> {
        if bytes.len() < 32 {
            return Err("a key needs at least 32 bytes: head -c 32 /dev/urandom | base64");
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }

    /// The bytes of a file, without white space at their end.
    ///
    /// # Errors
    /// [`AuditError::Key`].
    pub fn from_file(path: &Path) -> Result<Self, AuditError> {
        let wrong = |fault: String| AuditError::Key {
            path: path.to_owned(),
            fault,
        };
        let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        Self::new(bytes.trim_ascii_end()).map_err(|fault| wrong(fault.to_owned()))
    }
}

impl fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditKey(***)")
    }
}

/// How far a chain has come: written to the log now and then, and asked for by
/// [`verify`](super::verify()). As text `NUMBER:CODE`, the code in hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The number of the last line; lines count from 1, so 0 is an empty chain.
    pub count: u64,
    /// The code of the last line.
    pub code: [u8; 32],
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.count, hex(&self.code))
    }
}

impl FromStr for Head {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "a head is NUMBER:CODE, the code in 64 hexadecimal digits";
        let (count, code) = text.split_once(':').ok_or(FORM)?;
        Ok(Self {
            count: count.parse().map_err(|_| FORM)?,
            code: unhex(code).ok_or(FORM)?,
        })
    }
}

/// How codes are made.
#[derive(Debug, Clone)]
pub(super) enum Chain {
    Keyed(AuditKey),
    Plain,
}

impl Chain {
    /// The name of a keyed code's member in a line.
    pub(super) const KEYED: &str = "hmac";

    pub(super) fn new(key: Option<AuditKey>) -> Self {
        key.map_or(Self::Plain, Self::Keyed)
    }

    /// The name of the code's member in a line.
    pub(super) fn member(&self) -> &'static str {
        match self {
            Self::Keyed(_) => Self::KEYED,
            Self::Plain => "sha256",
        }
    }

    /// What stands before the first line.
    pub(super) fn start(&self) -> Head {
        Head {
            count: 0,
            code: self.code(&[0; 32], "oip audit, version 1"),
        }
    }

    pub(super) fn code(&self, before: &Code, body: &str) -> Code {
        let mut code = Code::default();
        match self {
            Self::Keyed(AuditKey(key)) => {
                let mut mac = hmac::Context::with_key(key);
                mac.update(before);
                mac.update(body.as_bytes());
                code.copy_from_slice(mac.sign().as_ref());
            }
            Self::Plain => {
                let mut hash = digest::Context::new(&digest::SHA256);
                hash.update(before);
                hash.update(body.as_bytes());
                code.copy_from_slice(hash.finish().as_ref());
            }
        }
        code
    }

    /// Adds its code to a line and ends it.
    pub(super) fn seal(&self, line: &mut String, code: &Code) {
        line.extend([",\"", self.member(), "\":\""]);
        push_hex(line, code);
        line.push_str("\"}");
    }
}

/// A line taken apart, its code not yet looked at.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sealed<'a> {
    pub(super) seq: u64,
    pub(super) body: &'a str,
    pub(super) member: &'a str,
    pub(super) code: Code,
}

impl<'a> Sealed<'a> {
    /// `None` where it is no line of an audit.
    pub(super) fn parse(line: &'a str) -> Option<Self> {
        let rest = line.strip_prefix("{\"seq\":")?;
        let (seq, _) = rest.split_once(',')?;
        let (rest, code) = line.strip_suffix("\"}")?.rsplit_once("\":\"")?;
        let (body, member) = rest.rsplit_once(",\"")?;
        Some(Self {
            seq: seq.parse().ok()?,
            body,
            member,
            code: unhex(code)?,
        })
    }
}

fn hex(code: &Code) -> String {
    let mut text = String::with_capacity(2 * code.len());
    push_hex(&mut text, code);
    text
}

fn push_hex(text: &mut String, code: &Code) {
    let digit = |nibble: u8| nibble + if nibble < 10 { b'0' } else { b'a' - 10 };
    let mut digits = [0; 64];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(code) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    text.push_str(std::str::from_utf8(&digits).unwrap_or_default());
}

/// Lower-case digits only: a line has one form.
fn unhex(text: &str) -> Option<Code> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut code = Code::default();
    if text.len() != 2 * code.len() {
        return None;
    }
    for (byte, pair) in code.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)? * 16 + digit(*low)?;
    }
    Some(code)
}
