//! Where a request comes from that proxies have passed on.
//!
//! `X-Forwarded-For` and `Forwarded` (RFC 7239) can be written by anyone. They are believed only
//! as far as trusted proxies wrote them: read from the right, the first address that is no trusted
//! proxy is the caller's. What stands left of it is the caller's own word.

use std::net::IpAddr;
use std::str::FromStr;

use http::HeaderMap;
use http::header::FORWARDED;

/// An address, or a network such as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether every address of its kind is in it.
    pub(crate) const fn is_everything(&self) -> bool {
        self.prefix == 0
    }

    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differ = network.to_bits() ^ address.to_bits();
                differ.leading_zeros() >= u32::from(self.prefix)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differ = network.to_bits() ^ address.to_bits();
                differ.leading_zeros() >= u32::from(self.prefix)
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| ())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| ())?,
            None => longest,
        };
        if prefix > longest {
            return Err(());
        }
        // Callers are known by their IPv4 address, however it came.
        match (address.to_canonical(), longest - prefix) {
            (address, host) if address.is_ipv4() && host <= 32 => Ok(Self {
                address,
                prefix: 32 - host,
            }),
            // More than all of IPv4, and yet no network of IPv6.
            (IpAddr::V4(_), _) => Err(()),
            (address, _) => Ok(Self { address, prefix }),
        }
    }
}

/// The caller's address: that of the connection, or what trusted proxies say.
///
/// `None` where they say nothing that can be believed: an address that is none, or two headers
/// that differ. The proxy's own address would be the wrong answer for a policy that trusts it.
#[must_use]
pub fn caller(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> Option<IpAddr> {
    if !is_trusted(peer, trusted) {
        return Some(peer);
    }
    let said = Listed::of(headers, "x-forwarded-for", str::to_owned);
    let forwarded = Listed::of(headers, FORWARDED.as_str(), for_of);
    match (said.caller(trusted), forwarded.caller(trusted)) {
        (Found::Nothing, Found::Nothing) => Some(peer),
        (Found::Caller(one), Found::Nothing) | (Found::Nothing, Found::Caller(one)) => Some(one),
        (Found::Caller(one), Found::Caller(other)) if one == other => Some(one),
        _ => None,
    }
}

fn is_trusted(address: IpAddr, trusted: &[Network]) -> bool {
    trusted.iter().any(|network| network.contains(address))
}

/// The hops of a header, in its order.
struct Listed(Vec<String>);

enum Found {
    Nothing,
    Caller(IpAddr),
    Unknown,
}

impl Listed {
    fn of(headers: &HeaderMap, name: &str, hop: impl Fn(&str) -> String) -> Self {
        let values = headers.get_all(name).iter();
        let hops = values.flat_map(|value| {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            let hops: Vec<String> = text.split(',').map(|part| hop(part.trim())).collect();
            hops
        });
        Self(hops.collect())
    }

    fn caller(&self, trusted: &[Network]) -> Found {
        let mut found = Found::Nothing;
        for hop in self.0.iter().rev() {
            match address(hop) {
                Some(address) if is_trusted(address, trusted) => found = Found::Caller(address),
                Some(address) => return Found::Caller(address),
                None => return Found::Unknown,
            }
        }
        found
    }
}

/// What `for=` says in one element of `Forwarded`; empty where it says nothing.
fn for_of(element: &str) -> String {
    let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let mut named = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
    let value = named.next().map_or("", |(_, value)| value.trim());
    value.trim_matches('"').to_owned()
}

/// An address, with or without a port: `192.0.2.7`, `192.0.2.7:80`, `2001:db8::7`,
/// `[2001:db8::7]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let address = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0.parse().ok()?,
        None => match text.parse() {
            Ok(address) => address,
            Err(_) => IpAddr::V4(text.split_once(':')?.0.parse().ok()?),
        },
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(peer: &str, headers: &[(&'static str, &str)]) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let trusted = ["10.0.0.0/8", "::1"].map(|network| network.parse::<Network>().unwrap());
        caller(peer.parse().unwrap(), &map, &trusted).map(|ip| ip.to_string())
    }

    #[test]
    fn a_stranger_is_not_believed() {
        let lie = [
            ("x-forwarded-for", "10.0.0.1"),
            ("forwarded", "for=10.0.0.1"),
        ];
        assert_eq!(who("192.0.2.7", &lie).unwrap(), "192.0.2.7");
    }

    #[test]
    fn the_caller_is_the_last_address_that_is_no_trusted_proxy() {
        for (header, value, expected) in [
            ("x-forwarded-for", "192.0.2.7", "192.0.2.7"),
            (
                "x-forwarded-for",
                "10.9.9.9, 192.0.2.7, 10.0.0.2",
                "192.0.2.7",
            ),
            ("x-forwarded-for", "nonsense, 192.0.2.7:4711", "192.0.2.7"),
            ("x-forwarded-for", "10.0.0.3", "10.0.0.3"),
            (
                "forwarded",
                "for=1.2.3.4, For=\"[2001:db8::7]:80\";proto=https",
                "2001:db8::7",
            ),
        ] {
            assert_eq!(
                who("10.0.0.1", &[(header, value)]).unwrap(),
                expected,
                "{value}"
            );
        }
        assert_eq!(who("10.0.0.1", &[]).unwrap(), "10.0.0.1");
        assert_eq!(
            who("::ffff:10.0.0.1", &[("x-forwarded-for", "1.2.3.4")]).unwrap(),
            "1.2.3.4"
        );
    }

    #[test]
    fn what_cannot_be_believed_leaves_the_caller_unknown_and_never_makes_it_the_proxy() {
        for headers in [
            &[("x-forwarded-for", "unknown")][..],
            &[("x-forwarded-for", "")],
            &[("forwarded", "for=_hidden")],
            &[("forwarded", "proto=https")],
            &[
                ("x-forwarded-for", "1.2.3.4"),
                ("forwarded", "for=10.0.0.9"),
            ],
        ] {
            assert_eq!(who("10.0.0.1", headers), None, "{headers:?}");
        }
    }

    #[test]
    fn a_network_is_an_address_with_a_prefix_that_fits() {
        for good in [
            "10.0.0.0/8",
            "0.0.0.0/0",
            "192.0.2.7",
            "2001:db8::/32",
            "::1",
            "::ffff:10.0.0.0/104",
            "::ffff:0:0/96",
        ] {
            assert!(good.parse::<Network>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "10.0.0.0/33",
            "10.0.0.0/",
            "proxy",
            "10.0.0/8",
            "::/129",
            "::ffff:10.0.0.0/95",
            "::ffff:10.0.0.0/8",
        ] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("203.0.113.9".parse().unwrap()));
        assert!(!all.contains("2001:db8::1".parse().unwrap()));
        let mapped: Network = "::ffff:0:0/96".parse().unwrap();
        assert!(mapped.is_everything());
    }

    #[test]
    fn a_network_of_ipv4_may_be_written_as_one_of_ipv6() {
        for mapped in ["::ffff:10.0.0.0/104", "::ffff:10.0.0.7", "::ffff:a00:0/104"] {
            let network: Network = mapped.parse().unwrap();
            for near in ["10.0.0.7", "::ffff:10.0.0.7"] {
                assert!(network.contains(near.parse().unwrap()), "{mapped} {near}");
            }
            for far in ["11.0.0.7", "::ffff:11.0.0.7", "::a00:7"] {
                assert!(!network.contains(far.parse().unwrap()), "{mapped} {far}");
            }
        }
    }
}
