//! The `data` of a tensor, straight into its buffer: flat, or nested exactly as its shape.

use bytes::Bytes;
use half::{bf16, f16};

use super::numbers::{Number, Refusal, not_a_number};
use super::scanner::{Scanner, describe, skip_space};
use super::strings;
use crate::decode_error::Place;
use crate::elements::Element;
use crate::tensor::DataFault;
use crate::{Datatype, DecodeError, Shape};

/// Reads the value that comes next as the buffer of this datatype and shape.
///
/// `null_is_nan` is for answers, in which a float that is not finite stands as `null`.
pub(super) fn read(
    scanner: &mut Scanner<'_>,
    place: Place<'_>,
    datatype: Datatype,
    shape: &Shape,
    null_is_nan: bool,
) -> Result<Bytes, DecodeError> {
    let Some(count) = shape.element_count() else {
        return Err(DecodeError::Data {
            place: place.to_string(),
            fault: DataFault::TooManyElements {
                shape: shape.clone(),
            },
        });
    };
    let data = Data {
        scanner,
        place,
        shape,
        count,
        null_is_nan,
    };
    match datatype {
        Datatype::Bool => data.read(Plain::<bool>(Vec::new())),
        Datatype::Uint8 => data.read(Plain::<u8>(Vec::new())),
        Datatype::Uint16 => data.read(Plain::<u16>(Vec::new())),
        Datatype::Uint32 => data.read(Plain::<u32>(Vec::new())),
        Datatype::Uint64 => data.read(Plain::<u64>(Vec::new())),
        Datatype::Int8 => data.read(Plain::<i8>(Vec::new())),
        Datatype::Int16 => data.read(Plain::<i16>(Vec::new())),
        Datatype::Int32 => data.read(Plain::<i32>(Vec::new())),
        Datatype::Int64 => data.read(Plain::<i64>(Vec::new())),
        Datatype::Fp16 => data.read(Plain::<f16>(Vec::new())),
        Datatype::Fp32 => data.read(Plain::<f32>(Vec::new())),
        Datatype::Fp64 => data.read(Plain::<f64>(Vec::new())),
        Datatype::Bf16 => data.read(Plain::<bf16>(Vec::new())),
        Datatype::Bytes => data.read(Framed::default()),
    }
}

/// How many elements are read one by one where no run begins.
const ALONE: u32 = 8;

/// A buffer that elements are read into.
trait Elements {
    const DATATYPE: Datatype;

    /// Reads one element at the start of `rest`; returns what follows it.
    fn read<'a>(&mut self, rest: &'a [u8]) -> Result<&'a [u8], Refusal<'a>>;

    /// Reads at most so many that are quick to read, each with its comma.
    fn read_run<'a>(&mut self, rest: &'a [u8], _most: usize) -> &'a [u8] {
        rest
    }

    /// Takes a `null` for NaN; `false` where there is none.
    fn push_nan(&mut self) -> bool;

    fn reserve(&mut self, count: usize);

    /// How many elements have been read.
    fn len(&self) -> usize;

    fn finish(self) -> Bytes;
}

/// Elements of one size.
struct Plain<T>(Vec<T>);

impl<T: Element + Number> Elements for Plain<T> {
    const DATATYPE: Datatype = T::DATATYPE;

    #[inline(always)]
    fn read<'a>(&mut self, rest: &'a [u8]) -> Result<&'a [u8], Refusal<'a>> {
        let (element, rest) = T::read(rest)?;
        self.0.push(element);
        Ok(rest)
    }

    #[inline(always)]
    fn read_run<'a>(&mut self, rest: &'a [u8], most: usize) -> &'a [u8] {
        T::read_run(rest, most, &mut self.0)
    }

    fn push_nan(&mut self) -> bool {
        match T::read(b"NaN") {
            Ok((nan, _)) => {
                self.0.push(nan);
                true
            }
            Err(_) => false,
        }
    }

    fn reserve(&mut self, count: usize) {
        self.0.reserve_exact(count);
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn finish(self) -> Bytes {
        T::into_bytes(self.0)
    }
}

impl Number for bool {
    #[inline(always)]
    fn read(rest: &[u8]) -> Result<(Self, &[u8]), Refusal<'_>> {
        if let Some(rest) = rest.strip_prefix(b"true") {
            Ok((true, rest))
        } else if let Some(rest) = rest.strip_prefix(b"false") {
            Ok((false, rest))
        } else {
            Err(not_this_kind(rest))
        }
    }
}

/// Byte strings, each with its length before it.
#[derive(Default)]
struct Framed {
    data: Vec<u8>,
    count: usize,
}

impl Elements for Framed {
    const DATATYPE: Datatype = Datatype::Bytes;

    fn read<'a>(&mut self, rest: &'a [u8]) -> Result<&'a [u8], Refusal<'a>> {
        let Some((b'"', text)) = rest.split_first() else {
            return Err(not_this_kind(rest));
        };
        let start = self.data.len();
        self.data.extend_from_slice(&[0; 4]);
        let rest = strings::append(text, &mut self.data).map_err(Refusal::Syntax)?;
        let length = self.data.len() - start - 4;
        let length = u32::try_from(length).map_err(|_| Refusal::Range)?;
        if let Some(frame) = self.data.get_mut(start..start + 4) {
            frame.copy_from_slice(&length.to_le_bytes());
        }
        self.count += 1;
        Ok(rest)
    }

    fn push_nan(&mut self) -> bool {
        false
    }

    fn reserve(&mut self, _count: usize) {}

    fn len(&self) -> usize {
        self.count
    }

    fn finish(self) -> Bytes {
        self.data.into()
    }
}

/// What stands where a boolean or a string should: another kind of value, or no JSON.
#[cold]
fn not_this_kind(rest: &[u8]) -> Refusal<'_> {
    match rest.first() {
        Some(b'-' | b'0'..=b'9') => Refusal::Kind,
        _ => not_a_number(rest),
    }
}

/// The `data` that is being read.
struct Data<'s, 'a, 't> {
    scanner: &'s mut Scanner<'a>,
    place: Place<'t>,
    shape: &'t Shape,
    count: usize,
    null_is_nan: bool,
}

impl Data<'_, '_, '_> {
    fn read<E: Elements>(mut self, mut out: E) -> Result<Bytes, DecodeError> {
        if self.scanner.peek() != Some(b'[') {
            self.bare(&mut out)?;
            return Ok(out.finish());
        }
        self.scanner.enter()?;
        // An element takes two bytes at least, so no more than that is ever set aside.
        out.reserve(self.count.min(self.scanner.left() / 2 + 1));
        if self.scanner.peek() == Some(b'[') {
            self.nested(&mut out)?;
        } else {
            let found = self.row(&mut out, self.count)?;
            if found != self.count {
                return Err(self.wrong_count(found));
            }
        }
        Ok(out.finish())
    }

    /// The one element of shape `[]`, without brackets around it.
    fn bare<E: Elements>(&mut self, out: &mut E) -> Result<(), DecodeError> {
        if matches!(self.scanner.peek(), None | Some(b',' | b':' | b']' | b'}')) {
            return Err(self.scanner.unexpected("a value"));
        }
        if self.shape.rank() > 0 {
            let found = self.scanner.found();
            return Err(self.layout(format!("'data' must be a list, but is {found}")));
        }
        let rest = skip_space(self.scanner.rest);
        self.scanner.rest = match out.read(rest) {
            Ok(rest) => rest,
            Err(refusal) => self.refused(out, rest, refusal)?,
        };
        Ok(())
    }

    /// Lists within the outer one, whose bracket has been read, each level as its dimension says.
    fn nested<E: Elements>(&mut self, out: &mut E) -> Result<(), DecodeError> {
        let shape = self.shape;
        let (last, outer) = match shape.dims().split_last() {
            Some((last, outer)) if !outer.is_empty() => (*last, outer),
            _ => return Err(self.too_deep(0)),
        };
        let row_length = usize::try_from(last).unwrap_or(usize::MAX);
        // How many lists have begun at each level that is open.
        let mut begun = vec![0_u64];
        loop {
            let is_empty = begun.last() == Some(&0) && self.scanner.peek() == Some(b']');
            if !is_empty {
                self.begin_child(&mut begun, outer)?;
                if begun.len() < outer.len() {
                    begun.push(0);
                    continue;
                }
                let found = self.row(out, row_length)?;
                if found != row_length {
                    return Err(self.wrong_length(&begun, found as u64, last));
                }
            }
            while !self.scanner.take(b',') {
                self.end_list(&mut begun, outer)?;
                if begun.is_empty() {
                    return Ok(());
                }
            }
        }
    }

    /// Steps into the next list at the innermost open level.
    fn begin_child(&mut self, begun: &mut [u64], outer: &[u64]) -> Result<(), DecodeError> {
        let Some((count, path_begun)) = begun.split_last_mut() else {
            return Ok(());
        };
        let expected = outer.get(path_begun.len()).copied().unwrap_or_default();
        if *count == expected && self.scanner.peek() == Some(b'[') {
            let found = *count + self.count_more()?;
            return Err(self.wrong_length(path_begun, found, expected));
        }
        *count += 1;
        match self.scanner.peek() {
            Some(b'[') => self.scanner.enter().map(drop),
            None | Some(b']' | b',' | b'}' | b':') => Err(self.scanner.unexpected("'['")),
            Some(_) => {
                let found = self.scanner.found();
                Err(self.layout(format!(
                    "{} is {found}, but shape {} has a list there",
                    path(begun),
                    self.shape
                )))
            }
        }
    }

    /// Reads the end of the list at the innermost open level, which must be complete.
    fn end_list(&mut self, begun: &mut Vec<u64>, outer: &[u64]) -> Result<(), DecodeError> {
        self.scanner.expect(b']', "',' or ']'")?;
        self.scanner.leave();
        let found = begun.pop().unwrap_or_default();
        let expected = outer.get(begun.len()).copied().unwrap_or_default();
        if found == expected {
            return Ok(());
        }
        Err(self.wrong_length(begun, found, expected))
    }

    /// Reads elements up to the closing bracket and that too; returns how many they were. The
    /// opening bracket has been read.
    fn row<E: Elements>(&mut self, out: &mut E, most: usize) -> Result<usize, DecodeError> {
        let start = out.len();
        let mut rest = skip_space(self.scanner.rest);
        if let Some((b']', after)) = rest.split_first() {
            self.scanner.rest = after;
            self.scanner.leave();
            return Ok(0);
        }
        // How many elements to read one by one before a run is tried again.
        let mut alone = 0_u32;
        loop {
            if alone == 0 {
                let before = out.len();
                // A run ends behind a comma, and what stands there need not be the next number.
                rest = skip_space(out.read_run(rest, most.saturating_sub(before - start + 1)));
                alone = if out.len() == before { ALONE } else { 1 };
            }
            alone -= 1;
            rest = match out.read(rest) {
                Ok(rest) => rest,
                Err(refusal) => self.refused(out, rest, refusal)?,
            };
            rest = skip_space(rest);
            match rest.split_first() {
                Some((b',', after)) => rest = skip_space(after),
                Some((b']', after)) => {
                    self.scanner.rest = after;
                    self.scanner.leave();
                    return Ok(out.len() - start);
                }
                _ => {
                    self.scanner.rest = rest;
                    return Err(self.scanner.unexpected("',' or ']'"));
                }
            }
            let found = out.len() - start;
            if found >= most {
                self.scanner.rest = rest;
                return Ok(found.saturating_add(self.count_more()? as usize));
            }
        }
    }

    /// How many more values a list holds that already holds too many.
    fn count_more(&mut self) -> Result<u64, DecodeError> {
        let mut more = 0;
        loop {
            self.scanner.skip_unchecked()?;
            more += 1;
            if self.scanner.take(b']') {
                return Ok(more);
            }
            self.scanner.expect(b',', "',' or ']'")?;
        }
    }

    /// What to do about a value at `rest` that is no element: usually an error.
    #[cold]
    fn refused<'r, E: Elements>(
        &mut self,
        out: &mut E,
        rest: &'r [u8],
        refusal: Refusal<'_>,
    ) -> Result<&'r [u8], DecodeError> {
        if let (Refusal::Kind, true) = (refusal, self.null_is_nan)
            && let Some(after) = rest.strip_prefix(b"null")
            && out.push_nan()
        {
            return Ok(after);
        }
        let index = out.len();
        Err(match refusal {
            Refusal::Syntax(fault) => self.scanner.fault(fault),
            Refusal::Kind if rest.first() == Some(&b'[') => self.too_deep(index),
            _ => DecodeError::Element {
                place: self.place.to_string(),
                index,
                found: describe(rest),
                expected: expected(E::DATATYPE, matches!(refusal, Refusal::Range)),
            },
        })
    }

    #[cold]
    fn wrong_count(&self, found: usize) -> DecodeError {
        DecodeError::Data {
            place: self.place.to_string(),
            fault: DataFault::WrongCount {
                shape: self.shape.clone(),
                expected: self.count,
                found,
            },
        }
    }

    /// The list that is reached by a path has another length than its dimension. The path counts
    /// from 1, as the lists that have been read.
    #[cold]
    fn wrong_length(&self, path_read: &[u64], found: u64, expected: u64) -> DecodeError {
        self.layout(format!(
            "{} has length {found}, but shape {} wants {expected} there",
            path(path_read),
            self.shape
        ))
    }

    #[cold]
    fn too_deep(&self, index: usize) -> DecodeError {
        self.layout(format!(
            "a list stands at index {index} of the elements, deeper than shape {} or not nested as it",
            self.shape
        ))
    }

    #[cold]
    fn layout(&self, message: String) -> DecodeError {
        DecodeError::Layout {
            place: self.place.to_string(),
            message,
        }
    }
}

/// `data[1][0]`, from how many lists have begun at each level.
fn path(begun: &[u64]) -> String {
    let indices = begun
        .iter()
        .map(|count| format!("[{}]", count.saturating_sub(1)));
    std::iter::once("data".to_owned()).chain(indices).collect()
}

/// What a datatype takes, as a message says it.
#[cold]
fn expected(datatype: Datatype, out_of_range: bool) -> String {
    let article = match datatype {
        Datatype::Bool => return "a BOOL is true or false".to_owned(),
        Datatype::Bytes => return "a BYTES element in JSON is a string".to_owned(),
        Datatype::Uint8 | Datatype::Uint16 | Datatype::Uint32 | Datatype::Uint64 => "a",
        Datatype::Bf16 => "a",
        _ => "an",
    };
    let kind = match datatype {
        _ if out_of_range => "lies",
        Datatype::Fp16 | Datatype::Bf16 | Datatype::Fp32 | Datatype::Fp64 => "is a number",
        _ => "is a whole number",
    };
    let range = match datatype {
        Datatype::Uint8 => "0 and 255",
        Datatype::Uint16 => "0 and 65535",
        Datatype::Uint32 => "0 and 4294967295",
        Datatype::Uint64 => "0 and 18446744073709551615",
        Datatype::Int8 => "-128 and 127",
        Datatype::Int16 => "-32768 and 32767",
        Datatype::Int32 => "-2147483648 and 2147483647",
        Datatype::Int64 => "-9223372036854775808 and 9223372036854775807",
        Datatype::Fp16 => "-65504 and 65504",
        Datatype::Bf16 => "-3.3895314e38 and 3.3895314e38",
        Datatype::Fp32 => "-3.4028235e38 and 3.4028235e38",
        _ => "-1.7976931348623157e308 and 1.7976931348623157e308",
    };
    format!("{article} {datatype} {kind} between {range}")
}
