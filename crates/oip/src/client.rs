//! A client in Rust, over gRPC.

use oip_protocol::proto::generated::{ModelMetadataRequest, ModelReadyRequest};
use oip_protocol::proto::{self, ContentsForm};
use oip_protocol::{
    DecodeLimits, Error, ErrorKind, InferRequest, InferResponse, ModelMetadata, ModelRef, Result,
};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::grpc::generated_client::grpc_inference_service_client::GrpcInferenceServiceClient;

/// Asks an Open Inference Protocol server over gRPC: this one or any other.
///
/// Tensors travel raw and are slices of the message as it came, so they may lie unaligned: read them
/// by [`Tensor::to_slice`](crate::Tensor::to_slice). Cloning shares the connection.
///
/// ```no_run
/// use oip::client::Client;
/// use oip::{InferRequest, ModelRef, Tensor};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::connect("http://localhost:8081").await?;
/// let flower = Tensor::from_vec("input", [1, 4], vec![5.1_f32, 3.5, 1.4, 0.2])?;
/// let answer = client.infer(ModelRef::new("iris"), InferRequest::new([flower])).await?;
/// assert_eq!(answer.output("label").unwrap().to_slice::<i64>()?, &[0][..]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    stub: GrpcInferenceServiceClient<Channel>,
}

/// Largest message that is taken, in bytes: as the server's default.
const LARGEST_MESSAGE: usize = 64 << 20;

impl Client {
    /// Connects to a server, such as `http://localhost:8081`.
    ///
    /// # Errors
    /// `Malformed` for what is no address, `Unavailable` when nothing answers there.
    pub async fn connect(url: impl Into<String>) -> Result<Self> {
        let endpoint = Endpoint::from_shared(url.into())
            .map_err(|error| Error::malformed(format!("this is no address: {error}")))?;
        let channel = endpoint.connect().await.map_err(|error| {
            Error::unavailable("nothing answers at this address").caused_by(error)
        })?;
        Ok(Self::over(channel))
    }

    /// Asks over a channel that you made: by TLS, with a certificate of your own, with a deadline
    /// for every call.
    #[must_use]
    pub fn over(channel: Channel) -> Self {
        let stub = GrpcInferenceServiceClient::new(channel)
            .max_decoding_message_size(LARGEST_MESSAGE)
            .max_encoding_message_size(LARGEST_MESSAGE);
        Self { stub }
    }

    /// Runs a model.
    ///
    /// # Errors
    /// What the server answers, by its code; `Malformed` for an answer that is none.
    pub async fn infer(&self, model: ModelRef, request: InferRequest) -> Result<InferResponse> {
        let message = proto::encode_request(model, request, ContentsForm::Raw);
        let mut stub = self.stub.clone();
        let answer = stub
            .model_infer(message)
            .await
            .map_err(|status| error(&status))?;
        let (response, _) = proto::decode_response(answer.into_inner(), &DecodeLimits::default())?;
        Ok(response)
    }

    /// What a model declares.
    ///
    /// # Errors
    /// As [`infer`](Self::infer).
    pub async fn metadata(&self, model: ModelRef) -> Result<ModelMetadata> {
        let message = ModelMetadataRequest {
            name: model.name,
            version: model.version.unwrap_or_default(),
        };
        let mut stub = self.stub.clone();
        let answer = stub
            .model_metadata(message)
            .await
            .map_err(|status| error(&status))?;
        Ok(proto::decode_model_metadata(answer.into_inner())?)
    }

    /// Whether a model can answer now.
    ///
    /// # Errors
    /// As [`infer`](Self::infer); an unknown model is an answer, not an error.
    pub async fn ready(&self, model: ModelRef) -> Result<bool> {
        let message = ModelReadyRequest {
            name: model.name,
            version: model.version.unwrap_or_default(),
        };
        let mut stub = self.stub.clone();
        let answer = stub
            .model_ready(message)
            .await
            .map_err(|status| error(&status))?;
        Ok(answer.into_inner().ready)
    }
}

/// A status as the error it was made of, as far as its code tells.
fn error(status: &Status) -> Error {
    let code = status.code() as i32;
    let kind = match status.code() {
        // Two outcomes share this code; the commoner one.
        Code::Unimplemented => Some(ErrorKind::NotImplemented),
        _ => ErrorKind::ALL
            .into_iter()
            .find(|kind| kind.grpc_code() == code),
    };
    match kind {
        Some(kind) => Error::new(kind, status.message().to_owned()),
        None => Error::new(ErrorKind::HandlerFailed, status.message().to_owned())
            .caused_by(status.code()),
    }
}
