//! Policies in a file, and a decision point elsewhere.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;

use super::*;

#[test]
fn a_policy_about_one_model_permits_that_one_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("iris.cedar");
    let policy = "permit(principal is Subject, action, resource == Model::\"iris\");";
    std::fs::write(&file, policy).unwrap();
    let server = guarded(&["--policy-file", file.to_str().unwrap()]);
    let alice = bearer("alice", &["user"]);
    for door in Door::BOTH {
        let ask = |model| door.ask(&server, &Ask::metadata(model), &[&alice]);
        assert_eq!(ask("iris"), Said::Yes, "{door:?}");
        // A model that is there and one that is not are refused alike.
        assert_eq!(ask("digits"), Said::No, "{door:?}");
        assert_eq!(ask("nothing"), Said::No, "{door:?}");
        assert_eq!(door.ask(&server, &Ask::Server, &[]), Said::WhoAreYou);
        assert_eq!(door.ask(&server, &Ask::Live, &[]), Said::Yes);
    }
}

#[test]
fn in_shadow_mode_everything_passes_and_is_logged() {
    let server = guarded(&["--policy-mode", "shadow"]);
    assert_eq!(
        Door::Rest.ask(&server, &Ask::metadata("iris"), &[]),
        Said::Yes
    );
    // A credential that does not hold is refused all the same.
    let wrong = Door::Rest.ask(&server, &Ask::metadata("iris"), &["Bearer x"]);
    assert_eq!(wrong, Said::WhoAreYou);
    server.signal("-TERM");
    let (_, log) = server.wait();
    assert!(log.contains("this would be refused"), "{log}");
    assert!(log.contains(r#""enforced":false"#), "{log}");
}

/// A XACML decision point that always says the same, and what it was asked last.
fn stub(decision: &str) -> (String, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/pdp", listener.local_addr().unwrap());
    let body = format!(r#"{{"Response":[{{"Decision":"{decision}"}}]}}"#);
    let (sender, asked) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).unwrap();
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut question = vec![0; length];
            stream.read_exact(&mut question).unwrap();
            let _ = sender.send(String::from_utf8(question).unwrap());
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/xacml+json\r\n\
                 Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    });
    (url, asked)
}

#[test]
fn a_remote_decision_point_permits_denies_or_is_dead() {
    let alice = bearer("alice", &["user"]);
    let dead = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/pdp", listener.local_addr().unwrap())
    };
    let (permitting, asked) = stub("Permit");
    let (denying, _kept) = stub("Deny");
    for (url, expected, stranger) in [
        (&permitting, Said::Yes, Said::Yes),
        (&denying, Said::No, Said::WhoAreYou),
        (&dead, Said::NotNow, Said::NotNow),
    ] {
        let server = guarded(&["--pdp-url", url]);
        for door in Door::BOTH {
            let ask = Ask::metadata("iris");
            assert_eq!(
                door.ask(&server, &ask, &[&alice]),
                expected,
                "{door:?} {url}"
            );
            assert_eq!(door.ask(&server, &ask, &[]), stranger, "{door:?} {url}");
            // Probes do not die with the decision point.
            assert_eq!(door.ask(&server, &Ask::Live, &[]), Said::Yes);
            assert_eq!(door.ask(&server, &Ask::Ready, &[]), Said::Yes);
        }
    }
    let question = asked.recv().unwrap();
    for part in ["subject-id", "alice", "iris", "metadata"] {
        assert!(question.contains(part), "{question}");
    }
}

#[test]
fn a_start_with_wrong_keys_or_policies_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong");
    std::fs::write(&file, "permit everything;").unwrap();
    let path = file.to_str().unwrap();
    for (arguments, word) in [
        (&["--policy-file", path][..], path),
        (&["--policy-file", "/does/not/exist"], "/does/not/exist"),
        (&["--auth-algorithm", "none"], "none"),
        (&["--auth-algorithm", "RS256"], "auth_secret"),
        (&["--auth-key-file", path], "auth_key_file"),
        (&["--auth-api-keys-file", path], "auth_api_keys_file"),
        (&["--audit-key-file", path], path),
        (&["--pdp", "opa"], "pdp_url"),
        (&["--pdp-url", "http://pdp.example/x"], "pdp.example"),
    ] {
        let mut command = oip(&["serve", "--port", "0"]);
        let output = output(command.args(arguments).env("OIP_AUTH_SECRET", SECRET));
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        let error = said.lines().find(|line| line.starts_with("error: "));
        assert!(error.is_some_and(|line| line.contains(word)), "{said}");
        assert!(!said.contains(SECRET), "{said}");
    }
}
