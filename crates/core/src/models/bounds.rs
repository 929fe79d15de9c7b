//! How much of a server one model of a handler may take.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use crate::execute::Slots;

/// Of how many models the places are kept while nobody has one. Where a handler answers for every
/// name, callers choose the names.
const MOST_AT_REST: usize = 1024;

/// What one model may take, so that one that hangs does not take all places of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Most inferences that are with the handler at once; 1,024.
    pub at_once: usize,
    /// Most that wait for that; 0, the default, where a handler has a queue of its own. One more
    /// is refused with 429 / `RESOURCE_EXHAUSTED`.
    pub queue: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            at_once: 1024,
            queue: 0,
        }
    }
}

/// The places of each model.
#[derive(Debug, Default)]
pub(super) struct Places {
    bounds: Bounds,
    models: RwLock<HashMap<String, Slots>>,
}

impl Places {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            models: RwLock::default(),
        }
    }

    /// The places of a model.
    pub(super) fn of(&self, model: &str) -> Slots {
        let known = self.models.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(slots) = known.get(model) {
            return slots.clone();
        }
        drop(known);
        let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
        if models.len() >= MOST_AT_REST {
            models.retain(|_, slots| slots.is_in_use());
        }
        let Bounds { at_once, queue } = self.bounds;
        let slots = models.entry(model.to_owned());
        slots
            .or_insert_with(|| Slots::of_model(model, at_once, queue))
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_model_has_its_places_and_made_up_names_are_forgotten_unless_they_are_used() {
        let places = Places::new(Bounds {
            at_once: 1,
            queue: 0,
        });
        let held = places.of("hangs").take().await.unwrap();
        let refused = places.of("hangs").take().await.unwrap_err();
        assert_eq!(
            refused.message(),
            "model 'hangs' has as many requests as it takes at once: 1"
        );
        assert_eq!(refused.limit(), Some(oip_protocol::Limit::ModelQueue));
        assert!(places.of("other").take().await.is_ok());
        for number in 0..3 * MOST_AT_REST {
            places.of(&number.to_string());
        }
        assert!(places.models.read().unwrap().len() <= MOST_AT_REST);
        assert!(places.of("hangs").take().await.is_err(), "it is used");
        drop(held);
        assert!(places.of("hangs").take().await.is_ok());
    }
}
