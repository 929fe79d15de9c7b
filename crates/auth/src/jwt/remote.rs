//! Key sets behind a URL: kept, refreshed, and for how long they stay in force without.
//!
//! The policy, in one place:
//! - A set is used as it is for `refresh_after`. Then the next token starts a refresh in the
//!   background and is checked with the old keys meanwhile.
//! - A token whose `kid` is not known, or whose signature is not its key's, waits for a refresh, so
//!   that a rotated key works at once, also one under the name of the old.
//! - There is one refresh at a time, and `min_interval` lies between two, whatever is sent here.
//! - While the other side does not answer, or answers nonsense, the old keys stay in force for
//!   `stale_for` after they were last confirmed. Then no token holds until it answers again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::{HeaderValue, Uri};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Algorithm, KeySet};
use crate::http::HttpClient;
use crate::rejection::Rejection;

/// How a key set behind a URL is kept.
#[derive(Debug, Clone)]
pub struct RemoteOptions {
    /// Age from which on the next token starts a refresh. 5 minutes.
    pub refresh_after: Duration,
    /// Least time between the end of a refresh and the next. 10 seconds.
    pub min_interval: Duration,
    /// How long keys stay in force after they were last confirmed. 1 hour.
    pub stale_for: Duration,
    /// A file with a bearer token to show when fetching the set (and only to the configured host),
    /// read each time: what a Kubernetes API server asks for.
    pub token_file: Option<PathBuf>,
}

impl Default for RemoteOptions {
    fn default() -> Self {
        Self {
            refresh_after: Duration::from_secs(300),
            min_interval: Duration::from_secs(10),
            stale_for: Duration::from_secs(3600),
            token_file: None,
        }
    }
}

/// What is behind the URL.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// The set itself.
    KeySet(Uri),
    /// An OpenID provider's configuration, which names the set.
    Discovery {
        /// The issuer, which the configuration must name exactly so.
        issuer: String,
        /// The configuration.
        configuration: Uri,
    },
}

/// A key set behind a URL.
#[derive(Debug)]
pub(crate) struct Remote {
    client: HttpClient,
    target: Target,
    algorithms: Vec<Algorithm>,
    options: RemoteOptions,
    held: ArcSwapOption<Held>,
    /// When the last refresh ended, or began where it has not; held while one runs.
    refreshing: Mutex<Option<Instant>>,
}

/// The keys that were fetched.
#[derive(Debug)]
struct Held {
    keys: Arc<KeySet>,
    text: bytes::Bytes,
    confirmed: Instant,
}

#[derive(Deserialize)]
struct Discovered {
    issuer: String,
    jwks_uri: String,
}

impl Remote {
    /// A set that has not been fetched yet.
    pub(crate) fn new(
        client: HttpClient,
        target: Target,
        algorithms: Vec<Algorithm>,
        options: RemoteOptions,
    ) -> Self {
        Self {
            client,
            target,
            algorithms,
            options,
            held: ArcSwapOption::empty(),
            refreshing: Mutex::new(None),
        }
    }

    /// The keys in force.
    pub(crate) async fn current(self: &Arc<Self>) -> Result<Arc<KeySet>, Rejection> {
        let age = |held: &Held| held.confirmed.elapsed();
        if let Some(held) = &*self.held.load() {
            if age(held) <= self.options.refresh_after {
                return Ok(Arc::clone(&held.keys));
            }
            if age(held) <= self.options.stale_for {
                if self
                    .refreshing
                    .try_lock()
                    .is_ok_and(|last| self.may_refresh(*last))
                {
                    drop(self.start_refresh());
                }
                return Ok(Arc::clone(&held.keys));
            }
        }
        self.refresh().await;
        match &*self.held.load() {
            Some(held) if age(held) <= self.options.stale_for => Ok(Arc::clone(&held.keys)),
            Some(_) => Err(Rejection::NoKeys(
                "the key set could not be refreshed for too long".to_owned(),
            )),
            None => Err(Rejection::NoKeys(
                "the key set could not be fetched yet".to_owned(),
            )),
        }
    }

    /// The keys after a refresh, if these are others than `known`.
    pub(crate) async fn newer_than(self: &Arc<Self>, known: &KeySet) -> Option<Arc<KeySet>> {
        self.refresh().await;
        let held = self.held.load();
        let keys = &held.as_ref()?.keys;
        (keys.generation() != known.generation()).then(|| Arc::clone(keys))
    }

    fn may_refresh(&self, last: Option<Instant>) -> bool {
        last.is_none_or(|last| last.elapsed() >= self.options.min_interval)
    }

    /// Refreshes, or waits for the refresh that runs; at most one in a `min_interval`.
    pub(crate) async fn refresh(self: &Arc<Self>) {
        // A task of its own: a caller who leaves must not take the refresh with it.
        let _ = self.start_refresh().await;
    }

    fn start_refresh(self: &Arc<Self>) -> tokio::task::JoinHandle<()> {
        let remote = Arc::clone(self);
        let asked = Instant::now();
        tokio::spawn(async move {
            let mut last = remote.refreshing.lock().await;
            // Whoever waited for a refresh has it, however long it took.
            if last.is_some_and(|last| last >= asked) || !remote.may_refresh(*last) {
                return;
            }
            *last = Some(Instant::now());
            if let Err(fault) = remote.fetch().await {
                tracing::warn!(fault, "the key set could not be refreshed");
            }
            *last = Some(Instant::now());
        })
    }

    async fn fetch(&self) -> Result<(), String> {
        let uri = match &self.target {
            Target::KeySet(uri) => uri.clone(),
            Target::Discovery {
                issuer,
                configuration,
            } => self.discover(issuer, configuration).await?,
        };
        let text = self.get(&uri).await?;
        let same = match &*self.held.load() {
            Some(held) if held.text == text => Some(Arc::clone(&held.keys)),
            _ => None,
        };
        let keys = match same {
            Some(keys) => keys,
            None => Arc::new(
                KeySet::from_json(&text, &self.algorithms)
                    .map_err(|fault| format!("{}: {fault}", plain(&uri)))?,
            ),
        };
        self.held.store(Some(Arc::new(Held {
            keys,
            text,
            confirmed: Instant::now(),
        })));
        Ok(())
    }

    /// OpenID Connect Discovery 1.0, section 4: the issuer must be named exactly as it is known.
    async fn discover(&self, issuer: &str, configuration: &Uri) -> Result<Uri, String> {
        let text = self.get(configuration).await?;
        let found: Discovered = serde_json::from_slice(&text).map_err(|error| {
            format!("{}: no OpenID configuration: {error}", plain(configuration))
        })?;
        if found.issuer != issuer {
            return Err(format!(
                "{} speaks for {:?}, not for auth_issuer {issuer:?}",
                plain(configuration),
                found.issuer
            ));
        }
        self.client
            .check(&found.jwks_uri)
            .map_err(|error| format!("jwks_uri: {error}"))
    }

    async fn get(&self, uri: &Uri) -> Result<bytes::Bytes, String> {
        let mut headers = Vec::new();
        let token = self.token(uri).await?;
        if let Some(token) = token.as_ref().and_then(|token| token.to_str().ok()) {
            headers.push((http::header::AUTHORIZATION, token));
        }
        let answer = self.client.get_with(uri, &headers).await;
        let answer = answer.map_err(|error| format!("{}: {error}", plain(uri)))?;
        match answer.status {
            200 => Ok(answer.body),
            status => Err(format!("{} answered {status}", plain(uri))),
        }
    }

    /// The token to show, to the host of the configuration only: a provider's configuration may
    /// name a key set on another host, which must not get it.
    async fn token(&self, uri: &Uri) -> Result<Option<HeaderValue>, String> {
        let (Target::KeySet(own)
        | Target::Discovery {
            configuration: own, ..
        }) = &self.target;
        let own_host = uri.authority() == own.authority() && uri.scheme() == own.scheme();
        match &self.options.token_file {
            Some(path) if own_host => {
                let file = path.clone();
                let read = tokio::task::spawn_blocking(move || crate::http::bearer(&file)).await;
                let read = read.map_err(|error| error.to_string())?;
                read.map(Some).map_err(|error| error.to_string())
            }
            _ => Ok(None),
        }
    }
}

/// An address for the log: without its query, which may hold a key.
fn plain(uri: &Uri) -> String {
    crate::http::shown(&uri.to_string())
}

#[cfg(test)]
mod tests;
