//! What OpenTelemetry's variables say beyond those that are names of an option: whether anything is
//! traced, which inferences are, and what is said of this service.
//!
//! Source: OpenTelemetry's "Environment Variable Specification" and "Resource SDK". What cannot be
//! used is warned about and passed over, as that asks for: the variables are meant for many programs.

use percent_encoding::percent_decode_str;

use super::reader::Reader;
use super::source::Sources;
use crate::telemetry::TraceOptions;

/// What is set of those variables, as it is set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct OpenTelemetry {
    /// Whether nothing is to be traced (`OTEL_SDK_DISABLED`).
    pub disabled: bool,
    /// Where traces go (`OTEL_TRACES_EXPORTER`).
    pub exporter: Option<String>,
    /// In which form (`OTEL_EXPORTER_OTLP_TRACES_PROTOCOL`, `OTEL_EXPORTER_OTLP_PROTOCOL`).
    pub protocol: Option<String>,
    /// Which inferences are traced (`OTEL_TRACES_SAMPLER`).
    pub sampler: Option<String>,
    /// The share of them (`OTEL_TRACES_SAMPLER_ARG`).
    pub share: Option<String>,
    /// What is said of this service (`OTEL_RESOURCE_ATTRIBUTES`).
    pub attributes: Option<String>,
}

impl OpenTelemetry {
    pub(super) fn of(sources: &Sources) -> Self {
        let text = |name| {
            let text = sources.variable(name)?.to_str()?.trim();
            Some(text.to_owned()).filter(|text| !text.is_empty())
        };
        let disabled = text("OTEL_SDK_DISABLED");
        Self {
            disabled: disabled.is_some_and(|word| word.eq_ignore_ascii_case("true")),
            exporter: text("OTEL_TRACES_EXPORTER"),
            protocol: text("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
                .or_else(|| text("OTEL_EXPORTER_OTLP_PROTOCOL")),
            sampler: text("OTEL_TRACES_SAMPLER"),
            share: text("OTEL_TRACES_SAMPLER_ARG"),
            attributes: text("OTEL_RESOURCE_ATTRIBUTES"),
        }
    }

    /// The variable that says that no traces are sent, where one does.
    fn off(&self) -> Option<&'static str> {
        let none = self.exporter.as_deref() == Some("none");
        match (self.disabled, none) {
            (true, _) => Some("OTEL_SDK_DISABLED=true"),
            (_, true) => Some("OTEL_TRACES_EXPORTER=none"),
            _ => None,
        }
    }

    fn sampler(&self) -> Option<Result<Sampler, String>> {
        let name = self.sampler.as_deref()?;
        let share = || match self.share.as_deref().map(str::parse::<f64>) {
            None => Ok(1.0),
            Some(Ok(share)) if (0.0..=1.0).contains(&share) => Ok(share),
            Some(_) => Err("OTEL_TRACES_SAMPLER_ARG is no number from 0 to 1".to_owned()),
        };
        let (inner, follows) = match name.strip_prefix("parentbased_") {
            Some(inner) => (inner, true),
            None => (name, false),
        };
        let ratio = match inner {
            "always_on" => Ok(1.0),
            "always_off" => Ok(0.0),
            "traceidratio" => share(),
            _ => Err("OTEL_TRACES_SAMPLER names a sampler that is not known".to_owned()),
        };
        Some(ratio.map(|ratio| Sampler { ratio, follows }))
    }

    /// Names and values; an error where one of them cannot be read.
    fn attributes(&self) -> Result<Vec<(String, String)>, String> {
        let text = self.attributes.as_deref().unwrap_or_default();
        let decoded = |text: &str| {
            Some(
                percent_decode_str(text.trim())
                    .decode_utf8()
                    .ok()?
                    .into_owned(),
            )
        };
        let one = |pair: &str| {
            let (name, value) = pair.split_once('=')?;
            Some((
                decoded(name).filter(|name| !name.is_empty())?,
                decoded(value)?,
            ))
        };
        let pairs = text.split(',').filter(|pair| !pair.trim().is_empty());
        let pairs: Option<Vec<_>> = pairs.map(one).collect();
        pairs.ok_or_else(|| {
            "OTEL_RESOURCE_ATTRIBUTES is not name=value, separated by commas and percent-encoded".to_owned()
        })
    }
}

/// Which inferences are traced.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Sampler {
    /// The share of those about which it decides.
    ratio: f64,
    /// Whether its caller decides about one that brings a trace.
    follows: bool,
}

/// Applies to traces what the variables say. The options are stronger.
pub(super) fn apply(read: &Reader<'_>, traces: &mut TraceOptions) {
    let said = read.otel();
    if said.off().is_some() {
        traces.endpoint = None;
    }
    if let (Some(Ok(sampler)), false) = (said.sampler(), is_given(read, "trace_sample_ratio")) {
        (traces.ratio, traces.follows_callers) = (sampler.ratio, sampler.follows);
    }
    for (name, value) in said.attributes().unwrap_or_default() {
        match name.as_str() {
            "service.name" if is_given(read, "service_name") => {}
            "service.name" => traces.service = value,
            _ => traces.attributes.push((name, value)),
        }
    }
}

fn is_given(read: &Reader<'_>, key: &str) -> bool {
    read.entry(key).is_given()
}

/// What of the variables is not done, where traces would be sent.
pub(super) fn warnings(read: &Reader<'_>) -> Vec<String> {
    let said = read.otel();
    if !is_given(read, "otlp_endpoint") {
        return Vec::new();
    }
    if let Some(off) = said.off() {
        return vec![format!("no traces are sent to otlp_endpoint: {off}")];
    }
    let mut warnings = Vec::new();
    if said
        .exporter
        .as_deref()
        .is_some_and(|exporter| exporter != "otlp")
    {
        warnings.push(
            "OTEL_TRACES_EXPORTER is not known here but as otlp or none: traces are sent by OTLP"
                .to_owned(),
        );
    }
    if said
        .protocol
        .as_deref()
        .is_some_and(|form| form != "http/protobuf")
    {
        warnings.push(
            "OTEL_EXPORTER_OTLP_PROTOCOL is passed over: traces are sent as http/protobuf, for which \
             a collector often has a port of its own (4318)"
                .to_owned(),
        );
    }
    match said.sampler() {
        Some(_) if is_given(read, "trace_sample_ratio") => {
            warnings
                .push("OTEL_TRACES_SAMPLER is passed over: trace_sample_ratio is given".to_owned());
        }
        Some(Err(why)) => warnings.push(format!("{why}: it is passed over")),
        _ => {}
    }
    if let Err(why) = said.attributes() {
        warnings.push(format!("{why}: all of them are passed over"));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn resolved(variables: &[(&str, &str)]) -> (TraceOptions, String) {
        let sources = Sources::default()
            .with_flag("auth-enabled", "false")
            .with_variable("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318");
        let sources = variables.iter().fold(sources, |sources, (name, value)| {
            sources.with_variable(*name, *value)
        });
        let config = Config::resolve(&sources).unwrap();
        let traces = config.settings().unwrap().traces;
        (traces, config.warnings().join("\n"))
    }

    #[test]
    fn traces_can_be_switched_off_by_either_variable_and_that_is_said() {
        for (name, value) in [
            ("OTEL_SDK_DISABLED", "TRUE"),
            ("OTEL_TRACES_EXPORTER", "none"),
        ] {
            let (traces, warnings) = resolved(&[(name, value)]);
            assert_eq!(traces.endpoint, None, "{name}");
            assert!(warnings.contains(name), "{warnings}");
        }
        for (name, value) in [("OTEL_SDK_DISABLED", "1"), ("OTEL_TRACES_EXPORTER", "otlp")] {
            let (traces, warnings) = resolved(&[(name, value)]);
            assert!(
                traces.endpoint.is_some() && warnings.is_empty(),
                "{name}: {warnings}"
            );
        }
    }

    #[test]
    fn every_sampler_of_the_specification_is_known() {
        let share = ("OTEL_TRACES_SAMPLER_ARG", "0.25");
        for (sampler, ratio, follows) in [
            ("always_on", 1.0, false),
            ("always_off", 0.0, false),
            ("traceidratio", 0.25, false),
            ("parentbased_always_on", 1.0, true),
            ("parentbased_always_off", 0.0, true),
            ("parentbased_traceidratio", 0.25, true),
        ] {
            let (traces, warnings) = resolved(&[("OTEL_TRACES_SAMPLER", sampler), share]);
            assert_eq!(
                (traces.ratio, traces.follows_callers),
                (ratio, follows),
                "{sampler}"
            );
            assert_eq!(warnings, "");
        }
        let (traces, _) = resolved(&[("OTEL_TRACES_SAMPLER", "traceidratio")]);
        assert_eq!(traces.ratio, 1.0);
    }

    #[test]
    fn what_cannot_be_used_is_warned_about_and_passed_over() {
        for (name, value) in [
            ("OTEL_TRACES_SAMPLER", "xray"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=1,b"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=%ff"),
        ] {
            let (traces, warnings) = resolved(&[(name, value)]);
            assert!(warnings.contains(name), "{name}={value}: {warnings}");
            assert!(traces.endpoint.is_some() && traces.attributes.is_empty());
            assert_eq!((traces.ratio, traces.follows_callers), (1.0, true));
        }
        let ratio = ("OTEL_TRACES_SAMPLER", "traceidratio");
        let (_, warnings) = resolved(&[ratio, ("OTEL_TRACES_SAMPLER_ARG", "2")]);
        assert!(warnings.contains("OTEL_TRACES_SAMPLER_ARG"), "{warnings}");
    }

    #[test]
    fn the_options_are_stronger_than_the_variables() {
        let (traces, warnings) = resolved(&[
            ("OTEL_TRACES_SAMPLER", "always_off"),
            ("OIP_TRACE_SAMPLE_RATIO", "0.5"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=theirs"),
            ("OIP_SERVICE_NAME", "ours"),
        ]);
        assert_eq!((traces.ratio, traces.service.as_str()), (0.5, "ours"));
        assert!(
            warnings.contains("trace_sample_ratio is given"),
            "{warnings}"
        );
    }

    #[test]
    fn attributes_of_the_resource_are_taken_and_its_name_where_no_other_is_given() {
        let given = "service.name=shop, deployment.environment.name = pro%20d ,";
        let (traces, warnings) = resolved(&[("OTEL_RESOURCE_ATTRIBUTES", given)]);
        let expected = [("deployment.environment.name".to_owned(), "pro d".to_owned())];
        assert_eq!(
            (traces.service.as_str(), traces.attributes.as_slice()),
            ("shop", &expected[..])
        );
        assert_eq!(warnings, "");
    }
}
