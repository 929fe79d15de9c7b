//! Stopping: what is in flight is answered.

use std::time::Duration;

use oip::grpc::generated_client::grpc_inference_service_client::GrpcInferenceServiceClient;
use oip::grpc::messages;
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

#[tokio::test]
async fn a_request_that_was_sent_while_the_server_stopped_is_answered_and_told_to_end() {
    let server = lab::start().await;
    let address = server.rest_address();
    let mut kept = TcpStream::connect(address).await.unwrap();
    let mut fresh = TcpStream::connect(address).await.unwrap();
    let live = b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n";
    kept.write_all(live).await.unwrap();
    let mut answer = [0; 300];
    let length = kept.read(&mut answer).await.unwrap();
    assert!(length > 0);
    let stopping = tokio::spawn(server.stop());
    tokio::time::sleep(Duration::from_millis(60)).await;
    for stream in [&mut kept, &mut fresh] {
        stream.write_all(live).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = http::parse(&answer);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("connection"), Some("close"));
    }
    assert_eq!(stopping.await.unwrap(), 0);
}

#[tokio::test]
async fn a_request_of_which_half_the_head_has_come_at_the_stop_is_answered() {
    let server = lab::start().await;
    let mut kept = TcpStream::connect(server.rest_address()).await.unwrap();
    let live = b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n";
    kept.write_all(live).await.unwrap();
    let mut answer = [0; 300];
    assert!(kept.read(&mut answer).await.unwrap() > 0);
    let (half, rest) = live.split_at(20);
    kept.write_all(half).await.unwrap();
    tokio::time::sleep(Duration::from_millis(60)).await;
    let stopping = tokio::spawn(server.stop());
    // A connection that rests is closed long before that.
    tokio::time::sleep(Duration::from_millis(800)).await;
    kept.write_all(rest).await.unwrap();
    let mut answer = Vec::new();
    kept.read_to_end(&mut answer).await.unwrap();
    let answer = http::parse(&answer);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(stopping.await.unwrap(), 0);
}

#[tokio::test]
async fn a_request_on_an_open_stream_just_after_the_stop_is_answered_and_then_the_stream_ends() {
    let server = lab::start().await;
    let channel = format!("http://{}", server.grpc_address());
    let channel = tonic::transport::Channel::from_shared(channel).unwrap();
    let mut client = GrpcInferenceServiceClient::new(channel.connect().await.unwrap());
    let (sender, receiver) = tokio::sync::mpsc::channel::<()>(1);
    let asked = futures_util::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await?;
        let asked = messages::ModelInferRequest {
            model_name: "free".into(),
            ..Default::default()
        };
        Some((asked, receiver))
    });
    sender.send(()).await.unwrap();
    let mut answers = client.model_stream_infer(asked).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some());
    // It rests for nearly as long as a stream waits before it looks whether the server stops.
    tokio::time::sleep(Duration::from_millis(400)).await;
    let stopping = tokio::spawn(server.stop());
    tokio::time::sleep(Duration::from_millis(250)).await;
    sender.send(()).await.unwrap();
    assert!(answers.message().await.unwrap().is_some(), "no answer");
    let ended = tokio::time::timeout(Duration::from_secs(3), answers.message()).await;
    let ended = ended.expect("it holds the stop up").unwrap_err();
    assert_eq!(ended.code(), tonic::Code::Unavailable);
    assert_eq!(stopping.await.unwrap(), 0);
}

#[tokio::test]
async fn connections_that_wait_to_be_accepted_are_served_before_the_stop() {
    let server = lab::server().shutdown(Duration::ZERO, Duration::from_secs(5));
    let bound = server
        .rest(([127, 0, 0, 1], 0))
        .grpc(([127, 0, 0, 1], 0))
        .bind()
        .await
        .unwrap();
    let address = bound.rest_address().unwrap();
    let waiting = tokio::spawn(async move {
        let live = b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n";
        http::parse(&http::raw(address, live).await).status
    });
    // Connected, and nobody has accepted it.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(bound.serve(std::future::ready(())).await, 0);
    assert_eq!(waiting.await.unwrap(), 200);
}

#[tokio::test]
async fn models_are_unloaded_when_everything_was_answered() {
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    static UNLOADED: AtomicBool = AtomicBool::new(false);

    struct Leaves;
    impl oip::ModelHandler for Leaves {
        async fn infer(
            &self,
            request: oip::InferRequest,
            _: &oip::Call,
        ) -> oip::Result<oip::InferResponse> {
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert!(!UNLOADED.load(SeqCst), "unloaded under a request");
            Ok(oip::InferResponse::new(request.inputs))
        }

        async fn model_load(&self, _: &oip::ModelRef) -> oip::Result<()> {
            Ok(())
        }

        async fn model_unload(&self, _: &oip::ModelRef) -> oip::Result<()> {
            UNLOADED.store(true, SeqCst);
            Ok(())
        }
    }

    let server = oip::Server::new(Leaves).model("m").without_authentication();
    let server = oip::testing::TestServer::start(server).await.unwrap();
    let address = server.rest_address();
    let body = oip_protocol::json::encode_request(&oip::InferRequest::new([lab::x()])).unwrap();
    let asked = tokio::spawn(async move {
        http::request(address, "POST", "/v2/models/m/infer", &[], &body).await
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.stop().await, 0);
    assert_eq!(asked.await.unwrap().status, 200);
    assert!(UNLOADED.load(SeqCst));
}

#[tokio::test]
async fn both_doors_are_served_at_unix_sockets() {
    let folder = tempfile::tempdir().unwrap();
    let rest = folder.path().join("rest");
    let server = lab::server().rest_socket(&rest).grpc_socket(&rest);
    let bound = server.bind().await.unwrap();
    assert_eq!(bound.rest_address(), None);
    assert_eq!(bound.grpc_socket(), Some(rest.clone()));
    let taken = lab::server().rest_socket(&rest).bind().await;
    let taken = taken.err().unwrap().to_string();
    assert!(
        taken.contains("unix:") && taken.contains("another server"),
        "{taken}"
    );
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(bound.serve(async move { stopped.await.unwrap_or_default() }));
    let mut stream = tokio::net::UnixStream::connect(&rest).await.unwrap();
    stream
        .write_all(b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(http::parse(&answer).status, 200);
    drop(stop);
    assert_eq!(served.await.unwrap(), 0);
    assert!(!rest.exists());
}
