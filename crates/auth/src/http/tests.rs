use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// A server that answers every request on a connection with these bytes, and counts connections.
async fn server(answer: &'static [u8], requests_each: usize) -> (Uri, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/x", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut buffer = vec![0; 4096];
                for _ in 0..requests_each {
                    if stream.read(&mut buffer).await.unwrap_or(0) == 0 {
                        return;
                    }
                    let _ = stream.write_all(answer).await;
                }
                if requests_each == usize::MAX {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    (uri.parse().unwrap(), connections)
}

fn client(timeout_ms: u64) -> HttpClient {
    HttpClient::new(HttpOptions {
        timeout: Duration::from_millis(timeout_ms),
        max_response_bytes: 1000,
        ..HttpOptions::default()
    })
    .unwrap()
}

const OK: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";

#[tokio::test]
async fn a_connection_is_used_again() {
    let (uri, connections) = server(OK, 1000).await;
    let client = client(5000);
    for _ in 0..5 {
        let response = client.get(&uri).await.unwrap();
        assert_eq!((response.status, &response.body[..]), (200, &b"{}"[..]));
        assert_eq!(response.content_type.as_deref(), Some("application/json"));
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_is_replaced() {
    let (uri, _) = server(OK, 1).await;
    let client = client(5000);
    for _ in 0..5 {
        let response = client.post(&uri, &[], Bytes::from_static(b"{}")).await;
        assert_eq!(response.unwrap().status, 200);
    }
}

#[tokio::test]
async fn the_token_of_a_file_is_shown_with_every_request_and_read_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let options = || HttpOptions {
        token_file: Some(file.clone()),
        ..HttpOptions::default()
    };
    for (text, fault) in [
        (None, "No such file"),
        (Some(" \n"), "blank"),
        (Some("a b"), "more than one"),
        (Some("a\u{fc}"), "more than one"),
    ] {
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        let error = HttpClient::new(options()).unwrap_err().to_string();
        assert!(error.contains(fault) && error.contains("token"), "{error}");
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri: Uri = format!("http://{}/x", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        for _ in 0..2 {
            let mut buffer = vec![0; 4096];
            let read = stream.read(&mut buffer).await.unwrap();
            asked.push(String::from_utf8_lossy(&buffer[..read]).into_owned());
            stream.write_all(OK).await.unwrap();
        }
        asked
    });
    std::fs::write(&file, "first\n").unwrap();
    let client = HttpClient::new(options()).unwrap();
    client.get(&uri).await.unwrap();
    std::fs::write(&file, "second").unwrap();
    client.post(&uri, &[], Bytes::new()).await.unwrap();
    let asked = asked.await.unwrap();
    assert!(
        asked[0].contains("authorization: Bearer first\r\n"),
        "{asked:?}"
    );
    assert!(
        asked[1].contains("authorization: Bearer second\r\n"),
        "{asked:?}"
    );
    assert!(!format!("{client:?}").contains("second"));
}

#[tokio::test]
async fn a_redirect_is_handed_back_and_not_followed() {
    let (uri, connections) = server(
        b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n",
        1000,
    )
    .await;
    assert_eq!(client(5000).get(&uri).await.unwrap().status, 302);
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_answer_over_the_limit_is_refused_declared_or_not() {
    let (declared, _) = server(
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\nxx",
        1000,
    )
    .await;
    let endless: &[u8] = Box::leak(
        [b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), &[b'x'; 2000]]
            .concat()
            .into_boxed_slice(),
    );
    let (endless, _) = server(endless, 1000).await;
    for uri in [declared, endless] {
        let error = client(2000).get(&uri).await.unwrap_err();
        assert!(matches!(error, HttpError::TooLarge(1000)), "{error:?}");
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_on() {
    let (uri, _) = server(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab", 1000).await;
    let error = client(100).get(&uri).await.unwrap_err();
    assert!(matches!(error, HttpError::TimedOut(_)), "{error:?}");
}

#[tokio::test]
async fn a_refused_connection_says_so() {
    let uri = "http://127.0.0.1:1/".parse().unwrap();
    let error = client(1000).get(&uri).await.unwrap_err();
    assert!(
        matches!(&error, HttpError::Connection(text) if text.contains("refused")),
        "{error}"
    );
}

#[test]
fn plain_http_leads_to_loopback_only_unless_allowed() {
    for url in [
        "http://localhost:1/",
        "http://127.0.0.2/",
        "http://[::1]:80/a",
        "https://a.example/",
    ] {
        assert!(check_url(url, PlainHttp::Loopback).is_ok(), "{url}");
    }
    for url in [
        "http://a.example/",
        "http://localhost.example/",
        "http://10.0.0.1/",
        "ftp://localhost/",
        "/x",
        "",
        "https://u:p@a.example/",
    ] {
        assert!(check_url(url, PlainHttp::Loopback).is_err(), "{url}");
    }
    assert!(check_url("http://a.example/", PlainHttp::Anywhere).is_ok());
}

#[test]
fn an_error_about_an_address_shows_no_password_and_no_query() {
    let error = check_url(
        "https://me:hunter2@a.example/p?key=k3y",
        PlainHttp::Loopback,
    )
    .unwrap_err();
    let text = error.to_string();
    assert!(text.contains("https://a.example/p"), "{text}");
    assert!(!text.contains("hunter2") && !text.contains("k3y"), "{text}");
}

#[test]
fn a_file_without_certificates_is_refused_by_name() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let options = HttpOptions {
        ca_file: Some(file.path().to_owned()),
        ..HttpOptions::default()
    };
    let text = HttpClient::new(options).unwrap_err().to_string();
    assert!(text.contains("no certificate") && text.contains(&file.path().display().to_string()));
}

#[test]
fn an_address_is_shown_without_what_could_be_a_secret() {
    for (given, expected) in [
        ("https://h:8443/keys", "https://h:8443/keys"),
        ("https://user:hunter2@h/keys?x=hunter3#y", "https://h/keys"),
        ("https://user:hunt/er2@h/keys", "https://***"),
        ("https://user:hunt?er2@h", "https://***"),
        ("http://[::1]/a", "http://[::1]/a"),
    ] {
        assert_eq!(shown(given), expected);
    }
}

#[tokio::test]
async fn authorities_that_were_renewed_in_place_are_trusted_and_a_broken_file_leaves_the_old_ones()
{
    let file = tempfile::NamedTempFile::new().unwrap();
    let authority = || {
        let made = rcgen::generate_simple_self_signed(["authority".to_owned()]);
        made.unwrap().cert.pem()
    };
    let write = |text: &str| std::fs::write(file.path(), text).unwrap();
    write(&authority());
    let options = HttpOptions {
        ca_file: Some(file.path().to_owned()),
        ..HttpOptions::default()
    };
    let client = HttpClient::new(options).unwrap();
    assert!(!client.renew().await, "they are the same");
    let renewed = authority();
    write(&renewed);
    assert!(client.renew().await && !client.renew().await);
    write(&renewed[..renewed.len() / 2]);
    assert!(!client.renew().await, "it is half written");
    write(&renewed);
    assert!(!client.renew().await, "the old ones are still there");
}
