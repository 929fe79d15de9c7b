//! The interactive description: Swagger UI, all of it inside the binary.
//!
//! What stands here says nothing of this server and is open to everyone; the description itself
//! (`/openapi.json`) is decided by the policy.

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::HeaderValue;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use oip_core::execute::blocking;
use oip_protocol::{Error, Result};

use super::compress::Coding;
use super::respond::Reply;
use super::{Arrived, routes};

/// Scripts and styles from this server only, and requests to this server only. Swagger UI sets
/// styles on its elements and draws its icons from `data:` addresses.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; font-src 'self' data:; connect-src 'self'; form-action 'self'; \
     base-uri 'none'; frame-ancestors 'none'",
);

static STYLE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui.css.gz"));
static SCRIPT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui-bundle.js.gz"));

const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// The page.
pub(super) async fn page(arrived: &mut Arrived) -> Result<Reply> {
    plain(
        arrived,
        "text/html; charset=utf-8",
        include_str!("index.html"),
    )
    .await
}

/// The page's own styles.
pub(super) async fn page_style(arrived: &mut Arrived) -> Result<Reply> {
    plain(arrived, CSS, include_str!("page.css")).await
}

/// The script that begins.
pub(super) async fn init(arrived: &mut Arrived) -> Result<Reply> {
    plain(arrived, JAVASCRIPT, include_str!("init.js")).await
}

/// Swagger UI's styles.
pub(super) async fn style(arrived: &mut Arrived) -> Result<Reply> {
    gzipped(arrived, CSS, STYLE).await
}

/// Swagger UI's script.
pub(super) async fn script(arrived: &mut Arrived) -> Result<Reply> {
    gzipped(arrived, JAVASCRIPT, SCRIPT).await
}

async fn plain(
    arrived: &mut Arrived,
    content_type: &'static str,
    content: &'static str,
) -> Result<Reply> {
    refuse_where_switched_off(arrived).await?;
    let content = Bytes::from_static(content.as_bytes());
    Ok(asset(content_type, content))
}

/// A file that is kept compressed, and is decompressed for the few who do not take it so.
async fn gzipped(
    arrived: &mut Arrived,
    content_type: &'static str,
    content: &'static [u8],
) -> Result<Reply> {
    refuse_where_switched_off(arrived).await?;
    if Coding::wanted(&arrived.parts.headers) == Some(Coding::Gzip) {
        let mut reply = asset(content_type, Bytes::from_static(content));
        let gzip = HeaderValue::from_static("gzip");
        reply.headers.insert(CONTENT_ENCODING, gzip);
        let accept = HeaderValue::from_static("Accept-Encoding");
        reply.headers.insert(VARY, accept);
        return Ok(reply);
    }
    let text = blocking::run(move || decompressed(content)).await?;
    Ok(asset(content_type, text.map_err(Error::handler_failed)?))
}

fn decompressed(content: &[u8]) -> std::io::Result<Bytes> {
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut GzDecoder::new(content), &mut text)?;
    Ok(text.into())
}

/// Where the page is switched off, its paths are as any that is not there.
async fn refuse_where_switched_off(arrived: &mut Arrived) -> Result<()> {
    if arrived.rest.door.options.docs {
        return Ok(());
    }
    arrived.know_caller().await?;
    Err(routes::no_route(&arrived.parts))
}

fn asset(content_type: &'static str, content: Bytes) -> Reply {
    let mut reply = Reply::of(HeaderValue::from_static(content_type), content);
    let headers = &mut reply.headers;
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=3600"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swagger_ui_is_whole() {
        let script = decompressed(SCRIPT).unwrap();
        assert!(
            script
                .windows(15)
                .any(|window| window == b"SwaggerUIBundle")
        );
        assert!(decompressed(STYLE).unwrap().starts_with(b".swagger-ui"));
    }

    #[test]
    fn the_page_asks_nothing_of_any_other_server_and_runs_nothing_inline() {
        let page = include_str!("index.html");
        assert!(!page.contains("://"));
        for script in page.split("<script").skip(1) {
            assert!(script.starts_with(" src=\"docs/") && script.contains("></script>"));
        }
        assert!(!include_str!("init.js").contains("http"));
    }
}
