"""Cedar policies at the built binary: those that are shipped, changes, shadow mode, probes, proxies."""

import datetime
import json
import pathlib
import subprocess
import time

import pytest

import onnx_models
from guarded import ASKS, DOORS, NO, WHO, YES, Said, authorization
from oip_server import ROOT, clean_environment, find_binary

POLICIES = ROOT / "examples" / "policies"
SERVER_ASKS = ("live", "ready", "server_metadata")
READS = ("metadata", "config", "index", "statistics")


@pytest.fixture(scope="module")
def garden(tmp_path_factory):
    """A repository with the models that the shipped policies speak of."""
    folder = tmp_path_factory.mktemp("garden")
    for name in ("iris", "vision-cats", "forecast", "m"):
        onnx_models.put(folder, name, onnx_models.identity("FP32"))
    for version in (2, 3):
        onnx_models.put(folder, "iris", onnx_models.identity("FP32"), version)
    return folder


class Ruled:
    """A server under one of the shipped policies; `say` shows what every kind of caller is told."""

    def __init__(self, guard, issuer, garden, name, *flags):
        flags = ["--policy-file", POLICIES / name, "--trusted-proxies", "127.0.0.1", *flags]
        self.server = guard(*flags, repository=garden)
        self.issuer = issuer

    def say(self, roles, what, model="m", ip=None, **more):
        headers = [] if roles is None else authorization(self.issuer.bearer("alice", roles, **more))
        headers += [("X-Forwarded-For", ip)] if ip else []
        said = {self.server.ask(door, what, headers, model) for door in DOORS}
        assert len({one.word for one in said}) == 1, (what, said)
        return said.pop().word


@pytest.fixture
def ruled(guard, issuer, garden):
    return lambda *name_and_flags: Ruled(guard, issuer, garden, *name_and_flags)


def test_builtin_cedar_is_the_built_in_policy(ruled, guard, issuer):
    probes = ("--probe-access", "policy")
    by_file, built_in = ruled("builtin.cedar", *probes), guard(*probes)
    for roles in (None, (), ("user",), ("admin",), ("user", "admin"), ("Admin",), ("admin ",)):
        headers = [] if roles is None else authorization(issuer.bearer("alice", roles))
        for what in ASKS:
            expected = by_file.say(roles, what)
            assert {built_in.ask(door, what, headers).word for door in DOORS} == {expected}, (roles, what)
            if roles is None:
                assert expected == (YES if what in (*SERVER_ASKS, "model_ready") else WHO), what
            else:
                assert expected == (NO if what in ("load", "unload") and "admin" not in roles else YES), (roles, what)
        # What `unload` took is brought back.
        by_file.say(("admin",), "load")
        built_in.ask("rest", "load", authorization(issuer.bearer("root", ["admin"])))


def test_teams_cedar_keeps_teams_to_their_models(ruled):
    teams = ruled("teams.cedar")
    for roles, model in ((("team-flowers",), "iris"), (("team-vision",), "vision-cats")):
        for what in ("infer", "metadata", "model_ready"):
            assert teams.say(roles, what, model) == YES, (roles, what)
            for other in ("iris", "vision-cats", "forecast", "m", "not-there"):
                if other != model:
                    assert teams.say(roles, what, other) == NO, (roles, what, other)
        for what in ("config", "statistics", "index", "load", "unload"):
            assert teams.say(roles, what, model) == NO, (roles, what)
    assert teams.say((), "infer", "forecast", department="finance") == YES
    assert teams.say((), "infer", "forecast", department=["sales", "finance"]) == YES
    for department in ("sales", "Finance", ["sales"], {"finance": True}, 7, None):
        assert teams.say((), "infer", "forecast", department=department) == NO, department
    assert teams.say((), "infer", "iris", department="finance") == NO
    for what in SERVER_ASKS:
        assert teams.say(None, what) == YES
    for what in ("infer", "model_ready", "index"):
        assert teams.say(None, what, "iris") == WHO
    assert teams.say(("operator",), "load", "iris", "10.1.2.3") == YES
    for ip in ("192.0.2.7", "10.1.2.3, 192.0.2.7", None, "11.0.0.1", "nonsense"):
        assert teams.say(("operator",), "load", "iris", ip) == NO, ip


def test_auditors_cedar_lets_auditors_read_and_change_nothing(ruled):
    auditors = ruled("auditors.cedar")
    for what in READS:
        assert auditors.say(("auditor",), what) == YES, what
    for what in ("infer", "load", "unload"):
        for roles in (("auditor",), ("auditor", "user"), ("user", "auditor"), ("auditor", "admin")):
            assert auditors.say(roles, what) == NO, (roles, what)
    assert [auditors.say(("user",), what) for what in ("infer", "metadata", "config", "load")] == [YES, YES, NO, NO]
    assert auditors.say((), "infer") == NO
    assert auditors.say(None, "metadata") == WHO


def test_night_freeze_cedar_lets_operators_change_models_by_day(ruled):
    night = ruled("night-freeze.cedar")
    before = datetime.datetime.now(datetime.timezone.utc)
    said = night.say(("operator",), "load")
    after = datetime.datetime.now(datetime.timezone.utc)
    if before.hour == after.hour:
        frozen = before.hour >= 22 or before.hour < 6 or before.isoweekday() >= 6
        assert said == (NO if frozen else YES)
    assert night.say(("operator", "on-call"), "load") == YES
    assert night.say(("on-call",), "load") == NO
    assert night.say((), "load") == NO
    assert night.say((), "infer") == YES
    assert night.say(None, "infer") == WHO


def test_pinned_versions_cedar_keeps_version_3_for_testers(ruled):
    pinned = ruled("pinned-versions.cedar")

    def say(path, *roles):
        headers = authorization(pinned.issuer.bearer("alice", roles))
        return pinned.server.rest_call("GET", path, headers).status

    iris = "/v2/models/iris"
    for path, user, tester in ((f"{iris}/versions/2", 200, 200), (f"{iris}/versions/3", 403, 200), (iris, 403, 200),
                               (f"{iris}/versions/03", 404, 404), (f"{iris}/versions/%33", 403, 200),
                               ("/v2/models/m", 200, 200), ("/v2/models/m/versions/1", 200, 200)):
        assert say(path) == user, path
        assert say(path, "tester") == tester, path


def test_settings_for_admins_cedar_is_the_built_in_policy_without_settings(ruled):
    strict, built_in = ruled("settings-for-admins.cedar"), ruled("builtin.cedar")

    def settings(of, *roles):
        headers = authorization(of.issuer.bearer("alice", roles))
        return [of.server.rest_call(method, path, headers, "{}").status
                for method in ("GET", "POST") for path in ("/v2/logging", "/v2/trace/setting")]

    assert settings(strict, "user") == [403] * 4 and settings(strict, "admin") == [200] * 4
    assert settings(built_in, "user") == [200] * 4
    for roles in (None, (), ("user",)):
        for what in ASKS:
            assert strict.say(roles, what) == built_in.say(roles, what), (roles, what)


@pytest.mark.parametrize("file", sorted(p.name for p in POLICIES.glob("*.cedar")))
def test_each_shipped_policy_is_one_by_the_schema_and_has_a_test_here(file):
    checked = subprocess.run([find_binary(), "policy", "check", POLICIES / file], env=clean_environment())
    assert checked.returncode == 0
    assert f'ruled("{file}"' in pathlib.Path(__file__).read_text()


def until(said, expected, limit=6):
    end = time.monotonic() + limit
    while (last := said()) != expected:
        assert time.monotonic() < end, f"still {last!r}"
        time.sleep(0.1)


ALL = "permit(principal, action, resource);"
ALICE = 'permit(principal == Subject::"alice", action, resource);'
BROKEN = {
    "a syntax error": "permit(principal, action, resource",
    "an action that is none": 'permit(principal, action == Action::"fly", resource);',
    "an attribute that is none": "permit(principal, action, resource) when { context.planet == 3 };",
    "a template": "permit(principal == ?principal, action, resource);",
    "no UTF-8": b"permit(principal, action, resource); // \xff",
}


def test_a_changed_policy_is_in_force_and_a_broken_one_leaves_the_old_and_is_logged(guard, issuer, tmp_path):
    kept = {}
    for name in [*BROKEN, "good"]:
        policy = tmp_path / f"{name.replace(' ', '-')}.cedar"
        policy.write_text(ALICE)
        kept[name] = policy, guard("--policy-file", policy)

    def words(server):
        bob, alice = (authorization(issuer.bearer(name)) for name in ("bob", "alice"))
        return [server.ask(door, "load", headers).word for headers in (alice, bob) for door in DOORS]

    for name, (policy, server) in kept.items():
        assert words(server) == [YES, YES, NO, NO]
        text = BROKEN.get(name, ALL)
        policy.write_bytes(text if isinstance(text, bytes) else text.encode())
    until(lambda: words(kept["good"][1]), [YES] * 4)
    for name, (policy, server) in kept.items():
        if name != "good":
            until(lambda: "the old policies stay in force" in server.log(), True)
            assert policy.name in server.log(), name
            assert words(server) == [YES, YES, NO, NO], name
            policy.unlink()
    time.sleep(2.2)
    for name, (policy, server) in kept.items():
        if name != "good":
            assert words(server) == [YES, YES, NO, NO], "a policy that is gone opens nothing"
            policy.write_text(ALL)
    until(lambda: {tuple(words(server)) for _, server in kept.values()}, {(YES,) * 4})
    kept["good"][0].write_text("// nobody")
    until(lambda: words(kept["good"][1]), [NO] * 4)


def test_shadow_mode_refuses_nothing_but_wrong_credentials_and_says_so(guard, issuer, tmp_path):
    policy = tmp_path / "nobody.cedar"
    policy.write_text("")
    audit = tmp_path / "audit"
    server = guard("--policy-file", policy, "--policy-mode", "shadow", "--audit-file", audit)
    for door in DOORS:
        assert server.ask(door, "metadata").word == YES
        assert server.ask(door, "load", authorization(issuer.bearer("bob"))).word == YES
        assert server.ask(door, "metadata", authorization("Bearer x")).word == WHO
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    assert [(line["subject"], line["decision"], line["enforced"]) for line in lines] == [
        ("Anonymous", "deny", False), ("bob", "deny", False), ("Anonymous", "deny", True)] * 2
    assert server.log().count("this would be refused") == 4
    assert "shadow mode" in server.log()


PROBES = ("live", "ready")


@pytest.mark.parametrize(("access", "word"), [("open", YES), ("policy", WHO)])
def test_probe_access_says_who_decides_about_probes(guard, tmp_path, access, word):
    policy = tmp_path / "nobody.cedar"
    policy.write_text("")
    server = guard("--policy-file", policy, "--probe-access", access, status=200 if word == YES else 401)
    for door in DOORS:
        for probe in PROBES:
            assert server.ask(door, probe).word == word
        assert server.ask(door, "model_ready").word == WHO, "a model's readiness is no probe of the server"
    said = server.grpc_call("/grpc.health.v1.Health/Check")
    assert said == (Said(YES, "\x08\x01") if word == YES else Said(WHO, "this needs authentication"))


OFFICE = 'permit(principal, action, resource) when { context has ip && context.ip.isInRange(ip("10.0.0.0/8")) };'
FORWARDED = [
    # headers, let in without trusted proxies, let in behind a trusted one
    ([("X-Forwarded-For", "10.0.0.1")], False, True),
    ([("X-Forwarded-For", "10.0.0.1, 192.0.2.7")], False, False),
    ([("X-Forwarded-For", "192.0.2.7, 10.0.0.1")], False, True),
    ([("X-Forwarded-For", "10.0.0.1"), ("X-Forwarded-For", "192.0.2.7")], False, False),
    ([("X-Forwarded-For", "10.0.0.1"), ("Forwarded", "for=192.0.2.7")], False, False),
    ([("X-Forwarded-For", "10.0.0.1, 127.0.0.1")], False, True),
    ([("X-Forwarded-For", "10.0.0.1, nonsense")], False, False),
    ([("X-Forwarded-For", "10.0.0.1, ")], False, False),
    ([("X-Forwarded-For", "10.0.0.1  ,  192.0.2.7")], False, False),
    ([("Forwarded", "for=10.0.0.1")], False, True),
    ([("Forwarded", 'for="[::ffff:10.0.0.1]:80"')], False, True),
    ([("Forwarded", "for=10.0.0.1, for=unknown")], False, False),
    ([("Forwarded", "by=10.0.0.1")], False, False),
    ([("X-Real-IP", "10.0.0.1"), ("X-Client-IP", "10.0.0.1"), ("True-Client-IP", "10.0.0.1")], False, False),
]


def test_a_forwarded_address_is_believed_only_from_a_trusted_proxy(guard, issuer, tmp_path):
    policy = tmp_path / "office.cedar"
    policy.write_text(OFFICE)
    alone = guard("--policy-file", policy)
    behind = guard("--policy-file", policy, "--trusted-proxies", "127.0.0.1")
    bearer = authorization(issuer.bearer())
    for headers, alone_word, behind_word in FORWARDED:
        for door in DOORS:
            assert alone.ask(door, "metadata", bearer + headers).word == (YES if alone_word else NO), headers
            assert behind.ask(door, "metadata", bearer + headers).word == (YES if behind_word else NO), headers
