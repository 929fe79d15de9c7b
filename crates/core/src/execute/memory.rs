//! How much memory the bodies of requests may take, all together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use oip_protocol::{Error, Limit, Result};

/// The memory that bodies may take, from their first byte until their requests are answered.
#[derive(Debug, Clone)]
pub struct Memory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    held: AtomicUsize,
    most: usize,
}

/// What one request holds of it; given back when it is dropped.
#[derive(Debug)]
pub struct Held {
    memory: Memory,
    bytes: usize,
}

impl Memory {
    /// So many bytes at most.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Inner {
            held: AtomicUsize::new(0),
            most,
        }))
    }

    /// How many bytes are held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.held.load(Relaxed)
    }

    /// For a request of which nothing has been read yet.
    #[must_use]
    pub fn nothing(&self) -> Held {
        Held {
            memory: self.clone(),
            bytes: 0,
        }
    }

    /// Whether a body of so many bytes would fit now. Nothing is set aside for it: a caller may
    /// say more than it sends.
    ///
    /// # Errors
    /// `TooManyRequests`.
    pub fn refuse_announced(&self, bytes: usize) -> Result<()> {
        match bytes > self.0.most.saturating_sub(self.held()) {
            true => Err(full()),
            false => Ok(()),
        }
    }
}

impl Held {
    /// Takes more.
    ///
    /// # Errors
    /// `TooManyRequests` where it does not fit; what is held stays so.
    pub fn grow(&mut self, bytes: usize) -> Result<()> {
        let Inner { held, most } = &*self.memory.0;
        let before = held.fetch_add(bytes, Relaxed);
        if bytes > most.saturating_sub(before) {
            held.fetch_sub(bytes, Relaxed);
            return Err(full());
        }
        self.bytes += bytes;
        Ok(())
    }

    /// Gives everything back.
    pub fn release(&mut self) {
        self.memory.0.held.fetch_sub(self.bytes, Relaxed);
        self.bytes = 0;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}

#[cold]
fn full() -> Error {
    Error::too_many_requests("the bodies of other requests take all the memory that bodies may")
        .retry_after(1)
        .at_limit(Limit::BodyMemory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_share_the_memory_and_give_it_back() {
        let memory = Memory::new(100);
        let mut one = memory.nothing();
        one.grow(60).unwrap();
        let mut other = memory.nothing();
        assert!(other.grow(41).is_err());
        other.grow(40).unwrap();
        assert!(memory.refuse_announced(1).is_err());
        drop(one);
        assert_eq!(memory.held(), 40);
        assert!(memory.refuse_announced(60).is_ok());
        other.release();
        assert_eq!(memory.held(), 0);
    }
}
