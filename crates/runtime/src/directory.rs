//! Which models and versions a folder holds: `DIR/<model>/<version>/model.onnx`, or
//! `DIR/<model>/model.onnx` as version 1. Reading only; nothing is loaded here.
//!
//! A name that a caller sends is compared with the names of the listing and never joined to a
//! path, so it cannot point anywhere else. Symlinks that the operator placed are followed.

mod fingerprint;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use fingerprint::Fingerprint;

/// The file of a model in a version's folder.
const MODEL_FILE: &str = "model.onnx";

/// A folder of models.
#[derive(Debug, Clone)]
pub struct Directory {
    root: PathBuf,
    single: Option<String>,
    /// What the files of models that are programs are called.
    programs: Vec<&'static str>,
}

/// One model of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundModel {
    /// Its name.
    pub name: String,
    /// Its folder, where `model.toml` may lie.
    pub folder: PathBuf,
    /// What the files in that folder look like, and those below it that `model.toml` names.
    pub beside: Fingerprint,
    /// Its versions by number.
    pub versions: BTreeMap<u64, FoundVersion>,
    /// Why there is no version, where there is none.
    pub fault: Option<String>,
}

/// One version of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundVersion {
    /// The model's file.
    pub file: PathBuf,
    /// What the file and those beside it looked like.
    pub fingerprint: Fingerprint,
}

impl Directory {
    /// A folder of models. With `single`, a model of that name and no other: the folder itself
    /// where it is a model, else the one of that name in it.
    pub fn new(root: impl Into<PathBuf>, single: Option<String>) -> Self {
        Self {
            root: root.into(),
            single,
            programs: Vec::new(),
        }
    }

    /// Finds programs of these names too, where there is no ONNX file.
    #[must_use]
    pub fn with_programs(mut self, files: impl IntoIterator<Item = &'static str>) -> Self {
        self.programs = files.into_iter().collect();
        self
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Every model, by name.
    ///
    /// # Errors
    /// When the folder cannot be listed. A model's folder that cannot be listed is that model's
    /// fault.
    pub fn read(&self) -> io::Result<Vec<FoundModel>> {
        if let Some(name) = &self.single {
            return Ok(vec![self.read_single(name)?]);
        }
        let mut models = Vec::new();
        for name in folders_of(&self.root)? {
            models.extend(self.read_model(&name));
        }
        Ok(models)
    }

    /// One model, by the name that a caller sent.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn find(&self, name: &str) -> io::Result<Option<FoundModel>> {
        if let Some(single) = &self.single {
            return match single == name {
                true => Ok(Some(self.read_single(single)?)),
                false => Ok(None),
            };
        }
        let listed = folders_of(&self.root)?.into_iter().find(|n| n == name);
        Ok(listed.and_then(|name| self.read_model(&name)))
    }

    /// A folder below the root; `None` when it is no model.
    fn read_model(&self, listed: &str) -> Option<FoundModel> {
        let folder = self.root.join(listed);
        let (versions, fault) = match self.versions_of(&folder) {
            Ok(versions) if versions.is_empty() => return None,
            Ok(versions) => (versions, None),
            Err(error) => {
                let fault = format!("its folder cannot be listed: {error}");
                (BTreeMap::new(), Some(fault))
            }
        };
        Some(FoundModel {
            name: listed.to_owned(),
            beside: Fingerprint::beside(&folder),
            folder,
            versions,
            fault,
        })
    }

    /// The versions in a model's folder.
    fn versions_of(&self, folder: &Path) -> io::Result<BTreeMap<u64, FoundVersion>> {
        let mut versions = BTreeMap::new();
        let flat = self.model_file(folder);
        if is_file(&flat) {
            let fingerprint = Fingerprint::of_version(folder, is_version)?;
            let file = flat;
            versions.insert(1, FoundVersion { file, fingerprint });
        }
        for name in folders_of(folder)? {
            let Some(version) = version_number(&name) else {
                continue;
            };
            let folder = folder.join(&name);
            let file = self.model_file(&folder);
            // A version's folder without a model is a version all the same, and broken.
            let fingerprint = Fingerprint::of_version(&folder, |_| false).unwrap_or_default();
            versions.insert(version, FoundVersion { file, fingerprint });
        }
        Ok(versions)
    }

    /// The file that a folder's model would be: a program where there is one and no ONNX file.
    fn model_file(&self, folder: &Path) -> PathBuf {
        let onnx = folder.join(MODEL_FILE);
        let programs = self.programs.iter().map(|file| folder.join(file));
        match is_file(&onnx) {
            true => onnx,
            false => programs
                .into_iter()
                .find(|file| is_file(file))
                .unwrap_or(onnx),
        }
    }

    fn read_single(&self, name: &str) -> io::Result<FoundModel> {
        let mut versions = self.versions_of(&self.root)?;
        let mut fault = None;
        if versions.is_empty() {
            match lone_model_file(&self.root)? {
                Ok(Some(file)) => {
                    let fingerprint = Fingerprint::of_version(&self.root, |_| false)?;
                    versions.insert(1, FoundVersion { file, fingerprint });
                }
                Ok(None) => {
                    let listed = folders_of(&self.root)?.into_iter().find(|n| n == name);
                    match listed.and_then(|listed| self.read_model(&listed)) {
                        Some(model) => return Ok(model),
                        None => fault = Some(nothing_in(&self.root)),
                    }
                }
                Err(several) => fault = Some(several),
            }
        }
        Ok(FoundModel {
            name: name.to_owned(),
            folder: self.root.clone(),
            beside: Fingerprint::beside(&self.root),
            versions,
            fault,
        })
    }
}

fn nothing_in(root: &Path) -> String {
    format!(
        "{} holds no model: expected {MODEL_FILE}, another single .onnx file, or <version>/{MODEL_FILE}",
        root.display()
    )
}

/// The names of the folders in a folder that can be models, sorted.
fn folders_of(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        // `..data` and the like: how Kubernetes swaps a mounted volume.
        if !name.starts_with('.') && fs::metadata(entry.path()).is_ok_and(|m| m.is_dir()) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The one `.onnx` file of a folder, or a sentence when there are several.
fn lone_model_file(folder: &Path) -> io::Result<Result<Option<PathBuf>, String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let Ok(name) = entry?.file_name().into_string() else {
            continue;
        };
        if name.ends_with(".onnx") && !name.starts_with('.') && is_file(&folder.join(&name)) {
            names.push(name);
        }
    }
    names.sort();
    Ok(match names.as_slice() {
        [] => Ok(None),
        [name] => Ok(Some(folder.join(name))),
        several => Err(format!(
            "{} holds {} .onnx files ({}): call the one to serve {MODEL_FILE}",
            folder.display(),
            several.len(),
            several.join(", ")
        )),
    })
}

fn is_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
}

fn is_version(name: &str) -> bool {
    version_number(name).is_some()
}

/// A positive integer without sign or leading zero, as folders of versions are called.
fn version_number(name: &str) -> Option<u64> {
    let plain = name.bytes().all(|byte| byte.is_ascii_digit()) && !name.starts_with('0');
    plain.then(|| name.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
