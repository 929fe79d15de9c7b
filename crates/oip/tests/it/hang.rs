//! Handlers that hang: what each costs, and whom.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use oip::grpc::generated_client::grpc_inference_service_client::GrpcInferenceServiceClient;
use oip::grpc::messages;
use oip::testing::TestServer;
use oip::{
    Call, Error, InferRequest, InferResponse, ModelHandler, ModelMetadata, ModelRef, Result,
    Server, Tensor,
};

use crate::{http, lab};

/// Hangs until it is let go: `off` a thread of its own for that, `on` the one that polls it.
#[derive(Clone, Default)]
struct Hangs(Arc<(Mutex<bool>, Condvar)>);

impl Hangs {
    fn hang(&self) {
        let (gone, changed) = &*self.0;
        let gone = gone.lock().unwrap();
        drop(changed.wait_while(gone, |gone| !*gone).unwrap());
    }

    fn let_go(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

impl ModelHandler for Hangs {
    async fn infer(&self, _: InferRequest, call: &Call) -> Result<InferResponse> {
        let hangs = self.clone();
        match call.model().name.as_str() {
            "off" => tokio::task::spawn_blocking(move || hangs.hang())
                .await
                .map_err(|error| Error::handler_failed(error.to_string()))?,
            "on" => hangs.hang(),
            _ => {}
        }
        let y = Tensor::from_vec("y", [1], vec![1.0_f32])?;
        Ok(InferResponse::new([y]))
    }
}

async fn start(hangs: &Hangs) -> TestServer {
    let server = ["off", "on", "well"].into_iter().fold(
        Server::new(hangs.clone()).without_authentication(),
        Server::model,
    );
    TestServer::start(server).await.unwrap()
}

/// The status of an inference that has so many milliseconds, and how long it took.
async fn ask(server: &TestServer, model: &str, millis: &str) -> (u16, Duration) {
    let body = oip_protocol::json::encode_request(&InferRequest::new([lab::x()])).unwrap();
    let path = format!("/v2/models/{model}/infer");
    let headers = [("x-oip-timeout-ms", millis)];
    let began = Instant::now();
    let answer = http::request(server.rest_address(), "POST", &path, &headers, &body).await;
    (answer.status, began.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_handlers_that_hang_off_the_network_threads_cost_their_own_requests_only() {
    let hangs = Hangs::default();
    let server = Arc::new(start(&hangs).await);
    let hanging: Vec<_> = (0..50)
        .map(|_| {
            let server = Arc::clone(&server);
            tokio::spawn(async move { ask(&server, "off", "400").await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    for _ in 0..20 {
        let (status, took) = ask(&server, "well", "5000").await;
        assert_eq!(status, 200);
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
    for one in hanging {
        let (status, took) = one.await.unwrap();
        assert_eq!(status, 504);
        assert!(took < Duration::from_secs(3), "{took:?}");
    }
    hangs.let_go();
    assert_eq!(ask(&server, "off", "5000").await.0, 200);
}

#[test]
fn a_handler_that_blocks_its_network_thread_keeps_its_caller_beyond_the_deadline() {
    let hangs = Hangs::default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap();
    let server = runtime.block_on(start(&hangs));
    let blocked = runtime.spawn(async move { ask(&server, "on", "400").await });
    // By a clock that is not the runtime's: where the thread that blocks is the one that waits for
    // sockets and timers, none of them is heard of meanwhile.
    std::thread::sleep(Duration::from_millis(800));
    assert!(!blocked.is_finished());
    hangs.let_go();
    let (status, took) = runtime.block_on(blocked).unwrap();
    assert!(status == 200 || status == 504, "{status}");
    assert!(took > Duration::from_millis(400), "{took:?}");
}

/// Says neither whether a model is ready nor what it declares.
struct Silent;

impl ModelHandler for Silent {
    async fn model_ready(&self, _: &ModelRef) -> Result<bool> {
        std::future::pending().await
    }

    async fn model_metadata(&self, _: &ModelRef) -> Result<ModelMetadata> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_model_that_does_not_say_whether_it_is_ready_holds_up_no_probe_and_no_metrics() {
    let mut limits = oip::server::Limits::default();
    limits.request_timeout = Some(Duration::from_millis(200));
    let server = Server::new(Silent).model("m").without_authentication();
    let server = TestServer::start(server.limits(limits)).await.unwrap();
    let get = async |path: &str| {
        let asked = http::request(server.rest_address(), "GET", path, &[], b"");
        let answered = tokio::time::timeout(Duration::from_secs(20), asked).await;
        answered.unwrap_or_else(|_| panic!("{path} is not answered"))
    };
    let metrics = get("/metrics").await;
    assert_eq!(metrics.status, 200);
    assert!(String::from_utf8_lossy(&metrics.body).contains("\noip_ready 0\n"));
    assert_eq!(get("/v2/health/ready").await.status, 503);
    for path in ["/v2/models/m", "/v2/models/m/ready", "/v2/models/m/stats"] {
        let answer = get(path).await;
        assert_eq!(answer.status, 504, "{path}: {}", answer.error());
    }
    let channel = format!("http://{}", server.grpc_address());
    let channel = tonic::transport::Channel::from_shared(channel).unwrap();
    let mut client = GrpcInferenceServiceClient::new(channel.connect().await.unwrap());
    let ready = client.server_ready(messages::ServerReadyRequest {}).await;
    assert!(!ready.unwrap().into_inner().ready);
}
