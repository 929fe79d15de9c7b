//! What the JSON of a request or a response holds. Of a tensor that may be all but its data, which
//! the binary extension keeps behind the JSON.

use bytes::Bytes;

use crate::decode_error::{Place, Role, member};
use crate::tensor::Written;
use crate::{Datatype, DecodeError, Parameters, RequestedOutput, Shape, Tensor, TensorError};

/// The parameter that says how many bytes of a tensor stand behind the JSON.
pub(crate) const BINARY_DATA_SIZE: &str = "binary_data_size";
/// The parameter of a requested output that asks for it as binary data.
pub(crate) const BINARY_DATA: &str = "binary_data";
/// The parameter of a request that asks for all outputs as binary data.
pub(crate) const BINARY_DATA_OUTPUT: &str = "binary_data_output";

/// A request or a response as its JSON holds it.
#[derive(Debug, Default)]
pub(crate) struct Document {
    pub(crate) model_name: Option<String>,
    pub(crate) model_version: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) parameters: Parameters,
    /// A request's inputs, a response's outputs.
    pub(crate) tensors: Vec<Tensor>,
    /// What a request asks for.
    pub(crate) requested: Vec<RequestedOutput>,
}

/// Makes a tensor when its members are read, with data from wherever that is.
pub(crate) type Whole<'a> = dyn FnMut(TensorParts) -> Result<Tensor, DecodeError> + 'a;

/// A tensor whose members are all read but for data that is behind the JSON.
#[derive(Debug)]
pub(crate) struct TensorParts {
    pub(super) role: Role,
    pub(super) name: String,
    pub(super) datatype: Datatype,
    pub(super) shape: Shape,
    pub(super) parameters: Parameters,
    pub(crate) data: Option<Bytes>,
    /// How the data was written.
    pub(super) written: Written,
    /// How many bytes behind the JSON are its data.
    pub(crate) binary_size: Option<u64>,
}

impl TensorParts {
    pub(crate) fn place(&self) -> Place<'_> {
        Place {
            role: self.role,
            index: 0,
            name: Some(&self.name),
        }
    }

    /// The tensor with this buffer.
    pub(crate) fn with_data(self, data: Bytes) -> Result<Tensor, DecodeError> {
        let Self {
            role,
            name,
            datatype,
            shape,
            parameters,
            written,
            ..
        } = self;
        match Tensor::new(name, datatype, shape, data) {
            Ok(tensor) => Ok(tensor.with_parameters(parameters).written_as(written)),
            Err(TensorError::Data { tensor, fault }) => {
                let place = Place {
                    role,
                    index: 0,
                    name: Some(&tensor),
                };
                Err(DecodeError::Data {
                    place: place.to_string(),
                    fault,
                })
            }
            Err(other) => Err(member("tensor", other.to_string())),
        }
    }
}
