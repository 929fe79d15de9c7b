//! Where a large tensor lies when it comes to a handler: in the one buffer that its pieces were
//! put together in, on a boundary of 64 bytes. A further copy would lie where the allocator puts
//! large blocks, 16 bytes behind a page.

use oip::client::Client;
use oip::testing::TestServer;
use oip::{Call, InferRequest, InferResponse, ModelHandler, ModelRef, Result, Server, Tensor};

use crate::http;

/// Answers how far behind a boundary each input lies.
struct Places;

impl ModelHandler for Places {
    async fn infer(&self, request: InferRequest, _: &Call) -> Result<InferResponse> {
        let place = |tensor: &Tensor| (tensor.data().as_ptr().addr() % 64) as i32;
        let places: Vec<i32> = request.inputs.iter().map(place).collect();
        let count = places.len() as u64;
        Ok(InferResponse::new([Tensor::from_vec(
            "y",
            [count],
            places,
        )?]))
    }
}

async fn start() -> TestServer {
    let server = Server::new(Places).without_authentication().model("m");
    TestServer::start(server).await.unwrap()
}

/// Floats of about a megabyte, more than one frame or read holds.
const FLOATS: usize = 300_001;

#[tokio::test]
async fn the_largest_tensor_of_a_grpc_message_is_not_copied_after_its_pieces() {
    let server = start().await;
    let client = Client::connect(format!("http://{}", server.grpc_address()));
    let client = client.await.unwrap();
    let large = Tensor::from_vec("x", [FLOATS as u64], vec![1.5_f32; FLOATS]).unwrap();
    let small = Tensor::from_vec("flag", [3], vec![true, false, true]).unwrap();
    for (inputs, place) in [
        (vec![large.clone()], 0),
        (vec![small.clone(), large.clone()], 1),
        (vec![large, small], 0),
    ] {
        let answer = client.infer(ModelRef::new("m"), InferRequest::new(inputs));
        let answer = answer.await.unwrap();
        let places = answer.outputs[0].to_slice::<i32>().unwrap();
        assert_eq!(places[place], 0, "{places:?}");
    }
}

#[tokio::test]
async fn the_first_tensor_of_a_binary_body_is_not_copied_after_its_pieces() {
    let server = start().await;
    let bytes = FLOATS * 4;
    let head = format!(
        r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[{FLOATS}],"parameters":{{"binary_data_size":{bytes}}}}}]}}"#
    );
    let length = head.len().to_string();
    let body = [head.as_bytes(), &vec![0; bytes]].concat();
    let headers = [("inference-header-content-length", length.as_str())];
    let path = "/v2/models/m/infer";
    let answer = http::request(server.rest_address(), "POST", path, &headers, &body).await;
    let answer: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(
        answer["outputs"][0]["data"],
        serde_json::json!([0]),
        "{answer}"
    );
}
