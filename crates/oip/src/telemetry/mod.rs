//! What is seen of requests at the doors: counts of calls, traces, the times of the rooms, and,
//! where it is asked for, what was sent and answered.
//!
//! | file | what is there |
//! |---|---|
//! | `calls` | how many calls of which kind were answered with which code |
//! | `connections` | how many connections are open, and may be |
//! | `watch` | one inference on its way through a door |
//! | `context` | W3C trace context, in and out |
//! | `settings` | Triton's trace settings: which inferences are traced |
//! | `log_settings` | Triton's log settings |
//! | `trace`, `spans`, `otlp` | traces as OTLP, and the thread that sends them |
//! | `payload` | inferences as CloudEvents |
//! | `outbox`, `post` | what waits for such a thread, and how it is sent |
//! | `timing` | the `Server-Timing` header |
//!
//! Where none of it is asked for, an inference costs a few clocks and counters, and allocates
//! nothing.

mod calls;
mod connections;
mod context;
mod log_settings;
mod moment;
mod otlp;
mod outbox;
mod payload;
mod post;
mod settings;
mod spans;
mod timing;
mod trace;
mod watch;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::logging::{LogControl, LogSettings};

pub(crate) use calls::Calls;
pub(crate) use connections::{Connections, OpenConnection, OpenStream};
pub(crate) use log_settings::{LogForm, LogValue, shown, update};
pub(crate) use outbox::Fates;
pub use payload::PayloadOptions;
pub(crate) use payload::Payloads;
pub use post::PostError;
pub(crate) use settings::{Changes, LEVEL, TraceSettings};
pub use trace::TraceOptions;
pub(crate) use trace::Tracer;
pub(crate) use watch::Watched;

/// What is seen at the doors of one server.
#[derive(Default)]
pub struct Telemetry {
    pub(crate) calls: Calls,
    pub(crate) connections: Arc<Connections>,
    pub(crate) tracer: Tracer,
    pub(crate) payloads: Option<Payloads>,
    /// `None`: what is logged is no matter of callers.
    log: Option<LogControl>,
    log_form: Mutex<LogForm>,
}

impl Telemetry {
    /// Traces and payloads as these options say. Nothing is sent and nothing written yet.
    ///
    /// # Errors
    /// An address that cannot be called, a file that cannot be written.
    pub fn new(
        traces: &TraceOptions,
        payloads: Option<&PayloadOptions>,
    ) -> Result<Self, PostError> {
        Ok(Self {
            tracer: Tracer::new(traces)?,
            payloads: payloads.map(Payloads::new).transpose()?,
            ..Self::default()
        })
    }

    /// Lets callers who may do so change what is logged.
    #[must_use]
    pub fn with_log(mut self, log: Option<LogControl>) -> Self {
        self.log = log;
        self
    }

    /// Whether callers can change what is logged.
    pub(crate) fn has_log(&self) -> bool {
        self.log.is_some()
    }

    /// What is logged, by Triton's names; `None` where that is no matter of callers. All changes
    /// are made, or none.
    ///
    /// # Errors
    /// A name that is none, or a value that it does not take.
    pub(crate) fn log_settings(
        &self,
        changes: &[(String, LogValue)],
    ) -> Option<oip_protocol::Result<Vec<(&'static str, LogValue)>>> {
        let log = self.log.as_ref()?;
        Some(self.change_log(log, changes))
    }

    fn change_log(
        &self,
        log: &LogControl,
        changes: &[(String, LogValue)],
    ) -> oip_protocol::Result<Vec<(&'static str, LogValue)>> {
        let mut form = self.form();
        let (mut settings, mut wanted): (LogSettings, LogForm) = (log.settings(), *form);
        for (name, value) in changes {
            update(&mut settings, &mut wanted, name, value)?;
        }
        if !changes.is_empty() {
            log.apply(settings);
            *form = wanted;
        }
        Ok(shown(&settings, wanted))
    }

    fn form(&self) -> MutexGuard<'_, LogForm> {
        self.log_form.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts what sends and writes.
    pub(crate) fn start(&self, runtime: &Handle) {
        self.tracer.start(runtime);
        if let Some(payloads) = &self.payloads {
            payloads.start(runtime);
        }
    }

    /// Has payloads go on in a new file, where theirs was moved away.
    pub(crate) fn reopen(&self) {
        self.payloads.iter().for_each(Payloads::reopen);
    }

    /// Sends and writes what waits, as far as that is done within this time, and gives up the rest.
    pub(crate) async fn close(self: Arc<Self>, within: Duration) {
        let tracer = Arc::clone(&self);
        let payloads = Arc::clone(&self);
        let closed = async {
            tokio::join!(
                aside(move || tracer.tracer.close()),
                aside(move || payloads.payloads.iter().for_each(Payloads::close)),
            )
        };
        let mut closed = std::pin::pin!(closed);
        let in_time = within.saturating_sub(GIVING_UP);
        if tokio::time::timeout(in_time, closed.as_mut())
            .await
            .is_err()
        {
            tracing::warn!("traces or payloads that wait are given up");
            self.tracer.abandon();
            self.payloads.iter().for_each(Payloads::abandon);
            // What is being sent ends at once, what is being written when the disk lets it.
            let _ = tokio::time::timeout(GIVING_UP, closed).await;
        }
    }
}

/// How long it may take to give up what is being sent.
const GIVING_UP: Duration = Duration::from_millis(500);

/// Is done when this is, on a thread that the runtime does not wait for, as it may be held up by
/// somebody else.
async fn aside(work: impl FnOnce() + Send + 'static) {
    let (done, ended) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        work();
        drop(done);
    });
    // An error is what is waited for.
    let _ = ended.await;
}
