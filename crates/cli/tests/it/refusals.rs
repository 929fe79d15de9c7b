//! Starts that must fail with one clear line.

use std::net::TcpListener;

use super::*;

/// What `oip serve` says, in its one line on standard error.
fn refused(code: i32, command: &mut Command) -> String {
    let output = output(command);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    let errors: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    let [line] = errors[..] else { panic!("{text}") };
    line.to_owned()
}

#[test]
fn a_value_that_makes_no_sense_exits_2_and_names_the_flag() {
    for (flag, value) in [
        ("--rest-port", "abc"),
        ("--rest-port", "70000"),
        ("--rest-port", "-1"),
        ("--grpc-port", ""),
        ("--auth-enabled", "perhaps"),
        ("--auth-enabled", ""),
        ("--model-control", "sometimes"),
        ("--threads", "-2"),
        ("--shutdown-grace", "-5"),
        ("--body-limit", "big"),
        ("--log-format", "xml"),
    ] {
        let line = refused(2, &mut oip(&["serve", &format!("{flag}={value}")]));
        assert!(line.contains(flag), "{line}");
    }
    let line = refused(2, &mut oip(&["serve", "--threads", "-2"]));
    assert!(line.contains("--threads"), "{line}");
}

#[test]
fn a_value_of_the_environment_that_makes_no_sense_is_refused_by_its_name() {
    for (name, value) in [
        ("OIP_REST_PORT", "abc"),
        ("FASTAPI_PORT", "x"),
        ("AUTH_ENABLED", "tru"),
    ] {
        let line = refused(2, oip(&["serve"]).env(name, value));
        assert!(line.contains(name), "{line}");
    }
}

#[test]
fn an_unknown_flag_is_refused_with_its_neighbour() {
    let output = output(&mut oip(&["serve", "--rest-prot", "1"]));
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("--rest-port"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_repository_that_does_not_exist_or_is_a_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (missing, file) = (folder.path().join("missing"), folder.path().join("file"));
    std::fs::write(&file, "x").unwrap();
    for path in [missing, file] {
        let path = path.to_str().unwrap();
        for arguments in [&["serve", path][..], &["serve", "--model-repository", path]] {
            let line = refused(2, oip(arguments).env("OIP_AUTH_ENABLED", "false"));
            assert!(line.contains(path), "{line}");
        }
    }
}

#[test]
fn a_port_in_use_exits_1_and_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (flag, other) in [
        ("--rest-port", "--grpc-port"),
        ("--grpc-port", "--rest-port"),
    ] {
        let arguments = ["serve", "--auth-enabled", "false", flag, &port, other, "0"];
        let line = refused(1, &mut oip(&arguments));
        assert!(line.contains(&port), "{line}");
    }
    let line = refused(
        1,
        &mut oip(&["serve", "--auth-enabled", "false", "--port", &port]),
    );
    assert!(line.contains(&port), "{line}");
}

#[test]
fn authentication_without_a_key_refuses_to_start_and_says_the_ways_out() {
    let line = refused(2, &mut oip(&["serve"]));
    assert!(
        line.contains("auth_secret") && line.contains("--auth-enabled false"),
        "{line}"
    );
}

#[test]
fn a_secret_is_in_no_message() {
    let mut command = oip(&["serve", "--auth-secret", "ENC(hunter2)"]);
    assert!(!refused(2, &mut command).contains("hunter2"));
}
