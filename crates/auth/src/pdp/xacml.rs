//! The XACML 3.0 JSON profile, as the Python original's AuthzForce adapter speaks it.
//!
//! The request has the adapter's exact shape, so that a policy written for the original goes on
//! working: `resource-id` is `data`, `action-id` is `read`. What the original did not send comes
//! as further attributes: every role, the model, its version and the action.

use std::sync::Arc;

use oip_core::BoxFuture;
use oip_core::access::{Decision, PolicyDecisionPoint, Question};
use serde_json::{Map, Value, json};

use super::Explain;
use super::remote::{Remote, wrong};
use crate::http::{HttpClient, HttpError};

const MEDIA: &str = "application/xacml+json";

const SUBJECT: &str = "urn:oasis:names:tc:xacml:1.0:subject-category:access-subject";
const RESOURCE: &str = "urn:oasis:names:tc:xacml:3.0:attribute-category:resource";
const ACTION: &str = "urn:oasis:names:tc:xacml:3.0:attribute-category:action";

const SUBJECT_ID: &str = "urn:oasis:names:tc:xacml:1.0:subject:subject-id";
const SUBJECT_ROLE: &str = "urn:oasis:names:tc:xacml:2.0:subject:role";
const RESOURCE_ID: &str = "urn:oasis:names:tc:xacml:1.0:resource:resource-id";
const ACTION_ID: &str = "urn:oasis:names:tc:xacml:1.0:action:action-id";

/// The model's name; absent where a call concerns no model.
pub const MODEL_NAME: &str = "urn:oip:xacml:1.0:resource:model-name";
/// The model's version; absent where the caller left it to the server.
pub const MODEL_VERSION: &str = "urn:oip:xacml:1.0:resource:model-version";
/// The action by its own name, such as `infer` or `load`.
pub const ACTION_NAME: &str = "urn:oip:xacml:1.0:action:action-name";

/// A XACML 3.0 policy decision point behind a URL.
#[derive(Debug)]
pub struct Xacml {
    remote: Remote,
}

impl Xacml {
    /// The decision point at `url`, taken as it stands.
    ///
    /// # Errors
    /// A URL that the client would not call.
    pub fn new(client: Arc<HttpClient>, url: &str) -> Result<Self, HttpError> {
        let remote = Remote::new(client, url, "", MEDIA)?;
        Ok(Self { remote })
    }
}

impl PolicyDecisionPoint for Xacml {
    fn decide<'a>(&'a self, question: &'a Question<'a>) -> BoxFuture<'a, Decision> {
        Box::pin(async move {
            match self.remote.ask(&request(question)).await {
                Ok(answer) => decision(&answer),
                Err(fault) => fault,
            }
        })
    }

    fn name(&self) -> &'static str {
        "xacml"
    }
}

impl Explain for Xacml {
    fn asked(&self, question: &Question<'_>) -> String {
        self.remote.shown(&request(question))
    }
}

fn attribute(id: &str, value: impl Into<Value>) -> Value {
    json!({
        "AttributeId": id,
        "IncludeInResult": false,
        "DataType": "http://www.w3.org/2001/XMLSchema#string",
        "Value": value.into(),
    })
}

/// The request, member for member as the original's builder makes it.
fn request(question: &Question<'_>) -> Value {
    let mut resource = vec![attribute(RESOURCE_ID, "data")];
    if let Some(model) = question.model {
        resource.push(attribute(MODEL_NAME, model.name.as_str()));
        if let Some(version) = &model.version {
            resource.push(attribute(MODEL_VERSION, version.as_str()));
        }
    }
    let subject = [
        attribute(SUBJECT_ID, question.caller.id()),
        attribute(SUBJECT_ROLE, roles(question)),
    ];
    let action = [
        attribute(ACTION_ID, "read"),
        attribute(ACTION_NAME, question.action.name()),
    ];
    json!({"Request": {
        "ReturnPolicyIdList": false,
        "CombinedDecision": false,
        "Category": [
            {"CategoryId": SUBJECT, "Attribute": subject},
            {"CategoryId": RESOURCE, "Attribute": resource},
            {"CategoryId": ACTION, "Attribute": action},
        ],
    }})
}

/// One role as the text that the original sends, several as a list, none as `unknown`.
fn roles(question: &Question<'_>) -> Value {
    let roles = question.caller.subject().map(|subject| &subject.roles[..]);
    match roles.unwrap_or_default() {
        [] => "unknown".into(),
        [role] => role.as_str().into(),
        several => several.into(),
    }
}

/// What an answer says. `Permit` only where every result is one.
fn decision(answer: &Value) -> Decision {
    let Some(response) = answer.as_object().and_then(|body| body.get("Response")) else {
        return wrong("the answer has no Response".to_owned());
    };
    let results: Vec<&Value> = match response {
        Value::Object(_) => vec![response],
        Value::Array(results) => results.iter().collect(),
        _ => return wrong("Response is neither an object nor a list".to_owned()),
    };
    if results.is_empty() {
        return wrong("Response is an empty list".to_owned());
    }
    let mut refusal = None;
    for result in results {
        match one(result) {
            Decision::Permit { .. } => {}
            fault @ Decision::Fault { .. } => return fault,
            deny @ Decision::Deny { .. } => refusal = refusal.or(Some(deny)),
        }
    }
    refusal.unwrap_or_else(|| Decision::Permit {
        reason: "every result says Permit".to_owned(),
    })
}

/// What one result says. The enforcement point is deny-biased (XACML 3.0, 7.2.2).
fn one(result: &Value) -> Decision {
    let Some(result) = result.as_object() else {
        return wrong("a result is not an object".to_owned());
    };
    let deny = |reason: &str| Decision::Deny {
        reason: reason.to_owned(),
    };
    match result.get("Decision").and_then(Value::as_str) {
        Some("Permit") => obligations(result),
        Some("Deny") => deny("a result says Deny"),
        Some("NotApplicable") => deny("no policy applies (NotApplicable)"),
        Some("Indeterminate") => deny("the policies could not be evaluated (Indeterminate)"),
        _ => wrong("a result has no Decision that the profile knows".to_owned()),
    }
}

/// A permit with an obligation is none: this server can fulfil none. Advice may be passed over.
fn obligations(result: &Map<String, Value>) -> Decision {
    let unfulfilled = match result.get("Obligations") {
        None => false,
        Some(Value::Array(list)) => !list.is_empty(),
        Some(Value::Object(_)) => true,
        Some(_) => return wrong("Obligations is neither an object nor a list".to_owned()),
    };
    if unfulfilled {
        return Decision::Deny {
            reason: "Permit with an obligation, which this server cannot fulfil".to_owned(),
        };
    }
    Decision::Permit {
        reason: "Permit".to_owned(),
    }
}

#[cfg(test)]
mod tests;
