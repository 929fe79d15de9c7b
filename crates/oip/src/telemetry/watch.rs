//! One inference on its way through a door.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use oip_core::telemetry::{Room, Seen, Way};
use oip_protocol::{ErrorKind, ModelRef};

use super::payload::{Captured, Content};
use super::spans::Ending;
use super::timing;
use super::trace::Trace;
use crate::config::ServerTiming;
use crate::door::{Door, Present};

/// One inference, from the arrival of its head to its answer. Dropped without an
/// [`end`](Self::end), its caller has left.
pub(crate) struct Watched {
    door: Arc<Door>,
    pub(crate) seen: Seen,
    trace: Option<Box<Trace>>,
    captured: Option<Box<Captured>>,
    /// What is asked, where that is not known from the path.
    model: Option<ModelRef>,
    /// Whether the caller is told the times of the rooms.
    tells: bool,
    /// How many inferences were under way when it came.
    before: u64,
    ended: bool,
}

impl Watched {
    /// A request has arrived.
    pub(crate) fn begin(
        door: &Arc<Door>,
        way: Way,
        present: Present,
        headers: &mut HeaderMap,
    ) -> Self {
        let mut seen = Seen::new(way);
        let tells = match door.options.server_timing {
            ServerTiming::Off => false,
            ServerTiming::Request => {
                present.has(Present::SERVER_TIMING) && timing::is_asked(headers)
            }
            ServerTiming::Always => true,
        };
        let trace = door.telemetry.tracer.begin(headers);
        let payloads = door.telemetry.payloads.as_ref();
        let captured = payloads.and_then(|payloads| payloads.begin(way, headers));
        if tells || trace.as_ref().is_some_and(|trace| trace.is_timed()) {
            seen.time_rooms();
        }
        let before = door.dataplane.telemetry().enter(way);
        Self {
            door: Arc::clone(door),
            seen,
            trace,
            captured,
            model: None,
            tells,
            before,
            ended: false,
        }
    }

    /// A request has arrived on a stream that stands so in a trace. The headers then say where the
    /// request stands.
    pub(crate) fn of_stream(door: &Arc<Door>, headers: &mut HeaderMap) -> Self {
        Self::begin(door, Way::Grpc, Present::default(), headers)
    }

    /// How many inferences were under way when it came.
    pub(crate) fn before(&self) -> u64 {
        self.before
    }

    /// The moment a room is entered, where that is kept.
    pub(crate) fn enter(&self) -> Option<Instant> {
        self.seen.enter()
    }

    /// A room is left.
    pub(crate) fn leave(&mut self, room: Room, entered: Option<Instant>) {
        self.seen.leave(room, entered);
    }

    /// The request asks for this model.
    pub(crate) fn asks(&mut self, model: &ModelRef) {
        self.model = Some(model.clone());
    }

    /// The same, where that is told to somebody besides being counted.
    pub(crate) fn may_tell(&mut self, model: Option<&ModelRef>) {
        if self.trace.is_some() || self.captured.is_some() {
            self.model = model.cloned();
        }
        if let Some(captured) = &mut self.captured {
            captured.asked_version = model.and_then(|model| model.version.clone());
        }
    }

    /// This model has answered.
    pub(crate) fn answered(&mut self, model: &str, version: Option<&str>) {
        if self.trace.is_some() || self.captured.is_some() {
            self.model = Some(ModelRef {
                name: model.to_owned(),
                version: version.map(str::to_owned),
            });
        }
    }

    /// Whether what is sent and answered is kept.
    pub(crate) fn keeps(&self) -> bool {
        self.captured.is_some()
    }

    /// The body has come. `header_length` is how long its JSON is, where tensors follow.
    pub(crate) fn received(&mut self, body: &Bytes, header_length: Option<usize>) {
        self.seen.received(body.len());
        if let Some(captured) = &mut self.captured {
            captured.request = Some(Content::Rest(header_length, vec![body.clone()]));
        }
    }

    /// The message has come.
    pub(crate) fn received_message(&mut self, message: &Bytes) {
        self.seen.received(message.len());
        if let Some(captured) = &mut self.captured {
            captured.request = Some(Content::Proto(vec![message.clone()]));
        }
    }

    /// The body of the answer, in pieces.
    pub(crate) fn keep_answer(&mut self, header_length: Option<usize>, pieces: &[Bytes]) {
        if let Some(captured) = &mut self.captured {
            captured.response = Some(Content::Rest(header_length, pieces.to_vec()));
        }
    }

    /// The message of the answer, in pieces that are asked for only where it is kept.
    pub(crate) fn keep_message(&mut self, pieces: impl FnOnce() -> Vec<Bytes>) {
        if let Some(captured) = &mut self.captured {
            captured.response = Some(Content::Proto(pieces()));
        }
    }

    /// The answer is written, in so many bytes.
    pub(crate) fn encoded(&mut self, bytes: usize) {
        self.seen.encoded();
        self.seen.sent(bytes);
    }

    /// There is an answer, or a failure of this kind and with this sentence; `model` is what was
    /// asked. Adds the headers that the caller is to have.
    pub(crate) fn end(
        mut self,
        model: Option<&ModelRef>,
        failure: Option<(ErrorKind, &str)>,
        headers: &mut HeaderMap,
    ) {
        self.ended = true;
        let own = self.model.take();
        let model = own.as_ref().or(model);
        let kind = failure.map(|(kind, _)| kind);
        self.door.dataplane.ended(&self.seen, model, kind);
        let ending = kind.map_or(Ending::Answered, Ending::Failed);
        let sentence = failure.map(|(_, sentence)| sentence);
        self.leave_behind(model, ending, sentence, Some(headers));
        if self.tells {
            timing::write(&self.seen, headers);
        }
    }
}

impl Watched {
    /// What is left of it for traces and payloads.
    fn leave_behind(
        &mut self,
        model: Option<&ModelRef>,
        ending: Ending,
        sentence: Option<&str>,
        headers: Option<&mut HeaderMap>,
    ) {
        let telemetry = &self.door.telemetry;
        if let Some(trace) = self.trace.take() {
            telemetry
                .tracer
                .end(*trace, &self.seen, model, ending, headers);
        }
        if let (Some(mut captured), Some(payloads)) = (self.captured.take(), &telemetry.payloads) {
            if let Some(model) = model {
                captured.model.clone_from(&model.name);
                captured.version.clone_from(&model.version);
            }
            captured.code = ending.code(self.seen.way());
            captured.rest_status = ending.rest_status(self.seen.way());
            captured.error = sentence.map(str::to_owned);
            payloads.end(*captured, &self.door.options.decode);
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let dataplane = &self.door.dataplane;
        dataplane.telemetry().leave(self.seen.way());
        if !self.ended {
            dataplane.cancelled(&self.seen);
            let model = self.model.take();
            self.leave_behind(model.as_ref(), Ending::Cancelled, None, None);
        }
    }
}
