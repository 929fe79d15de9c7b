use oip_protocol::{ErrorKind, InferRequest, ModelMetadata, Tensor};
use proptest::prelude::*;

use super::*;
use crate::{BoxFuture, Call};

/// A model whose classes are called `class 0`, `class 1`; further ones have no name.
struct Labelled([&'static str; 2]);

impl ResolvedModel for Labelled {
    fn version(&self) -> Option<&str> {
        None
    }
    fn metadata(&self) -> Option<&ModelMetadata> {
        None
    }
    fn infer<'a>(&'a self, _: InferRequest, _: &'a Call) -> BoxFuture<'a, Result<InferResponse>> {
        Box::pin(async { Ok(InferResponse::default()) })
    }
    fn label(&self, _: &str, class: usize) -> Option<&str> {
        self.0.get(class).copied()
    }
}

const MODEL: Labelled = Labelled(["cat", "dog"]);

fn response() -> InferResponse {
    let scores = Tensor::from_vec(
        "scores",
        [2, 3],
        vec![0.1_f32, 0.7, 0.2, 0.5, 0.5, f32::NAN],
    );
    let ids = Tensor::from_vec("ids", [2], vec![7_i64, 9]);
    InferResponse::new([scores.unwrap(), ids.unwrap()])
}

fn classified(name: &str, k: i64) -> RequestedOutput {
    let mut output = RequestedOutput::new(name);
    output.parameters.insert("classification", k);
    output
}

#[test]
fn outputs_come_in_the_order_they_were_asked_for_and_all_when_none_was() {
    let mut answer = response();
    let asked = [RequestedOutput::new("ids"), RequestedOutput::new("scores")];
    select(&MODEL, &asked, &mut answer).unwrap();
    let names: Vec<_> = answer.outputs.iter().map(Tensor::name).collect();
    assert_eq!(names, ["ids", "scores"]);
    let mut answer = response();
    select(&MODEL, &[], &mut answer).unwrap();
    assert_eq!(answer.outputs.len(), 2);
}

#[test]
fn the_largest_values_of_each_row_come_with_index_and_label_and_nan_last() {
    let mut answer = response();
    select(&MODEL, &[classified("scores", 2)], &mut answer).unwrap();
    let output = &answer.outputs[0];
    assert_eq!(output.shape().dims(), [2, 2]);
    assert_eq!(
        output.strings().unwrap(),
        [
            "0.700000:1:dog",
            "0.200000:2",
            "0.500000:0:cat",
            "0.500000:1:dog"
        ]
    );
}

#[test]
fn a_vector_is_one_row_and_integers_print_as_integers() {
    let mut answer = response();
    select(&MODEL, &[classified("ids", 9)], &mut answer).unwrap();
    assert_eq!(answer.outputs[0].strings().unwrap(), ["9:1:dog", "7:0:cat"]);
}

#[test]
fn a_count_that_is_none_is_refused() {
    let mut answer = response();
    let error = select(&MODEL, &[classified("ids", -1)], &mut answer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
}

#[test]
fn more_values_than_an_answer_may_have_are_refused_with_their_number() {
    let many = Tensor::from_vec("many", [2, 600_000], vec![0_u8; 1_200_000]).unwrap();
    let mut answer = InferResponse::new([many]);
    assert!(takes_long(&[classified("many", 1)], &answer));
    assert!(!takes_long(&[RequestedOutput::new("many")], &answer));
    let kept = answer.clone();
    let error = select(&MODEL, &[classified("many", 600_000)], &mut answer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DoesNotFit);
    assert_eq!(
        error.message(),
        "output 'many': parameter 'classification' is 600000, which makes 1200000 values of its 2 \
         rows; all outputs of an answer have 1048576 of them at most"
    );
    let mut answer = kept;
    select(&MODEL, &[classified("many", 500_000)], &mut answer).unwrap();
    assert_eq!(answer.outputs[0].element_count(), 1_000_000);
}

#[test]
fn the_outputs_of_an_answer_are_bounded_and_large_together() {
    let names: Vec<String> = (0..4).map(|n| n.to_string()).collect();
    let outputs = names
        .iter()
        .map(|name| Tensor::from_vec(name, [300_000], vec![0_u8; 300_000]).unwrap());
    let mut answer = InferResponse::new(outputs.collect::<Vec<_>>());
    let asked: Vec<_> = names.iter().map(|name| classified(name, 300_000)).collect();
    let error = select(&MODEL, &asked, &mut answer).unwrap_err();
    assert!(error.message().starts_with("output '3'"), "{error}");
    let short = names
        .iter()
        .map(|name| Tensor::from_vec(name, [30_000], vec![0_u8; 30_000]).unwrap());
    let answer = InferResponse::new(short.collect::<Vec<_>>());
    assert!(takes_long(&asked, &answer));
    assert!(!takes_long(&asked[..2], &answer));
}

#[test]
fn every_datatype_with_an_order_is_ranked_as_what_it_is() {
    fn first<T: oip_protocol::Element>(values: Vec<T>) -> String {
        let scores = Tensor::from_vec("scores", [values.len() as u64], values).unwrap();
        let mut answer = InferResponse::new([scores]);
        select(&Labelled([""; 2]), &[classified("scores", 1)], &mut answer).unwrap();
        answer.outputs[0].strings().unwrap()[0].to_owned()
    }
    let halves = [-2.0, 1.5, 0.5].map(half::f16::from_f32).to_vec();
    let brains = [-2.0, 1.5, 0.5].map(half::bf16::from_f32).to_vec();
    assert_eq!(first(halves), "1.500000:1:");
    assert_eq!(first(brains), "1.500000:1:");
    assert_eq!(first(vec![-2.0_f64, 1.5]), "1.500000:1:");
    assert_eq!(first(vec![-2_i8, 1]), "1:1:");
    assert_eq!(first(vec![-2_i16, 1]), "1:1:");
    assert_eq!(first(vec![-2_i32, 1]), "1:1:");
    assert_eq!(first(vec![-2_i64, 1]), "1:1:");
    assert_eq!(first(vec![7_u8, 200]), "200:1:");
    assert_eq!(first(vec![7_u16, u16::MAX]), "65535:1:");
    assert_eq!(first(vec![7_u32, u32::MAX]), "4294967295:1:");
    assert_eq!(first(vec![7_u64, u64::MAX]), "18446744073709551615:1:");
}

#[test]
fn a_row_without_values_has_no_classes() {
    let empty = Tensor::from_vec("empty", [3, 0], Vec::<f32>::new()).unwrap();
    let mut answer = InferResponse::new([empty]);
    select(&MODEL, &[classified("empty", 2)], &mut answer).unwrap();
    assert_eq!(answer.outputs[0].shape().dims(), [3, 0]);
}

proptest! {
    /// Few different values, so that many are equal, and NaN among them.
    #[test]
    fn the_classes_are_those_of_the_whole_row_sorted(
        row in prop::collection::vec(prop_oneof![Just(f32::NAN), (-3_i8..4).prop_map(f32::from)], 1..200),
        classes in 1_usize..220,
    ) {
        let mut order: Vec<usize> = (0..row.len()).collect();
        let key = |at: &usize| if row[*at].is_nan() { f32::INFINITY } else { -row[*at] };
        order.sort_by(|a, b| key(a).total_cmp(&key(b)).then(a.cmp(b)));
        let wanted: Vec<_> = order.iter().take(classes).map(usize::to_string).collect();
        let scores = Tensor::from_vec("scores", [row.len() as u64], row).unwrap();
        let mut answer = InferResponse::new([scores]);
        select(&Labelled([""; 2]), &[classified("scores", classes as i64)], &mut answer).unwrap();
        let found = answer.outputs[0].strings().unwrap();
        let found: Vec<_> = found.iter().map(|text| text.split(':').nth(1).unwrap()).collect();
        prop_assert_eq!(found, wanted);
    }
}
