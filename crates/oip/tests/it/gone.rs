//! Clients that are gone without a word, when the server stops.

use std::time::{Duration, Instant};

use oip::testing::TestServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::lab;
use crate::takers::{DATA, HEADERS, Raw, frame};

/// A gRPC message of nothing.
const NOTHING: &[u8] = &[0; 5];

async fn patient() -> TestServer {
    let server = lab::server().shutdown(Duration::ZERO, Duration::from_secs(30));
    TestServer::start(server).await.unwrap()
}

#[tokio::test]
async fn connections_whose_clients_are_gone_do_not_hold_the_stop_up() {
    let server = patient().await;
    let window = 65_535;
    let mut held = Vec::new();
    let silent = Raw::connect(server.grpc_address(), window).await;
    held.push(silent);
    let mut answered = Raw::connect(server.rest_address(), window).await;
    answered.ask(1, "GET", "/v2/health/live", None).await;
    while answered.read().await.0 != DATA {}
    held.push(answered);
    for (path, message) in [
        ("/grpc.health.v1.Health/Watch", Some(NOTHING)),
        ("/inference.GRPCInferenceService/ModelStreamInfer", None),
        (
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            None,
        ),
    ] {
        let mut resting = Raw::connect(server.grpc_address(), window).await;
        resting.begin(1, path).await;
        if let Some(message) = message {
            resting.send(&frame(DATA, 1, 1, message)).await;
        }
        while resting.read().await.0 != HEADERS {}
        held.push(resting);
    }
    // A while, so that all of them rest.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begun = Instant::now();
    assert_eq!(server.stop().await, 0);
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
    drop(held);
}

#[tokio::test]
async fn calls_whose_messages_never_come_do_not_hold_the_stop_up() {
    let server = patient().await;
    let mut grpc = Raw::connect(server.grpc_address(), 65_535).await;
    for (stream, path) in [
        (1, "/inference.GRPCInferenceService/ServerLive"),
        (3, "/inference.GRPCInferenceService/ModelMetadata"),
        (5, "/grpc.health.v1.Health/Check"),
        (7, "/grpc.health.v1.Health/Watch"),
    ] {
        grpc.begin(stream, path).await;
    }
    let mut rest = Raw::connect(server.rest_address(), 65_535).await;
    rest.begin_rest(1, "/v2/repository/models/free/load").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begun = Instant::now();
    assert_eq!(server.stop().await, 0);
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
    drop((grpc, rest));
}

#[tokio::test]
async fn half_of_a_first_head_at_the_stop_is_answered_when_the_rest_comes() {
    let server = patient().await;
    let mut stream = TcpStream::connect(server.rest_address()).await.unwrap();
    let live = b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n";
    let (half, rest) = live.split_at(20);
    stream.write_all(half).await.unwrap();
    tokio::time::sleep(Duration::from_millis(60)).await;
    let stopping = tokio::spawn(server.stop());
    tokio::time::sleep(Duration::from_millis(1200)).await;
    stream.write_all(rest).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = crate::http::parse(&answer);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(stopping.await.unwrap(), 0);
}

#[tokio::test]
async fn a_call_in_flight_over_http2_is_answered_though_its_client_answers_no_ping() {
    let server = patient().await;
    let mut raw = Raw::connect(server.grpc_address(), 65_535).await;
    raw.begin(1, "/inference.GRPCInferenceService/ModelInfer")
        .await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let stopping = tokio::spawn(server.stop());
    tokio::time::sleep(Duration::from_millis(1800)).await;
    raw.send(&frame(DATA, 1, 1, NOTHING)).await;
    while raw.read().await != (HEADERS, 1) {}
    drop(raw);
    assert_eq!(stopping.await.unwrap(), 0);
}
