//! The names of members that requests and responses have.

use super::scanner::Fault;
use super::strings;

/// A member of a document or of a tensor, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Member {
    Name,
    Datatype,
    Shape,
    Data,
    Parameters,
    Id,
    Inputs,
    Outputs,
    ModelName,
    ModelVersion,
    /// One that is passed over.
    Other,
}

impl Member {
    fn named(name: &str) -> Self {
        match name {
            "name" => Self::Name,
            "datatype" => Self::Datatype,
            "shape" => Self::Shape,
            "data" => Self::Data,
            "parameters" => Self::Parameters,
            "id" => Self::Id,
            "inputs" => Self::Inputs,
            "outputs" => Self::Outputs,
            "model_name" => Self::ModelName,
            "model_version" => Self::ModelVersion,
            _ => Self::Other,
        }
    }

    /// Reads the name of a member whose opening quote has been read; returns which it is and what
    /// follows the closing quote.
    pub(super) fn read(rest: &[u8]) -> Result<(Self, &[u8]), Fault<'_>> {
        if let Some(plain) = Self::read_plain(rest) {
            return Ok(plain);
        }
        let (name, after) = strings::read(rest)?;
        Ok((Self::named(&name), after))
    }

    /// The names that nearly every body holds, written without escapes: each is compared with as
    /// many bytes at once.
    #[inline]
    fn read_plain(rest: &[u8]) -> Option<(Self, &[u8])> {
        let (member, after) = match rest.first()? {
            b'n' => (Self::Name, rest.strip_prefix(b"name\"")),
            b's' => (Self::Shape, rest.strip_prefix(b"shape\"")),
            b'd' => match rest.strip_prefix(b"data\"") {
                Some(after) => (Self::Data, Some(after)),
                None => (Self::Datatype, rest.strip_prefix(b"datatype\"")),
            },
            b'i' => match rest.strip_prefix(b"inputs\"") {
                Some(after) => (Self::Inputs, Some(after)),
                None => (Self::Id, rest.strip_prefix(b"id\"")),
            },
            b'o' => (Self::Outputs, rest.strip_prefix(b"outputs\"")),
            b'p' => (Self::Parameters, rest.strip_prefix(b"parameters\"")),
            _ => return None,
        };
        Some((member, after?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_any_other_string() {
        for text in [
            r#"name":1"#,
            r#"names":1"#,
            r#"nam":1"#,
            r#"n\u0061me":1"#,
            r#"data":1"#,
            r#"datatype":1"#,
            r#"data\"type":1"#,
            r#"id":1"#,
            r#"inputs":1"#,
            r#"outputs":1"#,
            r#"parameters":1"#,
            r#"shape":1"#,
            r#"shape"#,
            r#"model_name":1"#,
            r#"model_version":1"#,
            r#"café":1"#,
            r#"":1"#,
            "",
        ] {
            let at = |fault: Fault<'static>| (fault.at, fault.message);
            let name = Member::read(text.as_bytes()).map_err(at);
            let plain = strings::read(text.as_bytes()).map_err(at);
            let plain = plain.map(|(name, after)| (Member::named(&name), after));
            assert_eq!(name, plain, "{text}");
        }
        assert_eq!(Member::read(br#"n\u0061me":1"#).unwrap().0, Member::Name);
    }
}
