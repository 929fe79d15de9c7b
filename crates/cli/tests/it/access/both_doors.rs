//! The same question through REST and through gRPC.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use oip::grpc::generated_client::grpc_inference_service_client::GrpcInferenceServiceClient;
use oip::grpc::messages::{
    ModelMetadataRequest, ModelStatisticsRequest, RepositoryIndexRequest,
    RepositoryModelLoadRequest, RepositoryModelUnloadRequest, ServerLiveRequest,
    ServerMetadataRequest, ServerReadyRequest,
};
use tonic::{Code, Request, Status};

use crate::running::{PATIENCE, Running};

/// What is asked for.
#[derive(Debug)]
pub(crate) enum Ask {
    Live,
    Ready,
    Server,
    Index,
    Statistics,
    Metadata(&'static str),
    Load(&'static str),
    Unload(&'static str),
}

impl Ask {
    pub(crate) fn metadata(model: &'static str) -> Self {
        Self::Metadata(model)
    }

    pub(crate) fn load(model: &'static str) -> Self {
        Self::Load(model)
    }

    pub(crate) fn unload(model: &'static str) -> Self {
        Self::Unload(model)
    }
}

/// What is answered, in words for both doors.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Yes,
    WhoAreYou,
    No,
    NotFound,
    NotNow,
    Else(String),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Door {
    Rest,
    Grpc,
}

impl Door {
    pub(crate) const BOTH: [Self; 2] = [Self::Rest, Self::Grpc];

    pub(crate) fn ask(self, server: &Running, ask: &Ask, authorization: &[&str]) -> Said {
        match self {
            Self::Rest => {
                let (method, path) = route(ask);
                let (status, body) = rest(server, method, &path, authorization, "");
                match status {
                    200 => Said::Yes,
                    401 => Said::WhoAreYou,
                    403 => Said::No,
                    404 => Said::NotFound,
                    503 => Said::NotNow,
                    _ => Said::Else(format!("{status} {body}")),
                }
            }
            Self::Grpc => match grpc(server, ask, authorization) {
                Ok(()) => Said::Yes,
                Err(status) => match status.code() {
                    Code::Unauthenticated => Said::WhoAreYou,
                    Code::PermissionDenied => Said::No,
                    Code::NotFound => Said::NotFound,
                    Code::Unavailable => Said::NotNow,
                    _ => Said::Else(status.to_string()),
                },
            },
        }
    }
}

fn route(ask: &Ask) -> (&'static str, String) {
    let (method, path) = match ask {
        Ask::Live => ("GET", "health/live".to_owned()),
        Ask::Ready => ("GET", "health/ready".to_owned()),
        Ask::Server => return ("GET", "/v2".to_owned()),
        Ask::Index => ("POST", "repository/index".to_owned()),
        Ask::Statistics => ("GET", "models/stats".to_owned()),
        Ask::Metadata(model) => ("GET", format!("models/{model}")),
        Ask::Load(model) => ("POST", format!("repository/models/{model}/load")),
        Ask::Unload(model) => ("POST", format!("repository/models/{model}/unload")),
    };
    (method, format!("/v2/{path}"))
}

/// A whole answer of the REST door, its head included.
pub(crate) fn raw(
    server: &Running,
    method: &str,
    path: &str,
    authorization: &[&str],
    more: &str,
) -> String {
    let mut stream = TcpStream::connect(server.rest).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}");
    for value in authorization {
        head.push_str(&format!("Authorization: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Status and body of an answer of the REST door. `more` are further header lines.
pub(crate) fn rest(
    server: &Running,
    method: &str,
    path: &str,
    authorization: &[&str],
    more: &str,
) -> (u16, String) {
    let answer = raw(server, method, path, authorization, more);
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status.unwrap_or(0), body.to_owned())
}

fn with<T>(message: T, authorization: &[&str]) -> Request<T> {
    let mut request = Request::new(message);
    for value in authorization {
        let value = value.parse().unwrap();
        request.metadata_mut().append("authorization", value);
    }
    request
}

fn grpc(server: &Running, ask: &Ask, authorization: &[&str]) -> Result<(), Status> {
    let url = format!("http://{}", server.rest);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let channel = tonic::transport::Channel::from_shared(url).unwrap();
        let channel = channel.connect().await.unwrap();
        call(GrpcInferenceServiceClient::new(channel), ask, authorization).await
    })
}

async fn call(
    mut client: GrpcInferenceServiceClient<tonic::transport::Channel>,
    ask: &Ask,
    authorization: &[&str],
) -> Result<(), Status> {
    match ask {
        Ask::Live => {
            let request = with(ServerLiveRequest::default(), authorization);
            client.server_live(request).await.map(drop)
        }
        Ask::Ready => {
            let request = with(ServerReadyRequest::default(), authorization);
            client.server_ready(request).await.map(drop)
        }
        Ask::Server => {
            let request = with(ServerMetadataRequest::default(), authorization);
            client.server_metadata(request).await.map(drop)
        }
        Ask::Index => {
            let request = with(RepositoryIndexRequest::default(), authorization);
            client.repository_index(request).await.map(drop)
        }
        Ask::Statistics => {
            let request = with(ModelStatisticsRequest::default(), authorization);
            client.model_statistics(request).await.map(drop)
        }
        Ask::Metadata(model) => {
            let message = ModelMetadataRequest {
                name: (*model).to_owned(),
                ..ModelMetadataRequest::default()
            };
            client
                .model_metadata(with(message, authorization))
                .await
                .map(drop)
        }
        Ask::Load(model) => {
            let message = RepositoryModelLoadRequest {
                model_name: (*model).to_owned(),
                ..RepositoryModelLoadRequest::default()
            };
            let request = with(message, authorization);
            client.repository_model_load(request).await.map(drop)
        }
        Ask::Unload(model) => {
            let message = RepositoryModelUnloadRequest {
                model_name: (*model).to_owned(),
                ..RepositoryModelUnloadRequest::default()
            };
            let request = with(message, authorization);
            client.repository_model_unload(request).await.map(drop)
        }
    }
}
