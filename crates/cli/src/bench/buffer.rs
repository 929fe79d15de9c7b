//! Bytes that were read and not yet understood.

use super::answer::Fault;
use super::stream::Stream;

/// Bytes read at once; also the most that is kept of what is not yet understood.
const SIZE: usize = 64 << 10;

/// A reading buffer of fixed size.
pub(super) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; SIZE],
            start: 0,
            end: 0,
        }
    }

    /// What was read and not yet understood.
    pub(super) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Drops understood bytes from the front.
    pub(super) fn forget(&mut self, used: usize) {
        self.start += used;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Reads once.
    pub(super) async fn read(&mut self, stream: &mut Stream) -> Result<(), Fault> {
        if self.end == self.bytes.len() {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.bytes.len() {
            return Err(Fault::Malformed("a head or a line over 64 KiB"));
        }
        match stream.receive(&mut self.bytes[self.end..]).await? {
            0 => Err(Fault::Closed),
            read => {
                self.end += read;
                Ok(())
            }
        }
    }
}
