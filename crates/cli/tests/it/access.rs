//! Who may come in and what they may do, asked of the built binary through both doors.

mod audit;
pub(super) mod both_doors;
mod commands;
mod policies;
mod tokens;

use both_doors::{Ask, Door, Said};
use tokens::token;

use super::running::Running;
use super::*;

const SECRET: &str = "a-secret-of-more-than-thirty-two-bytes";

/// A server with the models of the repository, that takes tokens by [`SECRET`].
fn guarded(arguments: &[&str]) -> Running {
    let engine = ["--onnxruntime-library", "off", "--port", "0"];
    let arguments = [&[MODELS][..], &engine, arguments].concat();
    let environment = [("OIP_AUTH_SECRET", SECRET)];
    // The last line of a start, said when the models are loaded.
    Running::start_closed(&arguments, &environment, "curl")
}

fn bearer(subject: &str, roles: &[&str]) -> String {
    format!("Bearer {}", token(subject, roles, 600))
}

#[test]
fn each_credential_is_judged_alike_at_both_doors_whatever_the_model() {
    let server = guarded(&[]);
    let good = bearer("alice", &["user"]);
    let mut forged = good.clone();
    forged.pop();
    let unsigned = format!("Bearer {}", tokens::unsigned("alice"));
    let expired = format!("Bearer {}", token("alice", &["user"], -600));
    let other = format!("Bearer {}", tokens::signed_with("alice", b"another-secret"));
    let anonymous = bearer("Anonymous", &[]);
    let cases: &[(&str, &[&str])] = &[
        ("expired", &[&expired]),
        ("forged", &[&forged]),
        ("unsigned", &[&unsigned]),
        ("of another secret", &[&other]),
        ("named Anonymous", &[&anonymous]),
        ("garbage", &["Bearer garbage"]),
        ("another scheme", &["Basic YWxpY2U6eA=="]),
        ("nothing but the scheme", &["Bearer"]),
        ("several parts", &["Bearer a b"]),
        ("empty", &[""]),
        ("two headers", &[&good, &good]),
        ("none", &[]),
    ];
    for door in Door::BOTH {
        let ask = Ask::metadata("iris");
        assert_eq!(door.ask(&server, &ask, &[&good]), Said::Yes, "{door:?}");
        let missing = Ask::metadata("nothing");
        assert_eq!(door.ask(&server, &missing, &[&good]), Said::NotFound);
        for (name, authorization) in cases {
            for ask in [&ask, &missing, &Ask::load("iris")] {
                let said = door.ask(&server, ask, authorization);
                assert_eq!(said, Said::WhoAreYou, "{door:?} {name} {ask:?}");
            }
        }
    }
}

#[test]
fn what_a_stranger_is_told_is_the_same_for_every_model_and_every_wrong_token() {
    let server = guarded(&[]);
    let mut told = Vec::new();
    for path in ["/v2/models/iris", "/v2/models/nothing"] {
        for token in [
            "Bearer garbage",
            "Basic eA==",
            &format!("Bearer {}", tokens::unsigned("a")),
        ] {
            told.push(both_doors::rest(&server, "GET", path, &[token], "").1);
        }
    }
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
}

#[test]
fn a_refusal_does_not_wait_for_the_body() {
    let server = guarded(&[]);
    for authorization in [&["Bearer garbage"][..], &[]] {
        // The body is announced and never sent.
        let headers = "Content-Length: 10000000\r\n";
        let answer = both_doors::raw(
            &server,
            "POST",
            "/v2/models/iris/infer",
            authorization,
            headers,
        );
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        assert!(
            answer
                .to_ascii_lowercase()
                .contains("www-authenticate: bearer"),
            "{answer}"
        );
    }
}

#[test]
fn only_an_admin_loads_and_unloads() {
    let server = guarded(&[]);
    let (user, admin) = (bearer("alice", &["user"]), bearer("root", &["admin"]));
    for door in Door::BOTH {
        for ask in [
            Ask::load("iris"),
            Ask::unload("digits"),
            Ask::load("digits"),
        ] {
            assert_eq!(
                door.ask(&server, &ask, &[&user]),
                Said::No,
                "{door:?} {ask:?}"
            );
            assert_eq!(
                door.ask(&server, &ask, &[&admin]),
                Said::Yes,
                "{door:?} {ask:?}"
            );
        }
        // Not even whether there is such a model.
        assert_eq!(door.ask(&server, &Ask::load("nothing"), &[&user]), Said::No);
        assert_eq!(door.ask(&server, &Ask::Index, &[&user]), Said::Yes);
    }
}

#[test]
fn anonymous_may_ask_whether_the_server_is_there_and_nothing_else() {
    let server = guarded(&[]);
    for door in Door::BOTH {
        for ask in [Ask::Live, Ask::Ready, Ask::Server] {
            assert_eq!(door.ask(&server, &ask, &[]), Said::Yes, "{door:?} {ask:?}");
        }
        for ask in [
            Ask::Index,
            Ask::metadata("iris"),
            Ask::load("iris"),
            Ask::Statistics,
        ] {
            assert_eq!(
                door.ask(&server, &ask, &[]),
                Said::WhoAreYou,
                "{door:?} {ask:?}"
            );
        }
    }
    for path in ["/openapi.json", "/v2/models/iris/config"] {
        assert_eq!(
            both_doors::rest(&server, "GET", path, &[], "").0,
            401,
            "{path}"
        );
    }
}
