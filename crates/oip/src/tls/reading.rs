//! Reading the files again when they change.

use std::sync::Arc;

use super::files::{Files, Loaded, now};
use super::{Tls, TlsError};

/// What the last looks found.
pub(super) struct Seen {
    /// The contents in force.
    good: [u8; 32],
    /// Contents, or a fault of reading, that were of no use.
    bad: Option<Bad>,
    /// Whether it was said that the certificate in force has expired.
    expiry_told: bool,
}

#[derive(PartialEq)]
enum Found {
    Content([u8; 32]),
    Unreadable(String),
}

struct Bad {
    found: Found,
    told: bool,
}

impl Seen {
    pub(super) fn new(good: [u8; 32]) -> Self {
        Self {
            good,
            bad: None,
            expiry_told: false,
        }
    }
}

impl Tls {
    /// Reads the files again, where their contents are others: contents are compared and not
    /// dates, as Kubernetes swaps symlinks. What is of no use leaves the old certificate in force.
    pub(crate) async fn look(self: &Arc<Self>) {
        let tls = Arc::clone(self);
        let looked = tokio::task::spawn_blocking(move || tls.look_now()).await;
        if let Err(error) = looked {
            tracing::error!(%error, "the files of TLS could not be looked at");
        }
    }

    fn look_now(&self) {
        let mut seen = self.seen.blocking_lock();
        let (found, loaded) = match Files::read(&self.settings) {
            Err(error) => (Found::Unreadable(error.to_string()), Err(error)),
            Ok(files) => {
                let print = files.fingerprint();
                if print == seen.good {
                    seen.bad = None;
                    self.tell_of_expiry(&mut seen);
                    return;
                }
                let known = Found::Content(print);
                if seen
                    .bad
                    .as_ref()
                    .is_some_and(|bad| bad.told && bad.found == known)
                {
                    self.tell_of_expiry(&mut seen);
                    return;
                }
                (known, files.load(&self.settings))
            }
        };
        match (loaded, found) {
            (Ok(loaded), Found::Content(print)) => self.take(loaded, print, &mut seen),
            (Err(error), found) => tell_of_fault(&error, found, &mut seen),
            (Ok(_), Found::Unreadable(_)) => {}
        }
        self.tell_of_expiry(&mut seen);
    }

    fn take(&self, loaded: Loaded, print: [u8; 32], seen: &mut Seen) {
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        self.current.store(Arc::new(loaded));
        *seen = Seen::new(print);
        tracing::info!(
            cert = %self.settings.cert.display(),
            "TLS: read again after a change; new connections get what is there now"
        );
    }

    fn tell_of_expiry(&self, seen: &mut Seen) {
        if !seen.expiry_told && now() > self.loaded().not_after {
            seen.expiry_told = true;
            tracing::error!(
                cert = %self.settings.cert.display(),
                "TLS: the certificate in force has expired, clients will refuse it: replace it"
            );
        }
    }
}

/// Certificate and key are two files, and a look may fall between their two writes: what is of no
/// use is told when the next look finds it still there.
fn tell_of_fault(error: &TlsError, found: Found, seen: &mut Seen) {
    match &mut seen.bad {
        Some(bad) if bad.found == found => {
            if !bad.told {
                tracing::error!(fault = %error, "TLS: changed and is not usable; the certificate \
                    that was read before stays in force");
            }
            bad.told = true;
        }
        bad => *bad = Some(Bad { found, told: false }),
    }
}
