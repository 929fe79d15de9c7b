//! How connections begin, change their certificate, and end.

use std::time::Duration;

use oip::InferRequest;
use oip::server::ConnectionLimits;
use oip_protocol::Limit;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::*;
use crate::http;

#[tokio::test]
async fn both_doors_answer_over_either_version_of_tls() {
    let pki = Pki::new();
    let server = start(pki.settings()).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let trust = Trust::with_versions(&pki.authority, None, &[version]);
        assert_eq!(ask_both(&server, &trust).await, (true, true), "{version:?}");
    }
}

#[tokio::test]
async fn one_port_serves_both_doors_and_agrees_on_the_protocol() {
    let pki = Pki::new();
    let server = TestServer::start_on_one_port(secured(pki.settings()))
        .await
        .unwrap();
    let trust = Trust::new(&pki.authority, None);
    assert_eq!(ask_both(&server, &trust).await, (true, true));
    for protocol in [&b"h2"[..], b"http/1.1"] {
        let stream = trust
            .connect(server.rest_address(), protocol)
            .await
            .unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol));
    }
    assert!(
        trust
            .connect(server.rest_address(), b"spdy/1")
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_authority_is_not_talked_to() {
    let pki = Pki::new();
    let server = start(pki.settings()).await;
    let trust = Trust::new(&Authority::new("another"), None);
    assert_eq!(ask_both(&server, &trust).await, (false, false));
}

#[tokio::test]
async fn a_client_that_speaks_plain_http_is_told_so_and_garbage_is_closed() {
    let pki = Pki::new();
    let server = start(pki.settings()).await;
    let address = server.rest_address();
    let answer = http::request(address, "GET", "/v2/health/live", &[], b"").await;
    assert_eq!(answer.status, 400);
    assert!(answer.error().contains("https://"), "{answer:?}");
    let length = answer.header("content-length").unwrap();
    assert_eq!(length, answer.body.len().to_string());
    // What begins like a handshake is none of HTTP's, and is not answered in it.
    let garbage = [&[22_u8, 3, 1, 255, 255][..], &[7; 64]].concat();
    assert!(!http::raw(address, &garbage).await.starts_with(b"HTTP"));
    let trust = Trust::new(&pki.authority, None);
    assert_eq!(ask_both(&server, &trust).await, (true, true));
}

#[tokio::test]
async fn a_client_that_connects_and_says_nothing_holds_nobody_up_and_is_closed() {
    let pki = Pki::new();
    let mut limits = ConnectionLimits::default();
    limits.header_timeout = Duration::from_millis(400);
    let server = TestServer::start(secured(pki.settings()).connections(limits))
        .await
        .unwrap();
    let before = Limit::HeaderTimeout.count();
    let mut silent = Vec::new();
    for n in 0..50 {
        let mut stream = TcpStream::connect(server.rest_address()).await.unwrap();
        // Some stop after the first bytes of a handshake.
        stream.write_all(&[22, 3, 1, 2, 0][..n % 6]).await.unwrap();
        silent.push(stream);
    }
    let trust = Trust::new(&pki.authority, None);
    let asked = timeout(Duration::from_secs(5), ask_both(&server, &trust)).await;
    assert_eq!(asked, Ok((true, true)));
    for mut stream in silent {
        let closed = timeout(Duration::from_secs(5), stream.read_to_end(&mut Vec::new())).await;
        assert!(closed.is_ok(), "it stays open");
    }
    assert!(Limit::HeaderTimeout.count() >= before + 50);
    let metrics = trust.page(server.rest_address(), "/metrics").await.unwrap();
    let counted = "\noip_tls_handshakes_failed_total 50\n";
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections_and_old_ones_live_on() {
    let pki = Pki::new();
    let server = start(pki.settings()).await;
    let (address, old) = (server.rest_address(), Trust::new(&pki.authority, None));
    let mut open = old.connect(address, b"http/1.1").await.unwrap();
    let next = Authority::new("next");
    next.write_server(pki.folder.path());
    let new = Trust::new(&next, None);
    let mut taken = false;
    for _ in 0..80 {
        taken = new.get(address, "/v2/health/live").await.is_ok();
        if taken {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    assert!(taken, "the new certificate is not shown");
    assert!(old.get(address, "/v2/health/live").await.is_err());
    open.write_all(b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    open.read_to_end(&mut answer).await.unwrap();
    assert_eq!(http::parse(&answer).status, 200);
}

#[tokio::test]
async fn a_stop_answers_what_is_in_flight_and_waits_for_no_handshake() {
    let pki = Pki::new();
    let server = start(pki.settings()).await;
    let address = server.rest_address();
    let trust = Trust::new(&pki.authority, None);
    let idle = trust.connect(address, b"http/1.1").await.unwrap();
    let silent = TcpStream::connect(address).await.unwrap();
    let body = InferRequest::new([lab::x()]).output("y");
    let body = oip_protocol::json::encode_request(&body).unwrap();
    let mut slow = trust.connect(address, b"http/1.1").await.unwrap();
    let head = format!(
        "POST /v2/models/slow/infer HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    slow.write_all(&[head.as_bytes(), &body].concat())
        .await
        .unwrap();
    sleep(Duration::from_millis(100)).await;
    let stopped = timeout(Duration::from_secs(5), server.stop()).await;
    assert_eq!(stopped, Ok(0));
    let mut answer = Vec::new();
    // To the end without an error: the end was said (close_notify), not cut.
    slow.read_to_end(&mut answer).await.unwrap();
    assert_eq!(http::parse(&answer).status, 200);
    assert!(TcpStream::connect(address).await.is_err());
    drop((idle, silent));
}

#[tokio::test]
async fn pages_of_the_servers_own_https_address_may_call_it() {
    let pki = Pki::new();
    let server = start(pki.settings()).await;
    let (address, trust) = (server.rest_address(), Trust::new(&pki.authority, None));
    for (scheme, status) in [("https", 200), ("http", 403)] {
        let origin = format!("origin: {scheme}://localhost:{}\r\n", address.port());
        let answered = trust.get_with(address, "/v2", &origin).await.unwrap();
        assert_eq!(answered, status, "{scheme}");
    }
}
