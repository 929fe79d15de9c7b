//! The arguments with which KServe starts a server.

use super::access::both_doors::{Ask, Door, Said, raw, rest};
use super::running::Running;
use super::*;

/// A folder with one model file, as KServe mounts it.
fn mounted() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let model = format!("{MODELS}/iris/1/model.onnx");
    std::fs::copy(model, folder.path().join("flowers.onnx")).unwrap();
    folder
}

fn infer(server: &Running, model: &str) -> String {
    let body = r#"{"inputs":[{"name":"X","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}"#;
    let metadata = rest(server, "GET", &format!("/v2/models/{model}"), &[], "").1;
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    let input = metadata["inputs"][0]["name"].as_str().unwrap().to_owned();
    let body = body.replace("\"X\"", &format!("\"{input}\""));
    let path = format!("/v2/models/{model}/infer");
    let more = format!("Content-Length: {}\r\n\r\n{body}", body.len());
    raw(server, "POST", &path, &[], &more)
}

#[test]
fn the_arguments_of_a_serving_runtime_start_this_server() {
    let folder = mounted();
    let arguments = [
        "--http_port=0",
        "--grpc_port=0",
        "--workers=1",
        "--max_threads=4",
        "--max_asyncio_workers=2",
        "--enable_grpc=true",
        "--enable_docs_url=false",
        "--model_name=iris",
        "--enable_latency_logging=true",
        "--access_log_format=%(client_addr)s \"%(request_line)s\"",
    ];
    let dir = format!("--model_dir={}", folder.path().display());
    let arguments: Vec<&str> = arguments.into_iter().chain([dir.as_str()]).collect();
    let server = Running::start_in(&arguments, &[], "curl");
    assert!(server.said.contains("gRPC  127.0.0.1:"), "{}", server.said);
    assert_eq!(rest(&server, "GET", "/docs", &[], "").0, 404);
    let answer = infer(&server, "iris");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    server.signal("-TERM");
    let (code, log) = server.wait();
    assert_eq!(code, Some(0), "{log}");
    let line = |part: &str| {
        let found = log.lines().find(|line| line.contains(part));
        found.unwrap_or_else(|| panic!("{part}: {log}")).to_owned()
    };
    // What has no effect is said, each in one line.
    for key in [
        "key=\"workers\"",
        "kserve_max_threads",
        "kserve_max_asyncio_workers",
    ] {
        let said = line(key);
        assert!(
            said.contains("INFO") && said.contains("without effect"),
            "{said}"
        );
    }
    let latency = line("inference ended");
    for part in ["iris", "queue_us=", "infer_us=", "total_us="] {
        assert!(latency.contains(part), "{latency}");
    }
    assert!(
        line("POST /v2/models/iris/infer").contains(" 200 "),
        "{log}"
    );
}

#[test]
fn without_grpc_there_is_no_grpc_door() {
    for (flags, environment) in [
        (&["--enable_grpc=False", "--http_port=0"][..], &[][..]),
        (&["--port=0"], &[("KSERVE_ENABLE_GRPC", "false")]),
    ] {
        let server = Running::start_in(flags, environment, "REST  ");
        assert!(!server.said.contains("gRPC"), "{}", server.said);
        // On one port, too: what comes as gRPC is answered by the REST door.
        let more = "Content-Type: application/grpc\r\nContent-Length: 0\r\n";
        let path = "/inference.GRPCInferenceService/ServerLive";
        assert_eq!(rest(&server, "POST", path, &[], more).0, 404);
    }
}

#[test]
fn the_environment_names_of_the_original_do_the_same() {
    let folder = mounted();
    let path = folder.path().to_str().unwrap();
    let environment = [
        ("KSERVE_HTTP_PORT", "0"),
        ("KSERVE_GRPC_PORT", "0"),
        ("KSERVE_WORKERS", "1"),
        ("KSERVE_MAX_THREADS", "4"),
        ("KSERVE_MAX_ASYNCIO_WORKERS", "None"),
        ("KSERVE_ACCESS_LOG_FORMAT", "None"),
        ("KSERVE_ENABLE_DOCS_URL", "True"),
        ("KSERVE_ENABLE_LATENCY_LOGGING", "False"),
    ];
    let arguments = ["--model_dir", path, "--model_name", "iris"];
    let server = Running::start_in(&arguments, &environment, "curl");
    assert_eq!(rest(&server, "GET", "/docs", &[], "").0, 200);
    assert_eq!(rest(&server, "GET", "/v2/models/iris", &[], "").0, 200);
    let ask = Ask::metadata("iris");
    assert_eq!(Door::Rest.ask(&server, &ask, &[]), Said::Yes);
    server.signal("-TERM");
    let (_, log) = server.wait();
    assert!(!log.contains("inference ended"), "{log}");
    // None is not given: there is no access log, and nothing is said of it.
    for nothing in ["GET /v2", "oip::access", "kserve_max_asyncio_workers"] {
        assert!(!log.contains(nothing), "{nothing}: {log}");
    }
    assert!(log.contains("kserve_max_threads"), "{log}");
}
