use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::pdp::testing::{ask, model};
use oip_core::access::Decision;

const KEY: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

pub(super) fn key() -> Option<AuditKey> {
    Some(AuditKey::new(KEY).unwrap())
}

pub(super) async fn entry(subject: &str, name: &str) -> Entry<'static> {
    let decision = Decision::Permit {
        reason: "policy \"x\"".to_owned(),
    };
    ask(
        subject,
        &[],
        "infer",
        Some(model(name, Some("1"))),
        |question| {
            owned(Entry::of(
                question,
                &decision,
                "test",
                Duration::from_micros(7),
            ))
        },
    )
    .await
}

fn owned(entry: Entry<'_>) -> Entry<'static> {
    let own = |text: std::borrow::Cow<'_, str>| text.into_owned().into();
    Entry {
        subject: own(entry.subject),
        model: entry.model.map(own),
        version: entry.version.map(own),
        path: own(entry.path),
        reason: own(entry.reason),
        request_id: entry.request_id.map(own),
        time: entry.time,
        action: entry.action,
        ip: entry.ip,
        decision: entry.decision,
        enforced: entry.enforced,
        pdp: entry.pdp,
        latency_us: entry.latency_us,
    }
}

fn open(path: &Path, key: Option<AuditKey>, failure: AuditFailure) -> Result<AuditLog, AuditError> {
    AuditLog::open(AuditOptions {
        target: AuditTarget::File(path.to_owned()),
        key,
        failure,
        ..AuditOptions::default()
    })
}

/// A file of five lines, and its head.
async fn five(path: &Path, key: Option<AuditKey>) -> Head {
    let log = open(path, key, AuditFailure::Refuse).unwrap();
    for n in 0..5 {
        log.write(entry("alice", &format!("m{n}")).await)
            .await
            .unwrap();
    }
    log.close().unwrap()
}

pub(super) fn check(text: &str, key: Option<AuditKey>, head: Option<Head>) -> Report {
    verify(text.as_bytes(), key, head.as_slice()).unwrap()
}

async fn five_lines(with_key: bool) -> (Vec<String>, Head) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit");
    let head = five(&path, if with_key { key() } else { None }).await;
    let text = fs::read_to_string(&path).unwrap();
    (text.lines().map(|line| format!("{line}\n")).collect(), head)
}

#[tokio::test]
async fn a_line_is_json_and_says_who_what_where_and_why() {
    let (lines, _) = five_lines(true).await;
    let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    let expected = [
        ("seq", serde_json::json!(1)),
        ("subject", "alice".into()),
        ("action", "infer".into()),
        ("model", "m0".into()),
        ("version", "1".into()),
        ("ip", "192.0.2.7".into()),
        ("path", "/v2/test".into()),
        ("decision", "permit".into()),
        ("enforced", true.into()),
        ("reason", "policy \"x\"".into()),
        ("pdp", "test".into()),
        ("latency_us", 7.into()),
        ("request_id", "req-7".into()),
    ];
    for (name, value) in expected {
        assert_eq!(line[name], value, "{name}");
    }
    assert_eq!(line["hmac"].as_str().unwrap().len(), 64);
}

#[tokio::test]
async fn a_whole_chain_is_found_whole_with_and_without_a_key() {
    for with_key in [true, false] {
        let (lines, head) = five_lines(with_key).await;
        let report = check(
            &lines.concat(),
            with_key.then(|| key().unwrap()),
            Some(head),
        );
        assert!(report.is_whole(), "{:?}", report.findings);
        assert_eq!(
            (report.lines, report.keyed, report.head),
            (5, with_key, head)
        );
    }
}

#[tokio::test]
async fn a_changed_line_is_found() {
    let (mut lines, head) = five_lines(true).await;
    lines[2] = lines[2].replace("alice", "malice");
    let report = check(&lines.concat(), key(), Some(head));
    assert_eq!(report.findings, [Finding::Changed { line: 3, seq: 3 }]);
}

#[tokio::test]
async fn a_missing_line_is_found_wherever_it_was() {
    for gone in 0..5 {
        let (mut lines, head) = five_lines(true).await;
        lines.remove(gone);
        let report = check(&lines.concat(), key(), Some(head));
        let number = gone as u64 + 1;
        let expected = match number {
            5 => Finding::CutOff { last: 4, head: 5 },
            _ => Finding::Missing {
                line: number,
                from: number,
                to: number,
            },
        };
        assert_eq!(report.findings, [expected]);
    }
}

#[tokio::test]
async fn lines_cut_off_at_the_end_are_found_by_the_head_alone() {
    let (lines, head) = five_lines(true).await;
    let cut = lines[..3].concat();
    assert!(check(&cut, key(), None).is_whole());
    let report = check(&cut, key(), Some(head));
    assert_eq!(report.findings, [Finding::CutOff { last: 3, head: 5 }]);
    let empty = check("", key(), Some(head));
    assert_eq!(empty.findings, [Finding::CutOff { last: 0, head: 5 }]);
}

#[tokio::test]
async fn lines_that_changed_places_are_found() {
    let (mut lines, head) = five_lines(true).await;
    lines.swap(1, 3);
    let report = check(&lines.concat(), key(), Some(head));
    assert!(
        report
            .findings
            .contains(&Finding::OutOfOrder { line: 4, seq: 2 })
    );
}

#[tokio::test]
async fn a_chain_forged_without_the_key_is_found_and_without_a_key_the_head_still_tells() {
    let (forged, _) = five_lines(false).await;
    let (_, head) = five_lines(true).await;
    let report = check(&forged.concat(), key(), Some(head));
    assert!(
        report
            .findings
            .contains(&Finding::OtherSeal { line: 1, seq: 1 })
    );
    let again = check(&forged.concat(), None, Some(head));
    assert_eq!(again.findings, [Finding::OtherHead { head: 5 }]);
}

#[tokio::test]
async fn another_key_verifies_nothing() {
    let (lines, _) = five_lines(true).await;
    let other = AuditKey::new(&[7; 32]).unwrap();
    assert_eq!(check(&lines.concat(), Some(other), None).found, 5);
}

#[tokio::test]
async fn the_chain_goes_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit");
    five(&path, key()).await;
    let head = five(&path, key()).await;
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(head.count, 10);
    assert!(check(&text, key(), Some(head)).is_whole());
}

#[tokio::test]
async fn after_a_torn_line_the_chain_goes_on_and_the_torn_line_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit");
    five(&path, key()).await;
    let mut text = fs::read_to_string(&path).unwrap();
    text.push_str("{\"seq\":6,\"time\":\"20");
    fs::write(&path, text).unwrap();
    let head = five(&path, key()).await;
    let report = check(&fs::read_to_string(&path).unwrap(), key(), Some(head));
    assert_eq!(report.findings, [Finding::NotALine { line: 6 }]);
    assert_eq!(report.lines, 10);
}

#[tokio::test]
async fn a_file_begun_without_a_key_is_not_gone_on_with_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit");
    five(&path, None).await;
    let error = open(&path, key(), AuditFailure::Refuse).unwrap_err();
    assert!(error.to_string().contains("name another file"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_audit_is_not_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hosts");
    fs::write(&path, "127.0.0.1 localhost\n").unwrap();
    assert!(open(&path, None, AuditFailure::Refuse).is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "127.0.0.1 localhost\n");
}

#[tokio::test]
async fn two_logs_do_not_share_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit");
    let first = open(&path, None, AuditFailure::Refuse).unwrap();
    let error = open(&path, None, AuditFailure::Refuse).unwrap_err();
    assert!(error.to_string().contains("another process"), "{error}");
    first.close();
}

#[tokio::test]
async fn a_line_break_in_a_subject_does_not_make_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit");
    let log = open(&path, None, AuditFailure::Refuse).unwrap();
    let evil = "bob\nFAKE LOG LINE\r\u{85}\u{2028}\u{1b}[31m\u{202e}\u{1f600}\",\"sha256\":\"";
    log.write(entry(evil, evil).await).await.unwrap();
    let head = log.close();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 1);
    assert!(
        text.trim_end()
            .bytes()
            .all(|byte| (b' '..=b'~').contains(&byte))
    );
    let line: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["subject"], evil);
    assert!(check(&text, None, head).is_whole());
}

#[tokio::test]
async fn a_subject_of_a_megabyte_makes_a_short_line() {
    let line = entry(&"\u{1f600}".repeat(1 << 20), "m")
        .await
        .members()
        .unwrap();
    assert!(line.len() < 16 << 10);
}

/// `/dev/full` opens and refuses every write, as a full disk does.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn when_the_disk_is_full_refuse_refuses_and_continue_goes_on() {
    let full = Path::new("/dev/full");
    let log = open(full, None, AuditFailure::Refuse);
    let Ok(log) = log else { return }; // not readable everywhere
    assert!(matches!(
        log.write(entry("a", "m").await).await,
        Err(AuditError::Write(_))
    ));
    log.close();
    let log = open(full, None, AuditFailure::Continue).unwrap();
    log.write(entry("a", "m").await).await.unwrap();
}

#[tokio::test]
async fn a_closed_log_refuses() {
    let log = AuditLog::open(AuditOptions::default()).unwrap();
    log.close();
    let refused = log.write(entry("a", "m").await).await;
    assert!(matches!(refused, Err(AuditError::Closed)));
}

#[tokio::test]
async fn lines_that_were_lost_are_counted_in_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit");
    let log = open(&path, None, AuditFailure::Continue).unwrap();
    log.0.tally.lose(2);
    log.write(entry("a", "m").await).await.unwrap();
    let head = log.close();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("2 decisions before this line"), "{text}");
    assert!(check(&text, None, head).is_whole());
}

#[test]
fn a_short_key_is_refused_and_none_is_ever_shown() {
    assert!(AuditKey::new(b"short").is_err());
    assert!(!format!("{:?}", key()).contains("0123"));
}

#[test]
fn a_head_is_read_as_it_is_written() {
    let head = Head {
        count: 7,
        code: [0xab; 32],
    };
    assert_eq!(head.to_string().parse(), Ok(head));
    assert!("7:xyz".parse::<Head>().is_err());
}

proptest! {
    #[test]
    fn no_file_makes_verify_fail_in_any_way_but_findings(bytes: Vec<u8>) {
        let report = verify(&bytes[..], None, &[]).unwrap();
        prop_assert!(report.is_whole() == bytes.is_empty());
    }
}

#[tokio::test]
async fn many_writers_at_once_make_one_whole_chain_and_each_waits_for_its_own_line() {
    for left_to_the_thread in [false, true] {
        many_writers_at_once(left_to_the_thread).await;
    }
}

async fn many_writers_at_once(left_to_the_thread: bool) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit");
    let log = open(&path, key(), AuditFailure::Refuse).unwrap();
    if left_to_the_thread {
        log.0.pen.leave_to_the_thread();
    }
    let writers = (0..500).map(|n| {
        let (log, path) = (log.clone(), path.clone());
        async move {
            let model = format!("m{n}-");
            log.write(entry("alice", &model).await).await.unwrap();
            assert!(fs::read_to_string(path).unwrap().contains(&model));
        }
    });
    futures_util::future::join_all(writers).await;
    let head = log.close();
    let report = check(&fs::read_to_string(&path).unwrap(), key(), head);
    assert!(report.is_whole(), "{:?}", report.findings);
    assert_eq!(report.lines, 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_that_write_and_a_thread_that_writes_make_one_chain() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit");
    let log = open(&path, key(), AuditFailure::Refuse).unwrap();
    let writers = (0..8).map(|_| {
        let log = log.clone();
        tokio::spawn(async move {
            for _ in 0..200 {
                log.write(entry("alice", "m").await).await.unwrap();
            }
        })
    });
    for written in futures_util::future::join_all(writers).await {
        written.unwrap();
    }
    let head = log.close();
    let report = check(&fs::read_to_string(&path).unwrap(), key(), head);
    assert!(report.is_whole(), "{:?}", report.findings);
    assert_eq!(report.lines, 1600);
}

#[test]
fn a_caller_who_was_turned_away_is_a_deny_with_what_was_asked_for_and_without_a_credential() {
    let error =
        oip_protocol::Error::unauthenticated("x").caused_by("the signature is not the key's");
    let model = oip_protocol::ModelRef {
        name: "iris".to_owned(),
        version: Some("2".to_owned()),
    };
    let entry = Entry::turned_away(&oip_core::access::TurnedAway {
        action: oip_core::access::Action::by_name("infer"),
        model: Some(&model),
        peer: Some([192, 0, 2, 7].into()),
        path: "/v2/models/iris/infer?token=secret",
        request_id: Some("r1"),
        error: &error,
    });
    assert_eq!((entry.decision, &*entry.subject), ("deny", "Anonymous"));
    assert_eq!(
        entry.reason,
        "authentication: the signature is not the key's"
    );
    assert_eq!(entry.path, "/v2/models/iris/infer");
    assert_eq!(entry.model.as_deref(), Some("iris"));
    assert_eq!(entry.version.as_deref(), Some("2"));
}

#[tokio::test]
async fn a_line_stands_and_others_go_on_when_the_first_of_a_round_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit");
    let log = open(&path, key(), AuditFailure::Refuse).unwrap();
    log.0.pen.leave_to_the_thread();
    for n in 0..50 {
        let entries = [entry("alice", "a").await, entry("bob", "b").await];
        let [first, second] = entries;
        let mut leaves = Box::pin(log.write(first));
        // Polled once, so that it leads, then perhaps once more, so that its round is handed over.
        for _ in 0..=n % 2 {
            let _ = futures_util::poll!(&mut leaves);
        }
        let stays = log.write(second);
        tokio::pin!(stays);
        let _ = futures_util::poll!(&mut stays);
        if n % 3 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(leaves);
        let waited = tokio::time::timeout(Duration::from_secs(10), stays).await;
        waited.expect("nobody told it").unwrap();
    }
    let head = log.close();
    let report = check(&fs::read_to_string(&path).unwrap(), key(), head);
    assert!(report.is_whole(), "{:?}", report.findings);
    assert_eq!(report.lines, 100);
}

#[tokio::test]
async fn lines_that_were_cut_off_before_a_restart_are_found_by_the_head_of_the_run_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit");
    let first = five(&path, key()).await;
    let text = fs::read_to_string(&path).unwrap();
    let kept: Vec<&str> = text.lines().take(3).collect();
    fs::write(&path, kept.join("\n") + "\n").unwrap();
    let second = five(&path, key()).await;
    assert_eq!(second.count, 8);
    let text = fs::read_to_string(&path).unwrap();
    let held = |heads: &[Head]| verify(text.as_bytes(), key(), heads).unwrap();
    assert!(held(&[second]).is_whole(), "the newest head cannot show it");
    let both = held(&[first, second]);
    assert_eq!(both.findings, [Finding::OtherHead { head: 5 }]);
    assert_eq!(both.heads, 2);
}

#[tokio::test]
async fn a_file_whose_last_line_was_changed_or_has_another_key_is_not_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit");
    five(&path, key()).await;
    let other = Some(AuditKey::new(&[9; 32]).unwrap());
    let refused = |key| match open(&path, key, AuditFailure::Refuse) {
        Ok(_) => panic!("it goes on"),
        Err(error) => error.to_string(),
    };
    let fault = refused(other);
    assert!(
        fault.contains("number 5") && fault.contains("another key"),
        "{fault}"
    );
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"model\":\"m4\"", "\"model\":\"mX\"")).unwrap();
    assert!(refused(key()).contains("is not what was written"));
}
