//! The floor: what the libraries below us cost when nobody looks at the bytes.
//!
//! REST: an axum handler that sends the body back. gRPC: a tonic service that sends the tensors
//! back, on tonic's own server with its default settings. Nothing is parsed that the library
//! does not parse by itself, and the tensors of a message are not copied.

use std::convert::Infallible;
use std::io;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::serve::ListenerExt;
use oip::Bytes;
use oip::grpc::messages::model_infer_response::InferOutputTensor;
use oip::grpc::messages::{ModelInferRequest, ModelInferResponse};
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

/// Largest message; tonic's default of 4 MB is less than some models' tensors.
const MOST: usize = 64 << 20;

/// Serves the echo of REST for ever.
pub(super) async fn rest(listener: TcpListener) -> io::Result<()> {
    let echo = |body: Bytes| async move { body };
    let router = Router::new()
        .fallback(echo)
        .layer(DefaultBodyLimit::disable());
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, router).await
}

/// Serves the identity of gRPC for ever.
pub(super) async fn grpc(listener: TcpListener) -> io::Result<()> {
    let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = tonic::transport::Server::builder().add_service(Identity);
    server
        .serve_with_incoming(incoming)
        .await
        .map_err(io::Error::other)
}

/// What `tonic-build` writes for a service of one method, written out.
#[derive(Debug, Clone)]
struct Identity;

impl NamedService for Identity {
    const NAME: &'static str = "inference.GRPCInferenceService";
}

impl Service<http::Request<Body>> for Identity {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let codec = ProstCodec::default();
            let mut grpc = Grpc::new(codec).max_decoding_message_size(MOST);
            Ok(grpc.unary(Self, request).await)
        })
    }
}

impl UnaryService<ModelInferRequest> for Identity {
    type Response = ModelInferResponse;
    type Future = BoxFuture<Response<ModelInferResponse>, Status>;

    fn call(&mut self, request: Request<ModelInferRequest>) -> Self::Future {
        Box::pin(async move { Ok(Response::new(returned(request.into_inner()))) })
    }
}

fn returned(request: ModelInferRequest) -> ModelInferResponse {
    let inputs = request.inputs.into_iter();
    let outputs = inputs.map(|input| InferOutputTensor {
        name: input.name,
        datatype: input.datatype,
        shape: input.shape,
        parameters: input.parameters,
        contents: input.contents,
    });
    ModelInferResponse {
        model_name: request.model_name,
        model_version: request.model_version,
        id: request.id,
        outputs: outputs.collect(),
        raw_output_contents: request.raw_input_contents,
        ..ModelInferResponse::default()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::Duration;

    use super::super::host::Host;
    use super::super::load::{self, Bounds, Load};
    use super::super::request;
    use super::super::sample::Declared;
    use super::super::stream::Way;
    use super::super::work::Wire;
    use super::*;

    /// Starts a floor in this process, for as long as the test runs.
    fn start(grpc: bool) -> SocketAddr {
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                match grpc {
                    true => super::grpc(listener).await.unwrap(),
                    false => super::rest(listener).await.unwrap(),
                }
            });
        });
        told.recv().unwrap()
    }

    fn failures(wire: Wire, elements: usize) -> (u64, Option<String>) {
        let address = start(wire == Wire::Grpc);
        let inputs = [Declared::new("x", "FP32", vec![-1]).unwrap().fill(elements)];
        let ask = request::build(wire, &Host::of_address(address), "identity", &inputs);
        let load = Load {
            connections: 3,
            rate: None,
            bounds: Bounds::default(),
            warm_up: Duration::from_millis(50),
            measure: Duration::from_secs(1),
            cpus: Vec::new(),
        };
        let measured = load::run(&load, &Way::plain(address), &ask, None, |_, _| {}).unwrap();
        // How many there are in that time is the machine's business.
        assert!(measured.answers > 0, "{measured:?}");
        (measured.failures, measured.first_failure)
    }

    #[test]
    fn the_floors_answer_small_requests_without_a_failure() {
        for wire in [Wire::Json, Wire::Grpc] {
            assert_eq!(failures(wire, 16), (0, None), "{wire:?}");
        }
    }

    #[test]
    fn a_message_larger_than_the_windows_of_http_2_goes_through() {
        assert_eq!(failures(Wire::Grpc, 1_000_000), (0, None));
    }

    #[test]
    fn a_large_body_goes_through() {
        assert_eq!(failures(Wire::Binary, 1_000_000), (0, None));
    }
}
