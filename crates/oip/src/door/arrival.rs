//! What a request's head says of the caller.

use std::borrow::Cow;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use oip_core::access::{Arrival, Credentials};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::request_id::REQUEST_ID;
use super::{ClientCertificate, DoorOptions, Present, Remote};

static API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// What the gates need to know of a request, from its head alone and from where it came.
/// `present` is of that head.
#[must_use]
pub fn arrival(parts: &Parts, present: Present, remote: &Remote, options: &DoorOptions) -> Arrival {
    let headers = &parts.headers;
    let values = |which, name| match present.has(which) {
        true => values(headers, name),
        false => Vec::new(),
    };
    Arrival {
        credentials: Credentials {
            authorization: values(Present::AUTHORIZATION, &http::header::AUTHORIZATION),
            api_key: values(Present::API_KEY, &API_KEY),
            client_certificate: remote.certificate.as_ref().map(ClientCertificate::shown),
        },
        peer: remote
            .peer
            .and_then(|peer| super::caller(peer.ip(), headers, &options.trusted_proxies)),
        path: one_spelling(parts.uri.path()).into_owned(),
        action: None,
        request_id: match present.has(Present::REQUEST_ID) {
            true => headers.get_all(&REQUEST_ID).iter().next_back().map(text),
            false => None,
        },
        headers: forwarded(headers, &options.forward_headers),
    }
}

/// What is written in a segment of a path as it is (RFC 3986, `pchar`); all else is encoded.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// Which bytes stand for themselves in a path. A table, as each request's path is looked at.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < plain.len() {
        plain[byte] = matches!(byte as u8, b'/' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9'
            | b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')'
            | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@');
        byte += 1;
    }
    plain
};

/// A path as decision points see it: each segment in the one spelling that its text has, so that
/// no policy over paths is passed by `%69nfer` for `infer`. Routes read the text.
fn one_spelling(path: &str) -> Cow<'_, str> {
    if path.bytes().all(|byte| PLAIN[usize::from(byte)]) {
        return Cow::Borrowed(path);
    }
    let respelled = path.split('/').map(|segment| {
        let text = percent_decode_str(segment).decode_utf8();
        // What is no text has no route, and stays as it came.
        text.map_or_else(
            |_| segment.to_owned(),
            |text| utf8_percent_encode(&text, ENCODED).to_string(),
        )
    });
    Cow::Owned(respelled.collect::<Vec<_>>().join("/"))
}

/// Every value of a header. One that is not text becomes one that cannot hold: a credential that
/// is shown must never count as none.
fn values(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    headers.get_all(name).iter().map(text).collect()
}

fn text(value: &HeaderValue) -> String {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(value.as_bytes()).into_owned(),
    }
}

/// The headers that handlers may see.
pub(crate) fn forwarded(headers: &HeaderMap, allowed: &[String]) -> Vec<(String, String)> {
    allowed
        .iter()
        .flat_map(|name| {
            let values = headers.get_all(name.as_str()).iter();
            values.filter_map(|value| Some((name.clone(), value.to_str().ok()?.to_owned())))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(parts: &Parts, options: &DoorOptions) -> Arrival {
        let remote = Remote::of(&parts.extensions);
        super::arrival(parts, Present::of(&parts.headers), &remote, options)
    }

    fn parts(headers: &[(&str, &[u8])]) -> Parts {
        let mut request = http::Request::builder().uri("/v2/models/iris?x=1");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn handlers_see_only_the_headers_that_were_allowed() {
        let options = DoorOptions {
            forward_headers: vec!["x-tenant".into()],
            ..DoorOptions::default()
        };
        let parts = parts(&[("x-tenant", b"a"), ("cookie", b"secret")]);
        let arrival = arrival(&parts, &options);
        assert_eq!(arrival.headers, [("x-tenant".to_owned(), "a".to_owned())]);
        assert_eq!(arrival.path, "/v2/models/iris");
    }

    #[test]
    fn a_verified_certificate_is_shown_by_its_name_until_it_expires_and_no_header_makes_one() {
        let shown = |certificate: Option<ClientCertificate>| {
            let mut parts = parts(&[("x-client-certificate", b"alice"), ("x-ssl-cert", b"alice")]);
            if let Some(certificate) = certificate {
                parts.extensions.insert(certificate);
            }
            let arrival = arrival(&parts, &DoorOptions::default());
            arrival.credentials.client_certificate
        };
        let alice = |not_after| Some(ClientCertificate::new("alice", not_after));
        assert_eq!(shown(alice(u64::MAX)).as_deref(), Some("alice"));
        // Still a credential, and none that holds.
        assert_eq!(shown(alice(1)).as_deref(), Some(""));
        assert_eq!(shown(None), None);
    }

    #[test]
    fn a_path_has_one_spelling_whatever_is_encoded_in_it() {
        for (came, seen) in [
            ("/v2/models/iris/infer", "/v2/models/iris/infer"),
            ("/v2/models/%69ris/%69nfer", "/v2/models/iris/infer"),
            ("/v2/models/a%2fb/infer", "/v2/models/a%2Fb/infer"),
            ("/v2/models/a:b%3Ab/infer", "/v2/models/a:b:b/infer"),
            ("/v2/models/{a}%7B/infer", "/v2/models/%7Ba%7D%7B/infer"),
            ("/v2/models/caf\u{e9}/infer", "/v2/models/caf%C3%A9/infer"),
            ("/v2/models/caf%c3%a9/infer", "/v2/models/caf%C3%A9/infer"),
            ("/v2/models/100%25/infer", "/v2/models/100%25/infer"),
            ("/v2/models/%ff/infer", "/v2/models/%ff/infer"),
        ] {
            assert_eq!(one_spelling(came), seen);
            assert_eq!(one_spelling(seen), seen, "again");
        }
    }

    #[test]
    fn the_name_of_a_request_is_read_whatever_handlers_may_see() {
        let parts = parts(&[("x-request-id", b"req-7")]);
        let arrival = arrival(&parts, &DoorOptions::default());
        assert_eq!(arrival.request_id.as_deref(), Some("req-7"));
        assert!(arrival.headers.is_empty());
    }

    #[test]
    fn a_credential_that_is_not_text_is_still_shown() {
        let parts = parts(&[("authorization", b"Bearer \xff")]);
        let arrival = arrival(&parts, &DoorOptions::default());
        assert_eq!(arrival.credentials.authorization.len(), 1);
    }
}
