//! Log and trace settings.
//!
//! Source: Triton's `extension_logging.md` and `extension_trace.md`. A change is a POST, and may
//! name some settings only; a value of `null` leaves a log setting as it is and takes a trace
//! setting back to its default.

use http::Method;
use oip_core::access::actions;
use oip_protocol::error::excerpt;
use oip_protocol::{Error, ErrorKind, Result};
use serde_json::{Map, Value};

use super::Arrived;
use super::body::{self, Form};
use super::respond::Reply;
use crate::telemetry::{Changes, LEVEL, LogValue, TraceSettings};

/// Longest body of a change, in bytes.
const LONGEST: usize = 64 << 10;

/// Reads log settings, or changes them.
pub(super) async fn logging(arrived: &mut Arrived) -> Result<Reply> {
    arrived.permit::<actions::Logging>().await?;
    let mut given = Vec::new();
    for (name, value) in changes(arrived).await?.unwrap_or_default() {
        match value {
            Value::Null => {}
            Value::Bool(on) => given.push((name, LogValue::Flag(on))),
            Value::String(text) => given.push((name, LogValue::Text(text))),
            Value::Number(number) => {
                let number = number
                    .as_u64()
                    .and_then(|number| u32::try_from(number).ok());
                let number = number.ok_or_else(|| unfit(&name, "a whole number of 32 bits"))?;
                given.push((name, LogValue::Number(number)));
            }
            _ => return Err(unfit(&name, "true, false, a number or a text")),
        }
    }
    let settings = arrived.rest.door.telemetry.log_settings(&given);
    let settings = settings.unwrap_or_else(|| {
        Err(Error::new(
            ErrorKind::NoSuchExtension,
            "the extension 'logging' does not work on this server",
        ))
    })?;
    let mut shown = Map::new();
    for (name, value) in settings {
        let value = match value {
            LogValue::Flag(on) => Value::from(on),
            LogValue::Number(number) => Value::from(number),
            LogValue::Text(text) => Value::from(text),
        };
        shown.insert(name.to_owned(), value);
    }
    Reply::json(&shown)
}

/// Reads trace settings, or changes them.
pub(super) async fn trace(arrived: &mut Arrived) -> Result<Reply> {
    let permit = arrived.permit::<actions::Trace>().await?;
    let body = changes(arrived).await?;
    let door = &arrived.rest.door;
    let model = door.dataplane.traced_model(permit).await?;
    let switch = &door.telemetry.tracer.switch;
    let settings = match (body, &model) {
        (None, _) => switch.read(model.as_deref()),
        // A change of nothing takes a model's own settings away.
        (Some(given), Some(name)) if given.is_empty() => {
            switch.forget(name);
            switch.read(None)
        }
        (Some(given), _) => {
            let given = given.into_iter().map(|(name, value)| {
                let values = texts(&name, value)?;
                Ok((name, values))
            });
            switch.update(model.as_deref(), &given.collect::<Result<Changes>>()?)?
        }
    };
    Reply::json(&shown(&settings))
}

fn shown(settings: &TraceSettings) -> Map<String, Value> {
    let settings = settings.shown().into_iter();
    let value = |name, text: String| match name {
        LEVEL => Value::from(vec![text]),
        _ => Value::from(text),
    };
    settings
        .map(|(name, text)| (name.to_owned(), value(name, text)))
        .collect()
}

/// The values of a trace setting; none where it goes back to its default.
fn texts(name: &str, value: Value) -> Result<Option<Vec<String>>> {
    let text = |value: Value| match value {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err(unfit(name, "a text, or a list of them")),
    };
    match value {
        Value::Null => Ok(None),
        Value::Array(values) => values
            .into_iter()
            .map(text)
            .collect::<Result<_>>()
            .map(Some),
        value => Ok(Some(vec![text(value)?])),
    }
}

/// What a POST wants changed; `None` for a GET.
async fn changes(arrived: &mut Arrived) -> Result<Option<Map<String, Value>>> {
    if arrived.parts.method != Method::POST {
        return Ok(None);
    }
    let form = Form::of(&arrived.parts.headers, arrived.present);
    let mut held = arrived.rest.door.dataplane.memory().nothing();
    let declared = body::declared(&arrived.parts.headers, &arrived.body);
    let body = body::read(arrived, declared, 0, &mut held).await?;
    if body.len() > LONGEST {
        let message = format!("settings take at most {LONGEST} bytes");
        return Err(Error::new(ErrorKind::TooLarge, message));
    }
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Some(Map::new()));
    }
    if form? != Form::Json {
        return Err(Error::malformed("this request has no binary form"));
    }
    let parsed = serde_json::from_slice(&body);
    parsed.map(Some).map_err(|error| {
        let shown = excerpt(&error.to_string());
        Error::malformed(format!("the body is no object of settings: {shown}"))
    })
}

fn unfit(name: &str, expected: &str) -> Error {
    Error::malformed(format!("the setting '{}' takes {expected}", excerpt(name)))
}
