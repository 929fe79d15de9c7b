//! How the bytes of a connection travel: plain, or by TLS. Always plain in a build without TLS.

use std::sync::Arc;

use tokio::net::TcpStream;

use super::accept::Connection;
use super::drain::Drain;
#[cfg(feature = "tls")]
use crate::tls::Tls;

#[cfg(not(feature = "tls"))]
enum Tls {}

/// How the bytes of every connection of a server travel.
#[derive(Clone, Default)]
pub(super) struct Transport {
    tls: Option<Arc<Tls>>,
}

impl Transport {
    /// What addresses of the REST door begin with.
    pub(super) fn scheme(&self) -> &'static str {
        match self.tls {
            None => "http",
            Some(_) => "https",
        }
    }
}

#[cfg(feature = "tls")]
impl Transport {
    pub(super) fn of(tls: Tls) -> Self {
        Self {
            tls: Some(Arc::new(tls)),
        }
    }

    /// Watches the certificate's files until the drain is over.
    pub(super) fn start(&self, drain: &Drain) {
        /// How often the files are looked at.
        const LOOK_EVERY: std::time::Duration = std::time::Duration::from_secs(2);

        let (Some(tls), drain) = (self.tls.clone(), drain.clone()) else {
            return;
        };
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = tokio::time::sleep(LOOK_EVERY) => tls.look().await,
                    () = drain.over() => return,
                }
            }
        });
    }

    /// Brings a connection to its doors, after a handshake where there is one.
    pub(super) async fn serve(&self, stream: TcpStream, mut connection: Connection) {
        let Some(tls) = &self.tls else {
            return connection.serve(stream).await;
        };
        let (peer, patience) = (
            connection.doors.peer,
            connection.doors.limits.header_timeout,
        );
        let opened = tokio::select! {
            opened = tls.open_connection(stream, peer, patience) => opened,
            // No request can be in flight yet.
            () = connection.drain.begun() => None,
        };
        if let Some(opened) = opened {
            connection.doors.certificate = opened.certificate;
            connection.serve(opened.stream).await;
        }
    }
}

#[cfg(not(feature = "tls"))]
impl Transport {
    pub(super) fn start(&self, _: &Drain) {}

    pub(super) async fn serve(&self, stream: TcpStream, connection: Connection) {
        match &self.tls {
            None => connection.serve(stream).await,
            Some(never) => match **never {},
        }
    }
}
