//! How many connections are open, and how many may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The connections of one server.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: AtomicUsize,
    most: AtomicUsize,
}

/// One of them, until it is dropped.
pub(crate) struct OpenConnection(Arc<Connections>);

impl Connections {
    /// So many may be open, of the doors together.
    pub(crate) fn allow(&self, most: usize) {
        self.most.store(most, Relaxed);
    }

    pub(crate) fn begin(self: &Arc<Self>) -> OpenConnection {
        self.open.fetch_add(1, Relaxed);
        OpenConnection(Arc::clone(self))
    }

    /// How many are open, those beyond the limit and those of `/metrics` included.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    pub(crate) fn most(&self) -> usize {
        self.most.load(Relaxed)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}
