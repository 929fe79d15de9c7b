//! Decisions that nobody has to wait for, through everything that stands around a decision point.

use std::sync::Arc;

use oip_core::BoxFuture;
use oip_core::access::{Access, Decision, PolicyDecisionPoint, Question, actions};
use oip_core::telemetry::AuditFigures;
use oip_protocol::ErrorKind;

use super::testing::{Nameless, caller, deny, permit};
use super::*;
use crate::audit::{AuditFailure, AuditLog, AuditOptions, AuditTarget};

/// Decides at once, and never otherwise; with `None` it panics.
struct AtOnce(Option<Decision>);

impl PolicyDecisionPoint for AtOnce {
    fn decide<'a>(&'a self, _: &'a Question<'a>) -> BoxFuture<'a, Decision> {
        panic!("it was asked although it had decided")
    }

    fn decide_at_once(&self, _: &Question<'_>) -> Option<Decision> {
        Some(self.0.clone().expect("told to panic"))
    }
}

fn guarded(decision: Option<Decision>) -> Arc<Guarded> {
    let at_once = Arc::new(AtOnce(decision));
    Arc::new(Guarded::new(at_once, &GuardOptions::default()))
}

/// What a caller is told who asks for an inference.
async fn told(gate: Enforced) -> Result<(), ErrorKind> {
    let access = Access::new(Arc::new(Nameless), Arc::new(gate));
    let caller = caller("alice", &[]).await;
    let permit = access.authorize::<actions::Infer>(&caller, None).await;
    permit.map(drop).map_err(|error| error.kind())
}

#[tokio::test]
async fn what_is_decided_at_once_is_what_holds() {
    assert_eq!(told(Enforced::new(guarded(Some(permit())))).await, Ok(()));
    let denied = told(Enforced::new(guarded(Some(deny())))).await;
    assert_eq!(denied, Err(ErrorKind::Forbidden));
    let shadowed = Enforced::new(guarded(Some(deny()))).mode(PolicyMode::Shadow);
    assert_eq!(told(shadowed).await, Ok(()));
}

#[tokio::test]
async fn a_decision_point_that_panics_at_once_permits_nothing() {
    let panicked = told(Enforced::new(guarded(None))).await;
    assert_eq!(panicked, Err(ErrorKind::Unavailable));
}

#[tokio::test]
async fn one_line_is_written_whether_or_not_it_is_waited_for() {
    for failure in [AuditFailure::Refuse, AuditFailure::Continue] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit");
        let log = AuditLog::open(AuditOptions {
            target: AuditTarget::File(path.clone()),
            failure,
            ..AuditOptions::default()
        })
        .unwrap();
        let gate = Enforced::new(guarded(Some(deny()))).audit(log.clone());
        assert_eq!(told(gate).await, Err(ErrorKind::Forbidden));
        log.close();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 1, "{failure:?}: {text}");
        assert!(text.contains(r#""decision":"deny","#), "{text}");
    }
}

#[tokio::test]
async fn a_request_waits_for_room_in_the_audit_and_is_not_refused() {
    let log = AuditLog::open(AuditOptions {
        queue: 2,
        ..AuditOptions::default()
    })
    .unwrap();
    for _ in 0..20 {
        let gate = Enforced::new(guarded(Some(permit()))).audit(log.clone());
        assert_eq!(told(gate).await, Ok(()));
    }
}

#[tokio::test]
async fn a_line_that_no_audit_takes_refuses_at_once_too() {
    let log = AuditLog::open(AuditOptions::default()).unwrap();
    log.close();
    let gate = Enforced::new(guarded(Some(permit()))).audit(log);
    assert_eq!(told(gate).await, Err(ErrorKind::Unavailable));
}

#[tokio::test]
async fn what_became_of_the_lines_is_among_the_figures_of_the_gates() {
    let log = AuditLog::open(AuditOptions::default()).unwrap();
    let gate = Enforced::new(guarded(Some(permit()))).audit(log.clone());
    let access = Access::new(Arc::new(Nameless), Arc::new(gate));
    let caller = caller("alice", &[]).await;
    let ask = || access.authorize::<actions::Infer>(&caller, None);
    ask().await.unwrap();
    log.close();
    ask().await.unwrap_err();
    let expected = AuditFigures {
        written: 1,
        lost: 0,
        refused: 1,
    };
    assert_eq!(access.decisions().unwrap().audit, Some(expected));
}
