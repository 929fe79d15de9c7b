"""The queries of the dashboard and of the rules, asked of a real Prometheus that scrapes the server."""

import contextlib
import http.client
import json
import re
import subprocess
import threading
import time

import pytest
import yaml

import onnx_models
from documents import DEPLOY, KSERVE, kserve, of_kind, options_of, properties
from oip_server import ROOT, Server, free_port
from scraping import PROMETHEUS, PROMTOOL, RULES, Prometheus, discovered, scraped

DASHBOARD = json.loads((DEPLOY / "grafana" / "oip.json").read_text())
needs_prometheus = pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed")


def panel_queries():
    """Title and expression of every query of the dashboard."""
    return [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]


def rules():
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def test_dashboard_and_rules_speak_only_of_metrics_that_are_documented():
    documented = set(re.findall(r"^\| `((?:oip|process)_\w+)`", (ROOT / "docs" / "metrics.md").read_text(), re.M))
    texts = [query for _, query in panel_queries()] + [rule["expr"] for rule in rules()]
    texts.append((DEPLOY / "kserve" / "queue-depth.yaml").read_text())
    used = set(re.findall(r"\b(?:oip|process)_\w+", " ".join(texts)))
    names = {re.sub(r"_(bucket|sum|count)$", "", name) for name in used}
    assert names <= documented, names - documented


def test_a_failure_is_the_servers_own_wherever_failures_are_asked_for():
    """The codes of the rule, the panel and the pages, against the table of codes."""
    table = (ROOT / "docs" / "errors.md").read_text()
    rows = re.findall(r"^\| (\w+) \| (\d{3}) \| ([A-Z_]+) \|", table, re.M)
    assert len(rows) == 14
    of_callers = {code for _, rest, grpc in rows if rest < "500" for code in (rest, grpc)}
    of_server = {code for _, rest, grpc in rows if rest >= "500" for code in (rest, grpc)} - of_callers
    queries = [query for title, query in panel_queries() if title == "Failures"]
    queries += [rule["expr"] for rule in rules() if rule.get("record") == "oip:failures:ratio5m"]
    queries += [text for page in ("metrics.md", "kubernetes.md")
                for text in re.findall(r"```promql\n(.*?)```", (ROOT / "docs" / page).read_text(), re.S) if "INTERNAL" in text]
    assert len(queries) == 4
    for query in queries:
        failed, owed = re.findall(r'code=~"([^"]+)"', query)
        known = {*of_callers, *of_server, "200", "OK"}
        assert {code for code in known if re.fullmatch(failed, code)} == of_server
        assert {code for code in known if re.fullmatch(owed, code)} == {*of_server, "200", "OK"}
        assert 'outcome="failure"' not in query


def test_the_adapter_takes_what_a_rule_records_and_gives_what_the_autoscaler_wants():
    adapter = yaml.safe_load((DEPLOY / "prometheus" / "adapter.yaml").read_text())["rules"][0]
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    assert adapter["seriesQuery"].split("{")[0] in recorded
    autoscaler = yaml.safe_load((DEPLOY / "kubernetes" / "horizontalpodautoscaler.yaml").read_text())
    wanted = [metric["pods"]["metric"]["name"] for metric in autoscaler["spec"]["metrics"]]
    assert wanted == [adapter["name"]["as"]]


def test_the_adapters_metric_has_a_name_that_the_server_does_not_give():
    adapter = yaml.safe_load((DEPLOY / "prometheus" / "adapter.yaml").read_text())["rules"][0]
    assert f"`{adapter['name']['as']}`" not in (ROOT / "docs" / "metrics.md").read_text()


def test_no_two_panels_lie_on_one_another():
    taken = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells


def pods():
    """Labels and annotations of every pod that deploy/ makes, and the options of its server."""
    yield pytest.param(of_kind("Deployment")[0]["spec"]["template"]["metadata"], properties(), id="deployment")
    for name in KSERVE:
        if kserve(name)["kind"] == "ClusterServingRuntime":
            spec = kserve(name)["spec"]
            yield pytest.param(spec, options_of(name, spec["containers"][0]), id=name)


@pytest.mark.parametrize("carried, options", list(pods()))
def test_prometheus_finds_every_pod_at_the_port_of_its_metrics(carried, options):
    port = int(options["metrics_port"])
    assert options["metrics_host"] == "0.0.0.0"
    # KServe's own collecting of metrics looks here.
    of_kserve = {k: v for k, v in carried["annotations"].items() if k.startswith("prometheus.kserve.io/")}
    assert of_kserve in ({}, {"prometheus.kserve.io/port": str(port), "prometheus.kserve.io/path": "/metrics"})
    # Every port of every container is told, Knative's own included.
    for told in ("10.1.2.3", f"10.1.2.3:{options['port']}", f"10.1.2.3:{port}", "10.1.2.3:9091"):
        told = discovered(carried["labels"], carried["annotations"], told)
        assert scraped(told) == (f"10.1.2.3:{port}", "/metrics")
    for key in ("prometheus.io/scrape", "prometheus.io/port"):
        without = {k: v for k, v in carried["annotations"].items() if k != key}
        assert scraped(discovered(carried["labels"], without, "10.1.2.3:9091")) in (None, ("10.1.2.3:9091", "/metrics"))
    assert scraped(discovered({}, carried["annotations"], f"10.1.2.3:{port}")) is None


@pytest.mark.parametrize("carried, options", list(pods()))
def test_prometheus_asks_no_pod_that_is_not_yet_or_no_longer_there_and_every_one_that_may_hang(carried, options):
    def asked(phase):
        return scraped(discovered(carried["labels"], carried["annotations"], "10.1.2.3:9091", phase)) is not None

    # Pending: its model is being fetched. Failed: evicted, for one. Unknown: its node does not answer.
    phases = ("Pending", "Running", "Succeeded", "Failed", "Unknown")
    assert [phase for phase in phases if asked(phase)] == ["Running", "Unknown"]


@needs_prometheus
def test_the_rules_do_what_their_examples_say():
    done = subprocess.run([PROMTOOL, "test", "rules", DEPLOY / "prometheus" / "rules_test.yaml"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """A server with a batched model and a cached one, each asked between two looks of Prometheus."""
    folder = tmp_path_factory.mktemp("monitoring")
    repository = folder / "models"
    for name, settings in {"batched": "[batching]\nmax_batch_size = 8\n", "cached": '[cache]\nmax_bytes = "1 MiB"\n'}.items():
        onnx_models.put(repository, name, onnx_models.identity("FP32", ("m", 2)))
        (repository / name / "model.toml").write_text(settings)
    # Everyone may do everything, so that there are decisions to be shown.
    (folder / "policy.cedar").write_text("permit (principal, action, resource);\n")
    metrics = free_port()
    flags = ["--onnxruntime-library=off", f"--auth-secret={'s' * 32}", "--policy-file", folder / "policy.cedar",
             "--metrics-port", metrics]
    server = Server(repository, folder / "oip.log", flags, auth=True)
    prometheus = Prometheus(folder, f"127.0.0.1:{metrics}")
    try:
        for wanted in (2, 4, 6):
            ask(server)
            total = 'min(sum by (model) (oip_inference_requests_total{outcome="success"}))'
            prometheus.wait_for(total, lambda seen, wanted=wanted: seen[0][1] >= wanted)
        prometheus.wait_for("oip:latency_seconds:mean5m", lambda seen: len(seen) == 2)
        yield prometheus
    finally:
        prometheus.stop()
        server.stop()


def ask(server):
    """Two requests to each model."""
    request = {"inputs": [{"name": "IN", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.0]}]}
    for model in ("batched", "cached"):
        for _ in range(2):
            assert server.post(f"/v2/models/{model}/infer", request)[0] == 200


@needs_prometheus
def test_prometheus_knows_the_pod_by_the_labels_that_the_adapter_needs(watched):
    labels = watched.query("oip:queue_depth:mean1m")[0][0]
    assert (labels["job"], labels["namespace"], labels["pod"]) == ("oip", "models", "oip-0")


@needs_prometheus
@pytest.mark.parametrize("title, query", panel_queries())
def test_a_panel_has_something_to_show(watched, title, query):
    query = query.replace("$job", "oip").replace("$model", ".*").replace("$__rate_interval", "1m")
    assert "$" not in query
    samples = watched.query(query)
    assert samples, f"{title}: {query}"
    assert all(value == value for _, value in samples if len(samples) == 1), samples


def test_keda_counts_the_pods_of_its_own_inference_service_alone():
    service = kserve("queue-depth")
    name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
    query = service["spec"]["predictor"]["autoScaling"]["metrics"][0]["external"]["metric"]["query"]
    # Plain pods beside them may serve a model of the same name.
    own = f'namespace="{namespace}",pod=~"{name}-predictor-.+",model="{name}"'
    assert re.findall(r"oip_queue_depth{([^}]*)}", query) == [own, own]


class Crowd:
    """Callers that ask for a model again and again, whatever they are told."""

    def __init__(self, server, model, callers):
        self.server, self.path, self.going = server, f"/v2/models/{model}/infer", True
        self.body = json.dumps({"inputs": [{"name": "IN", "datatype": "FP32", "shape": [1], "data": [0.5]}]})
        self.statuses = []
        self.threads = [threading.Thread(target=self._ask) for _ in range(callers)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.going = False
        for thread in self.threads:
            thread.join()

    def _ask(self):
        connection = http.client.HTTPConnection(*self.server.rest.split(":"), timeout=60)
        with contextlib.closing(connection):
            while self.going:
                connection.request("POST", self.path, self.body)
                answer = connection.getresponse()
                answer.read()
                self.statuses.append(answer.status)
                time.sleep(0.002)


@needs_prometheus
def test_an_overloaded_replica_is_seen_by_the_autoscalers_and_by_an_alert(tmp_path):
    onnx_models.put(tmp_path / "models", "digits", onnx_models.identity("FP32"))
    # Requests wait for others that never come, as those of a slow model do, and only three may.
    (tmp_path / "models" / "digits" / "model.toml").write_text(
        '[batching]\nmax_batch_size = 64\nmax_queue_delay = "400 ms"\nadaptive = false\n[queue]\nmax_size = 3\n')
    server = Server(tmp_path / "models", tmp_path / "oip.log", ["--onnxruntime-library=off"])
    prometheus = Prometheus(tmp_path / "prometheus", server.rest, pod="digits-predictor-5d7f9c-x2x4z")
    keda = kserve("queue-depth")["spec"]["predictor"]["autoScaling"]["metrics"][0]["external"]["metric"]["query"]
    # The HorizontalPodAutoscaler adds a replica where this is above 2.
    pods = "oip:waiting_and_refused:mean1m"
    alert = next(rule["expr"] for rule in rules() if rule.get("alert") == "OipLimitReached")
    try:
        prometheus.wait_for(pods, lambda seen: seen[0][1] == 0)
        assert prometheus.query(keda)[0][1] == 0
        with Crowd(server, "digits", callers=8) as crowd:
            for query in (pods, keda):
                prometheus.wait_for(query, lambda seen: seen[0][1] > 3)
            # Both halves count: what waits, and what is refused.
            prometheus.wait_for("oip:queue_depth:mean1m", lambda seen: seen[0][1] > 1)
            prometheus.wait_for(alert, lambda seen: [labels["limit"] for labels, _ in seen] == ["model_queue"])
        assert set(crowd.statuses) == {200, 429}
    finally:
        prometheus.stop()
        server.stop()


def test_the_alert_of_limits_names_every_limit_that_refuses_and_no_other():
    alert = next(rule["expr"] for rule in rules() if rule.get("alert") == "OipLimitReached")
    named = set(re.search(r'limit=~"([^"]+)"', alert)[1].split("|"))
    source = (ROOT / "crates" / "protocol" / "src" / "limits.rs").read_text()
    known = set(re.findall(r'^    \w+ = "(\w+)",$', source, re.M))
    ends = {"connection_idle", "connection_age", "keep_alive", "streams", "header_timeout", "write_timeout"}
    assert ends < known and named == known - ends


@needs_prometheus
@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("record") or rule["alert"])
def test_a_rule_can_be_evaluated(watched, rule):
    # An alert's threshold is cut off: what it looks at has to be there, whether or not it is too much.
    samples = watched.query(re.sub(r"\s(==|>|<)\s[\d.]+$", "", rule["expr"].strip()))
    assert samples, rule
