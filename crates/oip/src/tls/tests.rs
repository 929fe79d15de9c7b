use std::path::Path;
use std::time::Duration;

use oip_protocol::Limit;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use tempfile::TempDir;

use super::*;

/// A folder with `cert.pem` and `key.pem` for localhost.
fn folder() -> (TempDir, TlsSettings) {
    let folder = tempfile::tempdir().unwrap();
    write_pair(folder.path(), |_| {});
    let settings = settings(folder.path());
    (folder, settings)
}

fn settings(folder: &Path) -> TlsSettings {
    TlsSettings::of(folder.join("cert.pem"), folder.join("key.pem"))
}

fn write_pair(folder: &Path, change: impl FnOnce(&mut CertificateParams)) {
    let (cert, key) = pair(change);
    std::fs::write(folder.join("cert.pem"), cert).unwrap();
    std::fs::write(folder.join("key.pem"), key).unwrap();
}

fn pair(change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn refusal(settings: TlsSettings) -> String {
    match Tls::open(settings) {
        Ok(_) => panic!("it is not refused"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_pair_that_fits_is_taken_without_a_word() {
    let (_folder, settings) = folder();
    assert!(Tls::open(settings).unwrap().warnings().is_empty());
}

#[test]
fn one_file_may_hold_both() {
    let (folder, _) = folder();
    let (cert, key) = pair(|_| {});
    let both = folder.path().join("both.pem");
    std::fs::write(&both, key + &cert).unwrap();
    assert!(Tls::open(TlsSettings::of(&both, &both)).is_ok());
}

#[test]
fn a_file_that_is_of_no_use_is_refused_by_option_and_name() {
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let (other_cert, other_key) = pair(|_| {});
    for (file, content, fault) in [
        ("cert.pem", "", "is empty"),
        ("cert.pem", " \n", "is empty"),
        ("cert.pem", "hello", "holds no certificate"),
        ("cert.pem", broken, "is no certificate that can be read"),
        (
            "cert.pem",
            "-----BEGIN CERTIFICATE-----\nAAAA\n",
            "breaks off",
        ),
        ("cert.pem", &other_key, "holds no certificate"),
        ("key.pem", "", "is empty"),
        ("key.pem", &other_cert, "holds no private key"),
        ("key.pem", encrypted, "encrypted"),
        (
            "key.pem",
            &other_key,
            "is not the key of the first certificate",
        ),
    ] {
        let (folder, settings) = folder();
        let path = folder.path().join(file);
        std::fs::write(&path, content).unwrap();
        let message = refusal(settings);
        let option = format!("tls_{}: {}", file.trim_end_matches(".pem"), path.display());
        assert!(
            message.contains(&option) && message.contains(fault),
            "{message}"
        );
        assert!(!message.contains("AAAA"), "{message}");
    }
    let (folder, settings) = folder();
    std::fs::remove_file(folder.path().join("key.pem")).unwrap();
    let message = refusal(settings);
    assert!(
        message.starts_with("tls_key: ") && message.contains("cannot be read"),
        "{message}"
    );
}

#[test]
fn an_expired_certificate_is_refused_and_one_of_tomorrow_is_warned_about() {
    let (folder, settings) = folder();
    write_pair(folder.path(), |params| {
        params.not_after = date_time_ymd(2001, 1, 1)
    });
    assert!(refusal(settings.clone()).contains("has expired"));
    write_pair(folder.path(), |params| {
        params.not_before = date_time_ymd(3000, 1, 1)
    });
    let warnings = Tls::open(settings).unwrap().warnings();
    assert!(warnings[0].contains("not valid yet"), "{warnings:?}");
}

fn authority(change: impl FnOnce(&mut CertificateParams)) -> String {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut params);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap())
        .unwrap()
        .pem()
}

#[test]
fn authorities_that_expired_are_left_out_and_at_least_one_must_stay() {
    let (folder, settings) = folder();
    let path = folder.path().join("ca.pem");
    let settings = settings.client_ca(&path, ClientAuth::Required);
    let old = authority(|params| params.not_after = date_time_ymd(2001, 1, 1));
    for (content, fault) in [
        ("", "is empty"),
        ("x", "holds no certificate"),
        (&old, "expired"),
    ] {
        std::fs::write(&path, content).unwrap();
        let message = refusal(settings.clone());
        assert!(
            message.starts_with("tls_client_ca: ") && message.contains(fault),
            "{message}"
        );
    }
    std::fs::write(&path, old + &authority(|_| {})).unwrap();
    let warnings = Tls::open(settings).unwrap().warnings();
    assert!(warnings[0].contains("holds 1 that expired"), "{warnings:?}");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_may_take_as_long_as_a_head_and_is_counted_as_one_when_it_takes_longer() {
    let (_folder, settings) = folder();
    let tls = Tls::open(settings).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = tokio::net::TcpStream::connect(listener.local_addr().unwrap());
    let (silent, accepted) = tokio::join!(silent, listener.accept());
    let (stream, _) = accepted.unwrap();
    let (begun, before) = (tokio::time::Instant::now(), Limit::HeaderTimeout.count());
    let patience = Duration::from_secs(25);
    let opened = tls.open_connection(stream, patience, |stream| stream).await;
    assert_eq!(opened.err().unwrap().kind(), std::io::ErrorKind::TimedOut);
    assert!(begun.elapsed() >= patience);
    assert!(Limit::HeaderTimeout.count() > before);
    drop(silent);
}

/// Looks at the files, and tells the certificate in force by its last second.
async fn in_force(tls: &Arc<Tls>) -> u64 {
    tls.look().await;
    tls.loaded().not_after
}

#[tokio::test]
async fn a_change_is_taken_up_and_a_broken_one_leaves_the_old_certificate_in_force() {
    let (folder, settings) = folder();
    let tls = Arc::new(Tls::open(settings).unwrap());
    let first = in_force(&tls).await;
    write_pair(folder.path(), |params| {
        params.not_after = date_time_ymd(3000, 1, 1)
    });
    let second = in_force(&tls).await;
    assert_ne!(first, second);
    std::fs::write(folder.path().join("cert.pem"), "hello").unwrap();
    for _ in 0..3 {
        assert_eq!(in_force(&tls).await, second);
    }
    // Half of a pair is no pair, and the other half makes it one.
    let (cert, key) = pair(|params| params.not_after = date_time_ymd(3001, 1, 1));
    std::fs::write(folder.path().join("cert.pem"), cert).unwrap();
    assert_eq!(in_force(&tls).await, second);
    std::fs::write(folder.path().join("key.pem"), key).unwrap();
    assert_ne!(in_force(&tls).await, second);
    std::fs::remove_file(folder.path().join("key.pem")).unwrap();
    in_force(&tls).await;
}
