"""Every route and every call, walked: none answers without a decision.

The tables below are held against what the server says of itself (`/openapi.json`, reflection) and
against the table of routes in its source, so a route that is added without a row here fails.
"""

import json
import re

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from guarded import ASKS, INFER, NO, SERVICE, WHO, YES, OnSocket, authorization
from messages import MESSAGES
from oip_server import ROOT, free_port

MODEL, VERSION = "/v2/models/{model_name}", "/v2/models/{model_name}/versions/{model_version}"
# method, path, action, whether the built-in policy lets Anonymous. Without an action: open to all.
ROUTES = [
    ("GET", "/v2", "server_metadata", True),
    ("GET", "/v2/health/live", "live", True),
    ("GET", "/v2/health/ready", "ready", True),
    ("POST", MODEL + "/infer", "infer", False),
    ("POST", VERSION + "/infer", "infer", False),
    ("GET", "/v2/models/stats", "statistics", False),
    ("GET", MODEL, "metadata", False),
    ("GET", VERSION, "metadata", False),
    ("GET", MODEL + "/ready", "ready", True),
    ("GET", VERSION + "/ready", "ready", True),
    ("GET", MODEL + "/config", "config", False),
    ("GET", VERSION + "/config", "config", False),
    ("GET", MODEL + "/stats", "statistics", False),
    ("GET", VERSION + "/stats", "statistics", False),
    ("GET", MODEL + "/trace/setting", "trace", False),
    ("POST", MODEL + "/trace/setting", "trace", False),
    ("POST", "/v2/repository/index", "index", False),
    ("POST", "/v2/repository/models/{model_name}/load", "load", False),
    ("POST", "/v2/repository/models/{model_name}/unload", "unload", False),
    ("GET", "/v2/logging", "logging", False),
    ("POST", "/v2/logging", "logging", False),
    ("GET", "/v2/trace/setting", "trace", False),
    ("POST", "/v2/trace/setting", "trace", False),
    ("GET", "/metrics", "metrics", False),
    ("GET", "/openapi.json", "openapi", False),
]
# The page and its assets hold nothing of this server.
OPEN = ["/docs", "/docs/page.css", "/docs/init.js", "/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js"]

# The name that the Python original gives the service.
ORIGINAL = "inference.GrpcInferenceService"
# Every call of every service: the action, and whether the built-in policy lets Anonymous.
CALLS = {
    f"{SERVICE}/ServerLive": ("live", True),
    f"{SERVICE}/ServerReady": ("ready", True),
    f"{SERVICE}/ServerMetadata": ("server_metadata", True),
    f"{SERVICE}/ModelReady": ("ready", True),
    f"{SERVICE}/ModelMetadata": ("metadata", False),
    f"{SERVICE}/ModelInfer": ("infer", False),
    f"{SERVICE}/ModelStreamInfer": ("infer", False),
    f"{SERVICE}/ModelConfig": ("config", False),
    f"{SERVICE}/ModelStatistics": ("statistics", False),
    f"{SERVICE}/TraceSetting": ("trace", False),
    f"{SERVICE}/LogSettings": ("logging", False),
    f"{SERVICE}/RepositoryIndex": ("index", False),
    f"{SERVICE}/RepositoryModelLoad": ("load", False),
    f"{SERVICE}/RepositoryModelUnload": ("unload", False),
    "grpc.health.v1.Health/Check": ("ready", True),
    "grpc.health.v1.Health/Watch": ("ready", True),
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo": ("reflection", False),
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": ("reflection", False),
}
# Calls of extensions that are not served: nothing is there, as at an unknown route.
ABSENT = {f"{SERVICE}/{name}" for name in MESSAGES if "SharedMemory" in name}
# What is decided here and open unless `probe_access = policy`.
PROBES = {"/v2/health/live", "/v2/health/ready", f"{SERVICE}/ServerLive", f"{SERVICE}/ServerReady",
          "grpc.health.v1.Health/Check", "grpc.health.v1.Health/Watch"}
LIST_SERVICES = b"\x3a\x01*"
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW")
ADMINS_ONLY = '@id("admins") permit(principal in Role::"admin", action, resource);'


def concrete(path):
    return path.format(model_name="m", model_version="1")


def message_of(call):
    service, method = call.split("/")
    if service == SERVICE:
        return MESSAGES[method]("m")
    return LIST_SERVICES if "Reflection" in service else b""


def body_of(path):
    return INFER if path.endswith("/infer") else "{}"


def walk_rest(server, headers):
    """(path, expected to be open to Anonymous, status, body) of every route."""
    for method, path, _, anonymous in ROUTES:
        headers_here = [*headers, ("Content-Type", "application/json")]
        reply = server.rest_call(method, concrete(path), headers_here, body_of(path))
        yield path, anonymous, reply
        if method == "GET":
            assert server.rest_call("HEAD", concrete(path), headers).status == reply.status, path


def walk_grpc(server, metadata):
    for call, (_, anonymous) in CALLS.items():
        # A watch goes on for ever: it is refused at once or not at all.
        timeout = 0.3 if call.endswith("Watch") else 20
        yield call, anonymous, server.grpc_call(f"/{call}", message_of(call), metadata, timeout)


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def audit(tmp_path_factory):
    return tmp_path_factory.mktemp("audit")


@pytest.fixture(scope="module")
def builtin(guard_all, audit):
    """The built-in policy."""
    return guard_all("--audit-file", audit / "builtin")


@pytest.fixture(scope="module")
def strangers(builtin):
    """What a caller without a credential is told at every route and by every call."""
    return list(walk_rest(builtin, [])), list(walk_grpc(builtin, []))


@pytest.fixture(scope="module")
def nobody(guard_all, audit):
    """A policy that permits nobody but admins anything, probes included."""
    policy = audit / "admins.cedar"
    policy.write_text(ADMINS_ONLY)
    return guard_all("--policy-file", policy, "--audit-file", audit / "nobody", "--probe-access", "policy", status=401)


@pytest.fixture(scope="module")
def admin(issuer):
    return issuer.bearer("root", ["admin"])


def test_every_route_that_the_server_describes_stands_in_the_table(builtin, admin):
    reply = builtin.rest_call("GET", "/openapi.json", authorization(admin))
    served = {(m.upper(), path) for path, item in json.loads(reply.body)["paths"].items() for m in item
              if m in ("get", "head", "post", "put", "delete", "patch", "options", "trace")}
    known = {(method, path) for method, path, *_ in ROUTES} | {("GET", path) for path in OPEN}
    assert served - known == set()
    assert {(m, p) for m, p, *_ in ROUTES} - served == set()


def test_every_route_of_the_source_stands_in_the_table():
    source = (ROOT / "crates/oip/src/rest/routes.rs").read_text()
    table = source[source.index("routes! {"):source.index("\n};", source.index("routes! {"))]
    rows = re.findall(r"^ +([A-Z]+) \"(/[^\"]*)\"\s+(None|Some\(Action::(\w+)\))", table, re.MULTILINE)
    assert len(rows) == table.count('"/')
    found = {(method, path): action for method, path, _, action in rows}
    expected = {(m, p): "" if p in PROBES else a.title().replace("_", "") for m, p, a, _ in ROUTES}
    assert found == expected | {("GET", path): "" for path in OPEN}


def test_every_call_that_reflection_names_stands_in_the_table(builtin, admin):
    with grpc.insecure_channel(builtin.grpc) as plain:
        channel = grpc.intercept_channel(plain, Shows(admin))
        database = ProtoReflectionDescriptorDatabase(channel)
        pool = DescriptorPool(database)
        served = {
            f"{name}/{method}"
            for name in database.get_services()
            for method in pool.FindServiceByName(name).methods_by_name
        }
    known = set(CALLS) | ABSENT
    # Under the original's name the same calls; they are walked by a test of their own.
    known |= {call.replace(SERVICE, ORIGINAL) for call in known}
    assert served == known


class Shows(grpc.StreamStreamClientInterceptor):
    """Adds a credential to every call."""

    def __init__(self, authorization):
        self.metadata = [("authorization", authorization)]

    def intercept_stream_stream(self, call, details, requests):
        return call(details._replace(metadata=self.metadata), requests)


def test_without_a_credential_nothing_answers_but_what_the_built_in_policy_lets_anonymous(strangers):
    for path, anonymous, reply in strangers[0]:
        assert reply.status == (200 if anonymous else 401), path
        if not anonymous:
            assert reply.headers["WWW-Authenticate"] == "Bearer", path
            assert json.loads(reply.body) == {"error": "this needs authentication"}, path
    for call, anonymous, said in strangers[1]:
        if call.endswith("Watch"):
            assert said.word == "DEADLINE_EXCEEDED", call
        else:
            assert said.word == (YES if anonymous else WHO), (call, said)
            assert anonymous or said.sentence == "this needs authentication", call


@pytest.mark.usefixtures("strangers")
def test_each_decision_about_anonymous_has_a_line_in_the_audit(audit):
    written = {(line["path"], line["action"], line["decision"]) for line in lines(audit / "builtin")
               if line["subject"] == "Anonymous"}
    decisions = {True: "permit", False: "deny"}
    expected = {(concrete(p), a, decisions[may]) for _, p, a, may in ROUTES if p not in PROBES}
    expected |= {(f"/{c}", a, decisions[may]) for c, (a, may) in CALLS.items() if c not in PROBES}
    assert expected - written == set()


def test_a_wrong_token_opens_nothing_but_open_probes(builtin, issuer):
    wrong = f"Bearer {issuer.token('root', ['admin'])[:-4]}AAAA"
    for path, _, reply in walk_rest(builtin, authorization(wrong)):
        assert reply.status == (200 if path in PROBES else 401), path
        assert path in PROBES or json.loads(reply.body) == {"error": "the credential does not hold"}, path
    for call, _, said in walk_grpc(builtin, [("authorization", wrong)]):
        if call.endswith("Watch"):
            assert said.word == "DEADLINE_EXCEEDED", call
        else:
            assert said.word == (YES if call in PROBES else WHO), (call, said)
            assert call in PROBES or said.sentence == "the credential does not hold", call


@pytest.mark.parametrize("shown", ["nothing", "a wrong token"])
def test_probes_are_closed_too_where_the_policy_decides_them(nobody, shown):
    headers = [] if shown == "nothing" else authorization("Bearer wrong")
    assert {reply.status for _, _, reply in walk_rest(nobody, headers)} == {401}
    metadata = [(name.lower(), value) for name, value in headers]
    assert {said.word for *_, said in walk_grpc(nobody, metadata)} == {WHO}


def test_whom_the_policy_permits_nothing_is_refused_everywhere_and_each_refusal_is_written_down(nobody, issuer, audit):
    bearer = issuer.bearer("alice", ["user"])
    for path, _, reply in walk_rest(nobody, authorization(bearer)):
        assert reply.status == 403, path
        assert list(json.loads(reply.body)) == ["error"], path
    for call, _, said in walk_grpc(nobody, [("authorization", bearer)]):
        if call.endswith("ModelStreamInfer"):
            # Each message of a stream is decided by itself, and refused in its own answer.
            assert said.word == YES and "you are not permitted to" in said.sentence, said
            assert "OUT" not in said.sentence, said
        else:
            assert said.word == NO, (call, said)
    written = [(line["path"], line["action"]) for line in lines(audit / "nobody") if line["subject"] == "alice"]
    # One for each request: GET routes were asked a second time, by HEAD.
    expected = [(concrete(p), a) for m, p, a, _ in ROUTES for _ in range(2 if m == "GET" else 1)]
    expected += [(f"/{call}", action) for call, (action, _) in CALLS.items()]
    assert sorted(written) == sorted(expected)
    assert {line["decision"] for line in lines(audit / "nobody") if line["subject"] == "alice"} == {"deny"}


def test_the_one_who_may_is_let_in_everywhere(nobody, admin):
    for path, _, reply in walk_rest(nobody, authorization(admin)):
        assert reply.status == 200 or path.endswith("load"), (path, reply)
    # `unload` came last; what it took is brought back.
    assert nobody.ask("rest", "load", authorization(admin)).word == YES
    for call, _, said in walk_grpc(nobody, [("authorization", admin)]):
        assert said.word in (YES, "DEADLINE_EXCEEDED"), (call, said)
    assert nobody.ask("rest", "load", authorization(admin)).word == YES


def test_the_originals_service_name_is_as_closed_as_the_protocols(builtin, nobody, issuer):
    bearer = [("authorization", issuer.bearer())]
    for method in MESSAGES:
        call = f"{SERVICE}/{method}"
        if call in ABSENT:
            continue
        alias = f"/{ORIGINAL}/{method}"
        message = MESSAGES[method]("m")
        assert builtin.grpc_call(alias, message).word == (YES if CALLS[call][1] else WHO), method
        if method != "ModelStreamInfer":
            assert nobody.grpc_call(alias, message, bearer).word == NO, method


@pytest.mark.parametrize("path", [p for _, p, *_ in ROUTES] + OPEN)
def test_no_other_method_of_a_route_answers(builtin, path):
    served = {m for m, p, *_ in ROUTES if p == path} or {"GET"}
    served |= {"HEAD"} if "GET" in served else set()
    for method in METHODS:
        if method not in served:
            reply = builtin.rest_call(method, concrete(path), [("Content-Type", "application/json")])
            assert reply.status == 405, (method, path, reply)
            assert set(reply.headers["Allow"].replace(" ", "").split(",")) == served, (method, path)


UNKNOWN = [
    "/", "/v1/models/m", "/v3", "/v2/models", "/v2/models/", "/v2/models//m", "/v2/models/m/", "/V2/models/m",
    "/v2/models/m/versions", "/v2/models/m/trace", "/v2/trace", "/v2/systemsharedmemory/status",
    "/v2/models/../v2/models/m", "/v2/models/%2e%2e", "/v2/./models/m", "//v2/models/m", "/docs/../v2/models/m",
    "/docs/%2e%2e/openapi.json", "/docs/nothing", "/openapi.json/", "/openapi.yaml", "/metrics/", "/debug/pprof",
    "/v2/models/m/infer/x", "/v2/repository/models/m", "/v2/repository/models/m/load/x", "/v2;x/models/m",
]


@pytest.mark.parametrize("path", UNKNOWN)
def test_an_unknown_route_says_the_same_to_everyone_and_nothing_of_the_models(builtin, issuer, admin, path):
    told = set()
    for headers in ([], authorization(issuer.bearer()), authorization(admin)):
        for method in ("GET", "POST"):
            reply = builtin.rest_call(method, path, headers)
            assert reply.status == 404, (method, path, reply)
            assert "identity" not in reply.sentence() and "other" not in reply.sentence(), reply
            told.add((method, reply.body))
    assert len(told) == 2


def test_a_credential_that_does_not_hold_learns_nothing_of_which_paths_there_are(builtin):
    wrong = authorization("Bearer x")
    sentences = set()
    for path in (*UNKNOWN, "/v2/models/%ff"):
        for method in ("GET", "POST", "DELETE"):
            reply = builtin.rest_call(method, path, wrong)
            assert reply.status == 401 and reply.headers["WWW-Authenticate"] == "Bearer", (method, path, reply)
            sentences.add(reply.sentence())
    for method, path in (("DELETE", "/v2"), ("GET", "/v2/models/m/infer"), ("POST", "/metrics")):
        sentences.add(builtin.rest_call(method, path, wrong).sentence())
    for path in ("/v2", "/nothing.Here/At", f"/{SERVICE}/Guess", "/grpc.channelz.v1.Channelz/GetServers"):
        said = builtin.grpc_call(path, b"", [("authorization", "Bearer x")])
        assert said.word == WHO, path
        sentences.add(said.sentence)
    assert sentences == {"the credential does not hold"}


def test_a_model_that_is_there_and_one_that_is_not_are_refused_with_the_same_words(nobody, issuer):
    bearer = authorization(issuer.bearer())
    for door in ("rest", "grpc"):
        for what in ASKS:
            for headers in ([], bearer):
                there, absent = (nobody.ask(door, what, headers, model) for model in ("m", "not-there"))
                assert there == absent, (door, what)
                assert there.word == (NO if headers else WHO), (door, what)


@pytest.mark.parametrize("call", sorted(ABSENT))
def test_an_extension_that_is_not_served_is_unimplemented_for_everyone(builtin, admin, call):
    said = {builtin.grpc_call(f"/{call}", message_of(call), m) for m in ([], [("authorization", admin)])}
    assert {one.word for one in said} == {"UNIMPLEMENTED"} and len(said) == 1, said


@pytest.mark.parametrize("path", ["/v2", "/nothing.Here/At", f"/{SERVICE}/Guess", "/grpc.health.v1.Health/List",
                                  "/grpc.channelz.v1.Channelz/GetServers", f"/{SERVICE}/modelinfer"])
def test_an_unknown_call_says_the_same_to_everyone(builtin, admin, path):
    said = {builtin.grpc_call(path, b"", m) for m in ([], [("authorization", admin)])}
    assert {one.word for one in said} == {"UNIMPLEMENTED"} and len(said) == 1, said


def test_a_unix_socket_is_as_closed_as_an_address(guard, issuer):
    server = guard(kind=OnSocket)
    wrong = f"Bearer {issuer.token()[:-4]}AAAA"
    for shown, refused in ((None, "this needs authentication"), (wrong, "the credential does not hold")):
        headers = authorization(shown) if shown else []
        for path, anonymous, reply in walk_rest(server, headers):
            is_open = path in PROBES if shown else anonymous
            assert reply.status == (200 if is_open else 401), path
            assert is_open or reply.sentence() == refused, path
        for call, anonymous, said in walk_grpc(server, [(name.lower(), value) for name, value in headers]):
            is_open = call in PROBES if shown else anonymous
            opens = (YES, "DEADLINE_EXCEEDED") if is_open else (WHO,)
            assert said.word in opens, (call, said)
    for door in ("rest", "grpc"):
        assert server.ask(door, "infer", authorization(issuer.bearer())).word == YES
        assert server.ask(door, "load", authorization(issuer.bearer())).word == NO


class AtMetrics:
    """The address of the metrics, asked as the REST door is."""

    def __init__(self, server, port):
        self.server, self.port = server, port

    def rest_call(self, *args):
        own, self.server.rest_port = self.server.rest_port, self.port
        try:
            return self.server.rest_call(*args)
        finally:
            self.server.rest_port = own


def test_the_address_of_the_metrics_answers_nothing_without_a_decision(guard, issuer, tmp_path):
    port, audit = free_port(), tmp_path / "audit"
    policy = tmp_path / "policy.cedar"
    policy.write_text('permit(principal in Role::"scraper", action == Action::"metrics", resource);')
    server = guard("--metrics-port", port, "--policy-file", policy, "--audit-file", audit, "--probe-access", "policy",
                   status=401)
    metrics = AtMetrics(server, port)
    scraper = authorization(issuer.bearer("prometheus", ["scraper"]))
    asked = {"nothing": [], "a wrong token": authorization("Bearer x"), "no right": authorization(issuer.bearer()),
             "the right": scraper}
    for name, headers in asked.items():
        for path, _, reply in walk_rest(metrics, headers):
            allowed = {"nothing": (401, 404, 405), "a wrong token": (401, 404), "no right": (403, 404, 405)}
            expected = allowed.get(name, (200,) if path == "/metrics" else (403, 404, 405))
            assert reply.status in expected, (name, path, reply)
    written = [line for line in lines(audit) if line["path"] == "/metrics"]
    assert {(line["subject"], line["decision"]) for line in written} >= {
        ("Anonymous", "deny"), ("alice", "deny"), ("prometheus", "permit")}
    assert server.rest_call("GET", "/metrics", scraper).status in (403, 404), "not at the REST door as well"
