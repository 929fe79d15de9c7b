"""OpenTelemetry's variables of the environment: whether anything is sent, which inferences, and what is said of the service."""

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import onnx_models
from test_traces import PARENT, TRACE, Collector, ask

ROOT = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
UNSAMPLED = {"traceparent": f"00-{TRACE}-{PARENT}-00"}


@pytest.fixture
def traces_of(start, repository):
    """The traces that a server with these variables has sent when it has stopped, asked with each of these headers."""
    onnx_models.put(repository, "m", onnx_models.add(1))
    collectors = []

    def traces_of(asked, **variables):
        collector = Collector()
        collectors.append(collector)
        server = start(repository, env={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_SERVICE_NAME": "shop"} | variables)
        for headers in asked:
            ask(server, "http", headers)
        server.stop()
        roots = [span for span in collector.spans() if span.name == "infer m"]
        return roots, server.log(), collector.bodies

    yield traces_of
    for collector in collectors:
        collector.server.shutdown()


@pytest.mark.parametrize("name, value", [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")])
def test_nothing_is_sent_where_a_variable_says_so_and_the_start_says_it(traces_of, name, value):
    roots, log, bodies = traces_of([{}, ROOT], **{name: value})
    assert not roots and not bodies and f"no traces are sent to otlp_endpoint: {name}={value}" in log, log


@pytest.mark.parametrize("sampler, expected", [
    ("always_on", 3), ("always_off", 0), ("traceidratio", 0),
    ("parentbased_always_on", 2), ("parentbased_always_off", 1), ("parentbased_traceidratio", 1)])
def test_a_sampler_decides_for_itself_or_follows_the_caller(traces_of, sampler, expected):
    roots, log, _ = traces_of([{}, ROOT, UNSAMPLED], OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG="0")
    assert len(roots) == expected and "OTEL_" not in log, log


def test_what_is_said_of_the_service_goes_with_its_traces_and_what_is_not_known_is_warned_about(traces_of):
    said = {"OTEL_RESOURCE_ATTRIBUTES": "service.name=other,deployment.environment.name=pro%20d",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_TRACES_SAMPLER": "jaeger_remote"}
    roots, log, bodies = traces_of([{}], **said)
    assert len(roots) == 1
    [resource] = ExportTraceServiceRequest.FromString(bodies[0]).resource_spans
    attributes = {a.key: a.value.string_value for a in resource.resource.attributes}
    assert attributes["service.name"] == "shop" and attributes["deployment.environment.name"] == "pro d"
    for name in ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_TRACES_SAMPLER"):
        assert f"{name} " in log, log
