"""The queries of the dashboard and of the rules, asked of a real Prometheus that scrapes the server."""

import contextlib
import http.client
import json
import re
import shutil
import subprocess
import time
import urllib.parse

import pytest
import yaml

import onnx_models
from documents import DEPLOY
from oip_server import ROOT, Server, free_port

PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
RULES = DEPLOY / "prometheus" / "rules.yaml"
DASHBOARD = json.loads((DEPLOY / "grafana" / "oip.json").read_text())
# What Prometheus' discovery tells of a pod that deploy/kubernetes makes.
POD = {
    "__meta_kubernetes_pod_annotation_prometheus_io_scrape": "true",
    "__meta_kubernetes_pod_annotation_prometheus_io_path": "/metrics",
    "__meta_kubernetes_pod_label_app_kubernetes_io_name": "oip",
    "__meta_kubernetes_namespace": "models",
    "__meta_kubernetes_pod_name": "oip-0",
}
needs_prometheus = pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed")


def panel_queries():
    """Title and expression of every query of the dashboard."""
    return [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]


def rules():
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def test_dashboard_and_rules_speak_only_of_metrics_that_are_documented():
    documented = set(re.findall(r"^\| `(oip_\w+)`", (ROOT / "docs" / "metrics.md").read_text(), re.M))
    texts = [query for _, query in panel_queries()] + [rule["expr"] for rule in rules()]
    texts.append((DEPLOY / "kserve" / "queue-depth.yaml").read_text())
    used = set(re.findall(r"\boip_\w+", " ".join(texts)))
    names = {re.sub(r"_(bucket|sum|count)$", "", name) for name in used}
    assert names <= documented, names - documented


def test_the_adapter_takes_what_a_rule_records_and_gives_what_the_autoscaler_wants():
    adapter = yaml.safe_load((DEPLOY / "prometheus" / "adapter.yaml").read_text())["rules"][0]
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    assert adapter["seriesQuery"].split("{")[0] in recorded
    autoscaler = yaml.safe_load((DEPLOY / "kubernetes" / "horizontalpodautoscaler.yaml").read_text())
    wanted = [metric["pods"]["metric"]["name"] for metric in autoscaler["spec"]["metrics"]]
    assert wanted == [adapter["name"]["as"]]


def test_no_two_panels_lie_on_one_another():
    taken = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells


@needs_prometheus
def test_the_rules_do_what_their_examples_say():
    done = subprocess.run([PROMTOOL, "test", "rules", DEPLOY / "prometheus" / "rules_test.yaml"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout


class Prometheus:
    """Prometheus that scrapes one target as deploy/prometheus/prometheus.yaml has it, only more often."""

    def __init__(self, folder, target):
        self.port, self.log = free_port(), folder / "prometheus.log"
        settings = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text())
        scrape = settings["scrape_configs"][0]
        # Debian's Prometheus is built without the discovery of Kubernetes: its answer is written down instead.
        del scrape["kubernetes_sd_configs"]
        labels = POD | {"__meta_kubernetes_pod_annotation_prometheus_io_port": target.split(":")[1]}
        scrape["static_configs"] = [{"targets": [target], "labels": labels}]
        scrape["scrape_interval"] = "250ms"
        settings |= {"rule_files": [str(RULES)], "global": {"evaluation_interval": "250ms", "scrape_timeout": "250ms"}}
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(settings))
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [PROMETHEUS, f"--config.file={folder / 'prometheus.yaml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
                 f"--web.listen-address=127.0.0.1:{self.port}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)

    def query(self, text):
        """The samples of an instant query, as (labels, value)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", "/api/v1/query?" + urllib.parse.urlencode({"query": text}))
            answer = json.loads(connection.getresponse().read())
        assert answer["status"] == "success", (text, answer)
        return [(sample["metric"], float(sample["value"][1])) for sample in answer["data"]["result"]]

    def wait_for(self, text, wanted, limit=30):
        """Waits until the query has samples of which `wanted` is true."""
        end, seen = time.monotonic() + limit, None
        while time.monotonic() < end:
            # While it starts it says so in plain text.
            with contextlib.suppress(OSError, json.JSONDecodeError):
                seen = self.query(text)
                if seen and wanted(seen):
                    return
            time.sleep(0.1)
        raise AssertionError(f"{text} gives {seen}: {self.log.read_text()[-2000:]}")

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """A server with a batched model and a cached one, each asked between two looks of Prometheus."""
    folder = tmp_path_factory.mktemp("monitoring")
    repository = folder / "models"
    for name, settings in {"batched": "[batching]\nmax_batch_size = 8\n", "cached": '[cache]\nmax_bytes = "1 MiB"\n'}.items():
        onnx_models.put(repository, name, onnx_models.identity("FP32", ("m", 2)))
        (repository / name / "model.toml").write_text(settings)
    server = Server(repository, folder / "oip.log", ["--onnxruntime-library=off"])
    prometheus = Prometheus(folder, server.rest)
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


@needs_prometheus
@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("record") or rule["alert"])
def test_a_rule_can_be_evaluated(watched, rule):
    # An alert's threshold is cut off: what it looks at has to be there, whether or not it is too much.
    samples = watched.query(re.sub(r"\s(==|>|<)\s[\d.]+$", "", rule["expr"].strip()))
    assert samples, rule
