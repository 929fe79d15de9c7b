//! The beginning of a connection: the handshake, and the certificate of the other end.

use std::io;
use std::time::Duration;

use oip_auth::certificate::Certificate;
use oip_protocol::Limit;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Tls;
use crate::door::ClientCertificate;

/// The first byte of a handshake (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// What a client reads that speaks plain HTTP here.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n\
    content-length: 53\r\nconnection: close\r\n\r\n\
    {\"error\":\"this port speaks TLS: begin with https://\"}";

/// A connection after its handshake.
pub(crate) struct Opened<S> {
    pub(crate) stream: TlsStream<S>,
    /// The certificate that was shown and holds.
    pub(crate) certificate: Option<ClientCertificate>,
}

impl Tls {
    /// Shakes hands within `patience`, with what is put `around` the socket of a client that does
    /// begin a handshake.
    ///
    /// # Errors
    /// Why it failed; the connection is gone.
    pub(crate) async fn open_connection<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: TcpStream,
        patience: Duration,
        around: impl FnOnce(TcpStream) -> S,
    ) -> io::Result<Opened<S>> {
        let opened = tokio::time::timeout(patience, self.shake_hands(stream, around)).await;
        opened.unwrap_or_else(|_| {
            Limit::HeaderTimeout.reached();
            Err(io::ErrorKind::TimedOut.into())
        })
    }

    async fn shake_hands<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut stream: TcpStream,
        around: impl FnOnce(TcpStream) -> S,
    ) -> io::Result<Opened<S>> {
        let mut first = [0];
        match stream.peek(&mut first).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ if first == [HANDSHAKE_RECORD] => {}
            _ => {
                answer_plain(&mut stream).await?;
                return Err(io::Error::other("it speaks no TLS"));
            }
        }
        let acceptor = TlsAcceptor::from(self.loaded().config.clone());
        let stream = acceptor.accept(around(stream)).await?;
        let (_, session) = stream.get_ref();
        let shown = session.peer_certificates().and_then(<[_]>::first);
        let certificate = shown.map(holder);
        Ok(Opened {
            stream,
            certificate,
        })
    }
}

/// Whose certificate it is. One that names nobody still is a credential, and one that cannot hold.
fn holder(der: &CertificateDer<'_>) -> ClientCertificate {
    let read = Certificate::from_der(der).and_then(|read| Ok((read.name()?, read.not_after())));
    let (name, not_after) = read.unwrap_or_else(|error| {
        tracing::debug!(%error, "a client certificate names nobody");
        (String::new(), 0)
    });
    ClientCertificate::new(name, not_after)
}

/// Tells a client that speaks plain HTTP what is wrong.
async fn answer_plain(stream: &mut TcpStream) -> io::Result<()> {
    // What is left unread when a connection is closed resets it, and the answer may be lost.
    let mut request = [0; 4096];
    let _ = stream.read(&mut request).await?;
    stream.write_all(PLAIN).await?;
    stream.shutdown().await
}
