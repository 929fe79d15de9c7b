//! Decision points that are slow, dead or lying.

use std::time::{Duration, Instant};

use oip_core::access::{Action, Decision, Question};
use proptest::prelude::*;
use serde_json::Value;

use super::authzen::AuthZen;
use super::opa::Opa;
use super::stub::{Answer, PERMIT, Stub, client, remotes};
use super::testing::{decide, model};
use super::xacml::Xacml;
use super::{Explain, Situation, explain};

/// What each remote decision point makes of an answer.
async fn all(answer: Answer) -> Vec<Decision> {
    let stub = Stub::start(answer).await;
    let mut decisions = Vec::new();
    for pdp in remotes(&stub.url) {
        decisions.push(
            decide(
                &*pdp,
                "alice",
                &["user"],
                "infer",
                Some(model("iris", None)),
            )
            .await,
        );
    }
    decisions
}

async fn faults(answer: Answer, down: bool) {
    for decision in all(answer).await {
        let Decision::Fault { unreachable, cause } = &decision else {
            panic!("{decision:?}");
        };
        assert_eq!(*unreachable, down, "{cause}");
    }
}

#[tokio::test]
async fn a_legal_permit_permits_whatever_its_json_type_is_called() {
    for kind in [
        "application/json",
        "application/xacml+json; charset=UTF-8",
        "Application/JSON;charset=utf-8",
    ] {
        for decision in all(Answer::http("200 OK", kind, PERMIT)).await {
            assert!(decision.is_permit(), "{kind}: {decision:?}");
        }
    }
}

// 1.6 bug 4: the HTTP status is ignored, a 500 with a Permit body permits.
#[tokio::test]
async fn a_permit_under_any_status_but_200_is_a_fault() {
    for status in [
        "201 Created",
        "202 Accepted",
        "204 No Content",
        "206 Partial Content",
        "400 Bad Request",
        "401 Unauthorized",
        "403 Forbidden",
        "404 Not Found",
        "500 Internal Server Error",
    ] {
        faults(Answer::http(status, "application/json", PERMIT), false).await;
    }
    for status in [
        "502 Bad Gateway",
        "503 Service Unavailable",
        "504 Gateway Timeout",
    ] {
        faults(Answer::http(status, "application/json", PERMIT), true).await;
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_is_a_fault() {
    for status in [
        "301 Moved Permanently",
        "302 Found",
        "307 Temporary Redirect",
    ] {
        faults(Answer::http(status, "application/json", PERMIT), false).await;
    }
}

// 1.6 bug 3: HTML and other bodies raise an exception and are a 500.
#[tokio::test]
async fn a_body_that_is_no_json_is_a_fault() {
    let html = "<html><body>Permit</body></html>";
    faults(Answer::http("200 OK", "text/html", html), false).await;
    faults(Answer::http("200 OK", "text/html", PERMIT), false).await;
    faults(Answer::http("200 OK", "", PERMIT), false).await;
    faults(Answer::json(html), false).await;
    faults(Answer::json(""), false).await;
    faults(Answer::json(&PERMIT[..PERMIT.len() - 1]), false).await;
    faults(Answer::json(format!("{PERMIT}{PERMIT}")), false).await;
    faults(Answer::json(format!("\u{feff}{PERMIT}")), false).await;
}

#[tokio::test]
async fn an_answer_in_a_coding_that_was_not_asked_for_is_a_fault() {
    for coding in ["gzip", "br", "identity, gzip", ""] {
        let kind = format!("application/json\r\nContent-Encoding: {coding}");
        faults(Answer::http("200 OK", &kind, PERMIT), false).await;
    }
}

#[tokio::test]
async fn an_answer_that_can_be_read_two_ways_is_a_fault() {
    let twice = r#"{"Response":[{"Decision":"Deny","Decision":"Permit"}],
        "decision":false,"decision":true,"result":false,"result":true}"#;
    faults(Answer::json(twice), false).await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_a_fault() {
    let Answer::Bytes(whole) = Answer::json(PERMIT) else {
        unreachable!()
    };
    for end in [whole.len() - 1, whole.len() / 2, 20, 0] {
        faults(Answer::Bytes(whole[..end].to_vec()), true).await;
    }
}

// 1.6 bug 3: a decision point that is down is a 500.
#[tokio::test]
async fn a_dead_decision_point_is_a_fault() {
    let stub = Stub::start(Answer::Silence).await;
    let url = stub.url.clone();
    drop(stub);
    tokio::time::sleep(Duration::from_millis(50)).await;
    for pdp in remotes(&url) {
        let decision = decide(&*pdp, "alice", &[], "infer", None).await;
        assert!(matches!(
            decision,
            Decision::Fault {
                unreachable: true,
                ..
            }
        ));
    }
}

// 1.6 bug 2: no time-out.
#[tokio::test]
async fn a_silent_or_dripping_decision_point_is_a_fault_in_time() {
    for answer in [Answer::Silence, Answer::Drip] {
        let since = Instant::now();
        faults(answer, true).await;
        assert!(since.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn an_endless_answer_is_a_fault_and_is_not_kept() {
    let since = Instant::now();
    faults(Answer::Endless, false).await;
    assert!(since.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn connections_are_used_again() {
    // The stub closes each of its connections, so this asks the client for nothing more than to
    // notice that; the reuse itself is the client's own test.
    let stub = Stub::start(Answer::json(PERMIT)).await;
    let pdp = Xacml::new(client(), &stub.url).unwrap();
    for _ in 0..20 {
        assert!(decide(&pdp, "alice", &[], "infer", None).await.is_permit());
    }
    assert_eq!(stub.asked(), 20);
}

#[tokio::test]
async fn explain_shows_what_is_posted_and_what_comes_of_it() {
    let stub = Stub::start(Answer::json(r#"{"Response":[{"Decision":"Deny"}]}"#)).await;
    let pdp = Xacml::new(client(), &stub.url).unwrap();
    let situation = Situation {
        subject: Some(oip_core::access::Subject {
            id: "alice".to_owned(),
            roles: vec!["user".to_owned()],
            ..Default::default()
        }),
        action: oip_core::access::Action::Infer,
        model: Some(model("iris", None)),
        peer: None,
        path: "/v2/models/iris/infer".to_owned(),
    };
    let explained = explain(&pdp, &situation).await.unwrap();
    assert_eq!(explained.pdp, "xacml");
    assert!(matches!(explained.decision, Decision::Deny { .. }));
    assert!(
        explained.asked.starts_with("POST http://127.0.0.1:"),
        "{}",
        explained.asked
    );
    assert!(
        explained
            .asked
            .contains("\"urn:oip:xacml:1.0:resource:model-name\"")
    );
    let _ = pdp.asked(&oip_core::access::Question {
        caller: &super::testing::caller("a", &[]).await,
        action: oip_core::access::Action::Live,
        model: None,
    });
}

#[tokio::test]
async fn an_address_is_completed_where_it_is_a_base_and_its_query_stays() {
    let authzen =
        |url: &str| -> Box<dyn Explain> { Box::new(AuthZen::new(client(), url).unwrap()) };
    let opa = |url: &str| -> Box<dyn Explain> { Box::new(Opa::new(client(), url).unwrap()) };
    let xacml = |url: &str| -> Box<dyn Explain> { Box::new(Xacml::new(client(), url).unwrap()) };
    for (pdp, path) in [
        (authzen("http://localhost"), "/access/v1/evaluation"),
        (authzen("http://localhost/"), "/access/v1/evaluation"),
        (authzen("http://localhost/pdp"), "/pdp/access/v1/evaluation"),
        (
            authzen("http://localhost/pdp/?a=b"),
            "/pdp/access/v1/evaluation",
        ),
        (
            authzen("http://localhost/x/evaluation?a=b"),
            "/x/evaluation",
        ),
        (opa("http://localhost/?pretty"), "/v1/data/oip/allow"),
        (opa("http://localhost/v1/data/x"), "/v1/data/x"),
        (xacml("http://localhost"), "/"),
        (xacml("http://localhost/pdp/"), "/pdp/"),
    ] {
        let question = Question {
            caller: &super::testing::caller("a", &[]).await,
            action: Action::Live,
            model: None,
        };
        let asked = pdp.asked(&question);
        let line = asked.lines().next().unwrap();
        assert_eq!(line, format!("POST http://localhost{path}"));
    }
    for (base, whole) in [
        ("http://h?a=b&c", "http://h/p?a=b&c"),
        ("http://h/x/?a=/#f?", "http://h/x/p?a=/"),
        ("http://h/x", "http://h/x/p"),
    ] {
        assert_eq!(super::remote::completed(base, "/p"), whole);
    }
}

/// Whether a body is a legal permit, said a second time and another way: the sample bodies of the
/// property test hold each name at most once.
pub(super) fn is_legal_permit(body: &[u8], pdp: &str) -> bool {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return false;
    };
    let permit = |result: &Value| {
        let free = match &result["Obligations"] {
            Value::Array(list) => list.is_empty(),
            other => other.is_null() && result.get("Obligations").is_none(),
        };
        result.is_object() && result["Decision"] == "Permit" && free
    };
    match pdp {
        "xacml" => match &value["Response"] {
            Value::Array(results) => !results.is_empty() && results.iter().all(permit),
            single => permit(single),
        },
        "authzen" => {
            let context = value.get("context");
            let fine = context.is_none_or(|context| {
                let obligations = context.get("obligations");
                context.is_object()
                    && obligations.is_none_or(|list| list.as_array().is_some_and(Vec::is_empty))
            });
            value["decision"] == true && fine
        }
        _ => value["result"] == true || value["result"]["allow"] == true,
    }
}

/// JSON made of the words that matter.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        prop::sample::select(vec![
            "Permit",
            "Deny",
            "permit",
            "Indeterminate",
            "true",
            ""
        ])
        .prop_map(Value::from),
        (-1..2_i64).prop_map(Value::from),
    ];
    let names = prop::sample::select(vec![
        "Response",
        "Decision",
        "decision",
        "Obligations",
        "obligations",
        "result",
        "allow",
        "context",
        "Status",
        "x",
    ]);
    leaf.prop_recursive(5, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            prop::collection::vec((names.clone(), inner), 0..4).prop_map(|members| {
                Value::Object(
                    members
                        .into_iter()
                        .map(|(k, v)| (k.to_owned(), v))
                        .collect(),
                )
            }),
        ]
    })
}

pub(super) fn body() -> impl Strategy<Value = Vec<u8>> {
    let permits = prop::sample::select(vec![
        PERMIT.to_owned(),
        r#"{"Response":{"Decision":"Permit"},"result":{"allow":true},"decision":true}"#.to_owned(),
    ]);
    let damaged =
        (permits, any::<prop::sample::Index>(), any::<u8>()).prop_map(|(text, at, byte)| {
            let mut bytes = text.into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes
        });
    let wrapped = json().prop_map(|value| {
        serde_json::to_vec(&serde_json::json!({
            "Response": value, "decision": value, "result": value, "context": {"x": 1}
        }))
        .unwrap()
    });
    let plain = json().prop_map(|value| serde_json::to_vec(&value).unwrap());
    prop_oneof![any::<Vec<u8>>(), damaged, wrapped, plain]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// No fault and no body yields a permit that is not a legal one, under 200 or another status.
    #[test]
    fn nothing_but_a_legal_permit_permits(body in body(), ok in prop::bool::weighted(0.8)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let status = if ok { "200 OK" } else { "500 Oops" };
            let stub = Stub::start(Answer::http(status, "application/json", &body)).await;
            for pdp in remotes(&stub.url) {
                let decision = decide(&*pdp, "alice", &[], "infer", None).await;
                let legal = ok && is_legal_permit(&body, pdp.name());
                if decision.is_permit() != legal {
                    let shown = String::from_utf8_lossy(&body);
                    // A damaged name may stand twice; that is refused and the oracle cannot see it.
                    let stricter = legal && decision.reason().contains("stands twice");
                    assert!(stricter, "{} {status} {shown} {decision:?}", pdp.name());
                }
            }
        });
    }

    /// Whatever raw bytes come back instead of an HTTP answer.
    #[test]
    fn no_raw_bytes_permit(bytes in any::<Vec<u8>>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let decisions = runtime.block_on(all(Answer::Bytes(bytes)));
        assert!(decisions.iter().all(|decision| !decision.is_permit()));
    }
}
