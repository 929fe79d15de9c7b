//! Why a credential does not hold: for the log alone.

use oip_protocol::Error;
use thiserror::Error as ThisError;

/// What every caller is told whose credential does not hold, whatever the reason.
pub const DOES_NOT_HOLD: &str = "the credential does not hold";

/// Why a credential does not hold. Never carries a part of the credential itself.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub(crate) enum Rejection {
    #[error("{0}")]
    Header(&'static str),
    #[error("the token is longer than {0} bytes")]
    TooLong(usize),
    #[error("the token is no JWS in compact form: {0}")]
    Form(&'static str),
    #[error("the token's algorithm is not one of auth_algorithm")]
    Algorithm,
    #[error("the token's header marks an extension as critical")]
    Critical,
    #[error("the token is of another type than an access token")]
    Type,
    #[error("no key of the key set has the token's kid")]
    UnknownKey,
    #[error("the signature is not the key's")]
    Signature,
    #[error(
        "more keys of the key set fit the token than are tried, and the signature is that of none \
         of the tried: only the first {0} are; give tokens and keys a kid"
    )]
    TooManyKeys(usize),
    #[error("claim {claim:?}: {fault}")]
    Claim { claim: String, fault: &'static str },
    #[error("API key: {0}")]
    ApiKey(&'static str),
    #[error("client certificate: {0}")]
    Certificate(&'static str),
    /// There is nothing to check the credential against. The fault is on this side.
    #[error("no keys to check tokens with: {0}")]
    NoKeys(String),
}

impl Rejection {
    pub(crate) fn claim(claim: &str, fault: &'static str) -> Self {
        Self::Claim {
            claim: claim.to_owned(),
            fault,
        }
    }
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::NoKeys(_) => {
                Self::unavailable("credentials cannot be checked at present").retry_after(10)
            }
            _ => Self::unauthenticated(DOES_NOT_HOLD),
        }
        .caused_by(rejection)
    }
}
