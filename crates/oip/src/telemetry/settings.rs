//! Triton's trace settings: which inferences are traced, of all models and of one.
//!
//! Source: Triton's `extension_trace.md`, and its server for what the page leaves out.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use oip_protocol::error::excerpt;
use oip_protocol::{Error, Result};

use super::context::number;

/// Most models that have settings of their own.
const MOST_MODELS: usize = 1024;

/// Which inferences are traced.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TraceSettings {
    /// Whether any are (`trace_level` TIMESTAMPS).
    pub(crate) on: bool,
    /// The share of those that bring no trace of their own, from 0 to 1 (`trace_rate`).
    pub(crate) ratio: f64,
    /// How many more (`trace_count`); `None` for no end.
    pub(crate) left: Option<u64>,
    /// How many are gathered before they are sent (`log_frequency`); 0 leaves that to the time.
    pub(crate) frequency: u64,
}

impl TraceSettings {
    /// One in how many, as Triton says it.
    fn rate(&self) -> u64 {
        match self.ratio > 0.0 {
            true => (1.0 / self.ratio).round() as u64,
            false => 0,
        }
    }

    /// Every setting by its name. A level is a list.
    pub(crate) fn shown(&self) -> Vec<(&'static str, String)> {
        let count = self
            .left
            .map_or_else(|| "-1".to_owned(), |left| left.to_string());
        vec![
            ("trace_file", String::new()),
            (LEVEL, level(self.on).to_owned()),
            ("trace_rate", self.rate().to_string()),
            ("trace_count", count),
            ("log_frequency", self.frequency.to_string()),
        ]
    }

    /// Changes a setting; without values it is what `before` says.
    fn update(&mut self, name: &str, values: Option<&[String]>, before: &Self) -> Result<()> {
        let Some(values) = values else {
            match name {
                LEVEL => self.on = before.on,
                "trace_rate" => self.ratio = before.ratio,
                "trace_count" => self.left = before.left,
                "log_frequency" => self.frequency = before.frequency,
                "trace_file" => {}
                _ => return Err(unknown(name)),
            }
            return Ok(());
        };
        if name == LEVEL {
            self.on = read_level(values)?;
            return Ok(());
        }
        let [value] = values else {
            return Err(match NAMES.contains(&name) {
                true => Error::malformed(format!("the trace setting {name} takes one value")),
                false => unknown(name),
            });
        };
        match name {
            "trace_rate" => self.ratio = read_rate(value)?,
            "trace_count" => self.left = read_count(value)?,
            "log_frequency" => self.frequency = read_number(name, value)?,
            // A caller must not choose where this server writes.
            "trace_file" if value.is_empty() => {}
            "trace_file" => {
                return Err(Error::malformed(
                    "trace_file cannot be set by a call: traces go to otlp_endpoint, or to the log",
                ));
            }
            _ => return Err(unknown(name)),
        }
        Ok(())
    }
}

pub(crate) const LEVEL: &str = "trace_level";
const NAMES: [&str; 5] = [
    "trace_file",
    LEVEL,
    "trace_rate",
    "trace_count",
    "log_frequency",
];

fn level(on: bool) -> &'static str {
    match on {
        true => "TIMESTAMPS",
        false => "OFF",
    }
}

fn unknown(name: &str) -> Error {
    Error::malformed(format!(
        "there is no trace setting '{}': they are {}",
        excerpt(name),
        NAMES.join(", ")
    ))
}

fn read_level(values: &[String]) -> Result<bool> {
    let words: Vec<&str> = values.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["OFF"] => Ok(false),
        ["TIMESTAMPS"] => Ok(true),
        words if words.contains(&"TENSORS") => Err(Error::malformed(
            "trace_level TENSORS is not traced: no tensor ever stands in a trace",
        )),
        words => Err(Error::malformed(format!(
            "trace_level is '{}', but it is OFF or TIMESTAMPS",
            excerpt(&words.join(","))
        ))),
    }
}

fn read_number(name: &str, value: &str) -> Result<u64> {
    let number = value.parse::<u32>().map(u64::from);
    number.map_err(|_| {
        Error::malformed(format!(
            "{name} is '{}', but it is a whole number of at most 32 bits",
            excerpt(value)
        ))
    })
}

fn read_rate(value: &str) -> Result<f64> {
    Ok(match read_number("trace_rate", value)? {
        0 => 0.0,
        rate => 1.0 / rate as f64,
    })
}

fn read_count(value: &str) -> Result<Option<u64>> {
    match value {
        "-1" => Ok(None),
        value => read_number("trace_count", value).map(Some),
    }
}

/// The settings of one server.
pub(crate) struct TraceSwitch {
    /// What the server was started with.
    started: TraceSettings,
    state: Mutex<State>,
    /// Whether anything at all is traced, so that where nothing is a request looks no further.
    any: AtomicBool,
    /// Whether a model has settings of its own.
    models: AtomicBool,
    /// The ratio of all models, as bits.
    ratio: AtomicU64,
}

struct State {
    global: TraceSettings,
    models: HashMap<String, TraceSettings>,
}

/// A change of settings: names, and their new values; none to go back.
pub(crate) type Changes = Vec<(String, Option<Vec<String>>)>;

impl TraceSwitch {
    pub(crate) fn new(started: TraceSettings) -> Self {
        let switch = Self {
            state: Mutex::new(State {
                global: started.clone(),
                models: HashMap::new(),
            }),
            started,
            any: AtomicBool::default(),
            models: AtomicBool::default(),
            ratio: AtomicU64::default(),
        };
        switch.note(&switch.lock());
        switch
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down what requests look at.
    fn note(&self, state: &State) {
        let any = state.global.on || state.models.values().any(|model| model.on);
        self.any.store(any, Relaxed);
        self.models.store(!state.models.is_empty(), Relaxed);
        self.ratio.store(state.global.ratio.to_bits(), Relaxed);
    }

    /// Whether anything is traced.
    pub(crate) fn is_on(&self) -> bool {
        self.any.load(Relaxed)
    }

    /// Whether an inference about which this server decides may be traced: decided now, or left
    /// open where it depends on the model.
    pub(crate) fn may_trace(&self, trace: &[u8; 16]) -> bool {
        self.models.load(Relaxed) || is_of_share(f64::from_bits(self.ratio.load(Relaxed)), trace)
    }

    /// Whether an inference of this model is traced after all; counts it. `trace` is that of one
    /// about which this server decides. How many are gathered before they are sent.
    pub(crate) fn takes(&self, model: Option<&str>, trace: Option<&[u8; 16]>) -> Option<u64> {
        let mut state = self.lock();
        let own = !state.models.is_empty();
        let State { global, models } = &mut *state;
        let settings = model
            .and_then(|model| models.get_mut(model))
            .unwrap_or(global);
        let chosen = |trace| is_of_share(settings.ratio, trace);
        if !settings.on || (own && !trace.is_none_or(chosen)) {
            return None;
        }
        if let Some(left) = &mut settings.left {
            *left = left.checked_sub(1)?;
        }
        Some(settings.frequency)
    }

    /// The settings of a model, or of all.
    pub(crate) fn read(&self, model: Option<&str>) -> TraceSettings {
        let state = self.lock();
        let own = model.and_then(|model| state.models.get(model));
        own.unwrap_or(&state.global).clone()
    }

    /// Changes settings of a model, or of all. All or none are changed.
    ///
    /// # Errors
    /// A name that is none, and a value that it does not take.
    pub(crate) fn update(&self, model: Option<&str>, changes: &Changes) -> Result<TraceSettings> {
        let mut state = self.lock();
        let before = match model {
            None => &self.started,
            Some(_) => &state.global,
        };
        let own = model.and_then(|model| state.models.get(model));
        let mut settings = own.unwrap_or(&state.global).clone();
        for (name, values) in changes {
            settings.update(name, values.as_deref(), before)?;
        }
        match model {
            None => state.global = settings.clone(),
            Some(model) => {
                if state.models.len() >= MOST_MODELS && !state.models.contains_key(model) {
                    return Err(Error::too_many_requests(
                        "too many models have trace settings of their own",
                    ));
                }
                state.models.insert(model.to_owned(), settings.clone());
            }
        }
        self.note(&state);
        Ok(settings)
    }

    /// From now on a model has no settings of its own.
    pub(crate) fn forget(&self, model: &str) {
        let mut state = self.lock();
        state.models.remove(model);
        self.note(&state);
    }
}

/// Whether a trace is one of this share. Every service that decides by the id of the trace, as
/// OpenTelemetry's `traceidratio` does, decides alike.
fn is_of_share(ratio: f64, trace: &[u8; 16]) -> bool {
    let [.., a, b, c, d, e, f, g, h] = *trace;
    let low = u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1;
    ratio >= 1.0 || (low as f64) < ratio * (1_u64 << 63) as f64
}

/// Chance.
pub(crate) fn is_chosen(ratio: f64) -> bool {
    ratio >= 1.0 || (number() as f64) < ratio * u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn switch(on: bool) -> TraceSwitch {
        TraceSwitch::new(TraceSettings {
            on,
            ratio: 1.0,
            left: None,
            frequency: 0,
        })
    }

    fn change(name: &str, values: &[&str]) -> (String, Option<Vec<String>>) {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        (name.to_owned(), Some(values))
    }

    #[test]
    fn a_model_has_settings_of_its_own_until_they_are_forgotten() {
        let switch = switch(false);
        assert!(!switch.is_on());
        let on = vec![
            change(LEVEL, &["TIMESTAMPS"]),
            change("trace_count", &["1"]),
        ];
        switch.update(Some("m"), &on).unwrap();
        let trace = Some(&[7; 16]);
        assert!(switch.is_on() && switch.takes(None, trace).is_none());
        assert_eq!(switch.takes(Some("m"), trace), Some(0));
        assert_eq!(switch.takes(Some("m"), trace), None, "one was asked for");
        switch.forget("m");
        assert!(!switch.is_on());
    }

    #[test]
    fn without_a_value_a_setting_goes_back() {
        let switch = switch(true);
        switch
            .update(None, &vec![change("trace_rate", &["10"])])
            .unwrap();
        assert_eq!(switch.read(None).rate(), 10);
        let settings = switch.update(None, &vec![("trace_rate".to_owned(), None)]);
        assert_eq!(settings.unwrap().rate(), 1);
    }

    #[test]
    fn what_does_not_fit_is_named_and_changes_nothing() {
        let switch = switch(true);
        for (changes, message) in [
            (vec![change(LEVEL, &["TENSORS"])], "no tensor ever"),
            (
                vec![change(LEVEL, &["OFF", "TIMESTAMPS"])],
                "OFF,TIMESTAMPS",
            ),
            (vec![change("trace_file", &["/etc/x"])], "cannot be set"),
            (vec![change("trace_rate", &["-1"])], "'-1'"),
            (
                vec![change("trace_rate", &["5"]), change("speed", &["5"])],
                "'speed'",
            ),
            (vec![change("trace_count", &["1", "2"])], "one value"),
        ] {
            let error = switch.update(None, &changes).unwrap_err();
            assert!(error.message().contains(message), "{error}");
        }
        assert_eq!(switch.read(None), switch.started);
    }

    #[test]
    fn chance_follows_the_ratio() {
        let chosen = (0..10_000).filter(|_| is_chosen(0.25)).count();
        assert!((2_000..3_000).contains(&chosen), "{chosen}");
        assert!(!is_chosen(0.0) && is_chosen(1.0));
    }
}
