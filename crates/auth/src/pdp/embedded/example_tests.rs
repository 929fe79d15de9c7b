//! The policies in `examples/policies` do what their comments say.

use std::path::Path;

use oip_core::access::{Access, Arrival, Decision};
use serde_json::json;

use super::Embedded;
use crate::pdp::testing::{claiming, decide, model};
use oip_core::access::{Action, PolicyDecisionPoint as _, Question};

fn example(name: &str) -> Embedded {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/policies");
    Embedded::from_file(folder.join(name)).unwrap()
}

async fn of(pdp: &Embedded, id: &str, roles: &[&str], action: &str, name: &str) -> bool {
    let about = (!name.is_empty()).then(|| model(name, None));
    decide(pdp, id, roles, action, about).await.is_permit()
}

#[test]
fn every_example_fits_the_schema() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/policies");
    let mut read = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "cedar")
        {
            Embedded::from_file(&path).unwrap();
            read += 1;
        }
    }
    assert!(read >= 5);
}

#[tokio::test]
async fn teams_run_their_own_models() {
    let pdp = example("teams.cedar");
    assert!(of(&pdp, "ann", &["team-flowers"], "infer", "iris").await);
    assert!(!of(&pdp, "ann", &["team-flowers"], "infer", "vision-cats").await);
    assert!(of(&pdp, "bob", &["team-vision"], "infer", "vision-cats").await);
    assert!(!of(&pdp, "bob", &["team-vision"], "infer", "iris").await);
    assert!(!of(&pdp, "bob", &["team-vision"], "load", "vision-cats").await);
    assert!(of(&pdp, "", &[], "live", "").await);
    assert!(!of(&pdp, "", &[], "infer", "iris").await);
}

#[tokio::test]
async fn a_department_is_known_by_its_claim() {
    let pdp = example("teams.cedar");
    for (claims, may) in [(json!({"department": "finance"}), true), (json!({}), false)] {
        let caller = claiming("cy", &[], claims.as_object().unwrap().clone()).await;
        let model = model("forecast", None);
        let question = Question {
            caller: &caller,
            action: Action::Infer,
            model: Some(&model),
        };
        assert_eq!(pdp.decide(&question).await.is_permit(), may);
    }
}

#[tokio::test]
async fn operators_come_from_the_offices_network() {
    let pdp = example("teams.cedar");
    // The tests' callers come from 192.0.2.7.
    assert!(!of(&pdp, "op", &["operator"], "load", "iris").await);
    let inside = super::super::testing::from_address("op", &["operator"], "10.1.2.3").await;
    let mapped = super::super::testing::from_address("op", &["operator"], "::ffff:10.1.2.3").await;
    for caller in [inside, mapped] {
        let question = Question {
            caller: &caller,
            action: Action::Load,
            model: Some(&model("iris", None)),
        };
        assert!(pdp.decide(&question).await.is_permit());
    }
}

#[tokio::test]
async fn auditors_look_and_change_nothing_whatever_else_they_are() {
    let pdp = example("auditors.cedar");
    assert!(of(&pdp, "ada", &["auditor"], "statistics", "iris").await);
    assert!(of(&pdp, "ada", &["auditor"], "metrics", "").await);
    assert!(of(&pdp, "uma", &["user"], "infer", "iris").await);
    assert!(!of(&pdp, "ada", &["auditor", "user"], "infer", "iris").await);
    assert!(!of(&pdp, "ada", &["auditor"], "load", "iris").await);
}

#[tokio::test]
async fn at_night_models_answer_and_only_those_on_call_change_them() {
    // The clock is the real one, so this holds the freeze against what the clock says.
    let pdp = example("night-freeze.cedar");
    let now = crate::moment::Moment::now();
    let frozen = now.hour() >= 22 || now.hour() < 6 || now.weekday() >= 6;
    assert!(of(&pdp, "uma", &["user"], "infer", "iris").await);
    assert_eq!(of(&pdp, "op", &["operator"], "load", "iris").await, !frozen);
    assert!(of(&pdp, "op", &["operator", "on-call"], "load", "iris").await);
    assert!(!of(&pdp, "uma", &["user"], "load", "iris").await);
}

#[tokio::test]
async fn a_pinned_version_cannot_be_reached_by_leaving_the_version_out() {
    let pdp = example("pinned-versions.cedar");
    let ask = |roles: &'static [&'static str], version: Option<&'static str>| {
        let pdp = &pdp;
        async move { decide(pdp, "uma", roles, "infer", Some(model("iris", version))).await }
    };
    assert!(ask(&[], Some("2")).await.is_permit());
    assert!(matches!(ask(&[], Some("3")).await, Decision::Deny { .. }));
    assert!(matches!(ask(&[], None).await, Decision::Deny { .. }));
    assert!(ask(&["tester"], Some("3")).await.is_permit());
    assert!(ask(&["tester"], None).await.is_permit());
}

#[tokio::test]
async fn a_gate_refuses_by_a_policy_file_what_it_forbids() {
    let access = Access::new(
        std::sync::Arc::new(crate::pdp::testing::Nameless),
        std::sync::Arc::new(example("teams.cedar")),
    );
    let caller = access.authenticate(Arrival::default()).await.unwrap();
    let permit = access
        .authorize::<oip_core::access::actions::Infer>(&caller, Some(model("iris", None)))
        .await;
    assert_eq!(
        permit.unwrap_err().kind(),
        oip_protocol::ErrorKind::Unauthenticated
    );
}
