use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use flate2::write::GzEncoder;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use oip_core::access::{Authenticator, Credentials, Decision, PolicyDecisionPoint, Question};
use oip_core::{Access, Action, BoxFuture, Call, Dataplane, ModelHandler, Subject};
use oip_protocol::proto::generated as pb;
use oip_protocol::proto::{self, ContentsForm};
use oip_protocol::{
    Datatype, Error, InferRequest, InferResponse, ModelMetadata, ModelRef, Tensor, TensorMetadata,
};
use prost::Message;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Status};
use tower::ServiceExt;

use super::generated_client::grpc_inference_service_client::GrpcInferenceServiceClient;
use super::*;
use crate::door::DoorOptions;

/// Elements of an answer that takes long to write.
const GROWN: usize = 200_000;

const SERVICE: &str = "inference.GRPCInferenceService";

/// Gives its inputs back; a model's name makes it misbehave.
struct Echo;

impl ModelHandler for Echo {
    async fn infer(
        &self,
        request: InferRequest,
        call: &Call,
    ) -> oip_protocol::Result<InferResponse> {
        match call.model().name.as_str() {
            "slow" => tokio::time::sleep(Duration::from_secs(60)).await,
            "grows" => {
                let output = Tensor::from_vec("y", [GROWN as u64], vec![7_u8; GROWN])?;
                return Ok(InferResponse::new([output]));
            }
            "headers" => {
                let seen = call.caller().header("traceparent").unwrap_or_default();
                return Ok(InferResponse::new([Tensor::from_strings(
                    "y",
                    [1],
                    [seen],
                )?]));
            }
            "full" => return Err(Error::too_many_requests("the queue is full").retry_after(3)),
            _ => {}
        }
        Ok(InferResponse::new(request.inputs))
    }

    async fn model_metadata(&self, model: &ModelRef) -> oip_protocol::Result<ModelMetadata> {
        match model.name.as_str() {
            "missing" => Err(Error::not_found("there is no model 'missing'")),
            "strict" => Ok(ModelMetadata {
                name: "strict".into(),
                inputs: vec![TensorMetadata::new("x", Datatype::Fp32, [2])],
                ..ModelMetadata::default()
            }),
            _ => Err(Error::not_implemented("no metadata")),
        }
    }

    async fn model_ready(&self, model: &ModelRef) -> oip_protocol::Result<bool> {
        match model.name.as_str() {
            "missing" => Err(Error::not_found("there is no model 'missing'")),
            _ => Ok(true),
        }
    }

    fn checks_metadata(&self) -> bool {
        false
    }
}

/// Knows the bearer of "me", lets nobody else in, and counts what it is asked.
#[derive(Default)]
struct Strict {
    asked: Arc<AtomicUsize>,
}

impl Authenticator for Strict {
    fn authenticate<'a>(
        &'a self,
        credentials: &'a Credentials,
    ) -> BoxFuture<'a, oip_protocol::Result<Option<Arc<Subject>>>> {
        Box::pin(async {
            match credentials.authorization.first().map(String::as_str) {
                None => Ok(None),
                Some("Bearer me") => Ok(Some(Arc::new(Subject {
                    id: "me".into(),
                    ..Subject::default()
                }))),
                Some(_) => Err(Error::unauthenticated("the token does not hold")),
            }
        })
    }
}

impl PolicyDecisionPoint for Strict {
    fn decide<'a>(&'a self, question: &'a Question<'a>) -> BoxFuture<'a, Decision> {
        self.asked.fetch_add(1, Relaxed);
        let reason = String::new();
        let secret = question.model.is_some_and(|model| model.name == "secret");
        Box::pin(async move {
            match secret || question.caller.subject().is_none() {
                true => Decision::Deny { reason },
                false => Decision::Permit { reason },
            }
        })
    }

    fn may_permit_anonymous(&self, action: Action) -> bool {
        action == Action::ServerMetadata
    }
}

async fn door_of(access: Access, options: DoorOptions) -> Served {
    let dataplane = Dataplane::of_handler(Echo, access);
    dataplane.start().await;
    let door = Door::new(Arc::new(dataplane), options);
    super::door(Arc::new(door), Arc::new(Origins::default()))
}

async fn open() -> Served {
    door_of(Access::open(), DoorOptions::default()).await
}

async fn guarded() -> (Served, Arc<AtomicUsize>) {
    let policy = Strict::default();
    let asked = Arc::clone(&policy.asked);
    let access = Access::new(Arc::new(Strict::default()), Arc::new(policy));
    (door_of(access, DoorOptions::default()).await, asked)
}

fn floats(model: &str, form: ContentsForm) -> pb::ModelInferRequest {
    let input = Tensor::from_vec("x", [2], vec![1.0_f32, 2.0]).unwrap();
    proto::encode_request(
        ModelRef::new(model),
        InferRequest::new([input]).id("7"),
        form,
    )
}

fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap());
    frame.put_slice(message);
    frame.freeze()
}

fn post(path: &str, body: impl Into<axum::body::Body>) -> Request<axum::body::Body> {
    Request::post(path)
        .header("content-type", "application/grpc")
        .body(body.into())
        .unwrap()
}

async fn ask(door: &Served, request: Request<axum::body::Body>) -> Response<axum::body::Body> {
    door.clone().oneshot(request).await.unwrap()
}

/// The status of an answer, in its head or behind its body.
async fn status(response: Response<axum::body::Body>) -> Status {
    let head = response.headers().clone();
    let trailers = response.into_body().collect().await.unwrap();
    let trailers = trailers.trailers().cloned().unwrap_or_else(HeaderMap::new);
    Status::from_header_map(&head)
        .or_else(|| Status::from_header_map(&trailers))
        .unwrap()
}

fn infer_path() -> String {
    format!("/{SERVICE}/ModelInfer")
}

/// A body that never comes; reading it would hang the test.
fn silent() -> axum::body::Body {
    axum::body::Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>())
}

mod access;
mod large;
mod streams;
mod unary;

#[tokio::test]
async fn an_answer_has_the_form_of_its_request() {
    let mut client = GrpcInferenceServiceClient::new(open().await);
    let request = floats("m", ContentsForm::Raw);
    let raw = client.model_infer(request).await.unwrap().into_inner();
    assert_eq!((raw.model_name.as_str(), raw.id.as_str()), ("m", "7"));
    assert_eq!(raw.raw_output_contents.len(), 1);
    assert!(raw.outputs[0].contents.is_none());
    let request = floats("m", ContentsForm::Typed);
    let typed = client.model_infer(request).await.unwrap().into_inner();
    assert!(typed.raw_output_contents.is_empty());
    let contents = typed.outputs[0].contents.as_ref().unwrap();
    assert_eq!(contents.fp32_contents, [1.0, 2.0]);
}

#[tokio::test]
async fn the_service_is_reached_under_the_originals_name_too() {
    let message = framed(&floats("m", ContentsForm::Raw).encode_to_vec());
    let path = "/inference.GrpcInferenceService/ModelInfer";
    let response = ask(&open().await, post(path, message)).await;
    assert_eq!(status(response).await.code(), Code::Ok);
}

#[tokio::test]
async fn what_is_not_there_is_unimplemented_with_a_sentence() {
    let door = open().await;
    for (path, sentence) in [
        (format!("/{SERVICE}/Guess"), "has no method 'Guess'"),
        ("/some.Service/Call".into(), "no service 'some.Service'"),
        (format!("/{SERVICE}/LogSettings"), "'logging'"),
        (
            format!("/{SERVICE}/SystemSharedMemoryStatus"),
            "'system_shared_memory'",
        ),
        (
            format!("/{SERVICE}/CudaSharedMemoryRegister"),
            "'cuda_shared_memory'",
        ),
    ] {
        let response = ask(&door, post(&path, silent())).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/grpc");
        let status = status(response).await;
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
        assert!(status.message().contains(sentence), "{}", status.message());
    }
}

#[tokio::test]
async fn what_is_no_grpc_is_refused_as_http() {
    let door = open().await;
    let get = Request::get("/v2").body(axum::body::Body::empty()).unwrap();
    assert_eq!(ask(&door, get).await.status(), 405);
    let json = Request::post(infer_path()).header("content-type", "application/json");
    let json = json.body(axum::body::Body::from("{}")).unwrap();
    let response = ask(&door, json).await;
    assert_eq!(response.status(), 415);
    assert_eq!(response.headers()["content-type"], "application/json");
}

#[tokio::test]
async fn a_message_that_does_not_decode_is_the_callers_fault() {
    let door = open().await;
    for (message, sentence) in [
        (
            &[0x2a, 0x02, 0x2a, 0x09][..],
            "ModelInferRequest.inputs[0]: malformed protobuf",
        ),
        // A model's name that is no text.
        (&[0x0a, 0x01, 0xff][..], "ModelInferRequest.model_name"),
        (&[0x2a, 0x00].repeat(2000)[..], "more than 1024 inputs"),
    ] {
        let response = ask(&door, post(&infer_path(), framed(message))).await;
        let status = status(response).await;
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(sentence), "{}", status.message());
    }
}

#[tokio::test]
async fn a_message_over_the_limit_is_resource_exhausted_compressed_or_not() {
    let options = DoorOptions {
        body_limit: 1000,
        ..DoorOptions::default()
    };
    let door = door_of(Access::open(), options).await;
    // The length alone is enough.
    let head = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(
        b"\0\0\0\x03\xe9",
    ))]);
    let body = axum::body::Body::from_stream(head.chain(stream::pending()));
    let refused = status(ask(&door, post(&infer_path(), body)).await).await;
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(
        refused.message().contains("takes 1001 bytes"),
        "{}",
        refused.message()
    );

    let bomb = compressed(&vec![0; 100_000]);
    assert!(bomb.len() < 1000);
    let refused = status(ask(&door, gzip(bomb)).await).await;
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let refused = status(ask(&door, gzip(Bytes::from_static(b"\x01\0\0\0\x03abc"))).await).await;
    assert_eq!(
        refused.code(),
        Code::InvalidArgument,
        "broken compressed data"
    );
}

fn compressed(message: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(message).unwrap();
    let content = encoder.finish().unwrap();
    let mut frame = framed(&content).to_vec();
    frame[0] = 1;
    frame.into()
}

fn gzip(frame: Bytes) -> Request<axum::body::Body> {
    let mut request = post(&infer_path(), frame);
    let encoding = "gzip".parse().unwrap();
    request.headers_mut().insert("grpc-encoding", encoding);
    request
}

#[tokio::test]
async fn answers_are_compressed_only_for_a_caller_who_compresses() {
    let door = open().await;
    let mut client = GrpcInferenceServiceClient::new(door.clone())
        .send_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Gzip);
    let response = client
        .model_infer(floats("m", ContentsForm::Raw))
        .await
        .unwrap();
    assert_eq!(response.metadata().get("grpc-encoding").unwrap(), "gzip");
    // Python's clients always say that they understand gzip.
    let plain = GrpcInferenceServiceClient::new(door);
    let understands = plain.clone().accept_compressed(CompressionEncoding::Gzip);
    for mut client in [plain, understands] {
        let response = client
            .model_infer(floats("m", ContentsForm::Raw))
            .await
            .unwrap();
        assert!(response.metadata().get("grpc-encoding").is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_runs_out_is_deadline_exceeded_in_the_model_and_in_the_message() {
    let door = open().await;
    let message = framed(&floats("slow", ContentsForm::Raw).encode_to_vec());
    for body in [axum::body::Body::from(message), silent()] {
        let mut request = post(&infer_path(), body);
        let timeout = "50m".parse().unwrap();
        request.headers_mut().insert("grpc-timeout", timeout);
        let status = status(ask(&door, request).await).await;
        assert_eq!(status.code(), Code::DeadlineExceeded);
    }
    let mut request = post(&infer_path(), silent());
    request
        .headers_mut()
        .insert("grpc-timeout", "soon".parse().unwrap());
    let status = status(ask(&door, request).await).await;
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_model_that_is_not_there_is_not_ready_and_not_found() {
    let mut client = GrpcInferenceServiceClient::new(open().await);
    let mut ready = async |name: &str| {
        let request = pb::ModelReadyRequest {
            name: name.into(),
            ..Default::default()
        };
        client
            .model_ready(request)
            .await
            .map(|r| r.into_inner().ready)
    };
    assert!(ready("m").await.unwrap() && !ready("missing").await.unwrap());
    assert_eq!(ready("").await.unwrap_err().code(), Code::InvalidArgument);
    let request = pb::ModelMetadataRequest {
        name: "missing".into(),
        ..Default::default()
    };
    let error = client.model_metadata(request).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    let metadata = pb::ModelMetadataRequest {
        name: "strict".into(),
        ..Default::default()
    };
    let metadata = client.model_metadata(metadata).await.unwrap().into_inner();
    assert_eq!(metadata.inputs[0].datatype, "FP32");
}

#[tokio::test]
async fn the_server_names_its_extensions_and_counts_its_requests() {
    let mut client = GrpcInferenceServiceClient::new(open().await);
    let metadata = client
        .server_metadata(pb::ServerMetadataRequest {})
        .await
        .unwrap();
    let extensions = metadata.into_inner().extensions;
    assert!(
        extensions.iter().any(|name| name == "statistics"),
        "{extensions:?}"
    );
    client
        .model_infer(floats("m", ContentsForm::Raw))
        .await
        .unwrap();
    let request = pb::ModelStatisticsRequest::default();
    let rows = client.model_statistics(request).await.unwrap().into_inner();
    let stats = rows.model_stats[0].inference_stats.as_ref().unwrap();
    assert_eq!(stats.success.unwrap().count, 1);
    // An extension that this server has not.
    let request = pb::ModelConfigRequest {
        name: "m".into(),
        ..Default::default()
    };
    let error = client.model_config(request).await.unwrap_err();
    assert_eq!(error.code(), Code::Unimplemented);
}

#[tokio::test]
async fn an_upload_through_a_load_is_refused_by_name() {
    let mut client = GrpcInferenceServiceClient::new(open().await);
    for name in ["config", "file:1/model.onnx", "surprise"] {
        let parameters = [(name.to_owned(), Default::default())].into();
        let request = pb::RepositoryModelLoadRequest {
            model_name: "m".into(),
            parameters,
            ..Default::default()
        };
        let error = client.repository_model_load(request).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        let named = name.split(':').next().unwrap();
        assert!(error.message().contains(named), "{}", error.message());
    }
}

#[tokio::test]
async fn a_full_queue_says_when_to_come_back() {
    let mut client = GrpcInferenceServiceClient::new(open().await);
    let error = client
        .model_infer(floats("full", ContentsForm::Raw))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert_eq!(error.metadata().get("retry-after").unwrap(), "3");
}
