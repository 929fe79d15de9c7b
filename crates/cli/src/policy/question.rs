//! What `oip policy explain` asks: only what a server would ask, in the way it asks it.

use std::net::IpAddr;

use clap::ArgMatches;
use oip::ModelRef;
use oip::access::{Action, Subject};
use oip::auth::claimed_roles;
use oip::auth::pdp::Situation;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

/// What stays as it is in a segment of a path.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What an action concerns.
#[derive(Clone, Copy, PartialEq)]
enum About {
    Model,
    Server,
    Either,
}

/// The situation that the arguments describe, where roles are those of this claim, or why no server ever asks about it.
pub(super) fn situation(matches: &ArgMatches, roles_claim: &str) -> Result<Situation, String> {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let action = text("action").and_then(|name| Action::by_name(&name));
    let action = action.ok_or("which action?")?;
    let model = model(action, text("model"), text("version"))?;
    Ok(Situation {
        subject: text("as")
            .map(|id| subject(id, matches, roles_claim))
            .transpose()?,
        action,
        peer: matches.get_one::<IpAddr>("from").copied(),
        path: text("path").unwrap_or_else(|| path(action, model.as_ref())),
        model,
    })
}

fn subject(id: String, matches: &ArgMatches, roles_claim: &str) -> Result<Subject, String> {
    let name = id.trim();
    if name.is_empty() || name.eq_ignore_ascii_case("anonymous") {
        return Err(format!(
            "--as '{id}': no credential can name anybody so; without --as a caller who shows none \
             would ask, who is Anonymous"
        ));
    }
    let all = |name: &str| matches.get_many::<String>(name).into_iter().flatten();
    let claims = all("claim").map(|text| claim(text));
    let claims = claims.collect::<Result<_, _>>()?;
    // A token that carries these claims would give these roles.
    let mut roles =
        claimed_roles(&claims, roles_claim).map_err(|fault| format!("--claim: {fault}"))?;
    roles.extend(all("role").cloned());
    Ok(Subject { id, roles, claims })
}

/// `NAME=VALUE`: a value that is no JSON is a text.
fn claim(text: &str) -> Result<(String, Value), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            let read = serde_json::from_str(value);
            let value = read.unwrap_or_else(|_| Value::String(value.to_owned()));
            Ok((name.to_owned(), value))
        }
        _ => Err(format!("--claim '{text}' is not NAME=VALUE")),
    }
}

fn model(
    action: Action,
    name: Option<String>,
    version: Option<String>,
) -> Result<Option<ModelRef>, String> {
    let said = action.name();
    match (about(action), &name) {
        (About::Model, None) => Err(format!("'{said}' concerns a model: name one")),
        (About::Server, Some(name)) => Err(format!(
            "'{said}' concerns the server and no model: leave '{name}' out"
        )),
        (_, Some(_)) if version.is_some() && names_no_version(action) => Err(format!(
            "'{said}' concerns all versions of a model: leave --version out"
        )),
        _ => Ok(name.map(|name| {
            let mut model = ModelRef::new(name);
            model.version = version;
            model
        })),
    }
}

/// Whether an action concerns all versions of a model.
fn names_no_version(action: Action) -> bool {
    matches!(action, Action::Load | Action::Unload | Action::Trace)
}

fn about(action: Action) -> About {
    match action {
        Action::Infer | Action::Metadata | Action::Load | Action::Unload | Action::Config => {
            About::Model
        }
        Action::Live
        | Action::ServerMetadata
        | Action::Index
        | Action::Metrics
        | Action::Openapi
        | Action::Logging
        | Action::Reflection => About::Server,
        Action::Ready | Action::Statistics | Action::Trace => About::Either,
    }
}

/// The path of the REST door by which it would be asked; reflection has gRPC's alone.
fn path(action: Action, model: Option<&ModelRef>) -> String {
    let Some(model) = model else {
        return match action {
            Action::Live => "/v2/health/live",
            Action::Ready => "/v2/health/ready",
            Action::Index => "/v2/repository/index",
            Action::Statistics => "/v2/models/stats",
            Action::Metrics => "/metrics",
            Action::Logging => "/v2/logging",
            Action::Trace => "/v2/trace/setting",
            Action::Openapi => "/openapi.json",
            Action::Reflection => "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            _ => "/v2",
        }
        .to_owned();
    };
    let name = utf8_percent_encode(&model.name, ESCAPED);
    let version = model.version.as_deref().map(|version| {
        let version = utf8_percent_encode(version, ESCAPED);
        format!("/versions/{version}")
    });
    let one = format!("/v2/models/{name}{}", version.unwrap_or_default());
    match action {
        Action::Load | Action::Unload => {
            format!("/v2/repository/models/{name}/{}", action.name())
        }
        Action::Metadata => one,
        Action::Statistics => format!("{one}/stats"),
        Action::Trace => format!("/v2/models/{name}/trace/setting"),
        _ => format!("{one}/{}", action.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(arguments: &[&str]) -> Result<Situation, String> {
        let arguments = [&["explain"][..], arguments].concat();
        let matches = super::super::explain_command().try_get_matches_from(arguments);
        situation(&matches.unwrap(), "realm.roles")
    }

    #[test]
    fn the_path_is_that_of_the_call() {
        for (arguments, expected) in [
            (&["infer", "iris"][..], "/v2/models/iris/infer"),
            (
                &["infer", "a/b c", "--version", "2"],
                "/v2/models/a%2Fb%20c/versions/2/infer",
            ),
            (&["metadata", "iris"], "/v2/models/iris"),
            (&["ready", "iris"], "/v2/models/iris/ready"),
            (&["ready"], "/v2/health/ready"),
            (&["config", "iris"], "/v2/models/iris/config"),
            (&["statistics", "iris"], "/v2/models/iris/stats"),
            (&["statistics"], "/v2/models/stats"),
            (&["load", "iris"], "/v2/repository/models/iris/load"),
            (&["index"], "/v2/repository/index"),
            (&["server_metadata"], "/v2"),
            (&["metrics"], "/metrics"),
            (&["logging"], "/v2/logging"),
            (&["trace"], "/v2/trace/setting"),
            (&["trace", "iris"], "/v2/models/iris/trace/setting"),
            (&["infer", "iris", "--path", "/x"], "/x"),
        ] {
            assert_eq!(asked(arguments).unwrap().path, expected, "{arguments:?}");
        }
    }

    #[test]
    fn what_no_server_asks_is_refused() {
        for (arguments, part) in [
            (&["infer"][..], "name one"),
            (&["metadata"], "name one"),
            (&["load"], "name one"),
            (&["load", "iris", "--version", "1"], "--version"),
            (&["server_metadata", "iris"], "leave 'iris' out"),
            (&["live", "iris"], "leave 'iris' out"),
            (&["index", "iris"], "leave 'iris' out"),
            (&["logging", "iris"], "leave 'iris' out"),
            (&["trace", "iris", "--version", "1"], "--version"),
            (&["live", "--as", "Anonymous"], "no credential"),
            (&["live", "--as", "anonymous"], "no credential"),
            (&["live", "--as", ""], "no credential"),
            (&["live", "--as", "a", "--claim", "x"], "NAME=VALUE"),
        ] {
            let refusal = asked(arguments).unwrap_err();
            assert!(refusal.contains(part), "{arguments:?}: {refusal}");
        }
    }

    #[test]
    fn the_claim_that_lists_roles_gives_them() {
        for (claim, expected) in [
            (r#"realm={"roles":["admin"]}"#, &["admin", "user"][..]),
            ("realm.roles=admin", &["admin", "user"]),
            ("roles=admin", &["user"]),
        ] {
            let arguments = ["live", "--as", "a", "--role", "user", "--claim", claim];
            let roles = asked(&arguments).unwrap().subject.unwrap().roles;
            assert_eq!(roles, expected, "{claim}");
        }
        let refusal = asked(&["live", "--as", "a", "--claim", "realm.roles=7"]).unwrap_err();
        assert!(refusal.contains("neither a text"), "{refusal}");
    }

    #[test]
    fn a_claim_is_json_or_else_text() {
        let claims = [
            "--claim",
            "clearance=3",
            "--claim",
            "team=red=blue",
            "--claim",
            "of=[1]",
        ];
        let asked = asked(&[&["live", "--as", "a"][..], &claims[..]].concat()).unwrap();
        let claims = Value::Object(asked.subject.unwrap().claims);
        let expected = serde_json::json!({"clearance": 3, "team": "red=blue", "of": [1]});
        assert_eq!(claims, expected);
    }
}
