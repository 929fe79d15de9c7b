//! Cedar policies, decided in this process, and the built-in policy.
//!
//! Policies are held against the schema (`examples/policies/oip.cedarschema`) when they are read:
//! a misspelt attribute or a type that does not fit refuses to start, or leaves the old policies
//! in force where they are read again. That leaves few faults for later, and those never permit.

mod policies;
mod question;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use oip_core::BoxFuture;
use oip_core::access::{Action, Decision, PolicyDecisionPoint, Question};
use thiserror::Error;
use tracing::{error, info, warn};

use super::Explain;
use crate::watched::fingerprint;
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
    seen: Mutex<Seen>,
}

/// What was seen of the file.
#[derive(Debug, Default)]
struct Seen {
    /// Of the content that was taken, or refused as no policies.
    judged: Vec<u8>,
    /// What the last look found: a content, or why there was none.
    last: Option<Result<Vec<u8>, String>>,
}

impl Seen {
    /// Whether a content is to be judged: another one than before, and found twice in a row. A
    /// file that is being written is not the same at two looks.
    fn settles(&mut self, content: Vec<u8>) -> bool {
        if content == self.judged {
            self.last = None;
            return false;
        }
        let settled = self.last.as_ref() == Some(&Ok(content.clone()));
        match settled {
            true => (self.judged, self.last) = (content, None),
            false => self.last = Some(Ok(content)),
        }
        settled
    }

    /// Whether a fault is another one than that of the last look.
    fn is_new(&mut self, fault: &PolicyError) -> bool {
        let fault = Some(Err(fault.to_string()));
        let new = self.last != fault;
        self.last = fault;
        new
    }
}

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
            seen: Mutex::default(),
        })
    }

    /// Policies from a file.
    ///
    /// # Errors
    /// [`PolicyError`]; a server must not start then.
    pub fn from_file(path: impl Into<PathBuf>) -> Result<Self, PolicyError> {
        let path = path.into();
        let content = content(&path)?;
        let policies = parse(&path, &content)?;
        Ok(Self {
            current: ArcSwap::from_pointee(policies),
            seen: Mutex::new(Seen {
                judged: fingerprint(&content),
                last: None,
            }),
            file: Some(path),
        })
    }

    /// Whether there is no policy at all: then everybody is refused everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.current.load().is_empty()
    }

    /// Looks at the file, and takes what it says where two looks in a row found the same new
    /// content; says whether it did.
    ///
    /// # Errors
    /// [`PolicyError`] once for each change, and for a file that cannot be read once until that
    /// is over or another fault; the old policies stay in force, and the next look tries again.
    pub fn reload_if_changed(&self) -> Result<bool, PolicyError> {
        let Some(path) = &self.file else {
            return Ok(false);
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let content = match content(path) {
            Ok(content) => content,
            Err(fault) if seen.is_new(&fault) => return Err(fault),
            Err(_) => return Ok(false),
        };
        if !seen.settles(fingerprint(&content)) {
            return Ok(false);
        }
        self.current.store(Arc::new(parse(path, &content)?));
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

fn content(path: &Path) -> Result<Vec<u8>, PolicyError> {
    std::fs::read(path).map_err(|source| unreadable(path, source))
}

fn parse(path: &Path, content: &[u8]) -> Result<Policies, PolicyError> {
    let text = std::str::from_utf8(content)
        .map_err(|error| unreadable(path, std::io::Error::new(ErrorKind::InvalidData, error)))?;
    Policies::read(&format!("policy file {}", path.display()), text)
}

fn unreadable(path: &Path, source: std::io::Error) -> PolicyError {
    PolicyError::Read {
        path: path.to_owned(),
        source,
    }
}

impl PolicyDecisionPoint for Embedded {
    fn decide<'a>(&'a self, question: &'a Question<'a>) -> BoxFuture<'a, Decision> {
        Box::pin(async move { self.current.load().decide(question) })
    }

    fn decide_at_once(&self, question: &Question<'_>) -> Option<Decision> {
        Some(self.current.load().decide(question))
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
