//! Every failure on every path.

use super::*;

/// Status; method, path, one header and its value, and body.
type Case<'a> = (u16, &'a str, &'a str, &'a str, &'a str, Vec<u8>);

#[tokio::test]
async fn every_failure_has_its_status_and_its_sentence() {
    let gzip = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let iris = "/v2/models/iris/infer";
    let zeros = " ".repeat(1 << 20);
    let cases: Vec<Case> = vec![
        (404, "GET", "/", "", "", vec![]),
        (404, "GET", "/v2/models/../health", "", "", vec![]),
        (400, "GET", "/v2/models/%ff", "", "", vec![]),
        (405, "GET", iris, "", "", vec![]),
        (405, "OPTIONS", iris, "", "", vec![]),
        (405, "DELETE", "/v2", "", "", vec![]),
        (400, "POST", iris, "", "", vec![]),
        (400, "POST", iris, "", "", b"{".to_vec()),
        (400, "POST", iris, "", "", b"[]".to_vec()),
        (400, "POST", iris, "", "", b"\xff\xfe".to_vec()),
        (413, "POST", iris, "", "", vec![b' '; 5000]),
        (413, "POST", iris, "content-length", "5000", vec![]),
        (413, "POST", iris, "content-encoding", "gzip", gzip(&zeros)),
        (
            400,
            "POST",
            iris,
            "content-encoding",
            "gzip",
            b"no gzip".to_vec(),
        ),
        (
            400,
            "POST",
            iris,
            "content-encoding",
            "deflate",
            b"no".to_vec(),
        ),
        (415, "POST", iris, "content-encoding", "br", vec![]),
        (
            415,
            "POST",
            iris,
            "content-type",
            "application/xml",
            b"<a/>".to_vec(),
        ),
        (
            400,
            "POST",
            iris,
            "inference-header-content-length",
            "9",
            b"{}".to_vec(),
        ),
        (
            400,
            "POST",
            iris,
            "inference-header-content-length",
            "-1",
            b"{}".to_vec(),
        ),
        (
            400,
            "POST",
            iris,
            "x-oip-timeout-ms",
            "soon",
            TWO_FLOATS.into(),
        ),
        (
            400,
            "POST",
            iris,
            "x-oip-non-finite",
            "maybe",
            TWO_FLOATS.into(),
        ),
        (
            403,
            "POST",
            iris,
            "origin",
            "http://evil.example",
            TWO_FLOATS.into(),
        ),
        (
            500,
            "POST",
            "/v2/models/broken/infer",
            "",
            "",
            TWO_FLOATS.into(),
        ),
        (
            500,
            "POST",
            "/v2/models/nan/infer",
            "x-oip-non-finite",
            "error",
            TWO_FLOATS.into(),
        ),
        (
            404,
            "POST",
            "/v2/models/unknown/infer",
            "",
            "",
            TWO_FLOATS.into(),
        ),
        (
            504,
            "POST",
            "/v2/models/hangs/infer",
            "x-oip-timeout-ms",
            "10",
            TWO_FLOATS.into(),
        ),
        (404, "GET", "/v2/models/unknown", "", "", vec![]),
        (501, "GET", "/v2/models/undeclared", "", "", vec![]),
        (404, "GET", "/v2/models/unknown/ready", "", "", vec![]),
        (503, "GET", "/v2/models/cold/ready", "", "", vec![]),
        (503, "GET", "/v2/health/ready", "", "", vec![]),
        (404, "GET", "/v2/models/iris/config", "", "", vec![]),
        (404, "GET", "/v2/models/unknown/stats", "", "", vec![]),
        (
            400,
            "POST",
            "/v2/repository/index",
            "",
            "",
            b"{\"ready\":1}".to_vec(),
        ),
        (
            400,
            "POST",
            "/v2/repository/models/m/load",
            "",
            "",
            b"{\"parameters\":{\"config\":\"\"}}".to_vec(),
        ),
        (
            400,
            "POST",
            "/v2/repository/models/corrupt/load",
            "",
            "",
            vec![],
        ),
        (
            400,
            "POST",
            "/v2/repository/models/m/load",
            "inference-header-content-length",
            "2",
            b"{}".to_vec(),
        ),
    ];
    let options = DoorOptions {
        body_limit: 4096,
        ..DoorOptions::default()
    };
    let router = super::super::door(door_of(options, Access::open()), Arc::new(origins()));
    for (expected, method, path, header, value, body) in cases {
        let mut builder = request(method, path);
        if !header.is_empty() {
            builder = builder.header(header, value);
        }
        let (status, answer) = ask(&router, builder.body(body.into()).unwrap()).await;
        assert_eq!(
            status, expected,
            "{method} {path} {header} {value}: {answer}"
        );
    }
}

#[tokio::test]
async fn failures_carry_the_headers_of_their_status() {
    let router = open();
    let post = request("DELETE", "/v2/models/m/ready")
        .body(Body::empty())
        .unwrap();
    let response = send(&router, post).await;
    assert_eq!(response.headers()["allow"], "GET, HEAD");
    let ready = request("GET", "/v2/health/ready")
        .body(Body::empty())
        .unwrap();
    assert_eq!(send(&router, ready).await.headers()["retry-after"], "1");
}
