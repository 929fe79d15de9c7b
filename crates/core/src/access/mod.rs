//! The enforcement point: who is asking, and may they.
//!
//! A door turns what it knows of an arriving request into an [`Arrival`]. [`Access`] makes a
//! [`Caller`] of it (or refuses), and of the caller, an action and a model a [`Permit`] (or
//! refuses). Every call of the pipeline takes the permit of that very action; nobody else can
//! make one, so a route that forgets to ask does not compile.

mod action;
mod decision;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use oip_protocol::{Error, ErrorKind, ModelRef, Result};

pub use action::{Action, actions};
pub use decision::{
    Authenticator, Credentials, Decision, PolicyDecisionPoint, Question, Subject, TurnedAway,
};

use crate::telemetry::{DecisionFigures, Decisions};

/// What a door knows of a request from its head alone.
#[derive(Debug, Clone, Default)]
pub struct Arrival {
    /// What the caller shows to say who it is.
    pub credentials: Credentials,
    /// The caller's address, where there is one.
    pub peer: Option<IpAddr>,
    /// The path that was asked for: of the URL, or of the gRPC method.
    pub path: String,
    /// What the caller is about to ask for, where the door knows it already.
    pub action: Option<Action>,
    /// The name that the caller gave its request (`X-Request-Id`), for the audit.
    pub request_id: Option<String>,
    /// The headers that handlers may see, names in lower case.
    pub headers: Vec<(String, String)>,
}

/// Who is asking: made by [`Access::authenticate`] alone.
#[derive(Debug, Clone)]
pub struct Caller(Arc<CallerParts>);

#[derive(Debug)]
struct CallerParts {
    subject: Option<Arc<Subject>>,
    peer: Option<IpAddr>,
    path: String,
    request_id: Option<String>,
    headers: Vec<(String, String)>,
}

impl Caller {
    /// The subject; `None` for a caller who showed nothing (`Anonymous`).
    #[must_use]
    pub fn subject(&self) -> Option<&Subject> {
        self.0.subject.as_deref()
    }

    /// The subject, to be kept.
    #[must_use]
    pub fn shared_subject(&self) -> Option<&Arc<Subject>> {
        self.0.subject.as_ref()
    }

    /// The subject's id, `"Anonymous"` where there is none.
    #[must_use]
    pub fn id(&self) -> &str {
        self.subject().map_or("Anonymous", |subject| &subject.id)
    }

    /// The caller's address, where there is one.
    #[must_use]
    pub fn peer(&self) -> Option<IpAddr> {
        self.0.peer
    }

    /// The path that was asked for.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// The name that the caller gave its request, where it gave one.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// The headers that handlers may see, names in lower case, in the order they came.
    #[must_use]
    pub fn headers(&self) -> &[(String, String)] {
        &self.0.headers
    }

    /// A header's value, of those that handlers may see.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.0.headers.iter();
        let mut found = found.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.as_str())
    }
}

/// The permission to do one thing (`A`, of [`actions`]) with one model: made by
/// [`Access::authorize`] alone.
#[derive(Debug)]
pub struct Permit<A> {
    caller: Caller,
    model: Option<ModelRef>,
    action: std::marker::PhantomData<A>,
}

impl<A> Permit<A> {
    /// Who may.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The model it is for; `None` for what concerns no model.
    #[must_use]
    pub fn model(&self) -> Option<&ModelRef> {
        self.model.as_ref()
    }

    pub(crate) fn into_parts(self) -> (Caller, Option<ModelRef>) {
        (self.caller, self.model)
    }
}

/// The two gates. Closed unless opened: there is no default.
#[derive(Clone)]
pub struct Access {
    authenticator: Option<Arc<dyn Authenticator>>,
    policy: Option<Arc<dyn PolicyDecisionPoint>>,
    decisions: Arc<Decisions>,
}

impl Access {
    /// Gates that ask an authenticator who the caller is and a policy decision point what it may.
    pub fn new(
        authenticator: Arc<dyn Authenticator>,
        policy: Arc<dyn PolicyDecisionPoint>,
    ) -> Self {
        Self {
            authenticator: Some(authenticator),
            policy: Some(policy),
            decisions: Arc::default(),
        }
    }

    /// Gates that stand open: everyone is `Anonymous` and may do everything. Only for a server
    /// whose authentication was switched off on purpose, and for tests.
    #[must_use]
    pub fn open() -> Self {
        Self {
            authenticator: None,
            policy: None,
            decisions: Arc::default(),
        }
    }

    /// Whether the gates stand open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.policy.is_none()
    }

    /// How often the policy was asked and what came of it; `None` where there is none.
    #[must_use]
    pub fn decisions(&self) -> Option<DecisionFigures> {
        let policy = self.policy.as_ref()?;
        Some(DecisionFigures {
            audit: policy.audited(),
            ..self.decisions.read(policy.name())
        })
    }

    /// Who is asking, from the head of the request alone.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthenticated`] when a credential is shown and does not hold. No credential
    /// is no error: the caller is then `Anonymous`.
    pub async fn authenticate(&self, arrival: Arrival) -> Result<Caller> {
        self.authenticate_for(arrival, None).await
    }

    /// The same, where the door knows already which model the caller is about to ask for: whoever
    /// writes down that a credential did not hold is told.
    ///
    /// # Errors
    /// As [`authenticate`](Self::authenticate).
    pub async fn authenticate_for(
        &self,
        arrival: Arrival,
        model: Option<&ModelRef>,
    ) -> Result<Caller> {
        let subject = match &self.authenticator {
            Some(authenticator) => authenticator.authenticate(&arrival.credentials).await,
            None => Ok(None),
        };
        match subject {
            Ok(subject) => Ok(Caller(Arc::new(CallerParts {
                subject,
                peer: arrival.peer,
                path: arrival.path,
                request_id: arrival.request_id,
                headers: arrival.headers,
            }))),
            Err(error) => {
                self.turned_away(&TurnedAway {
                    action: arrival.action,
                    model,
                    peer: arrival.peer,
                    path: &arrival.path,
                    request_id: arrival.request_id.as_deref(),
                    error: &error,
                })
                .await;
                Err(error)
            }
        }
    }

    async fn turned_away(&self, who: &TurnedAway<'_>) {
        if let Some(policy) = &self.policy {
            policy.turned_away(who).await;
        }
    }

    /// Whether a caller may do `A` with a model.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthenticated`] for an anonymous caller who may not, [`ErrorKind::Forbidden`]
    /// for any other, [`ErrorKind::Unavailable`] when the policy decision point is at fault, or
    /// what it decided cannot be written down.
    pub async fn authorize<A: actions::Permitted>(
        &self,
        caller: &Caller,
        model: Option<ModelRef>,
    ) -> Result<Permit<A>> {
        if let Some(policy) = &self.policy {
            let question = Question {
                caller,
                action: A::ACTION,
                model: model.as_ref(),
            };
            let asked = Instant::now();
            let decision = match policy.decide_at_once(&question) {
                Some(decision) => decision,
                None => policy.decide(&question).await,
            };
            self.decisions.add(&decision, asked);
            match decision {
                Decision::Permit { .. } => {}
                Decision::Deny { reason } => return Err(refusal(caller, A::ACTION, &reason)),
                Decision::Fault { cause, .. } => {
                    // The cause, which may be the audit's, is no business of the caller's.
                    let sentence = "no decision on access can be given at the moment";
                    return Err(Error::unavailable(sentence).caused_by(cause));
                }
            }
        }
        Ok(Permit {
            caller: caller.clone(),
            model,
            action: std::marker::PhantomData,
        })
    }

    /// Refuses an anonymous caller whom nothing could permit an action, so that a door need not
    /// read the message that names the model. Anyone else passes, to be authorized later.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthenticated`].
    pub async fn refuse_unread(&self, caller: &Caller, action: Action) -> Result<()> {
        let Some(policy) = &self.policy else {
            return Ok(());
        };
        if caller.subject().is_some() || policy.may_permit_anonymous(action) {
            return Ok(());
        }
        let question = Question {
            caller,
            action,
            model: None,
        };
        policy.refused_unread(&question).await;
        Err(refusal(caller, action, "nothing permits it to Anonymous"))
    }
}

/// The answer to a caller who may not. It says nothing of the model or of the policy.
fn refusal(caller: &Caller, action: Action, reason: &str) -> Error {
    let kind = match caller.subject() {
        None => ErrorKind::Unauthenticated,
        Some(_) => ErrorKind::Forbidden,
    };
    let message = match caller.subject() {
        None => "this needs authentication".to_owned(),
        Some(_) => format!("you are not permitted to {}", action.phrase()),
    };
    Error::new(kind, message).caused_by(reason)
}

#[cfg(test)]
mod tests;
