//! The description of the REST door, made from the table of routes.
//!
//! | room | what is in it |
//! |---|---|
//! | [`operations`] | what each call does, takes and answers |
//! | [`schemas`], [`extension_schemas`] | the JSON objects, of the protocol and of its extensions |
//! | [`examples`] | one request and its answer, as the iris model of the examples gives it |

mod examples;
mod extension_schemas;
pub(super) mod operations;
mod schemas;

use std::sync::OnceLock;

use bytes::Bytes;
use oip_core::access::actions;
use oip_protocol::{ErrorKind, Result};
use serde_json::{Map, Value, json};

use super::Arrived;
use super::respond::{JSON, Reply};
use super::routes::{ROUTES, Route};
use operations::{Content, Operation};

/// The description, `/openapi.json`.
pub(super) async fn openapi(arrived: &mut Arrived) -> Result<Reply> {
    arrived.permit::<actions::Openapi>().await?;
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    let text = TEXT.get_or_init(|| document().to_string().into());
    Ok(Reply::of(JSON, text.clone()))
}

fn document() -> Value {
    let mut schemas = schemas::schemas();
    schemas.extend(extension_schemas::schemas());
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "Open Inference Protocol",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The REST door of this server: the Open Inference Protocol (KServe V2) \
                and those of Triton's extensions that `GET /v2` lists. Calls of an extension that \
                is not listed there are answered with 404.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "inference", "description": "Run models"},
            {"name": "metadata", "description": "What the server and its models say of themselves"},
            {"name": "health", "description": "Probes"},
            {"name": "repository", "description": "Which models are there; load and unload them"},
            {"name": "extensions", "description": "Statistics and configuration"},
            {"name": "description", "description": "This document"},
        ],
        "security": [{}, {"bearer": []}, {"apiKey": []}],
        "paths": paths(),
        "components": {
            "schemas": schemas,
            "responses": failures(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    })
}

fn paths() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let Some(operation) = route.operation else {
            continue;
        };
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        let method = route.method.as_str().to_ascii_lowercase();
        if let Value::Object(methods) = path {
            methods.insert(method, described(route, operation));
        }
    }
    Value::Object(paths)
}

/// One call under one path.
fn described(route: &Route, operation: &Operation) -> Value {
    let versioned = route.path.contains("{model_version}");
    let id = match versioned {
        true => format!("{}OfVersion", operation.id),
        false if route.path == "/v2/models/stats" => format!("{}OfAllModels", operation.id),
        false if route.path == "/v2/trace/setting" => format!("{}OfAllModels", operation.id),
        false => operation.id.to_owned(),
    };
    let mut described = json!({
        "operationId": id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description,
        "parameters": parameters(route, operation),
        "responses": responses(operation),
    });
    if let Some(body) = &operation.body {
        described["requestBody"] = json!({
            "required": operation.body_required,
            "content": content(body, operation.binary),
        });
    }
    if route.action.is_none() {
        described["security"] = json!([]);
    }
    described
}

fn parameters(route: &Route, operation: &Operation) -> Vec<Value> {
    let in_path = [
        ("model_name", "The model's name, percent-encoded", "iris"),
        ("model_version", "The model's version", "1"),
    ];
    let mut parameters: Vec<Value> = in_path
        .into_iter()
        .filter(|(name, ..)| route.path.contains(&format!("{{{name}}}")))
        .map(|(name, description, example)| {
            json!({
                "name": name, "in": "path", "required": true, "description": description,
                "schema": {"type": "string"}, "example": example,
            })
        })
        .collect();
    let headers = operation.headers.iter().map(|header| {
        json!({
            "name": header.name, "in": "header", "required": false,
            "description": header.description, "schema": (header.schema)(),
        })
    });
    parameters.extend(headers);
    parameters
}

fn responses(operation: &Operation) -> Value {
    let mut responses = Map::new();
    let mut well = json!({
        "description": operation.answers,
        "content": content(&operation.answer, operation.binary),
    });
    if operation.binary {
        well["headers"] = json!({"Inference-Header-Content-Length": {
            "description": "Bytes of JSON before the tensors, in a binary answer",
            "schema": {"type": "integer"},
        }});
    }
    responses.insert("200".to_owned(), well);
    for status in operation.failures {
        let failure = match operation.not_ready {
            Some(schema) if *status == 503 => json!({
                "description": "Not ready",
                "content": {"application/json": {"schema": reference(schema)}},
            }),
            _ => json!({"$ref": format!("#/components/responses/{status}")}),
        };
        responses.insert(status.to_string(), failure);
    }
    Value::Object(responses)
}

fn content(content: &Content, binary: bool) -> Value {
    let mut json = json!({"schema": reference(content.schema)});
    if let Some(example) = content.example {
        json["example"] = example();
    }
    let mut types = Map::new();
    types.insert(content.media.to_owned(), json);
    if binary {
        types.insert(
            "application/octet-stream".to_owned(),
            json!({"schema": {
                "type": "string", "format": "binary",
                "description": "The JSON, and behind it the buffers of its binary tensors",
            }}),
        );
    }
    Value::Object(types)
}

fn reference(schema: &str) -> Value {
    match schema {
        "" => json!({"type": "string"}),
        schema => json!({"$ref": format!("#/components/schemas/{schema}")}),
    }
}

/// The failures, one for each status, from the one table of outcomes.
fn failures() -> Value {
    let mut failures = Map::new();
    for kind in ErrorKind::ALL {
        let status = kind.http_status();
        let (description, example) = failure(status);
        let mut failure = json!({
            "description": description,
            "content": {"application/json": {
                "schema": reference("Error"),
                "example": {"error": example},
            }},
        });
        let header = match status {
            401 => Some(("WWW-Authenticate", "string")),
            405 => Some(("Allow", "string")),
            429 | 503 => Some(("Retry-After", "integer")),
            _ => None,
        };
        if let Some((name, datatype)) = header {
            failure["headers"] = json!({name: {"schema": {"type": datatype}}});
        }
        failures.insert(status.to_string(), failure);
    }
    Value::Object(failures)
}

fn failure(status: u16) -> (&'static str, &'static str) {
    match status {
        400 => (
            "Malformed, or does not fit the model",
            "input 'input' is missing",
        ),
        401 => ("Not authenticated", "this needs authentication"),
        403 => ("Not permitted", "you are not permitted to run this model"),
        404 => (
            "Unknown model, version or route",
            "model 'tulip' is not found",
        ),
        405 => (
            "No such method here",
            "the method PUT is not there; allowed: GET, HEAD",
        ),
        413 => (
            "Over the limit of a body",
            "the body is over the limit of 67108864 bytes",
        ),
        415 => (
            "A content type or encoding that is not read",
            "the content encoding 'br' is not read; known are gzip, deflate and identity",
        ),
        429 => (
            "A queue is full",
            "too many requests are waiting for this model",
        ),
        500 => ("The model failed", "the model failed to answer"),
        501 => (
            "Not implemented by the handler",
            "infer is not implemented by this server's handler",
        ),
        503 => (
            "Not ready, or draining",
            "model 'iris' is not ready: loading",
        ),
        _ => (
            "The deadline ran out",
            "the deadline ran out before the model answered",
        ),
    }
}

#[cfg(test)]
mod tests;
