//! The calls that concern the server as a whole.

use std::pin::pin;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use oip_protocol::{Result, ServerMetadata};
use tokio::time::Instant;

use super::{Dataplane, Phase};
use crate::Permit;
use crate::access::actions;
use crate::execute::{fenced, until};

/// Longest that models may take to say whether they are ready. Whoever asks wants to know it now:
/// probes and the metrics.
const READY_WITHIN: Duration = Duration::from_secs(1);

impl Dataplane {
    /// Whether the server can take requests at all.
    #[must_use]
    pub fn live(&self) -> bool {
        true
    }

    /// Whether the server is ready: started, not draining, and every model that should be
    /// loaded is.
    ///
    /// Like [`live`](Self::live) it takes no permit: probes are decided locally, so that they do
    /// not die with a policy decision point. A door that probes by policy asks for a
    /// [`Permit<actions::Ready>`] first.
    ///
    /// Models that do not say it within a second, or panic, are not ready.
    pub async fn ready(&self) -> bool {
        if self.phase() != Phase::Serving {
            return false;
        }
        let asked = pin!(fenced(async { Ok(self.models.all_ready().await) }));
        let said = until(Some(Instant::now() + READY_WITHIN), asked).await;
        let was_silent = self.silent.swap(said.is_err(), Relaxed);
        match said {
            Ok(ready) => ready,
            Err(error) => {
                if !was_silent {
                    let why = error.cause().unwrap_or("it took over a second");
                    tracing::warn!(why, "a model did not say whether it is ready");
                }
                false
            }
        }
    }

    /// What the server says of itself: its extensions are exactly those that work.
    ///
    /// # Errors
    /// None yet.
    pub async fn server_metadata(
        &self,
        _permit: Permit<actions::ServerMetadata>,
    ) -> Result<ServerMetadata> {
        let mut extensions = vec![
            "binary_tensor_data".to_owned(),
            "classification".to_owned(),
            "statistics".to_owned(),
        ];
        if self.models.has_repository() {
            extensions.push("model_repository".to_owned());
        }
        if self.models.has_configs() {
            extensions.push("model_configuration".to_owned());
        }
        extensions.extend(self.extensions.iter().cloned());
        Ok(ServerMetadata {
            name: "oip".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            extensions,
        })
    }
}
