//! The parameters of a load and of an unload.
//!
//! Source: Triton's `extension_model_repository.md`. Its uploads through a load are refused: models
//! come from the repository alone.

use oip_protocol::error::excerpt;
use oip_protocol::{Error, Result};

/// Whether a load may have a parameter of this name: none may.
///
/// # Errors
/// Which it is, as [`ErrorKind::Malformed`](oip_protocol::ErrorKind::Malformed).
pub fn check_load_parameter(name: &str) -> Result<()> {
    if name == "config" {
        return Err(Error::malformed(
            "models are not configured through a load; the parameter 'config' is not taken",
        ));
    }
    if name.starts_with("file:") {
        return Err(Error::malformed(
            "models are not uploaded through a load; the parameters 'file:…' are not taken",
        ));
    }
    Err(unknown(name))
}

/// Whether an unload may have a parameter of this name: `unload_dependents` may, and has nothing
/// to do, as nothing depends on a model here.
///
/// # Errors
/// As [`check_load_parameter`].
pub fn check_unload_parameter(name: &str) -> Result<()> {
    match name {
        "unload_dependents" => Ok(()),
        other => Err(unknown(other)),
    }
}

fn unknown(name: &str) -> Error {
    Error::malformed(format!(
        "the parameter '{}' is not known here",
        excerpt(name)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_are_refused_by_name_and_dependents_are_let_pass() {
        let refused = |name| check_load_parameter(name).unwrap_err().message().to_owned();
        assert!(refused("config").contains("'config' is not taken"));
        assert!(refused("file:1/model.onnx").contains("not uploaded"));
        assert_eq!(
            refused("surprise"),
            "the parameter 'surprise' is not known here"
        );
        assert!(check_unload_parameter("unload_dependents").is_ok());
        assert!(check_unload_parameter("surprise").is_err());
    }
}
