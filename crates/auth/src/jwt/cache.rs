//! Tokens that have been checked, remembered until they expire.
//!
//! A token is known by its SHA-256, so that no token lies in memory longer than its request.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use oip_core::access::Subject;
use ring::digest;

/// The SHA-256 of a token.
pub(crate) type Fingerprint = [u8; 32];

/// A token without `exp` is checked again after this many seconds.
const LONGEST: u64 = 300;
const SHARDS: usize = 16;

/// Checked tokens, never more than a configured number.
#[derive(Debug)]
pub(crate) struct TokenCache {
    shards: Vec<Mutex<Shard>>,
    most_each: usize,
}

type Shard = HashMap<Fingerprint, Entry, BuildHasherDefault<Place>>;

/// The place of a fingerprint among others: a part of it, which nobody can choose for a token that
/// holds.
#[derive(Debug, Default)]
struct Place(u64);

impl Hasher for Place {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(part) = bytes.last_chunk() {
            self.0 = u64::from_ne_bytes(*part);
        }
    }

    /// The length, which all fingerprints share.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Debug)]
struct Entry {
    subject: Arc<Subject>,
    until: u64,
    /// The second in which it was checked.
    since: u64,
    /// The set of keys that it was checked with.
    generation: u64,
}

/// The fingerprint of a token.
pub(crate) fn fingerprint(token: &str) -> Fingerprint {
    let digest = digest::digest(&digest::SHA256, token.as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    bytes
}

impl TokenCache {
    /// A cache for so many tokens; 0 remembers none.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            most_each: most.div_ceil(SHARDS),
        }
    }

    /// Whom the token speaks for, if it was checked with these keys and still holds. What was
    /// checked in what is now the future, as the clock was set back, is checked again: the token
    /// may not hold yet.
    pub(crate) fn get(
        &self,
        token: &Fingerprint,
        generation: u64,
        now: u64,
    ) -> Option<Arc<Subject>> {
        let mut shard = self.shard(token);
        let entry = shard.get(token)?;
        if entry.generation == generation && (entry.since..entry.until).contains(&now) {
            return Some(Arc::clone(&entry.subject));
        }
        shard.remove(token);
        None
    }

    /// Remembers a token until the second `until`.
    pub(crate) fn put(
        &self,
        token: Fingerprint,
        generation: u64,
        subject: Arc<Subject>,
        until: Option<u64>,
        now: u64,
    ) {
        if self.most_each == 0 {
            return;
        }
        let mut shard = self.shard(&token);
        if shard.len() >= self.most_each && !shard.contains_key(&token) {
            shard.retain(|_, entry| now < entry.until && entry.generation == generation);
            if shard.len() >= self.most_each {
                let any = shard.keys().next().copied();
                any.map(|any| shard.remove(&any));
            }
        }
        let entry = Entry {
            subject,
            until: until.unwrap_or(now.saturating_add(LONGEST)),
            since: now,
            generation,
        };
        shard.insert(token, entry);
    }

    fn shard(&self, token: &Fingerprint) -> std::sync::MutexGuard<'_, Shard> {
        let shard = &self.shards[usize::from(token[0]) % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().unwrap().len())
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(id: &str) -> Arc<Subject> {
        Arc::new(Subject {
            id: id.to_owned(),
            ..Subject::default()
        })
    }

    #[test]
    fn a_token_is_remembered_until_it_expires() {
        let cache = TokenCache::new(100);
        let token = fingerprint("a.b.c");
        cache.put(token, 1, subject("alice"), Some(50), 10);
        assert_eq!(cache.get(&token, 1, 49), Some(subject("alice")));
        assert_eq!(cache.get(&token, 1, 50), None);
        assert_eq!(cache.len(), 0);
    }

    #[test]
    fn a_token_is_checked_again_when_the_clock_was_set_back_behind_its_check() {
        let cache = TokenCache::new(100);
        let token = fingerprint("a.b.c");
        cache.put(token, 1, subject("alice"), Some(50), 10);
        assert_eq!(cache.get(&token, 1, 9), None);
    }

    #[test]
    fn a_token_that_was_checked_with_other_keys_is_forgotten() {
        let cache = TokenCache::new(100);
        let token = fingerprint("a.b.c");
        cache.put(token, 1, subject("alice"), Some(50), 10);
        assert_eq!(cache.get(&token, 2, 11), None);
    }

    #[test]
    fn a_token_that_never_expires_is_checked_again_after_five_minutes() {
        let cache = TokenCache::new(100);
        let token = fingerprint("a.b.c");
        cache.put(token, 1, subject("alice"), None, 10);
        assert!(cache.get(&token, 1, 309).is_some());
        assert!(cache.get(&token, 1, 310).is_none());
    }

    #[test]
    fn the_cache_never_holds_more_than_its_bound() {
        let cache = TokenCache::new(64);
        for number in 0..2000 {
            cache.put(
                fingerprint(&number.to_string()),
                1,
                subject("a"),
                Some(50),
                10,
            );
            assert!(cache.len() <= 64);
        }
        let none = TokenCache::new(0);
        none.put(fingerprint("a"), 1, subject("a"), Some(50), 10);
        assert_eq!(none.len(), 0);
    }
}
