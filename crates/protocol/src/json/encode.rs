//! JSON out: straight from the buffers.

use half::{bf16, f16};

use super::digits::{self, ROOM, ShortFloat};
use super::document::BINARY_DATA_SIZE;
use super::non_finite::{NonFinite, token};
use super::singles::{self, BATCH, BATCH_ROOM};
use crate::elements::Element;
use crate::{
    Datatype, EncodeError, InferRequest, InferResponse, ParameterValue, Parameters,
    RequestedOutput, Tensor,
};

/// Writes an inference request. Floats that are not finite are written as tokens, as servers
/// read them.
///
/// # Errors
/// When a `BYTES` element is not UTF-8, or the request is a raw binary one.
pub fn encode_request(request: &InferRequest) -> Result<Vec<u8>, EncodeError> {
    write_request(request, |_| false)
}

/// Writes an inference response: `data` flat, members without a value left out.
///
/// # Errors
/// When a `BYTES` element is not UTF-8, or a float is not finite and `non_finite` makes that an
/// error.
pub fn encode_response(
    response: &InferResponse,
    non_finite: NonFinite,
) -> Result<Vec<u8>, EncodeError> {
    write_response(response, non_finite, |_| false)
}

/// Writes a request; the tensors that are `binary` leave only their size.
pub(crate) fn write_request(
    request: &InferRequest,
    binary: impl Fn(&Tensor) -> bool,
) -> Result<Vec<u8>, EncodeError> {
    if request.raw_input.is_some() {
        return Err(EncodeError::Request(
            "a raw binary request has no JSON; its body is the input itself",
        ));
    }
    let mut writer = Writer::new(&request.inputs, NonFinite::Token, &binary);
    writer.open(b'{');
    if let Some(id) = &request.id {
        writer.text_member("\"id\":", id);
    }
    writer.parameters(&request.parameters);
    writer.tensors("\"inputs\":", &request.inputs, &binary)?;
    if !request.outputs.is_empty() {
        writer.requested_outputs(&request.outputs);
    }
    writer.close(b'}');
    Ok(writer.out)
}

/// Writes a response; the tensors that are `binary` leave only their size.
pub(crate) fn write_response(
    response: &InferResponse,
    non_finite: NonFinite,
    binary: impl Fn(&Tensor) -> bool,
) -> Result<Vec<u8>, EncodeError> {
    let mut writer = Writer::new(&response.outputs, non_finite, &binary);
    writer.open(b'{');
    writer.text_member("\"model_name\":", &response.model_name);
    if let Some(version) = &response.model_version {
        writer.text_member("\"model_version\":", version);
    }
    if let Some(id) = &response.id {
        writer.text_member("\"id\":", id);
    }
    writer.parameters(&response.parameters);
    writer.tensors("\"outputs\":", &response.outputs, &binary)?;
    writer.close(b'}');
    Ok(writer.out)
}

/// How many bytes an element takes as text, more or less, its comma included.
fn text_size(datatype: Datatype) -> usize {
    match datatype {
        Datatype::Bool => 6,
        Datatype::Uint8 | Datatype::Int8 => 4,
        Datatype::Uint16 | Datatype::Int16 => 6,
        Datatype::Uint32 | Datatype::Int32 => 8,
        Datatype::Uint64 | Datatype::Int64 => 8,
        Datatype::Fp16 | Datatype::Bf16 => 8,
        Datatype::Fp32 => 12,
        Datatype::Fp64 => 20,
        Datatype::Bytes => 0,
    }
}

/// How much text of elements is put together before it goes to the body, in bytes.
const CHUNK: usize = 2048;

struct Writer {
    out: Vec<u8>,
    non_finite: NonFinite,
}

impl Writer {
    fn new(tensors: &[Tensor], non_finite: NonFinite, binary: &impl Fn(&Tensor) -> bool) -> Self {
        let in_json = tensors.iter().filter(|tensor| !binary(tensor));
        let size: usize = in_json
            .map(|tensor| match tensor.datatype() {
                Datatype::Bytes => tensor.data().len() + tensor.data().len() / 8,
                datatype => tensor.element_count() * text_size(datatype),
            })
            .sum();
        Self {
            out: Vec::with_capacity(256 + 128 * tensors.len() + size),
            non_finite,
        }
    }

    fn open(&mut self, bracket: u8) {
        self.out.push(bracket);
    }

    /// Closes an object or array, over the comma that its last member left.
    fn close(&mut self, bracket: u8) {
        if self.out.last() == Some(&b',') {
            self.out.pop();
        }
        self.out.push(bracket);
    }

    fn comma(&mut self) {
        self.out.push(b',');
    }

    /// Writes a member's name as it is given: in quotes, with its colon.
    #[inline(always)]
    fn name(&mut self, name: &'static str) {
        self.out.extend_from_slice(name.as_bytes());
    }

    #[inline(always)]
    fn text_member(&mut self, name: &'static str, text: &str) {
        self.name(name);
        push_string(&mut self.out, text);
        self.comma();
    }

    /// Writes the parameters, if there are any.
    fn parameters(&mut self, parameters: &Parameters) {
        if parameters.is_empty() {
            return;
        }
        self.name("\"parameters\":");
        self.open(b'{');
        for (name, value) in parameters.iter() {
            self.named_parameter(name, value);
        }
        self.close(b'}');
        self.comma();
    }

    /// Writes a tensor's parameters and the size of data that is left out.
    fn tensor_parameters(&mut self, parameters: &Parameters, binary_size: Option<usize>) {
        if parameters.is_empty() && binary_size.is_none() {
            return;
        }
        self.name("\"parameters\":");
        self.open(b'{');
        // What it says of this tensor, only this module knows.
        let others = parameters
            .iter()
            .filter(|(name, _)| *name != BINARY_DATA_SIZE);
        for (name, value) in others {
            self.named_parameter(name, value);
        }
        if let Some(size) = binary_size {
            self.named_parameter(BINARY_DATA_SIZE, &ParameterValue::from(size as u64));
        }
        self.close(b'}');
        self.comma();
    }

    fn named_parameter(&mut self, name: &str, value: &ParameterValue) {
        push_string(&mut self.out, name);
        self.out.push(b':');
        self.parameter(value);
        self.comma();
    }

    fn parameter(&mut self, value: &ParameterValue) {
        match value {
            ParameterValue::Bool(true) => self.out.extend_from_slice(b"true"),
            ParameterValue::Bool(false) => self.out.extend_from_slice(b"false"),
            ParameterValue::Int64(value) => {
                self.number(|scratch| digits::put_signed(scratch, 0, *value));
            }
            ParameterValue::Uint64(value) => {
                self.number(|scratch| digits::put_integer(scratch, 0, *value));
            }
            // No parameter is worth failing an answer for, nor breaking its JSON.
            ParameterValue::Double(value) if !value.is_finite() => {
                push_string(&mut self.out, token(*value));
            }
            ParameterValue::Double(value) => {
                self.number(|scratch| digits::put_double(scratch, 0, *value).unwrap_or(0));
            }
            ParameterValue::String(value) => push_string(&mut self.out, value),
        }
    }

    /// Writes one number that stands alone.
    fn number(&mut self, put: impl Fn(&mut [u8; ROOM]) -> usize) {
        let mut scratch = [0; ROOM];
        let end = put(&mut scratch);
        self.flush(&scratch, end);
    }

    fn flush(&mut self, scratch: &[u8], end: usize) {
        self.out
            .extend_from_slice(scratch.get(..end).unwrap_or(scratch));
    }

    fn tensors(
        &mut self,
        name: &'static str,
        tensors: &[Tensor],
        binary: impl Fn(&Tensor) -> bool,
    ) -> Result<(), EncodeError> {
        self.name(name);
        self.open(b'[');
        for tensor in tensors {
            self.tensor(tensor, binary(tensor))?;
            self.comma();
        }
        self.close(b']');
        self.comma();
        Ok(())
    }

    fn tensor(&mut self, tensor: &Tensor, binary: bool) -> Result<(), EncodeError> {
        self.open(b'{');
        self.text_member("\"name\":", tensor.name());
        self.text_member("\"datatype\":", tensor.datatype().name());
        self.name("\"shape\":");
        self.open(b'[');
        for dim in tensor.shape().dims() {
            self.number(|scratch| digits::put_integer(scratch, 0, *dim));
            self.comma();
        }
        self.close(b']');
        self.comma();
        let binary_size = binary.then(|| tensor.data().len());
        self.tensor_parameters(tensor.parameters(), binary_size);
        if !binary {
            self.name("\"data\":");
            self.open(b'[');
            self.data(tensor)?;
            self.close(b']');
        }
        self.close(b'}');
        Ok(())
    }

    fn requested_outputs(&mut self, outputs: &[RequestedOutput]) {
        self.name("\"outputs\":");
        self.open(b'[');
        for output in outputs {
            self.open(b'{');
            self.text_member("\"name\":", &output.name);
            self.parameters(&output.parameters);
            self.close(b'}');
            self.comma();
        }
        self.close(b']');
    }

    /// Writes the elements, each with a comma behind it.
    fn data(&mut self, tensor: &Tensor) -> Result<(), EncodeError> {
        // With few elements it would take longer to clear the room for many than to write them.
        match tensor.element_count() <= BATCH {
            true => self.data_by(tensor, &mut [0; BATCH_ROOM]),
            false => self.data_by(tensor, &mut [0; CHUNK]),
        }
    }

    /// The same, with this room to put text together in.
    fn data_by<const N: usize>(
        &mut self,
        tensor: &Tensor,
        scratch: &mut [u8; N],
    ) -> Result<(), EncodeError> {
        match tensor.datatype() {
            Datatype::Bool => self.elements(tensor, scratch, put_boolean),
            Datatype::Uint8 => self.elements::<u8, N>(tensor, scratch, put_unsigned),
            Datatype::Uint16 => self.elements::<u16, N>(tensor, scratch, put_unsigned),
            Datatype::Uint32 => self.elements::<u32, N>(tensor, scratch, put_unsigned),
            Datatype::Uint64 => self.elements::<u64, N>(tensor, scratch, put_unsigned),
            Datatype::Int8 => self.elements::<i8, N>(tensor, scratch, put_signed),
            Datatype::Int16 => self.elements::<i16, N>(tensor, scratch, put_signed),
            Datatype::Int32 => self.elements::<i32, N>(tensor, scratch, put_signed),
            Datatype::Int64 => self.elements::<i64, N>(tensor, scratch, put_signed),
            Datatype::Fp16 => self.singles::<f16, N>(tensor, scratch),
            Datatype::Bf16 => self.singles::<bf16, N>(tensor, scratch),
            Datatype::Fp32 => self.singles::<f32, N>(tensor, scratch),
            Datatype::Fp64 => self.elements::<f64, N>(tensor, scratch, digits::put_double),
            Datatype::Bytes => self.strings(tensor),
        }
    }

    /// Writes elements by a function that puts one at a place and says where it ends, or `None`
    /// for one that is not finite.
    #[inline(always)]
    fn elements<T: Element, const N: usize>(
        &mut self,
        tensor: &Tensor,
        scratch: &mut [u8; N],
        put: impl Fn(&mut [u8; N], usize, T) -> Option<usize>,
    ) -> Result<(), EncodeError> {
        // The datatype has been matched, so there are elements.
        let elements = tensor.to_slice::<T>().unwrap_or_default();
        self.one_by_one(tensor, 0, &elements, scratch, put)
    }

    /// The same for some of a tensor's elements, from that index on.
    #[inline(always)]
    fn one_by_one<T: Element, const N: usize>(
        &mut self,
        tensor: &Tensor,
        first: usize,
        elements: &[T],
        scratch: &mut [u8; N],
        put: impl Fn(&mut [u8; N], usize, T) -> Option<usize>,
    ) -> Result<(), EncodeError> {
        let mut at = 0;
        for (index, element) in elements.iter().enumerate() {
            match put(scratch, at, *element) {
                Some(end) => at = end,
                None => {
                    self.flush(scratch, at);
                    at = 0;
                    self.non_finite(tensor, first + index)?;
                }
            }
            at = digits::put_word(scratch, at, u64::from(b','), 1);
            if at > scratch.len() - ROOM {
                self.flush(scratch, at);
                at = 0;
            }
        }
        self.flush(scratch, at);
        Ok(())
    }

    /// Writes floats of up to 32 bits, a batch at a time.
    fn singles<T: Element + ShortFloat + Into<f32>, const N: usize>(
        &mut self,
        tensor: &Tensor,
        scratch: &mut [u8; N],
    ) -> Result<(), EncodeError> {
        let elements = tensor.to_slice::<T>().unwrap_or_default();
        let (batches, rest) = elements.as_chunks::<BATCH>();
        let mut at = 0;
        for (index, batch) in batches.iter().enumerate() {
            match singles::put(scratch, at, &batch.map(Into::into)) {
                Some(end) => at = end,
                None => {
                    self.flush(scratch, at);
                    at = 0;
                    let first = index * BATCH;
                    self.one_by_one(tensor, first, batch, scratch, digits::put_short_float)?;
                }
            }
            if at > scratch.len() - BATCH_ROOM {
                self.flush(scratch, at);
                at = 0;
            }
        }
        self.flush(scratch, at);
        if rest.is_empty() {
            return Ok(());
        }
        let first = elements.len() - rest.len();
        self.one_by_one(tensor, first, rest, scratch, digits::put_short_float)
    }

    #[cold]
    fn non_finite(&mut self, tensor: &Tensor, index: usize) -> Result<(), EncodeError> {
        let name = token(element_as_double(tensor, index));
        let text = match self.non_finite {
            NonFinite::Null => "null",
            NonFinite::Token => name,
            NonFinite::Error => {
                return Err(EncodeError::NonFinite {
                    tensor: tensor.name().to_owned(),
                    datatype: tensor.datatype(),
                    index,
                    found: name,
                });
            }
        };
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn strings(&mut self, tensor: &Tensor) -> Result<(), EncodeError> {
        let strings = tensor.byte_strings().into_iter().flatten();
        for (index, string) in strings.enumerate() {
            let Ok(text) = std::str::from_utf8(string) else {
                return Err(EncodeError::NotText {
                    tensor: tensor.name().to_owned(),
                    index,
                });
            };
            push_string(&mut self.out, text);
            self.comma();
        }
        Ok(())
    }
}

#[inline(always)]
fn put_boolean<const N: usize>(scratch: &mut [u8; N], at: usize, value: bool) -> Option<usize> {
    let (text, length) = if value {
        (*b"true    ", 4)
    } else {
        (*b"false   ", 5)
    };
    let word = u64::from_le_bytes(text);
    Some(digits::put_word(scratch, at, word, length))
}

#[inline(always)]
fn put_unsigned<const N: usize>(
    scratch: &mut [u8; N],
    at: usize,
    value: impl Into<u64>,
) -> Option<usize> {
    Some(digits::put_integer(scratch, at, value.into()))
}

#[inline(always)]
fn put_signed<const N: usize>(
    scratch: &mut [u8; N],
    at: usize,
    value: impl Into<i64>,
) -> Option<usize> {
    Some(digits::put_signed(scratch, at, value.into()))
}

/// The element of a tensor of floats, for its message.
fn element_as_double(tensor: &Tensor, index: usize) -> f64 {
    fn at<T: Element + Into<f64>>(tensor: &Tensor, index: usize) -> Option<f64> {
        let bytes = tensor.data().chunks_exact(size_of::<T>()).nth(index)?;
        T::copy(bytes).first().map(|element| (*element).into())
    }
    let element = match tensor.datatype() {
        Datatype::Fp16 => at::<f16>(tensor, index),
        Datatype::Bf16 => at::<bf16>(tensor, index),
        Datatype::Fp32 => at::<f32>(tensor, index),
        _ => at::<f64>(tensor, index),
    };
    element.unwrap_or(f64::NAN)
}

/// Appends a text in quotes; only what JSON demands is escaped.
fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let (plain, after) = super::strings::split_plain(rest);
        out.extend_from_slice(plain);
        let Some((special, after)) = after.split_first() else {
            break;
        };
        push_escape(out, *special);
        rest = after;
    }
    out.push(b'"');
}

fn push_escape(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x0c => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            let hex = |nibble| char::from_digit(u32::from(nibble), 16).map_or(b'0', |c| c as u8);
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[hex(byte >> 4), hex(byte & 15)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}
