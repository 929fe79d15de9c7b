//! What the gates ask: the decision point, with the audit, shadow mode and the probes around it.

use std::sync::Arc;
use std::time::Instant;

use oip_core::BoxFuture;
use oip_core::access::{Action, Decision, PolicyDecisionPoint, Question, TurnedAway};
use oip_core::telemetry::AuditFigures;
use tracing::warn;

use crate::audit::{AuditError, AuditLog, Entry};

/// Whether decisions are enforced (`policy_mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PolicyMode {
    /// A deny is refused, and a fault too.
    #[default]
    Enforce,
    /// Everything passes; what would have been refused is logged and stands in the audit with
    /// `"enforced":false`. A fault passes as well: shadow mode is there to try a policy without
    /// risk for the service. An audit line that must be written and cannot is refused even here.
    Shadow,
}

/// Who answers whether a probe may ask (`probe_access`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProbeAccess {
    /// Nobody: liveness and the server's readiness are open, decided here, and not audited.
    #[default]
    Open,
    /// The policy.
    Policy,
}

/// The outermost decision point, to be handed to [`Access::new`](oip_core::access::Access::new).
pub struct Enforced {
    inner: Arc<dyn PolicyDecisionPoint>,
    mode: PolicyMode,
    probes: ProbeAccess,
    audit: Option<AuditLog>,
}

impl Enforced {
    /// Enforces what a decision point decides; probes are open and nothing is audited.
    pub fn new(inner: Arc<dyn PolicyDecisionPoint>) -> Self {
        Self {
            inner,
            mode: PolicyMode::default(),
            probes: ProbeAccess::default(),
            audit: None,
        }
    }

    /// Whether decisions are enforced.
    #[must_use]
    pub fn mode(mut self, mode: PolicyMode) -> Self {
        if mode == PolicyMode::Shadow {
            warn!("shadow mode: the policy is asked and logged, and nothing is refused");
        }
        self.mode = mode;
        self
    }

    /// Who answers for the probes.
    #[must_use]
    pub fn probes(mut self, probes: ProbeAccess) -> Self {
        self.probes = probes;
        self
    }

    /// Where every decision is written down.
    #[must_use]
    pub fn audit(mut self, audit: AuditLog) -> Self {
        self.audit = Some(audit);
        self
    }

    fn is_open_probe(&self, question: &Question<'_>) -> bool {
        let probe = matches!(question.action, Action::Live | Action::Ready);
        self.probes == ProbeAccess::Open && probe && question.model.is_none()
    }

    /// Writes the decision down. `Some` refuses because that failed.
    async fn write_down(
        &self,
        question: &Question<'_>,
        decision: &Decision,
        since: Instant,
    ) -> Option<Decision> {
        let audit = self.audit.as_ref()?;
        let entry = self.entry(question, decision, since);
        audit.write(entry).await.err().map(unwritten)
    }

    fn entry<'a>(
        &self,
        question: &Question<'a>,
        decision: &'a Decision,
        since: Instant,
    ) -> Entry<'a> {
        let mut entry = Entry::of(question, decision, self.inner.name(), since.elapsed());
        entry.enforced = self.mode == PolicyMode::Enforce;
        entry
    }

    /// What becomes of a decision in this mode.
    fn apply(&self, question: &Question<'_>, decision: Decision) -> Decision {
        if let Decision::Fault { cause, .. } = &decision {
            warn!(
                pdp = self.inner.name(),
                cause, "no decision from the policy decision point"
            );
        }
        if self.mode == PolicyMode::Enforce || decision.is_permit() {
            return decision;
        }
        let reason = decision.reason();
        warn!(
            subject = question.caller.id(),
            action = question.action.name(),
            model = question.model.map(|model| &model.name),
            reason,
            "shadow mode: this would be refused"
        );
        Decision::Permit {
            reason: format!("shadow mode; it would be refused: {reason}"),
        }
    }
}

/// The refusal of a request whose line cannot be written.
fn unwritten(error: AuditError) -> Decision {
    let cause = format!("the audit line could not be written: {error}");
    warn!(cause, "refused for want of an audit line");
    Decision::Fault {
        cause,
        unreachable: false,
    }
}

impl PolicyDecisionPoint for Enforced {
    fn decide<'a>(&'a self, question: &'a Question<'a>) -> BoxFuture<'a, Decision> {
        Box::pin(async move {
            if self.is_open_probe(question) {
                return Decision::Permit {
                    reason: "probes are open".to_owned(),
                };
            }
            let since = Instant::now();
            let decision = match self.inner.decide_at_once(question) {
                Some(decision) => decision,
                None => self.inner.decide(question).await,
            };
            if let Some(refused) = self.write_down(question, &decision, since).await {
                return refused;
            }
            self.apply(question, decision)
        })
    }

    fn decide_at_once(&self, question: &Question<'_>) -> Option<Decision> {
        if self.is_open_probe(question) || self.audit.as_ref().is_some_and(AuditLog::waits) {
            return None;
        }
        let since = Instant::now();
        let decision = self.inner.decide_at_once(question)?;
        if let Some(audit) = &self.audit {
            let entry = self.entry(question, &decision, since);
            match audit.send(&entry) {
                Ok(()) => {}
                // Room is waited for.
                Err(AuditError::QueueFull(_)) => return None,
                Err(error) => return Some(unwritten(error)),
            }
        }
        Some(self.apply(question, decision))
    }

    /// Writes down who was refused at the door. The caller is refused whether or not its line can
    /// be written.
    fn turned_away<'a>(&'a self, who: &'a TurnedAway<'a>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let Some(audit) = &self.audit else { return };
            if let Err(error) = audit.write(Entry::turned_away(who)).await {
                warn!(%error, "the audit line of a refusal could not be written");
            }
        })
    }

    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn audited(&self) -> Option<AuditFigures> {
        self.audit.as_ref().map(AuditLog::figures)
    }

    fn may_permit_anonymous(&self, action: Action) -> bool {
        let probe = matches!(action, Action::Live | Action::Ready);
        let open_probe = self.probes == ProbeAccess::Open && probe;
        open_probe || self.mode == PolicyMode::Shadow || self.inner.may_permit_anonymous(action)
    }

    fn refused_unread<'a>(&'a self, question: &'a Question<'a>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let decision = Decision::Deny {
                reason: "nothing permits it to Anonymous; its message was not read".to_owned(),
            };
            let written = self.write_down(question, &decision, Instant::now());
            // Refused or not: a line that fails is warned about.
            let _ = written.await;
        })
    }
}
