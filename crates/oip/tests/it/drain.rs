//! Stopping: what is in flight is answered.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{http, lab};

#[tokio::test]
async fn a_request_in_flight_is_answered_and_an_idle_connection_does_not_hold_the_stop_up() {
    let server = lab::start().await;
    let address = server.rest_address();
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = [0; 16];
    idle.read_exact(&mut answer).await.unwrap();
    let silent = TcpStream::connect(address).await.unwrap();
    let body = oip_protocol::json::encode_request(&oip::InferRequest::new([lab::x()]).output("y"));
    let body = body.unwrap();
    let slow = tokio::spawn(async move {
        http::request(address, "POST", "/v2/models/slow/infer", &[], &body).await
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let stopped = tokio::time::timeout(Duration::from_secs(5), server.stop()).await;
    assert_eq!(stopped, Ok(0));
    assert_eq!(slow.await.unwrap().status, 200);
    assert!(TcpStream::connect(address).await.is_err());
    drop(silent);
}

#[tokio::test]
async fn during_the_delay_new_connections_are_served_and_readiness_is_false() {
    let server = lab::server().shutdown(Duration::from_millis(600), Duration::from_secs(5));
    let server = oip::testing::TestServer::start(server).await.unwrap();
    let address = server.rest_address();
    let stopping = tokio::spawn(server.stop());
    tokio::time::sleep(Duration::from_millis(150)).await;
    let live = http::request(address, "GET", "/v2/health/live", &[], b"").await;
    let ready = http::request(address, "GET", "/v2/health/ready", &[], b"").await;
    assert_eq!((live.status, ready.status), (200, 503));
    assert_eq!(stopping.await.unwrap(), 0);
}
