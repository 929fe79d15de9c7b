//! Lines that wait to be written.

use std::time::Instant;

use super::{Log, When};

/// Most bytes that wait, with those that are being written.
const MOST: usize = 4 << 20;
/// Most of them while lines of the access log are taken, so that the others have room then.
const MOST_WITH_ACCESS: usize = 3 << 20;

/// Up to so many bytes are written to a pipe without those of another process between them
/// (`PIPE_BUF`), and processes of handlers write to the same one.
const PIECE: usize = 4096;

/// How much room for lines is kept, in bytes.
const KEPT: usize = 256 << 10;

#[derive(Debug, Default)]
pub(super) struct Lines {
    batch: Batch,
    urgent: bool,
    /// Bytes that were ever taken, and those of them that are no longer waited for.
    taken: u64,
    gone: u64,
    /// Since when a piece is being written.
    writing_since: Option<Instant>,
}

/// Lines in their order.
#[derive(Debug, Default)]
pub(super) struct Batch {
    text: Vec<u8>,
    /// Whose bytes they are, as lengths one after the other.
    owners: Vec<(Log, usize)>,
}

impl Lines {
    /// Takes lines; says whether the thread is to be woken for them, or how many are lost.
    pub(super) fn add(&mut self, log: Log, when: When, text: &[u8]) -> Result<bool, u64> {
        let most = match log {
            Log::Access => MOST_WITH_ACCESS,
            Log::Server | Log::Audit => MOST,
        };
        let waiting = usize::try_from(self.taken - self.gone).unwrap_or(usize::MAX);
        if waiting.saturating_add(text.len()) > most {
            return Err(count(text));
        }
        let first = self.batch.text.is_empty();
        self.batch.add(log, text);
        self.taken += text.len() as u64;
        let hurries = when == When::Now && self.hurry();
        Ok(first || hurries)
    }

    /// Has what waits written at once. Whether the thread is to be told.
    pub(super) fn hurry(&mut self) -> bool {
        !std::mem::replace(&mut self.urgent, true)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batch.text.is_empty()
    }

    pub(super) fn are_urgent(&self) -> bool {
        self.urgent
    }

    /// Hands out what waits, and keeps the room of what was written before.
    pub(super) fn take(&mut self, mut spare: Batch) -> Batch {
        self.urgent = false;
        spare.clear();
        std::mem::replace(&mut self.batch, spare)
    }

    /// A piece is being written.
    pub(super) fn begin(&mut self) {
        self.writing_since = Some(Instant::now());
    }

    /// It is no longer.
    pub(super) fn end(&mut self, bytes: usize) {
        self.writing_since = None;
        self.gone += bytes as u64;
    }

    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    pub(super) fn gone(&self) -> u64 {
        self.gone
    }

    pub(super) fn writing_since(&self) -> Option<Instant> {
        self.writing_since
    }
}

impl Batch {
    fn clear(&mut self) {
        // A burst is no reason to hold its room for ever.
        if self.text.capacity() > KEPT {
            *self = Self::default();
        }
        self.text.clear();
        self.owners.clear();
    }

    fn add(&mut self, log: Log, text: &[u8]) {
        self.text.extend_from_slice(text);
        self.owners.push((log, text.len()));
    }

    /// What is written in one go each: lines of one log, as many as come in one piece.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (Log, &[u8])> {
        let mut text = self.text.as_slice();
        let mut owners = self.owners.iter().copied().peekable();
        std::iter::from_fn(move || {
            let (log, mut length) = owners.next()?;
            while let Some((_, more)) =
                owners.next_if(|(next, more)| *next == log && length + more <= PIECE)
            {
                length += more;
            }
            let (piece, rest) = text.split_at_checked(length)?;
            text = rest;
            Some((log, piece))
        })
    }
}

/// How many lines these are.
pub(super) fn count(text: &[u8]) -> u64 {
    text.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_lines_of_one_log_each_in_their_order() {
        let mut lines = Lines::default();
        let long = [b'x'; PIECE];
        for (log, text) in [
            (Log::Server, b"a\n".as_slice()),
            (Log::Server, b"b\n"),
            (Log::Access, b"c\n"),
            (Log::Server, &long),
            (Log::Server, b"d\n"),
        ] {
            lines.add(log, When::Soon, text).unwrap();
        }
        let batch = lines.take(Batch::default());
        let pieces: Vec<_> = batch.pieces().collect();
        assert_eq!(
            pieces,
            [
                (Log::Server, b"a\nb\n".as_slice()),
                (Log::Access, b"c\n"),
                (Log::Server, &long),
                (Log::Server, b"d\n"),
            ]
        );
    }

    #[test]
    fn the_thread_is_woken_for_the_first_line_and_the_first_that_is_in_a_hurry() {
        let mut lines = Lines::default();
        let wakes = [When::Soon, When::Soon, When::Now, When::Now]
            .map(|when| lines.add(Log::Server, when, b"a\n").unwrap());
        assert_eq!(wakes, [true, false, true, false]);
    }

    #[test]
    fn the_access_log_leaves_room_for_what_the_server_says() {
        let mut lines = Lines::default();
        let much = vec![b'\n'; MOST_WITH_ACCESS];
        lines.add(Log::Access, When::Soon, &much).unwrap();
        assert_eq!(lines.add(Log::Access, When::Soon, b"a\n"), Err(1));
        lines.add(Log::Server, When::Now, b"a\n").unwrap();
        assert_eq!(
            lines.add(Log::Audit, When::Soon, &much),
            Err(much.len() as u64)
        );
        // What is being written still takes its room.
        let batch = lines.take(Batch::default());
        lines.begin();
        assert_eq!(lines.add(Log::Access, When::Soon, b"a\n"), Err(1));
        lines.end(batch.text.len());
        lines.add(Log::Access, When::Soon, b"a\n").unwrap();
    }
}
