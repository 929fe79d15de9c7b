//! The elements of a tensor's buffer: typed views, builders, and the check that a buffer is what
//! its datatype and shape say.

use bytemuck::{AnyBitPattern, NoUninit};
use bytes::Bytes;
use half::{bf16, f16};

use crate::tensor::DataFault;
use crate::{Datatype, Shape};

#[cfg(target_endian = "big")]
compile_error!("tensor buffers are little-endian and are borrowed as they are");

/// A Rust type that stands for one datatype: `bool`, `u8` … `u64`, `i8` … `i64`,
/// [`half::f16`], [`half::bf16`], `f32`, `f64`.
///
/// `BYTES` has no such type, as its elements vary in length: see
/// [`Tensor::byte_strings`](crate::Tensor::byte_strings).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the element of any datatype",
    note = "elements are bool, u8 to u64, i8 to i64, half::f16, half::bf16, f32 and f64"
)]
pub trait Element: sealed::Sealed + Copy + Send + Sync + 'static {
    /// The datatype.
    const DATATYPE: Datatype;

    /// The elements of a buffer, borrowed; `None` when it does not lie aligned.
    fn borrow(data: &[u8]) -> Option<&[Self]>;

    /// The elements of a buffer, copied.
    fn copy(data: &[u8]) -> Vec<Self>;

    /// The vector as a buffer, not copied.
    fn into_bytes(elements: Vec<Self>) -> Bytes;
}

mod sealed {
    pub trait Sealed {}
}

/// A vector that lends its memory to a [`Bytes`].
struct Owner<T>(Vec<T>);

impl<T: NoUninit> AsRef<[u8]> for Owner<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

fn copy_plain<T: AnyBitPattern + NoUninit>(data: &[u8]) -> Vec<T> {
    let mut elements = vec![T::zeroed(); data.len() / size_of::<T>()];
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut elements);
    let whole = bytes.len();
    if let Some(data) = data.get(..whole) {
        bytes.copy_from_slice(data);
    }
    elements
}

macro_rules! plain_elements {
    ($($element:ty => $datatype:ident),* $(,)?) => {
        $(
            impl sealed::Sealed for $element {}

            impl Element for $element {
                const DATATYPE: Datatype = Datatype::$datatype;

                fn borrow(data: &[u8]) -> Option<&[Self]> {
                    bytemuck::try_cast_slice(data).ok()
                }

                fn copy(data: &[u8]) -> Vec<Self> {
                    copy_plain(data)
                }

                fn into_bytes(elements: Vec<Self>) -> Bytes {
                    Bytes::from_owner(Owner(elements))
                }
            }
        )*
    };
}

plain_elements! {
    u8 => Uint8, u16 => Uint16, u32 => Uint32, u64 => Uint64,
    i8 => Int8, i16 => Int16, i32 => Int32, i64 => Int64,
    f16 => Fp16, bf16 => Bf16, f32 => Fp32, f64 => Fp64,
}

impl sealed::Sealed for bool {}

impl Element for bool {
    const DATATYPE: Datatype = Datatype::Bool;

    fn borrow(data: &[u8]) -> Option<&[Self]> {
        bytemuck::checked::try_cast_slice(data).ok()
    }

    fn copy(data: &[u8]) -> Vec<Self> {
        data.iter().map(|byte| *byte != 0).collect()
    }

    fn into_bytes(elements: Vec<Self>) -> Bytes {
        Bytes::from_owner(Owner(elements))
    }
}

/// Checks that a buffer is exactly what datatype and shape say.
///
/// # Errors
/// The first fault: sizes before elements.
pub fn check(datatype: Datatype, shape: &Shape, data: &[u8]) -> Result<(), DataFault> {
    let Some(count) = shape.element_count() else {
        return Err(DataFault::TooManyElements {
            shape: shape.clone(),
        });
    };
    match datatype.size() {
        None => check_strings(shape, count, data),
        Some(size) => {
            let expected = count as u128 * size as u128;
            if expected != data.len() as u128 {
                return Err(DataFault::WrongSize {
                    datatype,
                    shape: shape.clone(),
                    count,
                    expected,
                    found: data.len(),
                });
            }
            match datatype {
                Datatype::Bool => check_bools(data),
                _ => Ok(()),
            }
        }
    }
}

fn check_bools(data: &[u8]) -> Result<(), DataFault> {
    match data.iter().enumerate().find(|(_, byte)| **byte > 1) {
        None => Ok(()),
        Some((index, found)) => Err(DataFault::NotBool {
            index,
            found: *found,
        }),
    }
}

fn check_strings(shape: &Shape, count: usize, data: &[u8]) -> Result<(), DataFault> {
    let mut found = 0;
    let mut left = data;
    while !left.is_empty() {
        let Some((_, rest)) = split_string(left) else {
            return Err(DataFault::Truncated {
                index: found,
                offset: data.len() - left.len(),
                needed: left
                    .first_chunk()
                    .map_or(0, |length| u64::from(u32::from_le_bytes(*length)))
                    + 4,
                left: left.len(),
            });
        };
        left = rest;
        found += 1;
    }
    if found == count {
        return Ok(());
    }
    Err(DataFault::WrongCount {
        shape: shape.clone(),
        expected: count,
        found,
    })
}

/// The first byte string of a buffer and the rest after it.
fn split_string(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

/// The elements of a `BYTES` buffer, in order.
#[derive(Debug, Clone)]
pub struct ByteStrings<'a>(&'a [u8]);

impl<'a> ByteStrings<'a> {
    /// Over a buffer whose framing has been checked; an unchecked one ends where it is wrong.
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }
}

impl<'a> Iterator for ByteStrings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (string, rest) = split_string(self.0)?;
        self.0 = rest;
        Some(string)
    }
}

/// Byte strings as the buffer of a `BYTES` tensor: each with its length before it.
pub(crate) fn frame_strings<S: AsRef<[u8]>>(
    strings: impl IntoIterator<Item = S>,
) -> Result<Bytes, DataFault> {
    let mut data = Vec::new();
    for (index, string) in strings.into_iter().enumerate() {
        frame_string(&mut data, index, string.as_ref())?;
    }
    Ok(data.into())
}

/// Appends one byte string with its length before it.
pub(crate) fn frame_string(
    data: &mut Vec<u8>,
    index: usize,
    string: &[u8],
) -> Result<(), DataFault> {
    let length = u32::try_from(string.len()).map_err(|_| DataFault::StringTooLong {
        index,
        length: string.len(),
    })?;
    data.extend_from_slice(&length.to_le_bytes());
    data.extend_from_slice(string);
    Ok(())
}
