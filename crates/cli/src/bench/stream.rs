//! A connection to a server: TCP, or TLS over it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What gRPC is spoken in, as a handshake names it.
pub(super) const HTTP_2: &[u8] = b"h2";
/// What REST is spoken in here.
pub(super) const HTTP_1: &[u8] = b"http/1.1";

/// How a server is reached.
#[derive(Debug, Clone)]
pub(super) struct Way {
    pub(super) address: SocketAddr,
    pub(super) tls: Option<Tls>,
}

/// What a handshake needs.
#[derive(Debug, Clone)]
pub(super) struct Tls {
    /// Names one protocol.
    pub(super) config: Arc<ClientConfig>,
    /// Whose certificate it must be.
    pub(super) name: ServerName<'static>,
}

impl Way {
    /// Without TLS.
    pub(super) fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }

    /// Connects, and shakes hands where that is to be done.
    pub(super) async fn connect(&self) -> io::Result<Stream> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => Ok(Stream::Plain(stream)),
            Some(tls) => Ok(Stream::Tls(Box::new(tls.shake_hands(stream).await?))),
        }
    }
}

impl Tls {
    async fn shake_hands(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let stream = connector.connect(self.name.clone(), stream).await?;
        let (_, session) = stream.get_ref();
        // HTTP/1.1 is what a server means that agrees on nothing.
        let needed = self.config.alpn_protocols.iter().any(|it| it == HTTP_2);
        match session.alpn_protocol() {
            None if needed => Err(io::Error::other(
                "the server does not agree on HTTP/2 in its TLS handshake (ALPN)",
            )),
            _ => Ok(stream),
        }
    }
}

/// An open connection.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Sends all of these bytes.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes).await,
            Self::Tls(stream) => {
                stream.write_all(bytes).await?;
                // What is encrypted may still lie here.
                stream.flush().await
            }
        }
    }

    /// Reads once; 0 at the end.
    pub(super) async fn receive(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(into).await,
            Self::Tls(stream) => stream.read(into).await,
        }
    }

    /// The same for a library that speaks over it.
    pub(super) fn into_io(self) -> Box<dyn Io> {
        match self {
            Self::Plain(stream) => Box::new(stream),
            Self::Tls(stream) => stream,
        }
    }
}

/// What a library speaks over.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}
