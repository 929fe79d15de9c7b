//! Where a machine keeps the shared library of ONNX Runtime: beside the program, in a Python
//! environment (`pip install onnxruntime` is all it takes), or in the usual library folders.
//! Nothing is run to find out, Python least of all; only folders are listed.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// Which ONNX Runtime to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnnxRuntime {
    /// None; the embedded engine serves.
    Off,
    /// The library at this path. When it cannot be used the server does not start.
    Library(PathBuf),
    /// The first that is found and can be used, else the embedded engine.
    Find(Surroundings),
}

impl Default for OnnxRuntime {
    fn default() -> Self {
        Self::Find(Surroundings::default())
    }
}

/// What there is to know of the process to find the library, all of it optional. The caller
/// reads it from the environment; this crate does not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Surroundings {
    /// `VIRTUAL_ENV`: the Python environment that is active.
    pub virtual_env: Option<PathBuf>,
    /// `CONDA_PREFIX`: the conda environment that is active.
    pub conda_prefix: Option<PathBuf>,
    /// `PATH`: where `python3` is looked for.
    pub path: Option<OsString>,
    /// `HOME`: its `.local` holds what `pip install --user` installs.
    pub home: Option<PathBuf>,
    /// The folder of the program that runs.
    pub program_folder: Option<PathBuf>,
}

/// The libraries there are, best first: beside the program, the active Python environment,
/// the library folders of the system, the other Pythons.
#[must_use]
pub fn candidates(surroundings: &Surroundings) -> Vec<PathBuf> {
    let mut found = Vec::new();
    if let Some(folder) = &surroundings.program_folder {
        found.extend(newest_library(folder));
    }
    let environments = [&surroundings.virtual_env, &surroundings.conda_prefix];
    for environment in environments.into_iter().flatten() {
        found.extend(of_python(&environment.join("lib")));
        found.extend(newest_library(&environment.join("lib")));
    }
    found.extend(SYSTEM.iter().filter_map(|dir| newest_library(dir.as_ref())));
    for prefix in python_prefixes(surroundings.path.as_ref()) {
        found.extend(of_python(&prefix.join("lib")));
    }
    if let Some(home) = &surroundings.home {
        found.extend(of_python(&home.join(".local/lib")));
    }
    for folder in ["/usr/local/lib", "/usr/lib"] {
        found.extend(of_python(Path::new(folder)));
    }
    let mut seen = Vec::new();
    found.retain(|path| {
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        let new = !seen.contains(&real);
        seen.push(real);
        new
    });
    found
}

/// The library folders of the systems we know.
const SYSTEM: [&str; 8] = [
    "/usr/local/lib",
    "/usr/local/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/opt/onnxruntime/lib",
    "/opt/homebrew/lib",
];

/// The libraries of the Pythons under a `lib` folder: `python3*/site-packages` and Debian's
/// `dist-packages`.
fn of_python(lib: &Path) -> Vec<PathBuf> {
    let pythons = names_in(lib)
        .into_iter()
        .filter(|name| name.starts_with("python3"));
    let capi = |packages: PathBuf| packages.join("onnxruntime/capi");
    pythons
        .flat_map(|python| ["site-packages", "dist-packages"].map(|p| lib.join(&python).join(p)))
        .filter_map(|packages| newest_library(&capi(packages)))
        .collect()
}

/// The folders that `python3` of each folder in the path belongs to: `bin`'s parent, as it is
/// called and where its symlinks lead (a virtual environment's python is a symlink out of it).
fn python_prefixes(path: Option<&OsString>) -> Vec<PathBuf> {
    let mut prefixes = Vec::new();
    for folder in path.iter().flat_map(std::env::split_paths) {
        let python = folder.join("python3");
        if !python.exists() {
            continue;
        }
        let real = fs::canonicalize(&python).ok();
        for python in [Some(python), real].into_iter().flatten() {
            let prefix = python.parent().and_then(Path::parent);
            prefixes.extend(prefix.map(Path::to_owned));
        }
        // pyenv puts a script in the path; the versions it chooses from lie beside.
        if let Some(root) = folder.parent().filter(|_| folder.ends_with("shims")) {
            let versions = root.join("versions");
            prefixes.extend(names_in(&versions).iter().map(|name| versions.join(name)));
        }
    }
    prefixes
}

/// The newest ONNX Runtime in a folder.
fn newest_library(folder: &Path) -> Option<PathBuf> {
    names_in(folder)
        .into_iter()
        .filter(|name| is_library(name))
        .max_by_key(|name| numbers_in(name))
        .map(|name| folder.join(name))
}

fn is_library(name: &str) -> bool {
    match std::env::consts::OS {
        "windows" => name.eq_ignore_ascii_case("onnxruntime.dll"),
        "macos" => name.starts_with("libonnxruntime.") && name.ends_with(".dylib"),
        _ => name == "libonnxruntime.so" || name.starts_with("libonnxruntime.so."),
    }
}

fn numbers_in(name: &str) -> Vec<u64> {
    name.split('.')
        .filter_map(|part| part.parse().ok())
        .collect()
}

/// The names in a folder, sorted; none when it cannot be listed.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_library(folder: &Path, version: &str) -> PathBuf {
        fs::create_dir_all(folder).unwrap();
        let library = folder.join(format!("libonnxruntime.so.{version}"));
        fs::write(&library, "").unwrap();
        library
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_active_environment_comes_before_the_home_folder() {
        let dir = tempfile::tempdir().unwrap();
        let (venv, home) = (dir.path().join("venv"), dir.path().join("home"));
        let capi = "python3.11/site-packages/onnxruntime/capi";
        let in_venv = with_library(&venv.join("lib").join(capi), "1.32.0");
        let in_home = with_library(&home.join(".local/lib").join(capi), "1.30.0");
        let found = candidates(&Surroundings {
            virtual_env: Some(venv),
            home: Some(home),
            ..Surroundings::default()
        });
        let at = |path: &PathBuf| found.iter().position(|found| found == path).unwrap();
        assert!(at(&in_venv) < at(&in_home));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn of_two_versions_the_newer_is_taken_by_number() {
        let dir = tempfile::tempdir().unwrap();
        with_library(dir.path(), "1.9.0");
        let newer = with_library(dir.path(), "1.32.0");
        fs::write(dir.path().join("libonnxruntime_providers_shared.so"), "").unwrap();
        assert_eq!(newest_library(dir.path()), Some(newer));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_python_in_the_path_is_followed_through_its_symlink() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("versions/3.12");
        let capi = real.join("lib/python3.12/site-packages/onnxruntime/capi");
        let library = with_library(&capi, "1.32.0");
        fs::create_dir_all(real.join("bin")).unwrap();
        fs::write(real.join("bin/python3.12"), "").unwrap();
        let bin = dir.path().join("bin");
        fs::create_dir_all(&bin).unwrap();
        std::os::unix::fs::symlink(real.join("bin/python3.12"), bin.join("python3")).unwrap();
        let found = candidates(&Surroundings {
            path: Some(bin.into()),
            ..Surroundings::default()
        });
        assert!(
            found.contains(&library.canonicalize().unwrap()),
            "{found:?}"
        );
    }
}
