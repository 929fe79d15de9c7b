//! What a connection brings back.

/// One answer.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// The HTTP status; 200 is the one good answer. A gRPC call that failed has 0.
    pub(super) status: u16,
    /// The head, where it was to be kept.
    pub(super) head: Vec<u8>,
    /// The body, or what was kept of it.
    pub(super) body: Vec<u8>,
    /// Whether the connection is of no more use.
    pub(super) last: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("the server closed the connection before its answer was complete")]
    Closed,
    #[error("cannot make sense of {0} in the answer")]
    Malformed(&'static str),
    #[error("the server ended the HTTP/2 connection")]
    GoAway,
}

impl Answer {
    /// What is wrong with an answer that is not good, for people.
    pub(super) fn complaint(&self) -> String {
        match self.status {
            0 => "a gRPC call failed".to_owned(),
            status => format!("{status}: {}", String::from_utf8_lossy(&self.body).trim()),
        }
    }
}
