//! The files in `testdata/wire`.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::*;
use crate::binary;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../testdata/wire")
        .join(name)
}

fn files(folder_name: &str) -> Vec<(String, Vec<u8>)> {
    let files = std::fs::read_dir(folder(folder_name))
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        });
    files.collect()
}

#[test]
fn every_golden_request_is_read_and_a_canonical_one_is_written_as_it_is() {
    let limits = DecodeLimits::default();
    let mut seen = 0;
    for (name, body) in files("json") {
        if !name.ends_with(".json") || name.starts_with("bad_") {
            continue;
        }
        let written = if name.starts_with("response") {
            let response = decode_response(&body, &limits).expect(&name);
            encode_response(&response, NonFinite::Null).unwrap()
        } else {
            let request = decode_request(&body, &limits).expect(&name);
            encode_request(&request).unwrap()
        };
        if name.ends_with(".canonical.json") {
            assert_eq!(
                String::from_utf8_lossy(body.trim_ascii_end()),
                String::from_utf8_lossy(&written),
                "{name}"
            );
        }
        serde_json::from_slice::<serde_json::Value>(&written).expect(&name);
        seen += 1;
    }
    assert!(seen >= 6);
}

#[test]
fn every_golden_mistake_is_refused_with_its_sentence() {
    let sentences = std::fs::read_to_string(folder("json").join("bad.txt")).unwrap();
    assert!(sentences.lines().count() >= 4);
    for line in sentences.lines() {
        let (file, sentence) = line.split_once(": ").unwrap();
        let body = std::fs::read(folder("json").join(file)).unwrap();
        let error = decode_request(&body, &DecodeLimits::default()).unwrap_err();
        assert_eq!(error.to_string(), sentence, "{file}");
    }
}

#[test]
fn every_golden_binary_body_is_read_and_written_as_it_is() {
    let limits = DecodeLimits::default();
    for (name, body) in files("binary") {
        let length = name.split('.').nth(1).unwrap().parse().unwrap();
        let request =
            binary::decode_request(Bytes::from(body.clone()), length, &limits).expect(&name);
        assert!(binary::OutputForms::new(&request).any_binary());
        let in_json = request.inputs[1].name().to_owned();
        let written = binary::encode_request(&request, |tensor| tensor.name() != in_json).unwrap();
        assert_eq!(written.to_bytes(), body, "{name}");
    }
}
