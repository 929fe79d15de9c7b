//! Requests that are refused by their heads alone, because too much waits before them.

use std::sync::Arc;
use std::time::Duration;

use oip::models::{Models, ResolvedModel};
use oip::testing::TestServer;
use oip::{
    BoxFuture, Call, Error, InferRequest, InferResponse, ModelMetadata, ModelRef, RepositoryEntry,
    Result, Server, Tensor,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// A model whose callers wait for a minute.
struct Crowded;

impl ResolvedModel for Crowded {
    fn version(&self) -> Option<&str> {
        None
    }

    fn metadata(&self) -> Option<&ModelMetadata> {
        None
    }

    fn infer<'a>(
        &'a self,
        request: InferRequest,
        _: &'a Call,
    ) -> BoxFuture<'a, Result<InferResponse>> {
        Box::pin(std::future::ready(Ok(InferResponse::new(request.inputs))))
    }

    fn refuse_unread(&self, deadline: Option<Instant>) -> Result<()> {
        let minute = Instant::now() + Duration::from_secs(60);
        match deadline.is_some_and(|deadline| deadline < minute) {
            true => Err(Error::too_many_requests("a minute is to be waited").retry_after(60)),
            false => Ok(()),
        }
    }
}

struct Only;

impl Models for Only {
    fn start(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn all_ready(&self) -> BoxFuture<'_, bool> {
        Box::pin(std::future::ready(true))
    }

    fn resolve<'a>(&'a self, _: &'a ModelRef) -> BoxFuture<'a, Result<Arc<dyn ResolvedModel>>> {
        let crowded: Arc<dyn ResolvedModel> = Arc::new(Crowded);
        Box::pin(std::future::ready(Ok(crowded)))
    }

    fn metadata<'a>(&'a self, _: &'a ModelRef) -> BoxFuture<'a, Result<ModelMetadata>> {
        Box::pin(std::future::ready(Ok(ModelMetadata::default())))
    }

    fn ready<'a>(&'a self, _: &'a ModelRef) -> BoxFuture<'a, Result<bool>> {
        Box::pin(std::future::ready(Ok(true)))
    }

    fn load<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn unload<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn index(&self) -> BoxFuture<'_, Result<Vec<RepositoryEntry>>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}

/// A server on which an inference may take so long.
async fn start(request_timeout: Option<Duration>) -> TestServer {
    let mut limits = oip::server::Limits::default();
    limits.request_timeout = request_timeout;
    let server = Server::of_models(Arc::new(Only)).without_authentication();
    TestServer::start(server.limits(limits)).await.unwrap()
}

/// The beginning of the answer to a head that announces a body, and to this much of it.
async fn answer(server: &TestServer, header: &str, length: usize, body: &[u8]) -> String {
    let head = format!(
        "POST /v2/models/m/infer HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n{header}\r\n"
    );
    let mut stream = TcpStream::connect(server.rest_address()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = vec![0; 500];
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut answer)).await;
    let read = read.expect("it waits for the body").unwrap();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[tokio::test]
async fn whoever_would_wait_beyond_the_deadline_is_refused_before_a_large_body_is_read() {
    let server = start(None).await;
    let hurried = server_refuses(&server, "x-oip-timeout-ms: 30000\r\n").await;
    assert!(hurried.contains("retry-after: 60"), "{hurried}");
    // Of the limit of the server, too.
    server_refuses(&start(Some(Duration::from_secs(30))).await, "").await;

    // A patient one is read, and so is a small one in any case, which is decided when it is known.
    let x = Tensor::from_vec("x", [1, 30_000], vec![0.5_f32; 30_000]).unwrap();
    let large = oip_protocol::json::encode_request(&InferRequest::new([x])).unwrap();
    assert!(large.len() > 100_000, "{}", large.len());
    let patient = "x-oip-timeout-ms: 90000\r\n";
    let patient = answer(&server, patient, large.len(), &large).await;
    assert!(patient.starts_with("HTTP/1.1 200"), "{patient}");
    let small = br#"{"inputs":[{"name":"x","datatype":"INT8","shape":[1],"data":[1]}]}"#;
    let hurried = "x-oip-timeout-ms: 30000\r\n";
    let small = answer(&server, hurried, small.len(), small).await;
    assert!(small.starts_with("HTTP/1.1 200"), "{small}");
}

/// The refusal of a request of which no byte but the head is sent.
async fn server_refuses(server: &TestServer, header: &str) -> String {
    let refused = answer(server, header, 100_000, b"").await;
    assert!(refused.starts_with("HTTP/1.1 429"), "{refused}");
    refused
}
