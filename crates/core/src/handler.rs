//! The trait that users implement.

use std::future::{Future, ready};

use oip_protocol::{Error, InferRequest, InferResponse, ModelMetadata, ModelRef, Result};

use crate::Call;

/// A handler answers for models: implement what you need, the rest says "not implemented"
/// (501, `UNIMPLEMENTED`).
///
/// Methods are called from many tasks at once. They are async: await what takes long, and hand
/// work that keeps a CPU busy for more than a millisecond to `tokio::task::spawn_blocking`. A
/// panic costs its own request only (500, `INTERNAL`).
///
/// Write the methods as `async fn`; the futures must be `Send`.
///
/// ```
/// use oip_core::protocol::{InferRequest, InferResponse, Result, Tensor};
/// use oip_core::{Call, ModelHandler};
///
/// struct Doubler;
///
/// impl ModelHandler for Doubler {
///     async fn infer(&self, request: InferRequest, _call: &Call) -> Result<InferResponse> {
///         let mut outputs = Vec::new();
///         for input in &request.inputs {
///             let doubled = input.to_slice::<f32>()?.iter().map(|x| x * 2.0).collect();
///             outputs.push(Tensor::from_vec(input.name(), input.shape().clone(), doubled)?);
///         }
///         Ok(InferResponse::new(outputs))
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a model handler",
    note = "implement `oip::ModelHandler` for it; every method has a default"
)]
pub trait ModelHandler: Send + Sync + 'static {
    /// Answers one request. Called once per request, after it has been checked against
    /// [`model_metadata`](Self::model_metadata) where that is implemented.
    ///
    /// Which model is asked, by whom and until when is in `call`. Name, version and id of the
    /// response are filled in from the request where they are left empty.
    ///
    /// # Errors
    /// The error's kind chooses the code that the caller reads: [`Error::does_not_fit`] for an
    /// input that is wrong, [`Error::not_found`] for a model that is not here,
    /// [`Error::handler_failed`] for whatever is not the caller's fault.
    fn infer(
        &self,
        request: InferRequest,
        call: &Call,
    ) -> impl Future<Output = Result<InferResponse>> + Send {
        let _ = (request, call);
        ready(Err(not_implemented("infer")))
    }

    /// What a model declares. Called for a metadata request, and by inferences, which are checked
    /// against it: these ask again when a second has passed, or the model was loaded or unloaded.
    /// Where it is not implemented nothing is checked.
    ///
    /// # Errors
    /// [`Error::not_found`] for a model that is not here; any other by its kind.
    fn model_metadata(
        &self,
        model: &ModelRef,
    ) -> impl Future<Output = Result<ModelMetadata>> + Send {
        let _ = model;
        ready(Err(not_implemented("model metadata")))
    }

    /// Whether requests and answers are held to [`model_metadata`](Self::model_metadata); true.
    fn checks_metadata(&self) -> bool {
        true
    }

    /// The same of one model, where a handler has several: what is true of all of them.
    fn checks_metadata_of(&self, model: &ModelRef) -> bool {
        let _ = model;
        self.checks_metadata()
    }

    /// Makes a model ready. Called at start, before the server is ready, for each name that the
    /// server was given, and when a caller asks for a load. It may take as long as it takes.
    ///
    /// # Errors
    /// At start the model is then listed as unavailable and the server is not ready; a caller
    /// reads the error.
    fn model_load(&self, model: &ModelRef) -> impl Future<Output = Result<()>> + Send {
        let _ = model;
        ready(Err(not_implemented("model load")))
    }

    /// Lets go of a model. Called when a caller asks for an unload, after which requests for it
    /// are not found.
    ///
    /// # Errors
    /// The caller reads the error, and the model stays.
    fn model_unload(&self, model: &ModelRef) -> impl Future<Output = Result<()>> + Send {
        let _ = model;
        ready(Err(not_implemented("model unload")))
    }

    /// Whether a model can answer now. Asked only for models whose load has not failed: by whoever
    /// asks for this model, and by probes of the server, for which one that does not answer within
    /// a second is not ready.
    ///
    /// # Errors
    /// [`Error::not_found`] for a model that is not here.
    fn model_ready(&self, model: &ModelRef) -> impl Future<Output = Result<bool>> + Send {
        let _ = model;
        ready(Ok(true))
    }
}

/// The handler that implements nothing: live, ready and server metadata work, the rest is 501.
#[derive(Debug, Clone, Copy, Default)]
pub struct DefaultModelHandler;

impl ModelHandler for DefaultModelHandler {}

fn not_implemented(call: &str) -> Error {
    Error::not_implemented(format!(
        "{call} is not implemented by this server's handler"
    ))
}
