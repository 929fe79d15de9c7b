use std::sync::atomic::{AtomicUsize, Ordering};

use oip_protocol::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::clock::Clock;
use crate::testing::{bear, build, content, token};
use crate::{Authentication, AuthenticationConfig};

/// An identity provider whose answers can be changed, and which counts what it is asked.
#[derive(Clone)]
struct Provider {
    address: String,
    asked: Arc<AtomicUsize>,
    /// Status and body of the key set.
    answer: Arc<std::sync::Mutex<(u16, String)>>,
    /// The issuer and the key set's address that the configuration names.
    discovery: Arc<std::sync::Mutex<(String, String)>>,
    last: Arc<std::sync::Mutex<String>>,
}

impl Provider {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let provider = Self {
            asked: Arc::default(),
            answer: Arc::new((200, content("jwks-old.json")).into()),
            discovery: Arc::new((address.clone(), format!("{address}/jwks")).into()),
            last: Arc::default(),
            address,
        };
        let serving = provider.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut buffer = vec![0; 8192];
                let read = stream.read(&mut buffer).await.unwrap_or(0);
                let request = String::from_utf8_lossy(&buffer[..read]).into_owned();
                let (status, body) = serving.reply(&request);
                let head = format!(
                    "HTTP/1.1 {status} x\r\nconnection: close\r\nlocation: /jwks\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            }
        });
        provider
    }

    fn reply(&self, request: &str) -> (u16, String) {
        *self.last.lock().unwrap() = request.to_owned();
        if request.contains("/.well-known/openid-configuration") {
            let (issuer, jwks_uri) = self.discovery.lock().unwrap().clone();
            let body = serde_json::json!({"issuer": issuer, "jwks_uri": jwks_uri});
            return (200, body.to_string());
        }
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.answer.lock().unwrap().clone()
    }

    fn publish(&self, status: u16, body: &str) {
        *self.answer.lock().unwrap() = (status, body.to_owned());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn config(&self) -> AuthenticationConfig {
        AuthenticationConfig {
            algorithms: vec!["ES256".into()],
            jwks_url: Some(format!("{}/jwks", self.address)),
            jwks: RemoteOptions {
                refresh_after: Duration::from_millis(400),
                min_interval: Duration::from_millis(200),
                stale_for: Duration::from_millis(2500),
                token_file: None,
            },
            jwks_timeout: Duration::from_secs(2),
            ..AuthenticationConfig::default()
        }
    }
}

async fn wait(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

async fn kind(who: &Authentication, name: &str) -> Option<ErrorKind> {
    bear(who, &token(name))
        .await
        .err()
        .map(|error| error.kind())
}

#[tokio::test]
async fn keys_are_fetched_once_and_kept() {
    let provider = Provider::start().await;
    let who = build(&provider.config());
    who.prepare().await;
    for _ in 0..20 {
        assert_eq!(kind(&who, "old").await, None);
    }
    assert_eq!(provider.asked(), 1);
}

#[tokio::test]
async fn a_rotated_key_works_at_once_and_the_withdrawn_one_no_longer() {
    let provider = Provider::start().await;
    let who = build(&provider.config());
    assert_eq!(kind(&who, "old").await, None);
    provider.publish(200, &content("jwks-new.json"));
    wait(220).await;
    assert_eq!(kind(&who, "new").await, None);
    assert_eq!(kind(&who, "old").await, Some(ErrorKind::Unauthenticated));
    assert!(provider.asked() >= 2);
}

#[tokio::test]
async fn unknown_kids_cause_at_most_one_refresh_in_an_interval() {
    let provider = Provider::start().await;
    let mut config = provider.config();
    config.jwks.min_interval = Duration::from_secs(60);
    config.jwks.refresh_after = Duration::from_secs(60);
    let who = Arc::new(build(&config));
    let tries = (0..50).map(|_| {
        let who = Arc::clone(&who);
        tokio::spawn(async move { kind(&who, "new").await })
    });
    for found in tries.collect::<Vec<_>>() {
        assert_eq!(found.await.unwrap(), Some(ErrorKind::Unauthenticated));
    }
    assert_eq!(provider.asked(), 1);
}

#[tokio::test]
async fn callers_do_not_queue_for_a_fetch_each_where_one_outlasts_the_interval() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = Provider::start().await.config();
    config.jwks_url = Some(format!("http://{}/jwks", listener.local_addr().unwrap()));
    config.jwks_timeout = Duration::from_millis(500);
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            kept.push(stream);
        }
    });
    let who = Arc::new(build(&config));
    let tries = (0..5).map(|_| {
        let who = Arc::clone(&who);
        tokio::spawn(async move { kind(&who, "old").await })
    });
    for found in tries.collect::<Vec<_>>() {
        assert_eq!(found.await.unwrap(), Some(ErrorKind::Unavailable));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

/// A key set in which every key has this name.
fn named(set: &str, kid: &serde_json::Value, times: usize) -> String {
    let mut set: serde_json::Value = serde_json::from_str(&content(set)).unwrap();
    let keys = set["keys"].as_array_mut().unwrap();
    for key in keys.iter_mut() {
        key["kid"] = kid.clone();
    }
    *keys = vec![keys.clone(); times].concat();
    set.to_string()
}

fn kid(set: &str) -> serde_json::Value {
    let set: serde_json::Value = serde_json::from_str(&content(set)).unwrap();
    set["keys"][0]["kid"].clone()
}

#[tokio::test]
async fn a_key_that_was_replaced_under_its_old_name_works_at_once() {
    let provider = Provider::start().await;
    let mut config = provider.config();
    config.jwks.refresh_after = Duration::from_secs(60);
    config.jwks.stale_for = Duration::from_secs(60);
    provider.publish(200, &named("jwks-old.json", &kid("jwks-new.json"), 1));
    let who = build(&config);
    assert_eq!(kind(&who, "new").await, Some(ErrorKind::Unauthenticated));
    provider.publish(200, &content("jwks-new.json"));
    wait(220).await;
    assert_eq!(kind(&who, "new").await, None);
}

#[tokio::test]
async fn a_token_that_more_keys_fit_than_are_tried_is_refused_for_that() {
    let provider = Provider::start().await;
    provider.publish(200, &named("jwks-old.json", &kid("jwks-new.json"), 5));
    let who = build(&provider.config());
    let error = bear(&who, &token("new")).await.unwrap_err();
    assert!(
        error.cause().unwrap().contains("only the first 4"),
        "{error:?}"
    );
}

#[tokio::test]
async fn while_the_provider_is_down_old_keys_hold_and_then_no_token_does() {
    let provider = Provider::start().await;
    let who = build(&provider.config());
    assert_eq!(kind(&who, "old").await, None);
    for (status, body) in [
        (500, "down"),
        (200, "<html>"),
        (200, "{\"keys\":[]}"),
        (302, ""),
    ] {
        provider.publish(status, body);
        wait(220).await;
        assert_eq!(kind(&who, "old").await, None, "{status} {body}");
    }
    wait(1700).await;
    assert_eq!(kind(&who, "old").await, Some(ErrorKind::Unavailable));
    provider.publish(200, &content("jwks-old.json"));
    wait(220).await;
    assert_eq!(kind(&who, "old").await, None);
}

#[tokio::test]
async fn without_keys_yet_no_token_holds_and_the_fault_is_said_to_be_here() {
    let provider = Provider::start().await;
    provider.publish(503, "");
    let who = build(&provider.config());
    let error = bear(&who, &token("old")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.retry_after_seconds().is_some());
    provider.publish(200, &content("jwks-old.json"));
    wait(220).await;
    assert_eq!(kind(&who, "old").await, None);
}

#[tokio::test]
async fn a_caller_who_leaves_does_not_take_the_refresh_along() {
    let provider = Provider::start().await;
    let who = build(&provider.config());
    let credential = token("old");
    tokio::select! {
        biased;
        _ = bear(&who, &credential) => unreachable!("nobody has answered yet"),
        () = std::future::ready(()) => {}
    }
    wait(80).await;
    assert_eq!(provider.asked(), 1);
    assert_eq!(kind(&who, "old").await, None);
    assert_eq!(provider.asked(), 1);
}

#[tokio::test]
async fn a_provider_is_discovered_by_its_issuer_and_must_name_it_exactly() {
    let provider = Provider::start().await;
    let mut config = provider.config();
    config.jwks_url = None;
    config.issuer = Some(provider.address.clone());
    let who = build(&config);
    who.prepare().await;
    assert_eq!(provider.asked(), 1);
    // The token names no issuer, so it does not hold; but its key was found.
    let error = bear(&who, &token("old")).await.unwrap_err();
    assert!(error.cause().unwrap().contains("\"iss\""), "{error:?}");

    *provider.discovery.lock().unwrap() = (
        "https://evil.example".into(),
        format!("{}/jwks", provider.address),
    );
    let who = build(&config);
    assert_eq!(kind(&who, "old").await, Some(ErrorKind::Unavailable));
    assert_eq!(provider.asked(), 1);
}

#[tokio::test]
async fn a_discovered_key_set_on_plain_http_elsewhere_is_not_fetched() {
    let provider = Provider::start().await;
    let mut config = provider.config();
    config.jwks_url = None;
    config.issuer = Some(provider.address.clone());
    *provider.discovery.lock().unwrap() = (provider.address.clone(), "http://10.0.0.1/jwks".into());
    let who = build(&config);
    assert_eq!(kind(&who, "old").await, Some(ErrorKind::Unavailable));
}

#[tokio::test]
async fn a_token_file_that_holds_no_token_is_found_out_at_the_start_and_shown_to_nobody_later() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let provider = Provider::start().await;
    let mut config = provider.config();
    config.jwks.token_file = Some(file.clone());
    for (content, fault) in [
        (None, "No such file"),
        (Some(" \n"), "is blank"),
        (Some("two words"), "more than one token"),
    ] {
        if let Some(content) = content {
            std::fs::write(&file, content).unwrap();
        }
        let error = Authentication::with_clock(&config, Clock::system())
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("auth_jwks_token_file: "), "{error}");
        assert!(error.contains(fault) && error.contains("/token"), "{error}");
        assert!(!error.contains("words"), "{error}");
    }
    std::fs::write(&file, "pod-token").unwrap();
    let who = build(&config);
    std::fs::write(&file, "two words").unwrap();
    who.prepare().await;
    assert_eq!(provider.asked(), 0);
    assert_eq!(kind(&who, "old").await, Some(ErrorKind::Unavailable));
}

#[tokio::test]
async fn the_token_of_the_token_file_is_shown_to_the_configured_host_alone() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "pod-token\n").unwrap();
    let provider = Provider::start().await;
    let mut config = provider.config();
    config.jwks.token_file = Some(file.path().to_owned());
    build(&config).prepare().await;
    let last = provider.last.lock().unwrap().to_lowercase();
    assert!(
        last.contains("authorization: bearer pod-token\r\n"),
        "{last}"
    );

    let other = Provider::start().await;
    *provider.discovery.lock().unwrap() =
        (provider.address.clone(), format!("{}/jwks", other.address));
    config.jwks_url = None;
    config.issuer = Some(provider.address.clone());
    build(&config).prepare().await;
    assert_eq!(other.asked(), 1);
    assert!(
        !other
            .last
            .lock()
            .unwrap()
            .to_lowercase()
            .contains("authorization")
    );
}

#[tokio::test]
async fn an_endless_key_set_is_given_up_on() {
    let provider = Provider::start().await;
    provider.publish(200, &format!("{{\"keys\":[{}]}}", " ".repeat(2 << 20)));
    let who = build(&provider.config());
    assert_eq!(kind(&who, "old").await, Some(ErrorKind::Unavailable));
}
