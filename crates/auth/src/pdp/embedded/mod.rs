//! Cedar policies, decided in this process, and the built-in policy.
//!
//! Policies are held against the schema (`examples/policies/oip.cedarschema`) when they are read:
//! a misspelt attribute or a type that does not fit refuses to start, or leaves the old policies
//! in force where they are read again. That leaves few faults for later, and those never permit.

mod policies;
mod question;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use oip_core::BoxFuture;
use oip_core::access::{Action, Decision, PolicyDecisionPoint, Question};
use thiserror::Error;
use tracing::{error, info, warn};

use super::Explain;
use policies::Policies;

/// What Cedar policies may speak of.
pub const SCHEMA: &str = include_str!("oip.cedarschema");

/// The policy where there is no file: an authenticated subject may do everything but load and
/// unload, role `admin` everything, `Anonymous` live, ready and server metadata.
pub const BUILTIN: &str = include_str!("builtin.cedar");

/// Why there are no policies.
#[derive(Debug, Error)]
pub enum PolicyError {
    /// The file cannot be read.
    #[error("policy file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The text is no policies, or does not fit the schema.
    #[error("{origin}: {faults}")]
    Invalid {
        /// The file, or what else the policies come from.
        origin: String,
        /// Every fault with its line, separated by `; `.
        faults: String,
    },
}

/// A decision point that evaluates Cedar policies.
#[derive(Debug)]
pub struct Embedded {
    file: Option<PathBuf>,
    current: ArcSwap<Policies>,
    seen: Mutex<Stamp>,
}

/// What tells one state of a file from another, without reading it. `None` where there is no file.
type Stamp = Option<(SystemTime, u64)>;

impl Embedded {
    /// The built-in policy.
    ///
    /// # Errors
    /// None: the text is part of this crate and tested. The signature is that of its siblings.
    pub fn builtin() -> Result<Self, PolicyError> {
        Self::from_text("the built-in policy", BUILTIN)
    }

    /// Policies from a text; `origin` names it in errors.
    ///
    /// # Errors
    /// [`PolicyError::Invalid`].
    pub fn from_text(origin: &str, text: &str) -> Result<Self, PolicyError> {
        Ok(Self {
            file: None,
            current: ArcSwap::from_pointee(Policies::read(origin, text)?),
            seen: Mutex::new(None),
        })
    }

    /// Policies from a file.
    ///
    /// # Errors
    /// [`PolicyError`]; a server must not start then.
    pub fn from_file(path: impl Into<PathBuf>) -> Result<Self, PolicyError> {
        let path = path.into();
        let seen = stamp(&path);
        let policies = read_file(&path)?;
        Ok(Self {
            current: ArcSwap::from_pointee(policies),
            seen: Mutex::new(seen),
            file: Some(path),
        })
    }

    /// Whether there is no policy at all: then everybody is refused everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.current.load().is_empty()
    }

    /// Reads the file again if it has changed since; says whether it did.
    ///
    /// # Errors
    /// [`PolicyError`] once for each change; the old policies stay in force.
    pub fn reload_if_changed(&self) -> Result<bool, PolicyError> {
        let Some(path) = &self.file else {
            return Ok(false);
        };
        let now = stamp(path);
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == now {
                return Ok(false);
            }
            *seen = now;
        }
        self.current.store(Arc::new(read_file(path)?));
        Ok(true)
    }

    /// Looks at the file at intervals, for as long as this decision point is in use elsewhere.
    /// Must be called within a tokio runtime.
    pub fn watch(self: &Arc<Self>, every: Duration) {
        let Some(path) = self.file.clone() else {
            return;
        };
        let watched = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                let Some(embedded) = watched.upgrade() else {
                    return;
                };
                let look = tokio::task::spawn_blocking(move || {
                    let read = embedded.reload_if_changed()?;
                    Ok::<_, PolicyError>((read, embedded.is_empty()))
                });
                match look.await {
                    Ok(Ok((false, _))) => {}
                    Ok(Ok((true, false))) => info!(file = ?path, "policies read again"),
                    Ok(Ok((true, true))) => {
                        warn!(file = ?path, "no policy is left: everybody is refused everything");
                    }
                    Ok(Err(fault)) => error!(%fault, "the old policies stay in force"),
                    Err(fault) => error!(%fault, "reading the policies failed"),
                }
            }
        });
    }
}

fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn read_file(path: &Path) -> Result<Policies, PolicyError> {
    let text = std::fs::read_to_string(path).map_err(|source| PolicyError::Read {
        path: path.to_owned(),
        source,
    })?;
    Policies::read(&format!("policy file {}", path.display()), &text)
}

impl PolicyDecisionPoint for Embedded {
    fn decide<'a>(&'a self, question: &'a Question<'a>) -> BoxFuture<'a, Decision> {
        Box::pin(async move { self.current.load().decide(question) })
    }

    fn name(&self) -> &'static str {
        "embedded"
    }

    fn may_permit_anonymous(&self, action: Action) -> bool {
        self.current.load().may_permit_anonymous(action)
    }
}

impl Explain for Embedded {
    fn asked(&self, question: &Question<'_>) -> String {
        question::shown(question)
    }
}

#[cfg(test)]
mod example_tests;
#[cfg(test)]
mod tests;
