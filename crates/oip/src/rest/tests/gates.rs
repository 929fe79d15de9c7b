//! Authentication and authorization, as the routes ask for them.

use std::sync::Arc;

use oip_core::access::{
    Authenticator, Credentials, Decision, PolicyDecisionPoint, Question, Subject,
};
use oip_core::{Action, BoxFuture};

use super::*;

/// Knows `Bearer NAME`, refuses `Bearer bad`, and permits nothing, saying what it was asked.
struct Closed;

impl Authenticator for Closed {
    fn authenticate<'a>(
        &'a self,
        shown: &'a Credentials,
    ) -> BoxFuture<'a, Result<Option<Arc<Subject>>>> {
        let subject = match shown.authorization.first().map(String::as_str) {
            Some("Bearer bad") => Err(Error::unauthenticated("the token does not hold")),
            shown => Ok(shown.map(|id| {
                Arc::new(Subject {
                    id: id.to_owned(),
                    ..Subject::default()
                })
            })),
        };
        Box::pin(async move { subject })
    }
}

impl PolicyDecisionPoint for Closed {
    fn decide<'a>(&'a self, question: &'a Question<'a>) -> BoxFuture<'a, Decision> {
        let reason = question.action.name().to_owned();
        Box::pin(async move { Decision::Deny { reason } })
    }
}

/// A body that must not be read.
fn untouchable() -> Body {
    Body::from_stream(futures_util::stream::poll_fn(
        |_| -> std::task::Poll<Option<Result<Bytes, std::io::Error>>> {
            panic!("the body was read")
        },
    ))
}

#[tokio::test]
async fn closed_gates_refuse_every_route_before_its_body_is_read() {
    let gates = Access::new(Arc::new(Closed), Arc::new(Closed));
    let router = super::super::door(door_of(DoorOptions::default(), gates), Arc::new(origins()));
    for route in routes::ROUTES.iter().filter(|route| route.action.is_some()) {
        for (token, expected) in [
            (None, 401),
            (Some("Bearer bad"), 401),
            (Some("Bearer bob"), 403),
        ] {
            let path = route.path.replace(['{', '}'], "");
            let mut builder =
                request(route.method.as_str(), &path).header("expect", "100-continue");
            if let Some(token) = token {
                builder = builder.header("authorization", token);
            }
            let (status, _) = ask(&router, builder.body(untouchable()).unwrap()).await;
            assert_eq!(status, expected, "{} {token:?}", route.path);
        }
    }
}

/// Permits one action and no other.
struct Only(Action);

impl PolicyDecisionPoint for Only {
    fn decide<'a>(&'a self, question: &'a Question<'a>) -> BoxFuture<'a, Decision> {
        let reason = String::new();
        let permitted = question.action == self.0;
        Box::pin(async move {
            match permitted {
                true => Decision::Permit { reason },
                false => Decision::Deny { reason },
            }
        })
    }
}

#[tokio::test]
async fn each_route_asks_for_the_action_that_the_table_says() {
    for route in routes::ROUTES {
        let Some(action) = route.action else { continue };
        let gates = Access::new(Arc::new(Closed), Arc::new(Only(action)));
        let router =
            super::super::door(door_of(DoorOptions::default(), gates), Arc::new(origins()));
        let path = route.path.replace(['{', '}'], "");
        let request = request(route.method.as_str(), &path)
            .body(Body::empty())
            .unwrap();
        let status = send(&router, request).await.status();
        assert!(status != 401 && status != 403, "{} {status}", route.path);
    }
}

#[tokio::test]
async fn probes_are_open_unless_the_policy_is_to_decide() {
    for (by_policy, expected) in [(false, 200), (true, 401)] {
        let gates = Access::new(Arc::new(Closed), Arc::new(Closed));
        let options = DoorOptions {
            probes_by_policy: by_policy,
            ..DoorOptions::default()
        };
        let router = super::super::door(door_of(options, gates), Arc::new(origins()));
        let get = request("GET", "/v2/health/live")
            .body(Body::empty())
            .unwrap();
        assert_eq!(ask(&router, get).await.0, expected);
    }
}
