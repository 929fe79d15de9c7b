//! The first answer of each kind, looked at closely before anything is timed: a server that is
//! fast with wrong answers is not fast.

use oip::grpc::messages::ModelInferResponse;
use oip::grpc::messages::model_infer_response::InferOutputTensor;
use serde_json::Value;

use super::answer::Answer;
use super::host::Host;
use super::load::Ask;
use super::sample::Input;
use super::work::Wire;
use super::{BenchError, request, target};

/// What an answer has to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expect {
    /// The bytes that were sent.
    SameBytes,
    /// The inputs' numbers as outputs.
    SameNumbers,
    /// Outputs, whatever they are.
    Outputs,
}

/// Asks once and looks at the answer.
pub(super) async fn first_answer(
    wire: Wire,
    host: &Host,
    model: &str,
    inputs: &[Input],
    expect: Expect,
) -> Result<(), BenchError> {
    let wrong = |why: String| BenchError::Wrong { why };
    match request::build(wire, host, model, inputs) {
        Ask::Http1(sent) => {
            let answer = target::once(host, &sent).await?;
            if answer.status != 200 {
                return Err(wrong(answer.complaint()));
            }
            match (expect, wire) {
                (Expect::SameBytes, _) => same_bytes(&sent, &answer),
                (_, Wire::Binary) => binary_answer(&answer, inputs, expect),
                _ => json_answer(&answer.body, inputs, expect),
            }
        }
        Ask::Grpc(_) => {
            let answer = target::infer(host, request::message(model, inputs)).await?;
            grpc_answer(&answer, inputs, expect)
        }
    }
    .map_err(wrong)
}

fn same_bytes(sent: &[u8], answer: &Answer) -> Result<(), String> {
    match !answer.body.is_empty() && sent.ends_with(&answer.body) {
        true => Ok(()),
        false => Err("the floor did not send back what it was sent".to_owned()),
    }
}

fn json_answer(body: &[u8], inputs: &[Input], expect: Expect) -> Result<(), String> {
    let answer = outputs(body)?;
    if expect == Expect::Outputs {
        return Ok(());
    }
    for (output, input) in answer.iter().zip(inputs) {
        let data = output.get("data").and_then(Value::as_array);
        let data = data.ok_or("an output has no data")?;
        let sent: Vec<Value> = serde_json::from_str(&input.json).map_err(|e| e.to_string())?;
        if data.len() != sent.len() {
            return Err(format!(
                "{} numbers came back for {}",
                data.len(),
                sent.len()
            ));
        }
        let differs = data
            .iter()
            .zip(&sent)
            .position(|(got, sent)| !same(got, sent));
        if let Some(index) = differs {
            let (got, sent) = (&data[index], &sent[index]);
            return Err(format!("element {index} came back as {got} for {sent}"));
        }
    }
    all_there(answer.len(), inputs)
}

/// Whether two numbers are the same FP32 (a server may write more digits), or the same value.
fn same(got: &Value, sent: &Value) -> bool {
    match (got.as_f64(), sent.as_f64()) {
        (Some(got), Some(sent)) => got as f32 == sent as f32,
        _ => got == sent,
    }
}

fn binary_answer(answer: &Answer, inputs: &[Input], expect: Expect) -> Result<(), String> {
    let length = header(&answer.head, "inference-header-content-length");
    let length: usize = length
        .and_then(|length| length.parse().ok())
        .ok_or("the answer has no Inference-Header-Content-Length: it is not binary")?;
    let (json, raw) = answer
        .body
        .split_at_checked(length)
        .ok_or("the answer is shorter than its header says")?;
    let outputs = outputs(json)?;
    if expect == Expect::Outputs {
        return Ok(());
    }
    let sent: Vec<u8> = inputs.iter().flat_map(|input| input.raw.clone()).collect();
    if raw != sent {
        return Err("the bytes that came back are not those sent".to_owned());
    }
    all_there(outputs.len(), inputs)
}

fn grpc_answer(
    answer: &ModelInferResponse,
    inputs: &[Input],
    expect: Expect,
) -> Result<(), String> {
    if answer.outputs.is_empty() {
        return Err("the answer has no outputs".to_owned());
    }
    if expect == Expect::Outputs {
        return Ok(());
    }
    let outputs = match answer.raw_output_contents.is_empty() {
        true => answer.outputs.iter().map(typed).collect(),
        false => answer
            .raw_output_contents
            .iter()
            .map(|raw| raw.to_vec())
            .collect::<Vec<_>>(),
    };
    if outputs
        .iter()
        .zip(inputs)
        .any(|(got, input)| got != &input.raw)
    {
        return Err("the bytes that came back are not those sent".to_owned());
    }
    all_there(outputs.len(), inputs)
}

/// An output in FP32's own field, as the bytes that it is in binary.
fn typed(output: &InferOutputTensor) -> Vec<u8> {
    let contents = output.contents.iter();
    let numbers = contents.flat_map(|contents| &contents.fp32_contents);
    numbers.flat_map(|number| number.to_le_bytes()).collect()
}

fn outputs(json: &[u8]) -> Result<Vec<Value>, String> {
    let answer: Value = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let outputs = answer.get("outputs").and_then(Value::as_array);
    match outputs {
        Some(outputs) if !outputs.is_empty() => Ok(outputs.clone()),
        _ => Err("the answer has no outputs".to_owned()),
    }
}

fn all_there(outputs: usize, inputs: &[Input]) -> Result<(), String> {
    match outputs == inputs.len() {
        true => Ok(()),
        false => Err(format!(
            "{outputs} outputs came back for {} inputs",
            inputs.len()
        )),
    }
}

fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    let head = std::str::from_utf8(head).ok()?;
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let mut found = lines.filter(|(its, _)| its.eq_ignore_ascii_case(name));
    found.next().map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::sample::Declared;

    fn inputs() -> Vec<Input> {
        vec![Declared::new("x", "FP32", vec![-1]).unwrap().fill(2)]
    }

    fn answer(data: &str) -> Vec<u8> {
        format!(r#"{{"outputs":[{{"name":"x","data":{data}}}]}}"#).into_bytes()
    }

    #[test]
    fn the_same_numbers_pass() {
        let body = answer(&inputs()[0].json);
        assert_eq!(json_answer(&body, &inputs(), Expect::SameNumbers), Ok(()));
    }

    #[test]
    fn another_number_is_found_with_its_index() {
        let first: Vec<f64> = serde_json::from_str(&inputs()[0].json).unwrap();
        let body = answer(&format!("[{}, 7.5]", first[0]));
        let found = json_answer(&body, &inputs(), Expect::SameNumbers).unwrap_err();
        assert!(found.starts_with("element 1 came back as 7.5"), "{found}");
    }

    #[test]
    fn a_missing_number_is_found() {
        let found = json_answer(&answer("[1.0]"), &inputs(), Expect::SameNumbers);
        assert_eq!(found, Err("1 numbers came back for 2".to_owned()));
    }

    #[test]
    fn a_binary_answer_is_compared_bit_by_bit() {
        let json = answer("[]");
        let head = format!(
            "HTTP/1.1 200 OK\r\nInference-Header-Content-Length: {}",
            json.len()
        );
        let mut body = json;
        body.extend_from_slice(&inputs()[0].raw);
        let mut answer = Answer {
            status: 200,
            head: head.into_bytes(),
            body,
            last: false,
        };
        assert_eq!(
            binary_answer(&answer, &inputs(), Expect::SameNumbers),
            Ok(())
        );
        *answer.body.last_mut().unwrap() ^= 1;
        assert!(binary_answer(&answer, &inputs(), Expect::SameNumbers).is_err());
    }
}
