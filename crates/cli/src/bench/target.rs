//! Where a server is, and what it says of its model.

use std::io;
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use oip::grpc::messages::{ModelInferRequest, ModelInferResponse};
use oip::grpc::messages::{ModelMetadataRequest, ModelMetadataResponse};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use super::answer::Answer;
use super::host::Host;
use super::sample::Declared;
use super::{BenchError, http1, request};
use crate::credential::Credential;

/// Largest answer that is read for the check; a model may return more than it was given.
const MOST_ANSWER: usize = 1 << 30;
/// How long a model may take to become ready.
const LOADING: Duration = Duration::from_secs(30);
/// How long an answer is waited for before anything is measured, connecting included.
const PATIENCE: Duration = Duration::from_secs(30);

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

    /// The same server, asked with a credential.
    pub(super) fn showing(mut self, credential: &Credential) -> Self {
        for host in [&mut self.rest, &mut self.grpc].into_iter().flatten() {
            host.shown = Some(credential.clone());
        }
        self
    }

    /// The same server by the addresses that somebody listens at.
    pub(super) fn reached(self) -> Self {
        Self {
            rest: self.rest.map(Host::reached),
            grpc: self.grpc.map(Host::reached),
            ..self
        }
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
    let asked = async {
        let mut connection = http1::Connection::open(&host.way).await?;
        connection.ask(request, true).await
    };
    let answer = in_time(host, asked).await?;
    answer.map_err(|error| BenchError::Reach {
        address: host.authority.clone(),
        why: error.to_string(),
    })
}

/// What comes of asking a server, which may take a connection and say nothing.
async fn in_time<T>(host: &Host, asked: impl Future<Output = T>) -> Result<T, BenchError> {
    let answer = tokio::time::timeout(PATIENCE, asked).await;
    answer.map_err(|_| BenchError::Silent {
        address: host.authority.clone(),
        seconds: PATIENCE.as_secs(),
    })
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
    let asked = async {
        let reach = |error: tonic::transport::Error| BenchError::Reach {
            address: host.authority.clone(),
            why: cause(&error),
        };
        let channel = connect(host).await.map_err(reach)?;
        let mut client = Grpc::new(channel).max_decoding_message_size(MOST_ANSWER);
        client.ready().await.map_err(reach)?;
        let codec = ProstCodec::<Request, Response>::default();
        let mut request = tonic::Request::new(message);
        if let Some(shown) = &host.shown
            && let Ok(value) = shown.value.parse()
        {
            request.metadata_mut().insert(shown.header, value);
        }
        let path = PathAndQuery::from_static(path);
        let answer = client.unary(request, path, codec).await;
        let answer = answer.map_err(|status| BenchError::Refused {
            code: status.code(),
            message: status.message().to_owned(),
        })?;
        Ok(answer.into_inner())
    };
    in_time(host, asked).await?
}

/// Connects by the way that the load will take, with the `:authority` that it will have.
async fn connect(host: &Host) -> Result<Channel, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(host.origin())?;
    let way = host.way.clone();
    let connector = tower::service_fn(move |_| {
        let way = way.clone();
        async move { Ok::<_, io::Error>(TokioIo::new(way.connect().await?.into_io())) }
    });
    endpoint.connect_with_connector(connector).await
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
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::*;

    /// The clock is made to run ahead while everybody waits.
    #[tokio::test(start_paused = true)]
    async fn a_server_that_takes_connections_and_says_nothing_is_given_up_on() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let host = Host::of_address(listener.local_addr().unwrap());
        let mut taken = Vec::new();
        let takes = async {
            loop {
                taken.push(listener.accept().await.unwrap());
            }
        };
        let asked = async {
            let request = request::get(&host, "/v2");
            let rest = once(&host, &request).await.unwrap_err();
            let grpc = infer(&host, ModelInferRequest::default()).await;
            [rest.to_string(), grpc.unwrap_err().to_string()]
        };
        let errors = tokio::select! {
            () = takes => unreachable!("it takes connections for ever"),
            errors = asked => errors,
        };
        for error in errors {
            assert!(error.contains("no answer within 30 s"), "{error}");
        }
        assert!(!taken.is_empty());
    }
}
