//! The guard and the gate, around decision points that tests make up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use oip_core::BoxFuture;
use oip_core::access::{Access, Action, Decision, PolicyDecisionPoint, Question, actions};

use super::testing::{Always, Nameless, decide, deny, model, permit, server};
use super::*;
use crate::audit::{AuditLog, AuditOptions, AuditTarget};

fn down() -> Decision {
    fault("connection refused".to_owned())
}

/// Counts how often it is asked.
struct Counting {
    decision: Decision,
    asked: AtomicUsize,
}

impl Counting {
    fn new(decision: Decision) -> Arc<Self> {
        Arc::new(Self {
            decision,
            asked: AtomicUsize::new(0),
        })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl PolicyDecisionPoint for Counting {
    fn decide<'a>(&'a self, _: &'a Question<'a>) -> BoxFuture<'a, Decision> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { self.decision.clone() })
    }
}

struct Hanging;

impl PolicyDecisionPoint for Hanging {
    fn decide<'a>(&'a self, _: &'a Question<'a>) -> BoxFuture<'a, Decision> {
        Box::pin(std::future::pending())
    }
}

async fn infer(pdp: &dyn PolicyDecisionPoint) -> Decision {
    decide(pdp, "alice", &["user"], "infer", Some(model("iris", None))).await
}

fn is_fault(decision: &Decision) -> bool {
    matches!(decision, Decision::Fault { .. })
}

#[tokio::test(start_paused = true)]
async fn a_decision_point_that_hangs_is_a_fault_after_the_time_out() {
    let guarded = Guarded::new(Arc::new(Hanging), &GuardOptions::default());
    let since = tokio::time::Instant::now();
    assert!(is_fault(&infer(&guarded).await));
    assert_eq!(since.elapsed().as_secs(), 5);
}

#[tokio::test]
async fn a_decision_point_that_panics_is_a_fault() {
    let guarded = Guarded::new(Arc::new(Always(None)), &GuardOptions::default());
    let decision = infer(&guarded).await;
    assert!(is_fault(&decision));
    assert!(decision.reason().contains("told to panic"), "{decision:?}");
}

#[tokio::test]
async fn without_a_ttl_every_question_is_asked() {
    let pdp = Counting::new(permit());
    let guarded = Guarded::new(pdp.clone(), &GuardOptions::default());
    infer(&guarded).await;
    infer(&guarded).await;
    assert_eq!(pdp.asked(), 2);
}

#[tokio::test]
async fn permits_and_denies_are_remembered_and_faults_are_not() {
    let options = GuardOptions {
        cache_ttl: Duration::from_secs(60),
        breaker_faults: 0,
        ..GuardOptions::default()
    };
    for (decision, asked) in [(permit(), 1), (deny(), 1), (down(), 3)] {
        let pdp = Counting::new(decision.clone());
        let guarded = Guarded::new(pdp.clone(), &options);
        for _ in 0..3 {
            assert_eq!(infer(&guarded).await, decision);
        }
        assert_eq!(pdp.asked(), asked);
    }
}

#[tokio::test]
async fn a_remembered_permit_is_for_that_subject_action_and_model_alone() {
    let pdp = Counting::new(permit());
    let options = GuardOptions {
        cache_ttl: Duration::from_secs(60),
        ..GuardOptions::default()
    };
    let guarded = Guarded::new(pdp.clone(), &options);
    infer(&guarded).await;
    decide(
        &guarded,
        "bob",
        &["user"],
        "infer",
        Some(model("iris", None)),
    )
    .await;
    decide(
        &guarded,
        "alice",
        &["admin"],
        "infer",
        Some(model("iris", None)),
    )
    .await;
    decide(
        &guarded,
        "alice",
        &["user"],
        "load",
        Some(model("iris", None)),
    )
    .await;
    decide(
        &guarded,
        "alice",
        &["user"],
        "infer",
        Some(model("digits", None)),
    )
    .await;
    decide(
        &guarded,
        "alice",
        &["user"],
        "infer",
        Some(model("iris", Some("1"))),
    )
    .await;
    assert_eq!(pdp.asked(), 6);
}

#[tokio::test]
async fn a_decision_point_that_is_down_is_refused_without_asking() {
    let pdp = Counting::new(down());
    let guarded = Guarded::new(pdp.clone(), &GuardOptions::default());
    for _ in 0..20 {
        assert!(is_fault(&infer(&guarded).await));
    }
    assert_eq!(pdp.asked(), 5);
}

#[tokio::test]
async fn answers_that_are_none_do_not_open_the_breaker() {
    let pdp = Counting::new(remote::wrong("HTTP 400".to_owned()));
    let guarded = Guarded::new(pdp.clone(), &GuardOptions::default());
    for _ in 0..20 {
        assert!(is_fault(&infer(&guarded).await));
    }
    assert_eq!(pdp.asked(), 20);
}

#[tokio::test]
async fn shadow_mode_lets_pass_what_would_be_refused_and_says_so() {
    for refused in [deny(), down()] {
        let inner = Arc::new(Always(Some(refused)));
        let shadow = Enforced::new(inner.clone()).mode(PolicyMode::Shadow);
        let decision = infer(&shadow).await;
        assert!(decision.is_permit());
        assert!(decision.reason().contains("would be refused"));
        assert!(shadow.may_permit_anonymous(Action::Infer));
        assert!(!infer(&Enforced::new(inner)).await.is_permit());
    }
}

// 1.6 bug 8: health probes go through the PDP, so Kubernetes can get 403.
#[tokio::test]
async fn probes_do_not_ask_the_policy_unless_told_to() {
    let pdp = Counting::new(down());
    let open = Enforced::new(pdp.clone());
    for action in ["live", "ready"] {
        assert!(decide(&open, "", &[], action, server()).await.is_permit());
    }
    assert_eq!(pdp.asked(), 0);
    // A model's readiness is no probe of the server.
    assert!(is_fault(
        &decide(&open, "", &[], "ready", Some(model("iris", None))).await
    ));
    let asking = Enforced::new(pdp.clone()).probes(ProbeAccess::Policy);
    assert!(is_fault(&decide(&asking, "", &[], "live", server()).await));
}

async fn audited(mode: PolicyMode, decision: Decision) -> serde_json::Value {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit");
    let log = AuditLog::open(AuditOptions {
        target: AuditTarget::File(path.clone()),
        ..AuditOptions::default()
    })
    .unwrap();
    let gate = Enforced::new(Arc::new(Always(Some(decision))))
        .mode(mode)
        .audit(log.clone());
    infer(&gate).await;
    log.close();
    serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap()
}

#[tokio::test]
async fn every_decision_is_one_line_and_shadow_mode_shows_in_it() {
    for (decision, word) in [(permit(), "permit"), (deny(), "deny"), (down(), "fault")] {
        let line = audited(PolicyMode::Enforce, decision.clone()).await;
        assert_eq!(
            (&line["decision"], &line["enforced"]),
            (&word.into(), &true.into())
        );
        let line = audited(PolicyMode::Shadow, decision).await;
        assert_eq!(
            (&line["decision"], &line["enforced"]),
            (&word.into(), &false.into())
        );
    }
}

#[tokio::test]
async fn who_is_refused_unread_has_a_line_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit");
    let log = AuditLog::open(AuditOptions {
        target: AuditTarget::File(path.clone()),
        ..AuditOptions::default()
    })
    .unwrap();
    let gate = Enforced::new(Arc::new(Always(Some(permit())))).audit(log.clone());
    let caller = super::testing::caller("", &[]).await;
    let question = oip_core::access::Question {
        caller: &caller,
        action: Action::Load,
        model: None,
    };
    gate.refused_unread(&question).await;
    log.close();
    let line: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    for (member, value) in [
        ("subject", "Anonymous"),
        ("action", "load"),
        ("decision", "deny"),
    ] {
        assert_eq!(line[member], value);
    }
}

#[tokio::test]
async fn a_permit_whose_line_cannot_be_written_is_refused_even_in_shadow_mode() {
    let log = AuditLog::open(AuditOptions::default()).unwrap();
    log.close();
    for mode in [PolicyMode::Enforce, PolicyMode::Shadow] {
        let gate = Enforced::new(Arc::new(Always(Some(permit()))))
            .mode(mode)
            .audit(log.clone());
        assert!(is_fault(&infer(&gate).await));
    }
}

#[tokio::test]
async fn without_a_decision_or_its_audit_line_the_caller_reads_one_sentence_that_is_true_of_both() {
    let closed = AuditLog::open(AuditOptions::default()).unwrap();
    closed.close();
    let unwritten = Enforced::new(Arc::new(Always(Some(permit())))).audit(closed);
    let undecided = Enforced::new(Arc::new(Always(Some(down()))));
    let caller = super::testing::caller("alice", &[]).await;
    for (gate, cause) in [(unwritten, "audit line"), (undecided, "connection refused")] {
        let access = Access::new(Arc::new(Nameless), Arc::new(gate));
        let permit = access.authorize::<actions::Infer>(&caller, Some(model("iris", None)));
        let error = permit.await.err().unwrap();
        assert_eq!(error.kind(), oip_protocol::ErrorKind::Unavailable);
        let sentence = error.to_string();
        assert_eq!(sentence, "no decision on access can be given at the moment");
        assert!(error.cause().unwrap().to_string().contains(cause));
    }
}
