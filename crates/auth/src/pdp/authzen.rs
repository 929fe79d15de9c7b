//! The OpenID AuthZEN Authorization API 1.0: one access evaluation a question.

use std::sync::Arc;

use oip_core::BoxFuture;
use oip_core::access::{Decision, PolicyDecisionPoint, Question};
use serde_json::{Value, json};

use super::Explain;
use super::remote::{self, Remote, wrong};
use crate::http::{HttpClient, HttpError};

/// An AuthZEN policy decision point.
#[derive(Debug)]
pub struct AuthZen {
    remote: Remote,
}

impl AuthZen {
    /// The decision point at `url`: the whole address of its access evaluation, which ends in
    /// `/evaluation`, or its base, to which the specification's `/access/v1/evaluation` is added.
    ///
    /// # Errors
    /// A URL that the client would not call.
    pub fn new(client: Arc<HttpClient>, url: &str) -> Result<Self, HttpError> {
        let whole = client.check(url)?.path().ends_with("/evaluation");
        let path = if whole { "" } else { "/access/v1/evaluation" };
        let remote = Remote::under(client, url, path, "application/json")?;
        Ok(Self { remote })
    }
}

impl PolicyDecisionPoint for AuthZen {
    fn decide<'a>(&'a self, question: &'a Question<'a>) -> BoxFuture<'a, Decision> {
        Box::pin(async move {
            match self.remote.ask(&request(question)).await {
                Ok(answer) => decision(&answer),
                Err(fault) => fault,
            }
        })
    }

    fn name(&self) -> &'static str {
        "authzen"
    }
}

impl Explain for AuthZen {
    fn asked(&self, question: &Question<'_>) -> String {
        self.remote.shown(&request(question))
    }
}

fn request(question: &Question<'_>) -> Value {
    let (id, properties) = remote::subject(question);
    let subject_type = match question.caller.subject() {
        Some(_) => "subject",
        None => "anonymous",
    };
    let resource = match question.model {
        Some(model) => json!({
            "type": "model",
            "id": model.name,
            "properties": model.version.as_ref().map_or(json!({}), |v| json!({"version": v})),
        }),
        None => json!({"type": "server", "id": "oip"}),
    };
    json!({
        "subject": {"type": subject_type, "id": id, "properties": properties},
        "action": {"name": question.action.name()},
        "resource": resource,
        "context": remote::context(question),
    })
}

/// `{"decision": true}` permits. The context of an answer is information for people, except
/// `obligations`: a permit that depends on one is none, as this server can fulfil none.
fn decision(answer: &Value) -> Decision {
    let Some(answer) = answer.as_object() else {
        return wrong("the answer is not an object".to_owned());
    };
    let context = match answer.get("context") {
        None => None,
        Some(Value::Object(context)) => Some(context),
        Some(_) => return wrong("the answer's context is not an object".to_owned()),
    };
    let obliged = context
        .and_then(|context| context.get("obligations"))
        .is_some_and(|value| !value.as_array().is_some_and(Vec::is_empty));
    // The one for operators is the better one here; `reason` is what many implementations say.
    let reason = context.and_then(|context| {
        let names = ["reason_admin", "reason", "reason_user"];
        names.iter().find_map(|name| context.get(*name))
    });
    match answer.get("decision") {
        Some(Value::Bool(true)) if obliged => Decision::Deny {
            reason: "permitted with an obligation, which this server cannot fulfil".to_owned(),
        },
        Some(Value::Bool(true)) => Decision::Permit {
            reason: remote::with_reason("decision is true", reason),
        },
        Some(Value::Bool(false)) => Decision::Deny {
            reason: remote::with_reason("decision is false", reason),
        },
        _ => wrong("the answer has no decision that is true or false".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pdp::testing::{ask, model, server};

    #[tokio::test]
    async fn a_question_has_the_shape_of_the_specification() {
        let body = ask(
            "alice",
            &["user", "eu"],
            "infer",
            Some(model("iris", Some("2"))),
            request,
        );
        let body = body.await;
        assert_eq!(body["subject"]["type"], "subject");
        assert_eq!(body["subject"]["id"], "alice");
        assert_eq!(
            body["subject"]["properties"]["roles"],
            json!(["user", "eu"])
        );
        assert_eq!(body["action"], json!({"name": "infer"}));
        assert_eq!(
            body["resource"],
            json!({"type": "model", "id": "iris", "properties": {"version": "2"}})
        );
        assert_eq!(body["context"]["ip"], "192.0.2.7");
        assert!(body["context"]["time"].is_i64());
    }

    #[tokio::test]
    async fn a_call_that_concerns_no_model_is_about_the_server() {
        let body = ask("alice", &[], "index", server(), request).await;
        assert_eq!(body["resource"], json!({"type": "server", "id": "oip"}));
    }

    #[test]
    fn the_decision_points_reason_is_kept_and_never_taken_for_the_decision() {
        for (context, expected) in [
            (json!({}), "decision is false"),
            (json!({"reason": " "}), "decision is false"),
            (json!({"reason": "closed"}), "decision is false: closed"),
            (
                json!({"reason_user": {"en": "no"}, "reason_admin": {"en": "rule 7"}}),
                "decision is false: rule 7",
            ),
            (json!({"reason": {"code": 7}}), "decision is false"),
            (
                json!({"reason": "a\nFORGED LINE \u{1b}[2J"}),
                "decision is false: a\\nFORGED LINE \\u{1b}[2J",
            ),
        ] {
            let answer = json!({"decision": false, "context": context});
            assert_eq!(decision(&answer).reason(), expected);
        }
        let long = json!({"decision": true, "context": {"reason": "x".repeat(1_000_000)}});
        let Decision::Permit { reason } = decision(&long) else {
            panic!("not a permit")
        };
        assert!(reason.ends_with("x...") && reason.len() < 300, "{reason}");
    }

    #[test]
    fn only_a_boolean_true_permits() {
        assert!(decision(&json!({"decision": true})).is_permit());
        let advice = json!({"decision": true, "context": {"reason_user": {"en": "hello"}}});
        assert!(decision(&advice).is_permit());
        for answer in [
            json!({"decision": false}),
            json!({"decision": true, "context": {"obligations": [{"id": "mfa"}]}}),
        ] {
            assert!(matches!(decision(&answer), Decision::Deny { .. }));
        }
        for answer in [
            json!({}),
            json!([]),
            json!(true),
            json!({"decision": "true"}),
            json!({"decision": 1}),
            json!({"Decision": true}),
            json!({"decision": true, "context": []}),
            json!({"decision": null}),
        ] {
            assert!(
                matches!(decision(&answer), Decision::Fault { .. }),
                "{answer}"
            );
        }
    }
}
