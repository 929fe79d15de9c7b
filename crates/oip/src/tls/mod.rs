//! TLS for both doors: the files, the handshake, and who is at the other end.
//!
//! Files are read and checked at once ([`Tls::open`]) and again when they change; new connections
//! then get the new certificate, and those that are open live on. No part of a certificate or key
//! is ever logged.

mod files;
mod handshake;
mod reading;

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

pub use crate::config::{ClientAuth, TlsSettings};
use files::{Files, Loaded};
use reading::Seen;

/// Why there is no TLS. A server must not start then.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {} {fault}", path.display())]
#[non_exhaustive]
pub struct TlsError {
    /// The option.
    pub key: &'static str,
    /// The file it names.
    pub path: PathBuf,
    /// What is wrong with it, a sentence's end.
    pub fault: String,
}

/// TLS 1.2 and 1.3 with the certificate of some files, for HTTP/1.1 and HTTP/2.
///
/// ```no_run
/// # use oip::{DefaultModelHandler, Server};
/// use oip::tls::{Tls, TlsSettings};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tls = Tls::open(TlsSettings::of("server.pem", "server.key"))?;
/// Server::new(DefaultModelHandler).tls(tls).without_authentication().serve().await?;
/// # Ok(())
/// # }
/// ```
pub struct Tls {
    settings: TlsSettings,
    current: ArcSwap<Loaded>,
    seen: Mutex<Seen>,
}

impl Tls {
    /// Reads the files and checks that they fit together.
    ///
    /// # Errors
    /// [`TlsError`], a sentence for the operator that names the option and the file: one is
    /// missing, empty, expired or broken, or the key is another certificate's.
    pub fn open(settings: TlsSettings) -> Result<Self, TlsError> {
        let files = Files::read(&settings)?;
        let loaded = files.load(&settings)?;
        Ok(Self {
            seen: Mutex::new(Seen::new(files.fingerprint())),
            current: ArcSwap::from_pointee(loaded),
            settings,
        })
    }

    /// What the operator should be told at start, one sentence each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.current.load().warnings.clone()
    }

    fn loaded(&self) -> Arc<Loaded> {
        self.current.load_full()
    }
}

#[cfg(test)]
mod tests;
