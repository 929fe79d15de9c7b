//! From the head of a request to a permit, before anything of its body is read.

use oip_core::Permit;
use oip_core::access::actions::Permitted;
use oip_protocol::Result;
use tokio::time::Instant;

use super::Arrived;
use crate::door::{self, Present};

impl Arrived {
    /// Who is asking, and may they do `A` with the model that the path names (or with none).
    ///
    /// # Errors
    /// `Unauthenticated`, `Forbidden`, or `Unavailable` when the policy cannot be asked.
    pub(super) async fn permit<A: Permitted>(&mut self) -> Result<Permit<A>> {
        let door = &self.rest.door;
        let mut arrival = door::arrival(&self.parts, self.present, &door.options);
        arrival.action = Some(A::ACTION);
        let model = self.model.as_ref();
        let caller = door.dataplane.authenticate_for(arrival, model).await?;
        door::note_caller(&self.parts.extensions, &caller);
        match self.model.take() {
            Some(model) => door.dataplane.authorize_model(&caller, model).await,
            None => door.dataplane.authorize(&caller).await,
        }
    }

    /// Whether what the caller shows holds, where nothing is there to be permitted: a credential
    /// that does not hold is told nothing of which paths there are.
    ///
    /// # Errors
    /// `Unauthenticated`.
    pub(super) async fn know_caller(&mut self) -> Result<()> {
        let door = &self.rest.door;
        let arrival = door::arrival(&self.parts, self.present, &door.options);
        let caller = door.dataplane.authenticate(arrival).await?;
        door::note_caller(&self.parts.extensions, &caller);
        Ok(())
    }

    /// When the caller no longer waits.
    ///
    /// # Errors
    /// A header that is not a time.
    pub(super) fn deadline(&self) -> Result<Option<Instant>> {
        match self.present.has(Present::TIMEOUT) {
            true => door::deadline(&self.parts.headers),
            false => Ok(None),
        }
    }
}
