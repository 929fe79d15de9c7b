//! A web page of somebody else must not reach this server through its visitor's browser.

use std::net::SocketAddr;

use http::{HeaderMap, HeaderValue};
use oip_protocol::error::excerpt;
use oip_protocol::{Error, Result};

/// The origins of web pages that may call this server.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    allowed: Vec<String>,
    same_host: bool,
}

impl Origins {
    /// The server's own addresses and those that the operator allows, such as
    /// `https://console.example`.
    #[must_use]
    pub fn new(own: &[SocketAddr], allowed: &[String], scheme: &str) -> Self {
        let mut origins: Vec<String> = allowed
            .iter()
            .map(|origin| origin.trim_end_matches('/').to_ascii_lowercase())
            .collect();
        for address in own {
            let port = address.port();
            if address.ip().is_loopback() || address.ip().is_unspecified() {
                for host in ["localhost", "127.0.0.1", "[::1]"] {
                    origins.push(format!("{scheme}://{host}:{port}"));
                }
            }
            origins.push(format!("{scheme}://{address}"));
        }
        Self {
            allowed: origins,
            same_host: false,
        }
    }

    /// For routes in somebody else's application, whose address is not known here: its own
    /// pages (their origin names the host that the request names) and those that the operator
    /// allows.
    #[must_use]
    pub fn same_host(allowed: &[String]) -> Self {
        Self {
            same_host: true,
            ..Self::new(&[], allowed, "http")
        }
    }

    fn allow(&self, origin: &str, host: Option<&HeaderValue>) -> bool {
        let origin = origin.to_ascii_lowercase();
        let own = || {
            let (_, named) = origin.split_once("://")?;
            Some(self.same_host && named.as_bytes().eq_ignore_ascii_case(host?.as_bytes()))
        };
        self.allowed.contains(&origin) || own().unwrap_or(false)
    }

    /// Whether an origin was allowed by the operator or is the server's own.
    #[must_use]
    pub fn contains(&self, origin: &str) -> bool {
        self.allow(origin, None)
    }
}

/// Refuses a request whose `Origin` header names a page that may not call this server.
///
/// # Errors
/// [`Forbidden`](oip_protocol::ErrorKind::Forbidden). A request without the header is no
/// browser's cross-origin request and passes.
pub fn refuse_foreign_origin(headers: &HeaderMap, origins: &Origins) -> Result<()> {
    for value in headers.get_all(http::header::ORIGIN) {
        let origin = value.to_str().unwrap_or("");
        if !origins.allow(origin, headers.get(http::header::HOST)) {
            return Err(Error::forbidden(format!(
                "pages of the origin '{}' may not call this server",
                excerpt(origin)
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(origin: &str) -> Result<()> {
        let own = ["127.0.0.1:8082".parse().unwrap()];
        let allowed = ["https://console.example/".to_owned()];
        let mut headers = HeaderMap::new();
        headers.insert("origin", origin.parse().unwrap());
        refuse_foreign_origin(&headers, &Origins::new(&own, &allowed, "http"))
    }

    #[test]
    fn the_servers_own_pages_and_allowed_origins_pass() {
        for origin in [
            "http://localhost:8082",
            "http://127.0.0.1:8082",
            "http://[::1]:8082",
            "https://console.example",
        ] {
            assert!(check(origin).is_ok(), "{origin}");
        }
        assert!(refuse_foreign_origin(&HeaderMap::new(), &Origins::default()).is_ok());
    }

    #[test]
    fn in_somebodys_application_its_own_pages_pass() {
        let mut headers = HeaderMap::new();
        headers.insert("origin", "https://app.example".parse().unwrap());
        headers.insert("host", "app.example".parse().unwrap());
        let origins = Origins::same_host(&[]);
        assert!(refuse_foreign_origin(&headers, &origins).is_ok());
        headers.insert("origin", "https://evil.example".parse().unwrap());
        assert!(refuse_foreign_origin(&headers, &origins).is_err());
    }

    #[test]
    fn any_other_page_is_refused() {
        for origin in [
            "http://evil.example",
            "http://localhost:8083",
            "https://localhost:8082",
            "null",
            "http://localhost:8082.evil.example",
        ] {
            assert!(check(origin).is_err(), "{origin}");
        }
    }
}
