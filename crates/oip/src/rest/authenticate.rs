//! From the head of a request to a permit, before anything of its body is read.

use oip_core::access::actions::Permitted;
use oip_core::telemetry::{Room, Seen};
use oip_core::{Action, Caller, Permit};
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
        self.permit_seen(None).await
    }

    /// The same, with the time that it takes written down.
    ///
    /// # Errors
    /// As [`permit`](Self::permit).
    pub(super) async fn permit_seen<A: Permitted>(
        &mut self,
        seen: Option<&mut Seen>,
    ) -> Result<Permit<A>> {
        let entered = seen.as_ref().and_then(|seen| seen.enter());
        let caller = self.caller(A::ACTION).await;
        let decides = seen.as_ref().and_then(|seen| seen.enter());
        let permit = match caller {
            Err(error) => Err(error),
            Ok(caller) => self.decide(&caller).await,
        };
        if let Some(seen) = seen {
            seen.lap(Room::Authenticate, entered, decides);
            seen.leave(Room::Decide, decides);
        }
        permit
    }

    /// Takes the model, and gives it back with a refusal.
    async fn decide<A: Permitted>(&mut self, caller: &Caller) -> Result<Permit<A>> {
        let dataplane = &self.rest.door.dataplane;
        let Some(model) = self.model.take() else {
            return dataplane.authorize(caller).await;
        };
        let kept = (!dataplane.is_open()).then(|| model.clone());
        let permit = dataplane.authorize_model(caller, model).await;
        if permit.is_err() {
            self.model = kept;
        }
        permit
    }

    async fn caller(&mut self, action: Action) -> Result<Caller> {
        let door = &self.rest.door;
        let mut arrival = door::arrival(&self.parts, self.present, &self.remote, &door.options);
        arrival.action = Some(action);
        let model = self.model.as_ref();
        let caller = door.dataplane.authenticate_for(arrival, model).await?;
        door::note_caller(&self.parts.extensions, &caller);
        Ok(caller)
    }

    /// Whether what the caller shows holds, where nothing is there to be permitted: a credential
    /// that does not hold is told nothing of which paths there are.
    ///
    /// # Errors
    /// `Unauthenticated`.
    pub(super) async fn know_caller(&mut self) -> Result<()> {
        let door = &self.rest.door;
        let arrival = door::arrival(&self.parts, self.present, &self.remote, &door.options);
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
