//! Messages as they arrive.
//!
//! A gRPC message says its length first, and tonic sets that much aside at once. So a message is
//! held back until it is all there: what a caller makes us hold is what it has sent.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::{Buf, Bytes, BytesMut};
use http_body::Frame;
use tokio::time::Sleep;
use tonic::Status;

/// The compression flag and the length.
pub(super) const PREFIX: usize = 5;
/// Frames below this are put together, as each that is held costs more than its bytes.
const SMALL: usize = 2 << 10;

/// The body of a request, message by message.
pub(super) struct Messages {
    body: Body,
    limit: usize,
    /// Longest that nothing may arrive of a message that has begun.
    patience: Duration,
    /// Runs while a message that has begun is waited for; between messages a stream may rest.
    stalled: Option<Pin<Box<Sleep>>>,
    held: Held,
    /// Bytes of the current message that may pass.
    passing: usize,
    ended: bool,
}

impl Messages {
    pub(super) fn new(body: Body, limit: usize, patience: Duration) -> Self {
        Self {
            body,
            limit,
            patience,
            stalled: None,
            held: Held::default(),
            passing: 0,
            ended: false,
        }
    }

    /// Lets the next message pass when it is all there.
    fn release(&mut self) -> Result<(), Status> {
        let Some([_, length @ ..]) = self.held.prefix() else {
            return Ok(());
        };
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > self.limit {
            return Err(Status::resource_exhausted(format!(
                "the message takes {length} bytes, but at most {} are read",
                self.limit
            )));
        }
        if self.held.length >= PREFIX + length {
            self.passing = PREFIX + length;
        }
        Ok(())
    }
}

impl Messages {
    /// Waits for more, but not for ever once a message has begun.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.held.length == 0 {
            return Poll::Pending;
        }
        let patience = self.patience;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Some(Err(Status::deadline_exceeded(
            "the message stopped arriving",
        ))))
    }
}

/// The bytes that wait.
#[derive(Default)]
struct Held {
    pieces: VecDeque<Bytes>,
    /// The end, of small frames.
    tail: BytesMut,
    length: usize,
}

impl Held {
    fn push(&mut self, piece: Bytes) {
        self.length += piece.len();
        if piece.len() < SMALL && !(self.pieces.is_empty() && self.tail.is_empty()) {
            self.tail.extend_from_slice(&piece);
            return;
        }
        self.close();
        if !piece.is_empty() {
            self.pieces.push_back(piece);
        }
    }

    fn close(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
    }

    /// The first bytes of a message, when they are there.
    fn prefix(&self) -> Option<[u8; PREFIX]> {
        let mut bytes = self.pieces.iter().flatten().chain(&self.tail).copied();
        let mut prefix = [0; PREFIX];
        for place in &mut prefix {
            *place = bytes.next()?;
        }
        Some(prefix)
    }

    /// The next piece, of at most this many bytes.
    fn pop(&mut self, most: usize) -> Option<Bytes> {
        if self.pieces.is_empty() {
            self.close();
        }
        let first = self.pieces.front_mut()?;
        let piece = match first.len() <= most {
            true => self.pieces.pop_front()?,
            false => first.copy_to_bytes(most),
        };
        self.length -= piece.len();
        Some(piece)
    }
}

impl http_body::Body for Messages {
    type Data = Bytes;
    type Error = Status;

    fn is_end_stream(&self) -> bool {
        self.held.length == 0 && (self.ended || self.body.is_end_stream())
    }

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        loop {
            if this.passing > 0 {
                let Some(piece) = this.held.pop(this.passing) else {
                    this.passing = 0;
                    continue;
                };
                this.passing -= piece.len();
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if let Err(status) = this.release() {
                return Poll::Ready(Some(Err(status)));
            }
            if this.passing > 0 {
                continue;
            }
            if this.ended {
                return Poll::Ready(None);
            }
            let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) else {
                return this.wait(context);
            };
            this.stalled = None;
            match frame {
                Some(Err(error)) => {
                    return Poll::Ready(Some(Err(Status::from_error(error.into()))));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(piece) => this.held.push(piece),
                    Err(trailers) if this.held.length == 0 => {
                        return Poll::Ready(Some(Ok(trailers)));
                    }
                    Err(_) => return Poll::Ready(Some(Err(cut_short(&this.held)))),
                },
                None => {
                    this.ended = true;
                    if this.held.length > 0 {
                        return Poll::Ready(Some(Err(cut_short(&this.held))));
                    }
                }
            }
        }
    }
}

#[cold]
fn cut_short(held: &Held) -> Status {
    Status::invalid_argument(match held.prefix() {
        Some([_, length @ ..]) => format!(
            "the message is cut short: it says that it takes {} bytes, but {} came",
            u32::from_be_bytes(length),
            held.length.saturating_sub(PREFIX)
        ),
        None => "the message is cut short before its length".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};
    use http_body_util::BodyExt;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_message_that_stops_arriving_is_timed_out_and_a_stream_may_rest() {
        let begun = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"\0\0\0"))]);
        let begun = Body::from_stream(begun.chain(stream::pending()));
        let stalled = Messages::new(begun, 10, PATIENCE).frame().await.unwrap();
        assert_eq!(stalled.unwrap_err().code(), tonic::Code::DeadlineExceeded);
        let rests = stream::pending::<Result<Bytes, std::io::Error>>();
        let mut resting = Messages::new(Body::from_stream(rests), 10, PATIENCE);
        let hour = Duration::from_secs(3600);
        assert!(tokio::time::timeout(hour, resting.frame()).await.is_err());
    }

    fn messages(pieces: &[&[u8]]) -> Messages {
        let pieces: Vec<Result<Bytes, std::io::Error>> = pieces
            .iter()
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        Messages::new(Body::from_stream(stream::iter(pieces)), 10, PATIENCE)
    }

    async fn read(pieces: &[&[u8]]) -> Result<Vec<u8>, Status> {
        Ok(messages(pieces).collect().await?.to_bytes().to_vec())
    }

    #[tokio::test]
    async fn messages_pass_whatever_their_frames_are() {
        let wire = b"\0\0\0\0\x03abc\0\0\0\0\0\0\0\0\0\x01d";
        assert_eq!(read(&[wire]).await.unwrap(), wire);
        let bytes: Vec<&[u8]> = wire.chunks(1).collect();
        assert_eq!(read(&bytes).await.unwrap(), wire);
        let threes: Vec<&[u8]> = wire.chunks(3).collect();
        assert_eq!(read(&threes).await.unwrap(), wire);
    }

    #[tokio::test]
    async fn a_message_over_the_limit_is_refused_by_its_length_alone() {
        let status = read(&[b"\0\0\0\0\x0b"]).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        assert_eq!(
            status.message(),
            "the message takes 11 bytes, but at most 10 are read"
        );
    }

    #[tokio::test]
    async fn a_message_that_is_cut_short_is_refused_with_both_lengths() {
        let status = read(&[b"\0\0\0\0\x03ab"]).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert!(status.message().ends_with("takes 3 bytes, but 2 came"));
        assert!(read(&[b"\0\0"]).await.is_err());
    }

    #[tokio::test]
    async fn nothing_passes_before_the_message_is_there() {
        let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
        let frames = stream::unfold(receiver, |mut receiver| async {
            let piece = receiver.recv().await?;
            Some((Ok::<_, std::io::Error>(piece), receiver))
        });
        let mut messages = Messages::new(Body::from_stream(frames), 10, PATIENCE);
        sender
            .send(Bytes::from_static(b"\0\0\0\0\x0a"))
            .await
            .unwrap();
        let mut frame = poll_once(&mut messages);
        assert!(frame.is_none(), "the length passed alone");
        sender
            .send(Bytes::from_static(b"0123456789"))
            .await
            .unwrap();
        frame = poll_once(&mut messages);
        assert!(frame.is_some());
    }

    fn poll_once(messages: &mut Messages) -> Option<Frame<Bytes>> {
        use futures_util::FutureExt;
        messages
            .frame()
            .now_or_never()
            .map(|frame| frame.unwrap().unwrap())
    }
}
