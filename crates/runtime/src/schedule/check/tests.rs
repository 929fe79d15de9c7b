use oip_protocol::Datatype;

use super::super::fake::batching;
use super::*;

/// A model of one FP32 or INT32 input and output with an open first dimension, which does this.
struct Doing<F> {
    sides: [Vec<TensorMetadata>; 2],
    does: F,
}

impl<F: Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static> Model for Doing<F> {
    fn inputs(&self) -> &[TensorMetadata] {
        &self.sides[0]
    }

    fn outputs(&self) -> &[TensorMetadata] {
        &self.sides[1]
    }

    fn run(&self, inputs: &[Tensor], _: &mut Laps) -> Result<Vec<Tensor>> {
        Ok(vec![(self.does)(&inputs[0])?])
    }
}

fn checked(
    datatype: Datatype,
    dims: [i64; 2],
    does: impl Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static,
    written: &[Vec<Tensor>],
) -> std::result::Result<(), Reason> {
    let side = |name| vec![TensorMetadata::new(name, datatype, dims)];
    let model = Doing {
        sides: [side("x"), side("y")],
        does,
    };
    check(&model, &batching(8), written)
}

fn map(tensor: &Tensor, f: impl Fn(usize, f32) -> f32) -> Result<Tensor> {
    let x = tensor.to_slice::<f32>()?;
    let elements = x.iter().enumerate().map(|(i, x)| f(i, *x)).collect();
    Ok(Tensor::from_vec("y", tensor.shape().clone(), elements)?)
}

#[test]
fn a_model_that_keeps_its_rows_apart_is_batched() {
    let same = |x: &Tensor| Ok(x.clone().with_name("y"));
    for datatype in Datatype::ALL {
        assert_eq!(checked(datatype, [-1, 3], same, &[]), Ok(()), "{datatype}");
    }
}

#[test]
fn a_model_that_mixes_its_rows_is_not() {
    let mean = |x: &Tensor| {
        let all = x.to_slice::<f32>()?;
        let mean = all.iter().sum::<f32>() / all.len() as f32;
        map(x, |_, x| x - mean)
    };
    let by_place = |x: &Tensor| map(x, |i, x| x + i as f32);
    for reason in [
        checked(Datatype::Fp32, [-1, 1], mean, &[]),
        checked(Datatype::Fp32, [-1, 1], by_place, &[]),
    ] {
        let reason = reason.unwrap_err();
        assert!(
            reason.starts_with("in a batch of 3 output 'y' has "),
            "{reason}"
        );
    }
}

#[test]
fn floats_may_differ_within_the_tolerance_and_integers_not_at_all() {
    let off = |by: f32| {
        move |x: &Tensor| {
            let rows = x.shape().dims()[0];
            map(x, |_, x| if rows > 2 { x + by } else { x })
        }
    };
    assert_eq!(checked(Datatype::Fp32, [-1, 4], off(1e-6), &[]), Ok(()));
    assert!(checked(Datatype::Fp32, [-1, 4], off(1e-3), &[]).is_err());
    let counts = |x: &Tensor| {
        let rows = x.shape().dims()[0];
        let elements: Vec<i32> = x
            .to_slice::<i32>()?
            .iter()
            .map(|x| x + rows as i32)
            .collect();
        Ok(Tensor::from_vec("y", x.shape().clone(), elements)?)
    };
    assert!(checked(Datatype::Int32, [-1, 4], counts, &[]).is_err());
}

#[test]
fn a_first_dimension_that_is_not_open_is_named() {
    let same = |x: &Tensor| Ok(x.clone().with_name("y"));
    assert_eq!(
        checked(Datatype::Fp32, [2, -1], same, &[]).unwrap_err(),
        "input 'x' is declared [2,-1]: its first dimension is not open"
    );
}

#[test]
fn a_model_that_refuses_made_up_rows_is_checked_on_those_written_down() {
    let picky = |x: &Tensor| match x.to_slice::<f32>()?.iter().all(|x| x.abs() > 1.0) {
        true => Ok(x.clone().with_name("y")),
        false => Err(Error::does_not_fit("too small")),
    };
    let reason = checked(Datatype::Fp32, [-1, 1], picky, &[]).unwrap_err();
    assert!(
        reason.contains("(too small); write down in [[warmup]]"),
        "{reason}"
    );
    let request = |x: f32| vec![Tensor::from_vec("x", [1, 1], vec![x]).unwrap()];
    let written = [request(2.0), request(3.0)];
    assert_eq!(checked(Datatype::Fp32, [-1, 1], picky, &written), Ok(()));
    assert!(checked(Datatype::Fp32, [-1, 1], picky, &written[..1]).is_err());
}

#[test]
fn a_model_that_answers_another_number_of_rows_is_not_batched() {
    let first = |x: &Tensor| {
        let width = x.shape().dims()[1] as usize;
        let elements = x.to_slice::<f32>()?[..width].to_vec();
        Ok(Tensor::from_vec("y", [1, width as u64], elements)?)
    };
    let reason = checked(Datatype::Fp32, [-1, 2], first, &[]).unwrap_err();
    assert_eq!(reason, "output 'y' is [1,2] for a batch of 3 rows");
}
