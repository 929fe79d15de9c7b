//! `oip.properties`, in the three layers of Krausening.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use java_properties::{LineContent, PropertiesIter};

use super::encrypted::{decrypt, encrypted, is_meant_encrypted};
use super::error::{ConfigError, Faults};
use super::expand::{expand, holds_a_reference, is_one_reference};
use super::options::{ConfigOption, OPTIONS};
use super::source::{Origin, Sources};

/// Variables that name the folders, the weakest first.
pub(super) const LAYERS: [&str; 3] = [
    "KRAUSENING_BASE",
    "KRAUSENING_EXTENSIONS",
    "KRAUSENING_OVERRIDE_EXTENSIONS",
];
/// The variable that holds the password of `ENC(...)` values.
const PASSWORD: &str = "KRAUSENING_PASSWORD";
/// The file in each folder.
const FILE: &str = "oip.properties";

/// The merged layers.
#[derive(Default)]
pub(super) struct Properties {
    values: BTreeMap<String, Raw>,
    /// The files that were named, whether or not they are there.
    pub(super) files: Vec<PathBuf>,
    pub(super) warnings: Vec<String>,
}

/// A value as the file has it.
struct Raw {
    text: String,
    origin: Origin,
}

/// A value as it is in force.
pub(super) struct Found {
    pub(super) text: String,
    pub(super) origin: Origin,
    /// Whether the file holds it encrypted.
    pub(super) decrypted: bool,
}

/// Reads every layer that the environment names. A later layer replaces an earlier one key by
/// key. A file that is not there is a warning, as it is in Krausening; one that is there and
/// cannot be read or parsed is a fault.
pub(super) fn read_layers(sources: &Sources, faults: &mut Faults) -> Properties {
    let mut properties = Properties::default();
    for variable in LAYERS {
        let Some(folder) = sources.variable(variable) else {
            continue;
        };
        let path = Path::new(folder).join(FILE);
        properties.files.push(path.clone());
        match std::fs::read(&path) {
            Ok(bytes) => faults.or(properties.add(&path, &bytes), ()),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let warning = format!("{variable} is set and {} does not exist", path.display());
                properties.warnings.push(warning);
            }
            Err(error) => faults.add(unreadable(&path, error.to_string())),
        }
    }
    properties.warn_of_unknown_keys();
    properties
}

impl Properties {
    fn add(&mut self, path: &Path, bytes: &[u8]) -> Result<(), ConfigError> {
        // The parser would replace what is no UTF-8, and so change a value in silence.
        if let Err(error) = std::str::from_utf8(bytes) {
            return Err(unreadable(path, format!("it is not UTF-8: {error}")));
        }
        let mut here = BTreeMap::new();
        for line in PropertiesIter::new_with_encoding(bytes, encoding_rs::UTF_8) {
            let line = line.map_err(|error| unreadable(path, error.to_string()))?;
            let origin = Origin::File {
                path: path.to_owned(),
                line: line.line_number(),
            };
            let number = line.line_number();
            if let LineContent::KVPair(key, text) = line.consume_content() {
                if let Some(before) = here.insert(key.clone(), number) {
                    self.warn_of_a_second(&key, before, &origin);
                }
                self.values.insert(key, Raw { text, origin });
            }
        }
        Ok(())
    }

    /// The last of several lines counts, as in Java; whoever reads the first alone is misled.
    fn warn_of_a_second(&mut self, key: &str, before: usize, origin: &Origin) {
        let mut options = OPTIONS.iter();
        if options.any(|option| option.key_spellings().any(|known| known == key)) {
            self.warnings.push(format!(
                "{origin}: {key} stands in line {before} already; this line is in force"
            ));
        }
    }

    fn warn_of_unknown_keys(&mut self) {
        let known: Vec<&str> = OPTIONS
            .iter()
            .flat_map(ConfigOption::key_spellings)
            .collect();
        for (key, raw) in &self.values {
            if known.contains(&key.as_str()) {
                continue;
            }
            let nearest = match super::nearest::nearest(key, known.iter().copied()) {
                Some(name) => format!("; is {name} meant?"),
                None => String::new(),
            };
            let key = key.escape_debug();
            let warning = format!("{}: the key {key} is not known{nearest}", raw.origin);
            self.warnings.push(warning);
        }
    }

    /// The value of a key: expanded, decrypted and expanded again, as Krausening does it.
    /// `None` where the key is not there or empty.
    ///
    /// # Errors
    /// [`ConfigError::Encrypted`] for an `ENC(...)` that cannot be decrypted.
    pub(super) fn value(
        &mut self,
        option: &'static ConfigOption,
        key: &str,
        sources: &Sources,
    ) -> Result<Option<Found>, ConfigError> {
        let Some(raw) = self.values.get(key) else {
            return Ok(None);
        };
        let lookup = |name: &str| {
            let value = sources.environment.get(name)?;
            Some(value.to_string_lossy().into_owned())
        };
        let origin = raw.origin.clone();
        let mut text = expand(&raw.text, lookup);
        let mut before = raw.text.clone();
        let inner = encrypted(&text).map(str::to_owned);
        if let Some(inner) = &inner {
            let refuse = |reason| ConfigError::Encrypted {
                key: option.key,
                origin: origin.clone(),
                reason,
            };
            let password = sources.variable(PASSWORD);
            let password = password.ok_or_else(|| refuse("KRAUSENING_PASSWORD is not set"))?;
            let password = password
                .to_str()
                .ok_or_else(|| refuse("KRAUSENING_PASSWORD is not UTF-8"))?;
            before = decrypt(inner, password).map_err(refuse)?.to_string();
            text = expand(&before, lookup);
        }
        if option.secret && is_meant_encrypted(&text) {
            return Err(ConfigError::Encrypted {
                key: option.key,
                origin,
                reason: NOT_WHOLE,
            });
        }
        if option.secret && text != before {
            self.warnings.push(format!(
                "{} ({origin}): a part of it that begins with $ was replaced by a variable of the \
                 environment; a secret that holds $ belongs into {}, which is taken literally",
                option.key,
                literal_place(option)
            ));
        }
        // A secret that is nothing else is refused, where it is in force.
        let refused = option.secret && is_one_reference(&text);
        if holds_a_reference(&text) && !refused {
            self.warnings.push(format!(
                "{} ({origin}): a part of it is the name of a variable of the environment that is \
                 not set, and stays as it is written",
                option.key
            ));
        }
        let decrypted = inner.is_some();
        Ok((!text.is_empty()).then_some(Found {
            text,
            origin,
            decrypted,
        }))
    }
}

/// Why a value that begins like an encrypted one is none.
const NOT_WHOLE: &str = "it is not a whole ENC(...) in capitals, without quotes; a secret that \
    really begins like this belongs into a file of its own";

/// Where a secret that holds a dollar sign is safe.
pub(super) fn literal_place(option: &ConfigOption) -> String {
    match option.key {
        "auth_secret" => "auth_secret_file".to_owned(),
        _ => format!("the environment ({})", option.variable()),
    }
}

fn unreadable(path: &Path, reason: String) -> ConfigError {
    ConfigError::File {
        path: path.display().to_string(),
        reason,
    }
}
