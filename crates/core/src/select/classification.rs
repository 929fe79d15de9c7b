//! The classification extension: the k largest values of an output, each as
//! `value:index` or `value:index:label`.
//!
//! Source: Triton's `extension_classification.md`.

use std::cmp::Ordering;

use half::{bf16, f16};
use oip_protocol::{Datatype, Element, Error, RequestedOutput, Result, Tensor};

use crate::ResolvedModel;
use crate::validate::Mismatch;

/// Most values that the outputs of an answer are classified into: each becomes a string of some
/// twenty bytes.
pub(super) const MOST: usize = 1 << 20;

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
/// two or more; the answer is `BYTES` of shape `[k]` or `[batch, k]`. `left` is how many values the
/// answer may still have.
pub(super) fn classify(
    model: &dyn ResolvedModel,
    output: &Tensor,
    classes: usize,
    left: &mut usize,
) -> Result<Tensor> {
    macro_rules! of {
        ($type:ty) => {
            of_values::<$type>(model, output, classes, left)
        };
    }
    match output.datatype() {
        Datatype::Fp16 => of!(f16),
        Datatype::Bf16 => of!(bf16),
        Datatype::Fp32 => of!(f32),
        Datatype::Fp64 => of!(f64),
        Datatype::Int8 => of!(i8),
        Datatype::Int16 => of!(i16),
        Datatype::Int32 => of!(i32),
        Datatype::Int64 => of!(i64),
        Datatype::Uint8 => of!(u8),
        Datatype::Uint16 => of!(u16),
        Datatype::Uint32 => of!(u32),
        Datatype::Uint64 => of!(u64),
        other => Err(Mismatch::Output {
            tensor: output.name().to_owned(),
            reason: format!("{other} has no order, so it cannot be classified"),
        }
        .into()),
    }
}

fn of_values<T: Value>(
    model: &dyn ResolvedModel,
    output: &Tensor,
    asked: usize,
    left: &mut usize,
) -> Result<Tensor> {
    let values = output.to_slice::<T>()?;
    let (rows, row) = match output.shape().dims() {
        [] | [_] => (1, values.len()),
        [batch, ..] => {
            let rows = usize::try_from(*batch).unwrap_or(usize::MAX);
            (rows, values.len().checked_div(rows).unwrap_or(0))
        }
    };
    let classes = asked.min(row);
    let name = output.name();
    let found = rows.saturating_mul(classes);
    *left = left.checked_sub(found).ok_or_else(|| {
        Error::does_not_fit(format!(
            "output '{name}': parameter 'classification' is {asked}, which makes {found} values of \
             its {rows} rows; all outputs of an answer have {MOST} of them at most"
        ))
    })?;
    let shape = match output.shape().rank() {
        0 | 1 => vec![classes as u64],
        _ => vec![rows as u64, classes as u64],
    };
    let strings = values.chunks(row.max(1)).flat_map(|row| {
        let found = top(row, classes).into_iter();
        found.map(|(class, value)| match model.label(name, class) {
            Some(label) => format!("{}:{class}:{label}", value.text()),
            None => format!("{}:{class}", value.text()),
        })
    });
    let tensor = Tensor::from_strings(name, shape, strings)?;
    Ok(tensor.with_parameters(output.parameters().clone()))
}

/// What has an order, and is printed as its datatype prints.
trait Value: Element {
    /// Largest first; a NaN is after everything.
    fn before(&self, other: &Self) -> Ordering;
    fn text(self) -> String;
}

macro_rules! integers {
    ($($type:ty)*) => {$(
        impl Value for $type {
            fn before(&self, other: &Self) -> Ordering {
                other.cmp(self)
            }
            fn text(self) -> String {
                self.to_string()
            }
        }
    )*};
}
integers!(i8 i16 i32 i64 u8 u16 u32 u64);

macro_rules! floats {
    ($($type:ty)*) => {$(
        impl Value for $type {
            fn before(&self, other: &Self) -> Ordering {
                let by_nan = || self.is_nan().cmp(&other.is_nan());
                other.partial_cmp(self).unwrap_or_else(by_nan)
            }
            fn text(self) -> String {
                format!("{:.6}", f64::from(self))
            }
        }
    )*};
}
floats!(f16 bf16 f32 f64);

/// The largest values of a row and where they are, largest first, equal ones by index. However long
/// the row is, twice as many as are asked for are kept at a time.
fn top<T: Value>(row: &[T], classes: usize) -> Vec<(usize, T)> {
    let Some(last) = classes.checked_sub(1) else {
        return Vec::new();
    };
    let order = |a: &(usize, T), b: &(usize, T)| a.1.before(&b.1).then(a.0.cmp(&b.0));
    let kept = classes.saturating_mul(2).min(row.len());
    let mut best = Vec::with_capacity(kept);
    // What comes after this one is not among them.
    let mut worst = None;
    for value in row.iter().copied().enumerate() {
        if worst.is_some_and(|worst| order(&worst, &value).is_lt()) {
            continue;
        }
        best.push(value);
        if best.len() == kept && classes < kept {
            worst = Some(*best.select_nth_unstable_by(last, order).1);
            best.truncate(classes);
        }
    }
    best.sort_unstable_by(order);
    best.truncate(classes);
    best
}
