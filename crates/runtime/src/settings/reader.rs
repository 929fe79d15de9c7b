//! One table of a `model.toml`, read key by key.

use std::time::Duration;

use oip_protocol::error::excerpt;
use toml::{Table, Value};

use super::SettingsError;

type Result<T> = std::result::Result<T, SettingsError>;

/// Fewest bytes that may be asked for. Less than this no answer takes, so that nothing would ever
/// be kept.
const LEAST_BYTES: usize = 1024;

/// A table and where it stands. What is read is taken out; what is left at the end is unknown.
pub(super) struct Reader {
    table: Table,
    place: String,
    known: Vec<&'static str>,
}

impl Reader {
    pub(super) fn new(table: Table, place: impl Into<String>) -> Self {
        Self {
            table,
            place: place.into(),
            known: Vec::new(),
        }
    }

    /// The value of a key.
    pub(super) fn value(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.table.remove(key)
    }

    /// A key with the tables that it stands in.
    pub(super) fn key(&self, key: &str) -> String {
        match self.place.is_empty() {
            true => key.to_owned(),
            false => format!("{}.{key}", self.place),
        }
    }

    pub(super) fn wrong(&self, key: &str, found: &Value, allowed: &str) -> SettingsError {
        wrong(self.key(key), found, allowed)
    }

    pub(super) fn missing(&self, key: &str, allowed: &str) -> SettingsError {
        SettingsError::MissingKey {
            key: self.key(key),
            allowed: allowed.to_owned(),
        }
    }

    /// A whole number from `least` to `most`.
    pub(super) fn number(
        &mut self,
        key: &'static str,
        least: u64,
        most: u64,
    ) -> Result<Option<u64>> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        match whole(&value).filter(|number| (least..=most).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let allowed = format!("a whole number from {least} to {most}");
                Err(self.wrong(key, &value, &allowed))
            }
        }
    }

    pub(super) fn count(
        &mut self,
        key: &'static str,
        least: u64,
        most: u64,
    ) -> Result<Option<usize>> {
        let number = self.number(key, least, most)?;
        Ok(number.map(|number| usize::try_from(number).unwrap_or(usize::MAX)))
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Result<Option<bool>> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Boolean(value)) => Ok(Some(value)),
            Some(other) => Err(self.wrong(key, &other, "true or false")),
        }
    }

    /// A duration, such as `"5 ms"`, `"250us"` or `"2 s"`.
    pub(super) fn duration(&mut self, key: &'static str) -> Result<Option<Duration>> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        match value.as_str().and_then(duration) {
            Some(duration) => Ok(Some(duration)),
            None => {
                let allowed = "a duration of at most a day in quotes, such as \"5 ms\": a number and us, ms, s, min or h";
                Err(self.wrong(key, &value, allowed))
            }
        }
    }

    /// A number of bytes, a KiB at least: a whole number, or a text such as `"64 MiB"`.
    pub(super) fn bytes(&mut self, key: &'static str) -> Result<Option<usize>> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let bytes = whole(&value).or_else(|| value.as_str().and_then(bytes));
        match bytes.and_then(|bytes| usize::try_from(bytes).ok()) {
            Some(bytes) if bytes >= LEAST_BYTES => Ok(Some(bytes)),
            _ => {
                let allowed = "a number of bytes from 1024 on, such as 1048576 or \"64 MiB\": a number and B, KiB, MiB or GiB";
                Err(self.wrong(key, &value, allowed))
            }
        }
    }

    /// The table of a key.
    pub(super) fn table(&mut self, key: &'static str) -> Result<Option<Self>> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Table(table)) => Ok(Some(Self::new(table, self.key(key)))),
            Some(other) => Err(self.wrong(key, &other, "a table")),
        }
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<()> {
        let Some(unknown) = self.table.keys().next() else {
            return Ok(());
        };
        let hint = nearest(unknown, &self.known)
            .map(|known| format!(", did you mean '{known}'?"))
            .unwrap_or_default();
        Err(SettingsError::UnknownKey {
            key: self.key(&excerpt(unknown)),
            hint,
            allowed: self.known.join(", "),
        })
    }
}

/// A value that a key cannot have.
pub(super) fn wrong(key: String, found: &Value, allowed: &str) -> SettingsError {
    let found = match found {
        Value::String(text) => format!("\"{}\"", excerpt(text)),
        Value::Integer(number) => number.to_string(),
        // With its point, as a whole number would be none to find fault with.
        Value::Float(number) => format!("{number:?}"),
        Value::Boolean(value) => value.to_string(),
        Value::Array(_) => "an array".to_owned(),
        Value::Table(_) => "a table".to_owned(),
        Value::Datetime(_) => "a date".to_owned(),
    };
    SettingsError::Value {
        key,
        found,
        allowed: allowed.to_owned(),
    }
}

pub(super) fn whole(value: &Value) -> Option<u64> {
    value
        .as_integer()
        .and_then(|number| u64::try_from(number).ok())
}

fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let seconds = match unit {
        "us" | "µs" => number / 1e6,
        "ms" => number / 1e3,
        "s" => number,
        "min" => number * 60.0,
        "h" => number * 3600.0,
        _ => return None,
    };
    let day = 86_400.0;
    (0.0..=day)
        .contains(&seconds)
        .then(|| Duration::from_secs_f64(seconds))
}

fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let scale: f64 = match unit {
        "B" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1_048_576.0,
        "GiB" => 1_073_741_824.0,
        _ => return None,
    };
    let bytes = number * scale;
    (0.0..1e15).contains(&bytes).then_some(bytes as u64)
}

fn number_and_unit(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, unit.trim()))
}

/// The known name that a misspelt one most likely means.
fn nearest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    // A name is near when at most a third of it is wrong, or when it has every word of the other.
    let most = (name.chars().count() / 3).clamp(1, 4);
    let near = known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(name, known), *known))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known);
    let words = |known: &&&str| known.split('_').all(|word| name.contains(word));
    near.or_else(|| known.iter().find(words).copied())
}
