//! Handing things over to somebody else's server, by HTTP. Without the feature `auth`, whose
//! client it is, there is nothing to hand over with.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderName;
#[cfg(feature = "auth")]
use oip_auth::http::{HttpClient, HttpOptions, PlainHttp};

/// Why something cannot be handed over.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PostError(pub(super) String);

/// An address to post to.
#[derive(Clone)]
pub(super) struct Post {
    #[cfg(feature = "auth")]
    client: Arc<HttpClient>,
    uri: http::Uri,
    headers: Arc<[(HeaderName, String)]>,
}

/// To which machines plain HTTP may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plain {
    Loopback,
    Anywhere,
}

/// How to post.
#[cfg_attr(
    not(feature = "auth"),
    expect(dead_code, reason = "nothing can be posted")
)]
pub(super) struct PostOptions {
    pub(super) plain: Plain,
    pub(super) headers: Vec<(HeaderName, String)>,
    /// The authorities to trust, in place of the system's.
    pub(super) ca_file: Option<PathBuf>,
    /// A bearer token, read each time.
    pub(super) token_file: Option<PathBuf>,
}

#[cfg(feature = "auth")]
impl Post {
    /// Checks the address; nobody is asked yet.
    pub(super) fn new(url: &str, how: PostOptions) -> Result<Self, PostError> {
        let client = HttpClient::new(HttpOptions {
            timeout: std::time::Duration::from_secs(5),
            plain_http: match how.plain {
                Plain::Loopback => PlainHttp::Loopback,
                Plain::Anywhere => PlainHttp::Anywhere,
            },
            ca_file: how.ca_file,
            token_file: how.token_file,
            ..HttpOptions::default()
        });
        let client = client.map_err(|error| PostError(error.to_string()))?;
        let uri = client.check(url);
        Ok(Self {
            uri: uri.map_err(|error| PostError(error.to_string()))?,
            client: Arc::new(client),
            headers: how.headers.into(),
        })
    }

    /// Posts; a status of 2xx is success.
    pub(super) async fn send(&self, content_type: &str, body: Bytes) -> Result<(), String> {
        let mut headers = vec![(http::header::CONTENT_TYPE, content_type)];
        let own = self.headers.iter();
        headers.extend(own.map(|(name, value)| (name.clone(), value.as_str())));
        match self.client.post(&self.uri, &headers, body).await {
            Ok(response) if (200..300).contains(&response.status) => Ok(()),
            Ok(response) => Err(format!("it answered {}", response.status)),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[cfg(not(feature = "auth"))]
impl Post {
    pub(super) fn new(_: &str, _: PostOptions) -> Result<Self, PostError> {
        let missing = "this build has no HTTP client (feature 'auth')";
        Err(PostError(missing.to_owned()))
    }

    pub(super) async fn send(&self, _: &str, _: Bytes) -> Result<(), String> {
        Err(format!(
            "{} cannot be posted to: {}",
            self.uri,
            self.headers.len()
        ))
    }
}
