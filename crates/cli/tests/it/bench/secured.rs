//! `oip bench` of a server that speaks TLS and wants to know who asks.

use crate::running::Running;
use crate::tls::Pki;

use super::*;

/// A server for `localhost` that lets in who shows the key of the second file.
fn guarded(pki: &Pki) -> Running {
    let made = output(&mut oip(&["apikey", "new", "--id", "bench"]));
    assert!(made.status.success(), "{}", stderr(&made));
    // The key is for its holder, the line about it for the server.
    let made = stdout(&made);
    let (key, line) = made.split_once('\n').unwrap();
    pki.write("key", key);
    pki.write("keys", line);
    let mut arguments = pki.flags(false);
    arguments.push(format!(
        "--auth-api-keys-file={}",
        pki.path("keys").display()
    ));
    let fixed = [crate::MODELS, "--onnxruntime-library", "off", "--port", "0"];
    let arguments = fixed
        .into_iter()
        .chain(arguments.iter().map(String::as_str));
    Running::start_closed(&arguments.collect::<Vec<_>>(), &[], "curl")
}

/// Both doors of a server at `localhost`, each by one kind of request.
fn bench(server: &Running) -> std::process::Command {
    let url = format!("https://localhost:{}", server.rest.port());
    let mut command = oip(&["bench", "--no-floor", "--model", "iris", "--elements", "4"]);
    command
        .args(["--url", &url, "--grpc-url", &url])
        .args([
            "--only",
            "rest-json",
            "--only",
            "rest-binary",
            "--only",
            "grpc",
        ])
        .args(["--seconds", "1", "--warm-up", "0.1", "--connections", "2"]);
    command
}

#[test]
fn bench_measures_both_doors_over_tls_and_shows_its_key() {
    let pki = Pki::new();
    let server = guarded(&pki);
    let json = pki.path("figures.json");
    let output = output(
        bench(&server)
            .arg("--ca-file")
            .arg(pki.path("ca.pem"))
            .arg("--api-key-file")
            .arg(pki.path("key"))
            .arg("--json")
            .arg(&json),
    );
    assert!(output.status.success(), "{}", stderr(&output));
    let json = read(&json);
    let works = json["works"].as_array().unwrap();
    let names: Vec<&str> = works
        .iter()
        .map(|work| work["work"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["rest-json-4", "rest-binary-4", "grpc-4"]);
    for work in works {
        let figures = &work["server"]["figures"];
        assert_eq!(figures["failures"], 0, "{work}");
        let rate = &figures["requests_per_second"]["median"];
        assert!(rate.as_f64().unwrap() > 0.0, "{work}");
    }
}

#[test]
fn bench_tells_nothing_to_a_server_that_it_does_not_trust_or_that_does_not_know_it() {
    let (pki, other) = (Pki::new(), Pki::new());
    let server = guarded(&pki);
    for (authorities, key, said) in [
        (&other, Some(pki.path("key")), "certificate"),
        (&pki, None, "401"),
    ] {
        let mut command = bench(&server);
        command.arg("--ca-file").arg(authorities.path("ca.pem"));
        if let Some(key) = key {
            command.arg("--api-key-file").arg(key);
        }
        let output = output(&mut command);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
    }
}

#[test]
fn bench_refuses_authorities_and_keys_that_it_cannot_use() {
    let pki = Pki::new();
    pki.write("empty", "");
    let file = |name: &str| pki.path(name).display().to_string();
    let (none, empty, ca) = (file("none"), file("empty"), file("ca.pem"));
    let secure = ["--url", "https://127.0.0.1:9"];
    let plain = ["--url", "http://127.0.0.1:9"];
    for (url, flags, named) in [
        (secure, &["--ca-file", &none][..], "none"),
        (secure, &["--ca-file", &empty], "no certificate"),
        (plain, &["--ca-file", &ca], "--ca-file"),
        (plain, &["--api-key-file", &empty], "empty"),
        (
            plain,
            &["--api-key-file", &ca, "--token-file", &ca],
            "--token-file",
        ),
    ] {
        let output = output(oip(&["bench", "--no-floor"]).args(url).args(flags));
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
        assert!(stderr(&output).contains(named), "{}", stderr(&output));
    }
}
