//! The one pipeline. Both doors call it; so can you, without any door.
//!
//! ```
//! use oip_core::protocol::{InferRequest, ModelRef};
//! use oip_core::{Access, Arrival, Dataplane, DefaultModelHandler};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let dataplane = Dataplane::of_handler(DefaultModelHandler, Access::open());
//! dataplane.start().await;
//! let caller = dataplane.authenticate(Arrival::default()).await?;
//! let permit = dataplane.authorize_model(&caller, ModelRef::new("iris")).await?;
//! let error = dataplane.infer(permit, InferRequest::default(), None).await.unwrap_err();
//! assert_eq!(error.kind().http_status(), 501);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod infer;
mod model;
mod server;

pub use model::Figures;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use oip_protocol::{ModelRef, Result};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::access::{Action, actions};
use crate::content::{ContentCodec, ContentCodecs};
use crate::execute::{Memory, Rates, Slots, fenced, until};
use crate::models::Handled;
use crate::statistics::Statistics;
use crate::telemetry::Telemetry;
use crate::{Access, Arrival, Caller, Limits, ModelHandler, Models, Permit};

/// The pipeline of one server: its models, its gates, its limits and its statistics.
///
/// Every call but [`authenticate`](Self::authenticate) and the two `authorize…` takes a
/// [`Permit`] for that very call, which only those can make.
pub struct Dataplane {
    models: Arc<dyn Models>,
    access: Access,
    /// Nanoseconds; 0 for none.
    request_timeout: AtomicU64,
    slots: Slots,
    memory: Memory,
    rates: Option<Rates>,
    codecs: ContentCodecs,
    statistics: Statistics,
    telemetry: Telemetry,
    phase: watch::Sender<Phase>,
    /// Whether the models did not say last whether they are ready.
    silent: AtomicBool,
    extensions: Vec<String>,
}

/// Where a server stands between start and stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It loads its models.
    Starting,
    /// It serves.
    Serving,
    /// It is asked to stop and still serves, and is not ready any more.
    Draining,
    /// It takes nothing new and finishes what is in flight.
    Closing,
}

impl Dataplane {
    /// A pipeline before these models and behind these gates.
    pub fn new(models: Arc<dyn Models>, access: Access, limits: Limits) -> Self {
        Self {
            slots: Slots::new("this server", limits.in_flight, 0),
            memory: Memory::new(limits.body_memory),
            rates: (limits.rate_limit > 0)
                .then(|| Rates::new(limits.rate_limit, limits.rate_burst)),
            statistics: Statistics::new(limits.statistics),
            telemetry: Telemetry::default(),
            models,
            access,
            request_timeout: AtomicU64::new(nanoseconds(limits.request_timeout)),
            codecs: ContentCodecs::default(),
            phase: watch::Sender::new(Phase::Starting),
            silent: AtomicBool::new(false),
            extensions: Vec::new(),
        }
    }

    /// A pipeline before a handler that answers for every name.
    pub fn of_handler(handler: impl ModelHandler, access: Access) -> Self {
        let models = Handled::new(handler, [""; 0]);
        Self::new(Arc::new(models), access, Limits::default())
    }

    /// Adds a content type.
    #[must_use]
    pub fn with_codec(mut self, codec: impl ContentCodec) -> Self {
        self.codecs.add(codec);
        self
    }

    /// Adds the name of an extension that a door brings, for the server's metadata.
    #[must_use]
    pub fn with_extension(mut self, name: impl Into<String>) -> Self {
        self.extensions.push(name.into());
        self
    }

    /// Longest that one request may take from now on; see [`Limits::request_timeout`].
    pub fn set_request_timeout(&self, timeout: Option<Duration>) {
        self.request_timeout.store(nanoseconds(timeout), Relaxed);
    }

    fn request_timeout(&self) -> Option<Duration> {
        match self.request_timeout.load(Relaxed) {
            0 => None,
            nanoseconds => Some(Duration::from_nanos(nanoseconds)),
        }
    }

    /// The deadline of a caller, or the server's own limit from now on, whichever comes first. The
    /// limit counts from the arrival of the head, which was before: this is later than what holds.
    #[must_use]
    pub fn within(&self, deadline: Option<Instant>) -> Option<Instant> {
        let limit = self.request_timeout();
        let limit = limit.and_then(|limit| Instant::now().checked_add(limit));
        deadline.into_iter().chain(limit).min()
    }

    /// Asks a model something that is no inference: what it panics with and for how long it hangs
    /// is its caller's matter alone.
    async fn ask<T>(&self, asked: impl Future<Output = Result<T>>) -> Result<T> {
        until(self.within(None), pin!(fenced(asked))).await
    }

    /// The gates.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// What is counted of this server as a whole.
    #[must_use]
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Loads what should be there from the start; the server is ready after it.
    pub async fn start(&self) {
        self.models.start().await;
        // A drain that was asked for meanwhile stands.
        self.reach(Phase::Serving);
    }

    /// From now on the server says that it is not ready; it still serves.
    pub fn drain(&self) {
        self.reach(Phase::Draining);
    }

    /// From now on streams end after the request that they are at.
    pub fn close(&self) {
        self.reach(Phase::Closing);
    }

    /// There is no way back.
    fn reach(&self, phase: Phase) {
        self.phase.send_if_modified(|stands| {
            let reached = *stands < phase;
            *stands = phase.max(*stands);
            reached
        });
    }

    /// Unloads every model: the last that a server does.
    pub async fn stop(&self) {
        self.models.stop().await;
    }

    /// Where the server stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Waits until the server is at [`Phase::Closing`].
    pub async fn closing(&self) {
        let mut phase = self.phase.subscribe();
        // It fails when the sender is gone, which is ours.
        let _ = phase.wait_for(|stands| *stands == Phase::Closing).await;
    }

    /// Whether everyone may do everything: authentication is off.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.access.is_open()
    }

    /// Who is asking, from the head of the request alone. See [`Access::authenticate`].
    ///
    /// # Errors
    /// `Unauthenticated` when a credential is shown and does not hold.
    pub async fn authenticate(&self, arrival: Arrival) -> Result<Caller> {
        self.access.authenticate(arrival).await
    }

    /// The same, where the model that will be asked for is known. See
    /// [`Access::authenticate_for`].
    ///
    /// # Errors
    /// `Unauthenticated` when a credential is shown and does not hold.
    pub async fn authenticate_for(
        &self,
        arrival: Arrival,
        model: Option<&ModelRef>,
    ) -> Result<Caller> {
        self.access.authenticate_for(arrival, model).await
    }

    /// Whether a caller may do `A` with a model. See [`Access::authorize`].
    ///
    /// # Errors
    /// `Unauthenticated`, `Forbidden` or `Unavailable`; `TooManyRequests` for an inference beyond
    /// the caller's rate.
    pub async fn authorize_model<A: actions::Permitted>(
        &self,
        caller: &Caller,
        model: ModelRef,
    ) -> Result<Permit<A>> {
        let permit = self.access.authorize::<A>(caller, Some(model)).await?;
        if let (Some(rates), Action::Infer) = (&self.rates, A::ACTION) {
            let model = permit.model().map_or("", |model| &model.name);
            rates.take(caller.id(), model)?;
        }
        Ok(permit)
    }

    /// Refuses an inference that would be refused for want of room, before its body is read.
    /// Takes no place: that is [`infer`](Self::infer)'s. `before` is how many were under way when
    /// it came, as [`Telemetry::enter`] said: those count from the arrival of their heads.
    ///
    /// # Errors
    /// `TooManyRequests`.
    pub fn refuse_full(&self, before: u64) -> Result<()> {
        self.slots.refuse_full()?;
        // Some may have ended meanwhile.
        let others = self.telemetry.under_way().saturating_sub(1);
        self.slots.refuse_beyond(before.min(others))
    }

    /// The same for the queue of the model that a permit is for. `deadline` is the door's; the
    /// server's own limit may come first.
    ///
    /// # Errors
    /// `TooManyRequests`, `TimedOut`. A model that is not there is no matter here.
    pub async fn refuse_queued(
        &self,
        permit: &Permit<actions::Infer>,
        deadline: Option<Instant>,
    ) -> Result<()> {
        let Some(model) = permit.model() else {
            return Ok(());
        };
        let deadline = self.within(deadline);
        let Ok(model) = until(deadline, pin!(fenced(self.models.resolve(model)))).await else {
            return Ok(());
        };
        model.refuse_unread(deadline)
    }

    /// The memory that bodies take.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Whether a caller may do `A`, which concerns no model.
    ///
    /// # Errors
    /// `Unauthenticated`, `Forbidden` or `Unavailable`.
    pub async fn authorize<A: actions::Permitted>(&self, caller: &Caller) -> Result<Permit<A>> {
        self.access.authorize(caller, None).await
    }

    /// Refuses an anonymous caller whom nothing could permit an action, before its message is
    /// read. See [`Access::refuse_unread`].
    ///
    /// # Errors
    /// `Unauthenticated`.
    pub async fn refuse_unread(&self, caller: &Caller, action: Action) -> Result<()> {
        self.access.refuse_unread(caller, action).await
    }
}

fn nanoseconds(timeout: Option<Duration>) -> u64 {
    let timeout = timeout.unwrap_or_default().as_nanos();
    u64::try_from(timeout).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
