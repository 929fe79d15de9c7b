//! Errors, and the one table of outcomes that both doors read.

use std::borrow::Cow;
use std::fmt;

use crate::Limit;

/// The result of this crate's and the pipeline's fallible calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What became of a request that was not answered. Each row knows both protocols' codes.
///
/// The codes are plain numbers: this crate knows neither an HTTP nor a gRPC library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The bytes are no well-formed request.
    Malformed,
    /// The request is well formed but does not fit what the model declares.
    DoesNotFit,
    /// It is not known who is asking, or a credential does not hold.
    Unauthenticated,
    /// The caller is known and may not do this.
    Forbidden,
    /// No such route, model or version.
    NotFound,
    /// The route is there, the method is not.
    MethodNotAllowed,
    /// A call of a protocol extension that does not work on this server.
    NoSuchExtension,
    /// The body, or what it decompresses to, is over the limit.
    TooLarge,
    /// A content type or content encoding that the server does not read.
    UnsupportedMedia,
    /// A queue is full or a rate limit reached.
    TooManyRequests,
    /// The handler failed, or its answer is not one.
    HandlerFailed,
    /// The handler does not implement this call.
    NotImplemented,
    /// Not ready, draining, or a service that is needed does not answer.
    Unavailable,
    /// The deadline ran out.
    TimedOut,
}

impl ErrorKind {
    /// Every kind, in the order of the table in `docs/errors.md`.
    pub const ALL: [Self; 14] = [
        Self::Malformed,
        Self::DoesNotFit,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NoSuchExtension,
        Self::TooLarge,
        Self::UnsupportedMedia,
        Self::TooManyRequests,
        Self::HandlerFailed,
        Self::NotImplemented,
        Self::Unavailable,
        Self::TimedOut,
    ];

    /// The HTTP status and the gRPC code (number and name) of this kind.
    const fn codes(self) -> (u16, i32, &'static str) {
        match self {
            Self::Malformed | Self::DoesNotFit => (400, 3, "INVALID_ARGUMENT"),
            Self::Unauthenticated => (401, 16, "UNAUTHENTICATED"),
            Self::Forbidden => (403, 7, "PERMISSION_DENIED"),
            Self::NotFound => (404, 5, "NOT_FOUND"),
            Self::MethodNotAllowed => (405, 12, "UNIMPLEMENTED"),
            Self::NoSuchExtension => (404, 12, "UNIMPLEMENTED"),
            Self::TooLarge => (413, 8, "RESOURCE_EXHAUSTED"),
            Self::UnsupportedMedia => (415, 3, "INVALID_ARGUMENT"),
            Self::TooManyRequests => (429, 8, "RESOURCE_EXHAUSTED"),
            Self::HandlerFailed => (500, 13, "INTERNAL"),
            Self::NotImplemented => (501, 12, "UNIMPLEMENTED"),
            Self::Unavailable => (503, 14, "UNAVAILABLE"),
            Self::TimedOut => (504, 4, "DEADLINE_EXCEEDED"),
        }
    }

    /// The HTTP status code.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        self.codes().0
    }

    /// The number of the gRPC status code.
    #[must_use]
    pub const fn grpc_code(self) -> i32 {
        self.codes().1
    }

    /// The name of the gRPC status code, such as `"INVALID_ARGUMENT"`.
    #[must_use]
    pub const fn grpc_name(self) -> &'static str {
        self.codes().2
    }
}

/// A request that was not answered: what became of it, a sentence for the caller, and, where the
/// fault is on this side, a cause for the log that the caller never sees.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    cause: Option<String>,
    retry_after: Option<u32>,
    limit: Option<Limit>,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident;)*) => {
        $($(#[$doc])* pub fn $name(message: impl Into<Cow<'static, str>>) -> Self {
            Self::new(ErrorKind::$kind, message)
        })*
    };
}

impl Error {
    /// An error of this kind with a sentence for the caller.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            cause: None,
            retry_after: None,
            limit: None,
        }))
    }

    constructors! {
        /// The bytes are no well-formed request: 400, `INVALID_ARGUMENT`.
        malformed => Malformed;
        /// The request does not fit the model: 400, `INVALID_ARGUMENT`. For handlers: "your input is wrong".
        does_not_fit => DoesNotFit;
        /// Who is asking is not known: 401, `UNAUTHENTICATED`.
        unauthenticated => Unauthenticated;
        /// The caller may not do this: 403, `PERMISSION_DENIED`.
        forbidden => Forbidden;
        /// No such model or version: 404, `NOT_FOUND`.
        not_found => NotFound;
        /// Over a size limit: 413, `RESOURCE_EXHAUSTED`.
        too_large => TooLarge;
        /// A media type or encoding that is not read: 415.
        unsupported_media => UnsupportedMedia;
        /// A queue is full: 429, `RESOURCE_EXHAUSTED`.
        too_many_requests => TooManyRequests;
        /// Not implemented by the handler: 501, `UNIMPLEMENTED`.
        not_implemented => NotImplemented;
        /// Not ready: 503, `UNAVAILABLE`.
        unavailable => Unavailable;
        /// The deadline ran out: 504, `DEADLINE_EXCEEDED`.
        timed_out => TimedOut;
    }

    /// The handler failed: 500, `INTERNAL`. The caller reads `the model failed to answer`; `cause`
    /// goes to the log.
    pub fn handler_failed(cause: impl fmt::Display) -> Self {
        Self::new(ErrorKind::HandlerFailed, "the model failed to answer").caused_by(cause)
    }

    /// Adds a cause for the log.
    #[must_use]
    pub fn caused_by(mut self, cause: impl fmt::Display) -> Self {
        self.0.cause = Some(cause.to_string());
        self
    }

    /// Tells the caller when to come back, in seconds (`Retry-After`).
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after = Some(seconds);
        self
    }

    /// Says which limit was reached.
    #[must_use]
    pub fn at_limit(mut self, limit: Limit) -> Self {
        self.0.limit = Some(limit);
        self
    }

    /// The limit that was reached, where it was one.
    #[must_use]
    pub fn limit(&self) -> Option<Limit> {
        self.0.limit
    }

    /// What became of the request.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The sentence for the caller.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The cause for the log, where there is one.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// Seconds after which the caller may come back, where that is known.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u32> {
        self.0.retry_after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.kind, self.0.message)?;
        match &self.0.cause {
            Some(cause) => write!(f, " (cause: {cause})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// Longest excerpt of a caller's text that a message repeats, in characters.
const EXCERPT: usize = 80;

/// A caller's text as a message may repeat it: short, and without control characters that could
/// forge a line in a log.
#[must_use]
pub fn excerpt(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(EXCERPT)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(EXCERPT).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_pointer_wide() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }

    #[test]
    fn the_cause_is_not_in_what_the_caller_reads() {
        let error = Error::handler_failed("/etc/secret not found");
        assert_eq!(error.to_string(), "the model failed to answer");
        assert_eq!(error.cause(), Some("/etc/secret not found"));
    }

    #[test]
    fn an_excerpt_is_short_and_on_one_line() {
        assert_eq!(excerpt("bob\nFAKE"), "bob\u{fffd}FAKE");
        assert_eq!(excerpt(&"x".repeat(1000)).chars().count(), 81);
    }
}
