//! The commands around keys and policies.

use super::*;

#[test]
fn a_key_that_was_made_lets_its_subject_in_with_its_roles() {
    let made = output(&mut oip(&[
        "apikey", "new", "--id", "batch", "--role", "admin",
    ]));
    let made = stdout(&made);
    let (key, line) = made.trim_end().split_once('\n').unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    std::fs::write(&file, format!("# keys\n{line}\n")).unwrap();
    assert!(!line.contains(key));
    let server = guarded(&["--auth-api-keys-file", file.to_str().unwrap()]);
    let load = |more: &str| {
        let path = "/v2/repository/models/iris/load";
        both_doors::rest(&server, "POST", path, &[], more).0
    };
    assert_eq!(load(&format!("X-API-Key: {key}\r\n")), 200);
    assert_eq!(load("X-API-Key: oip_wrong\r\n"), 401);
    assert_eq!(load(""), 401);
}

#[test]
fn a_key_for_nobody_is_not_made() {
    for arguments in [
        &["apikey", "new", "--id", "Anonymous"][..],
        &["apikey", "new", "--id", ""],
        &["apikey", "new", "--id", "a b"],
        &["apikey", "new", "--id", "a", "--role", "x,y"],
    ] {
        let output = output(&mut oip(arguments));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(stdout(&output), "");
    }
}

#[test]
fn explain_says_what_is_decided_by_which_policy_and_what_was_asked() {
    for (arguments, expected) in [
        (
            &["--as", "alice", "--role", "user", "infer", "iris"][..],
            "permit: ",
        ),
        (
            &["--as", "alice", "--role", "user", "load", "iris"],
            "deny: ",
        ),
        (
            &["--as", "alice", "--role", "admin", "load", "iris"],
            "permit: ",
        ),
        (&["infer", "iris"], "deny: "),
        (&["server_metadata"], "permit: "),
    ] {
        let output = output(oip(&["policy", "explain"]).args(arguments));
        let said = stdout(&output);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.starts_with(expected), "{arguments:?}: {said}");
        assert!(said.contains("decided by: embedded"), "{said}");
    }
    let unknown = output(&mut oip(&["policy", "explain", "fly"]));
    assert_eq!(unknown.status.code(), Some(2));
}

#[test]
fn explain_ends_with_1_where_another_decision_was_expected() {
    for (expected, asked, code) in [
        ("permit", &["--as", "alice", "infer", "iris"][..], 0),
        ("deny", &["--as", "alice", "infer", "iris"], 1),
        ("deny", &["--as", "alice", "load", "iris"], 0),
        ("permit", &["infer", "iris"], 1),
        ("perhaps", &["infer", "iris"], 2),
    ] {
        let explain = ["policy", "explain", "--expect", expected];
        let said = output(oip(&explain).args(asked));
        assert_eq!(said.status.code(), Some(code), "{expected} {asked:?}");
        if code == 1 {
            let line = format!("error: {expected} was expected");
            assert!(stderr(&said).contains(&line), "{}", stderr(&said));
        }
    }
    // No decision is neither of them.
    for expected in ["permit", "deny"] {
        let explain = ["policy", "explain", "--expect", expected, "infer", "iris"];
        let nobody = ["--pdp-url", "http://127.0.0.1:1/pdp"];
        let said = output(oip(&explain).args(nobody));
        assert_eq!(said.status.code(), Some(1), "{expected}");
    }
}

#[test]
fn policies_are_checked_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.cedar");
    for (text, code) in [
        (
            "permit(principal, action == Action::\"infer\", resource);",
            0,
        ),
        ("permit(principal, action == Action::\"fly\", resource);", 2),
        ("permit", 2),
    ] {
        std::fs::write(&file, text).unwrap();
        let output = output(oip(&["policy", "check"]).arg(&file));
        assert_eq!(
            output.status.code(),
            Some(code),
            "{text}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn policies_that_are_configured_are_checked_without_being_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.cedar");
    let check = |more: &[&str]| {
        let mut command = oip(&["policy", "check"]);
        let output = output(command.args(more).env("OIP_POLICY_FILE", &file));
        output.status.code()
    };
    std::fs::write(&file, "permit").unwrap();
    assert_eq!(check(&[]), Some(2));
    std::fs::write(&file, "permit(principal, action, resource);").unwrap();
    assert_eq!(check(&[]), Some(0));
    assert_eq!(
        check(&["--pdp", "opa", "--pdp-url", "http://localhost:1"]),
        Some(2)
    );
    let none = output(&mut oip(&["policy", "check"]));
    assert_eq!(none.status.code(), Some(2));
    assert!(stderr(&none).contains("policy_file"), "{}", stderr(&none));
}

#[test]
fn explain_says_where_the_server_does_otherwise() {
    let explain = |more: &[&str], variable: &str, value: &str| {
        let mut command = oip(&["policy", "explain"]);
        stderr(&output(command.args(more).env(variable, value)))
    };
    for (question, variable, value, part) in [
        (
            &["index"][..],
            "OIP_AUTH_ENABLED",
            "false",
            "auth_enabled is false",
        ),
        (
            &["index"],
            "OIP_POLICY_MODE",
            "shadow",
            "policy_mode is shadow",
        ),
        (
            &["ready"],
            "OIP_PROBE_ACCESS",
            "open",
            "probe_access is open",
        ),
    ] {
        let said = explain(question, variable, value);
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(explain(&["index"], "OIP_PROBE_ACCESS", "open"), "");
    assert_eq!(explain(&["ready"], "OIP_PROBE_ACCESS", "policy"), "");
}
