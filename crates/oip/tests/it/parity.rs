//! One table of cases through both doors: equal outcome, equal tensors.

use oip::grpc::generated_client::grpc_inference_service_client::GrpcInferenceServiceClient;
use oip::testing::TestServer;
use oip::{InferRequest, InferResponse, ModelRef, ParameterValue, RequestedOutput, Tensor};
use oip_protocol::proto::{self, ContentsForm};
use oip_protocol::{DecodeLimits, ErrorKind, binary, json};
use tonic::codec::CompressionEncoding;

use crate::{http, lab};

/// What became of a request: an answer, or the outcome by both of its codes and the sentence.
#[derive(Debug, PartialEq)]
enum Outcome {
    Answer(InferResponse),
    Refusal { message: String },
}

struct Case {
    what: &'static str,
    model: ModelRef,
    request: InferRequest,
    expected: Result<fn(&InferResponse) -> bool, ErrorKind>,
}

fn case(
    what: &'static str,
    model: &str,
    request: InferRequest,
    expected: Result<fn(&InferResponse) -> bool, ErrorKind>,
) -> Case {
    Case {
        what,
        model: ModelRef::new(model),
        request,
        expected,
    }
}

fn requested(name: &str, parameter: &str, value: impl Into<ParameterValue>) -> RequestedOutput {
    let mut output = RequestedOutput::new(name);
    output.parameters.insert(parameter, value);
    output
}

fn doubled(response: &InferResponse) -> bool {
    response.output("y").and_then(Tensor::as_slice) == Some(&[2.0_f32, -1.0][..])
}

fn cases() -> Vec<Case> {
    let fits = || InferRequest::new([lab::x()]).id("42").output("y");
    let with = |output| {
        let mut request = InferRequest::new([lab::x()]);
        request.outputs = vec![output];
        request
    };
    let ints = Tensor::from_vec("x", [1, 2], vec![1_i64, 2]).expect("fits");
    let wide = Tensor::from_vec("x", [1, 3], vec![1.0_f32; 3]).expect("fits");
    let empty = Tensor::from_vec("x", [0, 2], Vec::<f32>::new()).expect("fits");
    let other = lab::x().with_name("w");
    use ErrorKind as K;
    vec![
        case(
            "a fitting request",
            "double",
            fits(),
            Ok(|response| {
                doubled(response)
                    && response.id.as_deref() == Some("42")
                    && response.outputs.len() == 1
            }),
        ),
        case(
            "an empty batch",
            "double",
            InferRequest::new([empty]).output("y"),
            Ok(|response| {
                response
                    .output("y")
                    .is_some_and(|y| y.shape().dims() == [0, 2])
            }),
        ),
        case(
            "bytes as base64",
            "double",
            with(requested("text", "content_type", "base64")),
            Ok(|r| {
                r.output("text")
                    .is_some_and(|text| text.strings() == Ok(vec!["/wA="]))
            }),
        ),
        case(
            "the largest of a row",
            "double",
            with(requested("y", "classification", 1_i64)),
            Ok(|r| {
                r.output("y")
                    .is_some_and(|y| y.strings() == Ok(vec!["2.000000:0"]))
            }),
        ),
        case(
            "another datatype",
            "double",
            InferRequest::new([ints]),
            Err(K::DoesNotFit),
        ),
        case(
            "another shape",
            "double",
            InferRequest::new([wide]),
            Err(K::DoesNotFit),
        ),
        case(
            "another name",
            "double",
            InferRequest::new([other]),
            Err(K::DoesNotFit),
        ),
        case(
            "an input twice",
            "double",
            InferRequest::new([lab::x(), lab::x()]),
            Err(K::DoesNotFit),
        ),
        case(
            "an unknown output",
            "double",
            fits().output("q"),
            Err(K::DoesNotFit),
        ),
        case(
            "an output twice",
            "double",
            fits().output("y"),
            Err(K::DoesNotFit),
        ),
        case(
            "no classes",
            "double",
            with(requested("y", "classification", -1_i64)),
            Err(K::Malformed),
        ),
        case("an unknown model", "nobody", fits(), Err(K::NotFound)),
        case(
            "a name over its limit",
            &"x".repeat(ModelRef::LONGEST + 1),
            fits(),
            Err(K::NotFound),
        ),
        case(
            "a model that refuses",
            "refuses",
            fits(),
            Err(K::DoesNotFit),
        ),
        case(
            "a model that panics",
            "panics",
            fits(),
            Err(K::HandlerFailed),
        ),
        case("a model that lies", "lies", fits(), Err(K::HandlerFailed)),
        case(
            "a model without infer",
            "silent",
            fits(),
            Err(K::NotImplemented),
        ),
        case(
            "a model whose load failed",
            "broken",
            fits(),
            Err(K::Unavailable),
        ),
    ]
}

/// One that takes long to read and to write in every form but the raw ones.
fn large() -> Case {
    let elements = (0..300_000).map(|n| n * 7_001).collect();
    let tensor = Tensor::from_vec::<i32>("t", [300_000], elements).expect("fits");
    case(
        "a large tensor",
        "free",
        InferRequest::new([tensor]),
        Ok(|response| response.outputs[0].element_count() == 300_000),
    )
}

/// Every datatype through a model that declares nothing and answers with its inputs.
fn echoes() -> Vec<Case> {
    let bytes = |datatype: oip::Datatype| datatype.size().map(|size| vec![1_u8; size * 2]);
    oip::Datatype::ALL
        .into_iter()
        .map(|datatype| {
            let tensor = match bytes(datatype) {
                Some(bytes) => Tensor::new("t", datatype, [2], bytes),
                None => Tensor::from_strings("t", [2], ["a", "é"]),
            };
            let request = InferRequest::new([tensor.expect("fits")]);
            case(
                datatype.name(),
                "free",
                request,
                Ok(|response| {
                    response.outputs.len() == 1 && response.outputs[0].element_count() == 2
                }),
            )
        })
        .collect()
}

async fn over_json(server: &TestServer, case: &Case) -> (u16, Outcome) {
    let body = json::encode_request(&case.request).expect("encodes");
    let path = format!("/v2/models/{}/infer", case.model.name);
    let answer = http::request(server.rest_address(), "POST", &path, &[], &body).await;
    let outcome = match answer.status {
        200 => Outcome::Answer(
            json::decode_response(&answer.body, &DecodeLimits::default()).expect("decodes"),
        ),
        _ => Outcome::Refusal {
            message: answer.error(),
        },
    };
    (answer.status, outcome)
}

async fn over_binary(server: &TestServer, case: &Case) -> (u16, Outcome) {
    let mut request = case.request.clone();
    request.parameters.insert("binary_data_output", true);
    let encoded = binary::encode_request(&request, |_| true).expect("encodes");
    let length = encoded.header.len().to_string();
    let mut body = encoded.header;
    for buffer in encoded.buffers {
        body.extend_from_slice(&buffer);
    }
    let path = format!("/v2/models/{}/infer", case.model.name);
    let headers = [
        ("inference-header-content-length", length.as_str()),
        ("content-type", "application/octet-stream"),
    ];
    let answer = http::request(server.rest_address(), "POST", &path, &headers, &body).await;
    let outcome = match answer.status {
        200 => {
            let length = answer
                .header("inference-header-content-length")
                .expect("a length");
            let length = length.parse().expect("a number");
            let limits = DecodeLimits::default();
            let body = answer.body.clone().into();
            Outcome::Answer(binary::decode_response(body, length, &limits).expect("decodes"))
        }
        _ => Outcome::Refusal {
            message: answer.error(),
        },
    };
    (answer.status, outcome)
}

type Client = GrpcInferenceServiceClient<tonic::transport::Channel>;

/// Plain clients, and such as compress.
async fn clients(server: &TestServer) -> [Client; 2] {
    let address = format!("http://{}", server.grpc_address());
    let channel = tonic::transport::Endpoint::from_shared(address).expect("an address");
    let plain = GrpcInferenceServiceClient::new(channel.connect().await.expect("connects"));
    let plain = plain.max_decoding_message_size(64 << 20);
    let packs = plain.clone().send_compressed(CompressionEncoding::Gzip);
    [plain, packs.accept_compressed(CompressionEncoding::Gzip)]
}

async fn over_grpc(mut client: Client, case: &Case, form: ContentsForm) -> (i32, Outcome) {
    let message = proto::encode_request(case.model.clone(), case.request.clone(), form);
    match client.model_infer(message).await {
        Ok(answer) => {
            let limits = DecodeLimits::default();
            let (response, _) =
                proto::decode_response(answer.into_inner(), &limits).expect("decodes");
            (0, Outcome::Answer(response))
        }
        Err(status) => {
            let message = status.message().to_owned();
            (status.code() as i32, Outcome::Refusal { message })
        }
    }
}

/// As the one request of a stream, whose answers have no codes.
async fn over_stream(mut client: Client, case: &Case, form: ContentsForm) -> Outcome {
    let message = proto::encode_request(case.model.clone(), case.request.clone(), form);
    let requests = futures_util::stream::iter([message]);
    let answers = client.model_stream_infer(requests).await.expect("begins");
    let mut answers = answers.into_inner();
    let answer = answers.message().await.expect("no status").expect("one");
    assert!(answers.message().await.expect("no status").is_none());
    let response = answer.infer_response.expect("in either case");
    if !answer.error_message.is_empty() {
        // A name that is too long is not sent back.
        let is_long = case.model.name.len() > ModelRef::LONGEST;
        let named = if is_long { "" } else { &case.model.name };
        assert_eq!(response.model_name, named);
        return Outcome::Refusal {
            message: answer.error_message,
        };
    }
    let limits = DecodeLimits::default();
    let (response, _) = proto::decode_response(response, &limits).expect("decodes");
    Outcome::Answer(response)
}

#[tokio::test]
async fn every_case_comes_to_the_same_through_every_door_and_form() {
    let server = lab::start().await;
    let [plain, packs] = clients(&server).await;
    for case in cases().into_iter().chain(echoes()).chain([large()]) {
        let what = case.what;
        let (status, json) = over_json(&server, &case).await;
        let (binary_status, binary) = over_binary(&server, &case).await;
        let (code, raw) = over_grpc(plain.clone(), &case, ContentsForm::Raw).await;
        let (typed_code, typed) = over_grpc(plain.clone(), &case, ContentsForm::Typed).await;
        assert_eq!((status, code), (binary_status, typed_code), "{what}");
        match case.expected {
            Ok(holds) => {
                assert_eq!((status, code), (200, 0), "{what}: {json:?} {raw:?}");
                let Outcome::Answer(answer) = &json else {
                    panic!("{what}: {json:?}");
                };
                assert!(holds(answer), "{what}: {answer:?}");
            }
            Err(kind) => {
                let codes = (kind.http_status(), kind.grpc_code());
                assert_eq!((status, code), codes, "{what}: {json:?} {raw:?}");
            }
        }
        assert_eq!(json, binary, "{what}: JSON and binary");
        assert_eq!(json, raw, "{what}: REST and gRPC, raw contents");
        assert_eq!(json, typed, "{what}: REST and gRPC, typed contents");
        for form in [ContentsForm::Raw, ContentsForm::Typed] {
            let (packed_code, packed) = over_grpc(packs.clone(), &case, form).await;
            assert_eq!((packed_code, &packed), (code, &raw), "{what}: compressed");
            for client in [&plain, &packs] {
                let streamed = over_stream(client.clone(), &case, form).await;
                assert_eq!(streamed, raw, "{what}: on a stream");
            }
        }
    }
    assert_eq!(server.stop().await, 0);
}

#[tokio::test]
async fn one_port_serves_both_doors() {
    let server = TestServer::start_on_one_port(lab::server())
        .await
        .expect("starts");
    assert_eq!(server.rest_address(), server.grpc_address());
    let case = &cases()[0];
    assert_eq!(over_json(&server, case).await.0, 200);
    let [plain, _] = clients(&server).await;
    assert_eq!(over_grpc(plain, case, ContentsForm::Raw).await.0, 0);
}
