//! Properties files that change while the server runs.

use std::path::Path;
use std::time::SystemTime;

use super::{Config, ConfigError, Entry, Settings, Sources};

/// Looks whether the properties files changed.
#[derive(Debug)]
pub struct Watch {
    sources: Sources,
    config: Config,
    seen: Vec<Option<Stamp>>,
    /// Which of the files were there when they were read last.
    there: Vec<bool>,
}

/// What a file looks like without reading it.
type Stamp = (Option<SystemTime>, u64);

/// What became of a changed file.
#[derive(Debug)]
pub struct Changes {
    /// The configuration as it would be at a restart.
    pub config: Config,
    /// The settings of it.
    pub settings: Settings,
    /// The options whose value is another one now.
    pub changed: Vec<Entry>,
}

impl Watch {
    /// Watches the files of a configuration that was resolved from these sources.
    #[must_use]
    pub fn new(sources: Sources, config: Config) -> Self {
        let seen = stamps(&config);
        let there = seen.iter().map(Option::is_some).collect();
        Self {
            sources,
            config,
            seen,
            there,
        }
    }

    /// The configuration as it was read last.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Reads the files again where one of them changed. `None` where none did, or where no value
    /// in force is another one.
    ///
    /// # Errors
    /// As [`Config::resolve`] and [`Config::settings`], and where a file is gone: the configuration stays as it was, and the
    /// same fault is told once.
    pub fn look(&mut self) -> Result<Option<Changes>, ConfigError> {
        let now = stamps(&self.config);
        if now == self.seen {
            return Ok(None);
        }
        self.seen = now;
        self.refuse_a_gone_file()?;
        let (config, settings) = Config::checked(&self.sources)?;
        self.there = self.seen.iter().map(Option::is_some).collect();
        let pairs = self.config.entries.iter().zip(&config.entries);
        let changed: Vec<Entry> = pairs
            .filter(|(before, after)| before.value != after.value)
            .map(|(_, after)| after.clone())
            .collect();
        self.config = config.clone();
        let changes = Changes {
            config,
            settings,
            changed,
        };
        Ok((!changes.changed.is_empty()).then_some(changes))
    }
}

impl Watch {
    /// A file that is gone is most likely between its removal and its return: what it said must
    /// not turn into the defaults meanwhile.
    fn refuse_a_gone_file(&self) -> Result<(), ConfigError> {
        let mut files = self.config.files().zip(&self.there).zip(&self.seen);
        match files.find(|((_, there), now)| **there && now.is_none()) {
            None => Ok(()),
            Some(((path, _), _)) => Err(ConfigError::File {
                path: path.display().to_string(),
                reason: "it is gone; what it said stays in force until it is there again or the \
                         server starts anew"
                    .to_owned(),
            }),
        }
    }
}

fn stamps(config: &Config) -> Vec<Option<Stamp>> {
    let stamp = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok(), metadata.len()))
    };
    config.files().map(stamp).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_gone_changes_nothing_and_a_key_that_is_gone_falls_back() {
        let folder = tempfile::tempdir().unwrap();
        let [base, over] = ["base", "over"].map(|name| folder.path().join(name));
        let write = |layer: &Path, text: &str| {
            std::fs::create_dir_all(layer).unwrap();
            std::fs::write(layer.join("oip.properties"), text).unwrap();
        };
        write(&base, "in_flight=7\nlog_level=error\n");
        write(&over, "in_flight=8\n");
        let sources = Sources::default()
            .with_variable("KRAUSENING_BASE", &base)
            .with_variable("KRAUSENING_EXTENSIONS", &over)
            .with_flag("auth-enabled", "false");
        let config = Config::resolve(&sources).unwrap();
        let mut watch = Watch::new(sources, config);

        std::fs::remove_file(over.join("oip.properties")).unwrap();
        let error = watch.look().unwrap_err().to_string();
        assert!(
            error.contains("over") && error.contains("it is gone"),
            "{error}"
        );
        assert!(watch.look().unwrap().is_none(), "it is told once");
        // Nor does a change elsewhere let its values fall.
        write(&base, "in_flight=7\nlog_level=debug\n");
        assert!(watch.look().is_err());

        write(&over, "# in_flight falls back\n");
        let changes = watch.look().unwrap().unwrap();
        let changed = changes.changed.iter();
        let changed: Vec<_> = changed
            .map(|entry| (entry.option.key, entry.shown()))
            .collect();
        assert_eq!(changed, [("log_level", "debug"), ("in_flight", "7")]);
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_bad_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |text: &str| std::fs::write(folder.path().join("oip.properties"), text).unwrap();
        write("log_level=info\n");
        let sources = Sources::default()
            .with_variable("KRAUSENING_BASE", folder.path())
            .with_flag("auth-enabled", "false");
        let config = Config::resolve(&sources).unwrap();
        let mut watch = Watch::new(sources, config);
        assert!(watch.look().unwrap().is_none());

        write("log_level=debug\nrest_port=9\n");
        let changes = watch.look().unwrap().unwrap();
        let keys: Vec<&str> = changes
            .changed
            .iter()
            .map(|entry| entry.option.key)
            .collect();
        assert_eq!(keys, ["rest_port", "log_level"]);

        // The second is a conflict that only shows when everything is put together.
        for wrong in [
            "log_level=everything, please\n",
            "pdp=opa\nlog_level=trace\n",
        ] {
            write(wrong);
            assert!(watch.look().is_err(), "{wrong}");
        }
        assert!(
            watch.look().unwrap().is_none(),
            "the same fault is told once"
        );

        write("log_level=debug\nrest_port=9\n# again\n");
        assert!(
            watch.look().unwrap().is_none(),
            "nothing in force is another one"
        );
    }
}
