//! Starts that succeed, and what they say.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use super::running::{PATIENCE, Running};
use super::*;

#[test]
fn a_server_says_where_it_listens_and_ends_with_0_on_sigterm_and_sigint() {
    for signal in ["-TERM", "-INT"] {
        let server = Running::start(&["--rest-port", "0", "--grpc-port", "0"]);
        assert_ne!(server.rest.port(), 0);
        assert!(server.said.contains("is listening"), "{}", server.said);
        TcpStream::connect(server.rest).unwrap();
        server.signal(signal);
        let (code, log) = server.wait();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("AUTHENTICATION IS OFF"), "{log}");
        assert!(
            !log.contains('\u{1b}'),
            "no colours outside a terminal: {log}"
        );
    }
}

#[test]
fn open_doors_are_warned_about_and_more_loudly_beyond_this_machine() {
    let warnings = |arguments: &[&str], secret: &[(&str, &str)]| {
        let server = Running::start_closed(arguments, secret, "REST  ");
        server.signal("-TERM");
        let (_, log) = server.wait();
        let warnings = log.lines().filter(|line| line.contains("WARN"));
        warnings.map(str::to_owned).collect::<Vec<_>>().join("\n")
    };
    let local = ["--port", "0"];
    let beyond = ["--port", "0", "--rest-host", "0.0.0.0"];
    let metrics = [
        "--port",
        "0",
        "--metrics-port",
        "0",
        "--metrics-host",
        "0.0.0.0",
    ];
    let off = ["--auth-enabled", "false"];
    let secret = [("AUTH_SECRET", "a secret that is longer than 32 bytes")];
    let (open, loud, plain) = (
        "AUTHENTICATION IS OFF: everyone on this machine",
        "AUTHENTICATION IS OFF AND THIS SERVER LISTENS BEYOND THIS MACHINE",
        "LISTENING BEYOND THIS MACHINE WITHOUT TLS",
    );
    for (arguments, secret, expected) in [
        (local.to_vec(), &secret[..], &[][..]),
        ([&local[..], &off].concat(), &[], &[open]),
        (beyond.to_vec(), &secret, &[plain]),
        ([&beyond[..], &off].concat(), &[], &[plain, loud]),
        // The address of the metrics alone.
        ([&metrics[..], &off].concat(), &[], &[plain, open]),
    ] {
        let said = warnings(&arguments, secret);
        for warning in [open, loud, plain] {
            let wanted = expected.contains(&warning);
            assert_eq!(said.contains(warning), wanted, "{arguments:?}: {said}");
        }
    }
}

#[test]
fn an_answer_comes_from_the_port_that_was_said() {
    let server = Running::start(&["--port", "0"]);
    let mut stream = TcpStream::connect(server.rest).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
}

#[test]
fn the_log_may_be_json() {
    let mut command = oip(&[
        "serve",
        "--auth-enabled",
        "false",
        "--port",
        "0",
        "--log-format",
        "json",
    ]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let first: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(first["message"], "listening");
    assert!(first["rest"].as_str().unwrap().starts_with("127.0.0.1:"));
}

#[test]
fn the_start_says_what_is_served_and_how_to_try_it() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, version: &str| {
        let to = folder.path().join(name).join(version);
        std::fs::create_dir_all(&to).unwrap();
        to.join("model.onnx")
    };
    let iris = format!("{MODELS}/iris/1/model.onnx");
    std::fs::copy(&iris, put("flowers", "4")).unwrap();
    std::fs::write(put("broken", "1"), "no model").unwrap();
    let path = folder.path().to_str().unwrap();
    let arguments = [path, "--port", "0", "--onnxruntime-library", "off"];
    let server = Running::start_in(&arguments, &[], "curl");
    let line = |name: &str| {
        let found = server.said.lines().find(|line| line.contains(name));
        found
            .unwrap_or_else(|| panic!("{}", server.said))
            .to_owned()
    };
    let flowers = line("flowers");
    for part in ["4", "tract", "READY"] {
        assert!(flowers.contains(part), "{flowers}");
    }
    assert!(line("broken").contains("UNAVAILABLE: "), "{}", server.said);
    let url = format!("http://{}/v2/models/flowers/infer", server.rest);
    assert!(line("curl").contains(&url), "{}", server.said);
    assert!(line("curl").contains(r#""shape":[1,4]"#), "{}", server.said);
}

#[test]
fn the_start_offers_the_sample_request_beside_a_model() {
    let server = Running::start_in(&[MODELS, "--port", "0"], &[], "curl");
    assert!(
        server.said.contains("digits/sample-request.json"),
        "{}",
        server.said
    );
}

#[test]
fn one_model_of_a_repository_is_served_by_its_name() {
    let arguments = [MODELS, "--port", "0", "--model-name", "iris"];
    let server = Running::start_in(&arguments, &[], "curl");
    assert!(
        server.said.contains("/models/iris/infer"),
        "{}",
        server.said
    );
    assert!(!server.said.contains("digits"), "{}", server.said);
}
