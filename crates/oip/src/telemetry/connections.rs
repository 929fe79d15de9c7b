//! How many connections are open, and streams that may rest, and how many may be.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The connections of one server.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: AtomicUsize,
    most: AtomicUsize,
    streams: AtomicUsize,
    calls: Mutex<Calls>,
    failed_handshakes: AtomicU64,
}

/// Calls whose messages are waited for, by their numbers: the oldest first.
#[derive(Debug, Default)]
struct Calls {
    next: u64,
    waiting: BTreeMap<u64, Arc<Notify>>,
}

/// One of them, until it is dropped.
pub(crate) struct OpenConnection(Arc<Connections>);

/// A stream that lives as long as its caller likes, until it is dropped.
pub(crate) struct OpenStream(Arc<Connections>);

/// A call whose message is waited for, until it is dropped.
pub(crate) struct WaitingCall {
    connections: Arc<Connections>,
    number: u64,
    displaced: Arc<Notify>,
}

impl Connections {
    /// So many may be open, of the doors together.
    pub(crate) fn allow(&self, most: usize) {
        self.most.store(most, Relaxed);
    }

    pub(crate) fn begin(self: &Arc<Self>) -> OpenConnection {
        self.open.fetch_add(1, Relaxed);
        OpenConnection(Arc::clone(self))
    }

    /// One more stream that may rest. `None` where there are as many as there may be connections:
    /// one connection carries many, and none of them counts as in flight while it rests.
    pub(crate) fn begin_stream(self: &Arc<Self>) -> Option<OpenStream> {
        let most = self.most_of_others();
        let begun = self.streams.fetch_update(Relaxed, Relaxed, |open| {
            (open < most).then(|| open.saturating_add(1))
        });
        begun.ok().map(|_| OpenStream(Arc::clone(self)))
    }

    /// One more call whose message is waited for, and that counts nowhere else. Where there are as
    /// many as there may be connections, the one that has waited longest is displaced: most
    /// messages come at once, and who holds many calls back must not keep others away.
    pub(crate) fn begin_call(self: &Arc<Self>) -> WaitingCall {
        let displaced = Arc::<Notify>::default();
        let mut calls = self.calls();
        let number = calls.next;
        calls.next += 1;
        calls.waiting.insert(number, Arc::clone(&displaced));
        if calls.waiting.len() > self.most_of_others()
            && let Some((_, oldest)) = calls.waiting.pop_first()
        {
            oldest.notify_one();
        }
        drop(calls);
        WaitingCall {
            connections: Arc::clone(self),
            number,
            displaced,
        }
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there may be of what many connections carry: as many as connections.
    fn most_of_others(&self) -> usize {
        match self.most() {
            0 => usize::MAX,
            most => most,
        }
    }

    /// How many are open, those beyond the limit and those of `/metrics` included.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    pub(crate) fn most(&self) -> usize {
        self.most.load(Relaxed)
    }

    /// How many handshakes of TLS have failed.
    pub(crate) fn failed_handshakes(&self) -> u64 {
        self.failed_handshakes.load(Relaxed)
    }
}

#[cfg(feature = "tls")]
impl OpenConnection {
    /// Its handshake has failed.
    pub(crate) fn handshake_failed(&self) {
        self.0.failed_handshakes.fetch_add(1, Relaxed);
    }
}

impl WaitingCall {
    /// Is done when it has to make room for another.
    pub(crate) async fn displaced(&self) {
        self.displaced.notified().await;
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Relaxed);
    }
}

impl Drop for WaitingCall {
    fn drop(&mut self) {
        self.connections.calls().waiting.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_streams_as_there_may_be_connections() {
        let connections = Arc::<Connections>::default();
        let unbounded: Vec<_> = (0..10).map(|_| connections.begin_stream()).collect();
        assert!(unbounded.iter().all(Option::is_some));
        drop(unbounded);
        connections.allow(2);
        let [one, two] = [connections.begin_stream(), connections.begin_stream()];
        assert!(one.is_some() && two.is_some() && connections.begin_stream().is_none());
        drop(one);
        assert!(connections.begin_stream().is_some());
    }

    #[test]
    fn the_call_that_has_waited_longest_makes_room_for_a_further_one() {
        use futures_util::FutureExt;

        let connections = Arc::<Connections>::default();
        connections.allow(2);
        let is_displaced = |call: &WaitingCall| call.displaced().now_or_never().is_some();
        let [first, second] = [connections.begin_call(), connections.begin_call()];
        assert!(!is_displaced(&first));
        let third = connections.begin_call();
        assert!(is_displaced(&first) && !is_displaced(&second));
        drop((first, second));
        let fourth = connections.begin_call();
        assert!(!is_displaced(&third) && !is_displaced(&fourth));
        drop((third, fourth));
        assert!(connections.calls().waiting.is_empty());
    }
}
