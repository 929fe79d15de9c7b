//! What would be decided, without a request: `oip policy explain`.

use std::net::IpAddr;
use std::sync::Arc;

use oip_core::BoxFuture;
use oip_core::access::{
    Access, Action, Arrival, Authenticator, Credentials, Decision, PolicyDecisionPoint, Question,
    Subject,
};
use oip_protocol::{ModelRef, Result};

/// A decision point that can show what it is asked.
pub trait Explain: PolicyDecisionPoint {
    /// The question in the decision point's own words: for people, no stable form.
    fn asked(&self, question: &Question<'_>) -> String;
}

/// A request that nobody has made.
#[derive(Debug, Clone)]
pub struct Situation {
    /// Who would ask; `None` for `Anonymous`.
    pub subject: Option<Subject>,
    /// For what.
    pub action: Action,
    /// Of which model.
    pub model: Option<ModelRef>,
    /// From where.
    pub peer: Option<IpAddr>,
    /// The path that would be asked for.
    pub path: String,
}

/// What a decision point makes of a [`Situation`].
#[derive(Debug, Clone)]
pub struct Explanation {
    /// The decision point's name.
    pub pdp: &'static str,
    /// What it decides. The reason names the policies that decided, where it knows them.
    pub decision: Decision,
    /// What it was asked, in its own words.
    pub asked: String,
}

/// Asks a decision point what it would decide. Nothing is cached, enforced or audited.
///
/// # Errors
/// None today; the signature leaves room for a subject that cannot be.
pub async fn explain(pdp: &dyn Explain, situation: &Situation) -> Result<Explanation> {
    let gate = Access::new(
        Arc::new(Claimed(situation.subject.clone().map(Arc::new))),
        Arc::new(Nobody),
    );
    let arrival = Arrival {
        peer: situation.peer,
        path: situation.path.clone(),
        ..Arrival::default()
    };
    let caller = gate.authenticate(arrival).await?;
    let question = Question {
        caller: &caller,
        action: situation.action,
        model: situation.model.as_ref(),
    };
    Ok(Explanation {
        pdp: pdp.name(),
        decision: pdp.decide(&question).await,
        asked: pdp.asked(&question),
    })
}

/// Takes a subject at its word: only where nothing is enforced.
struct Claimed(Option<Arc<Subject>>);

impl Authenticator for Claimed {
    fn authenticate<'a>(
        &'a self,
        _: &'a Credentials,
    ) -> BoxFuture<'a, Result<Option<Arc<Subject>>>> {
        Box::pin(async { Ok(self.0.clone()) })
    }
}

/// The policy behind that gate, which nobody asks: it permits nothing.
struct Nobody;

impl PolicyDecisionPoint for Nobody {
    fn decide<'a>(&'a self, _: &'a Question<'a>) -> BoxFuture<'a, Decision> {
        Box::pin(async {
            Decision::Deny {
                reason: "nothing is permitted here".to_owned(),
            }
        })
    }
}
