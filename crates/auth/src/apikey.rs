//! API keys: long random words for machines, of which the server keeps the hashes alone.
//!
//! The file (`auth_api_keys_file`) holds one key a line: a hash, the subject's id, and, where it
//! has any, its roles joined by commas. Empty lines and lines that begin with `#` are passed over.
//!
//! ```text
//! # hash                      id       roles
//! sha256:6ca13d52ca70c883e…   batch    reader,reporter
//! ```
//!
//! A key is 256 random bits, so a plain SHA-256 is the right hash: there is nothing to guess that
//! a slow one would protect. Looking a key up by its hash gives its bytes no say in how long that
//! takes. Two lines may name one id, so that a key can be changed without a gap.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oip_core::access::Subject;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use thiserror::Error;

use crate::jwt::subject_id;
use crate::rejection::Rejection;
use crate::secret::Secret;

/// What every key begins with, so that scanners for leaked secrets know it.
const PREFIX: &str = "oip_";
/// The longest key that is looked up, in bytes.
const LONGEST: usize = 512;

/// Why no key could be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ApiKeyError {
    /// The id cannot stand in the file.
    #[error("{0:?} can be no subject of an API key: {1}")]
    Id(String, &'static str),
    /// A role cannot stand in the file.
    #[error("{0:?} can be no role of an API key: it is empty, or holds a blank or a comma")]
    Role(String),
    /// The system gave no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

/// A key that was just made.
#[derive(Debug)]
pub struct NewApiKey {
    /// The key, to be shown once and to be sent as `X-API-Key`.
    pub key: Secret,
    /// The line for the file of keys.
    pub line: String,
}

/// Makes a key for a subject with these roles.
///
/// # Errors
/// See [`ApiKeyError`].
pub fn generate(id: &str, roles: &[String]) -> Result<NewApiKey, ApiKeyError> {
    let wrong = |fault| ApiKeyError::Id(id.to_owned(), fault);
    subject_id(id).map_err(wrong)?;
    if id.contains(char::is_whitespace) || id.contains(char::is_control) {
        return Err(wrong("it holds a blank"));
    }
    for role in roles {
        let blank = |c: char| c == ',' || c.is_whitespace() || c.is_control();
        if role.is_empty() || role.contains(blank) {
            return Err(ApiKeyError::Role(role.clone()));
        }
    }
    let mut random = [0_u8; 32];
    SystemRandom::new()
        .fill(&mut random)
        .map_err(|_| ApiKeyError::Random)?;
    let key = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    let line = format!("sha256:{} {id} {}", hex(&hash(&key)), roles.join(","));
    Ok(NewApiKey {
        key: Secret::new(key),
        line: line.trim_end().to_owned(),
    })
}

/// The keys of a file.
#[derive(Debug, Default)]
pub(crate) struct ApiKeys {
    by_hash: HashMap<[u8; 32], Arc<Subject>>,
}

impl ApiKeys {
    /// Reads a file of keys.
    ///
    /// # Errors
    /// A sentence that names the line, never its content.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|_| "is not UTF-8".to_owned())?;
        let mut keys = Self::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (hash, subject) =
                parse_line(line).map_err(|fault| format!("line {}: {fault}", number + 1))?;
            if keys.by_hash.insert(hash, Arc::new(subject)).is_some() {
                return Err(format!("line {}: the hash stands there twice", number + 1));
            }
        }
        Ok(keys)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_hash.len()
    }

    /// Whose key the one `X-API-Key` header shows.
    pub(crate) fn subject(&self, headers: &[String]) -> Result<Arc<Subject>, Rejection> {
        let [key] = headers else {
            return Err(Rejection::ApiKey("there are several X-API-Key headers"));
        };
        if key.is_empty() || key.len() > LONGEST {
            return Err(Rejection::ApiKey("it is empty or too long"));
        }
        self.by_hash
            .get(&hash(key))
            .cloned()
            .ok_or(Rejection::ApiKey("it is not known"))
    }
}

fn parse_line(line: &str) -> Result<([u8; 32], Subject), String> {
    let mut words = line.split_whitespace();
    let hash = words.next().unwrap_or_default();
    let hash = hash
        .strip_prefix("sha256:")
        .and_then(unhex)
        .ok_or("does not begin with sha256: and 64 hexadecimal digits")?;
    let id = words.next().ok_or("names no subject after the hash")?;
    let id = subject_id(id).map_err(|fault| format!("the subject {fault}"))?;
    let roles = words.next().unwrap_or_default();
    let roles: Vec<String> = roles
        .split(',')
        .filter(|role| !role.is_empty())
        .map(str::to_owned)
        .collect();
    if words.next().is_some() {
        return Err("holds more than a hash, a subject and roles (joined by commas)".to_owned());
    }
    let claims = serde_json::Map::new();
    Ok((hash, Subject { id, roles, claims }))
}

fn hash(key: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, key.as_bytes()).as_ref());
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(id: &str, roles: &[&str]) -> (String, String) {
        let roles: Vec<String> = roles.iter().map(|&role| role.to_owned()).collect();
        let new = generate(id, &roles).unwrap();
        (
            String::from_utf8(new.key.expose().to_vec()).unwrap(),
            new.line,
        )
    }

    #[test]
    fn a_new_key_is_known_by_its_line_and_the_line_does_not_hold_it() {
        let (key, line) = new("batch", &["reader", "admin"]);
        assert!(key.starts_with("oip_") && key.len() == 47, "{key}");
        assert!(!line.contains(&key[4..]));
        let keys = ApiKeys::parse(format!("# keys\n\n{line}\n").as_bytes()).unwrap();
        let subject = keys.subject(&[key]).unwrap();
        assert_eq!((subject.id.as_str(), subject.roles.len()), ("batch", 2));
    }

    #[test]
    fn a_key_without_roles_has_none() {
        let (key, line) = new("batch", &[]);
        let keys = ApiKeys::parse(line.as_bytes()).unwrap();
        assert!(keys.subject(&[key]).unwrap().roles.is_empty());
    }

    #[test]
    fn a_key_that_is_not_known_or_shown_twice_does_not_hold() {
        let (key, line) = new("batch", &[]);
        let keys = ApiKeys::parse(line.as_bytes()).unwrap();
        let hash = line[7..71].to_owned();
        let wrong: [Vec<String>; 6] = [
            vec![String::new()],
            vec![key[..46].to_owned()],
            vec![format!("{key} ")],
            vec!["x".repeat(100_000)],
            vec![hash],
            vec![key.clone(), key],
        ];
        for headers in wrong {
            assert!(keys.subject(&headers).is_err());
        }
    }

    #[test]
    fn a_wrong_line_is_refused_by_its_number_and_is_not_repeated() {
        let good = format!("sha256:{}", "ab".repeat(32));
        for (line, fault) in [
            ("oip_plainkey alice".to_owned(), "sha256:"),
            ("sha256:abcd alice".to_owned(), "64 hexadecimal"),
            (good.clone(), "names no subject"),
            (format!("{good} Anonymous"), "is Anonymous"),
            (format!("{good} alice a b"), "more than"),
            (format!("{good} a\n{good} b"), "twice"),
        ] {
            let text = ApiKeys::parse(format!("# x\n{line}").as_bytes()).unwrap_err();
            assert!(text.starts_with("line ") && text.contains(fault), "{text}");
            assert!(
                !text.contains("plainkey") && !text.contains("abab"),
                "{text}"
            );
        }
    }

    #[test]
    fn an_id_or_a_role_that_could_not_be_read_back_is_refused() {
        for id in ["", "Anonymous", "a b", "a\nb"] {
            assert!(generate(id, &[]).is_err(), "{id:?}");
        }
        for role in ["", "a b", "a,b"] {
            assert!(generate("a", &[role.to_owned()]).is_err(), "{role:?}");
        }
        assert!(generate("system:serviceaccount:ns:x", &["a:b".to_owned()]).is_ok());
    }
}
