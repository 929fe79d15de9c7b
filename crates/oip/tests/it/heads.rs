//! What is bounded from the head on: requests whose bodies never come, and streams that rest.

use std::time::{Duration, Instant};

use oip::grpc::generated_client::grpc_inference_service_client::GrpcInferenceServiceClient;
use oip::grpc::messages::{ModelInferRequest, ServerLiveRequest};
use oip::server::{ConnectionLimits, Limits};
use oip::testing::TestServer;
use oip_protocol::Limit;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;
use tonic::transport::Channel;

use crate::limits::{counted, hasty};
use crate::takers::{HEADERS, Raw};
use crate::{http, lab};

const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";
const HEAD: &[u8] =
    b"POST /v2/models/free/infer HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n";

type Client = GrpcInferenceServiceClient<Channel>;

async fn client(server: &TestServer) -> Client {
    let url = format!("http://{}", server.grpc_address());
    let channel = Channel::from_shared(url).unwrap();
    GrpcInferenceServiceClient::new(channel.connect().await.unwrap())
}

/// What comes of a REST request of which only the head is sent, within a while.
async fn of_head(server: &TestServer) -> (TcpStream, Option<String>) {
    let mut stream = TcpStream::connect(server.rest_address()).await.unwrap();
    stream.write_all(HEAD).await.unwrap();
    let mut answer = vec![0; 500];
    let read = tokio::time::timeout(Duration::from_millis(300), stream.read(&mut answer)).await;
    let answer = read.ok().map(|length| {
        answer.truncate(length.unwrap());
        String::from_utf8(answer).unwrap()
    });
    (stream, answer)
}

#[tokio::test]
async fn requests_whose_bodies_never_come_are_in_flight_at_both_doors() {
    let mut limits = Limits::default();
    limits.in_flight = 3;
    let server = TestServer::start(lab::server().limits(limits))
        .await
        .unwrap();
    let mut raw = Raw::connect(server.grpc_address(), 65_535).await;
    for stream in [1, 3] {
        raw.begin(stream, INFER).await;
    }
    let (held, waits) = of_head(&server).await;
    assert_eq!(waits, None, "there is room for three");
    let (_, refused) = of_head(&server).await;
    let refused = refused.expect("a fourth one waits");
    assert!(refused.starts_with("HTTP/1.1 429"), "{refused}");
    let mut client = client(&server).await;
    let call = ModelInferRequest {
        model_name: "free".into(),
        ..ModelInferRequest::default()
    };
    let refused = client.model_infer(call.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    raw.begin(5, INFER).await;
    while raw.read().await != (HEADERS, 5) {}
    assert!(counted(&server, "in_flight").await >= 3);
    drop(held);
    let end = Instant::now() + Duration::from_secs(5);
    // It reads nothing, and is told so once there is room for it.
    while let Err(refused) = client.model_infer(call.clone()).await {
        if refused.code() == Code::InvalidArgument {
            break;
        }
        assert!(Instant::now() < end, "there is no room again: {refused}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn there_are_as_many_streams_in_all_as_there_may_be_connections() {
    let mut limits = ConnectionLimits::default();
    limits.connections = 3;
    let server = TestServer::start(lab::server().connections(limits))
        .await
        .unwrap();
    let client = client(&server).await;
    let open = || {
        let mut client = client.clone();
        // Ends when the sender is dropped.
        let (sender, silent) = tokio::sync::mpsc::channel::<ModelInferRequest>(1);
        let asked = futures_util::stream::unfold(silent, |mut silent| async {
            Some((silent.recv().await?, silent))
        });
        async move { Ok::<_, tonic::Status>((client.model_stream_infer(asked).await?, sender)) }
    };
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(open().await.unwrap());
    }
    let before = counted(&server, "streams").await;
    let refused = open().await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("open streams"), "{refused}");
    assert_eq!(counted(&server, "streams").await, before + 1);
    held.pop();
    let end = Instant::now() + Duration::from_secs(5);
    while let Err(refused) = open().await {
        assert!(Instant::now() < end, "there is no room again: {refused}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn calls_whose_messages_never_come_make_room_for_further_ones_at_both_doors() {
    let mut limits = ConnectionLimits::default();
    limits.connections = 3;
    let server = TestServer::start(lab::server().connections(limits))
        .await
        .unwrap();
    let before = counted(&server, "calls_waiting").await;
    // Each is there before the next.
    let comes = || tokio::time::sleep(Duration::from_millis(100));
    let mut grpc = Raw::connect(server.grpc_address(), 65_535).await;
    let mut rest = Raw::connect(server.rest_address(), 65_535).await;
    for (stream, method) in [(1, "ServerLive"), (3, "ModelMetadata")] {
        let path = format!("/inference.GRPCInferenceService/{method}");
        grpc.begin(stream, &path).await;
        comes().await;
    }
    for stream in [1, 3] {
        rest.begin_rest(stream, "/v2/repository/index").await;
        comes().await;
    }
    while grpc.read().await != (HEADERS, 1) {}
    // Who sends a message is answered all the while.
    let mut client = client(&server).await;
    for _ in 0..3 {
        let live = client.server_live(ServerLiveRequest {}).await;
        assert!(live.unwrap().into_inner().live);
    }
    for stream in [5, 7, 9] {
        grpc.begin(stream, "/grpc.health.v1.Health/Check").await;
        comes().await;
    }
    while grpc.read().await != (HEADERS, 3) {}
    let mut told = 0;
    while told < 2 {
        told += i32::from(rest.read().await.0 == HEADERS);
    }
    assert!(counted(&server, "calls_waiting").await >= before + 4);
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
async fn a_head_over_the_limit_is_refused_in_our_words_and_counted() {
    let server = hasty().await;
    let long = "x".repeat(2000);
    let headers = [("x-long", long.as_str())];
    let before = Limit::HeaderLimit.count();
    let answer = http::request(server.rest_address(), "GET", "/v2", &headers, b"").await;
    assert_eq!(answer.status, 431);
    assert!(answer.error().contains("1000 bytes"));
    assert_eq!(Limit::HeaderLimit.count(), before + 1);
    // More than is read at all, and more headers than there may be.
    let longest = "x".repeat(600_000);
    let many: Vec<String> = (0..120).map(|n| format!("x-{n}")).collect();
    let many: Vec<_> = many.iter().map(|name| (name.as_str(), "1")).collect();
    for (n, headers) in [vec![("x-long", longest.as_str())], many]
        .iter()
        .enumerate()
    {
        let answer = http::request(server.rest_address(), "GET", "/v2", headers, b"").await;
        assert_eq!(answer.status, 431);
        assert_eq!(Limit::HeaderLimit.count(), before + 2 + n as u64);
    }
    let mut client = client(&server).await;
    let mut call = tonic::Request::new(ServerLiveRequest {});
    let metadata = call.metadata_mut();
    metadata.insert("x-long", long.parse().unwrap());
    let refused = client.server_live(call).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
    assert!(refused.message().contains("1000 bytes"), "{refused}");
    assert_eq!(Limit::HeaderLimit.count(), before + 4);
    // Fields of HTTP/2, each of a byte: as many as there may be with HTTP/1, and one more.
    let mut rest = Raw::connect(server.rest_address(), 65_535).await;
    let mut grpc = Raw::connect(server.grpc_address(), 65_535).await;
    for (stream, fields, refused) in [(1, 100, 0), (3, 101, 1), (5, 800, 1)] {
        rest.ask_with_fields(stream, "/v2", fields).await;
        while rest.read().await != (HEADERS, stream) {}
        let counted = Limit::HeaderLimit.count();
        assert!(counted >= before + 4 + refused, "{fields} fields of REST");
        assert_eq!(counted > before + 4, refused > 0, "{fields} fields of REST");
    }
    let before = Limit::HeaderLimit.count();
    grpc.begin_with_fields(1, "/grpc.health.v1.Health/Watch", 99)
        .await;
    // No message comes, so it would be waited for.
    while grpc.read().await != (HEADERS, 1) {}
    assert_eq!(Limit::HeaderLimit.count(), before + 1);
}
