//! Whitespace may stand between any two tokens, as people and their tools lay JSON out.

use half::{bf16, f16};
use proptest::prelude::*;

use super::*;
use crate::{Datatype, Element};

const GAPS: [&str; 9] = ["", " ", "\n", "\r\n", "\t", "  ", " \n", "\n    ", "\n\n"];

/// JSON with gaps around its punctuation, each chosen anew.
fn laid_out(json: &str, mut choose: impl FnMut() -> &'static str) -> String {
    let mut text = String::new();
    let (mut in_string, mut escaped) = (false, false);
    for character in json.chars() {
        let punctuation = !in_string && "{}[],:".contains(character);
        if punctuation {
            text.push_str(choose());
        }
        text.push(character);
        if punctuation {
            text.push_str(choose());
        }
        in_string ^= character == '"' && !escaped;
        escaped = in_string && character == '\\' && !escaped;
    }
    text
}

fn tensor<T: Element>(name: &str, elements: impl IntoIterator<Item = T>) -> Tensor {
    let elements: Vec<T> = elements.into_iter().collect();
    Tensor::from_vec(name, [elements.len() as u64], elements).unwrap()
}

/// A tensor of each datatype; the floats as models have them, long and short.
fn tensors(seeds: &[u64]) -> Vec<Tensor> {
    let seeds = || seeds.iter().copied();
    let float = |seed: u64| match seed % 3 {
        0 => (seed >> 40) as f32 / (1 << 23) as f32 - 1.0,
        1 => (seed >> 56) as f32 / 4.0,
        _ => f32::from_bits((seed >> 32) as u32 & 0xbfff_ffff),
    };
    let texts = seeds().map(|seed| format!("\"{seed}\\, [\n{{").into_bytes());
    vec![
        tensor("BOOL", seeds().map(|seed| seed % 2 == 0)),
        tensor("UINT8", seeds().map(|seed| seed as u8)),
        tensor("UINT16", seeds().map(|seed| seed as u16)),
        tensor("UINT32", seeds().map(|seed| seed as u32)),
        tensor("UINT64", seeds()),
        tensor("INT8", seeds().map(|seed| seed as i8)),
        tensor("INT16", seeds().map(|seed| seed as i16)),
        tensor("INT32", seeds().map(|seed| seed as i32)),
        tensor("INT64", seeds().map(|seed| seed as i64)),
        tensor(
            "FP16",
            seeds().map(|seed| f16::from_f32(seed as u16 as f32 / 64.0)),
        ),
        tensor(
            "BF16",
            seeds().map(|seed| bf16::from_f32(seed as u16 as f32 / 64.0)),
        ),
        tensor("FP32", seeds().map(float)),
        tensor("FP64", seeds().map(|seed| f64::from(float(seed)) / 3.0)),
        Tensor::from_strings("BYTES", [seeds().count() as u64], texts).unwrap(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_request_of_any_datatype_reads_alike_however_it_is_laid_out(
        seeds in prop::collection::vec(any::<u64>(), 1..200),
        gaps in prop::collection::vec(prop::sample::select(GAPS.to_vec()), 1..40),
        one in prop::sample::select(GAPS.to_vec()),
    ) {
        let tensors = tensors(&seeds);
        prop_assert_eq!(tensors.len(), Datatype::ALL.len());
        let request = InferRequest {
            id: Some("a \"b\", {c}".to_owned()),
            ..InferRequest::new(tensors)
        };
        let json = String::from_utf8(encode_request(&request).unwrap()).unwrap();
        let mut chosen = gaps.iter().cycle();
        for body in [
            laid_out(&json, || chosen.next().copied().unwrap_or_default()),
            laid_out(&json, || one),
        ] {
            prop_assert_eq!(&decode(&body).unwrap(), &request, "{}", body);
        }
    }

    #[test]
    fn nested_rows_read_alike_however_they_are_laid_out(
        rows in prop::collection::vec(any::<[f32; 12]>(), 1..20),
        gaps in prop::collection::vec(prop::sample::select(GAPS.to_vec()), 1..40),
    ) {
        let flat: Vec<f32> = rows.iter().flatten().copied().filter(|x| x.is_finite()).collect();
        prop_assume!(flat.len() == 12 * rows.len());
        let data = serde_json::to_string(&rows).unwrap();
        let body = with_input("FP32", &format!("[{}, 12]", rows.len()), &data);
        let mut chosen = gaps.iter().cycle();
        let body = laid_out(&body, || chosen.next().copied().unwrap_or_default());
        let read = decode(&body).unwrap();
        let read = read.inputs[0].to_slice::<f32>().unwrap();
        prop_assert_eq!(&*read, &flat[..]);
    }
}

#[test]
fn a_request_that_is_indented_as_people_do_it_is_read() {
    let elements: Vec<f32> = (0..40).map(|n| n as f32 / 8.0).collect();
    let request = InferRequest::new([tensor("x", elements)]);
    let value: serde_json::Value =
        serde_json::from_slice(&encode_request(&request).unwrap()).unwrap();
    let indented = serde_json::to_string_pretty(&value).unwrap();
    assert_eq!(decode(&indented).unwrap(), request);
}
