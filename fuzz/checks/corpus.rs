//! What lies in `corpus/`, fed to what the fuzz targets do, by the tests of the crates.

use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the seeds of a target.
fn folder(target: &str) -> PathBuf {
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let found = folders.find_map(|folder| {
        let corpus = folder.join("fuzz/corpus").join(target);
        corpus.is_dir().then_some(corpus)
    });
    found.unwrap_or_else(|| panic!("{target} has no corpus"))
}

/// Feeds every input of a target to its check, which says of each whether it was all that it could
/// be. Those of this name have to be: else nothing behind the first look at them is tried any more.
pub(crate) fn replay(target: &str, check: fn(&[u8]) -> bool, whole: &[&str]) {
    let folder = folder(target);
    for name in whole {
        let input = fs::read(folder.join(name)).expect("the seed is there");
        assert!(check(&input), "{target}/{name} comes to nothing");
    }
    for entry in fs::read_dir(&folder).expect("the corpus can be read") {
        let path = entry.expect("the corpus can be read").path();
        // Shown where it fails.
        println!("{}", path.display());
        check(&fs::read(&path).expect("the input can be read"));
    }
}
