//! Takes the two files of Swagger UI that `/docs` needs out of their archive.
//!
//! A ZIP archive holds its files as deflate streams, which is what a gzip file holds too: with
//! another head and tail they are served as they are, and nothing is compressed again.

use std::error::Error;
use std::path::Path;

use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED as ARCHIVE;

const WANTED: [&str; 2] = ["swagger-ui.css", "swagger-ui-bundle.js"];

/// Sizes and signatures of ZIP's records. Source: PKWARE's APPNOTE.TXT, 4.3.
const END: &[u8] = b"PK\x05\x06";
const END_SIZE: usize = 22;
const ENTRY: &[u8] = b"PK\x01\x02";
const ENTRY_SIZE: usize = 46;
const LOCAL_SIZE: usize = 30;
const DEFLATED: usize = 8;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    // What cargo-fuzz builds with.
    println!("cargo:rustc-check-cfg=cfg(fuzzing)");
    // Cargo says by its environment where a build script writes.
    #[allow(clippy::disallowed_methods)]
    let folder = std::env::var("OUT_DIR")?;
    for name in WANTED {
        let gzip = gzip_of(name).ok_or_else(|| format!("{name} is not in Swagger UI's archive"))?;
        std::fs::write(Path::new(&folder).join(format!("{name}.gz")), gzip)?;
    }
    Ok(())
}

/// A file of the folder `dist` as gzip.
fn gzip_of(wanted: &str) -> Option<Vec<u8>> {
    let mut ends = (0..=ARCHIVE.len() - END_SIZE).rev();
    let end = ends.find(|at| ARCHIVE[*at..].starts_with(END))?;
    let mut at = number(end + 16, 4)?;
    for _ in 0..number(end + 10, 2)? {
        if !ARCHIVE.get(at..)?.starts_with(ENTRY) {
            return None;
        }
        let name = number(at + 28, 2)?;
        let path = ARCHIVE.get(at + ENTRY_SIZE..at + ENTRY_SIZE + name)?;
        let path = std::str::from_utf8(path).ok()?;
        // `swagger-ui-5.0.0/dist/swagger-ui.css`, and no deeper.
        if path.split('/').skip(1).eq(["dist", wanted]) {
            return entry(at);
        }
        at += ENTRY_SIZE + name + number(at + 30, 2)? + number(at + 32, 2)?;
    }
    None
}

/// The file that an entry of the directory describes, as gzip. Source: RFC 1952.
fn entry(at: usize) -> Option<Vec<u8>> {
    if number(at + 10, 2)? != DEFLATED {
        return None;
    }
    let (crc, compressed) = (number(at + 16, 4)?, number(at + 20, 4)?);
    let (size, local) = (number(at + 24, 4)?, number(at + 42, 4)?);
    let data = local + LOCAL_SIZE + number(local + 26, 2)? + number(local + 28, 2)?;
    let mut gzip = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    gzip.extend_from_slice(ARCHIVE.get(data..data + compressed)?);
    gzip.extend_from_slice(&u32::try_from(crc).ok()?.to_le_bytes());
    gzip.extend_from_slice(&u32::try_from(size).ok()?.to_le_bytes());
    Some(gzip)
}

/// A little-endian number of this many bytes.
fn number(at: usize, bytes: usize) -> Option<usize> {
    let bytes = ARCHIVE.get(at..at + bytes)?;
    Some(
        bytes
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | usize::from(*byte)),
    )
}
