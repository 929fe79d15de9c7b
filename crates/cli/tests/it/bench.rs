//! `oip bench`, run short: what it prints and writes, never how fast.

mod secured;

use std::path::Path;

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
    let json = read(&json);
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

/// What `--json` has written.
fn read(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

/// Holds what `--json` has written of a mode to what all of them have: the conditions, these among
/// them, and rows that say how many requests failed, in these members of each.
fn has_conditions_and_failures(json: &Value, conditions: &[(&str, &str)], members: &[&str]) {
    let always = [
        "version",
        "model",
        "connections",
        "seconds",
        "repeat",
        "load_cpus",
    ];
    for name in always {
        assert!(json["conditions"][name].is_string(), "{name}: {json}");
    }
    for (name, value) in conditions {
        assert_eq!(json["conditions"][name], *value, "{name}");
    }
    let rows = json["rows"].as_array().unwrap();
    assert!(!rows.is_empty());
    for row in rows {
        for member in members {
            assert_eq!(row[member]["failures"], 0, "{member}: {row}");
            let p99 = &row[member]["p99_ms"];
            assert!(p99["low"].as_f64() <= p99["high"].as_f64(), "{row}");
        }
    }
}

/// The names of the files in a folder.
fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<_> = entries
        .map(|entry| name(entry).into_string().unwrap())
        .collect();
    names.sort();
    names
}

const SHORT: [&str; 4] = ["--seconds", "0.2", "--warm-up", "0.05"];

#[test]
fn bench_goes_through_sizes_and_rates_and_plots_them() {
    let folder = tempfile::tempdir().unwrap();
    let (plots, csv) = (folder.path().join("plots"), folder.path().join("a.csv"));
    let sweep = ["--elements", "4,8,16", "--rate", "100,200", "--no-floor"];
    let output = output(
        oip(&["bench", "--only", "rest-json", "--connections", "2"])
            .args(SHORT)
            .args(sweep)
            .arg("--plot")
            .arg(&plots)
            .arg("--csv")
            .arg(&csv),
    );
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("rest-json-8 200/s"));
    let csv = std::fs::read_to_string(csv).unwrap();
    assert_eq!(csv.lines().count(), 7, "{csv}");
    let names = files(&plots);
    let latency = names
        .iter()
        .filter(|name| name.starts_with("latency-by-rate-"));
    assert_eq!(latency.count(), 3, "{names:?}");
    // One for each rate.
    for rate in [100, 200] {
        let file = format!("throughput-by-size-rest-json-{rate}-per-second.svg");
        let svg = std::fs::read_to_string(plots.join(file)).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("<circle"));
        assert!(
            svg.contains(&format!("rest-json, {rate} requests/s")),
            "{rate}"
        );
    }
}

#[test]
fn bench_holds_servers_side_by_side_with_a_request_from_a_file() {
    let server = crate::running::Running::start(&[crate::MODELS, "--port", "0"]);
    let folder = tempfile::tempdir().unwrap();
    let request = folder.path().join("iris.json");
    let data = "[[5.1, 3.5, 1.4, 0.2]]";
    let input = format!(
        r#"{{"inputs": [{{"name": "input", "datatype": "FP32", "shape": [1, 4], "data": {data}}}]}}"#
    );
    std::fs::write(&request, input).unwrap();
    let [one, two] = ["one", "two"].map(|name| format!("{name}={}", server.rest));
    let pid = format!("one={}", server.child.id());
    let servers = [
        "--url", &one, "--url", &two, "--pid", &pid, "--model", "iris",
    ];
    let output = output(
        oip(&["bench", "--only", "rest-binary", "--no-floor", "--input"])
            .arg(&request)
            .args(servers)
            .args(SHORT),
    );
    assert!(output.status.success(), "{}", stderr(&output));
    let table = stdout(&output);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(
        lines[1].starts_with("rest-binary ") && lines[1].contains(" one "),
        "{table}"
    );
    assert!(
        lines[2].contains(" two ") && lines[2].ends_with(" -"),
        "{table}"
    );
}

#[test]
fn bench_fails_where_one_of_several_servers_could_not_be_measured_and_shows_the_others() {
    let server = crate::running::Running::start(&[crate::MODELS, "--port", "0"]);
    let here = format!("here={}", server.rest);
    let servers = ["--url", &here, "--url", "gone=127.0.0.1:9"];
    let output = output(
        oip(&[
            "bench",
            "--only",
            "rest-json-16",
            "--no-floor",
            "--model",
            "iris",
        ])
        .args(servers)
        .args(SHORT),
    );
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let (table, errors) = (stdout(&output), stderr(&output));
    assert!(table.contains("gone   not measured: "), "{table}");
    assert!(
        errors.contains("not measured: rest-json-16 at gone: "),
        "{errors}"
    );
    assert_eq!(table.lines().count(), 3, "{table}");
}

#[test]
fn bench_measures_a_model_whose_shapes_leave_no_choice_once_and_says_what_it_was_sent() {
    let server = crate::running::Running::start(&[crate::MODELS, "--port", "0"]);
    let rest = server.rest.to_string();
    let output = output(
        oip(&["bench", "--only", "rest-json", "--no-floor", "--url", &rest])
            .args(["--model", "iris", "--elements", "5,6,8"])
            .args(SHORT),
    );
    assert!(output.status.success(), "{}", stderr(&output));
    let (table, errors) = (stdout(&output), stderr(&output));
    let names: Vec<&str> = table
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    // Rows of four.
    assert_eq!(names, ["rest-json-4", "rest-json-8"], "{table}");
    assert!(
        errors.contains("note: rest-json-6 is rest-json-4 with this model"),
        "{errors}"
    );
}

#[test]
fn bench_refuses_a_process_whose_cpu_time_it_cannot_read() {
    // One beyond the highest that Linux gives.
    let arguments = ["bench", "--url", "127.0.0.1:9", "--pid", "4194305"];
    let output = output(&mut oip(&arguments));
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("process 4194305"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn bench_shows_latency_at_half_of_the_load() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("a.json");
    let output = output(
        oip(&["bench", "--latency", "--only", "rest-json-16", "--json"])
            .arg(&json)
            .args(SHORT),
    );
    assert!(output.status.success(), "{}", stderr(&output));
    has_conditions_and_failures(&read(&json), &[("model", "identity")], &["most", "half"]);
    let table = stdout(&output);
    assert!(table.contains("p99 over the floor's"), "{table}");
    assert_eq!(table.lines().count(), 3, "{table}");
}

#[test]
fn bench_shows_what_remains_under_overload() {
    let folder = tempfile::tempdir().unwrap();
    let (plots, json) = (folder.path().join("plots"), folder.path().join("a.json"));
    let short = [
        "--seconds",
        "0.1",
        "--warm-up",
        "0.05",
        "--connections",
        "16",
    ];
    let output = output(
        oip(&[
            "bench",
            "--overload",
            "--service-time",
            "2",
            "--within",
            "100",
            "--elements",
            "1k",
        ])
        .args(short)
        .arg("--plot")
        .arg(&plots)
        .arg("--json")
        .arg(&json),
    );
    assert!(output.status.success(), "{}", stderr(&output));
    let conditions = [
        ("model", "sleeps,computes,gathers"),
        ("service_time_ms", "2"),
        ("within_ms", "100"),
    ];
    let json = read(&json);
    has_conditions_and_failures(&json, &conditions, &["most"]);
    for load in json["rows"][0]["loads"].as_array().unwrap() {
        assert_eq!(load["failures"], 0);
        let part = &load["part"];
        assert!(part["low"].as_f64() <= part["high"].as_f64(), "{load}");
    }
    let table = stdout(&output);
    let tenfold = table
        .lines()
        .filter(|line| line.trim_start().starts_with("10x"));
    assert_eq!(tenfold.count(), 3, "{table}");
    assert_eq!(table.matches("1024 elements").count(), 3, "{table}");
    assert_eq!(files(&plots), ["goodput-by-load.svg"]);
}

#[test]
fn bench_shows_small_requests_beside_large_ones() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("a.json");
    let output = output(oip(&["bench", "--mixed", "--json"]).arg(&json).args(TINY));
    assert!(output.status.success(), "{}", stderr(&output));
    let (json, members) = (read(&json), ["alone", "beside", "large"]);
    has_conditions_and_failures(&json, &[("connections", "16")], &members);
    let table = stdout(&output);
    // Both doors, at floor and server.
    for door in ["REST", "gRPC"] {
        let lines = table.lines().filter(|line| line.starts_with(door));
        assert_eq!(lines.count(), 2, "{table}");
    }
}

#[test]
fn bench_writes_no_csv_of_what_is_no_list_of_requests() {
    for mode in ["--batching", "--latency", "--mixed", "--overload"] {
        let output = output(&mut oip(&["bench", mode, "--csv", "figures.csv"]));
        assert_eq!(output.status.code(), Some(2), "{mode}");
        assert!(stderr(&output).contains("--csv"), "{mode}");
    }
}

const TINY: [&str; 4] = ["--seconds", "0.05", "--warm-up", "0.02"];
