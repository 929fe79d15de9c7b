//! `[[warmup]]`: requests that a model runs before it counts as ready.

use std::collections::BTreeMap;
use std::path::Path;

use oip_protocol::{DecodeLimits, Tensor, json};
use toml::{Table, Value};

use super::SettingsError;
use super::labels::text_of;
use super::reader::{Reader, whole, wrong};

type Result<T> = std::result::Result<T, SettingsError>;

/// One request that a model runs before it counts as ready.
#[derive(Debug, Clone, PartialEq)]
pub enum Warmup {
    /// A file of the model's folder, in the protocol's JSON.
    Request {
        /// Its name, as it is written down.
        file: String,
        /// The tensors that it gave.
        inputs: Vec<Tensor>,
    },
    /// Made by shape, by the input's name. An input that is left out is made of the shape that
    /// it declares.
    Made(BTreeMap<String, WarmupInput>),
}

/// An input to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarmupInput {
    /// Its shape; `None` takes what the model declares, with 1 for what is open.
    pub shape: Option<Vec<u64>>,
    /// Its elements.
    pub fill: Fill,
}

/// What a made-up input is filled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fill {
    /// Zeros, `false`, empty strings.
    #[default]
    Zeros,
    /// Floats from -1 to 1, integers 0 and 1, either truth, short texts; the same each time.
    Random,
}

/// Most elements of an input that is made by shape.
const MOST_ELEMENTS: u64 = 1 << 28;

pub(super) fn read(top: &mut Reader, folder: &Path) -> Result<Vec<Warmup>> {
    let requests = match top.value("warmup") {
        None => return Ok(Vec::new()),
        Some(Value::Array(requests)) => requests,
        Some(other) => return Err(top.wrong("warmup", &other, "written as [[warmup]]")),
    };
    let requests = requests.into_iter().enumerate();
    requests
        .map(|(index, request)| {
            let place = format!("warmup[{index}]");
            match request {
                Value::Table(table) => of_table(Reader::new(table, place), folder),
                other => Err(wrong(place, &other, "a table, written as [[warmup]]")),
            }
        })
        .collect()
}

fn of_table(mut table: Reader, folder: &Path) -> Result<Warmup> {
    let file = table.value("file");
    let inputs = table.value("inputs");
    let warmup = match (file, inputs) {
        (Some(Value::String(file)), None) => request(&table.key("file"), &file, folder)?,
        (Some(Value::String(_)), Some(inputs)) => {
            let allowed = "not there beside 'file', which holds the inputs";
            return Err(table.wrong("inputs", &inputs, allowed));
        }
        (Some(other), _) => {
            let allowed = "the name of a file in the model's folder with a request as JSON";
            return Err(table.wrong("file", &other, allowed));
        }
        (None, Some(Value::Table(inputs))) => made(&table.key("inputs"), inputs)?,
        (None, Some(other)) => {
            return Err(table.wrong("inputs", &other, "a table of inputs by name"));
        }
        (None, None) => Warmup::Made(BTreeMap::new()),
    };
    table.end()?;
    Ok(warmup)
}

fn request(key: &str, file: &str, folder: &Path) -> Result<Warmup> {
    let text = text_of(folder, key, file)?;
    let request = json::decode_request(text.as_bytes(), &DecodeLimits::default());
    match request {
        Ok(request) => Ok(Warmup::Request {
            file: file.to_owned(),
            inputs: request.inputs,
        }),
        Err(error) => Err(SettingsError::File {
            key: key.to_owned(),
            file: format!("\"{}\"", oip_protocol::error::excerpt(file)),
            reason: format!("is no request as JSON: {error}"),
        }),
    }
}

fn made(place: &str, inputs: Table) -> Result<Warmup> {
    let of_input = |(name, value)| {
        let place = format!("{place}.{name}");
        match value {
            Value::Table(table) => Ok((name, input(Reader::new(table, place))?)),
            other => Err(wrong(
                place,
                &other,
                "a table such as { shape = [1, 4], data = \"random\" }",
            )),
        }
    };
    let inputs: Result<_> = inputs.into_iter().map(of_input).collect();
    Ok(Warmup::Made(inputs?))
}

fn input(mut table: Reader) -> Result<WarmupInput> {
    let shape = match table.value("shape") {
        None => None,
        Some(value) => Some(shape(&value).ok_or_else(|| {
            let allowed = format!(
                "an array of whole numbers, such as [1, 4], for {MOST_ELEMENTS} elements at most"
            );
            table.wrong("shape", &value, &allowed)
        })?),
    };
    let fill = match table.value("data") {
        None => Fill::default(),
        Some(Value::String(word)) if word == "zeros" => Fill::Zeros,
        Some(Value::String(word)) if word == "random" => Fill::Random,
        Some(other) => return Err(table.wrong("data", &other, "\"zeros\" or \"random\"")),
    };
    table.end()?;
    Ok(WarmupInput { shape, fill })
}

fn shape(value: &Value) -> Option<Vec<u64>> {
    let dims: Vec<u64> = value
        .as_array()?
        .iter()
        .map(whole)
        .collect::<Option<Vec<u64>>>()?;
    let count = dims
        .iter()
        .try_fold(1_u64, |count, dim| count.checked_mul(*dim))?;
    (count <= MOST_ELEMENTS).then_some(dims)
}
