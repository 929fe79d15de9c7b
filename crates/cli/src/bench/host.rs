//! One door of a server, as its URL names it.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::BenchError;
use super::stream::{Tls, Way};
use crate::credential::Credential;

/// How long each of several addresses is tried.
const CONNECTING: Duration = Duration::from_secs(5);

/// One door of a server.
#[derive(Debug, Clone)]
pub(super) struct Host {
    pub(super) way: Way,
    /// What else its name stands for.
    others: Vec<SocketAddr>,
    /// Whether its URL asks for TLS.
    pub(super) secure: bool,
    /// As the `Host` header has it.
    pub(super) authority: String,
    /// A path before `/v2`, without its last slash.
    pub(super) prefix: String,
    /// What is shown with every request.
    pub(super) shown: Option<Credential>,
}

impl Host {
    /// Reads `http://host:port` or `https://host:port` (without a scheme it is the first), with a
    /// path before `/v2` if any.
    pub(super) fn parse(url: &str) -> Result<Self, BenchError> {
        let refuse = |why: &str| BenchError::Url {
            url: url.to_owned(),
            why: why.to_owned(),
        };
        let (secure, rest) = match url.split_once("://") {
            Some(("http" | "grpc", rest)) => (false, rest),
            Some(("https" | "grpcs", rest)) => (true, rest),
            Some(_) => return Err(refuse("only http:// and https:// can be measured")),
            None => (false, url),
        };
        let (authority, prefix) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        let with_port = match authority.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => authority.to_owned(),
            _ => format!("{authority}:{}", if secure { 443 } else { 80 }),
        };
        let mut addresses = with_port
            .to_socket_addrs()
            .map_err(|error| refuse(&error.to_string()))?;
        let first = addresses.next().ok_or_else(|| refuse("no such host"))?;
        Ok(Self {
            way: Way::plain(first),
            others: addresses.filter(|other| *other != first).collect(),
            secure,
            authority: authority.to_owned(),
            prefix: prefix.trim_end_matches('/').to_owned(),
            shown: None,
        })
    }

    /// A door on loopback.
    pub(super) fn of_address(address: SocketAddr) -> Self {
        Self {
            way: Way::plain(address),
            others: Vec::new(),
            secure: false,
            authority: address.to_string(),
            prefix: String::new(),
            shown: None,
        }
    }

    /// Its URL, without a path.
    pub(super) fn origin(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}", self.authority)
    }

    /// Speaks TLS, where its URL asks for it, and this protocol over it.
    pub(super) fn secure(
        &mut self,
        config: &ClientConfig,
        protocol: &[u8],
    ) -> Result<(), BenchError> {
        if !self.secure {
            return Ok(());
        }
        let name = self.name().to_owned();
        let name = ServerName::try_from(name).map_err(|error| BenchError::Url {
            url: self.origin(),
            why: error.to_string(),
        })?;
        let mut config = config.clone();
        config.alpn_protocols = vec![protocol.to_vec()];
        self.way.tls = Some(Tls {
            config: Arc::new(config),
            name,
        });
        Ok(())
    }

    /// The authority without its port, and without the brackets of an address.
    fn name(&self) -> &str {
        let name = match self.authority.rsplit_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok() => name,
            _ => &self.authority,
        };
        name.trim_start_matches('[').trim_end_matches(']')
    }

    /// The same by the first of its addresses that somebody listens at: `localhost` often is
    /// `::1` before it is 127.0.0.1. Where nobody does, asking says why.
    pub(super) fn reached(mut self) -> Self {
        let others = std::mem::take(&mut self.others);
        if others.is_empty() {
            return self;
        }
        let listens =
            |address: &SocketAddr| TcpStream::connect_timeout(address, CONNECTING).is_ok();
        let mut all = std::iter::once(self.way.address).chain(others);
        if let Some(address) = all.find(listens) {
            self.way.address = address;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let host = Host::parse("http://127.0.0.1:8000/serving/").unwrap();
        assert_eq!(host.way.address, ([127, 0, 0, 1], 8000).into());
        assert_eq!(host.authority, "127.0.0.1:8000");
        assert_eq!(host.prefix, "/serving");
        assert_eq!(host.origin(), "http://127.0.0.1:8000");
    }

    #[test]
    fn scheme_and_port_may_be_missing() {
        let port = |url: &str| Host::parse(url).unwrap().way.address.port();
        assert_eq!(port("127.0.0.1"), 80);
        assert_eq!(port("127.0.0.1:9"), 9);
        assert_eq!(port("https://127.0.0.1"), 443);
        assert_eq!(port("grpcs://[::1]"), 443);
    }

    #[test]
    fn the_name_that_a_certificate_must_have_is_that_of_the_url_without_its_port() {
        for (url, name) in [
            ("https://localhost:8443/x", "localhost"),
            ("https://127.0.0.1", "127.0.0.1"),
            ("https://[::1]:8443", "::1"),
        ] {
            assert_eq!(Host::parse(url).unwrap().name(), name);
        }
    }

    #[test]
    fn of_several_addresses_the_one_is_taken_that_somebody_listens_at() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let here = listener.local_addr().unwrap();
        // Port 9 is for discarding; nobody listens there.
        let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let host = Host {
            others: vec![here],
            ..Host::of_address(nobody)
        };
        assert_eq!(host.reached().way.address, here);
        let alone = Host::of_address(nobody).reached();
        assert_eq!(alone.way.address, nobody);
    }
}
