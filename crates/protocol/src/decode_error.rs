//! Why bytes from outside are no well-formed request or response.

use std::fmt;

use crate::error::excerpt;
use crate::tensor::DataFault;
use crate::{Error, Limit};

/// Why a JSON or binary body, or a protobuf message, is no well-formed request or response.
///
/// The sentence names the tensor, what was declared, what was found and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The body is not JSON, or is cut short.
    #[error("malformed JSON at line {line} column {column} (byte {offset}): {message}")]
    Syntax {
        /// Bytes before the place.
        offset: usize,
        /// Its line, counted from 1.
        line: usize,
        /// Its column in characters, counted from 1.
        column: usize,
        /// What was expected and what was found.
        message: String,
    },
    /// A member is missing, stands twice, or holds something of the wrong kind.
    #[error("{place}: {message}")]
    Member {
        /// The object: `request`, `input 'x'`.
        place: String,
        /// What is wrong with which member.
        message: String,
    },
    /// An element of `data` is not one of its datatype.
    #[error("{place}: element at index {index} is {found}, but {expected}")]
    Element {
        /// The tensor.
        place: String,
        /// The element, counted in row-major order from 0.
        index: usize,
        /// Its text, cut short.
        found: String,
        /// What the datatype takes, with its range.
        expected: String,
    },
    /// `data` is neither flat nor nested as `shape` says.
    #[error("{place}: {message}")]
    Layout {
        /// The tensor.
        place: String,
        /// Where it departs from the shape, and how.
        message: String,
    },
    /// The elements do not fit the datatype and the shape.
    #[error("{place}: {fault}")]
    Data {
        /// The tensor.
        place: String,
        /// What is wrong.
        fault: DataFault,
    },
    /// More of something than the decoder takes in.
    #[error("{place}: more than {limit} {what}")]
    TooMany {
        /// Where.
        place: String,
        /// Of what.
        what: &'static str,
        /// How many are read.
        limit: usize,
    },
    /// The name or the version of a model is longer than any has.
    #[error("there is no such model: {what} is longer than {limit} bytes")]
    TooLong {
        /// Of what.
        what: &'static str,
        /// How many bytes are read.
        limit: usize,
    },
    /// JSON is nested too deep.
    #[error(
        "malformed JSON at line {line} column {column} (byte {offset}): nested deeper than {limit} levels"
    )]
    TooDeep {
        /// Bytes before the place.
        offset: usize,
        /// Its line, counted from 1.
        line: usize,
        /// Its column in characters, counted from 1.
        column: usize,
        /// How many levels are read.
        limit: usize,
    },
    /// The header length, a tensor's size and the body do not add up.
    #[error("binary body: {0}")]
    Binary(String),
    /// The bytes are no protobuf.
    #[error("{place}: malformed protobuf: {message}")]
    Protobuf {
        /// The message, down to the field: `ModelInferRequest.inputs[3].contents`.
        place: String,
        /// What is wrong.
        message: &'static str,
    },
}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Self {
        let refusal = match error {
            // No model has such a name.
            DecodeError::TooLong { .. } => Self::not_found(error.to_string()),
            _ => Self::malformed(error.to_string()),
        };
        match error.limit() {
            Some(limit) => refusal.at_limit(limit),
            None => refusal,
        }
    }
}

impl DecodeError {
    /// The limit that was reached, where it was one.
    fn limit(&self) -> Option<Limit> {
        match self {
            Self::TooDeep { .. } => Some(Limit::JsonDepth),
            Self::TooLong { .. } => Some(Limit::Name),
            Self::TooMany { what, .. } => match *what {
                what if what.starts_with("parameters") => Some(Limit::Parameters),
                what if what.contains("elements") => Some(Limit::Strings),
                _ => Some(Limit::Tensors),
            },
            _ => None,
        }
    }
}

/// What a tensor is to its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Input,
    Output,
    RequestedOutput,
}

/// A tensor as a message names it: `input 'x'`, or `input at index 2` while its name is not read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) role: Role,
    pub(crate) index: usize,
    pub(crate) name: Option<&'a str>,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.role {
            Role::Input => "input",
            Role::Output => "output",
            Role::RequestedOutput => "requested output",
        })?;
        match self.name {
            Some(name) => write!(f, " '{}'", excerpt(name)),
            None => write!(f, " at index {}", self.index),
        }
    }
}

#[cold]
pub(crate) fn member(place: impl fmt::Display, message: impl Into<String>) -> DecodeError {
    DecodeError::Member {
        place: place.to_string(),
        message: message.into(),
    }
}
