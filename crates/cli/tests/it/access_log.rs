//! The access log of the built binary.

use serde_json::Value;

use super::access::both_doors::{Ask, Door, raw};
use super::running::Running;
use super::*;

#[test]
fn every_request_of_both_doors_has_a_line_and_an_id() {
    let server = Running::start_in(
        &[MODELS, "--port", "0", "--access-log", "json"],
        &[],
        "curl",
    );
    let answer = raw(
        &server,
        "GET",
        "/v2?token=secret",
        &[],
        "X-Request-Id: mine-1\r\n",
    );
    assert!(
        answer
            .to_ascii_lowercase()
            .contains("x-request-id: mine-1\r\n"),
        "{answer}"
    );
    let made = raw(&server, "GET", "/nothing", &[], "");
    assert!(
        made.to_ascii_lowercase().contains("x-request-id: "),
        "{made}"
    );
    Door::Grpc.ask(&server, &Ask::metadata("iris"), &[]);
    Door::Grpc.ask(&server, &Ask::metadata("nothing"), &[]);
    server.signal("-TERM");
    let (_, log) = server.wait();
    let lines = log.lines().filter(|line| line.starts_with('{'));
    let lines: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 4, "{log}");
    assert_eq!(lines[0]["path"], "/v2");
    assert_eq!(lines[0]["request_id"], "mine-1");
    assert_eq!(
        (&lines[1]["status"], &lines[1]["path"]),
        (&404.into(), &"/nothing".into())
    );
    let grpc: Vec<_> = lines[2..]
        .iter()
        .map(|line| line["grpc_status"].as_u64())
        .collect();
    assert_eq!(grpc, [Some(0), Some(5)], "{log}");
    for line in &lines {
        assert_eq!(line["ip"], "127.0.0.1");
        assert_eq!(line["whole"], true, "{line}");
        assert!(line["duration_us"].as_u64().is_some(), "{line}");
    }
    assert!(!log.contains("secret"), "{log}");
}

#[test]
fn the_access_log_is_off_unless_it_is_asked_for() {
    let server = Running::start(&["--port", "0"]);
    let answer = raw(&server, "GET", "/v2", &[], "X-Request-Id: mine-1\r\n");
    // The caller's id comes back all the same; none is made, as nothing is written under it.
    let answer = answer.to_ascii_lowercase();
    assert!(answer.contains("x-request-id: mine-1\r\n"), "{answer}");
    let answer = raw(&server, "GET", "/v2", &[], "").to_ascii_lowercase();
    assert!(!answer.contains("x-request-id"), "{answer}");
    server.signal("-TERM");
    let (_, log) = server.wait();
    assert!(!log.contains("/v2"), "{log}");
}
