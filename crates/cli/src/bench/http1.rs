//! One HTTP/1.1 connection that sends the same request again and again: no more work a request
//! than a write, a read and a glance at the head.

use std::io;

use super::answer::{Answer, Fault};
use super::buffer::Buffer;
use super::stream::{Stream, Way};

/// How much of a refusal's body is kept to be shown.
const EXCERPT: usize = 2 << 10;

/// A connection.
pub(super) struct Connection {
    stream: Stream,
    buffer: Buffer,
}

impl Connection {
    /// Connects.
    pub(super) async fn open(way: &Way) -> io::Result<Self> {
        Ok(Self {
            stream: way.connect().await?,
            buffer: Buffer::new(),
        })
    }

    /// Sends the request and reads the answer. The body is kept when `keep` is set, or a part
    /// of it when the status is not 200.
    ///
    /// After an error the connection is of no more use.
    pub(super) async fn ask(&mut self, request: &[u8], keep: bool) -> Result<Answer, Fault> {
        self.stream.send(request).await?;
        let head = self.head().await?;
        let mut answer = Answer {
            status: head.status,
            ..Answer::default()
        };
        if keep {
            answer.head = self.buffer.unread()[..head.bytes].to_vec();
        }
        let most = match (keep, head.status) {
            (true, _) => usize::MAX,
            (false, 200) => 0,
            (false, _) => EXCERPT,
        };
        self.buffer.forget(head.bytes);
        self.body(head.body, most, &mut answer.body).await?;
        if head.close {
            answer.last = true;
        }
        Ok(answer)
    }

    async fn head(&mut self) -> Result<Head, Fault> {
        loop {
            match parse_head(self.buffer.unread())? {
                // "100 Continue" and the like stand before the answer.
                Some(head) if head.status < 200 => self.buffer.forget(head.bytes),
                Some(head) => return Ok(head),
                None => self.buffer.read(&mut self.stream).await?,
            }
        }
    }

    async fn body(&mut self, body: Body, most: usize, kept: &mut Vec<u8>) -> Result<(), Fault> {
        let mut rest = match body {
            Body::Length(length) => Rest::Bytes(length),
            Body::Chunked => Rest::Chunks(Chunks::Size),
            Body::UntilClose => Rest::Bytes(u64::MAX),
        };
        loop {
            let bytes = self.buffer.unread();
            let (used, data) = rest.take(bytes)?;
            let room = most.saturating_sub(kept.len()).min(data);
            kept.extend_from_slice(&bytes[..room]);
            self.buffer.forget(used);
            if rest.is_over() {
                return Ok(());
            }
            if used == 0 || self.buffer.unread().is_empty() {
                match self.buffer.read(&mut self.stream).await {
                    Err(Fault::Closed) if body == Body::UntilClose => return Ok(()),
                    read => read?,
                }
            }
        }
    }
}

/// What matters of a head.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    /// Its length, the empty line included.
    bytes: usize,
    status: u16,
    body: Body,
    /// Whether the server closes the connection after this answer.
    close: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Length(u64),
    Chunked,
    UntilClose,
}

/// Reads a head; `None` when its end has not arrived.
fn parse_head(bytes: &[u8]) -> Result<Option<Head>, Fault> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        return Ok(None);
    };
    let mut lines = bytes[..end].split(|byte| *byte == b'\n');
    let (status, mut close) = status_line(lines.next().unwrap_or_default())?;
    let (mut length, mut chunked) = (None, false);
    for line in lines {
        let Some(colon) = memchr::memchr(b':', line) else {
            return Err(Fault::Malformed("a header line without a colon"));
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            length = Some(number(value, 10).ok_or(Fault::Malformed("a content-length"))?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            chunked = value.eq_ignore_ascii_case(b"chunked");
        } else if name.eq_ignore_ascii_case(b"connection") {
            close = value.eq_ignore_ascii_case(b"close");
        }
    }
    let bodiless = status < 200 || status == 204 || status == 304;
    let body = match (bodiless, chunked, length) {
        (true, ..) => Body::Length(0),
        (_, true, _) => Body::Chunked,
        (.., Some(length)) => Body::Length(length),
        _ => Body::UntilClose,
    };
    Ok(Some(Head {
        bytes: end + 4,
        status,
        close: close || body == Body::UntilClose,
        body,
    }))
}

/// The status, and whether the version closes by itself.
fn status_line(line: &[u8]) -> Result<(u16, bool), Fault> {
    let malformed = || Fault::Malformed("a status line");
    let status = match line {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', _, b' ', rest @ ..] => rest.get(..3),
        _ => None,
    };
    let status = status.and_then(|digits| number(digits, 10));
    let status = status.ok_or_else(malformed)?;
    Ok((
        u16::try_from(status).map_err(|_| malformed())?,
        line.get(7) == Some(&b'0'),
    ))
}

fn number(digits: &[u8], radix: u32) -> Option<u64> {
    let digits = std::str::from_utf8(digits).ok()?;
    u64::from_str_radix(digits, radix).ok()
}

/// What is still to come of a body.
#[derive(Debug)]
enum Rest {
    Bytes(u64),
    Chunks(Chunks),
}

/// Where in a chunked body we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunks {
    /// Before a size line.
    Size,
    /// In a chunk: its bytes still to come, the line's end after it included.
    Data(u64),
    /// In the trailer section, before a line of it.
    Trailer,
    Over,
}

impl Rest {
    /// Reads on: how many bytes were understood, and how many of them, from the front, are data.
    fn take(&mut self, bytes: &[u8]) -> Result<(usize, usize), Fault> {
        match self {
            Self::Bytes(left) => {
                let taken = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                if *left != u64::MAX {
                    *left -= taken as u64;
                }
                Ok((taken, taken))
            }
            Self::Chunks(chunks) => chunks.take(bytes),
        }
    }

    fn is_over(&self) -> bool {
        matches!(self, Self::Bytes(0) | Self::Chunks(Chunks::Over))
    }
}

impl Chunks {
    fn take(&mut self, bytes: &[u8]) -> Result<(usize, usize), Fault> {
        if let Self::Data(left) = self {
            let taken = usize::try_from(*left)
                .unwrap_or(usize::MAX)
                .min(bytes.len());
            // The last two bytes are the end of the line.
            let data = usize::try_from(left.saturating_sub(2)).unwrap_or(usize::MAX);
            *left -= taken as u64;
            if *left == 0 {
                *self = Self::Size;
            }
            return Ok((taken, taken.min(data)));
        }
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            return Ok((0, 0));
        };
        let line = bytes[..end].trim_ascii_end();
        *self = match *self {
            Self::Size => match chunk_size(line)? {
                0 => Self::Trailer,
                size => Self::Data(size.saturating_add(2)),
            },
            Self::Trailer if line.is_empty() => Self::Over,
            other => other,
        };
        Ok((end + 1, 0))
    }
}

fn chunk_size(line: &[u8]) -> Result<u64, Fault> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    number(digits.trim_ascii(), 16).ok_or(Fault::Malformed("a chunk's size line"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        parse_head(text.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn a_head_gives_status_length_and_its_own_size() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n";
        let expected = Head {
            bytes: text.len(),
            status: 200,
            body: Body::Length(12),
            close: false,
        };
        assert_eq!(head(text), expected);
    }

    #[test]
    fn a_head_in_part_is_waited_for() {
        let part = parse_head(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n");
        assert!(part.unwrap().is_none());
    }

    #[test]
    fn header_names_are_read_in_any_case() {
        let text = "HTTP/1.1 400 Bad\r\ntransfer-ENCODING: Chunked\r\nCONNECTION: Close\r\n\r\n";
        let head = head(text);
        assert_eq!(
            (head.status, head.body, head.close),
            (400, Body::Chunked, true)
        );
    }

    #[test]
    fn http_1_0_closes_after_its_answer_unless_it_says_otherwise() {
        assert!(head("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\n").close);
        let kept = "HTTP/1.0 200 OK\r\ncontent-length: 1\r\nconnection: keep-alive\r\n\r\n";
        assert!(!head(kept).close);
    }

    #[test]
    fn an_answer_without_length_ends_with_the_connection() {
        let head = head("HTTP/1.1 200 OK\r\n\r\n");
        assert_eq!((head.body, head.close), (Body::UntilClose, true));
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for text in [
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 2x0 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        ] {
            assert!(parse_head(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_chunked_body_is_the_same_wherever_it_is_cut() {
        let text = b"5\r\nhello\r\n6;x=1\r\n world\r\n0\r\nt: 1\r\n\r\n";
        for cut in 1..text.len() {
            let mut rest = Rest::Chunks(Chunks::Size);
            let (mut read, mut body, mut at) = (cut, Vec::new(), 0);
            while !rest.is_over() {
                let (used, data) = rest.take(&text[at..read]).unwrap();
                body.extend_from_slice(&text[at..at + data]);
                at += used;
                if used == 0 {
                    assert!(read < text.len(), "cut at {cut}");
                    read = text.len();
                }
            }
            assert_eq!(body, b"hello world", "cut at {cut}");
            assert_eq!(at, text.len());
        }
    }

    #[test]
    fn a_chunk_size_that_is_no_number_is_refused() {
        assert!(Rest::Chunks(Chunks::Size).take(b"xyz\r\n").is_err());
    }
}
