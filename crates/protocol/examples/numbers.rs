//! Numbers through the JSON form, for `.ci/judge_numbers.py`, which judges them by Python's json.
//!
//! `numbers write COUNT SEED` writes tensors of random floats, a line each: the datatype, the
//! bits of the elements in hexadecimal, and their JSON. `numbers read` reads lines of a datatype
//! and a JSON list, and answers each with the bits of what it has read.

use std::error::Error;
use std::io::{self, BufRead, BufWriter, Write};

use half::{bf16, f16};
use oip_protocol::json;
use oip_protocol::{DecodeLimits, Element, InferRequest, Tensor};

/// How many elements a tensor has.
const LINE: usize = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["write", count, seed] => write(count.parse()?, seed.parse()?),
        ["read"] => read(),
        _ => Err("usage: numbers write COUNT SEED | numbers read".into()),
    }
}

fn write(count: usize, seed: u64) -> Result<(), Box<dyn Error>> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut random = Random(seed);
    for line in 0..count / LINE {
        let tensor = match line % 10 {
            // Doubles of any exponent, then singles of any, of those that tensors hold, and round ones;
            // subnormal doubles and singles, narrow floats, integers.
            0 => doubles((0..LINE).map(|_| f64::from_bits(random.next())))?,
            1 => singles((0..LINE).map(|_| f32::from_bits(random.next() as u32)))?,
            2 => singles((0..LINE).map(|_| random.even()))?,
            3 => singles((0..LINE).map(|_| (random.next() % 2_000_001) as f32 / 1000.0 - 1000.0))?,
            4 => doubles((0..LINE).map(|_| f64::from_bits(random.next() >> (random.next() % 64))))?,
            5 => singles((0..LINE).map(|_| f32::from_bits(random.next() as u32 & 0x807f_ffff)))?,
            6 => narrow(
                (0..LINE).map(|_| f16::from_bits(random.next() as u16)),
                f16::is_finite,
            )?,
            7 => narrow(
                (0..LINE).map(|_| bf16::from_bits(random.next() as u16)),
                bf16::is_finite,
            )?,
            8 => narrow(
                (0..LINE).map(|_| random.next() as i64 >> (random.next() % 64)),
                |_| true,
            )?,
            _ => narrow(
                (0..LINE).map(|_| random.next() >> (random.next() % 64)),
                |_| true,
            )?,
        };
        let bits: String = tensor
            .data()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let datatype = tensor.datatype();
        let body = String::from_utf8(json::encode_request(&InferRequest::new([tensor]))?)?;
        let (_, data) = body.split_once("\"data\":").ok_or("no data")?;
        let end = data.find(']').ok_or("no end")?;
        writeln!(out, "{datatype} {bits} {}", &data[..=end])?;
    }
    Ok(out.flush()?)
}

fn doubles(elements: impl Iterator<Item = f64>) -> Result<Tensor, Box<dyn Error>> {
    let elements: Vec<f64> = elements
        .map(|x| if x.is_finite() { x } else { 0.0 })
        .collect();
    Ok(Tensor::from_vec("x", [elements.len() as u64], elements)?)
}

fn singles(elements: impl Iterator<Item = f32>) -> Result<Tensor, Box<dyn Error>> {
    let elements: Vec<f32> = elements
        .map(|x| if x.is_finite() { x } else { 0.0 })
        .collect();
    Ok(Tensor::from_vec("x", [elements.len() as u64], elements)?)
}

/// Those that can be written; 0 for others.
fn narrow<T: Element + Default>(
    elements: impl Iterator<Item = T>,
    finite: impl Fn(T) -> bool,
) -> Result<Tensor, Box<dyn Error>> {
    let elements: Vec<T> = elements
        .map(|x| if finite(x) { x } else { T::default() })
        .collect();
    Ok(Tensor::from_vec("x", [elements.len() as u64], elements)?)
}

fn read() -> Result<(), Box<dyn Error>> {
    let mut out = BufWriter::new(io::stdout().lock());
    let limits = DecodeLimits::default();
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (datatype, data) = line.split_once(' ').ok_or("no datatype")?;
        let count = data.matches(',').count() + 1;
        let body = format!(
            r#"{{"inputs":[{{"name":"x","datatype":"{datatype}","shape":[{count}],"data":{data}}}]}}"#
        );
        let request = json::decode_request(body.as_bytes(), &limits)?;
        let tensor = request.inputs.first().ok_or("no input")?;
        let bits: String = tensor
            .data()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        writeln!(out, "{bits}")?;
    }
    Ok(out.flush()?)
}

/// Steele, Lea and Flood's SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A single in [-1, 1).
    fn even(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}
