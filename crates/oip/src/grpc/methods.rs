//! The methods of the door, by path.

use std::borrow::Cow;

use oip_core::Action;
use oip_protocol::error::excerpt;
use oip_protocol::{Error, ErrorKind};

use super::generated::grpc_inference_service_server::SERVICE_NAME;

/// The name under which the Python original serves.
pub(super) const ORIGINAL_NAME: &str = "inference.GrpcInferenceService";
/// The name of the health service.
pub(super) const HEALTH: &str = "grpc.health.v1.Health";
/// The names of the reflection service.
const REFLECTION: [&str; 2] = [
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// What stands behind a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// A call of the inference service that asks for this.
    Call(Action),
    /// A probe, of the inference service.
    Probe(Action),
    /// A probe, of the health service.
    Health,
    /// Reflection.
    Reflection,
    /// A call of an extension that is not served.
    Absent(&'static str),
}

impl Method {
    /// What a caller must be permitted.
    pub(super) fn action(&self) -> Option<Action> {
        match self {
            Self::Call(action) | Self::Probe(action) => Some(*action),
            Self::Health => Some(Action::Ready),
            Self::Reflection => Some(Action::Reflection),
            Self::Absent(_) => None,
        }
    }
}

/// The path as the stubs know it: the original's name of the service is another's alias.
pub(super) fn canonical(path: &str) -> Cow<'_, str> {
    let method = path
        .strip_prefix('/')
        .and_then(|path| path.strip_prefix(ORIGINAL_NAME))
        .and_then(|rest| rest.strip_prefix('/'));
    match method {
        Some(method) => format!("/{SERVICE_NAME}/{method}").into(),
        None => path.into(),
    }
}

/// Whether a canonical path is a stream of requests.
pub(super) fn is_stream(path: &str) -> bool {
    path.ends_with("/ModelStreamInfer") || path.ends_with("/ServerReflectionInfo")
}

/// Whether a call of a canonical path lives as long as its caller likes.
pub(super) fn may_rest(path: &str) -> bool {
    is_stream(path) || path.ends_with("/Watch")
}

/// What stands behind a canonical path.
///
/// # Errors
/// `UNIMPLEMENTED` when nothing does.
pub(super) fn find(path: &str) -> Result<Method, Error> {
    let parts = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    let Some((service, method)) = parts else {
        return Err(unknown(format!(
            "'{}' is no gRPC method: /service/method was expected",
            excerpt(path)
        )));
    };
    let found = match service {
        SERVICE_NAME => inference(method),
        HEALTH => matches!(method, "Check" | "Watch").then_some(Method::Health),
        service if REFLECTION.contains(&service) => {
            (method == "ServerReflectionInfo").then_some(Method::Reflection)
        }
        _ => {
            return Err(unknown(format!(
                "there is no service '{}' here, but {SERVICE_NAME}, {HEALTH} and {}",
                excerpt(service),
                REFLECTION.join(", ")
            )));
        }
    };
    found.ok_or_else(|| {
        unknown(format!(
            "the service {service} has no method '{}'",
            excerpt(method)
        ))
    })
}

fn inference(method: &str) -> Option<Method> {
    Some(match method {
        "ServerLive" => Method::Probe(Action::Live),
        "ServerReady" => Method::Probe(Action::Ready),
        "ModelReady" => Method::Call(Action::Ready),
        "ServerMetadata" => Method::Call(Action::ServerMetadata),
        "ModelMetadata" => Method::Call(Action::Metadata),
        "ModelInfer" | "ModelStreamInfer" => Method::Call(Action::Infer),
        "ModelConfig" => Method::Call(Action::Config),
        "ModelStatistics" => Method::Call(Action::Statistics),
        "RepositoryIndex" => Method::Call(Action::Index),
        "RepositoryModelLoad" => Method::Call(Action::Load),
        "RepositoryModelUnload" => Method::Call(Action::Unload),
        "SystemSharedMemoryStatus"
        | "SystemSharedMemoryRegister"
        | "SystemSharedMemoryUnregister" => Method::Absent("system_shared_memory"),
        "CudaSharedMemoryStatus" | "CudaSharedMemoryRegister" | "CudaSharedMemoryUnregister" => {
            Method::Absent("cuda_shared_memory")
        }
        "TraceSetting" => Method::Call(Action::Trace),
        "LogSettings" => Method::Call(Action::Logging),
        _ => return None,
    })
}

/// The refusal of a call of an extension that is not served.
pub(super) fn absent(extension: &str) -> Error {
    Error::new(
        ErrorKind::NoSuchExtension,
        format!("the extension '{extension}' does not work on this server"),
    )
}

fn unknown(sentence: String) -> Error {
    Error::new(ErrorKind::MethodNotAllowed, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_originals_name_is_an_alias_of_the_service_and_of_nothing_longer() {
        let path = canonical("/inference.GrpcInferenceService/ModelInfer");
        assert_eq!(path, "/inference.GRPCInferenceService/ModelInfer");
        for path in [
            "/inference.GrpcInferenceServices/ModelInfer",
            "/x/inference.GrpcInferenceService/ModelInfer",
            "/inference.GrpcInferenceService",
        ] {
            assert_eq!(canonical(path), path);
        }
    }

    #[test]
    fn every_method_of_the_service_is_known() {
        for method in declared_methods() {
            let path = format!("/{SERVICE_NAME}/{method}");
            assert!(find(&path).is_ok(), "{path}");
        }
    }

    /// The methods that the generated server answers, read from its source.
    fn declared_methods() -> Vec<&'static str> {
        let source = include_str!("generated.rs");
        let prefix = "\"/inference.GRPCInferenceService/";
        let methods = source.match_indices(prefix).map(|(at, _)| {
            let rest = &source[at + prefix.len()..];
            rest.split('"').next().unwrap()
        });
        let methods: Vec<_> = methods.collect();
        assert_eq!(methods.len(), 20);
        methods
    }

    #[test]
    fn what_is_not_there_is_named() {
        let message = |path: &str| find(path).unwrap_err().to_string();
        assert!(message("/a.B/C").starts_with("there is no service 'a.B' here"));
        assert_eq!(
            message("/inference.GRPCInferenceService/Guess"),
            "the service inference.GRPCInferenceService has no method 'Guess'"
        );
        assert!(message("/v2").starts_with("'/v2' is no gRPC method"));
    }
}
