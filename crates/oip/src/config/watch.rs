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
        Self {
            sources,
            config,
            seen,
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
    /// As [`Config::resolve`] and [`Config::settings`]: the configuration stays as it was, and the
    /// same fault is told once.
    pub fn look(&mut self) -> Result<Option<Changes>, ConfigError> {
        let now = stamps(&self.config);
        if now == self.seen {
            return Ok(None);
        }
        self.seen = now;
        let (config, settings) = Config::checked(&self.sources)?;
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
