//! Floats that JSON has no number for.

use std::str::FromStr;

/// What becomes of a float that is not finite, which JSON has no number for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NonFinite {
    /// `null`, which NumPy reads as NaN. The answer stays valid JSON.
    #[default]
    Null,
    /// `NaN`, `Infinity`, `-Infinity`, as Python's json writes and reads them.
    Token,
    /// The answer is an error that advises to ask for binary data.
    Error,
}

/// A text that is none of `null`, `token`, `error`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{}' is none of null, token, error", crate::error::excerpt(.0))]
pub struct UnknownNonFinite(pub String);

impl FromStr for NonFinite {
    type Err = UnknownNonFinite;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "null" => Ok(Self::Null),
            "token" => Ok(Self::Token),
            "error" => Ok(Self::Error),
            _ => Err(UnknownNonFinite(text.to_owned())),
        }
    }
}

/// The token of a float that is not finite.
pub(super) fn token(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}
