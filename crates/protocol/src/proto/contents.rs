//! Typed contents: one field a family of datatypes, widened on the wire.

use bytes::Bytes;

use super::generated::InferTensorContents;
use crate::decode_error::{Place, member};
use crate::elements::frame_string;
use crate::{DataFault, Datatype, DecodeError, Element, Shape, Tensor};

/// The field of `InferTensorContents` that a datatype's elements stand in; `None` where there is
/// none and the tensor travels raw.
const fn field_of(datatype: Datatype) -> Option<&'static str> {
    match datatype {
        Datatype::Bool => Some("bool_contents"),
        Datatype::Int8 | Datatype::Int16 | Datatype::Int32 => Some("int_contents"),
        Datatype::Int64 => Some("int64_contents"),
        Datatype::Uint8 | Datatype::Uint16 | Datatype::Uint32 => Some("uint_contents"),
        Datatype::Uint64 => Some("uint64_contents"),
        Datatype::Fp32 => Some("fp32_contents"),
        Datatype::Fp64 => Some("fp64_contents"),
        Datatype::Bytes => Some("bytes_contents"),
        Datatype::Fp16 | Datatype::Bf16 => None,
    }
}

/// Whether a datatype has a typed form.
pub(super) const fn has_typed_form(datatype: Datatype) -> bool {
    field_of(datatype).is_some()
}

/// The fields and how many elements each holds.
fn lengths(contents: &InferTensorContents) -> [(&'static str, usize); 8] {
    [
        ("bool_contents", contents.bool_contents.len()),
        ("int_contents", contents.int_contents.len()),
        ("int64_contents", contents.int64_contents.len()),
        ("uint_contents", contents.uint_contents.len()),
        ("uint64_contents", contents.uint64_contents.len()),
        ("fp32_contents", contents.fp32_contents.len()),
        ("fp64_contents", contents.fp64_contents.len()),
        ("bytes_contents", contents.bytes_contents.len()),
    ]
}

/// Whether there is any element at all.
pub(super) fn is_filled(contents: Option<&InferTensorContents>) -> bool {
    contents.is_some_and(|contents| lengths(contents).iter().any(|(_, length)| *length > 0))
}

/// Typed contents as a tensor's buffer. Vectors whose elements have the buffer's own width become
/// the buffer.
///
/// # Errors
/// Elements in another datatype's field, another number of them than the shape says, or out of
/// the datatype's range.
pub(super) fn into_buffer(
    place: Place<'_>,
    datatype: Datatype,
    shape: &Shape,
    contents: InferTensorContents,
) -> Result<Bytes, DecodeError> {
    check_fields(place, datatype, shape, &contents)?;
    let ranged = |least: i64, most: i64| Narrow {
        place,
        datatype,
        least,
        most,
    };
    match datatype {
        Datatype::Bool => Ok(bool::into_bytes(contents.bool_contents)),
        Datatype::Int8 => {
            ranged(i8::MIN.into(), i8::MAX.into()).each::<_, i8>(&contents.int_contents)
        }
        Datatype::Int16 => {
            ranged(i16::MIN.into(), i16::MAX.into()).each::<_, i16>(&contents.int_contents)
        }
        Datatype::Int32 => Ok(i32::into_bytes(contents.int_contents)),
        Datatype::Int64 => Ok(i64::into_bytes(contents.int64_contents)),
        Datatype::Uint8 => ranged(0, u8::MAX.into()).each::<_, u8>(&contents.uint_contents),
        Datatype::Uint16 => ranged(0, u16::MAX.into()).each::<_, u16>(&contents.uint_contents),
        Datatype::Uint32 => Ok(u32::into_bytes(contents.uint_contents)),
        Datatype::Uint64 => Ok(u64::into_bytes(contents.uint64_contents)),
        Datatype::Fp32 => Ok(f32::into_bytes(contents.fp32_contents)),
        Datatype::Fp64 => Ok(f64::into_bytes(contents.fp64_contents)),
        Datatype::Bytes => framed(&contents.bytes_contents).map_err(|fault| data(place, fault)),
        // Checked above: there is no element.
        Datatype::Fp16 | Datatype::Bf16 => Ok(Bytes::new()),
    }
}

/// The right field, and as many elements as the shape says.
fn check_fields(
    place: Place<'_>,
    datatype: Datatype,
    shape: &Shape,
    contents: &InferTensorContents,
) -> Result<(), DecodeError> {
    let expected = field_of(datatype);
    let mut found = 0;
    for (name, length) in lengths(contents) {
        if Some(name) == expected {
            found = length;
        } else if length > 0 {
            return Err(member(place, wrong_field(datatype, name)));
        }
    }
    let count = shape
        .element_count()
        .ok_or_else(|| data(place, too_many(shape)))?;
    match (found, expected) {
        (found, _) if found == count => Ok(()),
        (_, None) => Err(member(place, raw_only(datatype))),
        (0, Some(expected)) => Err(member(
            place,
            format!(
                "{datatype} of shape {shape} takes {count} elements, but there are none, \
                 neither in {expected} nor raw"
            ),
        )),
        (found, Some(_)) => Err(data(
            place,
            DataFault::WrongCount {
                shape: shape.clone(),
                expected: count,
                found,
            },
        )),
    }
}

fn wrong_field(datatype: Datatype, found: &str) -> String {
    match field_of(datatype) {
        Some(expected) => {
            format!("the elements of {datatype} stand in {expected}, but there are some in {found}")
        }
        None => format!("{} (there are some in {found})", raw_only(datatype)),
    }
}

fn raw_only(datatype: Datatype) -> String {
    format!("{datatype} has no typed contents; send it raw")
}

fn too_many(shape: &Shape) -> DataFault {
    DataFault::TooManyElements {
        shape: shape.clone(),
    }
}

fn data(place: Place<'_>, fault: DataFault) -> DecodeError {
    DecodeError::Data {
        place: place.to_string(),
        fault,
    }
}

/// Brings widened integers back to their datatype.
struct Narrow<'a> {
    place: Place<'a>,
    datatype: Datatype,
    least: i64,
    most: i64,
}

impl Narrow<'_> {
    fn each<W, N>(&self, wide: &[W]) -> Result<Bytes, DecodeError>
    where
        W: Copy + Into<i64>,
        N: Element + TryFrom<W>,
    {
        let mut narrow = Vec::with_capacity(wide.len());
        for (index, found) in wide.iter().enumerate() {
            let Ok(element) = N::try_from(*found) else {
                return Err(DecodeError::Element {
                    place: self.place.to_string(),
                    index,
                    found: (*found).into().to_string(),
                    expected: format!(
                        "{} {} lies between {} and {}",
                        if self.least < 0 { "an" } else { "a" },
                        self.datatype,
                        self.least,
                        self.most
                    ),
                });
            };
            narrow.push(element);
        }
        Ok(N::into_bytes(narrow))
    }
}

fn framed(strings: &[Bytes]) -> Result<Bytes, DataFault> {
    let size = strings.iter().map(|string| string.len() + 4).sum();
    let mut buffer = Vec::with_capacity(size);
    for (index, string) in strings.iter().enumerate() {
        frame_string(&mut buffer, index, string)?;
    }
    Ok(buffer.into())
}

/// A tensor's elements as typed contents; `None` where its datatype has no typed form. `BYTES`
/// elements are slices of the tensor's buffer.
pub(super) fn from_tensor(tensor: &Tensor) -> Option<InferTensorContents> {
    let mut contents = InferTensorContents::default();
    match tensor.datatype() {
        Datatype::Bool => contents.bool_contents = elements::<bool, _>(tensor),
        Datatype::Int8 => contents.int_contents = elements::<i8, _>(tensor),
        Datatype::Int16 => contents.int_contents = elements::<i16, _>(tensor),
        Datatype::Int32 => contents.int_contents = elements::<i32, _>(tensor),
        Datatype::Int64 => contents.int64_contents = elements::<i64, _>(tensor),
        Datatype::Uint8 => contents.uint_contents = elements::<u8, _>(tensor),
        Datatype::Uint16 => contents.uint_contents = elements::<u16, _>(tensor),
        Datatype::Uint32 => contents.uint_contents = elements::<u32, _>(tensor),
        Datatype::Uint64 => contents.uint64_contents = elements::<u64, _>(tensor),
        Datatype::Fp32 => contents.fp32_contents = elements::<f32, _>(tensor),
        Datatype::Fp64 => contents.fp64_contents = elements::<f64, _>(tensor),
        Datatype::Bytes => {
            let strings = tensor.byte_strings().ok()?;
            let slice = |string| tensor.data().slice_ref(string);
            contents.bytes_contents = strings.map(slice).collect();
        }
        Datatype::Fp16 | Datatype::Bf16 => return None,
    }
    Some(contents)
}

/// The elements, widened to the type of their field.
fn elements<N: Element, W: From<N>>(tensor: &Tensor) -> Vec<W> {
    match tensor.to_slice::<N>() {
        Ok(elements) => elements.iter().copied().map(W::from).collect(),
        // The datatype is N's own.
        Err(_) => Vec::new(),
    }
}
