"""Where the Python original fails open, entry by entry; none of it happens here."""

import base64
import json
import time

import pytest
from cryptography.hazmat.primitives import serialization as form

import onnx_models
from certificates import Authority
from credentials import SECRET, Issuer, claims
from decision_points import DIALECTS, permit, saying
from guarded import DOORS, NO, NOT_NOW, WHO, YES, authorization
from messages import MESSAGES
from oip_server import find_binary, run_to_exit
from stub import Stub

SERVE = ["serve", "--grpc-port", "0"]


def fails_to_start(tmp_path, *flags, **env):
    """Starts, expects a refusal in one line, and hands back what was said."""
    ended = run_to_exit([str(find_binary()), *SERVE, *flags], env=env, cwd=tmp_path)
    assert ended.returncode not in (0, 101), ended.stdout
    assert sum(line.startswith("error") for line in ended.stdout.splitlines()) == 1, ended.stdout
    return ended.stdout


def properties(folder, text):
    (folder / "oip.properties").write_text(text)
    return {"KRAUSENING_BASE": str(folder)}


# Configuration.

@pytest.mark.parametrize("word", ["1", "yes", "on", "TRUE", "True", "Yes", "ON"])
@pytest.mark.parametrize("name", ["AUTH_ENABLED", "OIP_AUTH_ENABLED"])
def test_auth_enabled_spelt_another_way_stays_on(guard, name, word):
    server = guard(env={name: word})
    for door in DOORS:
        assert server.ask(door, "metadata").word == WHO


@pytest.mark.parametrize("word", ["tru", "ture", "enabled", "y", "t", "-1", "2", "none", "null", "fals", "''", " "])
def test_auth_enabled_that_is_neither_true_nor_false_refuses_to_start(tmp_path, word):
    assert "auth_enabled" in fails_to_start(tmp_path, AUTH_ENABLED=word, AUTH_SECRET=SECRET)


@pytest.mark.parametrize("word", ["", "true ", " true"])
def test_auth_enabled_that_is_empty_or_has_a_space_stays_on(guard, word):
    server = guard(env={"AUTH_ENABLED": word})
    assert {server.ask(door, "metadata").word for door in DOORS} == {WHO}


def test_fastapi_reload_false_is_false(guard, tmp_path, issuer):
    """`bool("False")` is true there; here only what means true watches the repository."""
    servers = {}
    for word in ("False", "false", "0", "no", "True"):
        repository = tmp_path / word
        onnx_models.put(repository, "m", onnx_models.identity("FP32"))
        servers[word] = guard(env={"FASTAPI_RELOAD": word}, repository=repository)
        onnx_models.put(repository, "new", onnx_models.identity("FP32"))
    bearer = authorization(issuer.bearer())

    def is_served(word):
        return servers[word].ask("rest", "metadata", bearer, "new").word == YES

    end = time.monotonic() + 10
    while not is_served("True"):
        assert time.monotonic() < end
        time.sleep(0.1)
    assert [word for word in servers if is_served(word)] == ["True"]


def test_a_dollar_in_a_secret_is_expanded_in_properties_with_a_warning_and_nowhere_else(guard, tmp_path):
    """The original makes `pa/root$$x` of it without a word; here a file keeps it as it is."""
    secret = "pa$HOME$$x and thirty-two bytes or more"
    (tmp_path / "secret").write_text(secret)
    by_file = guard("--auth-secret-file", tmp_path / "secret", keys=False)
    by_environment = guard(keys=False, env={"AUTH_SECRET": secret})
    by_properties = guard(keys=False, env=properties(tmp_path, f"auth_secret={secret}"))
    issuer = Issuer("HS256")
    issuer.key = secret.encode()
    words = [server.ask("rest", "metadata", authorization(issuer.bearer())).word
             for server in (by_file, by_environment, by_properties)]
    assert words == [YES, YES, WHO]
    assert "auth_secret" in by_properties.log() and "auth_secret_file" in by_properties.log()
    assert secret not in by_properties.log()


ENCRYPTED = "ENC(VCS4DnoG6fNvnLSnadYRuE4Li+HTiS4faR+iLHzbOCqt/AOOpOUPi+lYsf+S9s59)"


@pytest.mark.parametrize("password", [None, "", "wrong"])
def test_an_encrypted_secret_without_its_password_refuses_to_start(tmp_path, password):
    env = properties(tmp_path, f"auth_secret={ENCRYPTED}")
    env |= {} if password is None else {"KRAUSENING_PASSWORD": password}
    said = fails_to_start(tmp_path, **env)
    assert "auth_secret" in said and ENCRYPTED[4:20] not in said


def test_an_encrypted_secret_is_decrypted_and_its_text_is_no_secret(guard, tmp_path):
    server = guard(keys=False, env=properties(tmp_path, f"auth_secret={ENCRYPTED}") | {"KRAUSENING_PASSWORD": "pw"})
    issuer = Issuer("HS256")
    for key, word in ((b"s3cret", YES), (ENCRYPTED.encode(), WHO)):
        issuer.key = key
        assert server.ask("rest", "metadata", authorization(issuer.bearer())).word == word
    assert "ENC(" in fails_to_start(tmp_path, AUTH_SECRET=ENCRYPTED)


@pytest.mark.parametrize("space", [" ", "\t", "\\u0020", "\\r"])
def test_an_encrypted_secret_with_white_space_around_it_is_decrypted_all_the_same(guard, tmp_path, space):
    env = properties(tmp_path, f"auth_secret={ENCRYPTED}{space}\n")
    assert "KRAUSENING_PASSWORD" in fails_to_start(tmp_path, **env)
    server = guard(keys=False, env=env | {"KRAUSENING_PASSWORD": "pw"})
    issuer = Issuer("HS256")
    for key, word in ((b"s3cret", YES), (ENCRYPTED.encode(), WHO), (ENCRYPTED.encode() + b" ", WHO)):
        issuer.key = key
        assert server.ask("rest", "metadata", authorization(issuer.bearer())).word == word


NOT_WHOLE = [ENCRYPTED.lower(), "Enc" + ENCRYPTED[3:], ENCRYPTED[:-1], f'"{ENCRYPTED}"', ENCRYPTED + " # secret",
             "ENC (" + ENCRYPTED[4:], "enc()"]


@pytest.mark.parametrize("value", [*NOT_WHOLE, ENCRYPTED + " ", " " + ENCRYPTED])
def test_an_encrypted_secret_that_is_not_whole_is_no_secret_from_any_source(tmp_path, value):
    """Its text would be a secret that stands in a file for everybody to read."""
    said = [fails_to_start(tmp_path, AUTH_SECRET=value), fails_to_start(tmp_path, "--auth-secret", value)]
    if value in NOT_WHOLE:
        env = properties(tmp_path, f"auth_secret={value}")
        said.append(fails_to_start(tmp_path, KRAUSENING_PASSWORD="pw", **env))
    for one in said:
        assert "auth_secret" in one and "ENC(" in one and ENCRYPTED[4:20] not in one


def test_a_secret_file_that_holds_an_encrypted_value_is_warned_about(guard, tmp_path):
    (tmp_path / "secret").write_text(ENCRYPTED)
    log = guard("--auth-secret-file", tmp_path / "secret", keys=False).log()
    assert "auth_secret_file begins with ENC(" in log and ENCRYPTED[4:20] not in log


def test_a_public_key_in_any_form_is_no_shared_secret(tmp_path):
    """Whoever has the public key could sign tokens; the original takes it without a word."""
    key = Issuer("RS256", "one")
    der = key.key.public_key().public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)
    ssh = key.key.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH)
    chain = Authority().certificate.public_bytes(form.Encoding.DER)
    forms = {"PEM": key.public_pem, "DER": der, "base64 of DER": base64.b64encode(der), "SSH": ssh,
             "a certificate": chain, "base64 of a certificate": base64.encodebytes(chain),
             "a key": json.dumps(key.jwk()).encode(), "a set": json.dumps({"keys": [key.jwk()]}).encode()}
    for name, text in forms.items():
        (tmp_path / "secret").write_bytes(text)
        said = fails_to_start(tmp_path, "--auth-secret-file", str(tmp_path / "secret"))
        assert "auth_secret_file is a public key" in said, name
        if name not in ("DER", "a certificate"):
            assert "auth_secret is a public key" in fails_to_start(tmp_path, AUTH_SECRET=text.decode()), name


def test_a_port_that_is_no_number_is_refused_by_its_name(tmp_path):
    said = fails_to_start(tmp_path, FASTAPI_PORT="abc", AUTH_SECRET=SECRET)
    assert "FASTAPI_PORT" in said and "abc" in said


def test_what_changes_beside_a_running_server_does_not_open_it(guard, tmp_path):
    """The original reads its configuration for every request."""
    env = properties(tmp_path, f"auth_secret={SECRET}\n")
    server = guard(keys=False, env=env)
    watching = guard("--reload", "true", keys=False, env=env)
    properties(tmp_path, "auth_enabled=false\nauth_algorithm=none\npolicy_mode=shadow\n")
    time.sleep(2.5)
    for one in (server, watching):
        assert {one.ask(door, "metadata").word for door in DOORS} == {WHO}


def test_the_servers_own_arguments_alone_are_read(guard):
    """`--workers` of another server was taken for the KServe argument; here it has no effect."""
    server = guard("--workers", "4", "--max_threads", "2")
    assert {server.ask(door, "metadata").word for door in DOORS} == {WHO}


def test_both_doors_listen_on_loopback_alone(guard):
    server = guard()
    rows = open("/proc/net/tcp").read().splitlines()[1:] + open("/proc/net/tcp6").read().splitlines()[1:]
    listening = {tuple(row.split()[1].split(":")) for row in rows if row.split()[3] == "0A"}
    hosts = {host for host, port in listening if int(port, 16) in (server.rest_port, server.grpc_port)}
    assert hosts == {"0100007F"}


@pytest.mark.parametrize("key", ["auth_enabeld", "auth-enabled", "AUTH_ENABLED", "auth_enable"])
def test_a_misspelt_key_is_named_and_opens_nothing(guard, tmp_path, key):
    server = guard(keys=False, env=properties(tmp_path, f"auth_secret={SECRET}\n{key}=false\n"))
    assert {server.ask(door, "metadata").word for door in DOORS} == {WHO}
    assert key in server.log() and "auth_enabled" in server.log()


@pytest.mark.parametrize(("name", "meant"), [("AUTH_ENABELD", "AUTH_ENABLED"), ("AUTH_SECRET_FILE", "OIP_AUTH_SECRET_FILE"),
                                             ("OIP_AUTH_ENABELD", "OIP_AUTH_ENABLED")])
def test_a_misspelt_variable_is_named_and_opens_nothing(guard, name, meant):
    server = guard(env={name: "false"})
    assert {server.ask(door, "metadata").word for door in DOORS} == {WHO}
    assert f"{name} is not known; is {meant} meant?" in server.log()


# Authentication.

@pytest.mark.parametrize("value", ["", "Basic YWxpY2U6eA==", "Digest x", "Negotiate x", "bearer", "Bearer"])
def test_another_scheme_is_never_taken_for_anonymous(guard, tmp_path, value):
    policy = tmp_path / "all.cedar"
    policy.write_text("permit(principal, action, resource);")
    server = guard("--policy-file", policy)
    for door in DOORS:
        assert server.ask(door, "metadata").word == YES
        assert server.ask(door, "metadata", authorization(value)).word == WHO


def test_a_refusal_challenges_and_does_not_say_whether_a_token_was_expired_or_forged(guard, issuer):
    server = guard()
    expired = authorization(issuer.bearer(exp=1))
    forged = authorization(issuer.bearer() + "x")
    replies = [server.rest_call("GET", "/v2/models/m", headers) for headers in (expired, forged)]
    assert replies[0].body == replies[1].body
    assert {reply.headers["WWW-Authenticate"] for reply in replies} == {"Bearer"}


def test_a_token_without_sub_is_nobody_and_not_permitted(guard, issuer):
    server = guard()
    for drop in (["sub"], ["sub", "roles"], ["exp"]):
        for door in DOORS:
            assert server.ask(door, "metadata", authorization(issuer.bearer(drop=drop))).word == WHO


@pytest.mark.parametrize("secret", ["", " ", "\t"])
def test_an_empty_secret_refuses_to_start(tmp_path, secret):
    assert "auth_secret" in fails_to_start(tmp_path, AUTH_SECRET=secret)


def test_an_empty_secret_file_refuses_to_start(tmp_path):
    (tmp_path / "secret").write_text("\n")
    fails_to_start(tmp_path, "--auth-secret-file", str(tmp_path / "secret"))


# Authorization.

def test_without_a_policy_not_everything_is_permitted(guard, issuer):
    server = guard()
    for door in DOORS:
        assert server.ask(door, "infer").word == WHO
        assert server.ask(door, "load", authorization(issuer.bearer())).word == NO


@pytest.fixture
def xacml(guard):
    stubs = []

    def start(answer=None, *flags):
        stub = Stub(answer or saying(permit(DIALECTS["xacml"])))
        stubs.append(stub)
        return stub, guard("--pdp-url", stub.url("/pdp"), *flags)

    yield start
    for stub in stubs:
        stub.close()


def test_a_decision_point_can_tell_models_and_actions(xacml, issuer):
    stub, server = xacml()
    told = set()
    for door in DOORS:
        for what, model in (("infer", "m"), ("metadata", "m"), ("metadata", "other"), ("load", "m"), ("index", "m")):
            server.ask(door, what, authorization(issuer.bearer()), model)
            told.add(stub.asked[-1].body)
    assert len(told) == 5, "the doors ask alike, and each question is one of its own"


def test_a_decision_point_that_hangs_holds_a_call_no_longer_than_its_time(xacml, issuer):
    stub, server = xacml(None, "--pdp-timeout", "0.5s")
    stub.answer = stub.silence
    for door in DOORS:
        since = time.monotonic()
        assert server.ask(door, "infer", authorization(issuer.bearer())).word == NOT_NOW
        assert 0.4 < time.monotonic() - since < 3


def test_a_decision_point_that_is_down_or_speaks_html_is_503_and_not_500(xacml, issuer):
    stub, server = xacml(saying("<html>", "200 OK", "text/html"))
    assert server.ask("rest", "infer", authorization(issuer.bearer())).word == NOT_NOW
    stub.answer = saying({"Response": {"Decision": "Permit"}})
    assert server.ask("rest", "infer", authorization(issuer.bearer())).word == YES, "a single object is legal"
    stub.down()
    assert server.ask("grpc", "infer", authorization(issuer.bearer())).word == NOT_NOW


def test_a_500_with_a_permit_in_its_body_does_not_permit(xacml, issuer):
    _, server = xacml(saying(permit(DIALECTS["xacml"]), "500 Internal Server Error"))
    for door in DOORS:
        assert server.ask(door, "infer", authorization(issuer.bearer())).word == NOT_NOW


def test_a_permit_with_an_obligation_does_not_permit(xacml, issuer):
    _, server = xacml(saying({"Response": [{"Decision": "Permit", "Obligations": [{"Id": "log"}]}]}))
    for door in DOORS:
        assert server.ask(door, "infer", authorization(issuer.bearer())).word == NO


STRING = "http://www.w3.org/2001/XMLSchema#string"
XACML = "urn:oasis:names:tc:xacml:"


def attribute(id, value):
    return {"AttributeId": id, "IncludeInResult": False, "DataType": STRING, "Value": value}


def original_request(subject, role, ours_of_resource, ours_of_action):
    """What the original's adapter posts, member for member, with the attributes that come on top."""
    return {"Request": {"ReturnPolicyIdList": False, "CombinedDecision": False, "Category": [
        {"CategoryId": f"{XACML}1.0:subject-category:access-subject", "Attribute": [
            attribute(f"{XACML}1.0:subject:subject-id", subject), attribute(f"{XACML}2.0:subject:role", role)]},
        {"CategoryId": f"{XACML}3.0:attribute-category:resource", "Attribute": [
            attribute(f"{XACML}1.0:resource:resource-id", "data"),
            *(attribute(f"urn:oip:xacml:1.0:resource:{name}", value) for name, value in ours_of_resource)]},
        {"CategoryId": f"{XACML}3.0:attribute-category:action", "Attribute": [
            attribute(f"{XACML}1.0:action:action-id", "read"),
            attribute("urn:oip:xacml:1.0:action:action-name", ours_of_action)]},
    ]}}


@pytest.mark.parametrize(("roles", "sent"), [("user", "user"), (["user"], "user"), (["user", "admin"], ["user", "admin"]),
                                             ([], "unknown"), ("", "unknown"), (None, "unknown")])
def test_every_role_is_sent_and_the_request_is_otherwise_the_originals(xacml, issuer, roles, sent):
    stub, server = xacml()
    bearer = authorization(f"Bearer {issuer.compact(issuer.header(), claims(roles=()) | {'roles': roles})}")
    for door, what in (("rest", "infer"), ("grpc", "infer"), ("rest", "index")):
        server.ask(door, what, bearer)
        model = [] if what == "index" else [("model-name", "m")]
        assert json.loads(stub.asked[-1].body) == original_request("alice", sent, model, what)
        assert stub.asked[-1].line == "POST /pdp HTTP/1.1"
        assert stub.asked[-1].header("Content-Type") == "application/xacml+json"
    server.rest_call("GET", "/v2/models/m/versions/1", bearer)
    versioned = [("model-name", "m"), ("model-version", "1")]
    assert json.loads(stub.asked[-1].body) == original_request("alice", sent, versioned, "metadata")


def test_a_stranger_is_sent_as_anonymous_and_refused_by_a_deny(xacml):
    stub, server = xacml(saying({"Response": [{"Decision": "Deny"}]}))
    for door in DOORS:
        assert server.ask(door, "infer").word == WHO
        assert json.loads(stub.asked[-1].body) == original_request("Anonymous", "unknown", [("model-name", "m")], "infer")


def test_probes_do_not_go_through_the_decision_point(xacml):
    stub, server = xacml(saying({"Response": [{"Decision": "Deny"}]}))
    for door in DOORS:
        for probe in ("live", "ready"):
            assert server.ask(door, probe).word == YES
    assert stub.asked == []


def test_docs_hold_nothing_and_the_description_is_decided(guard, issuer):
    server = guard()
    assert server.rest_call("GET", "/openapi.json").status == 401
    assert server.rest_call("GET", "/openapi.json", authorization(issuer.bearer())).status == 200
    page = server.rest_call("GET", "/docs")
    assert page.status == 200 and b"/v2/models/{" not in page.body


def test_a_forwarded_address_from_anyone_is_not_believed(guard, issuer, tmp_path):
    server = guard("--audit-file", tmp_path / "audit")
    for door in DOORS:
        server.ask(door, "metadata", [*authorization(issuer.bearer()), ("X-Forwarded-For", "6.6.6.6")])
    lines = [json.loads(line) for line in (tmp_path / "audit").read_text().splitlines()]
    assert [line["ip"] for line in lines] == ["127.0.0.1"] * 2


def test_a_line_break_in_sub_writes_no_line_into_the_log(guard, issuer):
    server = guard("--log-level", "debug")
    for door in DOORS:
        server.ask(door, "load", authorization(issuer.bearer("bob\nFAKE LOG LINE")))
    lines = server.wait_for_log("FAKE LOG LINE", times=2).splitlines()
    assert not any(line.startswith("FAKE") for line in lines)


# The gRPC variant.

def test_an_error_at_the_grpc_door_has_its_own_code_with_authentication_on(guard, issuer):
    server = guard()
    bearer = authorization(issuer.bearer())
    assert server.ask("grpc", "metadata", bearer, "not-there").word == "not found"
    assert server.grpc_call("ModelInfer", b"\xff\xff", [("authorization", bearer[0][1])]).word == "INVALID_ARGUMENT"
    assert server.ask("grpc", "load", bearer).word == NO


def test_a_missing_token_is_judged_alike_at_both_doors(guard):
    server = guard()
    assert {server.ask(door, "infer").word for door in DOORS} == {WHO}


def test_streams_are_guarded_as_single_calls_are(guard, issuer, tmp_path):
    policy = tmp_path / "m.cedar"
    policy.write_text('permit(principal is Subject, action, resource == Model::"m");')
    server = guard("--policy-file", policy)
    infer, bearer = MESSAGES["ModelStreamInfer"], [("authorization", issuer.bearer())]
    assert server.grpc_call("ModelStreamInfer", infer("m")).word == WHO
    assert "OUT" in server.grpc_call("ModelStreamInfer", infer("m"), bearer).sentence
    refused = server.grpc_call("ModelStreamInfer", infer("other"), bearer).sentence
    assert "not permitted" in refused and "OUT" not in refused


def test_the_services_that_the_original_lacks_are_guarded_too(guard, issuer):
    server = guard()
    for version in ("v1", "v1alpha"):
        call = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
        assert server.grpc_call(call, b"\x3a\x01*").word == WHO
        assert server.grpc_call(call, b"\x3a\x01*", [("authorization", issuer.bearer())]).word == YES
