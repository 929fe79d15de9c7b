"""Remote decision points: how each is asked, and that nothing but a legal permit permits."""

import json
import time

import pytest

from credentials import Issuer
from decision_points import DIALECTS, faults, permit, saying
from guarded import DOORS, NO, NOT_NOW, WHO, YES, authorization
from stub import Stub

TIMEOUT_S = 0.4
FAULTS = sorted(faults(DIALECTS["xacml"], Stub(None)))


class Point:
    """A server and the decision point that it asks; `answer` can be changed."""

    def __init__(self, guard, name, *flags):
        self.dialect = DIALECTS[name]
        self.stub = Stub(saying(permit(self.dialect), "200 OK", self.dialect.media))
        url = self.stub.url(self.dialect.path)
        self.server = guard("--pdp", name, "--pdp-url", url, "--pdp-timeout", f"{TIMEOUT_S}s", *flags)
        self.headers = authorization(Issuer("HS256").bearer("alice", ["user"]))

    def is_asked(self, answer, door, what="metadata", headers=None):
        """Answers one question so, and then permits, so that the breaker stays closed."""
        self.stub.answer = answer
        said = self.server.ask(door, what, self.headers if headers is None else headers)
        self.stub.answer = saying(permit(self.dialect), "200 OK", self.dialect.media)
        assert self.server.ask(door, what, self.headers).word == YES
        return said

    def says(self, body, door):
        return self.is_asked(saying(body, "200 OK", self.dialect.media), door).word


@pytest.fixture(scope="module")
def points(guard_all):
    made = {}

    def of(name):
        if name not in made:
            made[name] = Point(guard_all, name)
        return made[name]

    yield of
    for point in made.values():
        point.stub.close()


@pytest.fixture
def point_of(guard):
    made = []

    def of(name, *flags):
        made.append(Point(guard, name, *flags))
        return made[-1]

    yield of
    for point in made:
        point.stub.close()


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("door", DOORS)
def test_a_legal_permit_permits_a_deny_denies_and_a_lie_is_a_fault(points, name, door):
    point = points(name)
    for body in point.dialect.permits:
        assert point.says(body, door) == YES, body
    for body in point.dialect.denies:
        assert point.says(body, door) == NO, body
    for body in point.dialect.lies:
        assert point.says(body, door) == NOT_NOW, body


@pytest.mark.parametrize("name", DIALECTS)
def test_a_stranger_whom_the_point_denies_is_asked_who_it_is(points, name):
    point = points(name)
    deny = saying(point.dialect.denies[0], "200 OK", point.dialect.media)
    for door in DOORS:
        assert point.is_asked(deny, door, headers=[]).word == WHO
        allow = saying(point.dialect.permits[0], "200 OK", point.dialect.media)
        assert point.is_asked(allow, door, headers=[]).word == YES


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_never_a_permit(points, name, fault):
    point = points(name)
    answer = faults(point.dialect, point.stub)[fault]
    before = len(point.stub.asked)
    for door in DOORS:
        since = time.monotonic()
        said = point.is_asked(answer, door)
        assert said.word == NOT_NOW, (door, said)
        assert said.sentence == "no decision on access can be given at the moment"
        assert time.monotonic() - since < TIMEOUT_S + 5
    assert len(point.stub.asked) > before
    assert not any("/permits" in asked.line for asked in point.stub.asked), "a redirect was followed"


@pytest.mark.parametrize("name", DIALECTS)
def test_a_point_that_refuses_connections_refuses_and_probes_live_on(points, name):
    point = points(name)
    point.stub.down()
    try:
        for door in DOORS:
            assert point.server.ask(door, "infer", point.headers).word == NOT_NOW
            for probe in ("live", "ready"):
                assert point.server.ask(door, probe).word == YES
    finally:
        point.stub.up()
    assert point.server.ask("rest", "infer", point.headers).word == YES


@pytest.mark.parametrize("type", ["application/json", "application/json; charset=utf-8", "Application/JSON",
                                  "application/xacml+json; charset=UTF-8"])
def test_any_json_type_is_read(points, type):
    point = points("xacml")
    assert point.is_asked(saying(permit(point.dialect), "200 OK", type), "rest").word == YES


def test_the_breaker_refuses_without_asking_and_closes_after_one_try(point_of):
    point = point_of("xacml")
    point.stub.answer = lambda _: iter([b""])
    for _ in range(5):
        assert point.server.ask("rest", "metadata", point.headers).word == NOT_NOW
    opened, asked = time.monotonic(), len(point.stub.asked)
    point.stub.answer = saying(permit(point.dialect))
    for door in DOORS * 3:
        assert point.server.ask(door, "metadata", point.headers).word == NOT_NOW
    assert len(point.stub.asked) == asked, "an open breaker asks nobody"
    while point.server.ask("grpc", "metadata", point.headers).word == NOT_NOW:
        assert time.monotonic() - opened < 8
        time.sleep(0.1)
    assert time.monotonic() - opened > 4
    assert len(point.stub.asked) == asked + 1
    assert point.server.ask("rest", "metadata", point.headers).word == YES
    log = point.server.log()
    assert "the policy decision point is down" in log and "answers again" in log


def test_an_answer_that_is_none_does_not_open_the_breaker(point_of):
    point = point_of("opa")
    point.stub.answer = saying("{", "200 OK", "application/json")
    for _ in range(12):
        assert point.server.ask("rest", "metadata", point.headers).word == NOT_NOW
    point.stub.answer = saying(permit(point.dialect))
    assert point.server.ask("rest", "metadata", point.headers).word == YES


def test_a_decision_is_remembered_for_its_time_and_for_the_very_same_question_alone(point_of):
    point = point_of("authzen", "--pdp-cache-ttl", "1s")
    ask = point.server.ask
    assert ask("rest", "metadata", point.headers).word == YES
    point.stub.answer = saying({"decision": False})
    taken = time.monotonic()
    while ask("rest", "metadata", point.headers).word == YES:
        assert time.monotonic() - taken < 3, "a withdrawn right works on"
        assert ask("rest", "metadata", point.headers, "other").word == NO
        assert ask("rest", "infer", point.headers).word == NO
        assert ask("grpc", "metadata", point.headers).word == NO
        assert ask("rest", "metadata", []).word == WHO
        other = authorization(Issuer("HS256").bearer("alice", ["admin"]))
        assert ask("rest", "metadata", other).word == NO
        time.sleep(0.1)
    assert time.monotonic() - taken > 0.5


def test_a_fault_is_never_remembered(point_of):
    point = point_of("authzen", "--pdp-cache-ttl", "60s")
    point.stub.answer = saying({})
    assert point.server.ask("rest", "metadata", point.headers).word == NOT_NOW
    point.stub.answer = saying({"decision": True})
    assert point.server.ask("rest", "metadata", point.headers).word == YES


def test_without_a_cache_each_request_is_a_question_and_connections_are_kept(points):
    point = points("xacml")
    before = len(point.stub.asked), point.stub.connections
    for _ in range(10):
        assert point.server.ask("rest", "metadata", point.headers).word == YES
    assert len(point.stub.asked) - before[0] == 10
    assert point.stub.connections - before[1] <= 2


def test_no_credential_goes_to_the_decision_point(points):
    for name in DIALECTS:
        point = points(name)
        token = point.headers[0][1].split()[1]
        for door in DOORS:
            point.server.ask(door, "metadata", [*point.headers, ("X-API-Key", "oip_secret")])
        said = " ".join(asked.line + str(asked.headers) + asked.body.decode() for asked in point.stub.asked)
        for part in [*token.split("."), "oip_secret", "Bearer"]:
            assert part not in said, name


def asked_about(point, what, door="rest", issuer_claims=None, model="m"):
    """The question that a request leads to, as JSON."""
    headers = authorization(Issuer("HS256").bearer(**(issuer_claims or {"subject": "alice", "roles": ("user",)})))
    point.server.ask(door, what, headers, model)
    return json.loads(point.stub.asked[-1].body)


def test_an_authzen_question_is_one_by_the_specification(points):
    question = asked_about(points("authzen"), "infer", issuer_claims={"roles": ("user", "eu"), "department": "finance"})
    assert points("authzen").stub.asked[-1].line == "POST /access/v1/evaluation HTTP/1.1"
    assert points("authzen").stub.asked[-1].header("content-type") == "application/json"
    assert set(question) == {"subject", "action", "resource", "context"}
    assert question["subject"]["type"] == "subject" and question["subject"]["id"] == "alice"
    assert question["subject"]["properties"]["roles"] == ["user", "eu"]
    assert question["subject"]["properties"]["claims"]["department"] == "finance"
    assert question["action"] == {"name": "infer"}
    assert question["resource"] == {"type": "model", "id": "m", "properties": {}}
    assert question["context"]["ip"] == "127.0.0.1" and question["context"]["path"] == "/v2/models/m/infer"
    points("authzen").server.ask("grpc", "index")
    question = json.loads(points("authzen").stub.asked[-1].body)
    assert question["subject"]["type"] == "anonymous" and question["subject"]["id"] == "Anonymous"
    assert question["resource"] == {"type": "server", "id": "oip"}


def test_an_opa_question_is_an_input_of_the_data_api(points):
    question = asked_about(points("opa"), "load", "grpc")
    assert points("opa").stub.asked[-1].line == "POST /v1/data/oip/allow HTTP/1.1"
    assert list(question) == ["input"]
    given = question["input"]
    assert given["subject"]["id"] == "alice" and given["subject"]["authenticated"] is True
    assert given["subject"]["roles"] == ["user"]
    assert given["action"] == "load" and given["resource"] == {"type": "model", "name": "m"}
    assert given["context"]["path"] == "/inference.GRPCInferenceService/RepositoryModelLoad"


def test_the_base_of_an_address_is_completed_and_a_whole_one_stands(point_of, guard):
    for name, path in (("authzen", "/access/v1/evaluation"), ("opa", "/v1/data/oip/allow")):
        stub = Stub(saying(permit(DIALECTS[name])))
        server = guard("--pdp", name, "--pdp-url", stub.url(""))
        server.ask("rest", "metadata")
        assert stub.asked[-1].line == f"POST {path} HTTP/1.1"
        stub.close()
