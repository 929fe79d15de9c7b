//! Does it fit the model: requests and answers against what the model declares.
//!
//! That a tensor is well formed in itself (its buffer fits datatype and shape) is known from its
//! type; here it is held to names, datatypes and shapes of the metadata.

mod control;
mod request;
mod response;

use oip_protocol::error::excerpt;
use oip_protocol::{Tensor, TensorMetadata};

pub use control::{check_load_parameter, check_unload_parameter};
pub use request::check_request;
pub use response::check_response;

/// What is wrong with a request or an answer. `side` is `input` or `output`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// A tensor that the model does not declare.
    #[error(
        "{side} '{}' is not one of the model; it declares {declared}",
        excerpt(tensor)
    )]
    Unknown {
        /// `input` or `output`.
        side: &'static str,
        /// The name found.
        tensor: String,
        /// The names declared.
        declared: String,
    },
    /// A tensor that stands twice.
    #[error("{side} '{}' is given twice", excerpt(tensor))]
    Duplicate {
        /// `input` or `output`.
        side: &'static str,
        /// The name.
        tensor: String,
    },
    /// A tensor that the model declares and that is not there.
    #[error("{side} '{}' ({declared}) is missing", excerpt(tensor))]
    Missing {
        /// `input` or `output`.
        side: &'static str,
        /// The name.
        tensor: String,
        /// Its datatype and shape.
        declared: String,
    },
    /// A tensor of another datatype than declared.
    #[error(
        "{side} '{}': the model declares {declared}, but got {found}",
        excerpt(tensor)
    )]
    Datatype {
        /// `input` or `output`.
        side: &'static str,
        /// The name.
        tensor: String,
        /// The datatype declared.
        declared: oip_protocol::Datatype,
        /// The datatype found.
        found: oip_protocol::Datatype,
    },
    /// A tensor of another shape than declared.
    #[error(
        "{side} '{}': the model declares shape {declared} ({}), but got {found}",
        excerpt(tensor),
        explain(declared)
    )]
    Shape {
        /// `input` or `output`.
        side: &'static str,
        /// The name.
        tensor: String,
        /// The shape declared.
        declared: oip_protocol::DeclaredShape,
        /// The shape found.
        found: oip_protocol::Shape,
    },
    /// A raw binary body for a model that cannot take one.
    #[error("a raw binary request (Inference-Header-Content-Length: 0) {0}")]
    Raw(String),
    /// An output's parameter that cannot be fulfilled.
    #[error("output '{}': {reason}", excerpt(tensor))]
    Output {
        /// The output.
        tensor: String,
        /// Why not.
        reason: String,
    },
}

fn explain(declared: &oip_protocol::DeclaredShape) -> String {
    let rank = declared.rank();
    let dimensions = if rank == 1 { "dimension" } else { "dimensions" };
    let open = declared.dims().iter().any(|dim| *dim < 0);
    let any = if open { ", -1 is any size" } else { "" };
    format!("{rank} {dimensions}{any}")
}

/// Datatype and shape of one tensor against its declaration.
fn check_tensor(
    side: &'static str,
    declared: &TensorMetadata,
    found: &Tensor,
) -> Result<(), Mismatch> {
    if declared.datatype != found.datatype() {
        return Err(Mismatch::Datatype {
            side,
            tensor: found.name().to_owned(),
            declared: declared.datatype,
            found: found.datatype(),
        });
    }
    if declared.shape.matches(found.shape()) {
        return Ok(());
    }
    Err(Mismatch::Shape {
        side,
        tensor: found.name().to_owned(),
        declared: declared.shape.clone(),
        found: found.shape().clone(),
    })
}

/// The first name that stands twice.
fn first_duplicate<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    const FEW: usize = 16;
    let count = names.clone().count();
    if count <= FEW {
        let mut rest = names.clone();
        return names.clone().find(|name| {
            rest.next();
            rest.clone().any(|other| other == *name)
        });
    }
    let mut seen = std::collections::HashSet::with_capacity(count);
    names.into_iter().find(|name| !seen.insert(*name))
}

/// The names that are declared, as a message lists them.
fn list_names(declared: &[TensorMetadata]) -> String {
    const SHOWN: usize = 8;
    let mut names: Vec<_> = declared
        .iter()
        .take(SHOWN)
        .map(|tensor| format!("'{}'", excerpt(&tensor.name)))
        .collect();
    if declared.len() > SHOWN {
        names.push(format!("… {} in all", declared.len()));
    }
    if names.is_empty() {
        names.push("none".to_owned());
    }
    names.join(", ")
}

#[cfg(test)]
mod tests;
