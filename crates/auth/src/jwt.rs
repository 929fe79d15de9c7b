//! JSON Web Tokens: algorithms, keys, signatures, claims.
//!
//! The signatures themselves are checked by `ring`. What stands here is the frame around it: which
//! algorithm and which key may be used is settled by the configuration, never by the token.

mod algorithm;
mod cache;
mod claims;
mod jws;
mod key;
mod keyset;
mod pem;
mod remote;
mod source;
mod verifier;

pub use algorithm::{Algorithm, AlgorithmError, Family};
pub use claims::claimed_roles;
pub use pem::PemError;
pub use remote::RemoteOptions;

pub(crate) use cache::TokenCache;
pub(crate) use claims::{ClaimPath, ClaimRules, subject_id};
pub(crate) use key::VerifyingKey;
pub(crate) use keyset::KeySet;
pub(crate) use pem::{looks_like_pem, looks_public, public_key};
pub(crate) use remote::{Remote, Target};
pub(crate) use source::KeySource;
pub(crate) use verifier::TokenVerifier;
