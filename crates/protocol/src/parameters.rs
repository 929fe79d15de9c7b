//! Parameters: named scalars on requests, tensors, requested outputs and responses.
//!
//! Source: `inference_rest.md`, "Inference Request JSON Object" (`$parameters`), and
//! `InferParameter` of the gRPC definition.

use std::fmt;

/// The value of a parameter. The protocol allows scalars only.
#[derive(Debug, Clone, PartialEq)]
pub enum ParameterValue {
    /// A boolean.
    Bool(bool),
    /// An integer that fits a signed 64-bit one.
    Int64(i64),
    /// An integer that fits an unsigned 64-bit one only.
    Uint64(u64),
    /// Any other number.
    Double(f64),
    /// A string.
    String(String),
}

impl ParameterValue {
    /// The boolean, if it is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The integer, if it is one and fits; a double with an integral value does not count.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Int64(value) => u64::try_from(*value).ok(),
            Self::Uint64(value) => Some(*value),
            _ => None,
        }
    }

    /// The string, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(value) => Some(value),
            _ => None,
        }
    }
}

impl From<bool> for ParameterValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for ParameterValue {
    fn from(value: i64) -> Self {
        Self::Int64(value)
    }
}

impl From<u64> for ParameterValue {
    /// The signed form where it fits, so that a number has one representation.
    fn from(value: u64) -> Self {
        i64::try_from(value).map_or(Self::Uint64(value), Self::Int64)
    }
}

impl From<f64> for ParameterValue {
    fn from(value: f64) -> Self {
        Self::Double(value)
    }
}

impl From<&str> for ParameterValue {
    fn from(value: &str) -> Self {
        Self::String(value.to_owned())
    }
}

impl From<String> for ParameterValue {
    fn from(value: String) -> Self {
        Self::String(value)
    }
}

impl fmt::Display for ParameterValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Int64(value) => value.fmt(f),
            Self::Uint64(value) => value.fmt(f),
            // With its point: where a whole number is asked for, `5` would be none to find fault with.
            Self::Double(value) => write!(f, "{value:?}"),
            Self::String(value) => write!(f, "'{}'", crate::error::excerpt(value)),
        }
    }
}

/// Named parameters, in the order they were given; a name stands once.
///
/// Requests carry a handful, so this is a list and not a map: no hashing, nothing on the heap
/// while it is empty.
#[derive(Debug, Clone, Default)]
pub struct Parameters(Vec<(String, ParameterValue)>);

impl Parameters {
    /// No parameters.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// These pairs, or the first name that stands twice among them.
    pub(crate) fn from_distinct(pairs: Vec<(String, ParameterValue)>) -> Result<Self, String> {
        // Sorted, so that many parameters are not each compared with each.
        let mut names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        let twice = names.windows(2).find_map(|pair| match pair {
            [one, other] if one == other => Some((*one).to_owned()),
            _ => None,
        });
        match twice {
            Some(name) => Err(name),
            None => Ok(Self(pairs)),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&ParameterValue> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)
    }

    /// Sets a name, replacing (in its place) what it held; returns the value it held.
    pub fn insert(
        &mut self,
        name: impl Into<String>,
        value: impl Into<ParameterValue>,
    ) -> Option<ParameterValue> {
        let (name, value) = (name.into(), value.into());
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, held)) => Some(std::mem::replace(held, value)),
            None => {
                self.0.push((name, value));
                None
            }
        }
    }

    /// Takes a name out.
    pub fn remove(&mut self, name: &str) -> Option<ParameterValue> {
        let index = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.remove(index).1)
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ParameterValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

impl PartialEq for Parameters {
    /// Equal when they hold the same names and values, in any order.
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self
                .iter()
                .all(|(name, value)| other.get(name) == Some(value))
    }
}

impl<N: Into<String>, V: Into<ParameterValue>> FromIterator<(N, V)> for Parameters {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut parameters = Self::new();
        for (name, value) in pairs {
            parameters.insert(name, value);
        }
        parameters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_set_twice_keeps_its_place_and_the_later_value() {
        let parameters: Parameters = [("a", 1_i64), ("b", 2), ("a", 3)].into_iter().collect();
        let values: Vec<_> = parameters.iter().collect();
        assert_eq!(
            values,
            [
                ("a", &ParameterValue::Int64(3)),
                ("b", &ParameterValue::Int64(2))
            ]
        );
    }

    #[test]
    fn an_unsigned_value_that_fits_is_held_signed() {
        assert_eq!(ParameterValue::from(7_u64), ParameterValue::Int64(7));
        assert_eq!(
            ParameterValue::from(u64::MAX),
            ParameterValue::Uint64(u64::MAX)
        );
    }
}
