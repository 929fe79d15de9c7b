//! Made-up inputs: for warm-up, and for the check that a model may be batched.

use half::{bf16, f16};
use oip_protocol::{Datatype, Error, Result, Shape, Tensor, TensorMetadata};

use crate::settings::Fill;

/// The inputs of a model as it declares them, with 1 for each open dimension.
///
/// # Errors
/// An input too large to make.
pub(crate) fn zeros(declared: &[TensorMetadata]) -> Result<Vec<Tensor>> {
    let zeros = |declared| make(declared, open_as(declared, 1), Fill::Zeros, 0);
    declared.iter().map(zeros).collect()
}

/// The shape that an input declares, with `rows` for an open first dimension and 1 for every
/// other that is open.
pub(crate) fn open_as(declared: &TensorMetadata, rows: u64) -> Shape {
    let dims = declared.shape.dims().iter().enumerate();
    let size = |(index, dim): (usize, &i64)| match (u64::try_from(*dim), index) {
        (Ok(size), _) => size,
        (Err(_), 0) => rows,
        (Err(_), _) => 1,
    };
    Shape::new(dims.map(size).collect::<Vec<_>>())
}

/// An input of this shape. The same seed makes the same elements.
///
/// # Errors
/// An input too large to make.
pub(crate) fn make(
    declared: &TensorMetadata,
    shape: Shape,
    fill: Fill,
    seed: u64,
) -> Result<Tensor> {
    // Four zero bytes are an empty string.
    let size = declared.datatype.size().unwrap_or(4);
    let (Some(count), Some(bytes)) = (
        shape.element_count(),
        shape.element_count().and_then(|n| n.checked_mul(size)),
    ) else {
        return Err(Error::handler_failed("an input is too large to make"));
    };
    let (name, datatype) = (&declared.name, declared.datatype);
    if fill == Fill::Zeros {
        return Ok(Tensor::new(name, datatype, shape, vec![0; bytes])?);
    }
    // Names differ, so that two inputs of a model do.
    let mut dice = Dice::new(seed, name);
    if datatype == Datatype::Bytes {
        let texts = (0..count).map(|_| dice.text());
        return Ok(Tensor::from_strings(name, shape, texts)?);
    }
    let mut data = Vec::with_capacity(bytes);
    for _ in 0..count {
        dice.element(datatype, &mut data);
    }
    Ok(Tensor::new(name, datatype, shape, data)?)
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn new(seed: u64, name: &str) -> Self {
        let mixed = name.bytes().fold(seed ^ 0x9e37_79b9_7f4a_7c15, |mixed, b| {
            (mixed ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(mixed | 1)
    }

    /// Source: Marsaglia, "Xorshift RNGs".
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn text(&mut self) -> String {
        let length = self.roll() % 6;
        (0..length)
            .map(|_| char::from(b'a' + (self.roll() % 26) as u8))
            .collect()
    }

    /// From -1 to 1.
    fn float(&mut self) -> f64 {
        (self.roll() >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }

    fn element(&mut self, datatype: Datatype, data: &mut Vec<u8>) {
        match datatype {
            Datatype::Fp16 => data.extend(f16::from_f64(self.float()).to_le_bytes()),
            Datatype::Bf16 => data.extend(bf16::from_f64(self.float()).to_le_bytes()),
            Datatype::Fp32 => data.extend((self.float() as f32).to_le_bytes()),
            Datatype::Fp64 => data.extend(self.float().to_le_bytes()),
            // 0 and 1 are good indices and good divisors less often than not.
            other => {
                let one = (self.roll() >> 33) & 1;
                let size = other.size().unwrap_or(1);
                data.extend(one.to_le_bytes().into_iter().take(size));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_inputs_are_the_same_each_time_and_differ_by_seed() {
        for datatype in Datatype::ALL {
            let declared = TensorMetadata::new("x", datatype, [-1, 16, -1]);
            let made = |seed| make(&declared, open_as(&declared, 3), Fill::Random, seed).unwrap();
            assert_eq!(made(1), made(1));
            assert_ne!(made(1), made(2), "{datatype}");
            assert_eq!(made(1).shape(), &Shape::from([3, 16, 1]));
        }
    }
}
