//! A file that is taken away while it is written.
#![cfg(unix)]

use std::fs;

use oip_core::telemetry::AuditFigures;

use super::super::{AuditFailure, AuditLog, AuditOptions, AuditTarget, Entry, verify};
use super::*;

fn open(path: &Path, failure: AuditFailure) -> AuditLog {
    AuditLog::open(AuditOptions {
        target: AuditTarget::File(path.to_owned()),
        failure,
        ..AuditOptions::default()
    })
    .unwrap()
}

/// Writes a line, and says why that failed.
async fn write(log: &AuditLog) -> Result<(), String> {
    let written = log.write(Entry::lost(1)).await;
    written.map_err(|error| error.to_string())
}

/// Until a file that was seen a moment ago is looked for again.
async fn a_moment() {
    tokio::time::sleep(BELIEVED + Duration::from_millis(50)).await;
}

#[tokio::test]
async fn a_file_that_was_removed_refuses_and_takes_lines_again_once_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let (path, away) = (folder.path().join("audit"), folder.path().join("away"));
    let log = open(&path, AuditFailure::Refuse);
    write(&log).await.unwrap();
    fs::rename(&path, &away).unwrap();
    a_moment().await;
    for _ in 0..2 {
        let fault = write(&log).await.unwrap_err();
        assert!(
            fault.contains("is gone") && fault.contains("restart"),
            "{fault}"
        );
    }
    assert!(!path.exists(), "no other file is begun");
    fs::rename(&away, &path).unwrap();
    write(&log).await.unwrap();
    let head = log.close();
    let report = verify(fs::read(&path).unwrap().as_slice(), None, head.as_slice()).unwrap();
    assert_eq!((report.lines, report.is_whole()), (2, true));
}

#[tokio::test]
async fn a_file_with_another_in_its_place_refuses_and_the_other_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit");
    let log = open(&path, AuditFailure::Refuse);
    write(&log).await.unwrap();
    fs::rename(&path, folder.path().join("away")).unwrap();
    fs::write(&path, "").unwrap();
    a_moment().await;
    let fault = write(&log).await.unwrap_err();
    assert!(fault.contains("another file"), "{fault}");
    assert!(log.figures().refused > 0, "{:?}", log.figures());
    assert_eq!(log.figures().lost, 0);
    log.close();
    assert_eq!(fs::read_to_string(&path).unwrap(), "");
    // A restart begins anew in what is there.
    let log = open(&path, AuditFailure::Refuse);
    write(&log).await.unwrap();
    assert_eq!(log.close().unwrap().count, 1);
}

#[tokio::test]
async fn lines_for_a_file_that_is_gone_are_counted_as_lost_where_requests_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (path, away) = (folder.path().join("audit"), folder.path().join("away"));
    let log = open(&path, AuditFailure::Continue);
    fs::rename(&path, &away).unwrap();
    a_moment().await;
    for lost in 1..=3 {
        write(&log).await.unwrap();
        while log.figures().lost < lost {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    fs::rename(&away, &path).unwrap();
    write(&log).await.unwrap();
    log.close();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("3 decisions before this line"), "{text}");
    assert_eq!(text.lines().count(), 2);
    // Whoever looks later, too, sees that lines are missing.
    let expected = AuditFigures {
        written: 2,
        lost: 3,
        refused: 0,
    };
    assert_eq!(log.figures(), expected);
}

#[tokio::test]
async fn a_file_that_was_moved_away_is_followed_by_a_new_one_when_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (path, away) = (folder.path().join("audit"), folder.path().join("away"));
    let log = open(&path, AuditFailure::Refuse);
    write(&log).await.unwrap();
    assert!(!log.reopen().unwrap(), "it is in its place");
    write(&log).await.unwrap();
    fs::rename(&path, &away).unwrap();
    assert!(log.reopen().unwrap());
    write(&log).await.unwrap();
    let head = log.close();
    assert!(log.reopen().is_err(), "it has ended");
    for (file, lines, head) in [(&away, 2, None), (&path, 1, head)] {
        let report = verify(fs::read(file).unwrap().as_slice(), None, head.as_slice()).unwrap();
        assert_eq!((report.lines, report.is_whole()), (lines, true));
    }
}
