//! An inference that was traced, as spans: one for all of it, and one for each room.
//!
//! A span never holds a tensor, a token, or the sentence of an error, which may quote a value.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use oip_core::telemetry::{Lap, Parts, Room, Seen, Way};
use oip_protocol::{ErrorKind, ModelRef};

use super::context::{TraceContext, hex, number};
use super::otlp::{self, Span};

/// What became of an inference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Answered,
    Failed(ErrorKind),
    /// Its caller left.
    Cancelled,
}

impl Ending {
    fn is_failure(self) -> bool {
        self != Self::Answered
    }

    /// The code as a door says it.
    pub(super) fn code(self, way: Way) -> String {
        match (way, self) {
            (Way::Rest, Self::Answered) => "200".to_owned(),
            (Way::Rest, Self::Failed(kind)) => kind.http_status().to_string(),
            (_, Self::Answered) => "OK".to_owned(),
            (_, Self::Failed(kind)) => kind.grpc_name().to_owned(),
            (_, Self::Cancelled) => "cancelled".to_owned(),
        }
    }

    /// The REST door's status of a failure whose code at this door says less: gRPC has one code
    /// for several of them.
    pub(super) fn rest_status(self, way: Way) -> Option<u16> {
        match (way, self) {
            (Way::Rest, _) | (_, Self::Answered | Self::Cancelled) => None,
            (_, Self::Failed(kind)) => Some(kind.http_status()),
        }
    }
}

/// An inference that was traced.
#[derive(Debug)]
pub(super) struct Traced {
    context: TraceContext,
    way: Way,
    model: String,
    version: Option<String>,
    /// Whether there is such a model, and the name is not one that a caller made up.
    known: bool,
    begun: SystemTime,
    took: Duration,
    /// The rooms, and how long after the beginning each was entered.
    laps: Vec<(Duration, Lap)>,
    parts: Parts,
    ending: Ending,
}

impl Traced {
    pub(super) fn new(
        context: TraceContext,
        begun: SystemTime,
        seen: &Seen,
        model: Option<&ModelRef>,
        ending: Ending,
    ) -> Self {
        let after = |lap: &Lap| (lap.begun.saturating_duration_since(seen.begun()), *lap);
        Self {
            context,
            way: seen.way(),
            model: model.map(|model| model.name.clone()).unwrap_or_default(),
            version: model.and_then(|model| model.version.clone()),
            known: seen.has_model(),
            begun,
            took: seen.begun().elapsed(),
            laps: seen.laps().iter().map(after).collect(),
            parts: seen.parts(),
            ending,
        }
    }

    /// How many bytes it takes until it is sent.
    pub(super) fn bytes(&self) -> usize {
        let version = self.version.as_ref().map_or(0, String::len);
        let state = self.context.state.as_ref().map_or(0, HeaderValue::len);
        let laps = size_of_val(self.laps.as_slice());
        size_of::<Self>() + self.model.len() + version + state + laps
    }

    /// How many spans it has.
    pub(super) fn spans(&self) -> usize {
        1 + self.laps.len()
    }

    /// Collectors make series of the names of spans: so they are as many as there are models, and
    /// no caller makes more.
    fn name(&self) -> String {
        match self.known {
            true => format!("infer {}", self.model),
            false => "infer".to_owned(),
        }
    }

    fn code(&self) -> String {
        self.ending.code(self.way)
    }

    /// The span of all of it, and those of the rooms.
    pub(super) fn write(&self, spans: &mut Vec<Span>) {
        let whole = Span {
            parent_span_id: self.context.parent.map_or_else(Vec::new, |id| id.to_vec()),
            trace_state: self.state(),
            name: self.name(),
            kind: otlp::SERVER,
            attributes: self.attributes(),
            status: self
                .ending
                .is_failure()
                .then_some(otlp::Status { code: otlp::FAILED }),
            ..self.span(self.context.span, Duration::ZERO, self.took)
        };
        spans.push(whole);
        for (after, lap) in &self.laps {
            let mut span = Span {
                parent_span_id: self.context.span.to_vec(),
                name: lap.room.name().to_owned(),
                kind: otlp::INTERNAL,
                ..self.span(number().to_be_bytes(), *after, lap.took)
            };
            if lap.room == Room::Compute {
                span.attributes = self.compute();
            }
            spans.push(span);
        }
    }

    fn span(&self, id: [u8; 8], after: Duration, took: Duration) -> Span {
        let start = self.begun + after;
        Span {
            trace_id: self.context.trace.to_vec(),
            span_id: id.to_vec(),
            start_time_unix_nano: nanoseconds(start),
            end_time_unix_nano: nanoseconds(start + took),
            // W3C's flags: sampled.
            flags: 1,
            ..Span::default()
        }
    }

    fn state(&self) -> String {
        let state = self.context.state.as_ref();
        let text = state.and_then(|state| state.to_str().ok());
        text.unwrap_or_default().to_owned()
    }

    fn attributes(&self) -> Vec<otlp::KeyValue> {
        let mut attributes = vec![
            otlp::text("oip.door", self.way.name()),
            otlp::text("oip.model.name", self.model.as_str()),
            otlp::text("oip.code", self.code()),
        ];
        if let Some(version) = &self.version {
            attributes.push(otlp::text("oip.model.version", version.as_str()));
        }
        if self.ending.is_failure() {
            attributes.push(otlp::text("error.type", self.code()));
        }
        attributes
    }

    fn compute(&self) -> Vec<otlp::KeyValue> {
        let ns = |took: Duration| i64::try_from(took.as_nanos()).unwrap_or(i64::MAX);
        let mut attributes = vec![
            otlp::number("oip.input_ns", ns(self.parts.input)),
            otlp::number("oip.infer_ns", ns(self.parts.infer)),
            otlp::number("oip.output_ns", ns(self.parts.output)),
        ];
        if let Some(batch) = self.parts.batch {
            let batch = i64::try_from(batch).unwrap_or(i64::MAX);
            attributes.push(otlp::number("oip.batch_size", batch));
        }
        attributes
    }

    /// A line of the log, where traces have nowhere else to go.
    pub(super) fn log(&self) {
        let us = |room: Room| {
            let laps = self.laps.iter().filter(|(_, lap)| lap.room == room);
            let took: Duration = laps.map(|(_, lap)| lap.took).sum();
            u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
        };
        tracing::info!(
            target: "oip::trace",
            trace_id = hex(&self.context.trace),
            span_id = hex(&self.context.span),
            door = self.way.name(),
            model = self.model,
            code = self.code(),
            authenticate_us = us(Room::Authenticate),
            decide_us = us(Room::Decide),
            decode_us = us(Room::Decode),
            validate_us = us(Room::Validate),
            queue_us = us(Room::Queue),
            compute_us = us(Room::Compute),
            encode_us = us(Room::Encode),
            total_us = u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX),
            "inference traced"
        );
    }
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use oip_core::models::Handled;
    use oip_core::{Access, Arrival, Dataplane, DefaultModelHandler, Limits};
    use oip_protocol::InferRequest;

    use super::*;

    #[tokio::test]
    async fn a_span_is_named_by_a_model_that_is_there_and_by_no_name_that_a_caller_makes_up() {
        let models = Arc::new(Handled::new(DefaultModelHandler, ["m"]));
        let dataplane = Dataplane::new(models, Access::open(), Limits::default());
        dataplane.start().await;
        let caller = dataplane.authenticate(Arrival::default()).await.unwrap();
        for (asked, name) in [("m", "infer m"), ("made up", "infer")] {
            let model = ModelRef::new(asked);
            let mut seen = Seen::new(Way::Grpc);
            let permit = dataplane.authorize_model(&caller, model.clone()).await;
            let request = InferRequest::default();
            let ran = dataplane.infer_seen(permit.unwrap(), request, None, &mut seen);
            let failed = Ending::Failed(ran.await.unwrap_err().kind());
            let (context, begun) = (TraceContext::begin(), SystemTime::now());
            let traced = Traced::new(context, begun, &seen, Some(&model), failed);
            let mut spans = Vec::new();
            traced.write(&mut spans);
            assert_eq!(spans[0].name, name);
            assert!(
                spans[0]
                    .attributes
                    .contains(&otlp::text("oip.model.name", asked))
            );
        }
    }
}
