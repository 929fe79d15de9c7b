use std::fs;

use serde_json::json;

use super::*;
use crate::pdp::testing::{claiming, decide, model};
use crate::pdp::{Situation, explain};
use oip_core::access::Subject;

const FOR_A_MODEL: [&str; 9] = [
    "infer",
    "metadata",
    "config",
    "load",
    "unload",
    "ready",
    "statistics",
    "logging",
    "trace",
];

fn about(action: &str) -> Option<oip_protocol::ModelRef> {
    FOR_A_MODEL.contains(&action).then(|| model("iris", None))
}

async fn may(pdp: &Embedded, id: &str, roles: &[&str], action: &str) -> bool {
    decide(pdp, id, roles, action, about(action))
        .await
        .is_permit()
}

fn policies(text: &str) -> Result<Embedded, PolicyError> {
    Embedded::from_text("policies", text)
}

fn refused(text: &str) -> String {
    policies(text).unwrap_err().to_string()
}

#[tokio::test]
async fn the_built_in_policy_is_the_contracts() {
    let pdp = Embedded::builtin().unwrap();
    for action in Action::ALL {
        let name = action.name();
        let changes = matches!(action, Action::Load | Action::Unload);
        let open = matches!(
            action,
            Action::Live | Action::Ready | Action::ServerMetadata
        );
        assert_eq!(
            may(&pdp, "alice", &[], name).await,
            !changes,
            "alice {name}"
        );
        assert_eq!(may(&pdp, "alice", &["user", "Admin"], name).await, !changes);
        assert!(
            may(&pdp, "root", &["user", "admin"], name).await,
            "admin {name}"
        );
        assert_eq!(may(&pdp, "", &[], name).await, open, "Anonymous {name}");
        assert_eq!(pdp.may_permit_anonymous(action), open, "early {name}");
    }
}

#[test]
fn the_schema_and_the_built_in_policy_among_the_examples_are_the_ones_in_force() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/policies");
    let read = |name: &str| fs::read_to_string(examples.join(name)).unwrap();
    assert_eq!(read("oip.cedarschema"), SCHEMA);
    assert_eq!(read("builtin.cedar"), BUILTIN);
}

#[tokio::test]
async fn every_question_fits_the_schema() {
    let (schema, _) = cedar_policy::Schema::from_cedarschema_str(SCHEMA).unwrap();
    let claims = json!({"department": ["finance"], "org": {"unit": 7}, "ok": true});
    for id in ["alice", ""] {
        let caller = claiming(id, &["user"], claims.as_object().unwrap().clone()).await;
        for action in Action::ALL {
            let models = [
                None,
                Some(model("iris", None)),
                Some(model("iris", Some("1"))),
            ];
            for of in models
                .iter()
                .filter(|of| of.is_none() != about(action.name()).is_some())
            {
                let question = Question {
                    caller: &caller,
                    action,
                    model: of.as_ref(),
                };
                let (request, entities) = question::cedar(&question, true).unwrap();
                let checked = cedar_policy::Request::new(
                    request.principal().unwrap().clone(),
                    request.action().unwrap().clone(),
                    request.resource().unwrap().clone(),
                    request.context().unwrap().clone(),
                    Some(&schema),
                );
                checked.unwrap_or_else(|error| panic!("{action:?} {of:?}: {error}"));
                cedar_policy::Entities::from_entities(entities, Some(&schema)).unwrap();
            }
        }
    }
}

#[tokio::test]
async fn nested_claims_are_tags_by_their_path() {
    let pdp = policies(
        r#"permit (principal is Subject, action, resource)
           when { principal.hasTag("org.unit") && principal.getTag("org.unit").contains("7") };"#,
    )
    .unwrap();
    for (claims, may) in [
        (json!({"org": {"unit": 7}}), true),
        (json!({"org": {"unit": [1, "7"]}}), true),
        (json!({"org": {"unit": 70}}), false),
        (json!({"org": null}), false),
        (json!({}), false),
    ] {
        let caller = claiming("alice", &[], claims.as_object().unwrap().clone()).await;
        let question = Question {
            caller: &caller,
            action: Action::Index,
            model: None,
        };
        assert_eq!(pdp.decide(&question).await.is_permit(), may, "{claims}");
    }
}

#[tokio::test]
async fn a_forbid_that_cannot_be_evaluated_does_not_let_its_permit_pass() {
    let pdp = policies(
        r#"permit (principal, action, resource);
           @id("broken") forbid (principal, action, resource)
           when { context.time * 9223372036854775807 > 0 };"#,
    )
    .unwrap();
    let decision = decide(&pdp, "alice", &[], "index", None).await;
    assert!(matches!(decision, Decision::Fault { .. }), "{decision:?}");
}

#[test]
fn a_policy_that_does_not_fit_is_refused_with_its_line() {
    let error = refused("permit (principal, action, resource);\npermit (principal");
    assert!(error.contains("line 2"), "{error}");
    let error = refused("permit (principal, action, resource)\nwhen { context.tmie > 0 };");
    assert!(
        error.contains("line 2") && error.contains("tmie"),
        "{error}"
    );
    assert!(refused(r#"permit (principal, action == Action::"fly", resource);"#).contains("fly"));
    assert!(refused(r#"permit (principal == User::"a", action, resource);"#).contains("User"));
    let template = refused("permit (principal == ?principal, action, resource);");
    assert!(template.contains("templates"), "{template}");
}

#[test]
fn whether_anonymous_could_be_permitted_is_read_off_the_heads() {
    let of = |text: &str, action| policies(text).unwrap().may_permit_anonymous(action);
    assert!(!of("", Action::Infer));
    assert!(of("permit (principal, action, resource);", Action::Infer));
    assert!(!of("forbid (principal, action, resource);", Action::Infer));
    assert!(!of(
        r#"permit (principal in Role::"a", action, resource);"#,
        Action::Infer
    ));
    assert!(!of(
        r#"permit (principal == Subject::"Anonymous", action, resource);"#,
        Action::Infer
    ));
    assert!(of(
        "permit (principal is Anonymous, action, resource);",
        Action::Infer
    ));
    let infer = r#"permit (principal, action == Action::"infer", resource);"#;
    assert!(of(infer, Action::Infer) && !of(infer, Action::Metadata));
    let two = r#"permit (principal, action in [Action::"infer", Action::"index"], resource);"#;
    assert!(of(two, Action::Index) && !of(two, Action::Metadata));
}

#[tokio::test]
async fn a_subject_called_like_another_entity_is_still_a_subject() {
    let pdp = Embedded::builtin().unwrap();
    for id in [
        "admin",
        "x\" in Role::\"admin",
        "Role::\"admin\"",
        "\u{0}\n\u{1f600}",
    ] {
        assert!(
            !may(&pdp, id, &["admin\"", " admin", "ADMIN"], "load").await,
            "{id}"
        );
    }
}

/// What becomes of a file that does not change between two looks.
fn settled(pdp: &Embedded) -> Result<bool, PolicyError> {
    assert!(!pdp.reload_if_changed()?, "one look does not suffice");
    pdp.reload_if_changed()
}

#[tokio::test]
async fn a_change_that_keeps_length_and_date_is_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.cedar");
    fs::write(&path, "permit (principal, action, resource);").unwrap();
    let date = fs::metadata(&path).unwrap().modified().unwrap();
    let pdp = Embedded::from_file(&path).unwrap();
    fs::write(&path, "forbid (principal, action, resource);").unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(date).unwrap();
    assert!(settled(&pdp).unwrap());
    assert!(!may(&pdp, "alice", &[], "index").await);
}

#[tokio::test]
async fn a_change_that_could_not_be_read_once_is_taken_up_later() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.cedar");
    let text = "forbid (principal, action, resource);";
    fs::write(&path, "permit (principal, action, resource);").unwrap();
    let pdp = Embedded::from_file(&path).unwrap();
    // The new file is there under its name before it can be read. A folder never can; but for
    // that it looks like the file.
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let like = fs::metadata(&path).unwrap();
    let length = usize::try_from(like.len()).unwrap();
    fs::write(folder.path().join("new"), format!("{text:length$}")).unwrap();
    let options = fs::File::options().write(true).clone();
    let new = options.open(folder.path().join("new")).unwrap();
    new.set_modified(like.modified().unwrap()).unwrap();
    assert!(pdp.reload_if_changed().is_err());
    assert!(!pdp.reload_if_changed().unwrap(), "a fault is said once");
    fs::remove_dir(&path).unwrap();
    fs::rename(folder.path().join("new"), &path).unwrap();
    assert!(settled(&pdp).unwrap());
    assert!(!may(&pdp, "alice", &[], "index").await);
}

#[tokio::test]
async fn a_file_that_is_being_written_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.cedar");
    fs::write(&path, "").unwrap();
    let pdp = Embedded::from_file(&path).unwrap();
    let permit = "permit (principal, action, resource);\n";
    fs::write(&path, permit).unwrap();
    assert!(!pdp.reload_if_changed().unwrap());
    fs::write(
        &path,
        format!("{permit}forbid (principal, action, resource);"),
    )
    .unwrap();
    assert!(!pdp.reload_if_changed().unwrap());
    assert!(pdp.reload_if_changed().unwrap());
    assert!(
        !may(&pdp, "alice", &[], "index").await,
        "the half never held"
    );
}

#[tokio::test]
async fn a_changed_file_is_in_force_and_a_broken_one_leaves_the_old_policies() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.cedar");
    fs::write(
        &file,
        r#"permit (principal == Subject::"alice", action, resource);"#,
    )
    .unwrap();
    let pdp = Embedded::from_file(&file).unwrap();
    assert!(may(&pdp, "alice", &[], "index").await && !may(&pdp, "bob", &[], "index").await);
    assert!(!pdp.reload_if_changed().unwrap());

    fs::write(&file, "permit (principal").unwrap();
    assert!(settled(&pdp).is_err());
    assert!(!pdp.reload_if_changed().unwrap(), "a fault is said once");
    assert!(may(&pdp, "alice", &[], "index").await);

    fs::remove_file(&file).unwrap();
    assert!(pdp.reload_if_changed().is_err());
    assert!(may(&pdp, "alice", &[], "index").await);

    fs::write(
        &file,
        r#"permit (principal == Subject::"bob", action, resource) ;"#,
    )
    .unwrap();
    assert!(settled(&pdp).unwrap());
    assert!(!may(&pdp, "alice", &[], "index").await && may(&pdp, "bob", &[], "index").await);
}

#[tokio::test]
async fn a_watched_file_is_read_again_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.cedar");
    fs::write(&file, "").unwrap();
    let pdp = Arc::new(Embedded::from_file(&file).unwrap());
    pdp.watch(Duration::from_millis(10));
    fs::write(&file, "permit (principal, action, resource);").unwrap();
    for _ in 0..500 {
        if may(&pdp, "alice", &[], "index").await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the file was not read again");
}

#[test]
fn a_missing_policy_file_is_an_error_that_names_it() {
    let error = Embedded::from_file("/nowhere/p.cedar").unwrap_err();
    assert!(error.to_string().contains("/nowhere/p.cedar"));
}

#[tokio::test]
async fn explain_names_the_policy_that_decided_and_shows_the_question() {
    let pdp = Embedded::builtin().unwrap();
    let situation = Situation {
        subject: Some(Subject {
            id: "alice".to_owned(),
            roles: vec!["user".to_owned()],
            ..Subject::default()
        }),
        action: Action::Infer,
        model: Some(model("iris", None)),
        peer: None,
        path: "/v2/models/iris/infer".to_owned(),
    };
    let explained = explain(&pdp, &situation).await.unwrap();
    assert_eq!(
        explained.decision,
        Decision::Permit {
            reason: "permitted by builtin-authenticated".to_owned()
        }
    );
    for part in [
        "Subject::\"alice\"",
        "Role::\"user\"",
        "Model::\"iris\"",
        "Action::\"infer\"",
    ] {
        assert!(explained.asked.contains(part), "{}", explained.asked);
    }
}

#[tokio::test]
async fn policies_that_read_the_clock_are_evaluated_each_time() {
    for text in [
        "permit (principal, action, resource) when { context.hour < 24 };",
        r#"permit (principal, action, resource) when { context["\u{68}our"] < 24 };"#,
        "permit (principal, action, resource) when { context.weekday < 8 && context.time > 0 };",
    ] {
        let pdp = policies(text).unwrap();
        assert!(may(&pdp, "alice", &[], "index").await);
        assert!(!pdp.current.load().remembers(), "{text}");
    }
    assert!(Embedded::builtin().unwrap().current.load().remembers());
}

#[tokio::test]
async fn a_remembered_decision_goes_with_the_policies_that_took_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.cedar");
    fs::write(&file, "permit (principal, action, resource);").unwrap();
    let pdp = Embedded::from_file(&file).unwrap();
    assert!(may(&pdp, "alice", &[], "index").await && may(&pdp, "alice", &[], "index").await);
    fs::write(&file, "").unwrap();
    assert!(settled(&pdp).unwrap());
    assert!(!may(&pdp, "alice", &[], "index").await);
}
