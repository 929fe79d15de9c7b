//! A bounded memory of decisions. Only permits and denies are kept, and none longer than its time.

use std::collections::{HashMap, VecDeque};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use oip_core::access::{Decision, Question};
use ring::digest::{Context, SHA256};

/// SHA-256 of everything that a decision point is told, but the time.
pub(super) type Key = [u8; 32];

#[derive(Debug)]
pub(super) struct Cache {
    ttl: Duration,
    capacity: usize,
    kept: RwLock<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    decisions: HashMap<Key, (Decision, Instant)>,
    /// Keys by the time they run out, soonest first: every decision lives equally long.
    order: VecDeque<(Key, Instant)>,
}

impl Cache {
    pub(super) fn new(ttl: Duration, capacity: usize) -> Self {
        Self {
            ttl,
            capacity,
            kept: RwLock::default(),
        }
    }

    pub(super) fn get(&self, key: &Key, now: Instant) -> Option<Decision> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let (decision, until) = kept.decisions.get(key)?;
        (now < *until).then(|| decision.clone())
    }

    pub(super) fn put(&self, key: Key, decision: &Decision, now: Instant) {
        if matches!(decision, Decision::Fault { .. }) {
            return;
        }
        let until = now + self.ttl;
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        kept.decisions.insert(key, (decision.clone(), until));
        kept.order.push_back((key, until));
        // The order may name a key twice (asked twice at once): twice the room, never more.
        while let Some(&(oldest, runs_out)) = kept.order.front() {
            let full = kept.decisions.len() > self.capacity || kept.order.len() > 2 * self.capacity;
            if now < runs_out && !full {
                break;
            }
            kept.order.pop_front();
            if kept
                .decisions
                .get(&oldest)
                .is_some_and(|(_, until)| *until == runs_out)
            {
                kept.decisions.remove(&oldest);
            }
        }
    }
}

/// The key of a question. Every part is preceded by its length, so that no two questions run
/// together.
pub(super) fn key(question: &Question<'_>) -> Key {
    let mut hash = Context::new(&SHA256);
    let mut part = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    match question.caller.subject() {
        None => part(b"anonymous"),
        Some(subject) => {
            part(b"subject");
            part(subject.id.as_bytes());
            part(&(subject.roles.len() as u64).to_le_bytes());
            for role in &subject.roles {
                part(role.as_bytes());
            }
            // A map of JSON values always has a text.
            part(&serde_json::to_vec(&subject.claims).unwrap_or_default());
        }
    }
    part(question.action.name().as_bytes());
    let peer = question.caller.peer().map(|peer| peer.to_string());
    part(peer.unwrap_or_default().as_bytes());
    part(question.caller.path().as_bytes());
    if let Some(model) = question.model {
        part(model.name.as_bytes());
        if let Some(version) = &model.version {
            part(version.as_bytes());
        }
    }
    let mut key = Key::default();
    key.copy_from_slice(hash.finish().as_ref());
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pdp::testing::{ask, model, server};

    fn permit() -> Decision {
        Decision::Permit {
            reason: "x".to_owned(),
        }
    }

    fn numbered(n: u8) -> Key {
        [n; 32]
    }

    #[test]
    fn a_decision_is_forgotten_when_its_time_is_over() {
        let now = Instant::now();
        let cache = Cache::new(Duration::from_secs(1), 10);
        cache.put(numbered(1), &permit(), now);
        assert_eq!(cache.get(&numbered(1), now), Some(permit()));
        assert_eq!(cache.get(&numbered(1), now + Duration::from_secs(1)), None);
    }

    #[test]
    fn a_fault_is_never_kept() {
        let now = Instant::now();
        let cache = Cache::new(Duration::from_secs(1), 10);
        cache.put(numbered(1), &super::super::fault("x".to_owned()), now);
        assert_eq!(cache.get(&numbered(1), now), None);
    }

    #[test]
    fn it_never_holds_more_than_its_capacity() {
        let now = Instant::now();
        let cache = Cache::new(Duration::from_secs(1), 3);
        for n in 0..200 {
            let now = now + Duration::from_millis(n.into());
            cache.put(numbered(n), &permit(), now);
            cache.put(numbered(7), &permit(), now);
        }
        let kept = cache.kept.read().unwrap();
        assert!(kept.decisions.len() <= 3 && kept.order.len() <= 6);
        drop(kept);
        assert_eq!(cache.get(&numbered(7), now), Some(permit()));
    }

    #[tokio::test]
    async fn every_part_of_a_question_changes_its_key() {
        let mut keys = std::collections::HashSet::new();
        for subject in ["alice", "Anonymous", ""] {
            for roles in [&["ab"][..], &["a", "b"], &[]] {
                for action in ["infer", "load"] {
                    for about in [model("a", None), model("a", Some("1")), model("a1", None)] {
                        keys.insert(ask(subject, roles, action, Some(about), key).await);
                    }
                    keys.insert(ask(subject, roles, action, server(), key).await);
                }
            }
        }
        // Roles mean nothing where there is no subject.
        assert_eq!(keys.len(), 2 * 3 * 2 * 4 + 2 * 4);
    }
}
