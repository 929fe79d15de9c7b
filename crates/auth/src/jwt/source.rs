//! Where the keys come from.

use std::sync::Arc;

use super::{KeySet, Remote};
use crate::rejection::Rejection;
use crate::watched::Watched;

/// Where the keys come from.
#[derive(Debug)]
pub(crate) enum KeySource {
    /// The configuration itself.
    Fixed(Arc<KeySet>),
    /// A file: a secret, a public key or a key set, read again when it changes.
    File(Arc<Watched<KeySet>>),
    /// A key set behind a URL.
    Remote(Arc<Remote>),
}

impl KeySource {
    /// The keys in force.
    pub(crate) async fn current(&self) -> Result<Arc<KeySet>, Rejection> {
        match self {
            Self::Fixed(keys) => Ok(Arc::clone(keys)),
            Self::File(file) => Ok(file.current().await),
            Self::Remote(remote) => remote.current().await,
        }
    }

    /// Fetches what is behind a URL.
    pub(crate) async fn prepare(&self) {
        if let Self::Remote(remote) = self {
            remote.refresh().await;
        }
    }

    /// Keys that were published after `known`, if they can be had now.
    pub(crate) async fn newer_than(&self, known: &KeySet) -> Option<Arc<KeySet>> {
        match self {
            Self::Fixed(_) | Self::File(_) => None,
            Self::Remote(remote) => remote.newer_than(known).await,
        }
    }
}
