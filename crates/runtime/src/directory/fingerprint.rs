//! What files look like, so that a change of them is noticed without reading them.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::settings::files_named;

/// What a folder's files look like without reading them: two that are equal most likely hold
/// the same.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fingerprint(Vec<Stat>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Stat {
    name: PathBuf,
    size: u64,
    modified: Option<SystemTime>,
    /// Device, inode and time of the last change of either, where the system has them.
    identity: (u64, u64, i64, i64),
}

/// How many folders deep a version's files are looked at.
const DEEPEST: usize = 4;
/// How many files and folders are looked at below a version's own folder, whose files all are: a
/// folder that is watched is looked at again and again.
const MOST_BELOW: usize = 1000;

impl Fingerprint {
    /// Whether the files were last changed so long before `seen` that a later change cannot
    /// have left the same times behind.
    #[must_use]
    pub fn is_settled(&self, seen: SystemTime) -> bool {
        let settled = |time: SystemTime| {
            seen.duration_since(time)
                .is_ok_and(|age| age >= Duration::from_secs(2))
        };
        self.0.iter().all(|stat| {
            let (_, _, changed, _) = stat.identity;
            let changed = UNIX_EPOCH + Duration::from_secs(u64::try_from(changed).unwrap_or(0));
            settled(changed) && stat.modified.is_some_and(settled)
        })
    }

    /// Of the files in a version's folder and in the folders below it, such as external data,
    /// but for folders in it whose name is `another`'s.
    ///
    /// # Errors
    /// When the folder cannot be listed. One below it that cannot is passed over.
    pub(super) fn of_version(folder: &Path, another: impl Fn(&str) -> bool) -> io::Result<Self> {
        let mut stats = Vec::new();
        let mut folders = VecDeque::new();
        for name in names_in(folder)? {
            match fs::metadata(folder.join(&name)) {
                Ok(metadata) if metadata.is_dir() && name.to_str().is_some_and(&another) => {}
                Ok(metadata) if metadata.is_dir() => folders.push_back((PathBuf::from(name), 1)),
                Ok(metadata) => stats.extend(Stat::of_file(name.into(), &metadata)),
                Err(_) => {}
            }
        }
        let mut left = MOST_BELOW;
        while let Some((below, depth)) = folders.pop_front() {
            for name in names_in(&folder.join(&below)).unwrap_or_default() {
                if left == 0 {
                    return Ok(Self(stats));
                }
                left -= 1;
                let path = below.join(name);
                match fs::metadata(folder.join(&path)) {
                    Ok(metadata) if !metadata.is_dir() => {
                        stats.extend(Stat::of_file(path, &metadata));
                    }
                    Ok(_) if depth < DEEPEST => folders.push_back((path, depth + 1)),
                    Ok(_) | Err(_) => {}
                }
            }
        }
        Ok(Self(stats))
    }

    /// Of the files beside a model's versions, and of those further down that its `model.toml`
    /// names.
    pub(super) fn beside(folder: &Path) -> Self {
        let names = names_in(folder).unwrap_or_default();
        let direct = names.into_iter().map(PathBuf::from);
        let mut files = files_named(folder);
        files.retain(|file| file.components().count() > 1);
        let stats = direct.chain(files).filter_map(|file| {
            let metadata = fs::metadata(folder.join(&file)).ok()?;
            Stat::of_file(file, &metadata)
        });
        Self(stats.collect())
    }
}

/// The names in a folder that may matter to a model, sorted: what a Python leaves behind when it
/// reads one does not.
fn names_in(folder: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if !name.as_encoded_bytes().starts_with(b".") && name != "__pycache__" {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

impl Stat {
    /// `None` of what is no file. Through symlinks: a swap of what they point to counts as a
    /// change.
    fn of_file(name: PathBuf, metadata: &fs::Metadata) -> Option<Self> {
        metadata.is_file().then(|| Self {
            size: metadata.len(),
            modified: metadata.modified().ok(),
            identity: identity(metadata),
            name,
        })
    }
}

#[cfg(unix)]
fn identity(metadata: &fs::Metadata) -> (u64, u64, i64, i64) {
    use std::os::unix::fs::MetadataExt;
    (
        metadata.dev(),
        metadata.ino(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    )
}

#[cfg(not(unix))]
fn identity(_: &fs::Metadata) -> (u64, u64, i64, i64) {
    (0, 0, 0, 0)
}
