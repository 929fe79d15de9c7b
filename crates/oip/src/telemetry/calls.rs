//! How many calls of which kind were answered with which code.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use oip_core::Action;

/// The statuses that the REST door answers with. What is not among them counts as the last.
const STATUSES: [u16; 18] = [
    200, 204, 206, 400, 401, 403, 404, 405, 413, 414, 415, 429, 431, 500, 501, 503, 504, 0,
];
/// The names of gRPC's codes, by their numbers.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];
/// Kinds of calls: the actions, and what is none of them.
const KINDS: usize = Action::ALL.len() + 1;

/// Counts calls.
#[derive(Default)]
pub(crate) struct Calls {
    rest: [Counters<{ STATUSES.len() }>; KINDS],
    grpc: [Counters<{ CODES.len() }>; KINDS],
}

struct Counters<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Counters<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

fn kind(action: Option<Action>) -> usize {
    action.map_or(KINDS - 1, |action| action as usize)
}

impl Calls {
    /// The REST door has answered.
    pub(crate) fn rest(&self, action: Option<Action>, status: u16) {
        let place = match status {
            200 => 0,
            status => STATUSES
                .iter()
                .position(|known| *known == status)
                .unwrap_or(STATUSES.len() - 1),
        };
        self.rest[kind(action)].0[place].fetch_add(1, Relaxed);
    }

    /// The gRPC door has answered.
    pub(crate) fn grpc(&self, action: Option<Action>, code: i32) {
        let code = usize::try_from(code)
            .ok()
            .filter(|code| *code < CODES.len());
        self.grpc[kind(action)].0[code.unwrap_or(2)].fetch_add(1, Relaxed);
    }

    /// What was counted: the door, the kind of call, the code, and how often. What never was is
    /// left out.
    pub(crate) fn read(&self) -> Vec<(&'static str, &'static str, String, u64)> {
        let mut read = Vec::new();
        let name = |kind: usize| {
            Action::ALL
                .get(kind)
                .map_or("other", |action| action.name())
        };
        for (kind, counters) in self.rest.iter().enumerate() {
            for (status, count) in STATUSES.iter().zip(&counters.0) {
                let code = match status {
                    0 => "other".to_owned(),
                    status => status.to_string(),
                };
                read.push(("rest", name(kind), code, count.load(Relaxed)));
            }
        }
        for (kind, counters) in self.grpc.iter().enumerate() {
            for (code, count) in CODES.iter().zip(&counters.0) {
                read.push(("grpc", name(kind), (*code).to_owned(), count.load(Relaxed)));
            }
        }
        read.retain(|(.., count)| *count > 0);
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_have_the_numbers_of_their_order_and_every_status_of_the_table_has_a_place() {
        for (n, action) in Action::ALL.into_iter().enumerate() {
            assert_eq!(kind(Some(action)), n);
        }
        for kind in oip_protocol::ErrorKind::ALL {
            assert!(STATUSES.contains(&kind.http_status()));
            let code = usize::try_from(kind.grpc_code()).unwrap();
            assert_eq!(CODES[code], kind.grpc_name());
        }
    }

    #[test]
    fn calls_are_counted_by_door_kind_and_code() {
        let calls = Calls::default();
        calls.rest(Some(Action::Infer), 200);
        calls.rest(None, 418);
        calls.grpc(Some(Action::Load), 7);
        let read = calls.read();
        assert_eq!(
            read,
            [
                ("rest", "infer", "200".to_owned(), 1),
                ("rest", "other", "other".to_owned(), 1),
                ("grpc", "load", "PERMISSION_DENIED".to_owned(), 1),
            ]
        );
    }
}
