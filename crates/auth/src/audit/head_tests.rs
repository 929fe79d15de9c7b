//! The head goes to the log while the server is up, not only at its end: a server that is killed
//! leaves one behind.

use std::fmt::Debug;
use std::fs;
use std::path::Path;
use std::time::Instant;

use tracing::field::{Field, Visit};
use tracing::span;

use super::tests::{check, entry, key};
use super::*;

/// The heads that were logged, with the file of each.
static HEADS: Mutex<Vec<(String, Head)>> = Mutex::new(Vec::new());

/// Keeps heads; the audit's own thread logs them, so it is the one of the whole process.
struct Keeps;

#[derive(Default)]
struct Members {
    path: String,
    head: Option<Head>,
}

impl Visit for Members {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "path" {
            value.clone_into(&mut self.path);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "head" {
            self.head = format!("{value:?}").parse().ok();
        }
    }
}

impl tracing::Subscriber for Keeps {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "oip::audit"
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut members = Members::default();
        event.record(&mut members);
        if let Some(head) = members.head {
            HEADS.lock().unwrap().push((members.path, head));
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

fn heads_of(path: &Path) -> Vec<Head> {
    let heads = HEADS.lock().unwrap();
    let own = heads.iter().filter(|(of, _)| Path::new(of) == path);
    own.map(|(_, head)| *head).collect()
}

fn wait_for(path: &Path, count: usize) -> Head {
    let begun = Instant::now();
    loop {
        let heads = heads_of(path);
        if heads.len() >= count {
            return heads[count - 1];
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{heads:?}");
        // What other tests log is remembered as of no interest to anybody, and that may happen at
        // any moment.
        tracing::callsite::rebuild_interest_cache();
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[tokio::test]
async fn the_head_is_logged_at_intervals_while_lines_come_and_finds_a_cut_of_a_killed_server() {
    tracing::subscriber::set_global_default(Keeps).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit");
    let log = AuditLog::open(AuditOptions {
        target: AuditTarget::File(path.clone()),
        key: key(),
        head_interval: Duration::from_millis(50),
        ..AuditOptions::default()
    })
    .unwrap();
    for name in ["m0", "m1"] {
        log.write(entry("alice", name).await).await.unwrap();
    }
    // The two may have been written on either side of a look.
    while wait_for(&path, heads_of(&path).len().max(1)).count < 2 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let told = heads_of(&path).len();
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(heads_of(&path).len(), told, "nothing new is not told again");
    log.write(entry("alice", "m2").await).await.unwrap();
    let head = wait_for(&path, told + 1);
    assert_eq!(head.count, 3);

    // As it lies there when the server is killed now, and as somebody may leave it.
    let whole = fs::read_to_string(&path).unwrap();
    assert!(check(&whole, key(), Some(head)).is_whole());
    let cut = whole.lines().take(2).map(|line| format!("{line}\n"));
    let cut: String = cut.collect();
    assert!(check(&cut, key(), None).is_whole(), "a cut end looks whole");
    let report = check(&cut, key(), Some(head));
    assert_eq!(report.findings, [Finding::CutOff { last: 2, head: 3 }]);
    log.close();
}
