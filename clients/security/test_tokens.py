"""One table of attacks on tokens, through both doors, for each kind of key."""

import re
import time

import pytest

import raw_grpc
from attacks import BROKEN, GOOD, attacks, attacks_on_the_key, foreign
from credentials import ALGORITHMS, FURTHER, Issuer, claims
from guarded import DOORS, WHO, YES, Said
from messages import MESSAGES

REFUSED = Said(WHO, "the credential does not hold")
PLAIN = re.compile(r"[\x20-\x7e]*")


@pytest.fixture(scope="module")
def attacked(guard_all, tmp_path_factory):
    """A server for each algorithm, started when it is first asked for, that logs all it can."""
    servers = {}

    def of(algorithm):
        if algorithm not in servers:
            folder, issuer = tmp_path_factory.mktemp(algorithm), Issuer(algorithm)
            flags = [*issuer.flags(folder), "--log-level", "trace", "--audit-file", folder / "audit"]
            servers[algorithm] = (guard_all(*flags, keys=False), issuer, folder / "audit")
        return servers[algorithm]

    return of


def show(server, door, values, what="metadata"):
    """Asks with these values, each in a header of its own."""
    headers = [("Authorization", value) for value in values]
    if door == "rest" or all(PLAIN.fullmatch(value) for value in values):
        return server.ask(door, what, headers)
    # gRPC's client sends printable ASCII alone; an attacker is not bound to it.
    headers = [("authorization", value.encode("utf-8", "surrogateescape")) for value in values]
    return raw_grpc.call(server, "ModelMetadata", MESSAGES["ModelMetadata"]("m"), headers)


CASES = [(algorithm, name) for algorithm in ALGORITHMS for name in attacks(algorithm)]
CASES += [(algorithm, name) for algorithm in FURTHER for name in attacks_on_the_key(algorithm)]


@pytest.mark.parametrize(("algorithm", "name"), CASES)
def test_an_attack_is_refused_at_both_doors_with_words_that_tell_nothing(attacked, algorithm, name):
    server, issuer, _ = attacked(algorithm)
    values = attacks(algorithm)[name](issuer)
    for door in DOORS:
        assert show(server, door, values) == REFUSED, door


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_header_that_http_does_not_know_lets_nobody_in(attacked, algorithm, name):
    server, issuer, _ = attacked(algorithm)
    values = BROKEN[name](issuer)
    assert show(server, "rest", values).word in (WHO, "400")
    assert show(server, "grpc", values).word in (WHO, "reset", "closed", "HTTP 400")


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("algorithm", ALGORITHMS + FURTHER)
def test_what_holds_is_let_in_at_both_doors(attacked, algorithm, name):
    server, issuer, _ = attacked(algorithm)
    values = GOOD[name](issuer)
    for door in DOORS:
        assert show(server, door, values).word == YES, door


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_refused_token_says_the_same_whatever_is_asked(attacked, algorithm):
    server, issuer, _ = attacked(algorithm)
    values = [f"Bearer {issuer.token(exp=1)}"]
    for door in DOORS:
        for what in ("infer", "metadata", "load", "index", "server_metadata", "statistics"):
            assert show(server, door, values, what) == REFUSED, (door, what)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_refusal_carries_the_challenge_and_nothing_else_of_the_reason(attacked, algorithm):
    server, issuer, _ = attacked(algorithm)
    heads = set()
    for values in (["Bearer"], ["Basic x"], [f"Bearer {issuer.token(exp=1)}"], [f"Bearer {issuer.token()}x"]):
        reply = server.rest_call("GET", "/v2/models/m", [("Authorization", value) for value in values])
        heads.add(str(sorted((k, v) for k, v in reply.headers.items() if k.lower() not in ("date", "x-request-id"))))
        assert reply.headers.get_all("WWW-Authenticate") == ["Bearer"]
    assert len(heads) == 1, heads


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_that_was_let_in_is_refused_once_it_is_expired(attacked, algorithm):
    """A remembered token does not outlive its date: the leeway of 30 s is nearly over."""
    server, issuer, _ = attacked(algorithm)
    values = [issuer.bearer(exp=int(time.time()) - 28)]
    assert show(server, "rest", values).word == YES
    time.sleep(2.2)
    for door in DOORS:
        assert show(server, door, values) == REFUSED


@pytest.mark.parametrize("door", DOORS)
def test_issuer_and_audience_are_held_to_where_they_are_configured(guard, tmp_path, door):
    issuer = Issuer("ES256")
    flags = ["--auth-issuer", "https://id.example", "--auth-audience", "oip,oip-staging"]
    server = guard(*issuer.flags(tmp_path), *flags, keys=False)
    good = {"iss": "https://id.example", "aud": "oip"}
    for change in ({}, {"aud": ["x", "oip"]}, {"aud": "oip-staging"}):
        assert show(server, door, [issuer.bearer(**good | change)]).word == YES, change
    wrong_issuers = ("https://id.example/", "https://ID.example", "id.example", "", None, 7, ["https://id.example"])
    wrong_audiences = ("other", "OIP", "oip,oip-staging", "", None, [], ["x"], {"oip": True}, ["oip", 7], 7)
    for change in [{"iss": w} for w in wrong_issuers] + [{"aud": w} for w in wrong_audiences]:
        assert show(server, door, [issuer.bearer(**good | change)]) == REFUSED, change
    for missing in ("iss", "aud"):
        token = issuer.compact(issuer.header(), claims(drop=[missing], **good))
        assert show(server, door, [f"Bearer {token}"]) == REFUSED, missing


@pytest.mark.parametrize("key", ["a wrong key", "", "x" * 5000, "oip_" + "A" * 43])
def test_a_wrong_api_key_beside_nothing_else_is_refused_at_both_doors(attacked, key):
    server, *_ = attacked("HS256")
    for door in DOORS:
        assert server.ask(door, "metadata", [("X-API-Key", key)]) == REFUSED


def test_the_logs_of_all_this_hold_no_token_and_no_secret(attacked):
    """Comes last: reads what the tests before it have left, at log level trace."""
    for algorithm in ALGORITHMS:
        server, issuer, audit = attacked(algorithm)
        for door in DOORS:
            assert show(server, door, [issuer.bearer()]).word == YES
            assert show(server, door, [f"Bearer {foreign(issuer)}"]) == REFUSED
        written = server.log() + audit.read_text()
        assert "the signature is not the key's" in written, "the log says why"
        found = [part for part in issuer.parts_shown() if part in written]
        assert found == [], algorithm
        if issuer.is_shared:
            assert issuer.key.decode() not in written
