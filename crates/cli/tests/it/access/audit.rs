//! What is written down, and what is not.

use serde_json::Value;

use super::*;

/// What `oip audit verify` says, and its exit code.
fn verify(arguments: &[&str]) -> (Option<i32>, String) {
    let output = output(oip(&["audit", "verify"]).args(arguments));
    (output.status.code(), stdout(&output) + &stderr(&output))
}

#[test]
fn every_decision_has_a_line_and_a_changed_file_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let (file, key) = (folder.path().join("audit"), folder.path().join("key"));
    std::fs::write(&key, "0123456789abcdef0123456789abcdef").unwrap();
    let (path, key) = (file.to_str().unwrap(), key.to_str().unwrap());
    let server = guarded(&["--audit-file", path, "--audit-key-file", key]);
    let alice = bearer("alice", &["user"]);
    for door in Door::BOTH {
        door.ask(&server, &Ask::metadata("iris"), &[&alice]);
        door.ask(&server, &Ask::load("iris"), &[&alice]);
        // Turned away before the policy is asked: a credential that does not hold.
        door.ask(&server, &Ask::Index, &["Bearer x"]);
        // Nothing was decided: an open probe.
        door.ask(&server, &Ask::Live, &[]);
    }
    server.signal("-TERM");
    let (code, log) = server.wait();
    assert_eq!(code, Some(0), "{log}");
    let lines = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let said = |line: &Value| {
        let text = |member: &str| line[member].as_str().unwrap_or("-").to_owned();
        [
            text("subject"),
            text("action"),
            text("model"),
            text("decision"),
        ]
        .join(" ")
    };
    let expected = [
        "alice metadata iris permit",
        "alice load iris deny",
        "Anonymous index - deny",
    ]
    .repeat(2);
    assert_eq!(lines.iter().map(said).collect::<Vec<_>>(), expected);

    let head = log
        .lines()
        .rev()
        .find_map(|line| Some(line.split_once("head=")?.1));
    let head = head
        .unwrap_or_else(|| panic!("{log}"))
        .split(' ')
        .next()
        .unwrap();
    let whole = verify(&[path, "--key-file", key, "--head", head]);
    assert_eq!(whole.0, Some(0), "{}", whole.1);
    assert!(whole.1.contains("6 lines"), "{}", whole.1);
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("alice", "mallory", 1)).unwrap();
    assert_eq!(verify(&[path, "--key-file", key]).0, Some(1));
    let cut: Vec<&str> = text.lines().take(4).collect();
    std::fs::write(&file, cut.join("\n") + "\n").unwrap();
    assert_eq!(verify(&[path, "--key-file", key]).0, Some(0));
    assert_eq!(
        verify(&[path, "--key-file", key, "--head", head]).0,
        Some(1)
    );
}

#[test]
fn who_is_turned_away_at_the_door_has_a_line_that_says_why_and_which_request() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit");
    let server = guarded(&["--audit-file", file.to_str().unwrap()]);
    for door in Door::BOTH {
        door.ask(&server, &Ask::metadata("iris"), &["Basic eA=="]);
        door.ask(&server, &Ask::load("iris"), &[]);
    }
    let more = "X-Request-Id: r-1\r\n";
    both_doors::rest(&server, "GET", "/v2/models/iris?a=b", &["Bearer x"], more);
    server.signal("-TERM");
    server.wait();
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert!(
        lines.iter().all(|line| line["decision"] == "deny"),
        "{text}"
    );
    // REST knows the model from the path, so the policy refuses; gRPC refuses before the message.
    for (line, pdp) in [(0, "authentication"), (1, "embedded"), (3, "embedded")] {
        assert_eq!(lines[line]["pdp"], pdp, "{text}");
    }
    let reason = lines[0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("authentication: "), "{reason}");
    assert_eq!(lines[3]["action"], "load");
    let last = &lines[4];
    assert_eq!(last["request_id"], "r-1");
    assert_eq!(last["path"], "/v2/models/iris");
    assert_eq!(last["action"], "metadata");
    // What was asked for, as for anybody else: of which model gRPC says in a message alone, and
    // that is not read.
    for (line, model) in [
        (0, Value::from("iris")),
        (2, Value::Null),
        (4, "iris".into()),
    ] {
        assert_eq!(lines[line]["pdp"], "authentication", "{text}");
        assert_eq!(lines[line]["action"], "metadata", "{text}");
        assert_eq!(lines[line]["model"], model, "{text}");
    }
}

#[test]
fn a_request_without_an_id_gets_one_that_stands_in_its_answer_and_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit");
    let server = guarded(&["--audit-file", file.to_str().unwrap()]);
    let alice = bearer("alice", &["user"]);
    let answer = both_doors::raw(&server, "GET", "/v2/models/iris", &[&alice], "");
    let answer = answer.to_ascii_lowercase();
    let (_, rest) = answer.split_once("x-request-id: ").expect("an id");
    let id = rest.split("\r\n").next().unwrap();
    Door::Grpc.ask(&server, &Ask::metadata("iris"), &[&alice]);
    server.signal("-TERM");
    server.wait();
    let text = std::fs::read_to_string(&file).unwrap();
    let ids: Vec<String> = text
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["request_id"].as_str().expect("an id").to_owned()
        })
        .collect();
    assert_eq!(ids.len(), 2, "{text}");
    assert_eq!(ids[0], id);
    assert_ne!(ids[1], id);
}

#[test]
fn a_credential_that_does_not_hold_learns_nothing_of_which_paths_there_are() {
    let server = guarded(&["--docs", "false"]);
    for (method, path) in [
        ("GET", "/nothing"),
        ("GET", "/v2/models/"),
        ("DELETE", "/v2"),
        ("GET", "/v2/models/%ff"),
        ("GET", "/docs"),
        ("POST", "/inference.GRPCInferenceService/Guess"),
    ] {
        let status =
            |authorization: &[&str]| both_doors::rest(&server, method, path, authorization, "").0;
        assert_eq!(status(&["Bearer x"]), 401, "{path}");
        let alice = bearer("alice", &["user"]);
        assert!([400, 404, 405].contains(&status(&[&alice])), "{path}");
    }
}

#[test]
fn a_token_is_in_no_log_and_in_no_audit() {
    let server = guarded(&["--log-level", "trace", "--access-log", "json"]);
    let (good, bad) = (bearer("alice", &["user"]), "Bearer not-a-token-but-secret");
    for door in Door::BOTH {
        for shown in [good.as_str(), bad] {
            door.ask(&server, &Ask::metadata("iris"), &[shown]);
        }
    }
    server.signal("-TERM");
    let (_, log) = server.wait();
    assert!(
        log.contains(r#""subject":"alice""#),
        "the audit goes to the log: {log}"
    );
    assert!(log.contains("does not hold"), "{log}");
    let (head, signature) = good.rsplit_once('.').unwrap();
    for part in [
        head.split('.').nth(1).unwrap(),
        signature,
        "not-a-token",
        SECRET,
    ] {
        assert!(!log.contains(part), "{part}: {log}");
    }
}

#[test]
fn a_caller_behind_a_proxy_is_believed_only_where_the_proxy_is_trusted() {
    for (trusted, expected) in [("127.0.0.1", "192.0.2.7"), ("192.0.2.0/24", "127.0.0.1")] {
        let server = guarded(&["--trusted-proxies", trusted]);
        let alice = bearer("alice", &["user"]);
        let more = "X-Forwarded-For: 10.0.0.1, 192.0.2.7\r\n";
        both_doors::rest(&server, "GET", "/v2/models/iris", &[&alice], more);
        server.signal("-TERM");
        let (_, log) = server.wait();
        assert!(
            log.contains(&format!(r#""ip":"{expected}""#)),
            "{trusted}: {log}"
        );
    }
}

#[test]
fn an_audit_file_that_cannot_be_written_refuses_to_start() {
    let mut command = oip(&["serve", "--port", "0", "--audit-file", "/does/not/exist"]);
    let output = output(command.env("OIP_AUTH_SECRET", SECRET));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("/does/not/exist"));
}
