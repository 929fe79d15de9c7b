//! How the bytes of a connection travel: plain, or by TLS. Always plain in a build without TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::connection::Connection;
use super::drain::Drain;
use super::insistent::Insistent;
#[cfg(feature = "tls")]
use crate::door::Remote;
use crate::telemetry::OpenConnection;
#[cfg(feature = "tls")]
use crate::tls::Tls;

#[cfg(not(feature = "tls"))]
enum Tls {}

/// How long a handshake may go on when the server stops.
#[cfg(feature = "tls")]
const HANDSHAKE_AT_STOP: std::time::Duration = std::time::Duration::from_millis(500);

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

    /// Whether nothing is spoken but TLS.
    pub(super) fn is_tls(&self) -> bool {
        self.tls.is_some()
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

    /// Brings a connection to its doors, after a handshake where there is one. `open` is how it
    /// counts.
    pub(super) async fn serve(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        mut connection: Connection,
        open: &OpenConnection,
    ) {
        let life = Arc::clone(&connection.doors.life);
        let around = |stream| Insistent::new(stream, Arc::clone(&life));
        let Some(tls) = &self.tls else {
            return connection.serve(around(stream)).await;
        };
        let patience = connection.doors.limits.header_timeout;
        let opened = tokio::select! {
            opened = tls.open_connection(stream, patience, around) => opened,
            // A client that has just come may finish it.
            () = connection.drain.begun_for(HANDSHAKE_AT_STOP) => return,
            () = life.left() => return,
        };
        match opened {
            Ok(opened) => {
                connection.doors.remote = Arc::new(Remote {
                    peer: Some(peer),
                    certificate: opened.certificate,
                });
                connection.serve(opened.stream).await;
            }
            Err(error) => {
                open.handshake_failed();
                tracing::debug!(%peer, %error, "TLS handshake failed");
            }
        }
    }
}

#[cfg(not(feature = "tls"))]
impl Transport {
    pub(super) fn start(&self, _: &Drain) {}

    pub(super) async fn serve(
        &self,
        stream: TcpStream,
        _: SocketAddr,
        connection: Connection,
        _: &OpenConnection,
    ) {
        let life = Arc::clone(&connection.doors.life);
        match &self.tls {
            None => connection.serve(Insistent::new(stream, life)).await,
            Some(never) => match **never {},
        }
    }
}
