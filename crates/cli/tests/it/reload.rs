//! `reload`: what changes while the server runs.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::ChildStderr;
use std::time::Instant;

use super::access::both_doors::{Ask, Door, Said, rest};
use super::running::{PATIENCE, Running};
use super::*;

/// A server with a properties file, and what it logs.
struct Watched {
    folder: tempfile::TempDir,
    server: Running,
    log: Lines<BufReader<ChildStderr>>,
}

impl Watched {
    fn start(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("oip.properties"), text).unwrap();
        let base = folder.path().to_str().unwrap();
        let arguments = [MODELS, "--port", "0", "--onnxruntime-library", "off"];
        let mut server = Running::start_in(&arguments, &[("KRAUSENING_BASE", base)], "curl");
        let log = BufReader::new(server.child.stderr.take().unwrap()).lines();
        Self {
            folder,
            server,
            log,
        }
    }

    fn write(&self, text: &str) {
        // As editors do it: the old file or the new one, never a half.
        let new = self.folder.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, self.folder.path().join("oip.properties")).unwrap();
    }

    /// Waits for a line that holds all of this.
    fn logged(&mut self, parts: &[&str]) -> String {
        let found = self.log.find(|line| {
            let line = line.as_ref().unwrap();
            parts.iter().all(|part| line.contains(part))
        });
        found.unwrap_or_else(|| panic!("{parts:?}")).unwrap()
    }

    /// Waits until the door answers so.
    fn answers(&self, method: &str, path: &str, status: u16) {
        let end = Instant::now() + PATIENCE;
        loop {
            let (found, body) = rest(&self.server, method, path, &[], "Content-Length: 0\r\n");
            if found == status {
                return;
            }
            assert!(Instant::now() < end, "{path}: {found} {body}");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

const BASE: &str = "reload=true\npoll_interval=20ms\n";

#[test]
fn a_watched_file_changes_what_can_change_and_says_what_needs_a_restart() {
    let mut watched = Watched::start(BASE);
    watched.answers("GET", "/docs", 200);
    watched.write(&format!(
        "{BASE}docs=false\nbody_limit=10\nlog_level=debug\nin_flight=7\n"
    ));
    // In the order of the table.
    for (key, text) in [
        ("docs", "configuration changed"),
        ("log_level", "configuration changed"),
        ("body_limit", "configuration changed"),
        ("in_flight", "needs a restart"),
    ] {
        watched.logged(&[key, text]);
    }
    watched.answers("GET", "/docs", 404);
    let (status, body) = rest(
        &watched.server,
        "POST",
        "/v2/models/iris/infer",
        &[],
        "Content-Length: 11\r\n",
    );
    assert_eq!(status, 413, "{body}");
    // Both doors are still there, and the other one has the new limit as well.
    assert_eq!(
        Door::Grpc.ask(&watched.server, &Ask::Server, &[]),
        Said::Yes
    );
    let long = Ask::metadata("a-model-whose-name-is-over-the-limit");
    let said = Door::Grpc.ask(&watched.server, &long, &[]);
    assert!(format!("{said:?}").contains("at most 10"), "{said:?}");
    // What is taken back is taken back, and the restart is no longer needed.
    watched.write(BASE);
    watched.logged(&["in_flight", "started with"]);
    watched.answers("GET", "/docs", 200);
}

#[test]
fn a_broken_file_keeps_the_old_values_and_is_logged_once() {
    let mut watched = Watched::start(&format!("{BASE}docs=false\n"));
    watched.answers("GET", "/docs", 404);
    for (wrong, named) in [
        ("docs=perhaps\n", "docs is 'perhaps'"),
        ("docs=\\u00zz\n", "oip.properties"),
        ("docs=true\npdp=opa\n", "pdp_url"),
        ("docs=true\nauth_secret=ENC(AAAA)\n", "ENC(...)"),
    ] {
        watched.write(&format!("{BASE}{wrong}"));
        let line = watched.logged(&["is not applied"]);
        assert!(line.contains(named), "{line}");
        watched.answers("GET", "/docs", 404);
    }
    watched.write(&format!("{BASE}docs=true\n"));
    let line = watched.logged(&["configuration"]);
    // Nothing was said again in between.
    assert!(line.contains("changed") && line.contains("docs"), "{line}");
    watched.answers("GET", "/docs", 200);
}

#[test]
fn a_secret_that_changes_is_named_and_not_shown() {
    let mut watched = Watched::start(BASE);
    watched.write(&format!("{BASE}auth_secret=hunter2hunter2\n"));
    let line = watched.logged(&["auth_secret", "needs a restart"]);
    assert!(line.contains("***") && !line.contains("hunter2"), "{line}");
}

#[test]
fn where_reload_is_false_nothing_is_watched() {
    for word in ["False", "0"] {
        let folder = tempfile::tempdir().unwrap();
        let write = |text: &str| {
            let text = format!("fastapi_reload={word}\npoll_interval=10ms\n{text}");
            std::fs::write(folder.path().join("oip.properties"), text).unwrap();
        };
        write("");
        let models = folder.path().join("models");
        let put = |name: &str| {
            std::fs::create_dir_all(models.join(name)).unwrap();
            let to = models.join(name).join("model.onnx");
            std::fs::copy(format!("{MODELS}/iris/1/model.onnx"), to).unwrap();
        };
        put("first");
        let base = folder.path().to_str().unwrap();
        let arguments = [models.to_str().unwrap(), "--port", "0"];
        let server = Running::start_in(&arguments, &[("KRAUSENING_BASE", base)], "curl");
        write("docs=false\n");
        put("second");
        std::thread::sleep(std::time::Duration::from_millis(300));
        let (docs, _) = rest(&server, "GET", "/docs", &[], "");
        let (second, _) = rest(&server, "GET", "/v2/models/second", &[], "");
        assert_eq!((docs, second), (200, 404), "{word}");
        server.signal("-TERM");
        let (_, log) = server.wait();
        assert!(!log.contains("configuration changed"), "{log}");
    }
}
