//! TLS at both doors, over real sockets.

mod authority;
mod client;
mod doors;
mod names;

use std::sync::{Arc, Mutex};

use oip::access::{Decision, PolicyDecisionPoint, Question};
use oip::auth::{Authentication, AuthenticationConfig};
use oip::testing::TestServer;
use oip::tls::{ClientAuth, Tls, TlsSettings};
use oip::{Access, Server};
use tempfile::TempDir;

use crate::lab;
use authority::Authority;
use client::Trust;

/// A server's certificate in a folder, and who signed it.
struct Pki {
    authority: Authority,
    folder: TempDir,
}

impl Pki {
    fn new() -> Self {
        let authority = Authority::new("servers");
        let folder = tempfile::tempdir().unwrap();
        authority.write_server(folder.path());
        Self { authority, folder }
    }

    fn settings(&self) -> TlsSettings {
        let path = self.folder.path();
        TlsSettings::of(path.join("cert.pem"), path.join("key.pem"))
    }

    /// The settings that ask clients for certificates of this authority.
    fn asking(&self, clients: &Authority, auth: ClientAuth) -> TlsSettings {
        let path = self.folder.path().join("clients.pem");
        std::fs::write(&path, clients.pem()).unwrap();
        self.settings().client_ca(path, auth)
    }
}

fn secured(settings: TlsSettings) -> Server {
    lab::server().tls(Tls::open(settings).unwrap())
}

async fn start(settings: TlsSettings) -> TestServer {
    TestServer::start(secured(settings)).await.unwrap()
}

/// Permits everything and remembers to whom.
#[derive(Default)]
struct Remembering(Mutex<Vec<String>>);

impl Remembering {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl PolicyDecisionPoint for Remembering {
    fn decide<'a>(
        &'a self,
        question: &'a Question<'a>,
    ) -> std::pin::Pin<Box<dyn Future<Output = Decision> + Send + 'a>> {
        self.0.lock().unwrap().push(question.caller.id().to_owned());
        Box::pin(async {
            Decision::Permit {
                reason: "yes".into(),
            }
        })
    }
}

/// A server whose callers are the subjects of their certificates, and what its policy was asked.
async fn start_guarded(settings: TlsSettings) -> (TestServer, Arc<Remembering>) {
    let config = AuthenticationConfig {
        client_certificates: true,
        ..AuthenticationConfig::default()
    };
    let (authentication, _) = Authentication::new(&config).unwrap();
    let policy = Arc::new(Remembering::default());
    let access = Access::new(Arc::new(authentication), Arc::clone(&policy) as _);
    let server = secured(settings).access(access);
    (TestServer::start(server).await.unwrap(), policy)
}

/// Asks both doors; whether each answered with the model's doubled numbers or its metadata.
async fn ask_both(server: &TestServer, trust: &Trust) -> (bool, bool) {
    let rest = trust.get(server.rest_address(), "/v2/models/double").await;
    let grpc = trust.double(server.grpc_address()).await;
    (
        rest.is_ok_and(|status| status == 200),
        grpc.is_some_and(|answer| answer.is_ok()),
    )
}
