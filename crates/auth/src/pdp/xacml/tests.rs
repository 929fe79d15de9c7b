use super::*;
use crate::pdp::testing::{ask, model, server};

/// What the builder of aissemble-open-inference-protocol-shared 1.1.0 makes of user `alice`,
/// role `user`, resource `data`, action `read`.
const ORIGINAL: &str = include_str!("original.json");

/// A request without the attributes that the original does not send.
fn without_ours(mut request: Value) -> Value {
    for category in request["Request"]["Category"].as_array_mut().unwrap() {
        let attributes = category["Attribute"].as_array_mut().unwrap();
        attributes.retain(|a| !a["AttributeId"].as_str().unwrap().starts_with("urn:oip:"));
    }
    request
}

fn value(request: &Value, id: &str) -> Option<Value> {
    let categories = request["Request"]["Category"].as_array().unwrap();
    let mut attributes = categories
        .iter()
        .flat_map(|category| category["Attribute"].as_array().unwrap());
    attributes
        .find(|attribute| attribute["AttributeId"] == id)
        .map(|attribute| attribute["Value"].clone())
}

#[tokio::test]
async fn without_our_attributes_the_request_is_the_originals() {
    let ours = ask(
        "alice",
        &["user"],
        "infer",
        Some(model("iris", Some("2"))),
        request,
    )
    .await;
    assert_eq!(
        without_ours(ours),
        serde_json::from_str::<Value>(ORIGINAL).unwrap()
    );
}

// 1.6 bug 1: every route sends resource "data", action "read".
#[tokio::test]
async fn a_decision_point_can_tell_models_versions_and_actions() {
    let ours = ask(
        "alice",
        &["user"],
        "load",
        Some(model("iris", Some("2"))),
        request,
    )
    .await;
    assert_eq!(value(&ours, MODEL_NAME), Some(json!("iris")));
    assert_eq!(value(&ours, MODEL_VERSION), Some(json!("2")));
    assert_eq!(value(&ours, ACTION_NAME), Some(json!("load")));
    let index = ask("alice", &["user"], "index", server(), request).await;
    assert_eq!(value(&index, MODEL_NAME), None);
    assert_eq!(value(&index, ACTION_NAME), Some(json!("index")));
}

// 1.6 bug 6: roles after the first are dropped.
#[tokio::test]
async fn every_role_is_sent_one_as_text_several_as_a_list_none_as_unknown() {
    for (roles, sent) in [
        (&["user"][..], json!("user")),
        (&["user", "admin"], json!(["user", "admin"])),
        (&[], json!("unknown")),
    ] {
        let ours = ask("alice", roles, "infer", server(), request).await;
        assert_eq!(value(&ours, SUBJECT_ROLE), Some(sent));
    }
    let anonymous = ask("", &[], "infer", server(), request).await;
    assert_eq!(value(&anonymous, SUBJECT_ID), Some(json!("Anonymous")));
    assert_eq!(value(&anonymous, SUBJECT_ROLE), Some(json!("unknown")));
}

fn permits(answer: Value) {
    assert!(decision(&answer).is_permit(), "{answer}");
}

fn denies(answer: Value) {
    assert!(
        matches!(decision(&answer), Decision::Deny { .. }),
        "{answer}"
    );
}

fn faults(answer: Value) {
    assert!(
        matches!(decision(&answer), Decision::Fault { .. }),
        "{answer}"
    );
}

// 1.6 bug 3: a single object is legal in the JSON profile, an empty list is an exception.
#[test]
fn a_response_may_be_a_list_or_a_single_object_and_not_empty() {
    permits(json!({"Response": [{"Decision": "Permit"}]}));
    permits(json!({"Response": {"Decision": "Permit"}}));
    permits(json!({"Response": [{"Decision": "Permit"}, {"Decision": "Permit"}]}));
    faults(json!({"Response": []}));
    faults(json!({"Response": {}}));
    faults(json!({}));
}

#[test]
fn every_other_decision_is_a_deny_and_one_deny_among_permits_denies() {
    for other in ["Deny", "NotApplicable", "Indeterminate"] {
        denies(json!({"Response": [{"Decision": other}]}));
        denies(json!({"Response": [{"Decision": "Permit"}, {"Decision": other}]}));
        denies(json!({"Response": [{"Decision": other}, {"Decision": "Permit"}]}));
    }
}

// 1.6 bug 5: obligations are ignored.
#[test]
fn a_permit_with_an_obligation_is_a_deny_and_advice_is_passed_over() {
    let result = |more: Value| {
        let mut result = json!({"Decision": "Permit", "Status": {"StatusCode": {"Value": "ok"}}});
        let more = more.as_object().unwrap().clone();
        result.as_object_mut().unwrap().extend(more);
        json!({"Response": [result]})
    };
    denies(result(
        json!({"Obligations": [{"Id": "log", "AttributeAssignment": []}]}),
    ));
    denies(result(json!({"Obligations": {"Id": "log"}})));
    denies(result(json!({"Obligations": [null]})));
    faults(result(json!({"Obligations": null})));
    faults(result(json!({"Obligations": "none"})));
    permits(result(json!({"Obligations": []})));
    permits(result(json!({"AssociatedAdvice": [{"Id": "hello"}]})));
}

#[test]
fn what_only_looks_like_a_permit_is_a_fault() {
    for answer in [
        json!("Permit"),
        json!([{"Decision": "Permit"}]),
        json!({"Response": "Permit"}),
        json!({"Response": ["Permit"]}),
        json!({"Response": [["Permit"]]}),
        json!({"Response": [[{"Decision": "Permit"}]]}),
        json!({"Response": [{"Decision": "permit"}]}),
        json!({"Response": [{"Decision": "Permit "}]}),
        json!({"Response": [{"Decision": ["Permit"]}]}),
        json!({"Response": [{"decision": "Permit"}]}),
        json!({"Response": [{"Decision": true}]}),
        json!({"Response": [{"Decision": "Permit"}, {}]}),
        json!({"Response": [{"Decision": "Permit"}, null]}),
        json!({"response": [{"Decision": "Permit"}]}),
        json!({"Response": {"Result": [{"Decision": "Permit"}]}}),
    ] {
        faults(answer);
    }
}
