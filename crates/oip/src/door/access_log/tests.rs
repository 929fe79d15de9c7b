use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::BodyExt;

use super::line::Outcome;
use super::*;

/// Collects what is written.
#[derive(Clone, Default)]
struct Paper(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn log(format: AccessLogFormat) -> (AccessLog, Paper) {
    let paper = Paper::default();
    let log = AccessLog {
        format,
        trusted: Arc::new([]),
        writer: Writer::start(paper.clone()).unwrap(),
    };
    (log, paper)
}

/// A door that gives the same answer to everybody, or none.
struct Always(Option<StatusCode>);

impl Serves for Always {
    fn answer(&self, _: Request<Body>, _: Arc<Remote>) -> Answering {
        let Some(status) = self.0 else {
            return Box::pin(std::future::pending());
        };
        let mut response = Response::new(Body::whole("tea"));
        *response.status_mut() = status;
        Box::pin(std::future::ready(Ok(response)))
    }
}

async fn lines(format: AccessLogFormat, id: Option<&str>) -> (Response<Bytes>, String) {
    let (log, paper) = log(format);
    let door = Served::new(Always(Some(StatusCode::IM_A_TEAPOT)));
    let mut request = Request::post("/v2/models/a%0Ab?token=secret");
    if let Some(id) = id {
        request = request.header("x-request-id", id);
    }
    let request = request.body(Body::whole("{}")).unwrap();
    let remote = Arc::new(Remote {
        peer: Some("192.0.2.7:4711".parse().unwrap()),
        certificate: None,
    });
    let answer = log.around("rest", door).answer(request, remote);
    let response = answer.await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    assert!(log.writer.flush());
    let text = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
    (Response::from_parts(parts, body), text)
}

#[tokio::test]
async fn a_request_has_one_line_without_its_query_and_its_id_comes_back() {
    let (response, text) = lines(AccessLogFormat::Text, Some("abc-1")).await;
    assert_eq!(response.headers()["x-request-id"], "abc-1");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(
        text.contains(r#" rest 192.0.2.7 - "POST /v2/models/a%0Ab" 418 sent=3 "#),
        "{text}"
    );
    assert!(text.ends_with(" id=abc-1\n"), "{text}");
    assert!(
        !text.contains("secret") && !text.contains("aborted"),
        "{text}"
    );
}

#[tokio::test]
async fn json_lines_say_the_same_by_name() {
    let (_, text) = lines(AccessLogFormat::Json, Some("abc-1")).await;
    let line: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (name, value) in [
        ("door", serde_json::json!("rest")),
        ("ip", "192.0.2.7".into()),
        ("method", "POST".into()),
        ("path", "/v2/models/a%0Ab".into()),
        ("status", 418.into()),
        ("sent", 3.into()),
        ("whole", true.into()),
        ("request_id", "abc-1".into()),
    ] {
        assert_eq!(line[name], value, "{name}");
    }
}

#[tokio::test]
async fn an_id_is_made_where_there_is_none_that_can_stand_in_a_line() {
    let long = "x".repeat(129);
    for id in [None, Some(""), Some("two words"), Some(long.as_str())] {
        let (response, text) = lines(AccessLogFormat::Text, id).await;
        let made = response.headers()["x-request-id"]
            .to_str()
            .unwrap()
            .to_owned();
        assert!(made.len() >= 18 && Some(made.as_str()) != id, "{made}");
        assert!(text.contains(&format!("id={made}\n")), "{text}");
    }
}

#[tokio::test]
async fn a_caller_who_leaves_early_has_a_line_that_says_so() {
    let (log, paper) = log(AccessLogFormat::Text);
    let never = Served::new(Always(None));
    let request = Request::get("/v2").body(Body::empty()).unwrap();
    let call = log.around("rest", never).answer(request, Arc::default());
    let waited = tokio::time::timeout(std::time::Duration::from_millis(20), call).await;
    assert!(waited.is_err());
    assert!(log.writer.flush());
    let text = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains(r#""GET /v2" - sent=0 "#), "{text}");
    assert!(text.contains(" aborted "), "{text}");
}

#[test]
fn a_subject_cannot_begin_a_line_of_its_own() {
    let note = Note::default();
    note.subject.set("bob\nFAKE \u{1b}[31m".to_owned()).unwrap();
    let line = Line {
        door: "grpc",
        peer: None,
        method: http::Method::POST,
        path: "/x\"".to_owned(),
        received: Some(7),
        id: http::HeaderValue::from_static("i"),
        note: Arc::new(note),
        begun: Instant::now(),
    };
    for format in [AccessLogFormat::Text, AccessLogFormat::Json] {
        let text = line.text(&Outcome::default(), format);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
