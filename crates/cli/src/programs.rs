//! What `oip serve` may find instead of a folder of models: a program in another language. The
//! Python package brings the one kind that there is.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use oip::config::{LogFormat, LogLevel, Settings};
use oip::models::Models;

use crate::Exit;

/// Serves programs.
pub trait Programs {
    /// Whether this is the path of such a program.
    fn knows(&self, path: &Path) -> bool;

    /// What the program itself says goes to the log at this level and in this form.
    fn log_as(&self, level: LogLevel, format: LogFormat) {
        let _ = (level, format);
    }

    /// Runs the server in a process of its own, which begins again whenever the program changes.
    /// `None` where this is that process.
    fn supervise(&self, path: &Path) -> Option<Exit>;

    /// What a program says of its own server, by the keys of `oip.properties`: stronger than the
    /// environment, weaker than the command line. A list has a pair for each of its members.
    ///
    /// # Errors
    /// A sentence for whoever wrote it.
    fn settings(&self, path: &Path) -> Result<Vec<(String, String)>, String> {
        let _ = path;
        Ok(Vec::new())
    }

    /// The models of a program.
    ///
    /// # Errors
    /// A sentence for whoever wrote it.
    fn open(&self, path: &Path, settings: &Settings) -> Result<Arc<dyn Models>, String>;

    /// How this program is started once more: its file and first arguments. Empty where that
    /// is the file of this process.
    fn itself(&self) -> Vec<OsString> {
        Vec::new()
    }

    /// The engines for programs in a folder of models, such as `NAME/VERSION/model.py`.
    fn engines(&self) -> Vec<oip::runtime::engine::Programs> {
        Vec::new()
    }
}

/// No programs: the binary alone serves folders.
pub(crate) struct None;

impl Programs for None {
    fn knows(&self, _: &Path) -> bool {
        false
    }

    fn supervise(&self, _: &Path) -> Option<Exit> {
        Option::None
    }

    fn open(&self, path: &Path, _: &Settings) -> Result<Arc<dyn Models>, String> {
        Err(format!("{} is not a folder of models", path.display()))
    }
}
