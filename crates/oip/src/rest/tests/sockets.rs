//! What only shows on a real connection: what a client reads when it is refused while it writes.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::testing::TestServer;

use super::*;

/// Sends bytes as they are, and reads until the answer's JSON ends.
async fn raw(head: &str, body: &[u8]) -> String {
    let server = TestServer::start(crate::Server::new(Echo).without_authentication())
        .await
        .unwrap();
    let mut stream = TcpStream::connect(server.rest_address()).await.unwrap();
    stream
        .write_all(head.replace('\n', "\r\n").as_bytes())
        .await
        .unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = String::new();
    let mut piece = [0; 4096];
    while !answer.ends_with('}') {
        let read = stream.read(&mut piece).await.unwrap();
        assert_ne!(read, 0, "closed after {answer:?}");
        answer.push_str(std::str::from_utf8(&piece[..read]).unwrap());
    }
    answer
}

#[tokio::test]
async fn a_malformed_chunk_is_answered() {
    let head = "POST /v2/models/m/infer HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n";
    let answer = raw(head, b"5\r\nhello\r\nzz\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn a_refusal_is_read_by_a_client_that_sends_its_whole_body_first() {
    let head = "POST /nothing HTTP/1.1\nHost: a\nContent-Length: 8000000\n\n";
    let answer = raw(head, &vec![b'x'; 8_000_000]).await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_refused_at_once() {
    let head = "POST /nothing HTTP/1.1\nHost: a\nContent-Length: 8000000\nExpect: 100-continue\n\n";
    let answer = raw(head, b"").await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}
