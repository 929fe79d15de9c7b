//! A decision point that answers what a test tells it: raw bytes over a loopback socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use oip_core::access::PolicyDecisionPoint;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::http::{HttpClient, HttpOptions};
use crate::pdp::xacml::Xacml;
use crate::pdp::{authzen::AuthZen, opa::Opa};

/// What to do with every request.
#[derive(Clone)]
pub(crate) enum Answer {
    /// These bytes, then close.
    Bytes(Vec<u8>),
    /// These bytes, then nothing, on a connection that stays open.
    Stall(Vec<u8>),
    /// A head, then bytes without end.
    Endless,
    /// Nothing.
    Silence,
    /// A byte of a good answer every now and then.
    Drip,
}

impl Answer {
    /// A whole answer.
    pub(crate) fn http(status: &str, content_type: &str, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let length = body.len();
        let mut bytes = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\
             Location: http://127.0.0.1:1/\r\nConnection: close\r\n\r\n"
        )
        .into_bytes();
        bytes.extend_from_slice(body);
        Self::Bytes(bytes)
    }

    pub(crate) fn json(body: impl AsRef<[u8]>) -> Self {
        Self::http("200 OK", "application/json", body)
    }
}

pub(crate) struct Stub {
    pub(crate) url: String,
    asked: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Stub {
    pub(crate) async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/pdp", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, answer.clone(), Arc::clone(&count)));
            }
        });
        Self { url, asked, task }
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, answer: Answer, asked: Arc<AtomicUsize>) {
    let mut head = [0; 16 << 10];
    if !matches!(stream.read(&mut head).await, Ok(1..)) {
        return;
    }
    asked.fetch_add(1, Ordering::SeqCst);
    match answer {
        Answer::Bytes(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
            // Take what is still coming, so that the answer is not lost to a reset.
            while matches!(stream.read(&mut head).await, Ok(1..)) {}
        }
        Answer::Stall(bytes) => {
            let _ = stream.write_all(&bytes).await;
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        Answer::Endless => {
            let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[";
            let mut open = stream.write_all(head).await.is_ok();
            while open {
                open = stream.write_all(&[b' '; 4096]).await.is_ok();
            }
        }
        Answer::Silence => tokio::time::sleep(Duration::from_secs(60)).await,
        Answer::Drip => {
            let Answer::Bytes(bytes) = Answer::json(PERMIT) else {
                return;
            };
            for byte in bytes {
                tokio::time::sleep(Duration::from_millis(20)).await;
                if stream.write_all(&[byte]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// A body that all three protocols read as a permit.
pub(crate) const PERMIT: &str =
    r#"{"Response":[{"Decision":"Permit"}],"decision":true,"result":true}"#;

pub(crate) fn client() -> Arc<HttpClient> {
    patient(Duration::from_millis(600))
}

fn patient(timeout: Duration) -> Arc<HttpClient> {
    let options = HttpOptions {
        timeout,
        max_response_bytes: 64 << 10,
        ..HttpOptions::default()
    };
    Arc::new(HttpClient::new(options).unwrap())
}

/// The three remote decision points, all at one address.
pub(crate) fn remotes(url: &str) -> Vec<Arc<dyn PolicyDecisionPoint>> {
    remotes_within(url, Duration::from_millis(600))
}

/// The same, which wait so long for an answer.
pub(crate) fn remotes_within(url: &str, timeout: Duration) -> Vec<Arc<dyn PolicyDecisionPoint>> {
    let client = patient(timeout);
    vec![
        Arc::new(Xacml::new(Arc::clone(&client), url).unwrap()),
        Arc::new(AuthZen::new(Arc::clone(&client), url).unwrap()),
        Arc::new(Opa::new(client, url).unwrap()),
    ]
}
