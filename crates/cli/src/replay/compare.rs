//! What differs between two answers.

use half::{bf16, f16};
use oip::{Datatype, Element, InferResponse, Tensor};

/// How much floats may differ: `|now - before| <= absolute + relative * |before|`, as NumPy's
/// `allclose` has it. NaN equals NaN.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tolerance {
    pub(super) relative: f64,
    pub(super) absolute: f64,
}

impl Tolerance {
    fn allows(self, before: f64, now: f64) -> bool {
        before == now
            || (before.is_nan() && now.is_nan())
            || (now - before).abs() <= self.absolute + self.relative * before.abs()
    }
}

/// The first difference of each output, in a sentence; `None` where the answers are alike.
pub(super) fn difference(
    before: &InferResponse,
    now: &InferResponse,
    tolerance: Tolerance,
) -> Option<String> {
    let names = |response: &InferResponse| {
        let names: Vec<String> = response
            .outputs
            .iter()
            .map(|t| t.name().to_owned())
            .collect();
        names
    };
    if names(before) != names(now) {
        return Some(format!(
            "outputs {:?} then and {:?} now",
            names(before),
            names(now)
        ));
    }
    let pairs = before.outputs.iter().zip(&now.outputs);
    let found: Vec<String> = pairs
        .filter_map(|(before, now)| of_tensors(before, now, tolerance))
        .collect();
    (!found.is_empty()).then(|| found.join("; "))
}

fn of_tensors(before: &Tensor, now: &Tensor, tolerance: Tolerance) -> Option<String> {
    let name = before.name();
    if before.datatype() != now.datatype() || before.shape() != now.shape() {
        return Some(format!(
            "'{name}' was {} {} and is {} {}",
            before.datatype(),
            before.shape(),
            now.datatype(),
            now.shape()
        ));
    }
    let floats = match before.datatype() {
        Datatype::Fp16 => (floats::<f16>(before), floats::<f16>(now)),
        Datatype::Bf16 => (floats::<bf16>(before), floats::<bf16>(now)),
        Datatype::Fp32 => (floats::<f32>(before), floats::<f32>(now)),
        Datatype::Fp64 => (floats::<f64>(before), floats::<f64>(now)),
        _ => {
            let same = before.data() == now.data();
            return (!same).then(|| format!("'{name}' has other elements"));
        }
    };
    let (Some(before), Some(now)) = floats else {
        return Some(format!("'{name}' cannot be read"));
    };
    let pairs = || before.iter().copied().zip(now.iter().copied());
    let differing = pairs().filter(|(a, b)| !tolerance.allows(*a, *b)).count();
    let (at, (a, b)) = pairs()
        .enumerate()
        .find(|(_, (a, b))| !tolerance.allows(*a, *b))?;
    Some(format!(
        "'{name}': {differing} of {} elements differ, the first at {at}: {a} then and {b} now",
        before.len()
    ))
}

fn floats<T: Element + Into<f64> + Copy>(tensor: &Tensor) -> Option<Vec<f64>> {
    let elements = tensor.to_slice::<T>().ok()?;
    Some(elements.iter().map(|element| (*element).into()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXACT: Tolerance = Tolerance {
        relative: 0.0,
        absolute: 0.0,
    };

    fn of(values: &[f32]) -> InferResponse {
        let tensor = Tensor::from_vec("y", [values.len() as u64], values.to_vec()).unwrap();
        InferResponse::new([tensor])
    }

    #[test]
    fn floats_may_differ_by_the_tolerance_and_no_more() {
        let (before, now) = (of(&[1.0, 2.0, f32::NAN]), of(&[1.0, 2.5, f32::NAN]));
        assert_eq!(
            difference(&before, &now, EXACT).unwrap(),
            "'y': 1 of 3 elements differ, the first at 1: 2 then and 2.5 now"
        );
        let loose = Tolerance {
            relative: 0.25,
            absolute: 0.0,
        };
        assert_eq!(difference(&before, &now, loose), None);
        let infinite = of(&[f32::INFINITY]);
        assert_eq!(difference(&infinite, &infinite, EXACT), None);
    }

    #[test]
    fn shapes_and_names_must_be_the_same() {
        let longer = difference(&of(&[1.0]), &of(&[1.0, 2.0]), EXACT).unwrap();
        assert!(longer.starts_with("'y' was FP32"), "{longer}");
        let other = InferResponse::new([Tensor::from_vec("z", [1], vec![1_i32]).unwrap()]);
        assert!(
            difference(&of(&[1.0]), &other, EXACT)
                .unwrap()
                .starts_with("outputs")
        );
    }
}
