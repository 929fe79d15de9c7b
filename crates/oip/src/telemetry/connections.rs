//! How many connections are open, and streams that may rest, and how many may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// The connections of one server.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: AtomicUsize,
    most: AtomicUsize,
    streams: AtomicUsize,
    failed_handshakes: AtomicU64,
}

/// One of them, until it is dropped.
pub(crate) struct OpenConnection(Arc<Connections>);

/// A stream that lives as long as its caller likes, until it is dropped.
pub(crate) struct OpenStream(Arc<Connections>);

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
        let most = match self.most() {
            0 => usize::MAX,
            most => most,
        };
        let begun = self.streams.fetch_update(Relaxed, Relaxed, |open| {
            (open < most).then(|| open.saturating_add(1))
        });
        begun.ok().map(|_| OpenStream(Arc::clone(self)))
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
}
