use std::io::Write;

use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt;
use oip_core::models::Handled;
use oip_core::{Access, Call, Dataplane, Limits, ModelHandler};
use oip_protocol::{
    Bytes, Datatype, Error, InferRequest, InferResponse, ModelMetadata, Result, Tensor,
    TensorMetadata,
};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::DoorOptions;

mod docs;
mod failures;
mod gates;
mod large;
mod sockets;

/// Answers with its inputs; a model's name makes it misbehave.
struct Echo;

impl ModelHandler for Echo {
    async fn infer(&self, request: InferRequest, call: &Call) -> Result<InferResponse> {
        match call.model().name.as_str() {
            "broken" => Err(Error::handler_failed("/etc/secret")),
            "unknown" => Err(Error::not_found("model 'unknown' is not found")),
            "grows" => {
                let output = Tensor::from_vec("y", [300_000], vec![7_u8; 300_000])?;
                Ok(InferResponse::new([output]))
            }
            "hangs" => std::future::pending().await,
            "nan" => {
                let output = Tensor::from_vec("y", [2], vec![f32::NAN, 1.0])?;
                Ok(InferResponse::new([output]))
            }
            _ => Ok(InferResponse::new(request.inputs)),
        }
    }

    async fn model_metadata(&self, model: &ModelRef) -> Result<ModelMetadata> {
        match model.name.as_str() {
            "iris" => Ok(ModelMetadata {
                name: "iris".into(),
                versions: vec!["1".into()],
                platform: "onnx_onnxv1".into(),
                inputs: vec![TensorMetadata::new("x", Datatype::Fp32, [-1, 2])],
                outputs: vec![TensorMetadata::new("x", Datatype::Fp32, [-1, 2])],
            }),
            "unknown" => Err(Error::not_found("model 'unknown' is not found")),
            _ => Err(Error::not_implemented("not here")),
        }
    }

    async fn model_load(&self, model: &ModelRef) -> Result<()> {
        match model.name.as_str() {
            "corrupt" => Err(Error::does_not_fit("no ONNX")),
            _ => Ok(()),
        }
    }

    async fn model_unload(&self, _: &ModelRef) -> Result<()> {
        Ok(())
    }

    async fn model_ready(&self, model: &ModelRef) -> Result<bool> {
        match model.name.as_str() {
            "unknown" => Err(Error::not_found("model 'unknown' is not found")),
            name => Ok(name != "cold"),
        }
    }
}

fn door_of(options: DoorOptions, access: Access) -> Arc<Door> {
    let models = Arc::new(Handled::new(Echo, [""; 0]));
    let dataplane = Arc::new(Dataplane::new(models, access, Limits::default()));
    Arc::new(Door::new(dataplane, options))
}

fn open() -> Served {
    super::door(
        door_of(DoorOptions::default(), Access::open()),
        Arc::new(origins()),
    )
}

fn origins() -> Origins {
    let own = ["127.0.0.1:8082".parse().unwrap()];
    Origins::new(&own, &["https://console.example".to_owned()], "http")
}

fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(path)
}

async fn send(router: &Served, request: Request<Body>) -> Response<Body> {
    router.clone().oneshot(request).await.unwrap()
}

async fn bytes(response: Response<Body>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

/// Status and JSON of an answer; every failure has to be one of ours.
async fn ask(router: &Served, request: Request<Body>) -> (u16, Value) {
    let response = send(router, request).await;
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/json");
    let body: Value = serde_json::from_slice(&bytes(response).await).unwrap();
    if status >= 400 {
        let sentence = body["error"].as_str().unwrap();
        assert!(
            !sentence.is_empty() && !sentence.contains("secret"),
            "{sentence}"
        );
    }
    (status, body)
}

const TWO_FLOATS: &str =
    r#"{"id":"7","inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2.5]}]}"#;

fn infer(model: &str, body: impl Into<Body>) -> Request<Body> {
    let path = format!("/v2/models/{model}/infer");
    request("POST", &path).body(body.into()).unwrap()
}

#[tokio::test]
async fn an_inference_in_json_is_answered_in_json() {
    let (status, body) = ask(&open(), infer("iris/versions/3", TWO_FLOATS)).await;
    assert_eq!(status, 200);
    let expected = json!({
        "model_name": "iris", "model_version": "3", "id": "7",
        "outputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.5]}],
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn an_inference_in_binary_is_answered_in_binary() {
    let head = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}],"parameters":{"binary_data_output":true}}"#;
    let data: Vec<u8> = [1.0_f32, 2.5]
        .into_iter()
        .flat_map(f32::to_le_bytes)
        .collect();
    let body = [head.as_bytes(), &data].concat();
    let builder = request("POST", "/v2/models/iris/infer");
    let builder = builder.header("inference-header-content-length", head.len());
    let response = send(&open(), builder.body(body.into()).unwrap()).await;
    assert_eq!(response.status(), 200);
    assert_eq!(
        response.headers()["content-type"],
        "application/octet-stream"
    );
    let length = response.headers()["inference-header-content-length"]
        .to_str()
        .unwrap();
    let length: usize = length.parse().unwrap();
    let body = bytes(response).await;
    assert_eq!(&body[length..], data);
    let head: Value = serde_json::from_slice(&body[..length]).unwrap();
    assert_eq!(head["outputs"][0]["parameters"]["binary_data_size"], 8);
}

#[tokio::test]
async fn a_header_length_of_zero_is_the_raw_input_and_is_answered_in_kind() {
    let builder = request("POST", "/v2/models/iris/infer");
    let builder = builder.header("inference-header-content-length", "0");
    let raw = builder.body(Body::from(vec![0_u8; 16])).unwrap();
    let response = send(&open(), raw).await;
    assert_eq!(response.status(), 200);
    assert_eq!(
        response.headers()["content-type"],
        "application/octet-stream"
    );
    let length = &response.headers()["inference-header-content-length"];
    let length: usize = length.to_str().unwrap().parse().unwrap();
    let body = bytes(response).await;
    let header: Value = serde_json::from_slice(&body[..length]).unwrap();
    assert_eq!(header["outputs"][0]["shape"], json!([2, 2]));
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let get = |method| {
        request(method, "/v2/health/live")
            .body(Body::empty())
            .unwrap()
    };
    let response = send(&open(), get("HEAD")).await;
    assert_eq!(response.status(), 200);
    let length = response.headers()["content-length"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(bytes(response).await.is_empty());
    assert_eq!(
        bytes(send(&open(), get("GET")).await)
            .await
            .len()
            .to_string(),
        length
    );
}

#[tokio::test]
async fn health_and_metadata_read_as_the_contract_says() {
    let door = door_of(DoorOptions::default(), Access::open());
    door.dataplane.start().await;
    let router = super::door(door, Arc::new(origins()));
    let tensor = json!([{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]);
    for (path, expected) in [
        ("/v2/health/live", json!({"live": true})),
        ("/v2/health/ready", json!({"ready": true, "live": true})),
        ("/v2/models/m/ready", json!({"name": "m", "ready": true})),
        (
            "/v2/models/m/versions/2/ready",
            json!({"name": "m", "ready": true}),
        ),
        (
            "/v2/models/iris",
            json!({
                "name": "iris", "versions": ["1"], "platform": "onnx_onnxv1",
                "inputs": tensor, "outputs": tensor,
            }),
        ),
        ("/v2/models/stats", json!({"model_stats": []})),
    ] {
        let get = request("GET", path).body(Body::empty()).unwrap();
        assert_eq!(ask(&router, get).await, (200, expected), "{path}");
    }
    let get = request("GET", "/v2/").body(Body::empty()).unwrap();
    assert_eq!(ask(&router, get).await.1["name"], "oip");
}

#[tokio::test]
async fn models_are_listed_loaded_and_unloaded() {
    let router = open();
    let post =
        |path: &str, body: &'static str| request("POST", path).body(Body::from(body)).unwrap();
    let (status, body) = ask(&router, post("/v2/repository/models/m/load", "{}")).await;
    assert_eq!((status, body), (200, json!({})));
    let (_, index) = ask(&router, post("/v2/repository/index", "{\"ready\": true}")).await;
    assert_eq!(
        index,
        json!([{"name": "m", "state": "READY", "reason": ""}])
    );
    let unload = r#"{"parameters": {"unload_dependents": false}}"#;
    assert_eq!(
        ask(&router, post("/v2/repository/models/m/unload", unload))
            .await
            .0,
        200
    );
    assert_eq!(
        ask(&router, post("/v2/repository/index", "")).await.1,
        json!([])
    );
}

#[tokio::test]
async fn statistics_count_what_was_asked() {
    let router = open();
    ask(&router, infer("iris", TWO_FLOATS)).await;
    let get = request("GET", "/v2/models/iris/stats")
        .body(Body::empty())
        .unwrap();
    let (_, body) = ask(&router, get).await;
    assert_eq!(
        body["model_stats"][0]["inference_stats"]["success"]["count"],
        1
    );
    assert_eq!(body["model_stats"][0]["inference_count"], 1);
}

#[tokio::test]
async fn a_compressed_inference_is_answered_compressed_for_whoever_understands_it() {
    let floats = vec!["0.5"; 4000].join(",");
    let body = format!(
        r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[2000,2],"data":[{floats}]}}]}}"#
    );
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body.as_bytes()).unwrap();
    let builder = request("POST", "/v2/models/iris/infer")
        .header("content-encoding", "gzip")
        .header("accept-encoding", "deflate");
    let packed = builder.body(Body::from(encoder.finish().unwrap())).unwrap();
    let response = send(&open(), packed).await;
    assert_eq!(response.headers()["content-encoding"], "deflate");
    let compressed = bytes(response).await;
    let answer: Value =
        serde_json::from_reader(flate2::read::ZlibDecoder::new(&compressed[..])).unwrap();
    assert_eq!(answer["outputs"][0]["data"].as_array().unwrap().len(), 4000);
    // Plain, and understood.
    let builder = request("POST", "/v2/models/iris/infer").header("accept-encoding", "gzip");
    let plain = send(&open(), builder.body(Body::from(body)).unwrap()).await;
    assert!(!plain.headers().contains_key("content-encoding"));
}

#[tokio::test]
async fn a_float_that_json_has_no_number_for_is_null_unless_told_otherwise() {
    let ask = |value: Option<&'static str>| async move {
        let mut builder = request("POST", "/v2/models/nan/infer");
        if let Some(value) = value {
            builder = builder.header("x-oip-non-finite", value);
        }
        let answer = send(&open(), builder.body(TWO_FLOATS.into()).unwrap()).await;
        String::from_utf8(bytes(answer).await.to_vec()).unwrap()
    };
    assert!(ask(None).await.contains("[null,1"));
    assert!(ask(Some("token")).await.contains("[NaN,1"));
}

#[tokio::test]
async fn pages_of_allowed_origins_may_ask_and_read() {
    let builder = request("OPTIONS", "/v2/models/iris/infer")
        .header("origin", "https://console.example")
        .header("access-control-request-method", "POST");
    let response = send(&open(), builder.body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), 204);
    let allowed = "https://console.example";
    assert_eq!(response.headers()["access-control-allow-origin"], allowed);
    let builder = request("GET", "/v2").header("origin", allowed);
    let response = send(&open(), builder.body(Body::empty()).unwrap()).await;
    assert_eq!(response.headers()["access-control-allow-origin"], allowed);
    let builder = request("OPTIONS", "/v2")
        .header("origin", "http://evil.example")
        .header("access-control-request-method", "POST");
    let response = send(&open(), builder.body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), 403);
    assert!(
        !response
            .headers()
            .contains_key("access-control-allow-origin")
    );
}
