//! A program in place of a folder of models: what it says of its own server, and the server.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use oip::Server;
use oip::config::{Config, LogFormat, OPTIONS, Origin, Settings, Sources, Value};
use oip::models::Models;

use crate::Programs;

fn value<'a>(config: &'a Config, key: &str) -> Option<&'a Value> {
    let mut entries = config.entries().iter();
    let entry = entries.find(|entry| entry.option.key == key)?;
    Some(&entry.value)
}

/// What is to be served, as far as it is known before any program has run.
pub(super) fn named(config: &Config) -> Option<PathBuf> {
    match value(config, "model_repository") {
        Some(Value::Text(path)) => Some(PathBuf::from(path)),
        _ => None,
    }
}

/// Whether to begin again when the program changes.
pub(super) fn reloads(config: &Config) -> bool {
    value(config, "reload") == Some(&Value::Bool(true))
}

/// The form of the log, for what is said before all settings are known.
pub(super) fn log_format(config: &Config) -> LogFormat {
    match value(config, "log_format") {
        Some(Value::Text(form)) if form == "json" => LogFormat::Json,
        _ => LogFormat::Text,
    }
}

/// The sources with what a program says itself: stronger than the environment, weaker than the
/// command line.
pub(super) fn sources(
    sources: Sources,
    config: &Config,
    program: &Path,
    programs: &dyn Programs,
) -> Result<Sources, String> {
    merged(sources, config, programs.settings(program)?)
}

fn merged(
    mut sources: Sources,
    config: &Config,
    given: Vec<(String, String)>,
) -> Result<Sources, String> {
    for (key, value) in given {
        let mut options = OPTIONS.iter();
        let option = options.find(|option| option.key_spellings().any(|known| known == key));
        let Some(option) = option else {
            return Err(format!("'{key}', which the program says, is not a setting"));
        };
        let mut entries = config.entries().iter();
        let entry = entries.find(|entry| entry.option.key == option.key);
        if !entry.is_some_and(|entry| matches!(entry.origin, Origin::Flag(_))) {
            sources = sources.with_flag(option.flag(), value);
        }
    }
    Ok(sources)
}

/// The server of a program, and its models.
pub(super) fn server(
    program: &Path,
    settings: &Settings,
    programs: &dyn Programs,
) -> Result<(Server, Arc<dyn Models>), String> {
    let models = programs.open(program, settings)?;
    let server = Server::of_models(Arc::clone(&models)).configure(settings);
    let server = server
        .guarded(settings)
        .map_err(|error| error.to_string())?;
    Ok((server, models))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_force(given: &[(&str, &str)], key: &str) -> Result<String, String> {
        let sources = Sources::default()
            .with_variable("OIP_REST_PORT", "1000")
            .with_variable("OIP_GRPC_PORT", "1001")
            .with_flag("grpc-port", "2001");
        let config = Config::resolve(&sources).unwrap();
        let given = given
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let sources = merged(sources, &config, given.collect())?;
        let config = Config::resolve(&sources).unwrap();
        let entry = config
            .entries()
            .iter()
            .find(|entry| entry.option.key == key);
        Ok(entry.unwrap().shown().to_owned())
    }

    #[test]
    fn a_program_is_stronger_than_the_environment_and_weaker_than_the_command_line() {
        assert_eq!(
            in_force(&[("rest_port", "3000")], "rest_port").unwrap(),
            "3000"
        );
        assert_eq!(
            in_force(&[("fastapi_port", "3000")], "rest_port").unwrap(),
            "3000"
        );
        assert_eq!(
            in_force(&[("grpc_port", "3000")], "grpc_port").unwrap(),
            "2001"
        );
        assert_eq!(in_force(&[], "rest_port").unwrap(), "1000");
    }

    #[test]
    fn a_list_that_a_program_gives_keeps_all_its_members() {
        let given = [("model_name", "a"), ("model_name", "b")];
        assert_eq!(in_force(&given, "model_name").unwrap(), "a,b");
    }

    #[test]
    fn a_setting_that_there_is_none_of_is_named() {
        let error = in_force(&[("rest_prot", "1")], "rest_port").unwrap_err();
        assert!(error.contains("'rest_prot'"), "{error}");
    }
}
