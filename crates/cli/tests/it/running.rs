//! A server that runs as long as a test needs it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::Child;
use std::time::{Duration, Instant};

use super::*;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running server that is ended whatever happens.
pub(crate) struct Running {
    pub(crate) child: Child,
    /// What it said, up to and with the line that was waited for.
    pub(crate) said: String,
    pub(crate) rest: SocketAddr,
}

impl Running {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_in(arguments, &[], "REST  ")
    }

    /// Starts, open to everyone, and waits for a line that contains `until`.
    pub(crate) fn start_in(arguments: &[&str], environment: &[(&str, &str)], until: &str) -> Self {
        let open = [&["--auth-enabled", "false"], arguments].concat();
        Self::start_closed(&open, environment, until)
    }

    /// The same, as the arguments say who may come in.
    pub(crate) fn start_closed(
        arguments: &[&str],
        environment: &[(&str, &str)],
        until: &str,
    ) -> Self {
        let mut command = oip(&["serve"]);
        command
            .args(arguments)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (mut said, mut rest) = (String::new(), None);
        loop {
            let line = lines.next().expect("it ended too early").unwrap();
            said.push_str(&line);
            said.push('\n');
            if let Some((_, address)) = line.split_once("REST  http") {
                let address = address.trim_start_matches('s');
                rest = address.trim_start_matches("://").parse().ok();
            }
            if line.contains(until) {
                break;
            }
        }
        // Somebody has to read the rest, or the server would wait for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        let rest = rest.expect("the address of the REST door");
        Self { child, said, rest }
    }

    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the end; returns the exit code and what was logged.
    pub(crate) fn wait(mut self) -> (Option<i32>, String) {
        let end = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < end, "it does not stop");
            std::thread::sleep(Duration::from_millis(10));
        };
        let mut log = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut log)
            .unwrap();
        (status.code(), log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
