use super::*;
use crate::BoxFuture;

/// Knows whoever says `Bearer NAME`; a policy that lets `alice` do anything and fails for `carol`.
struct Doorman;

impl Authenticator for Doorman {
    fn authenticate<'a>(
        &'a self,
        credentials: &'a Credentials,
    ) -> BoxFuture<'a, Result<Option<Arc<Subject>>>> {
        let subject = credentials.authorization.first().map(|value| Subject {
            id: value.trim_start_matches("Bearer ").to_owned(),
            ..Subject::default()
        });
        Box::pin(async move { Ok(subject.map(Arc::new)) })
    }
}

impl PolicyDecisionPoint for Doorman {
    fn decide<'a>(&'a self, question: &'a Question<'a>) -> BoxFuture<'a, Decision> {
        Box::pin(async move {
            match question.caller.id() {
                "alice" => Decision::Permit {
                    reason: "alice".into(),
                },
                "carol" => Decision::Fault {
                    cause: "connection refused".into(),
                    unreachable: true,
                },
                _ => Decision::Deny {
                    reason: "rule 7".into(),
                },
            }
        })
    }
}

async fn infer_as(name: Option<&str>) -> Result<Permit<actions::Infer>> {
    let access = Access::new(Arc::new(Doorman), Arc::new(Doorman));
    let mut arrival = Arrival::default();
    arrival.credentials.authorization = name.iter().map(|name| format!("Bearer {name}")).collect();
    let caller = access.authenticate(arrival).await?;
    access.authorize(&caller, Some(ModelRef::new("iris"))).await
}

#[tokio::test]
async fn a_permit_carries_the_caller_and_the_model_it_was_given_for() {
    let permit = infer_as(Some("alice")).await.unwrap();
    assert_eq!(permit.caller().id(), "alice");
    assert_eq!(permit.model(), Some(&ModelRef::new("iris")));
}

#[tokio::test]
async fn a_refused_anonymous_is_told_401_and_anyone_else_403_without_the_reason() {
    let anonymous = infer_as(None).await.unwrap_err();
    assert_eq!(anonymous.kind(), ErrorKind::Unauthenticated);
    let known = infer_as(Some("bob")).await.unwrap_err();
    assert_eq!(known.kind(), ErrorKind::Forbidden);
    assert!(!known.message().contains("rule 7"));
    assert_eq!(known.cause(), Some("rule 7"));
}

#[tokio::test]
async fn a_fault_of_the_policy_decision_point_is_a_refusal() {
    let error = infer_as(Some("carol")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

/// Permits nobody but the known anything, and counts whom it is told of.
#[derive(Default)]
struct Strict(std::sync::atomic::AtomicUsize);

impl PolicyDecisionPoint for Strict {
    fn decide<'a>(&'a self, _: &'a Question<'a>) -> BoxFuture<'a, Decision> {
        Box::pin(async { panic!("it is not asked") })
    }

    fn may_permit_anonymous(&self, action: Action) -> bool {
        action == Action::Live
    }

    fn refused_unread<'a>(&'a self, question: &'a Question<'a>) -> BoxFuture<'a, ()> {
        assert_eq!(question.caller.id(), "Anonymous");
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Box::pin(async {})
    }
}

#[tokio::test]
async fn an_anonymous_whom_nothing_could_permit_is_refused_unread_and_the_policy_is_told() {
    let policy = Arc::new(Strict::default());
    let access = Access::new(Arc::new(Doorman), policy.clone());
    let anonymous = access.authenticate(Arrival::default()).await.unwrap();
    let error = access.refuse_unread(&anonymous, Action::Infer).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Unauthenticated);
    assert!(access.refuse_unread(&anonymous, Action::Live).await.is_ok());
    let mut arrival = Arrival::default();
    arrival.credentials.authorization = vec!["Bearer bob".to_owned()];
    let known = access.authenticate(arrival).await.unwrap();
    assert!(access.refuse_unread(&known, Action::Infer).await.is_ok());
    assert_eq!(policy.0.load(std::sync::atomic::Ordering::SeqCst), 1);
    let open = Access::open();
    assert!(open.refuse_unread(&anonymous, Action::Infer).await.is_ok());
}

#[tokio::test]
async fn open_gates_let_anonymous_pass() {
    let access = Access::open();
    let caller = access.authenticate(Arrival::default()).await.unwrap();
    let permit: Permit<actions::Load> = access.authorize(&caller, None).await.unwrap();
    assert_eq!(permit.caller().id(), "Anonymous");
}

#[test]
fn credentials_do_not_show_in_debug() {
    let credentials = Credentials {
        authorization: vec!["Bearer secret".into()],
        ..Credentials::default()
    };
    assert!(!format!("{credentials:?}").contains("secret"));
}

#[test]
fn every_action_is_found_by_its_name() {
    for action in Action::ALL {
        assert_eq!(Action::by_name(action.name()), Some(action));
    }
    assert_eq!(Action::by_name("Infer"), None);
}
