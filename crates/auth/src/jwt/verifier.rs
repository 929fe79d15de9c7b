//! From a token to the subject that it speaks for.

use std::sync::Arc;

use oip_core::access::Subject;

use super::cache::{TokenCache, fingerprint};
use super::jws::Jws;
use super::{Algorithm, ClaimRules, KeySet, KeySource};
use crate::bearer;
use crate::clock::Clock;
use crate::rejection::Rejection;

/// Checks tokens.
#[derive(Debug)]
pub(crate) struct TokenVerifier {
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) keys: KeySource,
    pub(crate) rules: ClaimRules,
    pub(crate) cache: TokenCache,
    pub(crate) clock: Clock,
}

impl TokenVerifier {
    /// Whom a token speaks for.
    pub(crate) async fn verify(&self, token: &str) -> Result<Arc<Subject>, Rejection> {
        let name = fingerprint(token);
        let now = self.clock.now();
        let mut keys = self.keys.current().await?;
        if let Some(subject) = self.cache.get(&name, keys.generation(), now) {
            return Ok(subject);
        }
        bearer::check(token)?;
        let jws = Jws::parse(token, &self.algorithms)?;
        if let Err(rejection) = keys.verify(&jws) {
            keys = self.with_newer_keys(&jws, &keys, rejection).await?;
        }
        let accepted = self.rules.accept(jws.claims()?, now)?;
        let subject = Arc::new(accepted.subject);
        let kept = Arc::clone(&subject);
        let generation = keys.generation();
        self.cache.put(name, generation, kept, accepted.until, now);
        Ok(subject)
    }

    /// A token whose key is not known, or whose signature is not that key's, may have been signed
    /// by one that was published since, under a new name or the old.
    async fn with_newer_keys(
        &self,
        jws: &Jws<'_>,
        known: &KeySet,
        rejection: Rejection,
    ) -> Result<Arc<KeySet>, Rejection> {
        let of_a_key = matches!(
            rejection,
            Rejection::UnknownKey | Rejection::Signature | Rejection::TooManyKeys(_)
        );
        if !of_a_key {
            return Err(rejection);
        }
        let newer = self.keys.newer_than(known).await.ok_or(rejection)?;
        newer.verify(jws)?;
        Ok(newer)
    }
}
