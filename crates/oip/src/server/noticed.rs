//! The bytes of a connection, whose coming and going is noticed.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::life::Life;

/// What is written in several pieces and is no longer than this, in bytes, is put together: the
/// system takes one piece in less time than it takes for a list of two. A head and a small answer
/// are within it; what a tensor makes worth mentioning is not.
const SMALL: usize = 1 << 10;

/// Over HTTP/2 an answer is cut into frames, 16 KiB each for most clients, and each frame would go
/// out by a call of its own, which takes longer than copying it. So frames from this size on, in
/// bytes, are held back until something shorter follows, or so many bytes are held.
const LONG: usize = 8 << 10;
const HELD: usize = 64 << 10;

/// A stream of bytes that tells its connection's life what becomes of it.
pub(super) struct Noticed<S> {
    stream: S,
    life: Arc<Life>,
    /// Where small pieces are put together.
    together: Vec<u8>,
    /// Frames that are held back, and how many bytes of them were sent.
    held: Vec<u8>,
    sent: usize,
}

impl<S> Noticed<S> {
    pub(super) fn new(stream: S, life: Arc<Life>) -> Self {
        Self {
            stream,
            life,
            together: Vec::new(),
            held: Vec::new(),
            sent: 0,
        }
    }

    fn noticed(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.life.written(written.is_pending());
        if let Poll::Ready(Ok(bytes)) = &written {
            self.life.burden().sent(*bytes);
        }
        written
    }
}

impl<S: AsyncWrite + Unpin> Noticed<S> {
    /// Takes a piece that is held back, or follows one that is.
    fn hold(
        &mut self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
        length: usize,
    ) -> Poll<io::Result<usize>> {
        if self.held.len() + length > HELD {
            ready!(self.release(context))?;
            if length > HELD {
                let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
                return self.noticed(written);
            }
        }
        if self.held.is_empty() {
            self.held.reserve_exact(HELD);
        }
        for slice in slices {
            self.held.extend_from_slice(slice);
        }
        self.life.holds(true);
        if length < LONG {
            self.life.releases();
            // What is not taken yet goes before all that follows.
            if let Poll::Ready(Err(error)) = self.release(context) {
                return Poll::Ready(Err(error));
            }
        }
        Poll::Ready(Ok(length))
    }

    /// Sends what is held back.
    fn release(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(left @ [_, ..]) = self.held.get(self.sent..) {
            let written = Pin::new(&mut self.stream).poll_write(context, left);
            match ready!(self.noticed(written))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.sent += written,
            }
        }
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        // A connection that rests keeps no buffer.
        (self.held, self.sent) = (Vec::new(), 0);
        self.life.holds(false);
        Poll::Ready(Ok(()))
    }

    /// The same where it is time.
    fn release_in_time(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.life.is_released() {
            true => self.release(context),
            false => Poll::Ready(Ok(())),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Noticed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Whether it has room for that or not, what comes is read.
        if let Poll::Ready(Err(error)) = self.release_in_time(context) {
            return Poll::Ready(Err(error));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        match read.is_ready() {
            true => {
                let come = buffer.filled().get(before..);
                self.life.received(come.unwrap_or_default());
            }
            false => self.life.waits(),
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Noticed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.life.is_multiplexed() && (bytes.len() >= LONG || !self.held.is_empty()) {
            return self.hold(context, &[IoSlice::new(bytes)], bytes.len());
        }
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.noticed(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        if this.life.is_multiplexed() && (length >= LONG || !this.held.is_empty()) {
            return this.hold(context, slices, length);
        }
        let written = if length <= SMALL {
            this.together.clear();
            for slice in slices {
                this.together.extend_from_slice(slice);
            }
            Pin::new(&mut this.stream).poll_write(context, &this.together)
        } else {
            Pin::new(&mut this.stream).poll_write_vectored(context, slices)
        };
        self.noticed(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.release_in_time(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.release(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::server::ConnectionLimits;

    /// Remembers the lengths of what it was given at once, and takes a part of each only.
    #[derive(Default)]
    struct Slow {
        blocked: bool,
        given: Vec<Vec<usize>>,
        taken: Vec<u8>,
    }

    impl AsyncWrite for Slow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            if self.blocked {
                return Poll::Pending;
            }
            let part = bytes.len().div_ceil(2);
            self.given.push(vec![bytes.len()]);
            self.taken.extend_from_slice(&bytes[..part]);
            Poll::Ready(Ok(part))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.given
                .push(slices.iter().map(|slice| slice.len()).collect());
            self.taken.extend_from_slice(&slices[0]);
            Poll::Ready(Ok(slices[0].len()))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncRead for Slow {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    async fn sent(pieces: [&[u8]; 2]) -> Slow {
        let life = Arc::new(Life::new(Arc::new(ConnectionLimits::default())));
        let mut noticed = Noticed::new(Slow::default(), life);
        let mut rest = bytes::Buf::chain(pieces[0], pieces[1]);
        noticed.write_all_buf(&mut rest).await.unwrap();
        noticed.stream
    }

    #[tokio::test]
    async fn small_pieces_are_sent_as_one_and_what_is_not_taken_is_sent_again() {
        let slow = sent([b"a head ", b"and an answer"]).await;
        assert_eq!(slow.given, [[20], [10], [5], [2], [1]]);
        assert_eq!(slow.taken, b"a head and an answer");
    }

    #[tokio::test]
    async fn what_is_not_small_is_sent_from_where_it_lies() {
        let answer = vec![7; SMALL];
        let slow = sent([b"head", &answer]).await;
        assert_eq!(slow.given[0], [4, SMALL]);
        assert_eq!(slow.taken, [b"head", &answer[..]].concat());
    }

    #[test]
    fn what_begins_http2_is_no_head_of_which_a_part_has_come() {
        for (bytes, reads) in [(&b"PRI * HTTP/2.0\r\n"[..], false), (b"POST /v2", true)] {
            let life = Life::new(Arc::new(ConnectionLimits::default()));
            life.received(bytes);
            life.waits();
            assert_eq!(life.reads_a_head(), reads);
            assert_eq!(life.is_multiplexed(), !reads);
        }
    }

    /// A connection of HTTP/2.
    fn multiplexed() -> (Noticed<Slow>, Arc<Life>) {
        let life = Arc::new(Life::new(Arc::new(ConnectionLimits::default())));
        drop(life.begin(http::Version::HTTP_2));
        (Noticed::new(Slow::default(), Arc::clone(&life)), life)
    }

    fn write(noticed: &mut Noticed<Slow>, bytes: &[u8]) -> Poll<usize> {
        let mut context = Context::from_waker(std::task::Waker::noop());
        let written = Pin::new(noticed).poll_write(&mut context, bytes);
        written.map(|written| written.unwrap())
    }

    fn read(noticed: &mut Noticed<Slow>) {
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut buffer = ReadBuf::new(&mut []);
        let read = Pin::new(noticed).poll_read(&mut context, &mut buffer);
        assert!(read.is_pending());
    }

    #[test]
    fn long_frames_are_sent_together_with_what_is_short_and_follows() {
        let (mut noticed, life) = multiplexed();
        let frame: Vec<u8> = (0..16_384_u32).map(|n| n as u8).collect();
        for _ in 0..3 {
            assert_eq!(write(&mut noticed, &frame), Poll::Ready(frame.len()));
        }
        assert!(noticed.stream.given.is_empty() && life.holds_back());
        assert_eq!(write(&mut noticed, b"trailers"), Poll::Ready(8));
        assert_eq!(noticed.stream.given[0], [3 * frame.len() + 8]);
        assert_eq!(
            noticed.stream.taken,
            [&frame.repeat(3)[..], b"trailers"].concat()
        );
        assert!(!life.holds_back());
    }

    #[test]
    fn no_more_is_held_than_is_allowed() {
        let (mut noticed, _life) = multiplexed();
        let frame = vec![7; 16_393];
        for _ in 0..40 {
            assert_eq!(write(&mut noticed, &frame), Poll::Ready(frame.len()));
            assert!(noticed.held.len() <= HELD);
        }
        assert_eq!(noticed.stream.given[0], [3 * frame.len()]);
        assert_eq!(
            noticed.stream.taken.len() + noticed.held.len(),
            40 * frame.len()
        );
        let longer = vec![7; HELD + 1];
        assert!(write(&mut noticed, &longer).is_ready());
        assert!(noticed.held.is_empty());
    }

    #[test]
    fn what_is_held_goes_out_by_the_next_call_once_it_is_released() {
        let (mut noticed, life) = multiplexed();
        let frame = vec![7; 16_393];
        let _ = write(&mut noticed, &frame);
        read(&mut noticed);
        assert!(noticed.stream.given.is_empty());
        life.releases();
        read(&mut noticed);
        assert_eq!(noticed.stream.taken, frame);
        assert!(!life.holds_back() && !life.is_released());
    }

    #[test]
    fn what_the_other_end_does_not_take_is_sent_first_when_it_does() {
        let (mut noticed, life) = multiplexed();
        let frame = vec![7; 16_393];
        let _ = write(&mut noticed, &frame);
        noticed.stream.blocked = true;
        assert_eq!(write(&mut noticed, b"end"), Poll::Ready(3));
        for _ in 0..3 {
            // Till there is no room.
            let _ = write(&mut noticed, &frame);
        }
        assert_eq!(write(&mut noticed, &frame), Poll::Pending);
        noticed.stream.blocked = false;
        read(&mut noticed);
        let taken = &noticed.stream.taken;
        assert_eq!(taken[..frame.len() + 3], [&frame[..], b"end"].concat());
        assert!(!life.holds_back());
    }
}
