use std::sync::{Arc, Mutex};

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

/// Less the mean of all rows, so that each answer shows the rows of others.
fn centred(x: &Tensor) -> Result<Tensor> {
    let all = x.to_slice::<f32>()?;
    let mean = all.iter().sum::<f32>() / all.len() as f32;
    map(x, |_, x| x - mean)
}

/// A request of one column, with these rows.
fn column(rows: &[f32]) -> Vec<Tensor> {
    let tensor = Tensor::from_vec("x", [rows.len() as u64, 1], rows.to_vec());
    vec![tensor.unwrap()]
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
    let by_place = |x: &Tensor| map(x, |i, x| x + i as f32);
    for reason in [
        checked(Datatype::Fp32, [-1, 1], centred, &[]),
        checked(Datatype::Fp32, [-1, 1], by_place, &[]),
    ] {
        let reason = reason.unwrap_err();
        assert!(
            reason.starts_with("in a batch of 2 output 'y' has "),
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
    let written = [column(&[2.0]), column(&[3.0])];
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
    assert_eq!(reason, "output 'y' is [1,2] for a batch of 2 rows");
}

#[test]
fn a_model_that_mixes_its_rows_is_found_out_whatever_the_rows_of_its_warm_up_requests() {
    let counting = |rows: usize| column(&(0..rows).map(|x| x as f32).collect::<Vec<_>>());
    let (zero, zeros, ones) = (column(&[0.0]), column(&[0.0; 3]), column(&[1.0; 3]));
    for (what, written) in [
        ("one of all rows", vec![counting(8)]),
        ("two of all rows", vec![counting(8), column(&[2.0; 8])]),
        (
            "two of more than half",
            vec![counting(5), column(&[2.0; 5])],
        ),
        ("all rows and one", vec![counting(8), column(&[3.0])]),
        ("more rows than a batch", vec![counting(9), counting(10)]),
        ("one twice", vec![column(&[1.0]), column(&[1.0])]),
        (
            "the same row again and again",
            vec![zero.clone(), zeros.clone()],
        ),
        ("one that differs behind those", vec![zero, zeros, ones]),
    ] {
        let reason = checked(Datatype::Fp32, [-1, 1], centred, &written).unwrap_err();
        assert!(reason.starts_with("in a batch of "), "{what}: {reason}");
        let same = |x: &Tensor| Ok(x.clone().with_name("y"));
        assert_eq!(
            checked(Datatype::Fp32, [-1, 1], same, &written),
            Ok(()),
            "{what}"
        );
    }
}

#[test]
fn batching_stays_off_where_no_two_requests_fit_and_none_can_be_made_up() {
    let picky = |x: &Tensor| match x.to_slice::<f32>()?.iter().all(|x| x.abs() > 1.0) {
        true => Ok(x.clone().with_name("y")),
        false => Err(Error::does_not_fit("too small")),
    };
    let written = [column(&[2.0; 5]), column(&[3.0; 5])];
    let reason = checked(Datatype::Fp32, [-1, 1], picky, &written).unwrap_err();
    assert!(reason.ends_with("that fit into one batch"), "{reason}");
}

#[test]
fn a_request_of_one_integer_is_made_up_until_two_differ() {
    let same = |x: &Tensor| Ok(x.clone().with_name("y"));
    for datatype in Datatype::ALL {
        assert_eq!(checked(datatype, [-1, 1], same, &[]), Ok(()), "{datatype}");
    }
    let reason = checked(Datatype::Fp32, [-1, 0], same, &[]).unwrap_err();
    assert!(reason.starts_with("no two different requests"), "{reason}");
}

#[test]
fn a_batch_is_filled_with_large_requests_first_and_small_ones_in_what_they_leave() {
    let sizes = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&sizes);
    let noting = move |x: &Tensor| {
        seen.lock().unwrap().push(x.shape().dims()[0]);
        Ok(x.clone().with_name("y"))
    };
    let of = |rows: usize, x: f32| column(&vec![x; rows]);
    let written = [of(5, 5.0), of(2, 2.0), of(1, 1.0), of(8, 8.0)];
    let side = |name| vec![TensorMetadata::new(name, Datatype::Fp32, [-1, 1])];
    let sides = [side("x"), side("y")];
    let model = Doing {
        sides,
        does: noting,
    };
    assert_eq!(check(&model, &batching(8), &written), Ok(()));
    // Each alone, 1 and 2 as one, and those with the 5.
    assert_eq!(*sizes.lock().unwrap(), [1, 2, 5, 8, 3, 8]);
}
