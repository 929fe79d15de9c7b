//! A socket that is written to before the system says that there is room.
//!
//! It says so when a good part of what it holds has been taken: a third of a few megabytes with
//! TCP, three quarters with a Unix socket. A client that reads slowly takes long for that, and would
//! look like one that takes nothing. What is written without being asked is accepted as far as
//! there is any room, so by trying it is seen whether something was taken.

use std::io::{self, IoSlice, Write as _};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::life::Life;

/// A socket that does not block.
pub(super) struct Insistent<S> {
    socket: S,
    life: Arc<Life>,
    /// Whether to try until nothing fits any more: what was taken may be more than one piece.
    tries: bool,
}

impl<S> Insistent<S> {
    pub(super) fn new(socket: S, life: Arc<Life>) -> Self {
        Self {
            socket,
            life,
            tries: false,
        }
    }
}

impl<S: AsFd> Insistent<S> {
    /// Writes what fits, where it is long since there was said to be room.
    fn try_all_the_same(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.tries = self.tries || self.life.is_blocked_for_long();
        if !self.tries || bytes.is_empty() {
            return Poll::Pending;
        }
        let written = write(&self.socket, bytes);
        self.tries = matches!(written, Ok(Some(_)));
        match written {
            Ok(Some(written)) => Poll::Ready(Ok(written)),
            Ok(None) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

/// Writes to a socket whatever is known of its room; `None` where there is none.
fn write(socket: &impl AsFd, bytes: &[u8]) -> io::Result<Option<usize>> {
    // The runtime asks the system only when that has said that there is room. A second descriptor
    // of the same socket is the way around it; what has none left just waits on.
    let Ok(socket) = socket.as_fd().try_clone_to_owned() else {
        return Ok(None);
    };
    // By the standard library any socket of a stream is written to alike.
    match std::net::TcpStream::from(socket).write(bytes) {
        Ok(written) => Ok(Some(written)),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
            _ => Err(error),
        },
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Insistent<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + AsFd + Unpin> AsyncWrite for Insistent<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.socket).poll_write(context, bytes) {
            Poll::Pending => self.try_all_the_same(bytes),
            written => written,
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.socket).poll_write_vectored(context, slices) {
            Poll::Pending => {
                let first = slices.iter().find(|slice| !slice.is_empty());
                self.try_all_the_same(first.map_or(&[], |slice| slice))
            }
            written => written,
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
