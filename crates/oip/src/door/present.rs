//! Which headers a request has, of those that are looked for.

use http::HeaderMap;

/// Which headers a request has, of those that the doors look for in every one.
///
/// Found by going over them once: a request has four or five headers and lacks nearly all of a
/// dozen, and finding out by hashing each of the dozen takes several times as long.
#[derive(Debug, Clone, Copy, Default)]
pub struct Present(u16);

impl Present {
    /// `Origin`.
    pub const ORIGIN: Self = Self(1);
    /// `Accept-Encoding`.
    pub const ACCEPT_ENCODING: Self = Self(1 << 1);
    /// `Authorization`.
    pub const AUTHORIZATION: Self = Self(1 << 2);
    /// `X-API-Key`.
    pub const API_KEY: Self = Self(1 << 3);
    /// `X-Request-Id`.
    pub const REQUEST_ID: Self = Self(1 << 4);
    /// What says how long the caller waits.
    pub const TIMEOUT: Self = Self(1 << 5);
    /// `Content-Encoding` or `grpc-encoding`.
    pub const ENCODING: Self = Self(1 << 6);
    /// `Inference-Header-Content-Length`.
    pub const HEADER_LENGTH: Self = Self(1 << 7);
    /// `X-OIP-Non-Finite`.
    pub const NON_FINITE: Self = Self(1 << 8);
    /// `X-OIP-Server-Timing`.
    pub const SERVER_TIMING: Self = Self(1 << 9);

    /// Goes over the headers of a request.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let mut present = 0;
        for name in headers.keys() {
            present |= Self::named(name.as_str()).0;
        }
        Self(present)
    }

    fn named(name: &str) -> Self {
        match name {
            "origin" => Self::ORIGIN,
            "accept-encoding" => Self::ACCEPT_ENCODING,
            "authorization" => Self::AUTHORIZATION,
            "x-api-key" => Self::API_KEY,
            "x-request-id" => Self::REQUEST_ID,
            super::TIMEOUT_HEADER | "grpc-timeout" => Self::TIMEOUT,
            "content-encoding" | "grpc-encoding" => Self::ENCODING,
            "inference-header-content-length" => Self::HEADER_LENGTH,
            "x-oip-non-finite" => Self::NON_FINITE,
            "x-oip-server-timing" => Self::SERVER_TIMING,
            _ => Self(0),
        }
    }

    /// One of them was put there.
    pub(crate) fn add(&mut self, which: Self) {
        self.0 |= which.0;
    }

    /// Whether one of them is there.
    #[must_use]
    pub fn has(self, which: Self) -> bool {
        self.0 & which.0 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_header_that_is_looked_for_is_found_whatever_its_case_and_no_other() {
        let rows = [
            ("Origin", Present::ORIGIN),
            ("Accept-Encoding", Present::ACCEPT_ENCODING),
            ("Authorization", Present::AUTHORIZATION),
            ("X-API-Key", Present::API_KEY),
            ("X-Request-Id", Present::REQUEST_ID),
            ("X-OIP-Timeout-Ms", Present::TIMEOUT),
            ("grpc-timeout", Present::TIMEOUT),
            ("Content-Encoding", Present::ENCODING),
            ("grpc-encoding", Present::ENCODING),
            ("Inference-Header-Content-Length", Present::HEADER_LENGTH),
            ("X-OIP-Non-Finite", Present::NON_FINITE),
            ("X-OIP-Server-Timing", Present::SERVER_TIMING),
        ];
        for (name, expected) in rows {
            let mut headers = HeaderMap::new();
            headers.insert("host", "x".parse().unwrap());
            assert_eq!(Present::of(&headers).0, 0);
            let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(&name, "1".parse().unwrap());
            headers.append(&name, "2".parse().unwrap());
            assert_eq!(Present::of(&headers).0, expected.0, "{name}");
        }
    }
}
