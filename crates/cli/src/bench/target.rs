//! Where a server is, and what it says of its model.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use oip::grpc::messages::{ModelInferRequest, ModelInferResponse};
use oip::grpc::messages::{ModelMetadataRequest, ModelMetadataResponse};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use super::answer::Answer;
use super::sample::Declared;
use super::{BenchError, http1, request};

/// Largest answer that is read for the check; a model may return more than it was given.
const MOST_ANSWER: usize = 1 << 30;
/// How long a model may take to become ready.
const LOADING: Duration = Duration::from_secs(30);

/// One door of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) address: SocketAddr,
    /// As the `Host` header has it.
    pub(super) authority: String,
    /// A path before `/v2`, without its last slash.
    pub(super) prefix: String,
    /// The credential that is shown with every request, as the `Authorization` header has it.
    pub(super) authorization: Option<String>,
}

impl Host {
    /// Reads `http://host:port` (`http://` may be missing), with a path before `/v2` if any.
    pub(super) fn parse(url: &str) -> Result<Self, BenchError> {
        let refuse = |why: &str| BenchError::Url {
            url: url.to_owned(),
            why: why.to_owned(),
        };
        let rest = match url.split_once("://") {
            Some(("http" | "grpc", rest)) => rest,
            Some(_) => return Err(refuse("only http:// can be measured")),
            None => url,
        };
        let (authority, prefix) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        let with_port = match authority.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => authority.to_owned(),
            _ => format!("{authority}:80"),
        };
        let mut addresses = with_port
            .to_socket_addrs()
            .map_err(|error| refuse(&error.to_string()))?;
        Ok(Self {
            address: addresses.next().ok_or_else(|| refuse("no such host"))?,
            authority: authority.to_owned(),
            prefix: prefix.trim_end_matches('/').to_owned(),
            authorization: None,
        })
    }

    /// A door on loopback.
    pub(super) fn of_address(address: SocketAddr) -> Self {
        Self {
            address,
            authority: address.to_string(),
            prefix: String::new(),
            authorization: None,
        }
    }
}

/// A server under measurement: its doors, as far as they are known.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// Its name in the report.
    pub(super) name: String,
    pub(super) rest: Option<Host>,
    pub(super) grpc: Option<Host>,
    /// Its process, where it runs on this machine and its CPU time is wanted.
    pub(super) process: Option<u32>,
}

impl Target {
    /// A server whose doors are not known yet.
    pub(super) fn nowhere(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            rest: None,
            grpc: None,
            process: None,
        }
    }

    /// The same server, asked with a bearer token.
    pub(super) fn with_token(mut self, token: &str) -> Self {
        for host in [&mut self.rest, &mut self.grpc].into_iter().flatten() {
            host.authorization = Some(format!("Bearer {token}"));
        }
        self
    }

    /// The door that a kind of request goes through.
    pub(super) fn host(&self, grpc: bool) -> Option<&Host> {
        match grpc {
            true => self.grpc.as_ref(),
            false => self.rest.as_ref(),
        }
    }

    /// The inputs that a model declares, asked of the REST door, or of the gRPC door where there
    /// is no other.
    pub(super) async fn inputs(&self, model: &str) -> Result<Vec<Declared>, BenchError> {
        let inputs = match (&self.rest, &self.grpc) {
            (Some(host), _) => rest_inputs(host, model).await?,
            (None, Some(host)) => grpc_inputs(host, model).await?,
            (None, None) => None,
        };
        let inputs = inputs.filter(|inputs| !inputs.is_empty());
        inputs.ok_or_else(|| BenchError::Metadata {
            model: model.to_owned(),
            why: "it names no inputs that can be made".to_owned(),
        })
    }
}

async fn rest_inputs(host: &Host, model: &str) -> Result<Option<Vec<Declared>>, BenchError> {
    let refuse = |why: String| BenchError::Metadata {
        model: model.to_owned(),
        why,
    };
    let request = request::get(host, &request::model_path(model, ""));
    let mut answer = once(host, &request).await?;
    let asked = Instant::now();
    while answer.status == 503 && asked.elapsed() < LOADING {
        tokio::time::sleep(Duration::from_millis(20)).await;
        answer = once(host, &request).await?;
    }
    if answer.status != 200 {
        return Err(refuse(answer.complaint()));
    }
    let metadata = serde_json::from_slice(&answer.body);
    let metadata = metadata.map_err(|error| refuse(error.to_string()))?;
    Ok(Declared::of_metadata(&metadata))
}

async fn grpc_inputs(host: &Host, model: &str) -> Result<Option<Vec<Declared>>, BenchError> {
    let request = ModelMetadataRequest {
        name: model.to_owned(),
        ..ModelMetadataRequest::default()
    };
    let path = "/inference.GRPCInferenceService/ModelMetadata";
    let metadata: ModelMetadataResponse = call(host, path, request).await?;
    let inputs = metadata.inputs.into_iter();
    Ok(inputs
        .map(|input| Declared::new(&input.name, &input.datatype, input.shape))
        .collect())
}

/// Sends one request over a connection of its own and keeps the whole answer.
pub(super) async fn once(host: &Host, request: &[u8]) -> Result<Answer, BenchError> {
    let reach = |why: String| BenchError::Reach {
        address: host.authority.clone(),
        why,
    };
    let connection = http1::Connection::open(host.address).await;
    let mut connection = connection.map_err(|error| reach(error.to_string()))?;
    let answer = connection.ask(request, true).await;
    answer.map_err(|error| reach(error.to_string()))
}

/// Runs a model by gRPC, with tonic's own client.
pub(super) async fn infer(
    host: &Host,
    message: ModelInferRequest,
) -> Result<ModelInferResponse, BenchError> {
    call(host, request::MODEL_INFER, message).await
}

async fn call<Request, Response>(
    host: &Host,
    path: &'static str,
    message: Request,
) -> Result<Response, BenchError>
where
    Request: prost::Message + Default + 'static,
    Response: prost::Message + Default + 'static,
{
    let reach = |error: tonic::transport::Error| BenchError::Reach {
        address: host.authority.clone(),
        why: cause(&error),
    };
    let endpoint = Endpoint::from_shared(format!("http://{}", host.address)).map_err(reach)?;
    let channel: Channel = endpoint.connect().await.map_err(reach)?;
    let mut client = Grpc::new(channel).max_decoding_message_size(MOST_ANSWER);
    let refused = |status: tonic::Status| BenchError::Refused {
        code: status.code(),
        message: status.message().to_owned(),
    };
    client.ready().await.map_err(reach)?;
    let codec = ProstCodec::<Request, Response>::default();
    let path = PathAndQuery::from_static(path);
    let mut request = tonic::Request::new(message);
    let shown = host.authorization.as_deref().map(str::parse);
    if let Some(Ok(shown)) = shown {
        request.metadata_mut().insert("authorization", shown);
    }
    let answer = client.unary(request, path, codec).await.map_err(refused)?;
    Ok(answer.into_inner())
}

/// The last cause of an error: what the system said.
fn cause(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let host = Host::parse("http://127.0.0.1:8000/serving/").unwrap();
        assert_eq!(host.address, ([127, 0, 0, 1], 8000).into());
        assert_eq!(host.authority, "127.0.0.1:8000");
        assert_eq!(host.prefix, "/serving");
    }

    #[test]
    fn scheme_and_port_may_be_missing() {
        assert_eq!(Host::parse("127.0.0.1").unwrap().address.port(), 80);
        assert_eq!(Host::parse("127.0.0.1:9").unwrap().address.port(), 9);
    }

    #[test]
    fn a_url_with_tls_is_refused_by_name() {
        let error = Host::parse("https://127.0.0.1:1").unwrap_err().to_string();
        assert!(error.contains("https://127.0.0.1:1"), "{error}");
    }
}
