//! The one table of routes, and how a path finds its row.

use std::borrow::Cow;

use futures_util::future::BoxFuture;
use http::Method;
use http::request::Parts;
use oip_core::Action;
use oip_protocol::error::excerpt;
use oip_protocol::{Error, ModelRef, Result};
use percent_encoding::percent_decode_str;

use super::openapi::operations::{self, Operation};
use super::respond::Reply;
use super::{
    Arrived, config, docs_ui, health, infer, metadata, metrics, openapi, repository, settings,
    statistics,
};

/// What answers a route.
type Call = for<'a> fn(&'a mut Arrived) -> BoxFuture<'a, Result<Reply>>;

/// One row of the table.
pub(super) struct Route {
    pub(super) method: Method,
    /// The path, with `{model_name}` and `{model_version}` where those stand.
    pub(super) path: &'static str,
    /// What a caller must be permitted; `None` for what is decided here or open.
    pub(super) action: Option<Action>,
    pub(super) call: Call,
    /// Its description; `None` for what belongs to the page of another.
    pub(super) operation: Option<&'static Operation>,
}

impl Route {
    /// What its calls are counted as.
    pub(super) fn counted(&self) -> Option<Action> {
        match self.path {
            "/v2/health/live" => Some(Action::Live),
            "/v2/health/ready" => Some(Action::Ready),
            _ => self.action,
        }
    }
}

/// The table. A line is: method, path, action, the function that answers, its description.
macro_rules! routes {
    ($($method:ident $path:literal $action:expr, $call:path, $operation:expr;)*) => {
        &[$(Route {
            method: Method::$method,
            path: $path,
            action: $action,
            call: |arrived| Box::pin($call(arrived)),
            operation: $operation,
        }),*]
    };
}

/// Every route. A path may stand once for each method; the first row that fits answers.
#[rustfmt::skip]
pub(super) static ROUTES: &[Route] = routes! {
    POST "/v2/models/{model_name}/infer"
        Some(Action::Infer), infer::infer, Some(&operations::INFER);
    POST "/v2/models/{model_name}/versions/{model_version}/infer"
        Some(Action::Infer), infer::infer, Some(&operations::INFER);
    GET "/v2"
        Some(Action::ServerMetadata), metadata::server, Some(&operations::SERVER);
    GET "/v2/health/live"
        None, health::live, Some(&operations::LIVE);
    GET "/v2/health/ready"
        None, health::ready, Some(&operations::READY);
    // Before the next: a model of this name has its metadata under its version only.
    GET "/v2/models/stats"
        Some(Action::Statistics), statistics::statistics, Some(&operations::STATISTICS);
    GET "/v2/models/{model_name}"
        Some(Action::Metadata), metadata::model, Some(&operations::MODEL);
    GET "/v2/models/{model_name}/versions/{model_version}"
        Some(Action::Metadata), metadata::model, Some(&operations::MODEL);
    GET "/v2/models/{model_name}/ready"
        Some(Action::Ready), health::model, Some(&operations::MODEL_READY);
    GET "/v2/models/{model_name}/versions/{model_version}/ready"
        Some(Action::Ready), health::model, Some(&operations::MODEL_READY);
    GET "/v2/models/{model_name}/config"
        Some(Action::Config), config::config, Some(&operations::CONFIG);
    GET "/v2/models/{model_name}/versions/{model_version}/config"
        Some(Action::Config), config::config, Some(&operations::CONFIG);
    GET "/v2/models/{model_name}/stats"
        Some(Action::Statistics), statistics::statistics, Some(&operations::STATISTICS);
    GET "/v2/models/{model_name}/versions/{model_version}/stats"
        Some(Action::Statistics), statistics::statistics, Some(&operations::STATISTICS);
    POST "/v2/repository/index"
        Some(Action::Index), repository::index, Some(&operations::INDEX);
    POST "/v2/repository/models/{model_name}/load"
        Some(Action::Load), repository::load, Some(&operations::LOAD);
    POST "/v2/repository/models/{model_name}/unload"
        Some(Action::Unload), repository::unload, Some(&operations::UNLOAD);
    GET "/v2/logging"
        Some(Action::Logging), settings::logging, Some(&operations::LOG_SETTINGS);
    POST "/v2/logging"
        Some(Action::Logging), settings::logging, Some(&operations::SET_LOG_SETTINGS);
    GET "/v2/trace/setting"
        Some(Action::Trace), settings::trace, Some(&operations::TRACE_SETTINGS);
    POST "/v2/trace/setting"
        Some(Action::Trace), settings::trace, Some(&operations::SET_TRACE_SETTINGS);
    GET "/v2/models/{model_name}/trace/setting"
        Some(Action::Trace), settings::trace, Some(&operations::TRACE_SETTINGS);
    POST "/v2/models/{model_name}/trace/setting"
        Some(Action::Trace), settings::trace, Some(&operations::SET_TRACE_SETTINGS);
    GET "/metrics"
        Some(Action::Metrics), metrics::metrics, Some(&operations::METRICS);
    GET "/openapi.json"
        Some(Action::Openapi), openapi::openapi, Some(&operations::OPENAPI);
    GET "/docs"
        None, docs_ui::page, Some(&operations::DOCS);
    GET "/docs/page.css" None, docs_ui::page_style, None;
    GET "/docs/init.js" None, docs_ui::init, None;
    GET "/docs/swagger-ui.css" None, docs_ui::style, None;
    GET "/docs/swagger-ui-bundle.js" None, docs_ui::script, None;
};

/// What a method and a path find.
pub(super) enum Found {
    /// What nearly every request asks for, and so is not looked up: an inference by a model.
    Inference(ModelRef),
    Route {
        route: &'static Route,
        model: Option<ModelRef>,
    },
    /// The path is there, with these methods only.
    OtherMethods(Vec<&'static Method>),
    Nothing,
}

/// The row that answers. HEAD is answered as GET is.
///
/// # Errors
/// A path that is not UTF-8 after percent-decoding, or names a model by too long a name or version.
pub(super) fn find(method: &Method, path: &str) -> Result<Found> {
    if let Some(found) = plain_inference(method, path) {
        return Ok(found);
    }
    let segments = segments(path)?;
    let wanted = match *method {
        Method::HEAD => &Method::GET,
        _ => method,
    };
    let mut others = Vec::new();
    for route in ROUTES {
        let Some(model) = fit(route.path, &segments) else {
            continue;
        };
        if route.method == *wanted {
            model.iter().try_for_each(ModelRef::check_length)?;
            return Ok(Found::Route { route, model });
        }
        others.push(&route.method);
    }
    Ok(match others.is_empty() {
        true => Found::Nothing,
        false => Found::OtherMethods(others),
    })
}

/// What nearly every request asks for, found without looking at the other rows: an inference by
/// a model whose name is written as it is.
fn plain_inference(method: &Method, path: &str) -> Option<Found> {
    let name = path.strip_prefix("/v2/models/")?.strip_suffix("/infer")?;
    if *method != Method::POST || name.bytes().any(|byte| matches!(byte, b'/' | b'%')) {
        return None;
    }
    if name.len() > ModelRef::LONGEST {
        // The table says what is wrong with it.
        return None;
    }
    Some(Found::Inference(ModelRef {
        name: named(name)?.to_owned(),
        version: None,
    }))
}

/// The segments between the slashes, each percent-decoded by itself.
fn segments(path: &str) -> Result<Vec<Cow<'_, str>>> {
    let path = path.strip_prefix('/').unwrap_or(path);
    // The specification writes `v2`, and its first implementation serves `v2/`.
    let path = match path {
        "v2/" => "v2",
        other => other,
    };
    let decode = |segment| {
        percent_decode_str(segment)
            .decode_utf8()
            .map_err(|_| Error::malformed("the path is not UTF-8 after percent-decoding"))
    };
    path.split('/').map(decode).collect()
}

/// The model that the path names, where the path fits the template.
#[allow(clippy::option_option)]
fn fit(template: &str, segments: &[Cow<'_, str>]) -> Option<Option<ModelRef>> {
    let mut found = segments.iter();
    let (mut name, mut version) = (None, None);
    for wanted in template.split('/').skip(1) {
        let segment = found.next()?;
        match wanted {
            "{model_name}" => name = Some(named(segment)?),
            "{model_version}" => version = Some(named(segment)?),
            literal if literal == segment.as_ref() => {}
            _ => return None,
        }
    }
    if found.next().is_some() {
        return None;
    }
    Some(name.map(|name| ModelRef {
        name: name.to_owned(),
        version: version.map(str::to_owned),
    }))
}

/// A segment as a name. What is empty or means a folder in paths elsewhere names nothing.
fn named(segment: &str) -> Option<&str> {
    match segment {
        "" | "." | ".." => None,
        name => Some(name),
    }
}

/// The answer where there is no route.
pub(super) fn no_route(parts: &Parts) -> Error {
    Error::not_found(format!(
        "there is nothing at {} {}",
        excerpt(parts.method.as_str()),
        excerpt(parts.uri.path())
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: &Method, path: &str) -> String {
        match find(method, path) {
            Ok(Found::Route { route, model }) => match model {
                Some(ModelRef { name, version }) => {
                    let version = version.map_or(String::new(), |version| format!(" @{version}"));
                    format!("{} <{name}>{version}", route.path)
                }
                None => route.path.to_owned(),
            },
            Ok(Found::Inference(model)) => format!("{} <{}>", ROUTES[0].path, model.name),
            Ok(Found::OtherMethods(methods)) => format!("{methods:?}"),
            Ok(Found::Nothing) => "nothing".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_segment_is_decoded_by_itself_so_a_name_may_hold_any_character() {
        for (path, expected) in [
            ("/v2", "/v2"),
            ("/v2/", "/v2"),
            ("/v2/models/a%2Fb", "/v2/models/{model_name} <a/b>"),
            ("/v2/models/caf%C3%A9", "/v2/models/{model_name} <café>"),
            (
                "/v2/models/a.b/versions/3",
                "/v2/models/{model_name}/versions/{model_version} <a.b> @3",
            ),
            ("/v2/models/...", "/v2/models/{model_name} <...>"),
            ("/%76%32/models/m/%69nfer", "[POST]"),
            ("/v2/models/stats", "/v2/models/stats"),
            (
                "/v2/models/stats/stats",
                "/v2/models/{model_name}/stats <stats>",
            ),
            (
                "/v2/models/versions/ready",
                "/v2/models/{model_name}/ready <versions>",
            ),
        ] {
            assert_eq!(found(&Method::GET, path), expected, "{path}");
        }
    }

    #[test]
    fn a_plain_inference_is_found_as_by_the_whole_table() {
        for (path, expected) in [
            ("/v2/models/m/infer", "/v2/models/{model_name}/infer <m>"),
            (
                "/v2/models/caf\u{e9}/infer",
                "/v2/models/{model_name}/infer <caf\u{e9}>",
            ),
            (
                "/v2/models/a%20b/infer",
                "/v2/models/{model_name}/infer <a b>",
            ),
            (
                "/v2/models/stats/infer",
                "/v2/models/{model_name}/infer <stats>",
            ),
            (
                "/v2/models/m/versions/1/infer",
                "/v2/models/{model_name}/versions/{model_version}/infer <m> @1",
            ),
            ("/v2/models//infer", "nothing"),
            ("/v2/models/../infer", "nothing"),
            ("/v2/models/infer", "[GET]"),
        ] {
            assert_eq!(found(&Method::POST, path), expected, "{path}");
        }
    }

    #[test]
    fn paths_are_never_normalised() {
        for path in [
            "/",
            "",
            "/v2//",
            "//v2",
            "/v2/models/",
            "/v2/models//ready",
            "/v2/models/..",
            "/v2/models/%2e%2e",
            "/v2/models/./ready",
            "/v2/health/../health/live",
            "/v2/models/m/",
            "/v2/models/m/versions//infer",
            "/V2",
            "/v2/health/live/",
        ] {
            assert_eq!(found(&Method::GET, path), "nothing", "{path}");
        }
    }

    #[test]
    fn head_is_answered_where_get_is_and_other_methods_are_told_which_there_are() {
        assert_eq!(found(&Method::HEAD, "/v2/health/live"), "/v2/health/live");
        assert_eq!(found(&Method::HEAD, "/v2/models/m/infer"), "[POST]");
        assert_eq!(found(&Method::POST, "/v2"), "[GET]");
        assert_eq!(found(&Method::TRACE, "/v2/nothing"), "nothing");
    }

    #[test]
    fn a_name_or_version_over_its_limit_is_refused_and_one_of_just_that_length_is_not() {
        let (fits, long) = ("x".repeat(1024), "x".repeat(1025));
        for (method, path) in [
            (Method::POST, "/v2/models/NAME/infer"),
            (Method::POST, "/v2/models/m/versions/NAME/infer"),
            (Method::GET, "/v2/models/NAME"),
            (Method::GET, "/v2/models/%6d/versions/NAME/ready"),
            (Method::POST, "/v2/repository/models/NAME/load"),
        ] {
            let of = |name: &str| found(&method, &path.replace("NAME", name));
            assert!(of(&fits).contains(&fits), "{path}");
            assert!(of(&long).ends_with("is longer than 1024 bytes"), "{path}");
        }
        // It is the name that counts, not how it is written.
        let written = found(&Method::GET, &format!("/v2/models/{}", "%78".repeat(1024)));
        assert!(written.contains(&fits));
    }

    #[test]
    fn a_path_that_is_not_utf_8_is_refused() {
        assert!(found(&Method::GET, "/v2/models/%ff").contains("not UTF-8"));
    }
}
