use half::{bf16, f16};
use proptest::prelude::*;

use super::super::digits::{ROOM, ShortFloat, put_short_float};
use super::super::numbers::Number;
use super::*;
use crate::Element;

fn round_trip(tensor: &Tensor) {
    let request = InferRequest::new([tensor.clone()]);
    let body = encode_request(&request).unwrap();
    let read = decode_request(&body, &DecodeLimits::default()).unwrap();
    assert!(
        read == request,
        "read back as another: {}",
        crate::error::excerpt(&String::from_utf8_lossy(&body))
    );
    if !body.windows(3).any(|w| w == b"NaN" || w == b"Inf") {
        serde_json::from_slice::<serde_json::Value>(&body).unwrap();
    }
}

/// What serde_json reads in the data of a request that we have written.
fn by_serde_json(tensor: Tensor) -> Vec<serde_json::Value> {
    let body = encode_request(&InferRequest::new([tensor])).unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    body["inputs"][0]["data"].as_array().unwrap().clone()
}

/// What we read of elements that serde_json has written.
fn of_serde_json<T: Element + Into<serde_json::Value>>(datatype: &str, elements: &[T]) -> Vec<T> {
    let data = serde_json::Value::Array(values(elements)).to_string();
    let read = input(datatype, &format!("[{}]", elements.len()), &data);
    read.to_slice::<T>().unwrap().into_owned()
}

fn values<T: Element + Into<serde_json::Value>>(elements: &[T]) -> Vec<serde_json::Value> {
    elements.iter().map(|x| (*x).into()).collect()
}

/// A double of any size, subnormal ones and the ends among them.
fn any_double() -> impl Strategy<Value = f64> {
    let ends = [f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, 0.0, -0.0];
    prop_oneof![
        8 => any::<u64>().prop_map(f64::from_bits),
        2 => any::<u64>().prop_map(|bits| f64::from_bits(bits & 0x800f_ffff_ffff_ffff)),
        1 => prop::sample::select(ends.to_vec()),
    ]
    .prop_filter("finite", |double| double.is_finite())
}

fn vector<T: Element>(elements: Vec<T>) -> Tensor {
    Tensor::from_vec("x", [elements.len() as u64], elements).unwrap()
}

#[test]
fn every_half_and_brain_float_reads_back_to_the_bit() {
    for bits in 0..=u16::MAX {
        let (half, brain) = (f16::from_bits(bits), bf16::from_bits(bits));
        if half.is_finite() {
            assert_eq!(written_and_read(half).to_bits(), bits, "{half}");
        }
        if brain.is_finite() {
            assert_eq!(written_and_read(brain).to_bits(), bits, "{brain}");
        }
    }
}

fn written<T: ShortFloat>(value: T) -> String {
    let mut scratch = [0; ROOM];
    let end = put_short_float(&mut scratch, 0, value).unwrap();
    String::from_utf8(scratch[..end].to_vec()).unwrap()
}

fn written_and_read<T: Number + ShortFloat>(value: T) -> T {
    let text = written(value);
    let (read, rest) = T::read(text.as_bytes()).unwrap();
    assert!(rest.is_empty());
    read
}

proptest! {
    #[test]
    fn integers_and_booleans_read_back(
        a: Vec<u8>, b: Vec<i16>, c: Vec<u32>, d: Vec<i64>, e: Vec<u64>, f: Vec<bool>,
    ) {
        round_trip(&vector(a));
        round_trip(&vector(b));
        round_trip(&vector(c));
        round_trip(&vector(d));
        round_trip(&vector(e));
        round_trip(&vector(f));
    }

    #[test]
    fn serde_json_and_we_read_the_same_integers_of_each_other(
        a in prop::collection::vec(any::<i64>(), 1..60),
        b in prop::collection::vec(any::<u64>(), 1..60),
        c in prop::collection::vec(any::<i8>(), 1..60),
    ) {
        prop_assert_eq!(by_serde_json(vector(a.clone())), values(&a));
        prop_assert_eq!(by_serde_json(vector(b.clone())), values(&b));
        prop_assert_eq!(by_serde_json(vector(c.clone())), values(&c));
        prop_assert_eq!(of_serde_json("INT64", &a), a);
        prop_assert_eq!(of_serde_json("UINT64", &b), b);
        prop_assert_eq!(of_serde_json("INT8", &c), c);
    }

    #[test]
    fn floats_that_serde_json_has_written_are_read_to_the_bit(
        doubles in prop::collection::vec(any_double(), 1..60),
        singles in prop::collection::vec(any::<u32>().prop_map(f32::from_bits), 1..60),
    ) {
        let singles: Vec<f32> = singles.into_iter().map(|x| if x.is_finite() { x } else { 0.0 }).collect();
        let bits = |doubles: &[f64]| doubles.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&of_serde_json("FP64", &doubles)), bits(&doubles));
        let bits = |singles: &[f32]| singles.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&of_serde_json("FP32", &singles)), bits(&singles));
    }

    /// As it is built here serde_json may miss a double by a few steps.
    #[test]
    fn serde_json_reads_the_floats_that_we_have_written(
        doubles in prop::collection::vec(any_double(), 1..60),
    ) {
        let read = by_serde_json(vector(doubles.clone()));
        for (read, double) in read.iter().zip(&doubles) {
            let read = read.as_f64().unwrap();
            let (a, b) = (read.to_bits() as i64, double.to_bits() as i64);
            prop_assert!((a - b).abs() <= 8, "{} became {}", double, read);
        }
        prop_assert_eq!(read.len(), doubles.len());
    }

    #[test]
    fn floats_read_back_to_the_bit(
        singles in prop::collection::vec(any::<u32>().prop_map(f32::from_bits), 0..50),
        doubles in prop::collection::vec(any::<u64>().prop_map(f64::from_bits), 0..50),
    ) {
        round_trip(&vector(singles.into_iter().filter(|f| !f.is_nan()).collect()));
        round_trip(&vector(doubles.into_iter().filter(|f| !f.is_nan()).collect()));
    }

    #[test]
    fn singles_are_written_as_short_as_the_standard_library_writes_them(bits: u32) {
        let value = f32::from_bits(bits);
        prop_assume!(value.is_finite());
        let (ours, theirs) = (written(value), format!("{value:e}"));
        prop_assert_eq!(ours.parse::<f32>().unwrap().to_bits(), bits);
        let digits = |text: &str| -> usize {
            let mantissa = text.split('e').next().unwrap();
            let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
            digits.trim_matches('0').len()
        };
        prop_assert_eq!(digits(&ours), digits(&theirs));
        // As near, too; where two decimals are equally near, either will do.
        let away = |text: &str| (text.parse::<f64>().unwrap() - f64::from(value)).abs();
        prop_assert!(away(&ours) <= away(&theirs), "{} {}", ours, theirs);
    }

    #[test]
    fn strings_read_back(strings: Vec<String>) {
        let count = strings.len() as u64;
        round_trip(&Tensor::from_strings("x", [count], strings).unwrap());
    }

    #[test]
    fn number_texts_are_read_as_the_standard_library_reads_them(
        text in r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,2})?",
    ) {
        let data = format!("[{text}]");
        let single: f32 = text.parse().unwrap();
        match decode(&with_input("FP32", "[1]", &data)) {
            Ok(read) => prop_assert_eq!(
                read.inputs[0].as_slice::<f32>().unwrap()[0].to_bits(), single.to_bits()),
            Err(_) => prop_assert!(single.is_infinite()),
        }
        let double: f64 = text.parse().unwrap();
        let read = input("FP64", "[1]", &data);
        prop_assert_eq!(read.as_slice::<f64>().unwrap()[0].to_bits(), double.to_bits());
    }

    #[test]
    fn integer_texts_are_read_as_the_standard_library_reads_them(text in "-?(0|[1-9][0-9]{0,20})") {
        let data = format!("[{text}]");
        let read = decode(&with_input("INT64", "[1]", &data)).ok();
        prop_assert_eq!(
            read.map(|read| read.inputs[0].as_slice::<i64>().unwrap()[0]),
            text.parse::<i64>().ok()
        );
        let read = decode(&with_input("UINT64", "[1]", &data)).ok();
        prop_assert_eq!(
            read.map(|read| read.inputs[0].as_slice::<u64>().unwrap()[0]),
            text.trim_start_matches("-0").parse::<u64>().ok().or((text == "-0").then_some(0))
        );
    }

    #[test]
    fn arbitrary_bytes_never_panic(body: Vec<u8>) {
        let _ = decode_request(&body, &DecodeLimits::default());
        let _ = decode_response(&body, &DecodeLimits::default());
    }

    #[test]
    fn arbitrary_json_like_text_never_panics(
        body in r#"(\{|\}|\[|\]|,|:|"(inputs|name|shape|datatype|data|id|parameters|outputs|x|FP32|BYTES|BOOL)"|[0-9]{1,3}|-|\.|e5|true|null|NaN| ){0,60}"#,
        data in r#"(\[|\]|,|[0-9]|-|"a"|true|null|\.5|e5|NaN| ){0,30}"#,
    ) {
        let _ = decode(&body);
        let _ = decode(&with_input("FP16", "[2,2]", &data));
        let _ = decode(&with_input("INT8", "[1,2,0]", &data));
        let _ = decode(&with_input("BYTES", "[]", &data));
    }
}
