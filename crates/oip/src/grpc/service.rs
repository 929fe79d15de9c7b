//! Every call of the inference service: authorize, ask the pipeline, encode.

use std::sync::Arc;

use oip_core::access::actions;
use oip_core::telemetry::Room;
use oip_core::validate::{check_load_parameter, check_unload_parameter};
use oip_core::{Caller, Dataplane, Permit};
use oip_protocol::proto::generated as pb;
use oip_protocol::proto::{self, ContentsForm, decode_model_ref};
use oip_protocol::{ErrorKind, InferResponse, Result};
use tokio::time::Instant;
use tonic::codec::CompressionEncoding;
use tonic::{Request, Response, Status};

use super::asked::Asked;
use super::generated::grpc_inference_service_server::{
    GrpcInferenceService, GrpcInferenceServiceServer,
};
use super::stream::Boxed;
use super::{methods, respond, settings};
use crate::door::Door;
use crate::telemetry::Watched;

/// The inference service of one server.
#[derive(Clone)]
pub(super) struct InferenceService {
    pub(super) door: Arc<Door>,
}

impl InferenceService {
    /// The stub around the service, with its limits.
    pub(super) fn server(self) -> GrpcInferenceServiceServer<Self> {
        let limit = self.door.options.body_limit;
        GrpcInferenceServiceServer::new(self)
            .max_decoding_message_size(limit)
            .accept_compressed(CompressionEncoding::Gzip)
    }

    fn dataplane(&self) -> &Dataplane {
        &self.door.dataplane
    }

    /// One inference. Who may not is told so before anything else of the message is.
    pub(super) async fn infer(
        &self,
        caller: &Caller,
        asked: Asked,
        deadline: Option<Instant>,
        watched: &mut Watched,
    ) -> Result<(InferResponse, ContentsForm)> {
        let model = asked.model?;
        watched.may_tell(Some(&model));
        let kept = (!self.dataplane().is_open()).then(|| model.clone());
        let entered = watched.enter();
        let permit = self.dataplane().authorize_model(caller, model).await;
        watched.leave(Room::Decide, entered);
        let permit: Permit<actions::Infer> = match permit {
            Ok(permit) => permit,
            Err(error) => {
                kept.iter().for_each(|model| watched.asks(model));
                return Err(error);
            }
        };
        let (request, form) = match asked.request {
            Ok(request) => request,
            Err(error) => {
                permit
                    .model()
                    .into_iter()
                    .for_each(|model| watched.asks(model));
                return Err(error.into());
            }
        };
        let response = self
            .dataplane()
            .infer_seen(permit, request, deadline, &mut watched.seen)
            .await?;
        watched.answered(&response.model_name, response.model_version.as_deref());
        Ok((response, form))
    }

    async fn is_ready(&self, caller: &Caller, message: pb::ModelReadyRequest) -> Result<bool> {
        let model = decode_model_ref(message.name, message.version)?;
        let permit = self.dataplane().authorize_model(caller, model).await?;
        match self.dataplane().model_ready(permit).await {
            Ok(ready) => Ok(ready),
            // Not ready is an answer, whatever keeps it from being so.
            Err(error) => match error.kind() {
                ErrorKind::NotFound | ErrorKind::Unavailable => Ok(false),
                _ => Err(error),
            },
        }
    }

    async fn metadata(
        &self,
        caller: &Caller,
        message: pb::ModelMetadataRequest,
    ) -> Result<pb::ModelMetadataResponse> {
        let model = decode_model_ref(message.name, message.version)?;
        let permit = self.dataplane().authorize_model(caller, model).await?;
        let metadata = self.dataplane().model_metadata(permit).await?;
        Ok(proto::encode_model_metadata(metadata))
    }

    async fn config(
        &self,
        caller: &Caller,
        message: pb::ModelConfigRequest,
    ) -> Result<pb::ModelConfigResponse> {
        let model = decode_model_ref(message.name, message.version)?;
        let permit = self.dataplane().authorize_model(caller, model).await?;
        let config = self.dataplane().model_config(permit).await?;
        Ok(proto::encode_model_config(config))
    }

    async fn statistics(
        &self,
        caller: &Caller,
        message: pb::ModelStatisticsRequest,
    ) -> Result<pb::ModelStatisticsResponse> {
        let dataplane = self.dataplane();
        let permit = match (message.name.is_empty(), message.version.is_empty()) {
            (true, true) => dataplane.authorize(caller).await?,
            _ => {
                let model = decode_model_ref(message.name, message.version)?;
                dataplane.authorize_model(caller, model).await?
            }
        };
        let statistics = dataplane.statistics(permit).await?;
        Ok(proto::encode_statistics(statistics))
    }

    async fn index(
        &self,
        caller: &Caller,
        message: pb::RepositoryIndexRequest,
    ) -> Result<pb::RepositoryIndexResponse> {
        let permit = self.dataplane().authorize(caller).await?;
        let entries = self.dataplane().repository_index(permit, message.ready);
        Ok(proto::encode_repository_index(entries.await?))
    }

    async fn load(
        &self,
        caller: &Caller,
        message: pb::RepositoryModelLoadRequest,
    ) -> Result<pb::RepositoryModelLoadResponse> {
        let model = decode_model_ref(message.model_name, String::new())?;
        let permit = self.dataplane().authorize_model(caller, model).await?;
        for name in message.parameters.keys() {
            check_load_parameter(name)?;
        }
        self.dataplane().load(permit).await?;
        Ok(pb::RepositoryModelLoadResponse {})
    }

    async fn unload(
        &self,
        caller: &Caller,
        message: pb::RepositoryModelUnloadRequest,
    ) -> Result<pb::RepositoryModelUnloadResponse> {
        let model = decode_model_ref(message.model_name, String::new())?;
        let permit = self.dataplane().authorize_model(caller, model).await?;
        for name in message.parameters.keys() {
            check_unload_parameter(name)?;
        }
        self.dataplane().unload(permit).await?;
        Ok(pb::RepositoryModelUnloadResponse {})
    }
}

/// The caller of a request that came through the gate, and its message.
///
/// # Errors
/// `INTERNAL` for one that did not come through: closed, not open.
fn arrived<T>(request: Request<T>) -> Result<(Caller, T), Status> {
    let Some(caller) = request.extensions().get::<Caller>().cloned() else {
        return Err(nobody());
    };
    Ok((caller, request.into_inner()))
}

/// A call without a caller: closed, not open.
fn nobody() -> Status {
    tracing::error!("a call came in without a caller");
    Status::internal("nobody has asked who is calling")
}

/// What became of a call, as an answer or a status.
fn answer<T>(result: Result<T>) -> Answer<T> {
    match result {
        Ok(message) => Ok(Response::new(message)),
        Err(error) => Err(respond::status(&error)),
    }
}

fn absent<T>(extension: &str) -> Answer<T> {
    Err(respond::status(&methods::absent(extension)))
}

/// Inferences are answered past the stubs. One comes here only where its encoding is not read, and
/// is refused for that before.
fn past_the_stubs<T>() -> Answer<T> {
    Err(Status::internal("inferences do not go this way"))
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl GrpcInferenceService for InferenceService {
    async fn server_live(
        &self,
        _: Request<pb::ServerLiveRequest>,
    ) -> Answer<pb::ServerLiveResponse> {
        let live = self.dataplane().live();
        answer(Ok(pb::ServerLiveResponse { live }))
    }

    async fn server_ready(
        &self,
        _: Request<pb::ServerReadyRequest>,
    ) -> Answer<pb::ServerReadyResponse> {
        let ready = self.dataplane().ready().await;
        answer(Ok(pb::ServerReadyResponse { ready }))
    }

    async fn model_ready(
        &self,
        request: Request<pb::ModelReadyRequest>,
    ) -> Answer<pb::ModelReadyResponse> {
        let (caller, message) = arrived(request)?;
        let ready = self.is_ready(&caller, message).await;
        answer(ready.map(|ready| pb::ModelReadyResponse { ready }))
    }

    async fn server_metadata(
        &self,
        request: Request<pb::ServerMetadataRequest>,
    ) -> Answer<pb::ServerMetadataResponse> {
        let (caller, ..) = arrived(request)?;
        let metadata = async {
            let permit = self.dataplane().authorize(&caller).await?;
            self.dataplane().server_metadata(permit).await
        };
        answer(metadata.await.map(proto::encode_server_metadata))
    }

    async fn model_metadata(
        &self,
        request: Request<pb::ModelMetadataRequest>,
    ) -> Answer<pb::ModelMetadataResponse> {
        let (caller, message) = arrived(request)?;
        answer(self.metadata(&caller, message).await)
    }

    async fn model_infer(
        &self,
        _: Request<pb::ModelInferRequest>,
    ) -> Answer<pb::ModelInferResponse> {
        past_the_stubs()
    }

    type ModelStreamInferStream = Boxed<pb::ModelStreamInferResponse>;

    async fn model_stream_infer(
        &self,
        _: Request<tonic::Streaming<pb::ModelInferRequest>>,
    ) -> Answer<Self::ModelStreamInferStream> {
        past_the_stubs()
    }

    async fn model_config(
        &self,
        request: Request<pb::ModelConfigRequest>,
    ) -> Answer<pb::ModelConfigResponse> {
        let (caller, message) = arrived(request)?;
        answer(self.config(&caller, message).await)
    }

    async fn model_statistics(
        &self,
        request: Request<pb::ModelStatisticsRequest>,
    ) -> Answer<pb::ModelStatisticsResponse> {
        let (caller, message) = arrived(request)?;
        answer(self.statistics(&caller, message).await)
    }

    async fn repository_index(
        &self,
        request: Request<pb::RepositoryIndexRequest>,
    ) -> Answer<pb::RepositoryIndexResponse> {
        let (caller, message) = arrived(request)?;
        answer(self.index(&caller, message).await)
    }

    async fn repository_model_load(
        &self,
        request: Request<pb::RepositoryModelLoadRequest>,
    ) -> Answer<pb::RepositoryModelLoadResponse> {
        let (caller, message) = arrived(request)?;
        answer(self.load(&caller, message).await)
    }

    async fn repository_model_unload(
        &self,
        request: Request<pb::RepositoryModelUnloadRequest>,
    ) -> Answer<pb::RepositoryModelUnloadResponse> {
        let (caller, message) = arrived(request)?;
        answer(self.unload(&caller, message).await)
    }

    async fn system_shared_memory_status(
        &self,
        _: Request<pb::SystemSharedMemoryStatusRequest>,
    ) -> Answer<pb::SystemSharedMemoryStatusResponse> {
        absent("system_shared_memory")
    }

    async fn system_shared_memory_register(
        &self,
        _: Request<pb::SystemSharedMemoryRegisterRequest>,
    ) -> Answer<pb::SystemSharedMemoryRegisterResponse> {
        absent("system_shared_memory")
    }

    async fn system_shared_memory_unregister(
        &self,
        _: Request<pb::SystemSharedMemoryUnregisterRequest>,
    ) -> Answer<pb::SystemSharedMemoryUnregisterResponse> {
        absent("system_shared_memory")
    }

    async fn cuda_shared_memory_status(
        &self,
        _: Request<pb::CudaSharedMemoryStatusRequest>,
    ) -> Answer<pb::CudaSharedMemoryStatusResponse> {
        absent("cuda_shared_memory")
    }

    async fn cuda_shared_memory_register(
        &self,
        _: Request<pb::CudaSharedMemoryRegisterRequest>,
    ) -> Answer<pb::CudaSharedMemoryRegisterResponse> {
        absent("cuda_shared_memory")
    }

    async fn cuda_shared_memory_unregister(
        &self,
        _: Request<pb::CudaSharedMemoryUnregisterRequest>,
    ) -> Answer<pb::CudaSharedMemoryUnregisterResponse> {
        absent("cuda_shared_memory")
    }

    async fn trace_setting(
        &self,
        request: Request<pb::TraceSettingRequest>,
    ) -> Answer<pb::TraceSettingResponse> {
        let (caller, message) = arrived(request)?;
        answer(settings::trace(&self.door, &caller, message).await)
    }

    async fn log_settings(
        &self,
        request: Request<pb::LogSettingsRequest>,
    ) -> Answer<pb::LogSettingsResponse> {
        let (caller, message) = arrived(request)?;
        answer(settings::log(&self.door, &caller, message).await)
    }
}
