"""The manifests of deploy/: well formed, hardened, and such that this server starts with them and answers its probes."""

import copy
import http.client
import itertools
import re
import shutil

import pytest

import documents
import onnx_models
import schema
from oip_server import ROOT, find_binary, free_port, run_to_exit
from running import Started, api_key

IRIS = ROOT / "examples" / "models" / "iris" / "1"
RUNTIMES = [name for name in documents.KSERVE if documents.kserve(name)["kind"] == "ClusterServingRuntime"]
SERVICES = [name for name in documents.KSERVE if documents.kserve(name)["kind"] == "InferenceService"]
# So that no test waits for proxies that are not there.
AT_ONCE = "--shutdown-delay=0s"
RELIABILITY = ROOT / "docs" / "reliability.md"
ROOM_FOR_MODELS = 384 * 2**20
CONTAINERS = {name: (pod, container) for name, pod, container in documents.containers()}


@pytest.mark.parametrize("name", documents.KSERVE)
def test_a_document_for_kserve_has_only_fields_that_kserve_knows(name):
    schema.check(documents.kserve(name))


def test_every_document_for_kubernetes_has_only_fields_that_kubernetes_knows():
    kinds = [document["kind"] for document in documents.kubernetes()]
    assert sorted(kinds) == ["ConfigMap", "Deployment", "HorizontalPodAutoscaler", "NetworkPolicy",
                             "PodDisruptionBudget", "Service", "Service", "ServiceAccount"]
    for document in documents.kubernetes():
        schema.check(document)


def _replicas(deployment):
    deployment["spec"]["replicas"] = "2"


def _misspelt(deployment):
    deployment["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}


def _pythons_name(deployment):
    deployment["spec"]["template"]["spec"]["service_account_name"] = "oip"


def _without_selector(deployment):
    del deployment["spec"]["selector"]


@pytest.mark.parametrize("spoil", [_replicas, _misspelt, _pythons_name, _without_selector])
def test_a_document_with_a_fault_is_found_out(spoil):
    deployment = copy.deepcopy(documents.of_kind("Deployment")[0])
    spoil(deployment)
    with pytest.raises(ValueError):
        schema.check(deployment)


@pytest.mark.parametrize("field, value", [("supportedModelFormat", []), ("protocolVersions", ["v2", 2]),
                                          ("containers", [{"image": "oip"}])])
def test_a_serving_runtime_with_a_fault_is_found_out(field, value):
    runtime = documents.kserve("runtime-onnx")
    runtime["spec"][field] = value
    with pytest.raises(ValueError):
        schema.check(runtime)


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_runs_as_nobody_and_writes_nowhere(name):
    pod, container = CONTAINERS[name]
    both = pod.get("securityContext", {}) | container["securityContext"]
    assert both["runAsNonRoot"] is True and both["runAsUser"] == 65532
    assert both["allowPrivilegeEscalation"] is False and both["readOnlyRootFilesystem"] is True
    assert both["capabilities"] == {"drop": ["ALL"]} and both["seccompProfile"] == {"type": "RuntimeDefault"}
    assert all(mount["readOnly"] for mount in container["volumeMounts"])
    assert "memory" in container["resources"]["limits"]


def selectors():
    """Every selector of deploy/kubernetes that is to find the pods of its deployment."""
    found = [d["spec"]["selector"] for d in documents.of_kind("Service")]
    found += [d["spec"]["selector"]["matchLabels"] for d in documents.of_kind("PodDisruptionBudget")]
    found += [d["spec"]["podSelector"]["matchLabels"] for d in documents.of_kind("NetworkPolicy")]
    found += [d["spec"]["selector"]["matchLabels"] for d in documents.of_kind("Deployment")]
    pod = documents.of_kind("Deployment")[0]["spec"]["template"]["spec"]
    found += [spread["labelSelector"]["matchLabels"] for spread in pod["topologySpreadConstraints"]]
    return found


def plain_labels():
    return documents.of_kind("Deployment")[0]["spec"]["template"]["metadata"]["labels"]


def test_every_selector_finds_the_pods():
    assert len(selectors()) == 6
    for selector in selectors():
        assert selector.items() <= plain_labels().items()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_what_selects_plain_pods_and_what_selects_those_of_kserve_never_meet(runtime):
    labels = documents.kserve(runtime)["spec"]["labels"]
    for selector in selectors():
        assert not selector.items() <= labels.items(), selector
    of_kserve = documents.kserve("networkpolicy")["spec"]["podSelector"]["matchLabels"]
    assert of_kserve.items() <= labels.items()
    assert not of_kserve.items() <= plain_labels().items()


def test_every_port_by_name_is_a_port_of_the_container():
    container = documents.of_kind("Deployment")[0]["spec"]["template"]["spec"]["containers"][0]
    names = {port["name"] for port in container["ports"]}
    used = [container[probe]["httpGet"]["port"] for probe in ("livenessProbe", "readinessProbe")]
    used += [port["targetPort"] for service in documents.of_kind("Service") for port in service["spec"]["ports"]]
    used += [port["port"] for policy in documents.of_kind("NetworkPolicy")
             for rule in policy["spec"]["ingress"] for port in rule["ports"]]
    assert set(used) == names


def sources(port, policy):
    """From where a network policy lets connections come to this port: namespaces and labels of pods; None for anywhere."""
    def opens(opened):
        return opened["port"] == port or "endPort" in opened and opened["port"] <= port <= opened["endPort"]

    for rule in (rule for rule in policy["spec"]["ingress"] if any(map(opens, rule["ports"]))):
        for peer in rule.get("from", [None]):
            yield peer and next(iter(peer.values()))["matchLabels"]


def test_none_but_prometheus_reaches_the_metrics_and_no_service_leads_there():
    policy = documents.of_kind("NetworkPolicy")[0]
    gateway, monitoring = ({"kubernetes.io/metadata.name": name} for name in ("gateway", "monitoring"))
    assert list(sources("metrics", policy)) == [monitoring]
    assert list(sources("oip", policy)) == [gateway, {"oip-client": "true"}]
    led = {port["targetPort"] for service in documents.of_kind("Service") for port in service["spec"]["ports"]}
    assert led == {"oip"}
    container = documents.of_kind("Deployment")[0]["spec"]["template"]["spec"]["containers"][0]
    ports = {port["name"]: str(port["containerPort"]) for port in container["ports"]}
    assert ports == {"oip": documents.properties()["port"], "metrics": documents.properties()["metrics_port"]}


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_kserve_routes_to_one_port_and_the_other_may_be_kept_for_prometheus(runtime):
    container = documents.kserve(runtime)["spec"]["containers"][0]
    metrics = int(documents.options_of(runtime, container)["metrics_port"])
    # What stands among the ports, Knative and KServe's own Services send calls to.
    assert [port["containerPort"] for port in container["ports"]] == [int(documents.options_of(runtime, container)["port"])]
    policy = documents.kserve("networkpolicy")
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    assert list(sources(metrics, policy)) == [{"kubernetes.io/metadata.name": "monitoring"}]
    # Callers, and Knative's container: its ports for calls, for the autoscaler and for its own probes.
    # Its admission refuses a period of readiness without these.
    probe = container["readinessProbe"]
    assert probe["periodSeconds"] >= 1 and probe["timeoutSeconds"] >= 1 and probe["failureThreshold"] >= 1
    for port in itertools.chain([1, 8012, 8013, 8022, 8112, 9090, 65535], (p["containerPort"] for p in container["ports"])):
        assert list(sources(port, policy)) == [None], port


def test_the_autoscaler_scales_what_the_deployment_calls_itself():
    autoscaler, deployment = documents.of_kind("HorizontalPodAutoscaler")[0], documents.of_kind("Deployment")[0]
    target = autoscaler["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == (deployment["kind"], deployment["metadata"]["name"])


def test_a_pod_has_longer_to_end_than_the_server_takes():
    pod = documents.of_kind("Deployment")[0]["spec"]["template"]["spec"]
    options = documents.properties()
    # What comes after the grace: docs/reliability.md, "Stopping", step 4.
    step = re.search(r"^4\. .*?^5\. ", RELIABILITY.read_text(), re.M | re.S)[0]
    after = [int(seconds) for seconds in re.findall(r"\((\d+) s at most", step)]
    assert len(after) == 2, step
    longest = documents.seconds(options["shutdown_delay"]) + documents.seconds(options["shutdown_grace"]) + sum(after)
    assert pod["terminationGracePeriodSeconds"] > longest
    standard = documents.kserve("queue-depth")["spec"]["predictor"]
    assert standard["terminationGracePeriodSeconds"] > longest


def systemd_unit():
    """The unit of docs/reliability.md."""
    section = re.search(r"^## systemd\n(.*?)^## ", RELIABILITY.read_text(), re.M | re.S)[1]
    text = re.search(r"```ini\n(\[Service\].*?)```", section, re.S)[1]
    return text, dict(line.split("=", 1) for line in text.splitlines()[1:])


def test_the_unit_for_systemd_lets_models_load_and_begins_a_server_anew_that_hangs():
    _, unit = systemd_unit()
    # on-failure is after the watchdog, too.
    assert "WatchdogSec" in unit and unit["Restart"] == "on-failure"
    assert unit["TimeoutStartSec"] == "infinity"
    # The defaults: no delay, 30 s of grace, and step 4 of "Stopping".
    assert documents.seconds(unit["TimeoutStopSec"]) > 30 + 8
    assert unit["RestartPreventExitStatus"] == str(run_to_exit([find_binary(), "serve", "--no-such-flag"]).returncode)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_knows_every_line_of_the_unit(tmp_path):
    path = tmp_path / "oip.service"
    # systemd before 253 knows notify alone.
    text = systemd_unit()[0].replace("notify-reload", "notify").replace("/usr/bin/oip", str(find_binary()))
    path.write_text(text)
    checked = run_to_exit(["systemd-analyze", "verify", path])
    assert str(path) not in checked.stdout and "oip.service" not in checked.stdout, checked.stdout


UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def size(text):
    """Bytes, as Kubernetes or the server's options write them."""
    number, unit = re.fullmatch(r"(\d+)([KMG]iB?)", text).groups()
    return int(number) * UNITS[unit]


def documented_bound(options):
    """What docs/reliability.md says the server takes at most besides its models, with these options."""
    formula = re.search(r"### Memory.*?```text\n(.*?)```", RELIABILITY.read_text(), re.S)[1]
    base = size(re.search(r"^base \(about (\d+) MiB\)", formula, re.M)[1] + "MiB")
    bodies = int(re.search(r"\+ (\d+) × body_memory", formula)[1]) * size(options["body_memory"])

    def each(what, more=0):
        terms = re.findall(rf"\+ {what} × (\d+) KiB", formula)
        assert terms, what
        return sum(map(int, terms)) * 2**10 * (int(options[what]) + more)

    heads = int(re.search(r"\+ \(2 × connections \+ in_flight\) × \(header_limit \+ (\d+) KiB\)", formula)[1]) * 2**10
    heads = (2 * int(options["connections"]) + int(options["in_flight"])) * (heads + size(options["header_limit"]))
    # Those that are only told that there is no room, and those of Prometheus.
    section = re.search(r"### More connections than fit.*?\n### ", RELIABILITY.read_text(), re.S)[0]
    more = int(re.search(r"(\d+) further ones are taken", section)[1])
    if "metrics_port" in options:
        more += int(re.search(r"`metrics_port` has (\d+) places of its own", section)[1])
    payloads = size("".join(re.search(r"\+ (\d+) (MiB) .*`payload_log`", formula).groups()))
    return base + bodies + heads + each("connections", more) + each("in_flight") + ("payload_log" in options) * payloads


@pytest.mark.parametrize("name", CONTAINERS)
def test_what_is_under_way_fits_into_the_memory_limit_beside_the_models(name):
    _, container = CONTAINERS[name]
    limit = size(container["resources"]["limits"]["memory"])
    assert documented_bound(documents.options_of(name, container)) + ROOM_FOR_MODELS <= limit


def test_the_bound_is_written_once_and_what_it_leaves_to_the_models_is_true():
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    assert f"leaves {ROOM_FOR_MODELS // 2**20} MiB" in page
    for name in ("body_memory", "connections", "body_limit", "header_limit"):
        assert f"`{name}={documents.properties()[name]}`" in page
    texts = [page, *(path.read_text() for path in documents.DEPLOY.glob("k*/*"))]
    for text in texts:
        assert not re.search(r"\d KiB|[x×] `?body_memory", text)


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_queue_is_full_well_before_the_connections_are(name):
    _, container = CONTAINERS[name]
    options = documents.options_of(name, container)
    assert 0 < int(options["model_queue"]) < int(options["in_flight"]) < 0.75 * int(options["connections"])


def test_the_defaults_would_not_fit_into_that_limit():
    defaults = {"body_memory": "1GiB", "connections": "10000", "in_flight": "4096", "header_limit": "64KiB"}
    assert documented_bound(defaults) > size("1Gi")


@pytest.mark.parametrize("name", SERVICES)
def test_an_inference_service_names_a_runtime_that_knows_its_format_and_protocol(name):
    model = documents.kserve(name)["spec"]["predictor"]["model"]
    runtime = next(r for r in map(documents.kserve, RUNTIMES) if r["metadata"]["name"] == model["runtime"])
    assert model["modelFormat"]["name"] in {f["name"] for f in runtime["spec"]["supportedModelFormats"]}
    assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_scaled_by_what_the_webhook_of_kserve_lets_through(name):
    """What its admission asks beyond the fields: validateAutoScalingCompExtension of pkg/apis/serving/v1beta1."""
    service = documents.kserve(name)
    predictor, annotations = service["spec"]["predictor"], service["metadata"].get("annotations", {})
    assert 0 <= predictor["minReplicas"] <= predictor["maxReplicas"]
    if annotations.get("serving.kserve.io/deploymentMode") != "Standard":
        # Knative's own autoscaler.
        assert predictor.get("scaleMetric", "concurrency") in ("concurrency", "rps")
        assert "deploymentStrategy" not in predictor and "autoScaling" not in predictor
        return
    assert annotations["serving.kserve.io/autoscalerClass"] == "keda" and "scaleMetric" not in predictor
    for metric in predictor["autoScaling"]["metrics"]:
        assert metric["type"] == "External" and metric["external"]["metric"]["query"]
        # The one form that the webhook takes and the reconciler reads, whatever the type.
        assert metric["external"]["target"] == {"type": "Value", "value": "2"}


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_runtime_serves_none_but_who_names_it(runtime):
    for known in documents.kserve(runtime)["spec"]["supportedModelFormats"]:
        # KServe's own runtimes know onnx as well, and need no secret.
        assert known["autoSelect"] is False and "priority" not in known


def in_folder(text, folder):
    """Text with the paths of a pod replaced by folders here."""
    for path in ("/etc/oip-auth", "/etc/oip", "/mnt/models", "/models"):
        text = text.replace(f"={path}", f"={folder}{path}")
    return text


def arguments_of(runtime, folder, port, service=(), metrics=0):
    """What the container of a runtime is started with, for this machine: its paths in `folder`, these ports."""
    container = documents.kserve(runtime)["spec"]["containers"][0]
    given = [*container["args"], *service]
    assert container["command"] == ["oip", "serve"]
    assert f"--port={container['ports'][0]['containerPort']}" in given
    given = [in_folder(a.replace("{{.Name}}", "iris"), folder) for a in given]
    return [*given, f"--port={port}", "--rest-host=127.0.0.1", f"--metrics-port={metrics}", "--metrics-host=127.0.0.1"]


@pytest.fixture
def pod(tmp_path):
    """A folder with what the volumes of a pod hold: one model, one key."""
    key, line = api_key()
    for name, content in {"etc/oip-auth/api-keys": f"{line}\n".encode(),
                          "etc/oip-auth/policy.cedar": (ROOT / "deploy/kubernetes/policy.cedar").read_bytes(),
                          "mnt/models/model.onnx": (IRIS / "model.onnx").read_bytes()}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    onnx_models.put(tmp_path / "models", "iris", (IRIS / "model.onnx").read_bytes())
    return tmp_path, key


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_server_takes_every_argument_of_a_runtime(runtime, pod):
    folder, _ = pod
    checked = run_to_exit([find_binary(), "config", "check", *arguments_of(runtime, folder, 8080)])
    assert checked.returncode == 0, checked.stdout
    assert "warning" not in checked.stdout.lower(), checked.stdout


@pytest.mark.parametrize("name", SERVICES)
def test_the_server_takes_the_arguments_of_an_inference_service_behind_its_runtimes(name, pod):
    model = documents.kserve(name)["spec"]["predictor"]["model"]
    runtime = next(r for r in RUNTIMES if documents.kserve(r)["metadata"]["name"] == model["runtime"])
    arguments = arguments_of(runtime, pod[0], 8080, model.get("args", []))
    checked = run_to_exit([find_binary(), "config", "check", *arguments])
    assert checked.returncode == 0, checked.stdout


def test_a_runtime_without_keys_does_not_start_but_where_the_service_opens_it(pod):
    folder, _ = pod
    (folder / "etc/oip-auth/api-keys").unlink()
    check = [find_binary(), "config", "check"]
    closed = run_to_exit([*check, *arguments_of("runtime-onnx", folder, 8080)])
    assert closed.returncode == 2 and "auth_api_keys_file" in closed.stdout
    opened = run_to_exit([*check, *arguments_of("runtime-onnx", folder, 8080, ["--auth-enabled=false"])])
    assert opened.returncode == 0, opened.stdout


def ask(port, method, path, body=None, key=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body, {"X-API-Key": key} if key else {})
    status = connection.getresponse().status
    connection.close()
    return status


def probes_of(container):
    return [container[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe")]


def assert_serves(port, key, probes):
    """Probes are open, the model is not."""
    sample = (IRIS.parent / "sample-request.json").read_bytes()
    for path in probes:
        assert ask(port, "GET", path) == 200, path
    assert ask(port, "POST", "/v2/models/iris/infer", sample) == 401
    assert ask(port, "POST", "/v2/models/iris/infer", sample, key) == 200


def assert_shows_metrics(port, metrics, key):
    """To everyone at their own port, where there is nothing else; to nobody where callers come in."""
    assert ask(metrics, "GET", "/metrics") == 200
    assert (ask(port, "GET", "/metrics"), ask(port, "GET", "/metrics", key=key)) == (404, 404)
    assert_serves(port, key, [])
    assert ask(port, "POST", "/v2/repository/index") == 401
    assert ask(metrics, "POST", "/v2/repository/index", key=key) == 404


def test_the_runtime_serves_the_mounted_model_and_answers_its_probes(pod):
    folder, key = pod
    port = free_port()
    with Started(arguments_of("runtime-onnx", folder, port, [AT_ONCE]), port, folder):
        assert_serves(port, key, probes_of(documents.kserve("runtime-onnx")["spec"]["containers"][0]))


@pytest.mark.parametrize("name", [n for n in SERVICES if n != "python"])
def test_prometheus_may_read_the_metrics_of_an_inference_service_and_do_no_more(name, pod):
    folder, key = pod
    port = free_port()
    metrics = free_port(but=port)
    given = [*documents.kserve(name)["spec"]["predictor"]["model"]["args"], AT_ONCE]
    with Started(arguments_of("runtime-onnx", folder, port, given, metrics), port, folder):
        assert_shows_metrics(port, metrics, key)


def test_the_deployment_serves_the_volume_and_shows_prometheus_its_metrics(pod):
    folder, key = pod
    port = free_port()
    metrics = free_port(but=port)
    data = documents.of_kind("ConfigMap")[0]["data"]
    (folder / "etc/oip").mkdir()
    (folder / "etc/oip/policy.cedar").write_text(data["policy.cedar"])
    text = in_folder(data["oip.properties"], folder)
    text = text.replace("\nport=8080", f"\nport={port}").replace("metrics_port=8002", f"metrics_port={metrics}")
    (folder / "etc/oip/oip.properties").write_text(text)
    deployment = documents.of_kind("Deployment")[0]["spec"]["template"]
    container = deployment["spec"]["containers"][0]
    assert container["args"] == ["serve"] and container["ports"][0]["containerPort"] == 8080
    assert container["env"] == [{"name": "KRAUSENING_BASE", "value": "/etc/oip"}]
    with Started([AT_ONCE], port, folder, env={"KRAUSENING_BASE": str(folder / "etc/oip")}):
        assert_serves(port, key, probes_of(container))
        assert deployment["metadata"]["annotations"]["prometheus.io/path"] == "/metrics"
        assert_shows_metrics(port, metrics, key)
