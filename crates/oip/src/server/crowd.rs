//! Who is connected: where all places are taken, whoever has rested longest makes room.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::life::Life;

/// What has rested for less than this is in use: its client is about to ask again.
pub(super) const LEAST_REST: Duration = Duration::from_millis(500);

/// The connections of a server. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Crowd(Arc<Mutex<Members>>);

#[derive(Default)]
struct Members {
    next: u64,
    lives: HashMap<u64, Arc<Life>>,
}

/// One of them, until it is dropped.
pub(super) struct Member {
    crowd: Crowd,
    number: u64,
}

impl Crowd {
    fn members(&self) -> MutexGuard<'_, Members> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn join(&self, life: Arc<Life>) -> Member {
        let mut members = self.members();
        let number = members.next;
        members.next += 1;
        members.lives.insert(number, life);
        Member {
            crowd: self.clone(),
            number,
        }
    }

    /// Has the connection end that has rested longest, also one whose first head has not come, and
    /// none whose other end has yet to take an answer. Whether there was one.
    pub(super) fn make_room(&self) -> bool {
        let now = Instant::now();
        let longest = {
            let members = self.members();
            let lives = members.lives.values();
            let resting = lives.filter(|life| !life.is_wanted());
            let resting = resting.filter(|life| life.owes_nothing());
            let resting = resting.filter_map(|life| Some((life.rests_since()?, life)));
            let longest = resting.min_by_key(|(since, _)| *since);
            let longest = longest.filter(|(since, _)| now.duration_since(*since) >= LEAST_REST);
            longest.map(|(_, life)| Arc::clone(life))
        };
        longest.inspect(|life| life.make_room()).is_some()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.crowd.members().lives.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use http::Version;

    use super::*;
    use crate::server::ConnectionLimits;

    #[tokio::test(start_paused = true)]
    async fn whoever_has_rested_longest_makes_room_and_who_is_served_does_not() {
        let crowd = Crowd::default();
        let life = || Arc::new(Life::new(Arc::new(ConnectionLimits::default())));
        let pass = |milliseconds| tokio::time::advance(Duration::from_millis(milliseconds));
        let (served, rested, silent) = (life(), life(), life());
        let members = [&served, &rested, &silent].map(|life| crowd.join(Arc::clone(life)));
        let _held = served.begin(Version::HTTP_11);
        pass(300).await;
        drop(rested.begin(Version::HTTP_11));
        assert!(!crowd.make_room(), "all have just come");
        pass(400).await;
        assert!(crowd.make_room());
        assert!(silent.is_wanted() && !rested.is_wanted());
        assert!(!crowd.make_room(), "the other rests for too short a time");
        pass(200).await;
        assert!(crowd.make_room() && rested.is_wanted());
        pass(10_000).await;
        assert!(!crowd.make_room() && !served.is_wanted());
        drop(members);
        assert!(crowd.members().lives.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn whose_answer_is_not_taken_yet_does_not_make_room() {
        let crowd = Crowd::default();
        let life = Arc::new(Life::new(Arc::new(ConnectionLimits::default())));
        let _member = crowd.join(Arc::clone(&life));
        drop(life.begin(Version::HTTP_11));
        life.written(true);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(!crowd.make_room());
        life.written(false);
        assert!(crowd.make_room());
    }
}
