//! `oip bench`, run short: what it prints and writes, never how fast.

use serde_json::Value;

use crate::{oip, output, stderr, stdout};

#[test]
fn bench_shows_floor_and_server_and_writes_what_it_shows() {
    let folder = tempfile::tempdir().unwrap();
    let (json, csv) = (folder.path().join("a.json"), folder.path().join("a.csv"));
    let short = ["--seconds", "0.2", "--warm-up", "0.1", "--connections", "2"];
    let output = output(
        oip(&["bench", "--only", "rest-json-16", "--only", "grpc-16"])
            .args(short)
            .arg("--json")
            .arg(&json)
            .arg("--csv")
            .arg(&csv),
    );
    assert!(output.status.success(), "{}", stderr(&output));
    let table = stdout(&output);
    for part in [
        "requests/s",
        "rest-json-16",
        "grpc-16",
        "floor",
        "by throughput",
    ] {
        assert!(table.contains(part), "{part} is not in:\n{table}");
    }
    let json: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    for work in json["works"].as_array().unwrap() {
        assert_eq!(work["elements"], 16);
        assert!(work["throughput_ratio"].as_f64().unwrap() > 0.0, "{work}");
        assert_eq!(work["server"]["figures"]["failures"], 0);
    }
    assert_eq!(std::fs::read_to_string(csv).unwrap().lines().count(), 5);
}

#[test]
fn bench_says_which_server_it_cannot_reach() {
    // Port 9 is for discarding; nobody listens there.
    let output = output(&mut oip(&["bench", "--url", "127.0.0.1:9", "--no-floor"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("127.0.0.1:9 cannot be asked"));
}

#[test]
fn bench_names_the_flag_of_the_door_that_is_missing() {
    let arguments = ["bench", "--url", "127.0.0.1:9", "--only", "grpc-16"];
    let output = output(&mut oip(&arguments));
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--grpc-url"));
}
