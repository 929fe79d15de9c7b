//! Writes the protobuf code that is kept in the repository: messages, gRPC stubs and the
//! descriptor for reflection, all from `proto/`. Run it after a change there:
//!
//! ```text
//! cargo run -p oip-codegen
//! ```

mod generate;

use std::error::Error;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let root = repository_root();
    for file in generate::all(&root.join("proto"))? {
        let path = root.join(file.path);
        if std::fs::read(&path).is_ok_and(|kept| kept == file.content) {
            println!("unchanged  {}", file.path);
            continue;
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&path, &file.content)?;
        println!("written    {}", file.path);
    }
    Ok(())
}

/// The folder that holds `proto/` and `crates/`.
fn repository_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_in_the_repository_are_what_proto_gives() {
        let root = repository_root();
        let stale: Vec<&str> = generate::all(&root.join("proto"))
            .expect("proto/ compiles")
            .into_iter()
            .filter(|file| std::fs::read(root.join(file.path)).ok().as_ref() != Some(&file.content))
            .map(|file| file.path)
            .collect();
        assert!(
            stale.is_empty(),
            "stale: {stale:?}; run `cargo run -p oip-codegen`"
        );
    }
}
