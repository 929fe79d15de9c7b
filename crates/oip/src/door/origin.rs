//! A web page of somebody else must not reach this server through its visitor's browser.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use http::{HeaderMap, HeaderValue};
use oip_protocol::error::excerpt;
use oip_protocol::{Error, Result};

/// The origins of web pages that may call this server.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    allowed: Vec<String>,
    same_host: bool,
    scheme: String,
    /// Where the server listens at every address of its machine.
    everywhere: Vec<SocketAddr>,
}

impl Origins {
    /// The server's own addresses and those that the operator allows, such as
    /// `https://console.example`.
    #[must_use]
    pub fn new(own: &[SocketAddr], allowed: &[String], scheme: &str) -> Self {
        let mut origins: Vec<String> = allowed.iter().map(|origin| as_sent(origin)).collect();
        let everywhere = own.iter().filter(|address| address.ip().is_unspecified());
        for address in own {
            let port = address.port();
            if address.ip().is_loopback() || address.ip().is_unspecified() {
                for host in ["localhost", "127.0.0.1", "[::1]"] {
                    origins.push(as_sent(&format!("{scheme}://{host}:{port}")));
                }
            }
            origins.push(as_sent(&format!("{scheme}://{address}")));
        }
        Self {
            allowed: origins,
            same_host: false,
            scheme: scheme.to_owned(),
            everywhere: everywhere.copied().collect(),
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
        let origin = as_sent(origin);
        let own = || {
            let (_, named) = origin.split_once("://")?;
            Some(self.same_host && named.as_bytes().eq_ignore_ascii_case(host?.as_bytes()))
        };
        self.allowed.contains(&origin) || own().unwrap_or(false) || self.is_own_address(&origin)
    }

    /// Whether an origin names an address of this machine, where the server listens at all of
    /// them. It is looked for when it is asked for: addresses come and go.
    fn is_own_address(&self, origin: &str) -> bool {
        let Some((scheme, host)) = origin.split_once("://") else {
            return false;
        };
        let Some(named) = address(host, default_port(scheme)) else {
            return false;
        };
        let listens =
            |own: &&SocketAddr| own.port() == named.port() && (own.is_ipv6() || named.is_ipv4());
        scheme == self.scheme
            && self.everywhere.iter().any(|own| listens(&own))
            && is_of_this_machine(named.ip())
    }

    /// Whether an origin was allowed by the operator or is the server's own.
    #[must_use]
    pub fn contains(&self, origin: &str) -> bool {
        self.allow(origin, None)
    }
}

/// An origin as browsers send it: in lower case, without a slash at its end, and without the port
/// that its scheme means anyway.
fn as_sent(origin: &str) -> String {
    let origin = origin.trim_end_matches('/').to_ascii_lowercase();
    let port = origin
        .split_once("://")
        .map(|(scheme, _)| default_port(scheme));
    let bare = port
        .flatten()
        .and_then(|port| origin.strip_suffix(&format!(":{port}")));
    bare.map(str::to_owned).unwrap_or(origin)
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// An address and a port, as an origin names them.
fn address(host: &str, default: Option<u16>) -> Option<SocketAddr> {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let alone = || bare.unwrap_or(host).parse::<IpAddr>().ok();
    let with_port = host.parse::<SocketAddr>().ok();
    with_port.or_else(|| Some(SocketAddr::new(alone()?, default?)))
}

/// Whether an address is one of this machine's: what is sent there is sent from there. Nothing is
/// sent to find out. (That an address can be bound would not tell; some machines allow it for any.)
fn is_of_this_machine(address: IpAddr) -> bool {
    let any: IpAddr = match address.is_ipv4() {
        true => Ipv4Addr::UNSPECIFIED.into(),
        false => Ipv6Addr::UNSPECIFIED.into(),
    };
    let from = || {
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect((address, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    address.is_loopback() || (!address.is_unspecified() && from() == Some(address))
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

    /// An address of this machine that is not loopback, where it has one.
    fn address_of_this_machine() -> Option<IpAddr> {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        // An address of documentation: no route, no address.
        socket.connect("192.0.2.1:9").ok()?;
        Some(socket.local_addr().unwrap().ip())
    }

    #[test]
    fn where_the_server_listens_everywhere_each_address_of_its_machine_is_its_own() {
        let listening = |own: &str| Origins::new(&[own.parse().unwrap()], &[], "http");
        for own in ["0.0.0.0:8082", "[::]:8082"] {
            let origins = listening(own);
            assert!(origins.contains("http://127.9.9.9:8082"), "{own}");
            for foreign in [
                "http://127.9.9.9:8083",
                "https://127.9.9.9:8082",
                "http://127.9.9.9",
                "http://192.0.2.1:8082",
                "http://224.0.0.1:8082",
                "http://0.0.0.0.evil.example:8082",
                "http://evil.example:8082",
            ] {
                assert!(!origins.contains(foreign), "{own}: {foreign}");
            }
            if let Some(address) = address_of_this_machine() {
                assert!(
                    origins.contains(&format!("http://{address}:8082")),
                    "{address}"
                );
                let here = listening("127.0.0.1:8082");
                assert!(!here.contains(&format!("http://{address}:8082")));
            }
        }
        assert!(!listening("127.0.0.1:8082").contains("http://127.9.9.9:8082"));
    }

    #[test]
    fn the_port_that_a_scheme_means_anyway_does_not_matter() {
        let allowed = [
            "https://a.example:443",
            "http://b.example:80",
            "https://c.example:80",
        ];
        let allowed = allowed.map(str::to_owned);
        let own = ["0.0.0.0:80".parse().unwrap()];
        let origins = Origins::new(&own, &allowed, "http");
        for own in [
            "https://a.example",
            "http://b.example",
            "https://c.example:80",
            "http://localhost",
            "http://127.0.0.1",
            "http://127.9.9.9",
        ] {
            assert!(origins.contains(own), "{own}");
        }
        for foreign in ["http://a.example", "https://b.example", "https://c.example"] {
            assert!(!origins.contains(foreign), "{foreign}");
        }
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
