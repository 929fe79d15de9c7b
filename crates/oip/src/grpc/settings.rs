//! Log and trace settings.

use oip_core::Caller;
use oip_core::access::actions;
use oip_protocol::Result;
use oip_protocol::proto::decode_model_ref;
use oip_protocol::proto::generated as pb;

use super::methods;
use crate::door::Door;
use crate::telemetry::{Changes, LogValue, TraceSettings};

type GivenLog = pb::log_settings_request::setting_value::ParameterChoice;
type ShownLog = pb::log_settings_response::setting_value::ParameterChoice;

/// Reads log settings, or changes them.
pub(super) async fn log(
    door: &Door,
    caller: &Caller,
    message: pb::LogSettingsRequest,
) -> Result<pb::LogSettingsResponse> {
    door.dataplane.authorize::<actions::Logging>(caller).await?;
    let given = message.settings.into_iter().filter_map(|(name, value)| {
        let value = match value.parameter_choice? {
            GivenLog::BoolParam(on) => LogValue::Flag(on),
            GivenLog::Uint32Param(number) => LogValue::Number(number),
            GivenLog::StringParam(text) => LogValue::Text(text),
        };
        Some((name, value))
    });
    let given: Vec<_> = given.collect();
    let settings = door.telemetry.log_settings(&given);
    let settings = settings.unwrap_or_else(|| Err(methods::absent("logging")))?;
    let shown = settings.into_iter().map(|(name, value)| {
        let choice = match value {
            LogValue::Flag(on) => ShownLog::BoolParam(on),
            LogValue::Number(number) => ShownLog::Uint32Param(number),
            LogValue::Text(text) => ShownLog::StringParam(text),
        };
        let value = pb::log_settings_response::SettingValue {
            parameter_choice: Some(choice),
        };
        (name.to_owned(), value)
    });
    Ok(pb::LogSettingsResponse {
        settings: shown.collect(),
    })
}

/// Reads trace settings, or changes them.
pub(super) async fn trace(
    door: &Door,
    caller: &Caller,
    message: pb::TraceSettingRequest,
) -> Result<pb::TraceSettingResponse> {
    let dataplane = &door.dataplane;
    let permit = match message.model_name.is_empty() {
        true => dataplane.authorize::<actions::Trace>(caller).await?,
        false => {
            let model = decode_model_ref(message.model_name, String::new())?;
            dataplane.authorize_model(caller, model).await?
        }
    };
    let model = dataplane.traced_model(permit).await?;
    let switch = &door.telemetry.tracer.switch;
    let given = message.settings.into_iter();
    let given: Changes = given
        .map(|(name, setting)| (name, Some(setting.value).filter(|value| !value.is_empty())))
        .collect();
    let settings = match given.is_empty() {
        true => switch.read(model.as_deref()),
        false => switch.update(model.as_deref(), &given)?,
    };
    Ok(shown(&settings))
}

fn shown(settings: &TraceSettings) -> pb::TraceSettingResponse {
    let value = |text| pb::trace_setting_response::SettingValue { value: vec![text] };
    let settings = settings.shown().into_iter();
    pb::TraceSettingResponse {
        settings: settings
            .map(|(name, text)| (name.to_owned(), value(text)))
            .collect(),
    }
}
