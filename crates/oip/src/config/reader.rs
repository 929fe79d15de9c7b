//! Values by key and kind.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::otel::OpenTelemetry;
use super::secret::Secret;
use super::value::Value;
use super::{Config, Entry};

/// Takes values out of a configuration by the key and the kind of their option. A test reads
/// every key, so a wrong one here does not get past it.
pub(super) struct Reader<'a>(pub(super) &'a Config);

impl<'a> Reader<'a> {
    pub(super) fn entry(&self, key: &str) -> &'a Entry {
        let mut entries = self.0.entries.iter();
        match entries.find(|entry| entry.option.key == key) {
            Some(entry) => entry,
            None => unreachable!("the table has no option {key}"),
        }
    }

    /// What OpenTelemetry's variables say.
    pub(super) fn otel(&self) -> &OpenTelemetry {
        &self.0.surroundings.telemetry
    }

    pub(super) fn bool(&self, key: &str) -> bool {
        matches!(self.entry(key).value, Value::Bool(true))
    }

    pub(super) fn number(&self, key: &str) -> usize {
        match self.entry(key).value {
            Value::Number(number) => usize::try_from(number).unwrap_or(usize::MAX),
            _ => 0,
        }
    }

    pub(super) fn port(&self, key: &str) -> u16 {
        u16::try_from(self.number(key)).unwrap_or(0)
    }

    pub(super) fn duration(&self, key: &str) -> Duration {
        match self.entry(key).value {
            Value::Duration(duration) => duration,
            _ => Duration::ZERO,
        }
    }

    pub(super) fn address(&self, key: &str) -> IpAddr {
        match self.entry(key).value {
            Value::Address(address) => address,
            _ => IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        }
    }

    pub(super) fn text(&self, key: &str) -> Option<String> {
        match &self.entry(key).value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    pub(super) fn ratio(&self, key: &str) -> f64 {
        let text = self.text(key);
        text.and_then(|text| text.parse().ok()).unwrap_or(1.0)
    }

    pub(super) fn path(&self, key: &str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    pub(super) fn list(&self, key: &str) -> Vec<String> {
        match &self.entry(key).value {
            Value::List(items) => items.clone(),
            _ => Vec::new(),
        }
    }

    pub(super) fn secret(&self, key: &str) -> Option<Secret> {
        match &self.entry(key).value {
            Value::Secret(secret) => Some(secret.clone()),
            _ => None,
        }
    }

    pub(super) fn word<T>(&self, key: &str, of: impl Fn(&str) -> Option<T>) -> T {
        match self.text(key).as_deref().and_then(of) {
            Some(word) => word,
            None => unreachable!("the words of {key} are those of its kind"),
        }
    }
}
