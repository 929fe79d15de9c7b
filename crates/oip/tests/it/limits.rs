//! The limits of connections.

use std::time::{Duration, Instant};

use oip::grpc::generated_client::grpc_inference_service_client::GrpcInferenceServiceClient;
use oip::grpc::messages;
use oip::server::ConnectionLimits;
use oip::testing::TestServer;
use oip::{DoorOptions, ErrorKind, ModelRef};
use oip_protocol::Limit;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{http, lab};

pub(crate) async fn hasty() -> TestServer {
    let mut limits = ConnectionLimits::default();
    limits.header_timeout = Duration::from_millis(300);
    limits.header_bytes = 1000;
    limits.connections = 4;
    TestServer::start(lab::server().connections(limits))
        .await
        .unwrap()
}

#[tokio::test]
async fn what_unpacks_to_more_than_the_limit_is_refused_at_both_doors_and_counted() {
    use std::io::Write as _;
    let server = narrow().await;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&vec![b' '; 30_000]).unwrap();
    let packed = packed.finish().unwrap();
    let before = Limit::Decompressed.count();
    let gzip = [("content-encoding", "gzip")];
    let path = "/v2/models/free/infer";
    let refused = http::request(server.rest_address(), "POST", path, &gzip, &packed).await;
    assert_eq!(refused.status, 413);
    assert_eq!(Limit::Decompressed.count(), before + 1);
    let channel =
        tonic::transport::Channel::from_shared(format!("http://{}", server.grpc_address()));
    let channel = channel.unwrap().connect().await.unwrap();
    let client = GrpcInferenceServiceClient::new(channel);
    let mut client = client.send_compressed(tonic::codec::CompressionEncoding::Gzip);
    let call = |bytes| messages::ModelInferRequest {
        model_name: "free".into(),
        raw_input_contents: vec![vec![0; bytes].into()],
        ..Default::default()
    };
    let refused = client.model_infer(call(30_000)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
    assert_eq!(Limit::Decompressed.count(), before + 2);
    // Within it, but more than the memory that there is for all.
    let before = Limit::BodyMemory.count();
    let refused = client.model_infer(call(18_000)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
    assert!(Limit::BodyMemory.count() > before);
    assert_eq!(server.dataplane().memory().held(), 0);
}

/// Room for so many connections.
async fn crowded(connections: usize) -> TestServer {
    let mut limits = ConnectionLimits::default();
    limits.connections = connections;
    TestServer::start(lab::server().connections(limits))
        .await
        .unwrap()
}

#[tokio::test]
async fn at_the_limit_the_connection_that_rested_longest_makes_room() {
    let server = crowded(4).await;
    let address = server.rest_address();
    let mut held = Vec::new();
    for n in 0..4 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The first two are silent, the others have been served.
        if n >= 2 {
            stream.write_all(LIVE).await.unwrap();
            assert!(stream.read(&mut [0; 300]).await.unwrap() > 0);
        }
        held.push(stream);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Who has rested for less is about to ask again.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let begun = Instant::now();
    let before = Limit::Connections.count();
    for _ in 0..3 {
        let answer = http::request(address, "GET", "/v2/health/live", &[], b"").await;
        assert_eq!(answer.status, 200);
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "it waited");
    assert!(Limit::Connections.count() > before);
    let mut nothing = [0; 10];
    let gone = held[0].read(&mut nothing);
    let gone = tokio::time::timeout(Duration::from_millis(100), gone).await;
    assert!(
        matches!(gone, Ok(Ok(0) | Err(_))),
        "the oldest is still there"
    );
    // The one that rested for the shortest time is served.
    held[3].write_all(LIVE).await.unwrap();
    let mut answer = [0; 300];
    let length = held[3].read(&mut answer).await.unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 200"));
}

/// A request for `slow`, which takes a while.
fn slow_request() -> Vec<u8> {
    let request = oip::InferRequest::new([lab::x()]).output("y");
    oip_protocol::json::encode_request(&request).unwrap()
}

#[tokio::test]
async fn as_many_connections_as_the_limit_are_served_and_further_ones_are_told_at_once() {
    let server = crowded(2).await;
    let address = server.rest_address();
    let body = slow_request();
    let ask = || http::request(address, "POST", "/v2/models/slow/infer", &[], &body);
    let late = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let begun = Instant::now();
        let refused = ask().await;
        // Who sends much before he listens is told, too.
        let much = vec![b' '; 8 << 20];
        let told = http::request(address, "POST", "/v2/models/slow/infer", &[], &much).await;
        assert_eq!(told.status, 503);
        let probe = http::request(address, "GET", "/v2/health/live", &[], b"").await;
        let metrics = http::request(address, "GET", "/metrics", &[], b"").await;
        (refused, probe, metrics, begun.elapsed())
    };
    let (one, two, late) = tokio::join!(ask(), ask(), late);
    assert_eq!((one.status, two.status), (200, 200));
    let (refused, probe, metrics, took) = late;
    assert_eq!(refused.status, 503, "{}", refused.error());
    assert_eq!(refused.header("connection"), Some("close"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!((probe.status, metrics.status), (200, 200));
    assert!(took < Duration::from_millis(300), "{took:?}");
    assert_eq!(ask().await.status, 200, "there is a place again");
}

#[tokio::test]
async fn a_call_for_whose_connection_there_is_no_place_is_unavailable_and_health_is_answered() {
    let server = crowded(1).await;
    let body = slow_request();
    let address = server.rest_address();
    let busy = tokio::spawn(async move {
        http::request(address, "POST", "/v2/models/slow/infer", &[], &body).await
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let connect = || {
        let url = format!("http://{}", server.grpc_address());
        let channel = tonic::transport::Channel::from_shared(url).unwrap();
        async move { GrpcInferenceServiceClient::new(channel.connect().await.unwrap()) }
    };
    let refused = connect()
        .await
        .server_metadata(messages::ServerMetadataRequest {})
        .await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable);
    assert!(refused.message().contains("connections"), "{refused}");
    let live = connect()
        .await
        .server_live(messages::ServerLiveRequest {})
        .await;
    assert!(live.unwrap().into_inner().live);
    assert_eq!(busy.await.unwrap().status, 200);
}

#[tokio::test]
async fn the_address_of_the_metrics_has_places_of_its_own() {
    let mut limits = ConnectionLimits::default();
    limits.connections = 1;
    let free = || std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let server = lab::server().connections(limits).metrics(Some(free()));
    let bound = server.rest_only(free()).bind().await.unwrap();
    let (address, at) = (
        bound.rest_address().unwrap(),
        bound.metrics_address().unwrap(),
    );
    let served = tokio::spawn(bound.serve(std::future::pending()));
    let body = slow_request();
    let busy = tokio::spawn(async move {
        http::request(address, "POST", "/v2/models/slow/infer", &[], &body).await
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let before = Limit::Connections.count();
    let mut held = Vec::new();
    for _ in 0..4 {
        let stream = TcpStream::connect(at).await;
        held.push(stream.unwrap());
    }
    let metrics = http::request(at, "GET", "/metrics", &[], b"").await;
    assert_eq!(metrics.status, 200);
    assert_eq!(
        Limit::Connections.count(),
        before,
        "it needed no place of the others"
    );
    assert_eq!(busy.await.unwrap().status, 200);
    served.abort();
}

#[tokio::test]
async fn a_connection_rests_longer_than_a_head_may_take_and_then_it_is_closed() {
    let mut limits = ConnectionLimits::default();
    limits.header_timeout = Duration::from_millis(200);
    limits.idle = Duration::from_millis(900);
    let server = TestServer::start(lab::server().connections(limits)).await;
    let server = server.unwrap();
    let mut stream = TcpStream::connect(server.rest_address()).await.unwrap();
    let began = Instant::now();
    for _ in 0..2 {
        stream.write_all(LIVE).await.unwrap();
        let mut answer = [0; 300];
        assert!(stream.read(&mut answer).await.unwrap() > 0);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    stream.write_all(&LIVE[..20]).await.unwrap();
    let half = Instant::now();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(half.elapsed() < Duration::from_millis(700), "half a head");
    assert!(began.elapsed() > Duration::from_millis(1100));
    assert!(counted(&server, "header_timeout").await > 0);

    let mut idle = TcpStream::connect(server.rest_address()).await.unwrap();
    idle.write_all(LIVE).await.unwrap();
    let _ = idle.read_to_end(&mut rest).await;
    assert!(counted(&server, "connection_idle").await > 0);
}

#[tokio::test]
async fn an_old_connection_is_told_to_end_with_its_next_answer() {
    let mut limits = ConnectionLimits::default();
    limits.age = Some(Duration::from_millis(350));
    limits.header_timeout = Duration::from_millis(200);
    let server = TestServer::start(lab::server().connections(limits)).await;
    let server = server.unwrap();
    let mut stream = TcpStream::connect(server.rest_address()).await.unwrap();
    stream.write_all(LIVE).await.unwrap();
    let mut first = [0; 300];
    let length = stream.read(&mut first).await.unwrap();
    let first = String::from_utf8_lossy(&first[..length]).into_owned();
    assert!(!first.contains("connection: close"), "{first}");
    tokio::time::sleep(Duration::from_millis(500)).await;
    stream.write_all(LIVE).await.unwrap();
    let mut second = Vec::new();
    stream.read_to_end(&mut second).await.unwrap();
    let second = http::parse(&second);
    assert_eq!(
        (second.status, second.header("connection")),
        (200, Some("close"))
    );
    assert!(counted(&server, "connection_age").await > 0);
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_cut_off() {
    let mut limits = ConnectionLimits::default();
    limits.write_timeout = Duration::from_millis(300);
    let server = TestServer::start(lab::server().connections(limits)).await;
    let server = server.unwrap();
    let (mut reader, mut writer) = TcpStream::connect(server.rest_address())
        .await
        .unwrap()
        .into_split();
    let floats = 8 << 20;
    let json = format!(
        r#"{{"inputs":[{{"name":"x","shape":[{floats}],"datatype":"FP32","parameters":{{"binary_data_size":{}}}}}],"parameters":{{"binary_data_output":true}}}}"#,
        floats * 4
    );
    let head = format!(
        "POST /v2/models/free/infer HTTP/1.1\r\nhost: a\r\ninference-header-content-length: {}\r\n\
         content-length: {}\r\n\r\n{json}",
        json.len(),
        json.len() + floats * 4
    );
    writer.write_all(head.as_bytes()).await.unwrap();
    writer.write_all(&vec![0; floats * 4]).await.unwrap();
    let before = counted(&server, "write_timeout").await;
    let end = Instant::now() + Duration::from_secs(10);
    while counted(&server, "write_timeout").await == before {
        assert!(Instant::now() < end, "it is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut answer = Vec::new();
    let _ = reader.read_to_end(&mut answer).await;
    assert!(answer.len() < floats * 4);
}

#[tokio::test]
async fn a_quiet_http2_connection_whose_client_is_gone_is_closed() {
    let mut limits = ConnectionLimits::default();
    limits.keep_alive = Some(Duration::from_millis(200));
    let server = TestServer::start(lab::server().connections(limits)).await;
    let server = server.unwrap();
    let mut gone = TcpStream::connect(server.grpc_address()).await.unwrap();
    // The preface and empty settings; no PING will be answered.
    let hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    gone.write_all(hello).await.unwrap();
    let mut rest = Vec::new();
    let closed = gone.read_to_end(&mut rest);
    let closed = tokio::time::timeout(Duration::from_secs(5), closed).await;
    assert!(closed.is_ok(), "it is still there");
    assert!(counted(&server, "keep_alive").await > 0);
}

/// A server on which every limit of a request is soon reached.
async fn narrow() -> TestServer {
    let mut options = DoorOptions::default();
    options.body_limit = 20_000;
    options.body_timeout = Duration::from_millis(200);
    options.body_time = Duration::from_millis(500);
    options.decode.strings = 3;
    options.decode.tensors = 2;
    options.decode.parameters = 2;
    options.decode.json_depth = 8;
    let mut limits = oip::server::Limits::default();
    limits.in_flight = 1;
    limits.body_memory = 15_000;
    limits.request_timeout = Some(Duration::from_millis(100));
    TestServer::start(lab::server().options(options).limits(limits))
        .await
        .unwrap()
}

#[tokio::test]
async fn every_limit_of_a_request_has_its_answer_and_is_counted() {
    let server = narrow().await;
    let tensor = r#"{"name":"x","shape":[1],"datatype":"FP32","data":[1]}"#;
    let strings = r#"{"name":"s","shape":[4],"datatype":"BYTES","data":["","","",""]}"#;
    let long = "x".repeat(16_000);
    let inputs = |inputs: &str| format!(r#"{{"inputs":[{inputs}]}}"#);
    let of = |model: &str| format!("/v2/models/{model}/infer");
    for (limit, status, path, body) in [
        (
            "tensors_limit",
            400,
            of("free"),
            inputs(&[tensor, tensor, tensor].join(",")),
        ),
        ("strings_limit", 400, of("free"), inputs(strings)),
        (
            "json_depth",
            400,
            of("free"),
            format!(r#"{{"more":{}"#, "[".repeat(9)),
        ),
        (
            "parameters_limit",
            400,
            of("free"),
            r#"{"parameters":{"a":1,"b":2,"c":3}}"#.into(),
        ),
        ("name_limit", 404, of(&"x".repeat(1025)), inputs(tensor)),
        ("body_limit", 413, of("free"), "x".repeat(20_001)),
        (
            "body_memory",
            429,
            of("free"),
            inputs(&format!(r#""{long}""#)),
        ),
        ("request_timeout", 504, of("slow"), {
            let x = oip_protocol::json::encode_request(&oip::InferRequest::new([lab::x()]));
            String::from_utf8(x.unwrap()).unwrap()
        }),
    ] {
        let before = counted(&server, limit).await;
        let address = server.rest_address();
        let answer = http::request(address, "POST", &path, &[], body.as_bytes()).await;
        assert_eq!(answer.status, status, "{limit}: {}", answer.error());
        assert!(counted(&server, limit).await > before, "{limit}");
    }
    assert_eq!(server.dataplane().memory().held(), 0);
}

#[tokio::test]
async fn a_body_that_stops_or_trickles_is_timed_out() {
    let server = narrow().await;
    let head = b"POST /v2/models/free/infer HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n";
    for (limit, pause) in [("body_timeout", 2000), ("body_time", 100)] {
        let before = counted(&server, limit).await;
        let stream = TcpStream::connect(server.rest_address()).await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        writer.write_all(head).await.unwrap();
        let trickle = tokio::spawn(async move {
            while writer.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        });
        let mut answer = vec![0; 500];
        let length = reader.read(&mut answer).await.unwrap();
        assert!(answer[..length].starts_with(b"HTTP/1.1 504"), "{limit}");
        assert!(counted(&server, limit).await > before, "{limit}");
        trickle.abort();
    }
}

#[tokio::test]
async fn beyond_what_may_be_in_flight_a_request_is_refused_before_its_body_is_read() {
    let mut limits = oip::server::Limits::default();
    limits.in_flight = 1;
    let server = TestServer::start(lab::server().limits(limits))
        .await
        .unwrap();
    let address = server.rest_address();
    let body = oip_protocol::json::encode_request(&oip::InferRequest::new([lab::x()]).output("y"));
    let body = body.unwrap();
    let slow = tokio::spawn(async move {
        http::request(address, "POST", "/v2/models/slow/infer", &[], &body).await
    });
    tokio::time::sleep(Duration::from_millis(150)).await;
    // Nothing of the body is ever sent.
    let head = b"POST /v2/models/free/infer HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n";
    let mut refused = TcpStream::connect(address).await.unwrap();
    refused.write_all(head).await.unwrap();
    let mut answer = vec![0; 500];
    let read = tokio::time::timeout(Duration::from_millis(200), refused.read(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer[..read.unwrap().unwrap()]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
    assert!(answer.contains("retry-after: "), "{answer}");
    let client = oip::client::Client::connect(format!("http://{}", server.grpc_address()));
    let request = oip::InferRequest::new([lab::x()]);
    let client = client.await.unwrap();
    let refused = client.infer(ModelRef::new("free"), request);
    // RESOURCE_EXHAUSTED, which is said of what is too large, too.
    let code = refused.await.unwrap_err().kind().grpc_code();
    assert_eq!(code, ErrorKind::TooManyRequests.grpc_code());
    assert!(counted(&server, "in_flight").await > 1);
    assert_eq!(slow.await.unwrap().status, 200);
}

#[tokio::test]
async fn a_caller_beyond_its_rate_is_refused_at_both_doors_and_others_models_are_not() {
    let mut limits = oip::server::Limits::default();
    (limits.rate_limit, limits.rate_burst) = (1, 2);
    let server = TestServer::start(lab::server().limits(limits))
        .await
        .unwrap();
    let request = oip::InferRequest::new([lab::x()]);
    let body = oip_protocol::json::encode_request(&request).unwrap();
    let address = server.rest_address();
    let ask = async |model: &str| {
        let path = format!("/v2/models/{model}/infer");
        http::request(address, "POST", &path, &[], &body).await
    };
    for status in [200, 200, 429] {
        let answer = ask("free").await;
        assert_eq!(answer.status, status);
        if status == 429 {
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
    }
    let client = oip::client::Client::connect(format!("http://{}", server.grpc_address()));
    let client = client.await.unwrap();
    let refused = client.infer(ModelRef::new("free"), request);
    // RESOURCE_EXHAUSTED, which is said of what is too large, too.
    let code = refused.await.unwrap_err().kind().grpc_code();
    assert_eq!(code, ErrorKind::TooManyRequests.grpc_code());
    assert_ne!(ask("double").await.status, 429);
    assert!(counted(&server, "rate_limit").await > 1);
}

#[tokio::test]
async fn as_many_streams_as_the_limit_are_served_and_counted() {
    let mut limits = ConnectionLimits::default();
    limits.streams = 2;
    let server = TestServer::start(lab::server().connections(limits)).await;
    let server = server.unwrap();
    let client = oip::client::Client::connect(format!("http://{}", server.grpc_address()));
    let client = client.await.unwrap();
    let ask = || {
        let (client, request) = (
            client.clone(),
            oip::InferRequest::new([lab::x()]).output("y"),
        );
        async move { client.infer(ModelRef::new("slow"), request).await.is_ok() }
    };
    // By its first answer the client knows how many it may send.
    assert!(ask().await);
    let answered = tokio::join!(ask(), ask(), ask());
    assert_eq!(answered, (true, true, true));
    assert!(counted(&server, "streams").await > 0);
}

const LIVE: &[u8] = b"GET /v2/health/live HTTP/1.1\r\nhost: a\r\n\r\n";

/// How often a limit was reached, by the metrics.
pub(crate) async fn counted(server: &TestServer, limit: &str) -> u64 {
    let metrics = http::request(server.rest_address(), "GET", "/metrics", &[], b"").await;
    let text = String::from_utf8(metrics.body).unwrap();
    let line = format!("oip_limit_reached_total{{limit=\"{limit}\"}} ");
    let count = text.lines().find_map(|row| row.strip_prefix(&line));
    count.expect("counted").parse().unwrap()
}
