//! What is known of one connection, and until when it may stay.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

use http::Version;
use oip_protocol::Limit;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::ConnectionLimits;
use super::burden::Burden;
use super::owed::{Owed, Spell};
use crate::door::pace::GRACE;

/// One connection. Times are milliseconds since it was accepted, from 1; 0 is never.
pub(super) struct Life {
    born: Instant,
    limits: Arc<ConnectionLimits>,
    /// Whether a whole head has come.
    asked: AtomicBool,
    /// Whether it carries several requests at once (HTTP/2).
    multiplexed: AtomicBool,
    /// Whether it should end after what it has in flight.
    closing: AtomicBool,
    /// Requests whose answers have not ended.
    in_flight: AtomicUsize,
    /// When the last of them ended.
    ended: AtomicU64,
    /// Whether bytes have come that may be a whole head.
    came: AtomicBool,
    /// Since when the head of the next request is arriving, of which a part has come.
    head: AtomicU64,
    /// Since when the other end takes nothing of what is written.
    blocked: AtomicU64,
    /// Whether a part of what was written is held back, and whether it is to be sent now.
    held: AtomicBool,
    released: AtomicBool,
    /// Pieces of answers that wait for the other end, where it takes each stream by itself.
    owed: Owed,
    /// When it was told to end as it rested.
    told: AtomicU64,
    /// Whether somebody else needs its place.
    wanted: AtomicBool,
    /// Whether it ends with its answer, as there is no place for it.
    dismissed: AtomicBool,
    waker: Mutex<Option<Waker>>,
    leave: Notify,
    burden: Burden,
}

/// What HTTP/2 begins with, and no request of HTTP/1.
const PREFACE: &[u8] = b"PRI * HTTP/2";

/// What becomes of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It stays, and is looked at again then.
    Stay(Instant),
    /// It is to end after what is in flight.
    End(Limit),
    /// It is cut.
    Cut(Limit),
}

impl Life {
    #[cfg(test)]
    pub(super) fn new(limits: Arc<ConnectionLimits>) -> Self {
        Self::beside(limits, Burden::default())
    }

    /// One that has just been accepted; `burden` is what it will hold of memory that others want,
    /// too.
    pub(super) fn beside(limits: Arc<ConnectionLimits>, burden: Burden) -> Self {
        Self {
            born: Instant::now(),
            limits,
            asked: AtomicBool::new(false),
            multiplexed: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            ended: AtomicU64::new(0),
            came: AtomicBool::new(false),
            head: AtomicU64::new(0),
            blocked: AtomicU64::new(0),
            held: AtomicBool::new(false),
            released: AtomicBool::new(false),
            owed: Owed::default(),
            told: AtomicU64::new(0),
            wanted: AtomicBool::new(false),
            dismissed: AtomicBool::new(false),
            waker: Mutex::default(),
            leave: Notify::new(),
            burden,
        }
    }

    fn now(&self) -> u64 {
        milliseconds(self.born.elapsed()).saturating_add(1)
    }

    fn at(&self, time: u64, after: Duration) -> Instant {
        let far = Duration::from_secs(86_400 * 365);
        let after = after.min(far);
        self.born + Duration::from_millis(time.saturating_sub(1)) + after
    }

    /// A whole head has come. What is returned is held until its answer has ended.
    pub(super) fn begin(self: &Arc<Self>, version: Version) -> InFlight {
        if !self.asked.load(Relaxed) {
            self.asked.store(true, Relaxed);
            self.multiplexed.store(version == Version::HTTP_2, Relaxed);
        }
        self.came.store(false, Relaxed);
        self.head.store(0, Relaxed);
        let before = self.in_flight.fetch_add(1, Relaxed);
        let most = usize::try_from(self.limits.streams).unwrap_or(usize::MAX);
        if before + 1 == most && self.is_multiplexed() {
            // The next one waits at the other end.
            Limit::Streams.reached();
        }
        InFlight(Arc::clone(self))
    }

    pub(super) fn is_multiplexed(&self) -> bool {
        self.multiplexed.load(Relaxed)
    }

    /// From now on every answer says that it is the last one (HTTP/1).
    pub(super) fn close(&self) {
        self.closing.store(true, Relaxed);
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Relaxed)
    }

    /// These bytes have come.
    pub(super) fn received(&self, bytes: &[u8]) {
        if !self.has_asked() && bytes.starts_with(PREFACE) {
            self.multiplexed.store(true, Relaxed);
        }
        if self.in_flight.load(Relaxed) == 0 && !self.is_multiplexed() {
            self.came.store(true, Relaxed);
        }
    }

    /// More bytes are waited for: those that came were no whole head. Most are, and then no clock
    /// is read.
    pub(super) fn waits(&self) {
        if self.came.load(Relaxed) {
            self.came.store(false, Relaxed);
            if self.head.load(Relaxed) == 0 {
                self.head.store(self.now(), Relaxed);
            }
        }
    }

    /// The other end takes what is written, or does not.
    pub(super) fn written(&self, blocked: bool) {
        match (blocked, self.blocked.load(Relaxed)) {
            (true, 0) => self.blocked.store(self.now(), Relaxed),
            (false, since) if since != 0 => self.blocked.store(0, Relaxed),
            _ => {}
        }
    }

    /// The answers that wait for the other end.
    pub(super) fn burden(&self) -> &Burden {
        &self.burden
    }

    /// Whether the other end has taken nothing for a good part of the time that it may.
    pub(super) fn is_blocked_for_long(&self) -> bool {
        let since = self.blocked.load(Relaxed);
        since != 0 && self.at(since, self.limits.write_timeout / 8) <= Instant::now()
    }

    /// A part of what was written is held back, as more may follow; or nothing is.
    pub(super) fn holds(&self, held: bool) {
        self.held.store(held, Relaxed);
        if !held {
            self.released.store(false, Relaxed);
        }
    }

    /// Whether something is held back for which nobody has come.
    pub(super) fn holds_back(&self) -> bool {
        self.held.load(Relaxed)
    }

    /// What is held back is to be sent, as nothing more follows now.
    pub(super) fn releases(&self) {
        self.released.store(true, Relaxed);
    }

    /// Whether it is.
    pub(super) fn is_released(&self) -> bool {
        self.released.load(Relaxed)
    }

    /// The other end has to take a piece of an answer, which must be [`taken`](Self::taken).
    pub(super) fn owes(&self) -> Spell {
        self.owed.owes()
    }

    /// It has, or never will.
    pub(super) fn taken(&self, spell: Spell) {
        self.owed.taken(spell);
    }

    /// Since when nothing is in flight; `None` while something is.
    pub(super) fn rests_since(&self) -> Option<Instant> {
        if self.in_flight.load(Relaxed) > 0 {
            return None;
        }
        let since = self.head.load(Relaxed).max(self.ended.load(Relaxed));
        Some(self.at(since, Duration::ZERO))
    }

    /// Whether nothing has been in flight for so long, and the other end has taken every answer.
    pub(super) fn has_rested_for(&self, a_while: Duration) -> bool {
        let rests = self.rests_since();
        let rests = rests.is_some_and(|since| since + a_while <= Instant::now());
        rests && self.owes_nothing()
    }

    /// Whether the other end has taken every answer, as far as that is seen here.
    pub(super) fn owes_nothing(&self) -> bool {
        self.owed.is_nothing() && self.blocked.load(Relaxed) == 0 && !self.holds_back()
    }

    /// Who is to be woken when its place is needed.
    pub(super) fn wakes(&self, waker: &Waker) {
        let mut held = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        *held = Some(waker.clone());
    }

    /// Somebody else needs its place.
    pub(super) fn make_room(&self) {
        self.wanted.store(true, Relaxed);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        waker.iter().for_each(Waker::wake_by_ref);
        self.leave.notify_one();
    }

    /// Whether its place is needed.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Relaxed)
    }

    /// It stays, as it does not rest any more.
    pub(super) fn stays(&self) {
        self.wanted.store(false, Relaxed);
    }

    /// It ends with the answer to its request.
    pub(super) fn dismiss(&self) {
        self.close();
        self.dismissed.store(true, Relaxed);
    }

    /// Whether it does.
    pub(super) fn is_dismissed(&self) -> bool {
        self.dismissed.load(Relaxed)
    }

    /// Is done when its place is needed.
    #[cfg(feature = "tls")]
    pub(super) async fn left(&self) {
        self.leave.notified().await;
    }

    /// Whether a whole head has come.
    pub(super) fn has_asked(&self) -> bool {
        self.asked.load(Relaxed)
    }

    /// Whether a part of the head of a request has come (HTTP/1).
    pub(super) fn reads_a_head(&self) -> bool {
        let waits = !self.is_multiplexed() && self.in_flight.load(Relaxed) == 0;
        waits && self.head.load(Relaxed) != 0
    }

    /// Whether the connection may stay now.
    pub(super) fn look(&self) -> Verdict {
        let now = Instant::now();
        let limits = &self.limits;
        // Whatever its time-outs are: who is in the way is seen at the second look.
        let mut next = now + limits.patience().min(GRACE);
        let mut passed = |at: Instant| {
            next = next.min(at);
            at <= now
        };
        let (head, blocked) = (self.head.load(Relaxed), self.blocked.load(Relaxed));
        if blocked != 0 && passed(self.at(blocked, limits.write_timeout)) {
            return Verdict::Cut(Limit::WriteTimeout);
        }
        let spell = milliseconds(limits.write_timeout / 4).max(1);
        match self.owed.look(self.now(), spell) {
            Some(end) => _ = passed(self.at(end, Duration::ZERO)),
            None => return Verdict::Cut(Limit::WriteTimeout),
        }
        if self.burden.is_in_the_way(now) {
            return Verdict::Cut(Limit::BodyMemory);
        }
        if !self.asked.load(Relaxed) {
            if passed(self.at(0, limits.header_timeout)) {
                return Verdict::Cut(Limit::HeaderTimeout);
            }
            return Verdict::Stay(next);
        }
        if head != 0 && passed(self.at(head, limits.header_timeout)) {
            return Verdict::Cut(Limit::HeaderTimeout);
        }
        let idle = self.in_flight.load(Relaxed) == 0 && head == 0;
        if idle && passed(self.at(self.ended.load(Relaxed), limits.idle)) {
            let told = self.told.load(Relaxed);
            if told == 0 {
                self.told.store(self.now(), Relaxed);
                return Verdict::End(Limit::ConnectionIdle);
            }
            // It would have ended, were there not something that its other end does not take.
            if passed(self.at(told, limits.write_timeout)) {
                return Verdict::Cut(Limit::WriteTimeout);
            }
        }
        if let Some(age) = limits.age {
            if !self.is_closing() && passed(self.at(0, age)) {
                return Verdict::End(Limit::ConnectionAge);
            }
            if passed(self.at(0, age.saturating_mul(2))) {
                return Verdict::Cut(Limit::ConnectionAge);
            }
        }
        Verdict::Stay(next)
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A request whose answer has not ended.
pub(super) struct InFlight(Arc<Life>);

impl InFlight {
    pub(super) fn life(&self) -> &Life {
        &self.0
    }

    pub(super) fn shared_life(&self) -> Arc<Life> {
        Arc::clone(&self.0)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Relaxed) == 1 {
            self.0.ended.store(self.0.now(), Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
