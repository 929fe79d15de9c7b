use super::*;
use crate::{Datatype, Error, ErrorKind, ParameterValue, Shape};

#[test]
fn a_whole_request_is_read() {
    let request = decode(
        r#"{"id":"42","parameters":{"a":1,"b":true,"c":"d","e":0.5,"f":18446744073709551615},
            "inputs":[{"name":"x","shape":[2],"datatype":"FP32","parameters":{"k":"v"},"data":[1,2]},
                      {"name":"y","shape":[1,1],"datatype":"BOOL","data":[[true]]}],
            "outputs":[{"name":"o","parameters":{"binary_data":false}},{"name":"p"}]}"#,
    )
    .unwrap();
    assert_eq!(request.id.as_deref(), Some("42"));
    assert_eq!(request.parameters.get("a"), Some(&ParameterValue::Int64(1)));
    assert_eq!(
        request.parameters.get("e"),
        Some(&ParameterValue::Double(0.5))
    );
    assert_eq!(
        request.parameters.get("f"),
        Some(&ParameterValue::Uint64(u64::MAX))
    );
    assert_eq!(request.inputs.len(), 2);
    assert_eq!(request.inputs[0].parameters().get("k"), Some(&"v".into()));
    assert_eq!(request.inputs[1].shape(), &Shape::from([1, 1]));
    assert_eq!(request.inputs[1].datatype(), Datatype::Bool);
    assert_eq!(request.outputs.len(), 2);
    assert_eq!(request.raw_input, None);
}

#[test]
fn members_may_come_in_any_order() {
    let members = [
        r#""name":"x""#,
        r#""shape":[2]"#,
        r#""datatype":"BYTES""#,
        r#""data":["a]\"",  "b[{"]"#,
    ];
    let expected = input("BYTES", "[2]", r#"["a]\"","b[{"]"#);
    for first in 0..4 {
        for second in (0..4).filter(|second| *second != first) {
            let rest: Vec<usize> = (0..4).filter(|m| *m != first && *m != second).collect();
            let order = [first, second, rest[1], rest[0]].map(|member| members[member]);
            let body = format!(
                r#"{{"outputs":[],"inputs":[{{{}}}],"id":"a"}}"#,
                order.join(",")
            );
            assert_eq!(decode(&body).unwrap().inputs[0], expected, "{body}");
        }
    }
}

#[test]
fn data_before_its_datatype_may_be_a_scalar_and_is_checked_when_it_is_read() {
    let body = r#"{"inputs":[{"data": NaN ,"name":"x","shape":[],"datatype":"FP32"}]}"#;
    assert!(decode(body).unwrap().inputs[0].as_slice::<f32>().unwrap()[0].is_nan());
    let body = r#"{"inputs":[{"data":[1 2],"name":"x","shape":[2],"datatype":"FP32"}]}"#;
    assert!(refused(body).contains("(byte 22): expected ',' or ']' but found '2'"));
    let body = r#"{"inputs":[{"data":[1,{"a":[}],"name":"x","shape":[2],"datatype":"FP32"}]}"#;
    assert!(decode(body).is_err());
}

#[test]
fn unknown_members_are_passed_over_and_must_be_json() {
    let with = |member: &str| {
        format!(
            r#"{{"more":{member},"inputs":[{{"name":"x","shape":[1],"more":{member},"datatype":"INT8","data":[1]}}]}}"#
        )
    };
    for member in [
        "null",
        "[1,[],{\"a\":{}}]",
        "-1.5e-3",
        "\"\\u00e9\"",
        "{\"a\":[true,false]}",
    ] {
        assert!(decode(&with(member)).is_ok(), "{member}");
    }
    for member in [
        "nul",
        "[1,]",
        "{\"a\"}",
        "{1:2}",
        "01",
        "\"\\x\"",
        "NaN",
        "{\"a\":1,}",
        "[}",
    ] {
        assert!(
            refused(&with(member)).starts_with("malformed JSON"),
            "{member}"
        );
    }
}

#[test]
fn members_with_escapes_in_their_names_are_the_same_members() {
    let body = r#"{"\u0069nputs":[{"n\u0061me":"x","shape":[1],"datatype":"INT8","data":[1]}]}"#;
    assert!(decode(body).is_ok());
}

#[test]
fn a_member_that_stands_twice_is_refused() {
    for member in ["name", "shape", "datatype", "data", "parameters"] {
        let value = match member {
            "name" => "\"x\"",
            "datatype" => "\"INT8\"",
            "parameters" => "{}",
            _ => "[1]",
        };
        let body = format!(
            r#"{{"inputs":[{{"name":"x","shape":[1],"parameters":{{}},"datatype":"INT8","data":[1],"{member}":{value}}}]}}"#
        );
        assert_eq!(
            refused(&body),
            format!("input 'x': '{member}' is given twice")
        );
    }
    let tensor = r#"[{"name":"x","shape":[1],"datatype":"INT8","data":[1]}]"#;
    for (member, value) in [
        ("id", "\"a\""),
        ("inputs", tensor),
        ("outputs", "[]"),
        ("parameters", "{}"),
    ] {
        let body = format!(
            r#"{{"id":"a","outputs":[],"parameters":{{}},"inputs":{tensor},"{member}":{value}}}"#
        );
        assert_eq!(
            refused(&body),
            format!("request: '{member}' is given twice")
        );
    }
    let body = r#"{"parameters":{"a":1,"b":2,"a":1},"inputs":[]}"#;
    assert_eq!(refused(body), "request: parameter 'a' is given twice");
}

#[test]
fn missing_members_are_named() {
    assert_eq!(refused("{}"), "request: 'inputs' is missing");
    assert_eq!(refused(r#"{"inputs":[]}"#), "request: 'inputs' is empty");
    assert_eq!(
        refused(r#"{"inputs":[{}]}"#),
        "input at index 0: 'name' is missing"
    );
    for (member, rest) in [
        ("shape", r#""datatype":"INT8","data":[1]"#),
        ("datatype", r#""shape":[1],"data":[1]"#),
        ("data", r#""shape":[1],"datatype":"INT8""#),
    ] {
        let body = format!(r#"{{"inputs":[{{"name":"x",{rest}}}]}}"#);
        assert_eq!(refused(&body), format!("input 'x': '{member}' is missing"));
    }
    assert_eq!(
        refused(r#"{"inputs":[],"outputs":[{}]}"#),
        "requested output at index 0: 'name' is missing"
    );
}

#[test]
fn members_of_the_wrong_kind_are_refused_with_what_they_are() {
    for (body, message) in [
        (
            r#"{"id":5,"inputs":[]}"#,
            "request: 'id' must be a string, but is 5",
        ),
        (
            r#"{"inputs":{}}"#,
            "request: 'inputs' must be a list of tensors, but is an object",
        ),
        (
            r#"{"inputs":[1]}"#,
            "request: 'inputs' must be a list of objects, but is 1",
        ),
        (
            r#"{"inputs":[{"name":null}]}"#,
            "input at index 0: 'name' must be a string, but is null",
        ),
        (
            r#"{"inputs":[{"name":"x","datatype":"fp32"}]}"#,
            "input 'x': unknown datatype 'fp32'; known are BOOL, UINT8, UINT16, UINT32, UINT64, \
             INT8, INT16, INT32, INT64, FP16, FP32, FP64, BF16, BYTES",
        ),
        (
            r#"{"parameters":{"k":null},"inputs":[]}"#,
            "request: parameter 'k' must be a string, a boolean or a number, but is null",
        ),
        (
            r#"{"parameters":{"k":[1]},"inputs":[]}"#,
            "request: parameter 'k' must be a string, a boolean or a number, but is a list",
        ),
        (
            r#"{"parameters":{"k":1e999},"inputs":[]}"#,
            "request: parameter 'k' must be a number that a double holds, but is 1e999",
        ),
        (
            r#"{"parameters":[],"inputs":[]}"#,
            "request: 'parameters' must be an object, but is a list",
        ),
        (
            r#"{"parameters":{"binary_data_output":"yes"},"inputs":[]}"#,
            "request: parameter 'binary_data_output' must be true or false, but is 'yes'",
        ),
        (
            r#"{"inputs":[],"outputs":[{"name":"o","parameters":{"binary_data":1}}]}"#,
            "requested output 'o': parameter 'binary_data' must be true or false, but is 1",
        ),
    ] {
        assert_eq!(refused(body), message);
    }
}

#[test]
fn null_for_an_optional_member_counts_as_absent() {
    let tensor = r#"{"name":"x","shape":[1],"datatype":"INT8","parameters":null,"data":[1]}"#;
    let body = format!(r#"{{"id":null,"parameters":null,"outputs":null,"inputs":[{tensor}]}}"#);
    let request = decode(&body).unwrap();
    assert_eq!(request.id, None);
    assert!(request.outputs.is_empty() && request.parameters.is_empty());
}

#[test]
fn dimensions_are_non_negative_integers_written_as_integers() {
    for dim in [
        "1.0",
        "1e0",
        "\"1\"",
        "null",
        "-2",
        "true",
        "18446744073709551616",
        "-0",
        "[1]",
    ] {
        let message = input_refused("INT8", &format!("[1,{dim}]"), "[1]");
        assert!(
            message.starts_with(
                "input 'x': 'shape' must be a list of non-negative integers, but at index 1"
            ),
            "{message}"
        );
    }
    assert!(input_refused("INT8", "[-1]", "[1]").contains("-1 belongs in a model's metadata"));
    assert!(input_refused("INT8", "3", "[1]").contains("but is 3"));
    assert!(input_refused("INT8", "[01]", "[1]").contains("01"));
}

#[test]
fn more_dimensions_than_the_limit_are_refused() {
    let shape = |rank: usize| format!("[{}]", vec!["1"; rank].join(","));
    assert_eq!(input("INT8", &shape(1024), "[7]").shape().rank(), 1024);
    assert_eq!(
        input_refused("INT8", &shape(1025), "[7]"),
        "input 'x': more than 1024 dimensions"
    );
}

#[test]
fn malformed_json_is_refused_with_line_column_and_byte() {
    assert_eq!(
        refused("{\"id\":\"a\" x"),
        "malformed JSON at line 1 column 11 (byte 10): expected ',' or '}' but found 'x'"
    );
    assert_eq!(
        refused("{\n \"é\": x}"),
        "malformed JSON at line 2 column 7 (byte 9): expected a value but found 'x'"
    );
    assert_eq!(
        refused(""),
        "malformed JSON at line 1 column 1 (byte 0): expected a JSON object ('{') but the body ends"
    );
    assert!(refused("[]").contains("expected a JSON object ('{') but found '['"));
    assert!(refused("{\"inputs\":[]} {}").contains("expected nothing after the JSON object"));
    assert!(refused("{\"inputs\":[],}").contains("a member's name"));
    assert!(refused("{\"id\"").contains("expected ':' but the body ends"));
    assert!(refused("\u{feff}{}").contains("a byte order mark stands before the JSON"));
    assert!(refused("{\"id\":\"a\0\"}").contains("control character"));
    assert!(refused("{\"id\":\"a").contains("does not end"));
    assert!(refused(r#"{"id":"\ud800"}"#).contains("surrogate"));
    assert!(refused(r#"{"id":"\udc00\ud800"}"#).contains("surrogate"));
    assert!(refused(r#"{"id":"\u12g4"}"#).contains("hexadecimal"));
}

#[test]
fn text_that_is_not_utf8_is_refused_where_it_is() {
    let body = b"{\"id\":\"ab\xff\"}";
    let error = decode_request(body, &DecodeLimits::default()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("(byte 9): a string is not valid UTF-8"),
        "{error}"
    );
    assert!(decode_request(b"{\xff}", &DecodeLimits::default()).is_err());
}

#[test]
fn more_levels_tensors_or_parameters_than_the_limits_are_refused() {
    let deep = "[".repeat(5000) + &"]".repeat(5000);
    assert!(refused(&format!("{{\"a\":{deep}}}")).contains("nested deeper than 64 levels"));
    let tensors = vec![r#"{"name":"x","shape":[0],"datatype":"INT8","data":[]}"#; 1025].join(",");
    assert_eq!(
        refused(&format!(r#"{{"inputs":[{tensors}]}}"#)),
        "request: more than 1024 inputs"
    );
    let parameters: Vec<String> = (0..1025).map(|i| format!("\"p{i}\":1")).collect();
    assert_eq!(
        refused(&format!(r#"{{"parameters":{{{}}}}}"#, parameters.join(","))),
        "request: more than 1024 parameters"
    );
}

#[test]
fn binary_data_size_without_a_binary_part_is_refused() {
    let tensor = |parameters: &str, data: &str| {
        format!(
            r#"{{"inputs":[{{"name":"x","shape":[1],"datatype":"INT8","parameters":{{{parameters}}}{data}}}]}}"#
        )
    };
    assert!(
        refused(&tensor(r#""binary_data_size":1"#, ""))
            .contains("no Inference-Header-Content-Length")
    );
    assert!(
        refused(&tensor(r#""binary_data_size":1"#, ",\"data\":[1]")).contains("are both there")
    );
    assert!(
        refused(&tensor(r#""binary_data_size":-1"#, ""))
            .contains("non-negative integer, but is -1")
    );
    assert!(refused(&tensor(r#""binary_data_size":1.5"#, "")).contains("non-negative integer"));
}

#[test]
fn every_refusal_is_malformed_to_the_caller() {
    let error = Error::from(decode("{").unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Malformed);
}

#[test]
fn a_response_is_read_with_null_as_nan() {
    let body = r#"{"model_name":"m","model_version":"1","id":"a","outputs":[
        {"name":"y","datatype":"FP32","shape":[2],"data":[null,1.5]}]}"#;
    let response = decode_response(body.as_bytes(), &DecodeLimits::default()).unwrap();
    assert_eq!(response.model_name, "m");
    assert_eq!(response.model_version.as_deref(), Some("1"));
    let values = response.outputs[0].to_slice::<f32>().unwrap();
    assert!(values[0].is_nan() && values[1] == 1.5);
    let body = body.replace("[null,1.5]", "[\"a\",1.5]");
    let error = decode_response(body.as_bytes(), &DecodeLimits::default()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("output 'y': element at index 0 is the string \"a\"")
    );
}

#[test]
fn parameters_are_counted_over_the_whole_request() {
    let some = |count: usize| {
        let pairs: Vec<String> = (0..count).map(|n| format!(r#""p{n}":1"#)).collect();
        format!("{{{}}}", pairs.join(","))
    };
    let request = |tensors: usize, outputs: usize| {
        let parameters = some(1000);
        let tensor = format!(
            r#"{{"name":"x","datatype":"INT8","shape":[0],"data":[],"parameters":{parameters}}}"#
        );
        let output = format!(r#"{{"name":"y","parameters":{parameters}}}"#);
        format!(
            r#"{{"parameters":{parameters},"inputs":[{}],"outputs":[{}]}}"#,
            vec![tensor; tensors].join(","),
            vec![output; outputs].join(",")
        )
    };
    assert!(decode(&request(8, 7)).is_ok(), "16,000 of them");
    assert_eq!(
        refused(&request(8, 8)),
        "requested output 'y': more than 16384 parameters in the request, all its objects \
         together"
    );
    assert_eq!(
        refused(&request(1000, 0)),
        "input 'x': more than 16384 parameters in the request, all its objects together"
    );
    let one = format!(r#"{{"parameters":{},"inputs":[]}}"#, some(1025));
    assert_eq!(refused(&one), "request: more than 1024 parameters");
    let error = oip_error(&request(1000, 0));
    assert_eq!(error.limit(), Some(crate::Limit::Parameters));
}

fn oip_error(body: &str) -> crate::Error {
    decode(body).unwrap_err().into()
}
