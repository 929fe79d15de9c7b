//! Configuration: one table of options, read once at the edge.
//!
//! | file | what it holds |
//! |---|---|
//! | [`table`](OPTIONS) | every option: kind, default, help, the names others gave it |
//! | `source` | where values come from; the only reader of the process environment |
//! | `properties` | `oip.properties` in the layers of Krausening, `$NAME`, `ENC(...)` |
//! | [`Config`] | the value in force of each option, and where it came from |
//! | [`Settings`] | the same, typed and checked together: what a server is built from |
//!
//! Command line > environment > `oip.properties` > default. At one level our name is stronger
//! than the original's.

#[macro_use]
mod words;

mod access;
mod concerns;
mod encrypted;
mod error;
mod expand;
mod in_force;
mod listen;
mod misspelt;
mod nearest;
mod options;
mod otel;
mod properties;
mod reader;
#[cfg(test)]
mod reference;
mod secret;
mod settings;
mod shown;
mod source;
mod table;
mod tls;
mod value;
mod watch;

use std::fmt;
use std::path::{Path, PathBuf};

pub use access::{AccessSettings, PdpKind};
pub use concerns::Reach;
pub use error::ConfigError;
pub use in_force::Follows;
pub use listen::{Listen, Sockets};
pub use options::{ConfigOption, Group, OPTIONS, Standing, option};
pub use otel::OpenTelemetry;
pub use secret::Secret;
pub use settings::{AccessLogFormat, LogFormat, LogLevel, ModelControl, ServerTiming, Settings};
pub use source::{Manager, Origin, Sources, Surroundings};
pub use tls::{ClientAuth, TlsSettings};
pub use value::{Kind, Value};
pub use watch::{Changes, Watch};

use encrypted::{encrypted, is_meant_encrypted};
use error::Faults;
use expand::is_one_reference;
use properties::{Properties, literal_place};
use value::kserve_boolean;

/// The value in force of every option, and where it came from.
#[derive(Debug, Clone)]
pub struct Config {
    entries: Vec<Entry>,
    warnings: Vec<String>,
    files: Vec<PathBuf>,
    surroundings: Surroundings,
    /// The keys whose values make no sense; they have their defaults here.
    wrong: Vec<&'static str>,
}

/// The value in force of one option.
#[derive(Clone)]
pub struct Entry {
    /// The option.
    pub option: &'static ConfigOption,
    /// Its value.
    pub value: Value,
    /// Where the value came from.
    pub origin: Origin,
    shown: String,
    hidden: bool,
}

impl Entry {
    /// The value as text; `***` for what must not be shown, empty where there is none.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Whether the value must not be shown: it is a secret by its option, or the operator has
    /// encrypted it.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        self.hidden
    }

    /// Whether somebody gave a value.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.origin != Origin::Default
    }
}

impl fmt::Debug for Entry {
    /// The value as it may be shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.option.key)
            .field("value", &self.shown)
            .field("origin", &self.origin)
            .finish()
    }
}

/// A value that was given for an option under one of its names.
struct Given {
    text: String,
    origin: Origin,
    /// The name it was given under.
    name: String,
    /// Whether it was encrypted where it was given.
    decrypted: bool,
}

impl Config {
    /// Finds the value in force of every option.
    ///
    /// # Errors
    /// [`ConfigError`], every one there is: values in force that make no sense, flags that do not
    /// exist, properties files that cannot be read, `ENC(...)` that cannot be decrypted. Values
    /// that a stronger one replaces are not looked at.
    pub fn resolve(sources: &Sources) -> Result<Self, ConfigError> {
        let (config, faults) = Self::examine(sources);
        faults.none().map(|()| config)
    }

    /// Finds the value in force of every option, and the typed settings of them all.
    ///
    /// # Errors
    /// [`ConfigError`], every one there is: those of [`resolve`](Self::resolve), and of
    /// [`settings`](Self::settings) what does not come of a value that makes no sense.
    pub fn checked(sources: &Sources) -> Result<(Self, Settings), ConfigError> {
        let (config, mut faults) = Self::examine(sources);
        let settings = faults.take(config.settings());
        faults.none()?;
        match settings {
            Some(settings) => Ok((config, settings)),
            None => unreachable!("settings are there, or a fault is"),
        }
    }

    /// The value in force of every option, the default where that one makes no sense, and what is
    /// wrong.
    fn examine(sources: &Sources) -> (Self, Faults) {
        let mut faults = Faults::default();
        refuse_unknown_flags(sources, &mut faults);
        let mut properties = properties::read_layers(sources, &mut faults);
        let (mut warnings, mut wrong) = (Vec::new(), Vec::new());
        let mut entries = Vec::with_capacity(OPTIONS.len());
        for option in OPTIONS {
            let given = candidates(option, sources, &mut properties, &mut warnings);
            let entry = given.and_then(|given| {
                warn_of_rivals(option, &given, &mut warnings);
                entry(option, given.into_iter().next())
            });
            entries.push(faults.take(entry).unwrap_or_else(|| {
                wrong.push(option.key);
                default(option)
            }));
        }
        warnings.splice(0..0, std::mem::take(&mut properties.warnings));
        misspelt::warn_of_unknown_variables(sources, &mut warnings);
        let mut config = Self {
            entries,
            warnings,
            files: properties.files,
            surroundings: sources.surroundings(),
            wrong,
        };
        let told = otel::warnings(&reader::Reader(&config));
        config.warnings.extend(told);
        (config, faults)
    }

    /// Every option's value, in the order of the table.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What is odd and does not keep the server from starting, one sentence each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The properties files that the environment names, whether or not they exist.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(PathBuf::as_path)
    }

    /// What is logged. It can change while the server runs.
    #[must_use]
    pub fn log_level(&self) -> LogLevel {
        settings::log_level(self)
    }

    /// The typed settings, checked together.
    ///
    /// # Errors
    /// [`ConfigError`], every one there is: options that do not go together, authentication without
    /// a key.
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        Settings::new(self)
    }

    /// The part of them that says who may come in and who decides, whether or not there is a key.
    ///
    /// # Errors
    /// [`ConfigError`], every one there is: options that do not go together.
    pub fn access(&self) -> Result<AccessSettings, ConfigError> {
        AccessSettings::new(self)
    }
}

fn refuse_unknown_flags(sources: &Sources, faults: &mut Faults) {
    for (name, _) in &sources.flags {
        let known = OPTIONS
            .iter()
            .any(|option| option.flag_spellings().any(|spelling| spelling == *name));
        if !known {
            faults.add(ConfigError::Flag(name.clone()));
        }
    }
}

/// Everything that was given for an option, the strongest first.
fn candidates(
    option: &'static ConfigOption,
    sources: &Sources,
    properties: &mut Properties,
    warnings: &mut Vec<String>,
) -> Result<Vec<Given>, ConfigError> {
    let mut given = flags(option, sources);
    for name in option.variable_spellings() {
        let Some(value) = sources.variable(&name) else {
            continue;
        };
        let Some(text) = value.to_str() else {
            return Err(ConfigError::NotText {
                key: option.key,
                variable: name,
            });
        };
        if option.kind == Kind::Port && is_service_link(text) {
            warnings.push(format!(
                "{name} is passed over: it is the link that Kubernetes sets for a service of that \
                 name"
            ));
            continue;
        }
        given.push(Given {
            text: text.to_owned(),
            origin: Origin::Environment(name.clone()),
            name,
            decrypted: false,
        });
    }
    for key in option.key_spellings() {
        if let Some(found) = properties.value(option, key, sources)? {
            given.push(Given {
                text: found.text,
                origin: found.origin,
                name: key.to_owned(),
                decrypted: found.decrypted,
            });
        }
    }
    // How Python writes that nothing is given.
    let unset = |one: &Given| option.key.starts_with("kserve_") && one.text.trim() == "None";
    given.retain(|one| !unset(one));
    Ok(given)
}

fn flags(option: &'static ConfigOption, sources: &Sources) -> Vec<Given> {
    let mut given = Vec::new();
    for name in option.flag_spellings() {
        let values = sources.flags.iter().filter(|(flag, _)| *flag == name);
        let values: Vec<&str> = values.map(|(_, value)| value.as_str()).collect();
        let text = match (option.kind, values.last()) {
            (_, None) => continue,
            (Kind::List, Some(_)) => values.join(","),
            (_, Some(last)) => (*last).to_owned(),
        };
        let origin = Origin::Flag(name.clone());
        given.push(Given {
            text,
            origin,
            name,
            decrypted: false,
        });
    }
    given
}

/// Kubernetes sets `X_PORT=tcp://10.0.0.1:80` in every pod beside a service named `x`.
fn is_service_link(text: &str) -> bool {
    ["tcp://", "udp://", "sctp://"]
        .iter()
        .any(|scheme| text.starts_with(scheme))
}

/// Says which of several names at one level is in force, where they disagree.
fn warn_of_rivals(option: &ConfigOption, given: &[Given], warnings: &mut Vec<String>) {
    let Some(winner) = given.first() else { return };
    for rival in given.iter().skip(1) {
        let same_level = rival.origin.level() == winner.origin.level();
        if same_level && rival.text != winner.text {
            warnings.push(format!(
                "{} ({}) is passed over: {} ({}) says {} too and is stronger",
                rival.name, rival.origin, winner.name, winner.origin, option.key
            ));
        }
    }
}

fn entry(option: &'static ConfigOption, given: Option<Given>) -> Result<Entry, ConfigError> {
    let Some(given) = given else {
        return Ok(default(option));
    };
    let hidden = option.secret || given.decrypted;
    let text = match is_kserve(&given, option) && option.kind == Kind::Bool {
        true => kserve_boolean(&given.text).to_owned(),
        false => given.text,
    };
    let origin = given.origin;
    let outside_a_file = !matches!(origin, Origin::File { .. } | Origin::Default);
    let meant = option.secret && is_meant_encrypted(&text);
    if outside_a_file && (meant || encrypted(&text).is_some()) {
        return Err(ConfigError::Encrypted {
            key: option.key,
            origin,
            reason: "only values in oip.properties are decrypted",
        });
    }
    if option.secret && !outside_a_file && is_one_reference(&text) {
        return Err(ConfigError::Unset {
            key: option.key,
            origin,
            instead: literal_place(option),
        });
    }
    // Whether a secret that is blank stands in the way of anything is seen when all is known.
    let blank_secret = option.secret && text.trim().is_empty();
    let value = match option.kind.read(&text) {
        Some(_) if option.secret => Value::Secret(Secret::new(text.clone())),
        None if blank_secret => Value::Secret(Secret::new(text.clone())),
        Some(value) => value,
        None => return Err(unfit(option, &text, origin, hidden, option.kind.allowed())),
    };
    let shown = match hidden {
        true => shown::HIDDEN.to_owned(),
        false => shown::shown(option.kind, text.trim()),
    };
    Ok(Entry {
        option,
        value,
        origin,
        shown,
        hidden,
    })
}

/// An option that nobody gave a value.
fn default(option: &'static ConfigOption) -> Entry {
    Entry {
        option,
        value: match option.default {
            "" => Value::Absent,
            text => option.kind.read(text).unwrap_or(Value::Absent),
        },
        origin: Origin::Default,
        shown: option.default.to_owned(),
        hidden: option.secret,
    }
}

/// A value that its option does not take.
fn unfit(
    option: &ConfigOption,
    text: &str,
    origin: Origin,
    hidden: bool,
    allowed: String,
) -> ConfigError {
    let shown = match hidden {
        true => shown::HIDDEN.to_owned(),
        false => format!("'{}'", excerpt(&shown::shown(option.kind, text))),
    };
    ConfigError::Value {
        key: option.key,
        shown,
        origin,
        allowed,
    }
}

/// Whether a value was given by a name of KServe's.
fn is_kserve(given: &Given, option: &ConfigOption) -> bool {
    match &given.origin {
        Origin::Flag(name) => option.flags.contains(&name.as_str()),
        _ => given.name.to_ascii_lowercase().starts_with("kserve_"),
    }
}

/// A text of one line that is short enough to be read in a message.
fn excerpt(text: &str) -> String {
    const MOST: usize = 80;
    let short: String = text.chars().take(MOST).collect();
    let more = if short.len() < text.len() { "..." } else { "" };
    format!("{}{more}", short.escape_debug())
}

#[cfg(test)]
mod tests;
