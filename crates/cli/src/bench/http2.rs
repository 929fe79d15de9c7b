//! One HTTP/2 connection that makes the same gRPC call again and again.
//!
//! The call's frames are laid out once; a call is a few patched stream ids, a write and a read.
//! A client library costs more than the server that is measured. The windows are those of
//! tonic's own client, so that a server meets what it meets elsewhere.

use std::io;

use super::answer::{Answer, Fault};
use super::buffer::Buffer;
use super::frames::{self, Frame, HEAD};
use super::stream::{Stream, Way};
use crate::credential::Credential;

/// What we allow the server to send ahead on one stream, and on the connection.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 5 << 20;
/// What HTTP/2 allows before anything was agreed.
const INITIAL_WINDOW: u32 = 65_535;
const INITIAL_FRAME: usize = 16_384;
const INITIAL_TABLE: u32 = 4_096;
/// The largest DATA frame we send, whatever the server would take.
const MOST_FRAME: usize = 1 << 20;
/// A control frame larger than this is nothing that we know.
const MOST_CONTROL: usize = INITIAL_FRAME;

/// What is called.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) authority: String,
    pub(super) path: &'static str,
    /// Whether it goes over TLS.
    pub(super) secure: bool,
    pub(super) shown: Option<Credential>,
    /// The protobuf message.
    pub(super) message: Vec<u8>,
}

/// A connection.
pub(super) struct Connection {
    stream: Stream,
    buffer: Buffer,
    call: std::rc::Rc<Call>,
    frames: CallFrames,
    /// What we owe the server: acknowledgements, window updates.
    owed: Vec<u8>,
    server: Settings,
    next: u32,
    /// What we may still send: on the connection, and on the present stream.
    window: i64,
    stream_window: i64,
    /// What we have read and not yet told the server.
    read: u32,
    stream_read: u32,
    /// Bytes of a DATA frame that are still to come.
    skip: usize,
    present: Present,
}

/// The present call.
#[derive(Debug, Default)]
struct Present {
    id: u32,
    data: usize,
    /// The last headers are being read.
    ending: bool,
    over: bool,
    reset: bool,
}

/// What the server allows.
#[derive(Debug, Clone, Copy)]
struct Settings {
    window: u32,
    frame: usize,
    table: u32,
}

impl Connection {
    /// Connects and agrees on settings.
    pub(super) async fn open(way: &Way, call: std::rc::Rc<Call>) -> Result<Self, Fault> {
        let mut connection = Self {
            stream: way.connect().await?,
            buffer: Buffer::new(),
            frames: CallFrames::default(),
            call,
            owed: Vec::new(),
            server: Settings {
                window: INITIAL_WINDOW,
                frame: INITIAL_FRAME,
                table: INITIAL_TABLE,
            },
            next: 1,
            window: INITIAL_WINDOW.into(),
            stream_window: 0,
            read: 0,
            stream_read: 0,
            skip: 0,
            present: Present::default(),
        };
        connection.greet().await?;
        Ok(connection)
    }

    async fn greet(&mut self) -> Result<(), Fault> {
        let owed = &mut self.owed;
        owed.extend_from_slice(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let ours = [
            (frames::SETTING_PUSH, 0),
            (frames::SETTING_WINDOW, STREAM_WINDOW),
        ];
        frames::put_settings(owed, &ours);
        frames::put_window(owed, 0, CONNECTION_WINDOW - INITIAL_WINDOW);
        // The server's settings are the first thing that it sends.
        loop {
            self.receive().await?;
            let first = Frame::parse(self.buffer.unread());
            match first {
                Some(first) if first.kind != frames::SETTINGS => {
                    return Err(Fault::Malformed("the first frame"));
                }
                Some(first) if self.buffer.unread().len() >= HEAD + first.length => break,
                _ => {}
            }
        }
        self.understand()?;
        self.frames = self.frames(false);
        Ok(())
    }

    fn frames(&self, again: bool) -> CallFrames {
        let indexed = again && self.server.table >= INITIAL_TABLE;
        let headers = frames::call_headers(&self.call, indexed);
        // Half of the window: the server must be able to open it again before it is used up.
        let most = (self.server.window as usize / 2).min(self.server.frame);
        CallFrames::new(&headers, &self.call.message, most.clamp(1, MOST_FRAME))
    }

    /// Makes the call and waits for the end of its answer, which is not kept.
    pub(super) async fn ask(&mut self) -> Result<Answer, Fault> {
        self.present = Present {
            id: self.next,
            ..Present::default()
        };
        self.next += 2;
        self.stream_window = self.server.window.into();
        self.stream_read = 0;
        self.frames.set_stream(self.present.id);
        let whole = self.send().await?;
        while !self.present.over {
            self.receive().await?;
            self.understand()?;
        }
        if self.present.id == 1 {
            self.frames = self.frames(true);
        }
        let good = self.present.data >= 5 && !self.present.reset;
        Ok(Answer {
            status: if good { 200 } else { 0 },
            last: !whole || self.present.reset || self.next >= 1 << 30,
            ..Answer::default()
        })
    }

    /// Sends the call as the windows allow; false when the server ended it before that.
    async fn send(&mut self) -> Result<bool, Fault> {
        let (mut frame, mut sent) = (0, 0);
        while frame < self.frames.data.len() {
            let mut end = sent;
            while let Some((size, its_end)) = self.frames.data.get(frame).copied() {
                if size > self.window.min(self.stream_window) {
                    break;
                }
                self.window -= size;
                self.stream_window -= size;
                end = its_end;
                frame += 1;
            }
            if end > sent {
                self.settle().await?;
                self.stream.send(&self.frames.bytes[sent..end]).await?;
                sent = end;
            } else {
                self.receive().await?;
                self.understand()?;
                if self.present.over {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Pays what is owed.
    async fn settle(&mut self) -> io::Result<()> {
        if !self.owed.is_empty() {
            self.stream.send(&self.owed).await?;
            self.owed.clear();
        }
        Ok(())
    }

    async fn receive(&mut self) -> Result<(), Fault> {
        self.settle().await?;
        self.buffer.read(&mut self.stream).await
    }

    /// Takes what has arrived, frame by frame.
    fn understand(&mut self) -> Result<(), Fault> {
        loop {
            let unread = self.buffer.unread();
            if self.skip > 0 {
                let skipped = self.skip.min(unread.len());
                self.skip -= skipped;
                self.buffer.forget(skipped);
                if self.skip > 0 {
                    return Ok(());
                }
                continue;
            }
            let Some(frame) = Frame::parse(unread) else {
                return Ok(());
            };
            if frame.kind == frames::DATA {
                self.buffer.forget(HEAD);
                self.skip = frame.length;
                self.data(frame);
                continue;
            }
            if frame.length > MOST_CONTROL {
                return Err(Fault::Malformed("a frame over 16 KiB"));
            }
            if unread.len() < HEAD + frame.length {
                return Ok(());
            }
            self.control(frame)?;
            self.buffer.forget(HEAD + frame.length);
        }
    }

    fn data(&mut self, frame: Frame) {
        let length = frame.length as u32;
        self.read += length;
        if self.read > CONNECTION_WINDOW / 2 {
            frames::put_window(&mut self.owed, 0, self.read);
            self.read = 0;
        }
        if frame.stream != self.present.id {
            return;
        }
        self.present.data += frame.length;
        self.stream_read += length;
        if frame.has(frames::END_STREAM) {
            self.present.over = true;
        } else if self.stream_read > STREAM_WINDOW / 2 {
            frames::put_window(&mut self.owed, frame.stream, self.stream_read);
            self.stream_read = 0;
        }
    }

    fn control(&mut self, frame: Frame) -> Result<(), Fault> {
        let payload = &self.buffer.unread()[HEAD..HEAD + frame.length];
        let mine = frame.stream == self.present.id;
        match frame.kind {
            frames::HEADERS | frames::CONTINUATION if mine => {
                // A CONTINUATION has no END_STREAM; the HEADERS before it had.
                let ends = frame.kind == frames::HEADERS && frame.has(frames::END_STREAM);
                self.present.ending |= ends;
                self.present.over |= self.present.ending && frame.has(frames::END_HEADERS);
            }
            frames::RST_STREAM if mine => (self.present.over, self.present.reset) = (true, true),
            frames::SETTINGS if !frame.has(frames::ACK) => {
                let settings: Vec<_> = frames::settings(payload).collect();
                self.settings(&settings);
            }
            frames::PING if !frame.has(frames::ACK) => {
                frames::put(&mut self.owed, frames::PING, frames::ACK, 0, payload);
            }
            frames::WINDOW_UPDATE => {
                let by = payload.first_chunk::<4>().copied().unwrap_or_default();
                let by = i64::from(u32::from_be_bytes(by) & 0x7fff_ffff);
                match frame.stream {
                    0 => self.window += by,
                    _ if mine => self.stream_window += by,
                    _ => {}
                }
            }
            frames::GOAWAY => return Err(Fault::GoAway),
            _ => {}
        }
        Ok(())
    }

    fn settings(&mut self, settings: &[(u16, u32)]) {
        for (name, value) in settings.iter().copied() {
            match name {
                frames::SETTING_TABLE => self.server.table = value,
                frames::SETTING_WINDOW => {
                    self.stream_window += i64::from(value) - i64::from(self.server.window);
                    self.server.window = value;
                }
                frames::SETTING_FRAME => self.server.frame = value as usize,
                _ => {}
            }
        }
        frames::put(&mut self.owed, frames::SETTINGS, frames::ACK, 0, &[]);
    }
}

/// A call as bytes: one HEADERS frame and its DATA frames.
#[derive(Debug, Default)]
struct CallFrames {
    bytes: Vec<u8>,
    /// Where the stream ids stand.
    ids: Vec<usize>,
    /// The DATA frames: bytes of payload, and where the frame ends in `bytes`.
    data: Vec<(i64, usize)>,
}

impl CallFrames {
    /// `most`: the largest payload of a DATA frame.
    fn new(headers: &[u8], message: &[u8], most: usize) -> Self {
        let mut call = Self {
            ids: vec![HEAD - 4],
            ..Self::default()
        };
        frames::put(
            &mut call.bytes,
            frames::HEADERS,
            frames::END_HEADERS,
            0,
            headers,
        );
        let mut body = Vec::with_capacity(message.len() + 5);
        body.push(0);
        body.extend_from_slice(&(message.len() as u32).to_be_bytes());
        body.extend_from_slice(message);
        let mut chunks = body.chunks(most).peekable();
        while let Some(chunk) = chunks.next() {
            call.ids.push(call.bytes.len() + HEAD - 4);
            let flags = if chunks.peek().is_none() {
                frames::END_STREAM
            } else {
                0
            };
            frames::put(&mut call.bytes, frames::DATA, flags, 0, chunk);
            call.data.push((chunk.len() as i64, call.bytes.len()));
        }
        call
    }

    fn set_stream(&mut self, id: u32) {
        for at in &self.ids {
            self.bytes[*at..*at + 4].copy_from_slice(&id.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_cut_into_frames_that_all_carry_the_stream() {
        let mut call = CallFrames::new(&[0x83], &[9; 25], 10);
        call.set_stream(0x0102_0304);
        let (mut at, mut payloads, mut last) = (0, Vec::new(), 0);
        while let Some(frame) = Frame::parse(&call.bytes[at..]) {
            assert_eq!(frame.stream, 0x0102_0304);
            payloads.push(frame.length);
            last = frame.flags;
            at += HEAD + frame.length;
        }
        assert_eq!(payloads, [1, 10, 10, 10]);
        assert_eq!(last, frames::END_STREAM);
        assert_eq!(call.data.last(), Some(&(10, call.bytes.len())));
    }
}
