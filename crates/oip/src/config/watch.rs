//! Properties files that change while the server runs.

use std::io::ErrorKind;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{Config, ConfigError, Entry, Settings, Sources};

/// Looks whether the properties files changed.
#[derive(Debug)]
pub struct Watch {
    sources: Sources,
    config: Config,
    seen: Vec<Seen>,
    /// Which of the files were there when they were read last.
    there: Vec<bool>,
    /// The fault of the last look. While there is one every look tries again, as it may have been
    /// one of the file system that has passed.
    fault: Option<String>,
}

/// What a file held. Dates are not asked: two writes can fall into one tick of a clock, and some
/// tools keep the old date.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Gone,
    Unreadable(ErrorKind),
    Content(Vec<u8>),
}

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
        let seen = contents(&config);
        let there = there(&seen);
        Self {
            sources,
            config,
            seen,
            there,
            fault: None,
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
    /// As [`Config::resolve`] and [`Config::settings`], and where a file is gone: the
    /// configuration stays as it was. The same fault of the same files is told once.
    pub fn look(&mut self) -> Result<Option<Changes>, ConfigError> {
        // Looked at before they are read: what is written in between is seen by the next look.
        let now = contents(&self.config);
        let same = now == self.seen;
        if same && self.fault.is_none() {
            return Ok(None);
        }
        self.seen = now;
        let read = self.read();
        let fault = read.as_ref().err().map(ToString::to_string);
        let told = same && fault.is_some() && fault == self.fault;
        self.fault = fault;
        if told { Ok(None) } else { read }
    }

    /// As [`Watch::look`], whether or not a file changed, and a fault is told again: somebody asks.
    ///
    /// # Errors
    /// As [`Watch::look`].
    pub fn look_anyway(&mut self) -> Result<Option<Changes>, ConfigError> {
        self.seen.clear();
        self.look()
    }

    fn read(&mut self) -> Result<Option<Changes>, ConfigError> {
        self.refuse_a_gone_file()?;
        let (config, settings) = Config::checked(&self.sources)?;
        self.there = there(&self.seen);
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
        match files.find(|((_, there), now)| **there && **now == Seen::Gone) {
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

fn contents(config: &Config) -> Vec<Seen> {
    let content = |path: &Path| match std::fs::read(path) {
        Ok(content) => Seen::Content(Sha256::digest(&content).to_vec()),
        Err(error) if error.kind() == ErrorKind::NotFound => Seen::Gone,
        Err(error) => Seen::Unreadable(error.kind()),
    };
    config.files().map(content).collect()
}

fn there(seen: &[Seen]) -> Vec<bool> {
    seen.iter().map(|seen| *seen != Seen::Gone).collect()
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

    /// A watch over one file, and the file.
    fn over(folder: &Path, text: &str) -> (Watch, std::path::PathBuf) {
        let file = folder.join("oip.properties");
        std::fs::write(&file, text).unwrap();
        let sources = Sources::default()
            .with_variable("KRAUSENING_BASE", folder)
            .with_flag("auth-enabled", "false");
        let config = Config::resolve(&sources).unwrap();
        (Watch::new(sources, config), file)
    }

    #[test]
    fn a_change_that_keeps_length_and_date_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let (mut watch, path) = over(folder.path(), "in_flight=7\n");
        let date = std::fs::metadata(&path).unwrap().modified().unwrap();
        std::fs::write(&path, "in_flight=8\n").unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(date).unwrap();
        assert_eq!(watch.look().unwrap().unwrap().changed[0].shown(), "8");
    }

    #[test]
    fn a_change_that_could_not_be_read_once_is_taken_up_later() {
        let folder = tempfile::tempdir().unwrap();
        let (mut watch, path) = over(folder.path(), "in_flight=7\n");
        // A folder cannot be read, whoever asks; but for that it looks like the file to come.
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let like = std::fs::metadata(&path).unwrap();
        let length = usize::try_from(like.len()).unwrap();
        assert!(watch.look().is_err());
        assert!(watch.look().unwrap().is_none(), "it is told once");
        assert!(watch.look_anyway().is_err(), "and again to who asks");
        std::fs::remove_dir(&path).unwrap();
        std::fs::write(
            &path,
            format!("in_flight=8\n{:#<1$}", "", length.saturating_sub(12)),
        )
        .unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(like.modified().unwrap()).unwrap();
        assert_eq!(watch.look().unwrap().unwrap().changed[0].shown(), "8");
    }
}
