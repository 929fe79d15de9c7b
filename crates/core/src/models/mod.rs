//! What the pipeline needs of whatever answers: a handler of yours ([`Handled`]) or a model
//! repository.

mod bounds;
mod handled;

use std::sync::Arc;

use oip_protocol::{
    Error, InferRequest, InferResponse, ModelConfig, ModelMetadata, ModelRef, RepositoryEntry,
    Result,
};
use tokio::time::Instant;

pub use bounds::Bounds;
pub use handled::Handled;

use crate::telemetry::{ModelLoads, Queued};
use crate::{BoxFuture, Call};

/// The models behind a [`Dataplane`](crate::Dataplane).
///
/// Handlers come in by [`Handled`]; implement this yourself only to bring models that come and
/// go by their own rules, as a repository does.
pub trait Models: Send + Sync + 'static {
    /// Loads what should be there from the start. Called once, after the doors are bound and
    /// before the server says that it is ready. A model that fails is not ready; it does not
    /// keep the others from loading.
    fn start(&self) -> BoxFuture<'_, ()>;

    /// Whether every model that should be loaded is loaded and can answer.
    fn all_ready(&self) -> BoxFuture<'_, bool>;

    /// Finds a model that can answer. It stays valid while the caller holds it, whatever is
    /// loaded or unloaded meanwhile.
    ///
    /// # Errors
    /// [`NotFound`](oip_protocol::ErrorKind::NotFound) for a name or version that is not here,
    /// [`Unavailable`](oip_protocol::ErrorKind::Unavailable) for one that is not ready.
    fn resolve<'a>(&'a self, model: &'a ModelRef) -> BoxFuture<'a, Result<Arc<dyn ResolvedModel>>>;

    /// What [`resolve`](Self::resolve) would find, where that is known without waiting and without
    /// asking a handler: so most inferences make no future for it. `now` is what time it is.
    /// `None`, the default, where `resolve` has to be asked.
    fn resolve_at_once(
        &self,
        model: &ModelRef,
        now: std::time::Instant,
    ) -> Option<Result<Arc<dyn ResolvedModel>>> {
        let _ = (model, now);
        None
    }

    /// What a model declares.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    fn metadata<'a>(&'a self, model: &'a ModelRef) -> BoxFuture<'a, Result<ModelMetadata>>;

    /// Whether a model can answer now.
    ///
    /// # Errors
    /// `NotFound` for a name or version that is not here or is unloaded.
    fn ready<'a>(&'a self, model: &'a ModelRef) -> BoxFuture<'a, Result<bool>>;

    /// Loads a model, or loads it again. Requests in flight finish on the old one; when the load
    /// fails the old one goes on.
    ///
    /// # Errors
    /// `NotFound` for a name that is not here, `DoesNotFit` (400) for a model that cannot be
    /// loaded, `Unavailable` where models are not controlled by callers.
    fn load<'a>(&'a self, model: &'a str) -> BoxFuture<'a, Result<()>>;

    /// Unloads a model. Requests in flight finish first.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    fn unload<'a>(&'a self, model: &'a str) -> BoxFuture<'a, Result<()>>;

    /// Lets go of every model. Called once, when everything in flight was answered.
    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    /// Every model version and its state, by name and version.
    ///
    /// # Errors
    /// `NotImplemented` where no list can be given.
    fn index(&self) -> BoxFuture<'_, Result<Vec<RepositoryEntry>>>;

    /// How a model is served.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve); `NotImplemented` where there is no configuration.
    fn config<'a>(&'a self, model: &'a ModelRef) -> BoxFuture<'a, Result<ModelConfig>> {
        let _ = model;
        Box::pin(async {
            Err(Error::not_implemented(
                "this server's models have no configuration",
            ))
        })
    }

    /// What runs and waits, of models that have a queue of their own; none by default.
    fn queued(&self) -> Vec<Queued> {
        Vec::new()
    }

    /// How often models were loaded and how long it took; none by default.
    fn loads(&self) -> Vec<ModelLoads> {
        Vec::new()
    }

    /// Whether the model repository extension works here.
    fn has_repository(&self) -> bool {
        true
    }

    /// Whether the model configuration extension works here.
    fn has_configs(&self) -> bool {
        false
    }
}

/// A model that was found and can answer.
pub trait ResolvedModel: Send + Sync {
    /// The version that answers; `None` where the model has no versions.
    fn version(&self) -> Option<&str>;

    /// What requests and answers are held to; `None` to check nothing.
    fn metadata(&self) -> Option<&ModelMetadata>;

    /// Answers one request.
    ///
    /// # Errors
    /// As [`ModelHandler::infer`](crate::ModelHandler::infer).
    fn infer<'a>(
        &'a self,
        request: InferRequest,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<InferResponse>>;

    /// Refuses a request of which only the deadline is known where it would be refused now
    /// because too many wait, whatever else it says. One without a deadline may have one all the
    /// same, in its parameters.
    ///
    /// # Errors
    /// `TooManyRequests`; `TimedOut` where the deadline is over.
    fn refuse_unread(&self, deadline: Option<Instant>) -> Result<()> {
        let _ = deadline;
        Ok(())
    }

    /// Whether the server has this name and version of itself. `false` where callers choose them,
    /// who must not fill the memory with names.
    fn is_listed(&self) -> bool {
        true
    }

    /// The name of a class of an output, for the classification extension.
    fn label(&self, output: &str, class: usize) -> Option<&str> {
        let _ = (output, class);
        None
    }
}
