//! Callers and questions for the tests of this folder.

use std::sync::Arc;

use oip_core::BoxFuture;
use oip_core::access::{
    Access, Action, Arrival, Authenticator, Caller, Credentials, Decision, PolicyDecisionPoint,
    Question, Subject,
};
use oip_protocol::{ModelRef, Result};
use serde_json::{Map, Value};

pub(crate) fn model(name: &str, version: Option<&str>) -> ModelRef {
    ModelRef {
        name: name.to_owned(),
        version: version.map(str::to_owned),
    }
}

pub(crate) fn permit() -> Decision {
    Decision::Permit {
        reason: "yes".to_owned(),
    }
}

pub(crate) fn deny() -> Decision {
    Decision::Deny {
        reason: "rule 7".to_owned(),
    }
}

pub(crate) fn server() -> Option<ModelRef> {
    None
}

struct Stated(Option<Arc<Subject>>);

impl Authenticator for Stated {
    fn authenticate<'a>(
        &'a self,
        _: &'a Credentials,
    ) -> BoxFuture<'a, Result<Option<Arc<Subject>>>> {
        Box::pin(async { Ok(self.0.clone()) })
    }
}

/// Knows nobody.
pub(crate) struct Nameless;

impl Authenticator for Nameless {
    fn authenticate<'a>(
        &'a self,
        _: &'a Credentials,
    ) -> BoxFuture<'a, Result<Option<Arc<Subject>>>> {
        Box::pin(async { Ok(None) })
    }
}

/// Decides always the same; with `None` it panics.
pub(crate) struct Always(pub(crate) Option<Decision>);

impl PolicyDecisionPoint for Always {
    fn decide<'a>(&'a self, _: &'a Question<'a>) -> BoxFuture<'a, Decision> {
        Box::pin(async { self.0.clone().expect("told to panic") })
    }

    fn may_permit_anonymous(&self, _: Action) -> bool {
        false
    }
}

/// A subject from 192.0.2.7 that asks for `/v2/test`; `""` is an anonymous caller.
pub(crate) async fn caller(id: &str, roles: &[&str]) -> Caller {
    claiming(id, roles, Map::new()).await
}

pub(crate) async fn claiming(id: &str, roles: &[&str], claims: Map<String, Value>) -> Caller {
    let subject = (!id.is_empty()).then(|| Subject {
        id: id.to_owned(),
        roles: roles.iter().map(ToString::to_string).collect(),
        claims,
    });
    arriving(subject, "192.0.2.7").await
}

pub(crate) async fn from_address(id: &str, roles: &[&str], address: &str) -> Caller {
    let subject = Subject {
        id: id.to_owned(),
        roles: roles.iter().map(ToString::to_string).collect(),
        ..Subject::default()
    };
    arriving(Some(subject), address).await
}

async fn arriving(subject: Option<Subject>, address: &str) -> Caller {
    let arrival = Arrival {
        peer: Some(address.parse().unwrap()),
        path: "/v2/test".to_owned(),
        request_id: Some("req-7".to_owned()),
        ..Arrival::default()
    };
    Access::new(
        Arc::new(Stated(subject.map(Arc::new))),
        Arc::new(Always(None)),
    )
    .authenticate(arrival)
    .await
    .unwrap()
}

/// What a function makes of a question.
pub(crate) async fn ask<T>(
    id: &str,
    roles: &[&str],
    action: &str,
    model: Option<ModelRef>,
    of: impl Fn(&Question<'_>) -> T,
) -> T {
    let caller = caller(id, roles).await;
    of(&Question {
        caller: &caller,
        action: Action::by_name(action).unwrap(),
        model: model.as_ref(),
    })
}

/// What a decision point decides.
pub(crate) async fn decide(
    pdp: &dyn PolicyDecisionPoint,
    id: &str,
    roles: &[&str],
    action: &str,
    model: Option<ModelRef>,
) -> Decision {
    let caller = caller(id, roles).await;
    let question = Question {
        caller: &caller,
        action: Action::by_name(action).unwrap(),
        model: model.as_ref(),
    };
    pdp.decide(&question).await
}
