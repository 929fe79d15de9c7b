//! A bounded memory of decisions. Only permits and denies are kept, and none longer than its time.
//!
//! A decision is found by a hash of its question, which chooses the place, and used only where the
//! whole question is the same: who finds two questions of one hash has gained nothing but that the
//! later takes the place of the earlier.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use oip_core::access::{Action, Decision, Question, Subject};
use oip_protocol::ModelRef;

#[derive(Debug)]
pub(super) struct Cache {
    ttl: Duration,
    capacity: usize,
    hasher: RandomState,
    kept: RwLock<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    decisions: HashMap<u64, Taken, BuildHasherDefault<Known>>,
    /// Places by the time they run out, soonest first: every decision lives equally long.
    order: VecDeque<(u64, Instant)>,
}

/// A place is a hash already.
#[derive(Debug, Default)]
struct Known(u64);

impl Hasher for Known {
    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, place: u64) {
        self.0 = place;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A decision that was taken.
#[derive(Debug)]
struct Taken {
    asked: Asked,
    decision: Decision,
    until: Instant,
}

/// Everything that a decision point is told, but the time.
#[derive(Debug)]
struct Asked {
    subject: Option<Arc<Subject>>,
    action: Action,
    peer: Option<IpAddr>,
    path: String,
    model: Option<ModelRef>,
}

impl Asked {
    fn of(question: &Question<'_>) -> Self {
        Self {
            subject: question.caller.shared_subject().cloned(),
            action: question.action,
            peer: question.caller.peer(),
            path: question.caller.path().to_owned(),
            model: question.model.cloned(),
        }
    }

    fn is(&self, question: &Question<'_>) -> bool {
        let caller = question.caller;
        self.action == question.action
            && self.peer == caller.peer()
            && self.path == caller.path()
            && self.model.as_ref() == question.model
            && match (&self.subject, caller.shared_subject()) {
                // A token that is remembered gives the very same subject each time.
                (Some(known), Some(asks)) => Arc::ptr_eq(known, asks) || known == asks,
                (None, None) => true,
                _ => false,
            }
    }
}

impl Cache {
    pub(super) fn new(ttl: Duration, capacity: usize) -> Self {
        Self {
            ttl,
            capacity,
            hasher: RandomState::default(),
            kept: RwLock::default(),
        }
    }

    /// Where a decision stands: by what tells most questions apart, and little of it, as hashing
    /// is most of what a known decision costs. The rest is left to the comparison.
    fn place(&self, question: &Question<'_>) -> u64 {
        let caller = question.caller;
        let mut hasher = self.hasher.build_hasher();
        let model = question.model.map_or("", |model| &model.name);
        let path = caller.path();
        // The paths of one model and one action differ in length, or in their last letters.
        let end = path
            .as_bytes()
            .last_chunk()
            .map(|end| u64::from_ne_bytes(*end));
        for text in [caller.id(), model] {
            hasher.write(text.as_bytes());
        }
        // One subject may come with a token for each of its roles, in turn.
        let subject = caller.subject();
        for role in subject.iter().flat_map(|subject| &subject.roles) {
            hasher.write(role.as_bytes());
        }
        // And with tokens that differ in their claims, as those of a service's instances do.
        for id in ["jti", "exp"] {
            let claim = subject.and_then(|subject| subject.claims.get(id));
            match claim {
                Some(serde_json::Value::String(text)) => hasher.write(text.as_bytes()),
                Some(serde_json::Value::Number(number)) => {
                    hasher.write_u64(number.as_u64().unwrap_or_default());
                }
                _ => {}
            }
        }
        hasher.write_u64(end.unwrap_or_default());
        hasher.write_usize(path.len() + 1024 * caller.id().len());
        match caller.peer() {
            Some(IpAddr::V4(peer)) => hasher.write_u32(peer.to_bits()),
            Some(IpAddr::V6(peer)) => hasher.write_u128(peer.to_bits()),
            None => {}
        }
        hasher.finish()
    }

    pub(super) fn get(&self, question: &Question<'_>, now: Instant) -> Option<Decision> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let taken = kept.decisions.get(&self.place(question))?;
        (now < taken.until && taken.asked.is(question)).then(|| taken.decision.clone())
    }

    pub(super) fn put(&self, question: &Question<'_>, decision: &Decision, now: Instant) {
        if matches!(decision, Decision::Fault { .. }) {
            return;
        }
        let until = now + self.ttl;
        let place = self.place(question);
        let taken = Taken {
            asked: Asked::of(question),
            decision: decision.clone(),
            until,
        };
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        kept.decisions.insert(place, taken);
        kept.order.push_back((place, until));
        // The order may name a place twice (asked twice at once): twice the room, never more.
        while let Some(&(oldest, runs_out)) = kept.order.front() {
            let full = kept.decisions.len() > self.capacity || kept.order.len() > 2 * self.capacity;
            if now < runs_out && !full {
                break;
            }
            kept.order.pop_front();
            let taken = kept.decisions.get(&oldest);
            if taken.is_some_and(|taken| taken.until == runs_out) {
                kept.decisions.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pdp::testing::{caller, claiming, from_address, model, server};
    use oip_core::Caller;

    fn permit() -> Decision {
        Decision::Permit {
            reason: "x".to_owned(),
        }
    }

    fn asks<'a>(caller: &'a Caller, action: Action, model: Option<&'a ModelRef>) -> Question<'a> {
        Question {
            caller,
            action,
            model,
        }
    }

    #[tokio::test]
    async fn a_decision_is_forgotten_when_its_time_is_over() {
        let alice = caller("alice", &[]).await;
        let question = asks(&alice, Action::Infer, None);
        let now = Instant::now();
        let cache = Cache::new(Duration::from_secs(1), 10);
        cache.put(&question, &permit(), now);
        assert_eq!(cache.get(&question, now), Some(permit()));
        assert_eq!(cache.get(&question, now + Duration::from_secs(1)), None);
    }

    #[tokio::test]
    async fn a_fault_is_never_kept() {
        let alice = caller("alice", &[]).await;
        let question = asks(&alice, Action::Infer, None);
        let now = Instant::now();
        let cache = Cache::new(Duration::from_secs(1), 10);
        cache.put(&question, &super::super::fault("x".to_owned()), now);
        assert_eq!(cache.get(&question, now), None);
    }

    #[tokio::test]
    async fn it_never_holds_more_than_its_capacity() {
        let alice = caller("alice", &[]).await;
        let models: Vec<ModelRef> = (0..200).map(|n| model(&format!("m{n}"), None)).collect();
        let now = Instant::now();
        let cache = Cache::new(Duration::from_secs(1), 3);
        for (n, model) in (0..).zip(&models) {
            let now = now + Duration::from_millis(n);
            cache.put(&asks(&alice, Action::Infer, Some(model)), &permit(), now);
            let again = asks(&alice, Action::Infer, models.get(7));
            cache.put(&again, &permit(), now);
        }
        let kept = cache.kept.read().unwrap();
        assert!(kept.decisions.len() <= 3 && kept.order.len() <= 6);
        drop(kept);
        let again = asks(&alice, Action::Infer, models.get(7));
        assert_eq!(cache.get(&again, now), Some(permit()));
    }

    /// Callers that differ in one thing each.
    async fn callers() -> Vec<Caller> {
        let claims = |value: serde_json::Value| value.as_object().cloned().unwrap();
        vec![
            caller("", &[]).await,
            caller("alice", &[]).await,
            caller("Anonymous", &[]).await,
            caller("alice", &["ab"]).await,
            caller("alice", &["a", "b"]).await,
            claiming("alice", &[], claims(json!({"team": "a"}))).await,
            claiming("alice", &[], claims(json!({"team": ["a"]}))).await,
            from_address("alice", &[], "192.0.2.8").await,
        ]
    }

    #[tokio::test]
    async fn a_decision_answers_the_very_same_question_and_no_other() {
        let callers = callers().await;
        let models = [
            Some(model("a", None)),
            Some(model("a", Some("1"))),
            Some(model("a1", None)),
            server(),
        ];
        let mut questions = Vec::new();
        for caller in &callers {
            for action in [Action::Infer, Action::Load] {
                questions.extend(models.iter().map(|m| asks(caller, action, m.as_ref())));
            }
        }
        for (n, asked) in questions.iter().enumerate() {
            let now = Instant::now();
            let cache = Cache::new(Duration::from_secs(60), 1000);
            cache.put(asked, &permit(), now);
            for (m, other) in questions.iter().enumerate() {
                assert_eq!(
                    cache.get(other, now).is_some(),
                    n == m,
                    "{asked:?} {other:?}"
                );
            }
        }
    }

    #[tokio::test]
    async fn callers_models_ways_and_roles_do_not_take_each_others_places() {
        let alice = [
            caller("alice", &[]).await,
            caller("alice", &["admin"]).await,
            caller("bob", &[]).await,
            from_address("alice", &[], "192.0.2.8").await,
        ];
        let claims = |value: serde_json::Value| value.as_object().cloned().unwrap();
        let tokens = [
            claiming("alice", &[], claims(json!({"exp": 7, "jti": "x"}))).await,
            claiming("alice", &[], claims(json!({"exp": 8, "jti": "x"}))).await,
            claiming("alice", &[], claims(json!({"exp": 7, "jti": "y"}))).await,
        ];
        let alice: Vec<_> = alice.iter().chain(&tokens).collect();
        let models = [Some(model("a", None)), Some(model("b", None)), server()];
        let cache = Cache::new(Duration::from_secs(60), 10);
        let places = alice.iter().flat_map(|caller| {
            let asked = models
                .iter()
                .map(|m| asks(caller, Action::Infer, m.as_ref()));
            asked
                .map(|question| cache.place(&question))
                .collect::<Vec<_>>()
        });
        let places: std::collections::HashSet<u64> = places.collect();
        assert_eq!(places.len(), alice.len() * models.len());
    }

    #[tokio::test]
    async fn a_place_shared_by_two_questions_answers_only_the_one_it_holds() {
        let (alice, bob) = (caller("alice", &[]).await, caller("bob", &[]).await);
        let (alice, bob) = (
            asks(&alice, Action::Infer, None),
            asks(&bob, Action::Infer, None),
        );
        let now = Instant::now();
        let cache = Cache::new(Duration::from_secs(60), 10);
        cache.put(&alice, &permit(), now);
        // As if both had the same hash.
        let mut kept = cache.kept.write().unwrap();
        let taken = kept.decisions.remove(&cache.place(&alice)).unwrap();
        kept.decisions.insert(cache.place(&bob), taken);
        drop(kept);
        assert_eq!(cache.get(&bob, now), None);
    }
}
