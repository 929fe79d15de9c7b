//! Messages as they arrive.
//!
//! A gRPC message says its length first, and tonic sets that much aside at once. So a message is
//! held back until it is all there: what a caller makes us hold is what it has sent.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use oip_core::execute::Held;
use oip_protocol::{Error, Limit};
use tokio::time::{Instant, Sleep};
use tonic::Status;

use super::respond;
use crate::door::awaited::{self, Awaited, awaited};
use crate::door::pace::{self, Pace};
use crate::door::{Body, Door};
use crate::pieces::Pieces;

/// The compression flag and the length.
pub(super) const PREFIX: usize = 5;

/// The body of a request, message by message.
pub(super) struct Messages {
    body: Body,
    bounds: Bounds,
    /// While a message is waited for; and when it has to be there.
    stalled: Option<Stalled>,
    due: Option<Instant>,
    pace: Pace,
    pieces: Pieces,
    memory: Held,
    arriving: Option<Arriving>,
    counts: Counts,
    /// Whether a message has passed since `memory` last grew.
    passed: bool,
    /// Bytes of the current message that may pass.
    passing: usize,
    ended: bool,
}

/// A wait for more of a message.
struct Stalled {
    sleep: Pin<Box<Sleep>>,
    /// When it ends, unless somebody else needs the memory before.
    patient: Instant,
}

/// Whether a part of a message has come, for whoever waits for the next one.
#[derive(Debug, Clone, Default)]
pub(super) struct Arriving(Arc<AtomicBool>);

impl Arriving {
    pub(super) fn is_so(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// The calls that messages are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// An inference, which is in flight from the arrival of its head.
    Inference,
    /// A stream, between whose messages there may be any time.
    Stream,
    /// Any other call.
    Other,
}

/// Where a call counts while its message is waited for.
enum Counts {
    /// Where streams or inferences do.
    Elsewhere,
    /// Nowhere yet.
    Nowhere(Arc<Door>),
    /// Among those that wait.
    Waiting(Awaited),
}

/// What messages are held to.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// The longest message, in bytes.
    limit: usize,
    /// Longest that nothing may arrive of a message that has begun.
    pause: Duration,
    /// Longest that a message may take to arrive; that of a call that is no stream, with all that
    /// may follow it.
    total: Duration,
    /// Whether there may be any time between messages. The one message of a call that is no
    /// stream is waited for like one that has begun.
    rests: bool,
}

impl Messages {
    pub(super) fn new(body: Body, door: &Arc<Door>, of: Of) -> Self {
        let options = &door.options;
        let mut bounds = Bounds {
            limit: options.body_limit,
            pause: options.body_timeout,
            total: options.body_time,
            rests: of == Of::Stream,
        };
        let counts = match of {
            Of::Inference | Of::Stream => Counts::Elsewhere,
            Of::Other => {
                bounds.total = bounds.total.min(awaited::LONGEST);
                Counts::Nowhere(Arc::clone(door))
            }
        };
        Self::within(body, bounds, counts, door.dataplane.memory().nothing())
    }

    fn within(body: Body, bounds: Bounds, counts: Counts, memory: Held) -> Self {
        Self {
            body,
            bounds,
            stalled: None,
            due: None,
            pace: Pace::default(),
            pieces: Pieces::default(),
            memory,
            arriving: None,
            counts,
            passed: false,
            passing: 0,
            ended: false,
        }
    }

    /// Tells from now on whether a part of a message has come.
    pub(super) fn arriving(&mut self) -> Arriving {
        self.arriving.get_or_insert_default().clone()
    }

    /// What its messages hold of the memory, once they were read.
    pub(super) fn into_memory(self) -> Held {
        self.memory
    }

    /// Lets the next message pass when it is all there.
    fn release(&mut self) -> Result<(), Status> {
        let Some([_, length @ ..]) = self.pieces.first::<PREFIX>() else {
            return Ok(());
        };
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > self.bounds.limit {
            let refusal = Error::too_large(format!(
                "the message takes {length} bytes, but at most {} are read",
                self.bounds.limit
            ));
            return Err(respond::status(&refusal.at_limit(Limit::BodyLimit)));
        }
        if self.pieces.length() >= PREFIX + length {
            self.passing = PREFIX + length;
            self.passed = true;
            if self.bounds.rests {
                self.due = None;
            }
        }
        Ok(())
    }
}

impl Messages {
    /// Waits for more, but not for ever once a message has begun.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Bounds {
            pause,
            total,
            rests,
            ..
        } = self.bounds;
        if self.pieces.length() == 0 && rests {
            // The message before was answered, or nobody would ask for the next.
            if std::mem::take(&mut self.passed) {
                self.memory.release();
                self.pace.begins();
            }
            return Poll::Pending;
        }
        if let Counts::Nowhere(door) = &self.counts {
            self.counts = Counts::Waiting(awaited(door));
        }
        if let Counts::Waiting(awaited) = &mut self.counts
            && let Poll::Ready(error) = awaited.as_mut().poll(context)
        {
            return Poll::Ready(Some(Err(respond::status(&error))));
        }
        let is_large = self.memory.bytes() >= pace::LARGE;
        let wakes = |patient: Instant, now| match is_large {
            true => patient.min(now + pace::LOOK_EVERY),
            false => patient,
        };
        let (due, memory, pace) = (&mut self.due, &self.memory, &mut self.pace);
        if is_large
            && self.stalled.is_none()
            && let Err(error) = pace.keep(memory, Instant::now())
        {
            return Poll::Ready(Some(Err(respond::status(&error))));
        }
        let stalled = self.stalled.get_or_insert_with(|| {
            let now = Instant::now();
            let due = *due.get_or_insert(now + total);
            let patient = due.min(now + pause);
            let sleep = Box::pin(tokio::time::sleep_until(wakes(patient, now)));
            Stalled { sleep, patient }
        });
        let refusal = loop {
            ready!(stalled.sleep.as_mut().poll(context));
            let now = Instant::now();
            if due.is_some_and(|due| due <= now) {
                let error = Error::timed_out("the message took too long to arrive");
                break error.at_limit(Limit::BodyTime);
            }
            if stalled.patient <= now {
                let error = Error::timed_out("the message stopped arriving");
                break error.at_limit(Limit::BodyTimeout);
            }
            if let Err(error) = pace.keep(memory, now) {
                break error;
            }
            stalled.sleep.as_mut().reset(wakes(stalled.patient, now));
        };
        Poll::Ready(Some(Err(respond::status(&refusal))))
    }

    fn tell(&self) {
        if let Some(arriving) = &self.arriving {
            arriving.0.store(self.pieces.length() > 0, Relaxed);
        }
    }

    /// Takes a piece in.
    fn take(&mut self, piece: Bytes) -> Result<(), Status> {
        if std::mem::take(&mut self.passed) && self.bounds.rests {
            // The message before was answered: messages of a stream are, one after the other.
            self.memory.release();
            self.pace.begins();
        }
        let fits = self.memory.grow(piece.len());
        fits.map_err(|error| respond::status(&error))?;
        self.pieces.push(piece);
        self.tell();
        Ok(())
    }
}

impl http_body::Body for Messages {
    type Data = Bytes;
    type Error = Status;

    fn is_end_stream(&self) -> bool {
        self.pieces.length() == 0 && (self.ended || self.body.is_end_stream())
    }

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        loop {
            if this.passing > 0 {
                let Some(piece) = this.pieces.pop(this.passing) else {
                    this.passing = 0;
                    continue;
                };
                this.passing -= piece.len();
                this.tell();
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
                    Ok(piece) => {
                        if let Err(status) = this.take(piece) {
                            return Poll::Ready(Some(Err(status)));
                        }
                    }
                    Err(trailers) if this.pieces.length() == 0 => {
                        return Poll::Ready(Some(Ok(trailers)));
                    }
                    Err(_) => return Poll::Ready(Some(Err(cut_short(&this.pieces)))),
                },
                None => {
                    this.ended = true;
                    if this.pieces.length() > 0 {
                        return Poll::Ready(Some(Err(cut_short(&this.pieces))));
                    }
                }
            }
        }
    }
}

#[cold]
fn cut_short(pieces: &Pieces) -> Status {
    Status::invalid_argument(match pieces.first::<PREFIX>() {
        Some([_, length @ ..]) => format!(
            "the message is cut short: it says that it takes {} bytes, but {} came",
            u32::from_be_bytes(length),
            pieces.length().saturating_sub(PREFIX)
        ),
        None => "the message is cut short before its length".to_owned(),
    })
}

#[cfg(test)]
mod tests;
