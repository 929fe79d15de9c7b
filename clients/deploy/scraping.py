"""A real Prometheus with the scrape configuration and the rules of deploy/prometheus, only quicker."""

import contextlib
import http.client
import json
import re
import shutil
import subprocess
import time
import urllib.parse

import yaml

from documents import DEPLOY
from oip_server import free_port

PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
RULES = DEPLOY / "prometheus" / "rules.yaml"
# What Prometheus' discovery tells of a pod that deploy/kubernetes makes.
POD = {
    "__meta_kubernetes_pod_annotation_prometheus_io_scrape": "true",
    "__meta_kubernetes_pod_annotation_prometheus_io_path": "/metrics",
    "__meta_kubernetes_pod_label_app_kubernetes_io_name": "oip",
    "__meta_kubernetes_pod_phase": "Running",
    "__meta_kubernetes_namespace": "models",
}


def discovered(labels, annotations, address, phase="Running"):
    """What Prometheus' discovery tells of a pod with these labels and annotations, at this address."""
    told = {"__address__": address, "__metrics_path__": "/metrics", "__meta_kubernetes_pod_phase": phase}
    for kind, values in {"label": labels, "annotation": annotations}.items():
        told |= {f"__meta_kubernetes_pod_{kind}_{re.sub(r'[^a-zA-Z0-9_]', '_', key)}": value for key, value in values.items()}
    return told


def scraped(told):
    """The address and the path that deploy/prometheus/prometheus.yaml makes of it; None for a pod that is passed over."""
    settings = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text())
    for rule in settings["scrape_configs"][0]["relabel_configs"]:
        source = ";".join(told.get(label, "") for label in rule["source_labels"])
        match = re.fullmatch(rule.get("regex", "(.*)"), source)
        if rule.get("action") in ("keep", "drop"):
            if (match is None) == (rule["action"] == "keep"):
                return None
        elif match:
            told = told | {rule["target_label"]: match.expand(re.sub(r"\$(\d)", r"\\\1", rule.get("replacement", "$1")))}
    return told["__address__"], told["__metrics_path__"]


class Prometheus:
    """Prometheus that scrapes one target as deploy/prometheus/prometheus.yaml has it, only more often."""

    def __init__(self, folder, target, pod="oip-0"):
        self.port, self.log = free_port(), folder / "prometheus.log"
        settings = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text())
        scrape = settings["scrape_configs"][0]
        # Debian's Prometheus is built without the discovery of Kubernetes: its answer is written down instead.
        del scrape["kubernetes_sd_configs"]
        labels = POD | {"__meta_kubernetes_pod_annotation_prometheus_io_port": target.split(":")[1],
                        "__meta_kubernetes_pod_name": pod}
        scrape["static_configs"] = [{"targets": [target], "labels": labels}]
        scrape["scrape_interval"] = "250ms"
        settings |= {"rule_files": [str(RULES)], "global": {"evaluation_interval": "250ms", "scrape_timeout": "250ms"}}
        folder.mkdir(exist_ok=True)
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
