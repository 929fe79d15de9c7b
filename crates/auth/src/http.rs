//! The HTTP client behind key sets and remote policy decision points.
//!
//! It trusts the other side with nothing: one time-out for the whole exchange, a limit on the
//! answer, no redirects (a 3xx is handed back as the status it is), no proxy taken from the
//! environment, no compression. Connections are kept and used again.

mod authorities;

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use thiserror::Error;

pub use authorities::trusting;
use authorities::{read_authorities, system_authorities, tls_configuration};

/// Where `http://` may lead to. `https://` is always allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PlainHttp {
    /// To this machine only: `localhost`, `127.0.0.0/8`, `[::1]`.
    #[default]
    Loopback,
    /// Anywhere.
    Anywhere,
}

/// How to talk to the other side.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// For the whole exchange, from connecting to the last byte of the answer.
    pub timeout: Duration,
    /// The longest answer, in bytes.
    pub max_response_bytes: usize,
    /// A PEM file of the authorities to trust, in place of the system's (which are those of
    /// `SSL_CERT_FILE` and `SSL_CERT_DIR` where these are set). It is read again when no
    /// connection comes about, as authorities are renewed in place.
    pub ca_file: Option<PathBuf>,
    /// A file of a bearer token that is shown with every request, read each time.
    pub token_file: Option<PathBuf>,
    /// Where `http://` may lead to.
    pub plain_http: PlainHttp,
}

impl Default for HttpOptions {
    /// 5 s, 1 MiB, the system's authorities, plain HTTP to loopback only.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            max_response_bytes: 1 << 20,
            ca_file: None,
            token_file: None,
            plain_http: PlainHttp::Loopback,
        }
    }
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum HttpError {
    /// The address is none that this client calls.
    #[error("{url:?} {fault}")]
    Url {
        /// The address as configured, without its user name, password and query.
        url: String,
        /// What is wrong with it; reads on from the address.
        fault: &'static str,
    },
    /// There are no certificate authorities to trust.
    #[error("certificate authorities: {0}")]
    Authorities(String),
    /// The file of the bearer token is no token.
    #[error("bearer token: {0}")]
    Token(String),
    /// No connection, or one that broke.
    #[error("{0}")]
    Connection(String),
    /// The time-out ran out.
    #[error("no complete answer within {0:?}")]
    TimedOut(Duration),
    /// The answer is longer than the limit.
    #[error("the answer is longer than {0} bytes")]
    TooLarge(usize),
    /// The answer says that its bytes are not what it says, but that in another coding.
    #[error("the answer has a content coding, and none was asked for")]
    Coded,
}

/// An answer, whole.
#[derive(Debug, Clone)]
pub struct HttpResponse {
    /// The status code; 3xx are not followed.
    pub status: u16,
    /// The `Content-Type`, where there is one that is text.
    pub content_type: Option<String>,
    /// The body.
    pub body: Bytes,
}

/// A client for a handful of fixed addresses. Cheap to share behind an `Arc`.
pub struct HttpClient {
    options: HttpOptions,
    plain: Client<HttpConnector, Full<Bytes>>,
    secure: RwLock<Option<Secure>>,
}

type HttpsClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// The client for `https://`.
struct Secure {
    client: HttpsClient,
    /// The authorities that it trusts, as their file held them; none where they are the system's.
    authorities: Option<Vec<u8>>,
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl HttpClient {
    /// A client with these options.
    ///
    /// # Errors
    /// [`HttpError::Authorities`] when `ca_file` is set and cannot be used, [`HttpError::Token`]
    /// when `token_file` is.
    pub fn new(options: HttpOptions) -> Result<Self, HttpError> {
        let client = Self {
            plain: builder().build(connector(options.timeout)),
            secure: RwLock::default(),
            options,
        };
        if client.options.ca_file.is_some() {
            client.secure()?;
        }
        if let Some(file) = &client.options.token_file {
            bearer(file)?;
        }
        Ok(client)
    }

    /// Checks an address at start, so that a wrong one is found then.
    ///
    /// # Errors
    /// [`HttpError::Url`] for an address that this client would not call, and
    /// [`HttpError::Authorities`] for an `https://` one when there is no authority to trust.
    pub fn check(&self, url: &str) -> Result<Uri, HttpError> {
        let uri = check_url(url, self.options.plain_http)?;
        if is_https(&uri) {
            self.secure()?;
        }
        Ok(uri)
    }

    /// GET.
    ///
    /// # Errors
    /// See [`HttpError`]; a status that is not 200 is no error here.
    pub async fn get(&self, uri: &Uri) -> Result<HttpResponse, HttpError> {
        self.get_with(uri, &[]).await
    }

    /// GET, with headers.
    ///
    /// # Errors
    /// See [`HttpError`]; a status that is not 200 is no error here.
    pub async fn get_with(
        &self,
        uri: &Uri,
        headers: &[(header::HeaderName, &str)],
    ) -> Result<HttpResponse, HttpError> {
        self.exchange(Method::GET, uri, headers, Bytes::new()).await
    }

    /// POST, with the headers that the other side wants (`Content-Type` among them). What is
    /// posted must be safe to ask twice: it is sent again, once, when a kept connection turns out
    /// to be gone.
    ///
    /// # Errors
    /// See [`HttpError`]; a status that is not 200 is no error here.
    pub async fn post(
        &self,
        uri: &Uri,
        headers: &[(header::HeaderName, &str)],
        body: Bytes,
    ) -> Result<HttpResponse, HttpError> {
        self.exchange(Method::POST, uri, headers, body).await
    }

    async fn exchange(
        &self,
        method: Method,
        uri: &Uri,
        headers: &[(header::HeaderName, &str)],
        body: Bytes,
    ) -> Result<HttpResponse, HttpError> {
        let timeout = self.options.timeout;
        let work = async {
            let first = self.once(&method, uri, headers, body.clone()).await;
            match first {
                Err(Fault::Stale) => self.once(&method, uri, headers, body).await,
                Err(Fault::Unconnected(_)) if is_https(uri) && self.renew().await => {
                    self.once(&method, uri, headers, body).await
                }
                other => other,
            }
        };
        match tokio::time::timeout(timeout, work).await {
            Err(_) => Err(HttpError::TimedOut(timeout)),
            Ok(Ok(response)) => Ok(response),
            Ok(Err(Fault::Stale)) => Err(HttpError::Connection(
                "the connection was closed before an answer came".to_owned(),
            )),
            Ok(Err(Fault::Unconnected(error) | Fault::Other(error))) => Err(error),
        }
    }

    async fn once(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &[(header::HeaderName, &str)],
        body: Bytes,
    ) -> Result<HttpResponse, Fault> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        if let Some(file) = self.options.token_file.clone() {
            let read = tokio::task::spawn_blocking(move || bearer(&file)).await;
            let read = read.unwrap_or_else(|error| Err(HttpError::Token(error.to_string())));
            request = request.header(header::AUTHORIZATION, read.map_err(Fault::Other)?);
        }
        let request = request
            .body(Full::new(body))
            .map_err(|error| Fault::Other(HttpError::Connection(error.to_string())))?;
        let answer = if is_https(uri) {
            self.secure().map_err(Fault::Other)?.request(request).await
        } else {
            self.plain.request(request).await
        };
        let (head, body) = answer.map_err(|error| fault(&error))?.into_parts();
        let limit = self.options.max_response_bytes;
        let codings = head.headers.get_all(header::CONTENT_ENCODING);
        if codings.iter().any(|coding| coding != "identity") {
            return Err(Fault::Other(HttpError::Coded));
        }
        Ok(HttpResponse {
            status: head.status.as_u16(),
            content_type: head
                .headers
                .get(header::CONTENT_TYPE)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned),
            body: read(body, limit).await?,
        })
    }

    fn secure(&self) -> Result<HttpsClient, HttpError> {
        if let Some(secure) = &*self.secure.read().unwrap_or_else(PoisonError::into_inner) {
            return Ok(secure.client.clone());
        }
        let authorities = self.options.ca_file.as_deref().map(read_authorities);
        self.trust(authorities.transpose()?)
    }

    /// Trusts these authorities from now on; the system's, where there are none.
    fn trust(&self, authorities: Option<Vec<u8>>) -> Result<HttpsClient, HttpError> {
        let roots = match (&self.options.ca_file, &authorities) {
            (Some(path), Some(text)) => authorities::authorities(path, text)?,
            _ => system_authorities()?,
        };
        let mut tcp = connector(self.options.timeout);
        tcp.enforce_http(false);
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls_configuration(roots)?)
            .https_only()
            .enable_http1()
            .wrap_connector(tcp);
        let client: HttpsClient = builder().build(https);
        let secure = Secure {
            client: client.clone(),
            authorities,
        };
        *self.secure.write().unwrap_or_else(PoisonError::into_inner) = Some(secure);
        Ok(client)
    }

    /// Reads the file of authorities again. Whether it holds others now, which are trusted from now
    /// on; a file that cannot be used leaves the old ones.
    async fn renew(&self) -> bool {
        let Some(path) = self.options.ca_file.clone() else {
            return false;
        };
        let read = tokio::task::spawn_blocking(move || read_authorities(&path)).await;
        let Ok(Ok(text)) = read else {
            return false;
        };
        let same = {
            let secure = self.secure.read().unwrap_or_else(PoisonError::into_inner);
            let known = secure
                .as_ref()
                .and_then(|secure| secure.authorities.as_ref());
            known == Some(&text)
        };
        !same && self.trust(Some(text)).is_ok()
    }
}

/// The header that shows the token of a file.
///
/// # Errors
/// [`HttpError::Token`] for a file that cannot be read or holds anything but one token.
pub(crate) fn bearer(file: &Path) -> Result<HeaderValue, HttpError> {
    let wrong = |fault: &str| HttpError::Token(format!("{}: {fault}", file.display()));
    let content = crate::watched::read(file).map_err(|fault| wrong(&fault))?;
    let token = std::str::from_utf8(&content).map_err(|_| wrong("is no text"))?;
    match token.trim() {
        "" => Err(wrong("is blank")),
        token if token.bytes().any(|byte| !byte.is_ascii_graphic()) => {
            Err(wrong("holds more than one token"))
        }
        token => {
            let shown = HeaderValue::from_str(&format!("Bearer {token}"));
            let mut shown = shown.map_err(|_| wrong("holds no token"))?;
            shown.set_sensitive(true);
            Ok(shown)
        }
    }
}

/// Why one try brought no answer.
enum Fault {
    /// The connection was closed under the request: a kept one that had gone.
    Stale,
    /// There was none.
    Unconnected(HttpError),
    Other(HttpError),
}

fn builder() -> hyper_util::client::legacy::Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(64)
        .http1_max_buf_size(64 << 10);
    builder
}

fn connector(timeout: Duration) -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.set_connect_timeout(Some(timeout));
    tcp.set_nodelay(true);
    tcp
}

fn is_https(uri: &Uri) -> bool {
    uri.scheme() == Some(&http::uri::Scheme::HTTPS)
}

/// Whether this is an address that may be called.
///
/// # Errors
/// [`HttpError::Url`] with what is wrong.
pub fn check_url(url: &str, plain_http: PlainHttp) -> Result<Uri, HttpError> {
    let wrong = |fault| HttpError::Url {
        url: shown(url),
        fault,
    };
    let uri: Uri = url.parse().map_err(|_| wrong("is no URL"))?;
    let authority = uri.authority().ok_or_else(|| wrong("names no host"))?;
    if authority.as_str().contains('@') {
        return Err(wrong("carries a user name or password, which is refused"));
    }
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if plain_http == PlainHttp::Anywhere || is_loopback(authority.host()) => {
            Ok(uri)
        }
        Some("http") => Err(wrong(
            "is plain HTTP to another machine: use https (http is for localhost only)",
        )),
        _ => Err(wrong("must begin with https:// or http://")),
    }
}

/// The address without what could be a secret.
pub(crate) fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_at(url.find("://").map_or(0, |at| at + 3));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let port = authority.rsplit_once(':').map_or("", |(_, port)| port);
    let host = match authority.rsplit_once('@') {
        Some((_, host)) => host,
        // A password that holds a slash or a question mark: where it ends nobody can tell.
        None if rest.contains('@') && !port.bytes().all(|byte| byte.is_ascii_digit()) => {
            return format!("{scheme}***");
        }
        None => authority,
    };
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    format!("{scheme}{host}{path}")
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

async fn read(body: hyper::body::Incoming, limit: usize) -> Result<Bytes, Fault> {
    if hyper::body::Body::size_hint(&body).lower() > limit as u64 {
        return Err(Fault::Other(HttpError::TooLarge(limit)));
    }
    let mut body = std::pin::pin!(Limited::new(body, limit));
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Fault::Other(if error.is::<http_body_util::LengthLimitError>() {
                HttpError::TooLarge(limit)
            } else {
                HttpError::Connection(format!("the answer broke off: {error}"))
            })
        })?;
        if let Ok(data) = frame.into_data() {
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole.freeze())
}

fn fault(error: &ClientError) -> Fault {
    let mut text = error.to_string();
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    while let Some(inner) = cause {
        let gone = inner
            .downcast_ref::<hyper::Error>()
            .is_some_and(|e| e.is_incomplete_message() || e.is_canceled());
        let reset = inner.downcast_ref::<std::io::Error>().is_some_and(|e| {
            matches!(
                e.kind(),
                std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe
            )
        });
        if !error.is_connect() && (gone || reset) {
            return Fault::Stale;
        }
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    match error.is_connect() {
        true => Fault::Unconnected(HttpError::Connection(text)),
        false => Fault::Other(HttpError::Connection(text)),
    }
}

#[cfg(test)]
mod tests;
