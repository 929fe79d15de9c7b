//! Where events go: a file, a line each, or an address, a request each.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::{Captured, event};
use crate::telemetry::outbox::Fates;
use crate::telemetry::post::{Plain, Post, PostError};

/// How often a sink that fails says so.
const SAID_EVERY: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(super) struct Sink {
    to: To,
    said: Option<Instant>,
}

#[derive(Clone)]
enum To {
    File(Arc<File>),
    Address(Post),
}

impl Sink {
    pub(super) fn new(to: &str) -> Result<Self, PostError> {
        let is_address = ["http://", "https://"]
            .iter()
            .any(|scheme| to.starts_with(scheme));
        let to = match is_address {
            true => To::Address(Post::new(to, Plain::Loopback, Vec::new())?),
            false => To::File(Arc::new(open(to)?)),
        };
        Ok(Self { to, said: None })
    }

    /// Writes an event, or counts it as lost.
    pub(super) fn write(&mut self, captured: &Captured, runtime: &Handle, fates: &Fates) {
        let mut line = event::write(captured);
        let written = match &self.to {
            To::File(file) => {
                line.push('\n');
                (&**file)
                    .write_all(line.as_bytes())
                    .map_err(|error| error.to_string())
            }
            To::Address(post) => {
                runtime.block_on(post.send("application/cloudevents+json", line.into()))
            }
        };
        match written {
            Ok(()) => _ = fates.done.fetch_add(1, Relaxed),
            Err(error) => {
                fates.failed.fetch_add(1, Relaxed);
                if self.said.is_none_or(|said| said.elapsed() >= SAID_EVERY) {
                    tracing::warn!("payloads cannot be kept: {error}");
                    self.said = Some(Instant::now());
                }
            }
        }
    }
}

/// A file that is added to, and that only its owner can read.
fn open(path: &str) -> Result<File, PostError> {
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(0o600);
    options
        .open(path)
        .map_err(|error| PostError(format!("{path}: {error}")))
}
