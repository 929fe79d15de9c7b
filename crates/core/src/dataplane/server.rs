//! The calls that concern the server as a whole.

use oip_protocol::{Result, ServerMetadata};

use super::{Dataplane, Phase};
use crate::Permit;
use crate::access::actions;

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
    pub async fn ready(&self) -> bool {
        self.phase() == Phase::Serving && self.models.all_ready().await
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
