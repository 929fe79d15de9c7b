//! The limits of connections.

use std::time::{Duration, Instant};

use oip::server::ConnectionLimits;
use oip::testing::TestServer;

use crate::{http, lab};

async fn hasty() -> TestServer {
    let mut limits = ConnectionLimits::default();
    limits.header_timeout = Duration::from_millis(300);
    limits.header_bytes = 1000;
    limits.connections = 4;
    TestServer::start(lab::server().connections(limits))
        .await
        .unwrap()
}

#[tokio::test]
async fn a_head_that_never_ends_is_closed_and_so_is_silence() {
    let server = hasty().await;
    for sent in [&b"GET /v2 HTTP/1.1\r\nx: "[..], b"", b"PRI * HT"] {
        let begun = Instant::now();
        http::raw(server.rest_address(), sent).await;
        assert!(begun.elapsed() < Duration::from_secs(5), "{sent:?}");
    }
}

#[tokio::test]
async fn a_head_over_the_limit_is_431_in_our_words() {
    let server = hasty().await;
    let long = "x".repeat(2000);
    let headers = [("x-long", long.as_str())];
    let answer = http::request(server.rest_address(), "GET", "/v2", &headers, b"").await;
    assert_eq!(answer.status, 431);
    assert!(answer.error().contains("1000 bytes"));
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_and_are_served_when_one_ends() {
    let server = hasty().await;
    let address = server.rest_address();
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(tokio::net::TcpStream::connect(address).await.unwrap());
    }
    // The four are closed when their patience runs out, and then the fifth has its turn.
    let answer = http::request(address, "GET", "/v2/health/live", &[], b"").await;
    assert_eq!(answer.status, 200);
}
