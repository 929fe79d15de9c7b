//! A tensor: name, datatype, shape and one contiguous buffer that is shared, never copied.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use ndarray::{ArrayBase, ArrayD, ArrayViewD, CowArray, Dimension, IxDyn, OwnedRepr};

use crate::elements::{self, ByteStrings, Element};
use crate::error::excerpt;
use crate::{Datatype, Error, Parameters, Shape};

/// A named tensor whose buffer is known to fit its datatype and shape.
///
/// The buffer is little-endian and row-major without padding, the form the binary extension and
/// gRPC's raw contents carry: `BOOL` is one byte 0 or 1, `BYTES` is each element's length as four
/// little-endian bytes and then its bytes. Cloning a tensor shares the buffer.
///
/// ```
/// use oip_protocol::{Datatype, Tensor};
///
/// let tensor = Tensor::from_vec("input", [2, 2], vec![1.0_f32, 2.0, 3.0, 4.0])?;
/// assert_eq!(tensor.datatype(), Datatype::Fp32);
/// assert_eq!(tensor.as_slice::<f32>(), Some(&[1.0, 2.0, 3.0, 4.0][..]));
/// assert_eq!(tensor.to_array::<f32>()?[[1, 0]], 3.0);
/// # Ok::<(), oip_protocol::TensorError>(())
/// ```
#[derive(Clone)]
pub struct Tensor {
    name: String,
    datatype: Datatype,
    shape: Shape,
    parameters: Parameters,
    data: Bytes,
    written: Written,
}

/// How a tensor's data was written by whoever sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Written {
    /// As a buffer, or as the elements of a message.
    #[default]
    Raw,
    /// As one list in JSON.
    List,
    /// As lists in lists in JSON.
    NestedLists,
}

impl PartialEq for Tensor {
    /// How the data was written makes no difference.
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.datatype == other.datatype
            && self.shape == other.shape
            && self.parameters == other.parameters
            && self.data == other.data
    }
}

impl Tensor {
    /// A tensor over a buffer in the protocol's raw form. The buffer is shared.
    ///
    /// # Errors
    /// When the buffer is not exactly what datatype and shape say.
    pub fn new(
        name: impl Into<String>,
        datatype: Datatype,
        shape: impl Into<Shape>,
        data: impl Into<Bytes>,
    ) -> Result<Self, TensorError> {
        let (name, shape, data) = (name.into(), shape.into(), data.into());
        if let Err(fault) = elements::check(datatype, &shape, &data) {
            return Err(TensorError::Data {
                tensor: name,
                fault,
            });
        }
        Ok(Self {
            name,
            datatype,
            shape,
            parameters: Parameters::new(),
            data,
            written: Written::Raw,
        })
    }

    /// A tensor over a buffer that a decoder has checked against datatype and shape.
    pub(crate) fn from_checked(
        name: String,
        datatype: Datatype,
        shape: Shape,
        data: Bytes,
    ) -> Self {
        Self {
            name,
            datatype,
            shape,
            parameters: Parameters::new(),
            data,
            written: Written::Raw,
        }
    }

    /// The name, taken out.
    pub(crate) fn into_name(self) -> String {
        self.name
    }

    /// A tensor of these elements, in row-major order. The vector becomes the buffer.
    ///
    /// # Errors
    /// When the number of elements is not what the shape says.
    pub fn from_vec<T: Element>(
        name: impl Into<String>,
        shape: impl Into<Shape>,
        elements: Vec<T>,
    ) -> Result<Self, TensorError> {
        Self::new(name, T::DATATYPE, shape, T::into_bytes(elements))
    }

    /// A tensor of an array's elements. An array in standard layout becomes the buffer; any other
    /// is brought into row-major order first.
    ///
    /// # Errors
    /// Never, as an array's length is that of its shape; the type is shared with the others.
    pub fn from_array<T: Element, D: Dimension>(
        name: impl Into<String>,
        array: ArrayBase<OwnedRepr<T>, D>,
    ) -> Result<Self, TensorError> {
        let shape = Shape::from(array.shape());
        let elements = if array.is_standard_layout() {
            let (elements, offset) = array.into_raw_vec_and_offset();
            match offset.unwrap_or(0) {
                0 => elements,
                offset => elements.into_iter().skip(offset).collect(),
            }
        } else {
            array.iter().copied().collect()
        };
        // A sliced array owns more elements than its shape shows.
        let count = shape.element_count().unwrap_or(elements.len());
        let mut elements = elements;
        elements.truncate(count);
        Self::from_vec(name, shape, elements)
    }

    /// A `BYTES` tensor of these byte strings.
    ///
    /// # Errors
    /// When their number is not what the shape says, or one is 4 GiB or longer.
    pub fn from_strings<S: AsRef<[u8]>>(
        name: impl Into<String>,
        shape: impl Into<Shape>,
        strings: impl IntoIterator<Item = S>,
    ) -> Result<Self, TensorError> {
        let name = name.into();
        match elements::frame_strings(strings) {
            Ok(data) => Self::new(name, Datatype::Bytes, shape, data),
            Err(fault) => Err(TensorError::Data {
                tensor: name,
                fault,
            }),
        }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type of the elements.
    #[must_use]
    pub fn datatype(&self) -> Datatype {
        self.datatype
    }

    /// The dimensions.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The number of elements.
    #[must_use]
    pub fn element_count(&self) -> usize {
        // Checked when the tensor was made.
        self.shape.element_count().unwrap_or(0)
    }

    /// The buffer in the protocol's raw form; clone it to share it.
    #[must_use]
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// How the sender wrote the data. The buffer is the same either way; it matters to those who
    /// hand lists on.
    #[must_use]
    pub fn written(&self) -> Written {
        self.written
    }

    /// The tensor as if its data had been written like this.
    #[must_use]
    pub fn written_as(mut self, written: Written) -> Self {
        self.written = written;
        self
    }

    /// The tensor's own parameters.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The tensor's own parameters, to be changed.
    pub fn parameters_mut(&mut self) -> &mut Parameters {
        &mut self.parameters
    }

    /// The same tensor with these parameters.
    #[must_use]
    pub fn with_parameters(mut self, parameters: Parameters) -> Self {
        self.parameters = parameters;
        self
    }

    /// The same tensor under another name.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The same buffer in another shape.
    ///
    /// # Errors
    /// When that shape holds another number of elements.
    pub fn with_shape(self, shape: impl Into<Shape>) -> Result<Self, TensorError> {
        Ok(Self::new(self.name, self.datatype, shape, self.data)?.with_parameters(self.parameters))
    }

    /// The elements, borrowed; `None` when they are of another datatype or the buffer does not
    /// lie aligned for `T` (a slice of a request's body may not; then [`Tensor::to_slice`]
    /// copies).
    #[must_use]
    pub fn as_slice<T: Element>(&self) -> Option<&[T]> {
        (self.datatype == T::DATATYPE)
            .then(|| T::borrow(&self.data))
            .flatten()
    }

    /// The elements, borrowed where the buffer lies aligned and copied where not.
    ///
    /// # Errors
    /// When they are of another datatype.
    pub fn to_slice<T: Element>(&self) -> Result<Cow<'_, [T]>, TensorError> {
        self.expect_datatype(T::DATATYPE)?;
        Ok(match T::borrow(&self.data) {
            Some(elements) => Cow::Borrowed(elements),
            None => Cow::Owned(T::copy(&self.data)),
        })
    }

    /// The elements as an array view; `None` where [`Tensor::as_slice`] is.
    #[must_use]
    pub fn as_array<T: Element>(&self) -> Option<ArrayViewD<'_, T>> {
        ArrayViewD::from_shape(self.array_shape(), self.as_slice()?).ok()
    }

    /// The elements as an array, a view where the buffer lies aligned and a copy where not.
    ///
    /// # Errors
    /// When they are of another datatype.
    pub fn to_array<T: Element>(&self) -> Result<CowArray<'_, T, IxDyn>, TensorError> {
        let array = match self.to_slice::<T>()? {
            Cow::Borrowed(elements) => {
                ArrayViewD::from_shape(self.array_shape(), elements).map(CowArray::from)
            }
            Cow::Owned(elements) => {
                ArrayD::from_shape_vec(self.array_shape(), elements).map(CowArray::from)
            }
        };
        array.map_err(|_| TensorError::Data {
            tensor: self.name.clone(),
            fault: DataFault::TooManyElements {
                shape: self.shape.clone(),
            },
        })
    }

    /// The elements of a `BYTES` tensor.
    ///
    /// # Errors
    /// When it is of another datatype.
    pub fn byte_strings(&self) -> Result<ByteStrings<'_>, TensorError> {
        self.expect_datatype(Datatype::Bytes)?;
        Ok(ByteStrings::new(&self.data))
    }

    /// The elements of a `BYTES` tensor as text.
    ///
    /// # Errors
    /// When it is of another datatype, or an element is not UTF-8.
    pub fn strings(&self) -> Result<Vec<&str>, TensorError> {
        self.byte_strings()?
            .enumerate()
            .map(|(index, bytes)| {
                std::str::from_utf8(bytes).map_err(|_| TensorError::NotText {
                    tensor: self.name.clone(),
                    index,
                })
            })
            .collect()
    }

    fn array_shape(&self) -> Vec<usize> {
        // Every dimension fits, as the element count did, but for those beside a zero.
        self.shape
            .dims()
            .iter()
            .map(|dim| usize::try_from(*dim).unwrap_or(usize::MAX))
            .collect()
    }

    fn expect_datatype(&self, asked: Datatype) -> Result<(), TensorError> {
        if self.datatype == asked {
            return Ok(());
        }
        Err(TensorError::OtherDatatype {
            tensor: self.name.clone(),
            asked,
            found: self.datatype,
        })
    }
}

impl fmt::Debug for Tensor {
    /// Name, datatype and shape; never the elements, which belong in no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Tensor('{}' {} {})",
            excerpt(&self.name),
            self.datatype,
            self.shape
        )
    }
}

/// Why a buffer is not what its datatype and shape say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DataFault {
    /// The product of the dimensions does not fit the address space.
    #[error("shape {shape} has more elements than can be addressed")]
    TooManyElements {
        /// The shape.
        shape: Shape,
    },
    /// The buffer has another size.
    #[error(
        "{datatype} of shape {shape} takes {expected} bytes ({count} elements), but got {found} bytes"
    )]
    WrongSize {
        /// The datatype.
        datatype: Datatype,
        /// The shape.
        shape: Shape,
        /// How many elements the shape has.
        count: usize,
        /// How many bytes those take.
        expected: u128,
        /// How many bytes there are.
        found: usize,
    },
    /// There is another number of elements.
    #[error("shape {shape} takes {expected} elements, but got {found}")]
    WrongCount {
        /// The shape.
        shape: Shape,
        /// How many elements the shape has.
        expected: usize,
        /// How many elements there are.
        found: usize,
    },
    /// A `BOOL` byte is neither 0 nor 1.
    #[error("element at index {index} is {found}, but a BOOL is 0 or 1")]
    NotBool {
        /// Which element.
        index: usize,
        /// Its byte.
        found: u8,
    },
    /// A `BYTES` element says that it is longer than what is left of the buffer.
    #[error(
        "BYTES element at index {index} (offset {offset}) needs {needed} bytes, but {left} are left"
    )]
    Truncated {
        /// Which element.
        index: usize,
        /// Where it begins in the buffer.
        offset: usize,
        /// How many bytes it needs, its length field of four included.
        needed: u64,
        /// How many there are.
        left: usize,
    },
    /// A byte string is too long for its four-byte length.
    #[error("BYTES element at index {index} is {length} bytes long; at most 4294967295 fit")]
    StringTooLong {
        /// Which element.
        index: usize,
        /// Its length.
        length: usize,
    },
}

/// Why a tensor could not be made or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TensorError {
    /// The buffer is not what datatype and shape say.
    #[error("tensor '{}': {fault}", excerpt(tensor))]
    Data {
        /// The tensor's name.
        tensor: String,
        /// What is wrong.
        fault: DataFault,
    },
    /// The elements were asked for as another type than they are.
    #[error("tensor '{}': expected {asked}, but it is {found}", excerpt(tensor))]
    OtherDatatype {
        /// The tensor's name.
        tensor: String,
        /// What it was asked to be.
        asked: Datatype,
        /// What it is.
        found: Datatype,
    },
    /// A `BYTES` element was asked for as text and is not UTF-8.
    #[error(
        "tensor '{}': BYTES element at index {index} is not UTF-8 text",
        excerpt(tensor)
    )]
    NotText {
        /// The tensor's name.
        tensor: String,
        /// Which element.
        index: usize,
    },
}

impl From<TensorError> for Error {
    /// For handlers: reading an input as what it is not is the caller's fault (400), building an
    /// output that does not hold together is the handler's (500).
    fn from(error: TensorError) -> Self {
        match error {
            TensorError::Data { .. } => Self::handler_failed(error),
            TensorError::OtherDatatype { .. } | TensorError::NotText { .. } => {
                Self::does_not_fit(error.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests;
