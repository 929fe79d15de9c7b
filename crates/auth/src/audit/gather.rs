//! Lines on their way to the thread that writes: gathered, so that it is not woken for each.
//!
//! Where a request waits for its line, the first of a round lets the other requests that are
//! ready come along (it yields once) and then hands all their lines over. It alone is woken when
//! they stand, and wakes the others. So a busy server pays for waking the thread, for writing and
//! for being woken once a round; an idle one waits for nothing but its own line.
//!
//! Where nobody waits, the thread is woken for the first line and takes what has come a moment
//! later.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::AuditError;

/// How long lines are gathered that nobody waits for.
const MOMENT: Duration = Duration::from_millis(5);

/// What became of a line.
pub(super) type Written = Result<(), String>;

/// Lines that are written together.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// The members of each, see [`Entry::members`](super::Entry::members).
    pub(super) lines: Vec<String>,
    /// Who wakes the others; `None` where nobody waits.
    leader: Option<oneshot::Sender<Outcome>>,
    others: Vec<oneshot::Sender<Written>>,
}

/// What the leader of a round is told, and whom it has to tell.
#[derive(Debug)]
struct Outcome {
    written: Written,
    others: Vec<oneshot::Sender<Written>>,
}

impl Outcome {
    fn tell(self) -> Written {
        for other in self.others {
            // Whoever waited may have left; its line stands.
            let _ = other.send(self.written.clone());
        }
        self.written
    }
}

impl Round {
    /// Tells everybody who waits.
    pub(super) fn done(self, written: Written) {
        let outcome = Outcome {
            written,
            others: self.others,
        };
        let untold = match self.leader {
            Some(leader) => leader.send(outcome).err(),
            None => Some(outcome),
        };
        // The leader has left: its caller closed the connection.
        untold.map(Outcome::tell);
    }

    /// Whether anybody waits.
    pub(super) fn is_waited_for(&self) -> bool {
        self.leader.is_some()
    }
}

/// What waits to be written.
#[derive(Debug)]
pub(super) struct Gathering {
    state: Mutex<State>,
    some: Condvar,
    most: usize,
}

#[derive(Debug, Default)]
struct State {
    /// The round that is being gathered.
    open: Round,
    /// Rounds that were handed over.
    ready: Vec<Round>,
    lines: usize,
    closed: bool,
}

/// What the thread finds.
pub(super) enum Found {
    Rounds(Vec<Round>),
    /// Nothing until the time was over.
    Nothing,
    /// The last rounds, if any.
    End(Vec<Round>),
}

impl Gathering {
    /// Never more than so many lines.
    pub(super) fn new(most: usize) -> Self {
        Self {
            state: Mutex::default(),
            some: Condvar::new(),
            most,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, state: &mut State, line: String) -> Result<(), AuditError> {
        if state.closed {
            return Err(AuditError::Closed);
        }
        if state.lines >= self.most {
            return Err(AuditError::QueueFull(self.most));
        }
        state.lines += 1;
        state.open.lines.push(line);
        Ok(())
    }

    /// Adds a line that nobody waits for.
    pub(super) fn push(&self, line: String) -> Result<(), AuditError> {
        let mut state = self.lock();
        self.add(&mut state, line)?;
        if state.open.lines.len() == 1 {
            state.open.leader = None;
            drop(state);
            self.some.notify_one();
        }
        Ok(())
    }

    /// Adds a line and waits until it stands.
    pub(super) async fn write(&self, line: String) -> Result<(), AuditError> {
        let place = self.place(line)?;
        let written = match place {
            Place::Leader(mut leader) => {
                tokio::task::yield_now().await;
                leader.hand_over();
                let told = (&mut leader.told).await;
                told.map(Outcome::tell)
            }
            Place::Other(written) => written.await,
        };
        let written = written.map_err(|_| AuditError::Closed)?;
        written.map_err(AuditError::Write)
    }

    fn place(&self, line: String) -> Result<Place<'_>, AuditError> {
        let mut state = self.lock();
        self.add(&mut state, line)?;
        if state.open.leader.is_some() {
            let (other, written) = oneshot::channel();
            state.open.others.push(other);
            return Ok(Place::Other(written));
        }
        let (leader, told) = oneshot::channel();
        state.open.leader = Some(leader);
        Ok(Place::Leader(Leader {
            gathering: self,
            told,
            leads: true,
        }))
    }

    /// Waits for lines, until `due` at the latest. `waited` says whether requests wait for them.
    pub(super) fn next(&self, due: Instant, waited: bool) -> Found {
        let wait = due.saturating_duration_since(Instant::now());
        let nothing = |state: &mut State| {
            let some = !state.ready.is_empty() || (!waited && !state.open.lines.is_empty());
            !some && !state.closed
        };
        let found = self.some.wait_timeout_while(self.lock(), wait, nothing);
        let (mut state, over) = found.unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return Found::End(state.take(true));
        }
        if over.timed_out() {
            return Found::Nothing;
        }
        if !waited {
            drop(state);
            std::thread::sleep(MOMENT);
            state = self.lock();
        }
        Found::Rounds(state.take(!waited))
    }

    /// Lines have been written, or never will be.
    pub(super) fn gone(&self, lines: usize) {
        self.lock().lines -= lines;
    }

    /// Takes no lines any more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.some.notify_one();
    }

    /// The thread is gone: nobody will write what waits.
    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        state.closed = true;
        drop(state.take(true));
    }
}

impl State {
    fn take(&mut self, open_too: bool) -> Vec<Round> {
        let mut rounds = std::mem::take(&mut self.ready);
        if open_too && !self.open.lines.is_empty() {
            rounds.push(std::mem::take(&mut self.open));
        }
        rounds
    }
}

enum Place<'a> {
    Leader(Leader<'a>),
    Other(oneshot::Receiver<Written>),
}

/// The first of a round. It does its duty even when its own caller leaves.
struct Leader<'a> {
    gathering: &'a Gathering,
    told: oneshot::Receiver<Outcome>,
    leads: bool,
}

impl Leader<'_> {
    /// Hands the round to the thread.
    fn hand_over(&mut self) {
        if !std::mem::take(&mut self.leads) {
            return;
        }
        let mut state = self.gathering.lock();
        // At the end the thread takes the round by itself.
        if state.open.leader.is_some() {
            let round = std::mem::take(&mut state.open);
            state.ready.push(round);
            drop(state);
            self.gathering.some.notify_one();
        }
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        self.hand_over();
        self.told.close();
        if let Ok(outcome) = self.told.try_recv() {
            // Its own line concerns nobody any more.
            let _ = outcome.tell();
        }
    }
}
