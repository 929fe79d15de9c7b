//! The ways in, in their order, behind one [`Authenticator`].

use std::sync::Arc;

use oip_core::BoxFuture;
use oip_core::access::{Authenticator, Credentials, Subject};
use oip_protocol::Result;

use crate::apikey::ApiKeys;
use crate::bearer;
use crate::build;
use crate::clock::Clock;
use crate::config::{AuthConfigError, AuthenticationConfig};
use crate::jwt::{TokenVerifier, subject_id};
use crate::rejection::Rejection;
use crate::watched::Watched;

/// Finds out who is asking: by a bearer token, else an API key, else a verified client
/// certificate, else nobody.
///
/// The first of them that is shown decides alone. What is shown and does not hold is refused and
/// never passed over for the next; what is shown and no way in was configured for, too.
#[derive(Debug)]
pub struct Authentication {
    pub(crate) tokens: Option<TokenVerifier>,
    pub(crate) api_keys: Option<Arc<Watched<ApiKeys>>>,
    pub(crate) max_token_bytes: usize,
}

impl Authentication {
    /// Reads keys and files and checks that they fit together. Key sets behind a URL are not
    /// fetched yet, see [`Authentication::prepare`].
    ///
    /// The second part of the answer is what should be said to the operator at start.
    ///
    /// # Errors
    /// [`AuthConfigError`], a sentence for the operator. A server must then not start.
    pub fn new(config: &AuthenticationConfig) -> Result<(Self, Vec<String>), AuthConfigError> {
        Self::with_clock(config, Clock::system())
    }

    /// The same with a clock of one's own.
    ///
    /// # Errors
    /// As [`Authentication::new`].
    pub fn with_clock(
        config: &AuthenticationConfig,
        clock: Clock,
    ) -> Result<(Self, Vec<String>), AuthConfigError> {
        build::authentication(config, clock)
    }

    /// Fetches what is behind URLs, so that the first caller need not wait. A failure is logged,
    /// not fatal: an identity provider may start after this server.
    pub async fn prepare(&self) {
        if let Some(tokens) = &self.tokens {
            tokens.keys.prepare().await;
        }
    }

    async fn subject(&self, shown: &Credentials) -> Result<Option<Arc<Subject>>, Rejection> {
        if !shown.authorization.is_empty() {
            let token = bearer::token(&shown.authorization, self.max_token_bytes)?;
            let tokens = self.tokens.as_ref();
            let tokens = tokens.ok_or(Rejection::Header("no key for tokens is configured"))?;
            return tokens.verify(token).await.map(Some);
        }
        if !shown.api_key.is_empty() {
            let keys = self.api_keys.as_ref();
            let keys = keys.ok_or(Rejection::ApiKey("none are configured"))?;
            return keys.current().await.subject(&shown.api_key).map(Some);
        }
        let Some(name) = &shown.client_certificate else {
            return Ok(None);
        };
        Ok(Some(Arc::new(Subject {
            id: subject_id(name).map_err(Rejection::Certificate)?,
            ..Subject::default()
        })))
    }
}

impl Authenticator for Authentication {
    fn authenticate<'a>(
        &'a self,
        credentials: &'a Credentials,
    ) -> BoxFuture<'a, Result<Option<Arc<Subject>>>> {
        Box::pin(async move {
            let subject = self.subject(credentials).await;
            subject.map_err(|rejection| {
                tracing::debug!(%rejection, "a credential does not hold");
                rejection.into()
            })
        })
    }
}

#[cfg(test)]
mod tests;
