//! The bytes of a connection, whose coming and going is noticed.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::life::Life;

/// What is written in several pieces and is no longer than this, in bytes, is put together: the
/// system takes one piece in less time than it takes for a list of two. A head and a small answer
/// are within it; what a tensor makes worth mentioning is not.
const SMALL: usize = 1 << 10;

/// A stream of bytes that tells its connection's life what becomes of it.
pub(super) struct Noticed<S> {
    stream: S,
    life: Arc<Life>,
    /// Where small pieces are put together.
    together: Vec<u8>,
}

impl<S> Noticed<S> {
    pub(super) fn new(stream: S, life: Arc<Life>) -> Self {
        Self {
            stream,
            life,
            together: Vec::new(),
        }
    }

    fn noticed<T>(&self, written: Poll<T>) -> Poll<T> {
        self.life.written(written.is_pending());
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Noticed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_ready() {
            self.life.received();
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
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
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
        given: Vec<Vec<usize>>,
        taken: Vec<u8>,
    }

    impl AsyncWrite for Slow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
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
}
