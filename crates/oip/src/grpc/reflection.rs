//! Reflection: what this server's services and messages are, for tools such as `grpcurl`.
//!
//! Source: gRPC's `reflection.proto`, versions v1 and v1alpha, which differ in name alone.

use std::sync::Arc;

use futures_util::stream;
use oip_protocol::error::excerpt;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_reflection::pb;

use super::descriptors::Descriptors;
use super::generated::grpc_inference_service_server::SERVICE_NAME;
use super::message::Arriving;
use super::stream::{Boxed, next_message};
use super::{DESCRIPTOR, methods, respond};
use crate::door::Door;

/// Largest request: the name of a symbol.
const REQUEST: usize = 64 << 10;

/// Adds reflection in both versions that clients speak.
pub(super) fn add_to(routes: Routes, door: &Arc<Door>) -> Routes {
    let descriptors = match descriptors() {
        Ok(descriptors) => Arc::new(descriptors),
        Err(error) => {
            // The descriptors are our own and a test reads them, so this does not come to pass.
            tracing::error!(%error, "the descriptors cannot be read; reflection is not served");
            return routes;
        }
    };
    let reflection = Reflection {
        descriptors,
        door: Arc::clone(door),
    };
    let v1 = pb::v1::server_reflection_server::ServerReflectionServer::new(reflection.clone());
    let alpha = pb::v1alpha::server_reflection_server::ServerReflectionServer::new(reflection);
    routes
        .add_service(v1.max_decoding_message_size(REQUEST))
        .add_service(alpha.max_decoding_message_size(REQUEST))
}

/// The file that holds the service under the original's name.
const ORIGINAL_FILE: &str = "open_inference_grpc_original.proto";

fn descriptors() -> Result<Descriptors, prost::DecodeError> {
    let mut descriptors = Descriptors::read(&[
        DESCRIPTOR,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        pb::v1::FILE_DESCRIPTOR_SET,
        pb::v1alpha::FILE_DESCRIPTOR_SET,
    ])?;
    descriptors.name_also(SERVICE_NAME, methods::ORIGINAL_NAME, ORIGINAL_FILE)?;
    Ok(descriptors)
}

#[derive(Clone)]
struct Reflection {
    descriptors: Arc<Descriptors>,
    door: Arc<Door>,
}

/// What is asked for cannot be had: an answer on the stream, not the end of it.
struct Lack(Code, String);

impl Reflection {
    fn file(&self, name: &str) -> Result<Vec<u8>, Lack> {
        self.descriptors.file(name).ok_or_else(|| {
            let sentence = format!("there is no file '{}'", excerpt(name));
            Lack(Code::NotFound, sentence)
        })
    }

    fn file_of(&self, symbol: &str) -> Result<Vec<u8>, Lack> {
        self.descriptors.file_of(symbol).ok_or_else(|| {
            let sentence = format!("there is no symbol '{}'", excerpt(symbol));
            Lack(Code::NotFound, sentence)
        })
    }
}

macro_rules! reflection {
    ($version:ident) => {
        mod $version {
            use super::*;
            use tonic_reflection::pb::$version::server_reflection_request::MessageRequest;
            use tonic_reflection::pb::$version::server_reflection_response::MessageResponse;
            use tonic_reflection::pb::$version::server_reflection_server::ServerReflection;
            use tonic_reflection::pb::$version::{
                ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse,
                ListServiceResponse, ServerReflectionRequest, ServerReflectionResponse,
                ServiceResponse,
            };

            fn file(found: Vec<u8>) -> MessageResponse {
                MessageResponse::FileDescriptorResponse(FileDescriptorResponse {
                    file_descriptor_proto: vec![found],
                })
            }

            impl Reflection {
                fn $version(&self, request: ServerReflectionRequest) -> ServerReflectionResponse {
                    let found = match &request.message_request {
                        Some(MessageRequest::FileByFilename(name)) => self.file(name).map(file),
                        Some(MessageRequest::FileContainingSymbol(symbol)) => {
                            self.file_of(symbol).map(file)
                        }
                        Some(MessageRequest::FileContainingExtension(_)) => {
                            let sentence = "there are no extensions here".to_owned();
                            Err(Lack(Code::NotFound, sentence))
                        }
                        Some(MessageRequest::AllExtensionNumbersOfType(name)) => {
                            // There are none of any type: an empty list, for a type that is here.
                            self.file_of(name).map(|_| {
                                let none = ExtensionNumberResponse {
                                    base_type_name: name.clone(),
                                    extension_number: Vec::new(),
                                };
                                MessageResponse::AllExtensionNumbersResponse(none)
                            })
                        }
                        Some(MessageRequest::ListServices(_)) => {
                            let names = self.descriptors.services().iter().cloned();
                            let service = names.map(|name| ServiceResponse { name }).collect();
                            let services = ListServiceResponse { service };
                            Ok(MessageResponse::ListServicesResponse(services))
                        }
                        None => {
                            let sentence = "the request asks for nothing".to_owned();
                            Err(Lack(Code::InvalidArgument, sentence))
                        }
                    };
                    let answer = found.unwrap_or_else(|Lack(code, error_message)| {
                        MessageResponse::ErrorResponse(ErrorResponse {
                            error_code: code.into(),
                            error_message,
                        })
                    });
                    ServerReflectionResponse {
                        valid_host: request.host.clone(),
                        original_request: Some(request),
                        message_response: Some(answer),
                    }
                }
            }

            #[tonic::async_trait]
            impl ServerReflection for Reflection {
                type ServerReflectionInfoStream = Boxed<ServerReflectionResponse>;

                async fn server_reflection_info(
                    &self,
                    request: Request<Streaming<ServerReflectionRequest>>,
                ) -> Result<Response<Boxed<ServerReflectionResponse>>, Status> {
                    let arriving = request.extensions().get::<Arriving>().cloned();
                    let arriving = arriving.unwrap_or_default();
                    let talk = Some((self.clone(), request.into_inner(), arriving));
                    let answers = stream::unfold(talk, async |talk| {
                        let (reflection, mut requests, arriving) = talk?;
                        let dataplane = &reflection.door.dataplane;
                        match next_message(dataplane, requests.message(), &arriving).await {
                            Ok(request) => {
                                let answer = reflection.$version(request?);
                                Some((Ok(answer), Some((reflection, requests, arriving))))
                            }
                            Err(status) => Some((Err(respond::by_the_table(status)), None)),
                        }
                    });
                    Ok(Response::new(Box::pin(answers)))
                }
            }
        }
    };
}

reflection!(v1);
reflection!(v1alpha);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptors_hold_every_service_and_its_messages() {
        let descriptors = descriptors().unwrap();
        assert_eq!(
            descriptors.services(),
            [
                "inference.GRPCInferenceService",
                "grpc.health.v1.Health",
                "grpc.reflection.v1.ServerReflection",
                "grpc.reflection.v1alpha.ServerReflection",
                "inference.GrpcInferenceService",
            ]
        );
        for symbol in [
            "inference.GRPCInferenceService.ModelInfer",
            "inference.ModelInferRequest.InferInputTensor.contents",
            "inference.TYPE_BF16",
            "inference.GrpcInferenceService.ModelInfer",
            "grpc.health.v1.HealthCheckResponse",
        ] {
            assert!(descriptors.file_of(symbol).is_some(), "{symbol}");
        }
        assert!(descriptors.file_of("inference.Nothing").is_none());
        assert!(descriptors.file("model_config.proto").is_some());
    }
}
