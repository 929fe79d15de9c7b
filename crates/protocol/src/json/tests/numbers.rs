use half::{bf16, f16};

use super::*;

#[test]
fn an_integer_out_of_range_is_refused_with_index_value_and_range() {
    assert_eq!(
        input_refused("UINT8", "[4]", "[1,2,3,300]"),
        "input 'x': element at index 3 is 300, but a UINT8 lies between 0 and 255"
    );
    assert_eq!(
        input_refused("INT64", "[1]", "[9223372036854775808]"),
        "input 'x': element at index 0 is 9223372036854775808, but an INT64 lies between \
         -9223372036854775808 and 9223372036854775807"
    );
    assert!(input_refused("UINT64", "[1]", "[-1]").contains("is -1, but a UINT64 lies"));
    assert!(input_refused("UINT64", "[1]", "[1e400]").contains("a UINT64 lies between"));
    assert!(input_refused("UINT64", "[1]", "[1e99999999999999999999]").contains("lies between"));
}

#[test]
fn integers_at_both_ends_of_their_range_are_exact() {
    let ends = input("INT64", "[2]", "[-9223372036854775808,9223372036854775807]");
    assert_eq!(ends.as_slice::<i64>(), Some(&[i64::MIN, i64::MAX][..]));
    let ends = input("UINT64", "[2]", "[0,18446744073709551615]");
    assert_eq!(ends.as_slice::<u64>(), Some(&[0, u64::MAX][..]));
    let ends = input("INT8", "[2]", "[-128,127]");
    assert_eq!(ends.as_slice::<i8>(), Some(&[-128, 127][..]));
}

#[test]
fn a_number_with_an_integral_value_is_an_integer_exactly() {
    let written = "[1e3,2.0,-0,1.0e19,18446744073709551615.000,0e9999999999999999999999,120e-1,\
                   0.00000000000000000000000000001e29,-0.0]";
    let read = input("UINT64", "[9]", written);
    let expected = [
        1000,
        2,
        0,
        10_000_000_000_000_000_000,
        u64::MAX,
        0,
        12,
        1,
        0,
    ];
    assert_eq!(read.as_slice::<u64>(), Some(&expected[..]));
    let near = input_refused("UINT64", "[1]", "[18446744073709551615.5]");
    assert!(near.contains("a UINT64 is a whole number"), "{near}");
}

#[test]
fn fractions_booleans_strings_and_null_are_no_integers() {
    for other in [
        "1.5",
        "true",
        "\"1\"",
        "null",
        "NaN",
        "{}",
        "1e-1",
        "0.99999999999999999999",
    ] {
        let message = input_refused("INT32", "[2]", &format!("[7,{other}]"));
        assert!(
            message.starts_with("input 'x': element at index 1 is ")
                && message.contains("an INT32 is a whole number between -2147483648 and"),
            "{message}"
        );
    }
}

#[test]
fn booleans_strings_and_null_are_no_floats() {
    for other in ["true", "\"1\"", "null", "{}"] {
        let message = input_refused("FP32", "[1]", &format!("[{other}]"));
        assert!(
            message.contains("but an FP32 is a number between"),
            "{message}"
        );
    }
}

#[test]
fn what_json_does_not_know_as_a_number_is_malformed() {
    for number in [
        "01", "-01", "00", "+1", ".5", "1.", "1.e5", "-", "--1", "1e", "1e+", "0x10", "1_000",
        "1.0.5", "nan", "inf", "-NaN", "Inf", "1f", "NaNs",
    ] {
        for datatype in ["FP32", "FP64", "FP16", "INT64"] {
            let message = input_refused(datatype, "[1]", &format!("[{number}]"));
            assert!(message.contains("malformed JSON"), "{number}: {message}");
        }
    }
}

#[test]
fn non_finite_literals_are_read_as_floats() {
    let read = input("FP64", "[3]", "[NaN,Infinity,-Infinity]");
    let read = read.as_slice::<f64>().unwrap();
    assert!(read[0].is_nan());
    assert_eq!(read[1..], [f64::INFINITY, f64::NEG_INFINITY]);
    let read = input("FP16", "[3]", "[NaN,Infinity,-Infinity]");
    assert_eq!(read.as_slice::<f16>().unwrap()[2], f16::NEG_INFINITY);
}

#[test]
fn a_float_that_rounds_to_infinity_is_refused_with_the_range() {
    assert_eq!(
        input_refused("FP32", "[1]", "[1e300]"),
        "input 'x': element at index 0 is 1e300, but an FP32 lies between -3.4028235e38 and \
         3.4028235e38"
    );
    assert!(input_refused("FP64", "[1]", "[-1e309]").contains("an FP64 lies"));
    assert!(input_refused("FP16", "[1]", "[65520]").contains("an FP16 lies between -65504"));
    assert!(input_refused("BF16", "[1]", "[3.3961775292304601e38]").contains("a BF16 lies"));
    let most = input("FP16", "[1]", "[65519.99999999999999999999]");
    assert_eq!(most.as_slice::<f16>(), Some(&[f16::MAX][..]));
}

/// What Rust's own parser and a rounding in exact arithmetic make of a text.
fn floats(text: &str) -> (f32, f64) {
    let data = format!("[{text}]");
    (
        input("FP32", "[1]", &data).as_slice::<f32>().unwrap()[0],
        input("FP64", "[1]", &data).as_slice::<f64>().unwrap()[0],
    )
}

#[test]
fn floats_round_once() {
    for text in [
        "0",
        "-0",
        "0.1",
        "1e-45",
        "7e-46",
        "7.1e-46",
        "1.17549435e-38",
        "3.4028235e38",
        "3.40282356e38",
        "16777217",
        "16777217.0000000000000000001",
        "16777219",
        "1.00000005960464477539062",
        "1.000000059604644775390625",
        "1.00000005960464477539063",
        "9007199254740993",
        "9007199254740993.00000000000000000001",
        "0.3745401188473625",
        "2.2250738585072011e-308",
        "5e-324",
        "123456789012345678901234567890",
        "0.000000000000000000000000000000000000000000001",
        "8.5899345920000005e9",
        "1e22",
        "1e23",
        "4503599627370497.5",
        "0.5000000298023224",
    ] {
        let (single, double) = floats(text);
        assert_eq!(
            single.to_bits(),
            text.parse::<f32>().unwrap().to_bits(),
            "{text}"
        );
        assert_eq!(
            double.to_bits(),
            text.parse::<f64>().unwrap().to_bits(),
            "{text}"
        );
    }
}

#[test]
fn half_floats_round_once_and_ties_are_decided_in_decimal() {
    let half = |text: &str| {
        input("FP16", "[1]", &format!("[{text}]"))
            .as_slice::<f16>()
            .unwrap()[0]
    };
    let brain = |text: &str| {
        input("BF16", "[1]", &format!("[{text}]"))
            .as_slice::<bf16>()
            .unwrap()[0]
    };
    // 1 + 2^-11 is the middle between 1 and the next half.
    let next = f16::from_bits(f16::ONE.to_bits() + 1);
    assert_eq!(half("1.00048828125"), f16::ONE);
    assert_eq!(half("1.00048828125000000000000000000001"), next);
    assert_eq!(half("1.000488281250000000000001e0"), next);
    assert_eq!(half("1.0004882812500000000000000000000"), f16::ONE);
    assert_eq!(half("1.00048828124999999999999999999999"), f16::ONE);
    assert_eq!(half("-1.00048828125000000000000000000001"), -next);
    assert_eq!(half("2.98023223876953125e-8"), f16::ZERO);
    assert_eq!(half("2.980232238769531250001e-8"), f16::from_bits(1));
    // The middle and then a little: a double rounds that little away.
    assert_eq!(brain("257"), bf16::from_f32(256.0));
    assert_eq!(brain("257.00000000000000000001"), bf16::from_f32(258.0));
    assert_eq!(brain("259"), bf16::from_f32(260.0));
    assert_eq!(brain("258.99999999999999999999"), bf16::from_f32(258.0));
    assert_eq!(brain("4.5917748078995605e-41"), bf16::from_bits(0));
    assert_eq!(brain("4.5917748078995606e-41"), bf16::from_bits(1));
}

#[test]
fn the_middle_between_two_halves_goes_to_the_even_one_and_a_trace_beyond_it_up() {
    for bits in (0..f16::MAX.to_bits()).step_by(53) {
        let (lower, upper) = (f16::from_bits(bits), f16::from_bits(bits + 1));
        let middle = (lower.to_f64() + upper.to_f64()) / 2.0;
        // Thirty places hold any such middle exactly.
        let text = format!("{middle:.30}");
        let read = input("FP16", "[2]", &format!("[{text},{text}1]"));
        let even = if bits % 2 == 0 { lower } else { upper };
        assert_eq!(read.as_slice::<f16>(), Some(&[even, upper][..]), "{text}");
    }
}
