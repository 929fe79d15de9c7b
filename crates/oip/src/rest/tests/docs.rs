//! The description and its page.

use super::*;

fn get(path: &str) -> http::request::Builder {
    request("GET", path)
}

#[tokio::test]
async fn the_page_and_all_it_loads_are_here_under_a_strict_policy() {
    let router = open();
    let page = send(&router, get("/docs").body(Body::empty()).unwrap()).await;
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    let policy = page.headers()["content-security-policy"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self';"),
        "{policy}"
    );
    let page = String::from_utf8(bytes(page).await.to_vec()).unwrap();
    let loaded = page.split('"').filter(|part| part.starts_with("docs/"));
    let loaded: Vec<_> = loaded.collect();
    assert_eq!(loaded.len(), 4);
    for path in loaded {
        let get = get(&format!("/{path}")).body(Body::empty()).unwrap();
        assert_eq!(send(&router, get).await.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn what_is_kept_compressed_is_also_served_as_it_is() {
    let path = "/docs/swagger-ui.css";
    let plain = send(&open(), get(path).body(Body::empty()).unwrap()).await;
    assert!(!plain.headers().contains_key("content-encoding"));
    let gzip = get(path).header("accept-encoding", "gzip");
    let gzip = send(&open(), gzip.body(Body::empty()).unwrap()).await;
    assert_eq!(gzip.headers()["content-encoding"], "gzip");
    let (plain, gzip) = (bytes(plain).await, bytes(gzip).await);
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&gzip[..]), &mut text).unwrap();
    assert_eq!(plain, text);
}

#[tokio::test]
async fn the_page_can_be_switched_off_and_the_description_stays() {
    let options = DoorOptions {
        docs: false,
        ..DoorOptions::default()
    };
    let router = super::super::door(door_of(options, Access::open()), Arc::new(origins()));
    for (path, expected) in [
        ("/docs", 404),
        ("/docs/init.js", 404),
        ("/openapi.json", 200),
    ] {
        let get = get(path).body(Body::empty()).unwrap();
        assert_eq!(ask(&router, get).await.0, expected, "{path}");
    }
}
