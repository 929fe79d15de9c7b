//! Triton's log settings: by name, in and out.
//!
//! Source: Triton's `extension_logging.md`. Its page says `log_warnings` and `log_errors`, its
//! server `log_warning` and `log_error`: both are taken, and both answered.

use oip_protocol::error::excerpt;
use oip_protocol::{Error, Result};

use crate::logging::LogSettings;

/// A value of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LogValue {
    Flag(bool),
    Number(u32),
    Text(String),
}

/// What of the extension is no matter of levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum LogForm {
    #[default]
    Default,
    Iso8601,
}

impl LogForm {
    fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Iso8601 => "ISO8601",
        }
    }
}

/// Changes one setting.
///
/// # Errors
/// A name that is none, and a value that it does not take.
pub(crate) fn update(
    settings: &mut LogSettings,
    form: &mut LogForm,
    name: &str,
    value: &LogValue,
) -> Result<()> {
    match (name, value) {
        ("log_info", LogValue::Flag(on)) => settings.info = *on,
        ("log_warnings" | "log_warning", LogValue::Flag(on)) => settings.warnings = *on,
        ("log_errors" | "log_error", LogValue::Flag(on)) => settings.errors = *on,
        ("log_verbose_level", LogValue::Number(level)) => settings.verbose = *level,
        ("log_format", LogValue::Text(text)) => *form = log_form(text)?,
        // A caller must not choose where this server writes.
        ("log_file", LogValue::Text(path)) if path.is_empty() => {}
        ("log_file", LogValue::Text(_)) => {
            return Err(Error::malformed(
                "log_file cannot be set by a call: this server logs to its standard error",
            ));
        }
        _ => return Err(unfit(name)),
    }
    Ok(())
}

fn log_form(text: &str) -> Result<LogForm> {
    match text {
        "default" => Ok(LogForm::Default),
        "ISO8601" => Ok(LogForm::Iso8601),
        other => Err(Error::malformed(format!(
            "log_format is '{}', but it is default or ISO8601",
            excerpt(other)
        ))),
    }
}

fn unfit(name: &str) -> Error {
    let expected = match name {
        "log_info" | "log_warnings" | "log_warning" | "log_errors" | "log_error" => "true or false",
        "log_verbose_level" => "a whole number of at most 32 bits",
        "log_file" | "log_format" => "a text",
        _ => {
            return Error::malformed(format!(
                "there is no log setting '{}': they are log_file, log_info, log_warnings, \
                 log_errors, log_verbose_level and log_format",
                excerpt(name)
            ));
        }
    };
    Error::malformed(format!("the log setting {name} takes {expected}"))
}

/// Every setting by its name.
pub(crate) fn shown(settings: &LogSettings, form: LogForm) -> Vec<(&'static str, LogValue)> {
    vec![
        ("log_file", LogValue::Text(String::new())),
        ("log_info", LogValue::Flag(settings.info)),
        ("log_warnings", LogValue::Flag(settings.warnings)),
        ("log_warning", LogValue::Flag(settings.warnings)),
        ("log_errors", LogValue::Flag(settings.errors)),
        ("log_error", LogValue::Flag(settings.errors)),
        ("log_verbose_level", LogValue::Number(settings.verbose)),
        ("log_format", LogValue::Text(form.name().to_owned())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogLevel;

    fn refused(name: &str, value: LogValue) -> String {
        let mut settings = LogSettings::of(LogLevel::Info);
        let error = update(&mut settings, &mut LogForm::Default, name, &value).unwrap_err();
        error.message().to_owned()
    }

    #[test]
    fn settings_are_changed_one_by_one() {
        let mut settings = LogSettings::of(LogLevel::Info);
        let mut form = LogForm::Default;
        for (name, value) in [
            ("log_verbose_level", LogValue::Number(1)),
            ("log_warning", LogValue::Flag(false)),
            ("log_format", LogValue::Text("ISO8601".into())),
            ("log_file", LogValue::Text(String::new())),
        ] {
            update(&mut settings, &mut form, name, &value).unwrap();
        }
        assert!(settings.info && !settings.warnings && settings.verbose == 1);
        assert_eq!(form, LogForm::Iso8601);
    }

    #[test]
    fn a_wrong_name_or_value_is_named_and_no_caller_chooses_a_file() {
        assert!(refused("log_all", LogValue::Flag(true)).contains("no log setting 'log_all'"));
        let message = refused("log_info", LogValue::Number(1));
        assert_eq!(message, "the log setting log_info takes true or false");
        assert!(refused("log_file", LogValue::Text("/etc/x".into())).contains("cannot be set"));
        assert!(refused("log_format", LogValue::Text("xml".into())).contains("'xml'"));
    }
}
