//! What waits to be written or sent by a thread of its own: bounded, and never waited for.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// What became of the things that were put in.
#[derive(Debug, Default)]
pub(crate) struct Fates {
    /// Written or sent.
    pub(crate) done: AtomicU64,
    /// Not taken, as too much waited already.
    pub(crate) dropped: AtomicU64,
    /// Taken, and lost because they could not be written or sent.
    pub(crate) failed: AtomicU64,
}

/// An outbox. Clones put into the same.
pub(super) struct Outbox<T> {
    sender: SyncSender<Letter<T>>,
    /// Until the thread that empties it is started.
    receiver: Mutex<Option<Receiver<Letter<T>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    closed: AtomicBool,
    abandoned: CancellationToken,
    waiting: Arc<AtomicUsize>,
    most_bytes: usize,
    pub(super) fates: Arc<Fates>,
}

enum Letter<T> {
    Thing(T, usize),
    Close,
}

/// What the thread gets.
pub(super) enum Next<T> {
    Thing(T),
    /// Nothing came in this time.
    Nothing,
    /// Nothing will come any more.
    Closed,
}

/// The things that wait, as the thread sees them.
pub(super) struct Inbox<T> {
    receiver: Receiver<Letter<T>>,
    abandoned: CancellationToken,
    waiting: Arc<AtomicUsize>,
    /// Bytes of the thing that was taken last.
    taken: Cell<usize>,
    pub(super) fates: Arc<Fates>,
}

impl<T> Inbox<T> {
    /// Waits for the next thing, but not longer than this. The one before counts as waiting until
    /// then, as it is written or sent meanwhile.
    pub(super) fn next(&self, patience: Duration) -> Next<T> {
        self.waiting.fetch_sub(self.taken.take(), Relaxed);
        match self.receiver.recv_timeout(patience) {
            _ if self.abandoned.is_cancelled() => Next::Closed,
            Ok(Letter::Thing(thing, bytes)) => {
                self.taken.set(bytes);
                Next::Thing(thing)
            }
            Ok(Letter::Close) | Err(RecvTimeoutError::Disconnected) => Next::Closed,
            Err(RecvTimeoutError::Timeout) => Next::Nothing,
        }
    }
}

impl<T> Inbox<T> {
    /// Waits until something is sent, or everything is given up.
    pub(super) fn block_on(
        &self,
        runtime: &Handle,
        sending: impl Future<Output = Result<(), String>>,
    ) -> Result<(), String> {
        runtime.block_on(async {
            tokio::select! {
                sent = sending => sent,
                () = self.abandoned.cancelled() => Err("it was given up at the stop".to_owned()),
            }
        })
    }
}

impl<T: Send + 'static> Outbox<T> {
    /// Room for so many things, and so many bytes in them.
    pub(super) fn new(things: usize, most_bytes: usize) -> Self {
        let (sender, receiver) = sync_channel(things);
        Self {
            sender,
            receiver: Mutex::new(Some(receiver)),
            thread: Mutex::default(),
            closed: AtomicBool::default(),
            abandoned: CancellationToken::new(),
            waiting: Arc::default(),
            most_bytes,
            fates: Arc::default(),
        }
    }

    /// Puts a thing in, which holds so many bytes and counts as so many. Never waits: where there
    /// is no room, it is dropped and counted.
    pub(super) fn put(&self, thing: T, bytes: usize, counts: usize) {
        let before = self.waiting.fetch_add(bytes, Relaxed);
        let fits = before.saturating_add(bytes) <= self.most_bytes && !self.closed.load(Relaxed);
        let letter = Letter::Thing(thing, bytes);
        if !fits || self.sender.try_send(letter).is_err() {
            self.waiting.fetch_sub(bytes, Relaxed);
            self.fates.dropped.fetch_add(counts as u64, Relaxed);
        }
    }

    /// Starts the thread that empties it; once.
    pub(super) fn start(&self, name: &str, run: impl FnOnce(Inbox<T>) + Send + 'static) {
        let receiver = self.receiver.lock();
        let Some(receiver) = receiver.unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        let inbox = Inbox {
            receiver,
            abandoned: self.abandoned.clone(),
            waiting: Arc::clone(&self.waiting),
            taken: Cell::new(0),
            fates: Arc::clone(&self.fates),
        };
        let thread = std::thread::Builder::new().name(name.to_owned());
        match thread.spawn(move || run(inbox)) {
            Ok(thread) => {
                let mut held = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
                *held = Some(thread);
            }
            Err(error) => tracing::error!(%error, "the thread {name} cannot be started"),
        }
    }

    /// What waits is given up, and what is being sent, so that a [`close`](Self::close) that takes too long ends.
    pub(super) fn abandon(&self) {
        self.abandoned.cancel();
    }

    /// Has what waits written or sent, and ends the thread. Blocks until then.
    pub(super) fn close(&self) {
        self.closed.store(true, Relaxed);
        let thread = self.thread.lock();
        let thread = thread.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It fails where the thread has ended, and then there is nothing to wait for.
            let _ = self.sender.send(Letter::Close);
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_dropped_and_counted_and_nobody_waits() {
        let outbox = Outbox::new(2, 100);
        outbox.put("a", 60, 1);
        outbox.put("too big", 60, 3);
        outbox.put("b", 10, 1);
        outbox.put("too many", 10, 1);
        assert_eq!(outbox.fates.dropped.load(Relaxed), 4);
        let (sender, receiver) = sync_channel(10);
        outbox.start("test", move |inbox| {
            while let Next::Thing(thing) = inbox.next(Duration::from_secs(5)) {
                sender.send(thing).unwrap();
            }
        });
        outbox.close();
        assert_eq!(receiver.iter().collect::<Vec<_>>(), ["a", "b"]);
        outbox.put("late", 1, 1);
        assert_eq!(outbox.fates.dropped.load(Relaxed), 5);
    }

    #[test]
    fn what_is_being_written_still_takes_its_room() {
        let outbox = Outbox::new(10, 100);
        let (started, begun) = sync_channel(1);
        let (finish, finished) = sync_channel::<()>(1);
        outbox.put("a", 60, 1);
        outbox.start("test", move |inbox| {
            while let Next::Thing(_) = inbox.next(Duration::from_secs(5)) {
                started.send(()).unwrap();
                finished.recv().unwrap();
            }
        });
        begun.recv().unwrap();
        outbox.put("beside it", 60, 1);
        assert_eq!(outbox.fates.dropped.load(Relaxed), 1);
        finish.send(()).unwrap();
        outbox.put("little", 40, 1);
        begun.recv().unwrap();
        outbox.put("after it", 60, 1);
        assert_eq!(outbox.fates.dropped.load(Relaxed), 1);
        (0..2).for_each(|_| finish.send(()).unwrap());
        outbox.close();
    }
}
