//! Open Policy Agent, by its data API: `POST /v1/data/…` with `{"input": …}`.

use std::sync::Arc;

use oip_core::BoxFuture;
use oip_core::access::{Decision, PolicyDecisionPoint, Question};
use serde_json::{Value, json};

use super::Explain;
use super::remote::{self, Remote, wrong};
use crate::http::{HttpClient, HttpError};

/// A rule of an Open Policy Agent.
#[derive(Debug)]
pub struct Opa {
    remote: Remote,
}

impl Opa {
    /// The rule at `url`, such as `http://localhost:8181/v1/data/oip/allow`; without a path,
    /// `/v1/data/oip/allow` is added.
    ///
    /// # Errors
    /// A URL that the client would not call.
    pub fn new(client: Arc<HttpClient>, url: &str) -> Result<Self, HttpError> {
        let remote = Remote::new(client, url, "/v1/data/oip/allow", "application/json")?;
        Ok(Self { remote })
    }
}

impl PolicyDecisionPoint for Opa {
    fn decide<'a>(&'a self, question: &'a Question<'a>) -> BoxFuture<'a, Decision> {
        Box::pin(async move {
            match self.remote.ask(&request(question)).await {
                Ok(answer) => decision(&answer),
                Err(fault) => fault,
            }
        })
    }

    fn name(&self) -> &'static str {
        "opa"
    }
}

impl Explain for Opa {
    fn asked(&self, question: &Question<'_>) -> String {
        self.remote.shown(&request(question))
    }
}

fn request(question: &Question<'_>) -> Value {
    let (id, mut subject) = remote::subject(question);
    subject.insert("id".to_owned(), json!(id));
    let known = question.caller.subject().is_some();
    subject.insert("authenticated".to_owned(), json!(known));
    let mut resource = json!({"type": "server", "name": "oip"});
    if let Some(model) = question.model {
        resource = json!({"type": "model", "name": model.name});
        if let Some(version) = &model.version {
            resource["version"] = json!(version);
        }
    }
    json!({"input": {
        "subject": subject,
        "action": question.action.name(),
        "resource": resource,
        "context": remote::context(question),
    }})
}

/// The rule's value: a boolean, or an object with a boolean `allow`. A rule that is undefined
/// (no `result`, or an object without `allow`) is a deny, as it is everywhere in Rego.
fn decision(answer: &Value) -> Decision {
    let Some(answer) = answer.as_object() else {
        return wrong("the answer is not an object".to_owned());
    };
    let (allow, reason) = match answer.get("result") {
        Some(Value::Object(result)) => {
            let names = ["reason", "reasons"];
            let reason = names.iter().find_map(|name| result.get(*name));
            (result.get("allow"), reason)
        }
        other => (other, None),
    };
    match allow {
        Some(Value::Bool(true)) => Decision::Permit {
            reason: remote::with_reason("the rule is true", reason),
        },
        Some(Value::Bool(false)) => Decision::Deny {
            reason: remote::with_reason("the rule is false", reason),
        },
        None => Decision::Deny {
            reason: remote::with_reason("the rule is undefined", reason),
        },
        Some(_) => wrong("the rule's value is neither true nor false".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pdp::testing::{ask, model};

    #[tokio::test]
    async fn the_input_says_who_what_and_from_where() {
        let body = ask(
            "alice",
            &["user"],
            "load",
            Some(model("iris", None)),
            request,
        )
        .await;
        let input = &body["input"];
        assert_eq!(
            input["subject"],
            json!({"id": "alice", "roles": ["user"], "authenticated": true})
        );
        assert_eq!(input["action"], "load");
        assert_eq!(input["resource"], json!({"type": "model", "name": "iris"}));
        assert_eq!(input["context"]["path"], "/v2/test");
    }

    #[test]
    fn a_reason_beside_allow_is_kept() {
        for (result, expected) in [
            (
                json!({"allow": false, "reason": "no"}),
                "the rule is false: no",
            ),
            (
                json!({"allow": true, "reasons": ["a\nb", "c"]}),
                "the rule is true: a\\nb",
            ),
            (
                json!({"reason": "no rule"}),
                "the rule is undefined: no rule",
            ),
            (json!({"allow": false, "reason": true}), "the rule is false"),
            (json!(false), "the rule is false"),
        ] {
            assert_eq!(decision(&json!({"result": result})).reason(), expected);
        }
    }

    #[test]
    fn true_or_allow_true_permits_and_undefined_denies() {
        assert!(decision(&json!({"result": true})).is_permit());
        assert!(decision(&json!({"result": {"allow": true, "reason": "x"}})).is_permit());
        for answer in [
            json!({}),
            json!({"result": false}),
            json!({"result": {}}),
            json!({"result": {"allow": false}}),
            json!({"decision_id": "7"}),
        ] {
            assert!(
                matches!(decision(&answer), Decision::Deny { .. }),
                "{answer}"
            );
        }
        for answer in [
            json!([]),
            json!(true),
            json!({"result": null}),
            json!({"result": "true"}),
            json!({"result": 1}),
            json!({"result": [true]}),
            json!({"result": {"allow": "true"}}),
            json!({"result": {"allow": {"allow": true}}}),
        ] {
            assert!(
                matches!(decision(&answer), Decision::Fault { .. }),
                "{answer}"
            );
        }
    }
}
