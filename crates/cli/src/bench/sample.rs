//! Inputs for a model, made from what it declares.

use half::{bf16, f16};
use serde_json::Value;

use oip::{Datatype, DeclaredShape};

use super::random::Random;

/// An input tensor of a model as its metadata declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Declared {
    pub(super) name: String,
    pub(super) datatype: Datatype,
    pub(super) shape: DeclaredShape,
}

/// An input tensor with values.
#[derive(Debug, Clone)]
pub(super) struct Input {
    pub(super) name: String,
    pub(super) datatype: Datatype,
    pub(super) shape: Vec<u64>,
    /// The elements as a JSON list, as Python writes it.
    pub(super) json: String,
    /// The elements as they travel in binary.
    pub(super) raw: Vec<u8>,
}

impl Declared {
    /// Reads the inputs out of a model's metadata as REST gives it.
    pub(super) fn of_metadata(metadata: &Value) -> Option<Vec<Self>> {
        let inputs = metadata.get("inputs")?.as_array()?;
        inputs.iter().map(Self::of_json).collect()
    }

    fn of_json(input: &Value) -> Option<Self> {
        let shape = input.get("shape")?.as_array()?;
        let shape: Option<Vec<i64>> = shape.iter().map(Value::as_i64).collect();
        Self::new(
            input.get("name")?.as_str()?,
            input.get("datatype")?.as_str()?,
            shape?,
        )
    }

    /// `None`: an unknown datatype.
    pub(super) fn new(name: &str, datatype: &str, shape: Vec<i64>) -> Option<Self> {
        Some(Self {
            name: name.to_owned(),
            datatype: datatype.parse().ok()?,
            shape: DeclaredShape::new(shape),
        })
    }

    /// How many elements it gets where about so many are wanted.
    pub(super) fn count(&self, elements: usize) -> usize {
        let count: u64 = close(self.shape.dims(), elements as u64).iter().product();
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    /// Values for it: about `elements` of them, as far as the shape is open.
    pub(super) fn fill(&self, elements: usize) -> Input {
        let shape = close(self.shape.dims(), elements as u64);
        let count = shape.iter().product::<u64>();
        let (mut json, mut raw) = (String::from("["), Vec::new());
        let mut random = Random::new(0x9e37_79b9_7f4a_7c15);
        for index in 0..count {
            if index > 0 {
                json.push_str(", ");
            }
            put(self.datatype, random.next(), &mut json, &mut raw);
        }
        json.push(']');
        Input {
            name: self.name.clone(),
            datatype: self.datatype,
            shape,
            json,
            raw,
        }
    }
}

/// Chooses the open dimensions: the last one takes what is wanted, the others are 1.
fn close(dims: &[i64], elements: u64) -> Vec<u64> {
    let fixed: u64 = dims
        .iter()
        .filter_map(|dim| u64::try_from(*dim).ok())
        .product();
    let last = dims.iter().rposition(|dim| *dim < 0);
    let size = |(at, dim): (usize, &i64)| match u64::try_from(*dim) {
        Ok(dim) => dim,
        Err(_) if Some(at) == last => (elements / fixed.max(1)).max(1),
        Err(_) => 1,
    };
    dims.iter().enumerate().map(size).collect()
}

/// Writes one element both ways. Floats lie between -1 and 1 with all their digits, integers
/// are 0 or 1, which every index and category allows.
fn put(datatype: Datatype, random: u64, json: &mut String, raw: &mut Vec<u8>) {
    // 24 random bits are a float's digits.
    let float = ((random >> 40) as f32 / (1 << 23) as f32) - 1.0;
    // Few enough digits for 16 bits.
    let coarse = (float * 64.0).round() / 64.0;
    let bit = (random & 1) as u8;
    let write = |json: &mut String, value: &dyn std::fmt::Display| {
        json.push_str(&value.to_string());
    };
    match datatype {
        Datatype::Fp32 => {
            write(json, &float);
            raw.extend_from_slice(&float.to_le_bytes());
        }
        Datatype::Fp64 => {
            let double = f64::from(float) / 3.0;
            write(json, &double);
            raw.extend_from_slice(&double.to_le_bytes());
        }
        Datatype::Fp16 => {
            write(json, &coarse);
            raw.extend_from_slice(&f16::from_f32(coarse).to_le_bytes());
        }
        Datatype::Bf16 => {
            write(json, &coarse);
            raw.extend_from_slice(&bf16::from_f32(coarse).to_le_bytes());
        }
        Datatype::Bool => {
            json.push_str(if bit == 1 { "true" } else { "false" });
            raw.push(bit);
        }
        Datatype::Bytes => {
            json.push_str("\"a\"");
            raw.extend_from_slice(&1_u32.to_le_bytes());
            raw.push(b'a');
        }
        integer => {
            write(json, &bit);
            raw.push(bit);
            let width = integer.size().unwrap_or(1);
            raw.resize(raw.len() + width - 1, 0);
        }
    }
}

/// Writes a JSON value as an element in binary; `None` where it is none of this datatype.
pub(super) fn put_value(datatype: Datatype, value: &Value, raw: &mut Vec<u8>) -> Option<()> {
    match datatype {
        Datatype::Fp64 => raw.extend(value.as_f64()?.to_le_bytes()),
        Datatype::Fp32 => raw.extend((value.as_f64()? as f32).to_le_bytes()),
        Datatype::Fp16 => raw.extend(f16::from_f64(value.as_f64()?).to_le_bytes()),
        Datatype::Bf16 => raw.extend(bf16::from_f64(value.as_f64()?).to_le_bytes()),
        Datatype::Bool => raw.push(u8::from(value.as_bool()?)),
        Datatype::Bytes => {
            let text = value.as_str()?;
            raw.extend(u32::try_from(text.len()).ok()?.to_le_bytes());
            raw.extend(text.as_bytes());
        }
        Datatype::Uint8 => raw.push(value.as_u64()?.try_into().ok()?),
        Datatype::Uint16 => raw.extend(u16::try_from(value.as_u64()?).ok()?.to_le_bytes()),
        Datatype::Uint32 => raw.extend(u32::try_from(value.as_u64()?).ok()?.to_le_bytes()),
        Datatype::Uint64 => raw.extend(value.as_u64()?.to_le_bytes()),
        Datatype::Int8 => raw.extend(i8::try_from(value.as_i64()?).ok()?.to_le_bytes()),
        Datatype::Int16 => raw.extend(i16::try_from(value.as_i64()?).ok()?.to_le_bytes()),
        Datatype::Int32 => raw.extend(i32::try_from(value.as_i64()?).ok()?.to_le_bytes()),
        Datatype::Int64 => raw.extend(value.as_i64()?.to_le_bytes()),
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_open_dimension_takes_the_elements() {
        assert_eq!(close(&[-1], 16), [16]);
        assert_eq!(close(&[-1, 3, -1], 30), [1, 3, 10]);
        assert_eq!(close(&[-1, 64], 16), [1, 64]);
        assert_eq!(close(&[2, 2], 150_528), [2, 2]);
        assert_eq!(close(&[], 16), [0_u64; 0]);
    }

    #[test]
    fn text_and_bytes_of_an_input_are_the_same_numbers() {
        let input = Declared::new("x", "FP32", vec![-1]).unwrap().fill(1000);
        let text: Vec<f32> = serde_json::from_str(&input.json).unwrap();
        let bytes: Vec<f32> = input
            .raw
            .as_chunks::<4>()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect();
        assert_eq!(text, bytes);
        assert!(text.iter().any(|x| *x < -0.9) && text.iter().any(|x| *x > 0.9));
    }

    #[test]
    fn every_datatype_is_filled_to_its_size() {
        for datatype in Datatype::ALL {
            let declared = Declared::new("x", datatype.name(), vec![2, -1]).unwrap();
            let input = declared.fill(6);
            let size = datatype.size().unwrap_or(5);
            assert_eq!(input.shape, [2, 3]);
            assert_eq!(input.raw.len(), 6 * size, "{datatype}");
            let json: Vec<Value> = serde_json::from_str(&input.json).unwrap();
            assert_eq!(json.len(), 6);
        }
    }

    #[test]
    fn metadata_that_is_none_is_refused() {
        assert_eq!(
            Declared::of_metadata(&serde_json::json!({"error": "x"})),
            None
        );
    }
}
