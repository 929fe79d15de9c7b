//! Why a request or a response has no such wire form.

use crate::error::excerpt;
use crate::{Datatype, Error, ErrorKind};

/// Why a request or a response cannot be written in the form that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A `BYTES` element is not UTF-8, so JSON cannot carry it.
    #[error(
        "tensor '{}': BYTES element at index {index} is not UTF-8 text and cannot be written as \
         JSON; ask for binary data or for the content type base64",
        excerpt(tensor)
    )]
    NotText {
        /// The tensor's name.
        tensor: String,
        /// The element.
        index: usize,
    },
    /// A float is not finite, JSON has no such number, and the caller asked for an error then.
    #[error(
        "tensor '{}': {datatype} element at index {index} is {found}, which JSON cannot carry; \
         ask for binary data",
        excerpt(tensor)
    )]
    NonFinite {
        /// The tensor's name.
        tensor: String,
        /// Its datatype.
        datatype: Datatype,
        /// The element.
        index: usize,
        /// `NaN`, `Infinity` or `-Infinity`.
        found: &'static str,
    },
    /// A request that has no inputs, or a raw body where it cannot stand.
    #[error("{0}")]
    Request(&'static str),
}

impl From<EncodeError> for Error {
    /// What was asked for does not fit the answer (400); only a non-finite float is the model's
    /// doing (500), and there too the caller reads what to do.
    fn from(error: EncodeError) -> Self {
        let kind = match error {
            EncodeError::NonFinite { .. } => ErrorKind::HandlerFailed,
            EncodeError::NotText { .. } | EncodeError::Request(_) => ErrorKind::DoesNotFit,
        };
        Self::new(kind, error.to_string())
    }
}
