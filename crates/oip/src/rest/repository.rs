//! The model repository extension.
//!
//! Source: Triton's `extension_model_repository.md`.

use std::fmt;

use oip_core::access::actions;
use oip_core::validate::{check_load_parameter, check_unload_parameter};
use oip_protocol::error::excerpt;
use oip_protocol::{Error, RepositoryEntry, Result};
use serde::de::{DeserializeOwned, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::Arrived;
use super::body::{self, Form};
use super::respond::Reply;

#[derive(Default, Deserialize)]
#[serde(default)]
struct IndexRequest {
    ready: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LoadRequest {
    #[serde(rename = "parameters")]
    _parameters: LoadParameters,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct UnloadRequest {
    #[serde(rename = "parameters")]
    _parameters: UnloadParameters,
}

#[derive(Serialize)]
struct Entry {
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    version: String,
    state: &'static str,
    reason: String,
}

#[derive(Serialize)]
struct Done {}

/// Every model version and its state.
pub(super) async fn index(arrived: &mut Arrived) -> Result<Reply> {
    let permit = arrived.permit::<actions::Index>().await?;
    let request: IndexRequest = optional_body(arrived).await?;
    let dataplane = &arrived.rest.door.dataplane;
    let entries = dataplane.repository_index(permit, request.ready).await?;
    let entries: Vec<Entry> = entries.into_iter().map(Entry::from).collect();
    Reply::json(&entries)
}

/// Loads a model, or loads it again.
pub(super) async fn load(arrived: &mut Arrived) -> Result<Reply> {
    let permit = arrived.permit::<actions::Load>().await?;
    let _: LoadRequest = optional_body(arrived).await?;
    arrived.rest.door.dataplane.load(permit).await?;
    Reply::json(&Done {})
}

/// Unloads a model.
pub(super) async fn unload(arrived: &mut Arrived) -> Result<Reply> {
    let permit = arrived.permit::<actions::Unload>().await?;
    let _: UnloadRequest = optional_body(arrived).await?;
    arrived.rest.door.dataplane.unload(permit).await?;
    Reply::json(&Done {})
}

/// A body that may be absent.
async fn optional_body<T: DeserializeOwned + Default>(arrived: &mut Arrived) -> Result<T> {
    let form = Form::of(&arrived.parts.headers, arrived.present);
    let mut held = arrived.rest.door.dataplane.memory().nothing();
    let declared = body::declared(&arrived.parts.headers, &arrived.body);
    let body = body::read(arrived, declared, 0, &mut held).await?;
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(T::default());
    }
    if form? != Form::Json {
        return Err(Error::malformed("this request has no binary form"));
    }
    serde_json::from_slice(&body).map_err(|error| Error::malformed(explain(&error)))
}

/// A refused parameter has a sentence of its own; anything else is a fault in the JSON.
fn explain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let (line, column) = (error.line(), error.column());
    match text.split_once(REFUSED) {
        Some((_, refusal)) => {
            let refusal = refusal
                .rsplit_once(" at line")
                .map_or(refusal, |(refusal, _)| refusal);
            refusal.to_owned()
        }
        None => {
            let shown = excerpt(&text);
            format!("the body is no request of this kind (line {line} column {column}): {shown}")
        }
    }
}

/// Stands before the sentence of a refused parameter, so that it is found again.
const REFUSED: &str = "refused: ";

impl From<RepositoryEntry> for Entry {
    fn from(entry: RepositoryEntry) -> Self {
        Self {
            name: entry.name,
            version: entry.version,
            state: entry.state.name(),
            reason: entry.reason,
        }
    }
}

/// The parameters of a load. None is known; those of Triton's upload are refused by name.
#[derive(Default)]
struct LoadParameters;

/// The parameters of an unload: `unload_dependents`, which has nothing to do here.
#[derive(Default)]
struct UnloadParameters;

impl<'de> Deserialize<'de> for LoadParameters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Names(check_load_parameter))?;
        Ok(Self)
    }
}

impl<'de> Deserialize<'de> for UnloadParameters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Names(check_unload_parameter))?;
        Ok(Self)
    }
}

/// Walks over the names of an object and keeps nothing: a model in a body costs no memory.
struct Names<F>(F);

impl<'de, F: Fn(&str) -> oip_protocol::Result<()>> Visitor<'de> for Names<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of parameters")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<std::borrow::Cow<'_, str>>()? {
            (self.0)(&name).map_err(|refusal| A::Error::custom(format!("{REFUSED}{refusal}")))?;
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(body: &str) -> Result<(), String> {
        let parsed = serde_json::from_str::<LoadRequest>(body);
        parsed.map(|_| ()).map_err(|error| explain(&error))
    }

    #[test]
    fn an_upload_through_a_load_is_refused_by_name() {
        let error = load(r#"{"parameters": {"config": "{}"}}"#).unwrap_err();
        assert!(error.contains("'config' is not taken"), "{error}");
        assert!(!error.contains("line"), "{error}");
        let error = load(r#"{"parameters": {"file:1/model.onnx": "AAAA"}}"#).unwrap_err();
        assert!(error.contains("not uploaded"), "{error}");
        let error = load(r#"{"parameters": {"surprise": 1}}"#).unwrap_err();
        assert_eq!(error, "the parameter 'surprise' is not known here");
        assert_eq!(load(r#"{"parameters": {}}"#), Ok(()));
        assert_eq!(load("{}"), Ok(()));
    }

    #[test]
    fn an_unload_of_dependents_is_taken() {
        let body = r#"{"parameters": {"unload_dependents": true}}"#;
        assert!(serde_json::from_str::<UnloadRequest>(body).is_ok());
        assert!(serde_json::from_str::<UnloadRequest>(r#"{"parameters": {"x": 1}}"#).is_err());
    }

    #[test]
    fn a_fault_in_the_json_has_its_place() {
        let error = load("{\n\"parameters\": 7}").unwrap_err();
        assert!(error.contains("line 2 column"), "{error}");
    }
}
