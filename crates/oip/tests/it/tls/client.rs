//! Clients that speak TLS: HTTP/1.1 by hand, and gRPC.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use oip::client::Client;
use oip::{InferRequest, ModelRef, Result};
use rustls::{ClientConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::Endpoint;

use super::authority::{Authority, Identity};
use crate::{http, lab};

/// What a client trusts and shows.
#[derive(Clone)]
pub(super) struct Trust(ClientConfig);

impl Trust {
    pub(super) fn new(authority: &Authority, shown: Option<&Identity>) -> Self {
        Self::with_versions(authority, shown, rustls::ALL_VERSIONS)
    }

    pub(super) fn with_versions(
        authority: &Authority,
        shown: Option<&Identity>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(authority.roots());
        Self(match shown {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let (chain, key) = identity.parts();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        })
    }

    pub(super) async fn connect(
        &self,
        address: SocketAddr,
        protocol: &[u8],
    ) -> io::Result<TlsStream<TcpStream>> {
        let mut config = self.0.clone();
        config.alpn_protocols = vec![protocol.to_vec()];
        let stream = TcpStream::connect(address).await?;
        let name = "localhost".try_into().unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    }

    /// The status of a `GET`, or what went wrong: of a client's certificate TLS 1.3 says so only
    /// after the client has begun to send.
    pub(super) async fn get(&self, address: SocketAddr, path: &str) -> io::Result<u16> {
        self.get_with(address, path, "").await
    }

    pub(super) async fn get_with(
        &self,
        address: SocketAddr,
        path: &str,
        headers: &str,
    ) -> io::Result<u16> {
        Ok(self.ask(address, path, headers).await?.status)
    }

    /// The text of what is there.
    pub(super) async fn page(&self, address: SocketAddr, path: &str) -> io::Result<String> {
        let answer = self.ask(address, path, "").await?;
        String::from_utf8(answer.body).map_err(io::Error::other)
    }

    async fn ask(
        &self,
        address: SocketAddr,
        path: &str,
        headers: &str,
    ) -> io::Result<http::Answer> {
        let mut stream = self.connect(address, b"http/1.1").await?;
        let head =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(http::parse(&answer))
    }

    /// A client of the gRPC door.
    pub(super) async fn grpc(&self, address: SocketAddr) -> Option<Client> {
        let trust = self.clone();
        let connector = tower::service_fn(move |_| {
            let trust = trust.clone();
            async move { trust.connect(address, b"h2").await.map(TokioIo::new) }
        });
        // The scheme is that of a plain address, as the connector brings the TLS.
        let endpoint = Endpoint::from_static("http://localhost");
        let channel = endpoint.connect_with_connector(connector).await;
        channel.ok().map(Client::over)
    }

    /// Runs the model `double` by gRPC.
    pub(super) async fn double(&self, address: SocketAddr) -> Option<Result<Vec<f32>>> {
        let client = self.grpc(address).await?;
        let request = InferRequest::new([lab::x()]).output("y");
        let answer = client.infer(ModelRef::new("double"), request).await;
        Some(answer.and_then(|answer| {
            let doubled = answer.output("y").expect("y").to_slice::<f32>()?;
            Ok(doubled.to_vec())
        }))
    }
}
