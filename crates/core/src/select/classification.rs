//! The classification extension: the k largest values of an output, each as
//! `value:index` or `value:index:label`.
//!
//! Source: Triton's `extension_classification.md`.

use half::{bf16, f16};
use oip_protocol::{Datatype, Error, RequestedOutput, Result, Tensor};

use crate::ResolvedModel;
use crate::validate::Mismatch;

/// The number of classes that an output is asked for; `None` when it is asked for as it is.
pub(super) fn classes(asked: &RequestedOutput) -> Result<Option<usize>> {
    let Some(value) = asked.parameters.get("classification") else {
        return Ok(None);
    };
    match value.as_u64().map(usize::try_from) {
        Some(Ok(0)) => Ok(None),
        Some(Ok(classes)) => Ok(Some(classes)),
        _ => Err(Error::malformed(format!(
            "output '{}': parameter 'classification' is {value}, but it is the number of classes",
            oip_protocol::error::excerpt(&asked.name)
        ))),
    }
}

/// The `classes` largest values of each row. The first dimension is the batch where there are
/// two or more; the answer is `BYTES` of shape `[k]` or `[batch, k]`.
pub(super) fn classify(
    model: &dyn ResolvedModel,
    output: &Tensor,
    classes: usize,
) -> Result<Tensor> {
    let values = values(output)?;
    let (rows, row) = match output.shape().dims() {
        [] | [_] => (1, values.len()),
        [batch, ..] => {
            let rows = usize::try_from(*batch).unwrap_or(usize::MAX);
            (rows, values.len().checked_div(rows).unwrap_or(0))
        }
    };
    let classes = classes.min(row);
    let mut strings = Vec::with_capacity(rows.min(values.len()) * classes);
    if row > 0 {
        for row in values.chunks(row) {
            top(row, classes, |class, value| {
                strings.push(match model.label(output.name(), class) {
                    Some(label) => format!("{value}:{class}:{label}"),
                    None => format!("{value}:{class}"),
                });
            });
        }
    }
    let shape = match output.shape().rank() {
        0 | 1 => vec![classes as u64],
        _ => vec![rows as u64, classes as u64],
    };
    let tensor = Tensor::from_strings(output.name(), shape, strings)?;
    Ok(tensor.with_parameters(output.parameters().clone()))
}

/// One value: to be compared, and to be printed as its datatype prints.
#[derive(Clone, Copy)]
enum Value {
    Float(f64),
    Signed(i64),
    Unsigned(u64),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Float(value) => write!(f, "{value:.6}"),
            Self::Signed(value) => value.fmt(f),
            Self::Unsigned(value) => value.fmt(f),
        }
    }
}

impl Value {
    /// Largest first; a NaN is after everything.
    fn before(self, other: Self) -> std::cmp::Ordering {
        match (self, other) {
            (Self::Signed(a), Self::Signed(b)) => b.cmp(&a),
            (Self::Unsigned(a), Self::Unsigned(b)) => b.cmp(&a),
            (Self::Float(a), Self::Float(b)) => b
                .partial_cmp(&a)
                .unwrap_or_else(|| a.is_nan().cmp(&b.is_nan())),
            _ => std::cmp::Ordering::Equal,
        }
    }
}

/// Calls `found` with the largest values of a row, largest first, equal ones by index.
fn top(row: &[Value], classes: usize, mut found: impl FnMut(usize, Value)) {
    let mut order: Vec<(usize, Value)> = row.iter().copied().enumerate().collect();
    let by_value = |a: &(usize, Value), b: &(usize, Value)| a.1.before(b.1).then(a.0.cmp(&b.0));
    if classes < order.len() {
        order.select_nth_unstable_by(classes, by_value);
        order.truncate(classes);
    }
    order.sort_unstable_by(by_value);
    for (class, value) in order {
        found(class, value);
    }
}

fn values(output: &Tensor) -> Result<Vec<Value>> {
    macro_rules! read {
        ($type:ty, $variant:ident, $wide:ty) => {
            output
                .to_slice::<$type>()?
                .iter()
                .map(|value| Value::$variant(<$wide>::from(*value)))
                .collect()
        };
    }
    Ok(match output.datatype() {
        Datatype::Fp16 => read!(f16, Float, f64),
        Datatype::Bf16 => read!(bf16, Float, f64),
        Datatype::Fp32 => read!(f32, Float, f64),
        Datatype::Fp64 => read!(f64, Float, f64),
        Datatype::Int8 => read!(i8, Signed, i64),
        Datatype::Int16 => read!(i16, Signed, i64),
        Datatype::Int32 => read!(i32, Signed, i64),
        Datatype::Int64 => read!(i64, Signed, i64),
        Datatype::Uint8 => read!(u8, Unsigned, u64),
        Datatype::Uint16 => read!(u16, Unsigned, u64),
        Datatype::Uint32 => read!(u32, Unsigned, u64),
        Datatype::Uint64 => read!(u64, Unsigned, u64),
        other => {
            return Err(Mismatch::Output {
                tensor: output.name().to_owned(),
                reason: format!("{other} has no order, so it cannot be classified"),
            }
            .into());
        }
    })
}
