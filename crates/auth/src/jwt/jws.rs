//! The compact form of a signed token (RFC 7515, section 7.1).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::Algorithm;
use crate::pdp::strict;
use crate::rejection::Rejection;

/// A token taken apart, nothing of it trusted yet but its form.
pub(crate) struct Jws<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<String>,
    /// What is signed: header and payload as they were sent.
    pub(crate) signed: &'a str,
    pub(crate) signature: Vec<u8>,
    payload: &'a str,
}

impl<'a> Jws<'a> {
    /// Takes a token apart. Its algorithm must be one of `accepted`; a critical extension is
    /// refused, as RFC 7515, section 4.1.11, demands of whoever does not know it. Keys and
    /// addresses of keys in the header (`jwk`, `jku`, `x5u`, `x5c`) are not looked at.
    pub(crate) fn parse(token: &'a str, accepted: &[Algorithm]) -> Result<Self, Rejection> {
        let (signed, signature) = token
            .rsplit_once('.')
            .ok_or(Rejection::Form("there are not three parts"))?;
        let (header, payload) = signed
            .split_once('.')
            .filter(|(_, payload)| !payload.contains('.'))
            .ok_or(Rejection::Form("there are not three parts"))?;
        let header = object(header)?;
        let algorithm = match header.get("alg") {
            Some(Value::String(name)) => Algorithm::from_header(name),
            _ => None,
        };
        let algorithm = algorithm
            .filter(|algorithm| accepted.contains(algorithm))
            .ok_or(Rejection::Algorithm)?;
        if header.contains_key("crit") {
            return Err(Rejection::Critical);
        }
        check_type(header.get("typ"))?;
        let kid = match header.get("kid") {
            None => None,
            Some(Value::String(kid)) => Some(kid.clone()),
            Some(_) => return Err(Rejection::Form("kid is no string")),
        };
        Ok(Self {
            algorithm,
            kid,
            signed,
            signature: decode(signature)?,
            payload,
        })
    }

    /// The claims. To be asked for once the signature has been checked.
    pub(crate) fn claims(&self) -> Result<Map<String, Value>, Rejection> {
        object(self.payload)
    }
}

/// A token that was made for another purpose (a logout, an event, a proof of possession) says so
/// in `typ`; it must not pass for an access token (RFC 8725, section 3.11).
fn check_type(typ: Option<&Value>) -> Result<(), Rejection> {
    const KNOWN: [&str; 3] = ["jwt", "at+jwt", "jose"];
    let Some(typ) = typ else { return Ok(()) };
    let typ = typ.as_str().ok_or(Rejection::Type)?.to_ascii_lowercase();
    let typ = typ.strip_prefix("application/").unwrap_or(&typ);
    KNOWN.contains(&typ).then_some(()).ok_or(Rejection::Type)
}

fn object(part: &str) -> Result<Map<String, Value>, Rejection> {
    let bytes = decode(part)?;
    // A name that stands twice means one thing here and another to whoever looked before us.
    match strict::parse(&bytes) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(Rejection::Form(
            "a part is no JSON object, or a name stands twice in it",
        )),
    }
}

fn decode(part: &str) -> Result<Vec<u8>, Rejection> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| Rejection::Form("a part is not base64url without padding"))
}
