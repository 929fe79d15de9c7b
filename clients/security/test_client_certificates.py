"""Client certificates as a way in: those that hold, those that only look so, through both doors."""

import http.client
import json
import ssl

import grpc
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from certificates import DAY, Authority, pem_of
from guarded import ASKS, DOORS, NO, SERVICE, WHO, YES
from messages import MESSAGES

# The handshake ends, or what comes after it: there is no answer.
CLOSED = "closed"
_WORDS = {200: YES, 401: WHO, 403: NO, grpc.StatusCode.UNAUTHENTICATED: WHO, grpc.StatusCode.PERMISSION_DENIED: NO}


class Secured:
    """A server with TLS that asks for client certificates."""

    def __init__(self, guard, folder, authority, *flags):
        self.folder, self.authority = folder, authority
        key, chain = authority.issue("server", usage=ExtendedKeyUsageOID.SERVER_AUTH, hosts=["127.0.0.1"])
        for name, content in (("key", key), ("chain", chain), ("ca", pem_of(authority.certificate))):
            (folder / name).write_bytes(content)
        self.server = guard("--tls-cert", folder / "chain", "--tls-key", folder / "key", "--tls-client-ca",
                            folder / "ca", "--audit-file", folder / "audit", *flags, wait=None)

    def ask(self, door, what, shown=None, headers=()):
        return (self._rest if door == "rest" else self._grpc)(what, shown, headers)

    def _rest(self, what, shown, headers):
        context = ssl.create_default_context(cafile=self.folder / "ca")
        if shown:
            for name, content in zip(("client.key", "client.pem"), shown):
                (self.folder / name).write_bytes(content)
            context.load_cert_chain(self.folder / "client.pem", self.folder / "client.key")
        connection = http.client.HTTPSConnection("127.0.0.1", self.server.rest_port, timeout=10, context=context)
        method, path, _ = ASKS[what]
        try:
            connection.request(method, path.format("m"), None, dict(headers))
            return _WORDS[connection.getresponse().status]
        except (ssl.SSLError, ConnectionError, http.client.RemoteDisconnected):
            return CLOSED
        finally:
            connection.close()

    def _grpc(self, what, shown, headers):
        root = (self.folder / "ca").read_bytes()
        credentials = grpc.ssl_channel_credentials(root, *(shown or ()))
        rpc = ASKS[what][2]
        with grpc.secure_channel(self.server.grpc, credentials) as channel:
            call = channel.unary_unary(f"/{SERVICE}/{rpc}")
            try:
                call(MESSAGES[rpc]("m"), timeout=10, metadata=[(name.lower(), value) for name, value in headers])
                return YES
            except grpc.RpcError as error:
                return CLOSED if error.code() == grpc.StatusCode.UNAVAILABLE else _WORDS[error.code()]


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture(scope="module")
def secured(guard_all, tmp_path_factory, authority):
    return {
        kind: Secured(guard_all, tmp_path_factory.mktemp(kind), authority, "--tls-client-auth", kind)
        for kind in ("required", "optional")
    }


@pytest.mark.parametrize("kind", ["required", "optional"])
def test_a_certificate_of_the_authority_lets_its_name_in_and_gives_it_no_role(secured, authority, kind):
    for door in DOORS:
        assert secured[kind].ask(door, "metadata", authority.issue("batch")) == YES
        for name in ("batch", "root", "admin"):
            assert secured[kind].ask(door, "load", authority.issue(name)) == NO


BROKEN = {
    "of another authority": lambda a: Authority().issue("batch"),
    "of an authority of the same name": lambda a: Authority("authority").issue("batch"),
    "signed by itself": lambda a: Authority("batch", is_ca=False).issue("batch"),
    "expired": lambda a: a.issue("batch", begins=-2 * DAY, ends=-DAY),
    "not yet valid": lambda a: a.issue("batch", begins=DAY, ends=2 * DAY),
    "for servers alone": lambda a: a.issue("batch", usage=ExtendedKeyUsageOID.SERVER_AUTH),
    "for signing code": lambda a: a.issue("batch", usage=ExtendedKeyUsageOID.CODE_SIGNING),
    "signed by one that is no authority": lambda a: Authority("leaf", a, is_ca=False).issue("batch"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_certificate_that_does_not_hold_gets_no_answer(secured, authority, name):
    shown = BROKEN[name](authority)
    for kind in ("required", "optional"):
        for door in DOORS:
            for what in ("metadata", "live"):
                assert secured[kind].ask(door, what, shown) == CLOSED, (kind, door)


NOBODY = {
    "Anonymous": ["Anonymous"], "anonymous": ["anonymous"], "with spaces": [" ANONYMOUS "], "no name": [],
    "two names": ["batch", "root"], "a blank name": [" "], "a line break": ["batch\nroot"], "a NUL": ["batch\0"],
}


@pytest.mark.parametrize("name", NOBODY)
def test_a_certificate_that_names_nobody_is_a_credential_that_does_not_hold(secured, authority, name):
    shown = authority.issue(*NOBODY[name])
    for kind in ("required", "optional"):
        for door in DOORS:
            assert secured[kind].ask(door, "metadata", shown) in (WHO, CLOSED), (kind, door)
            assert secured[kind].ask(door, "server_metadata", shown) in (WHO, CLOSED), "it is not Anonymous"


def test_without_a_certificate_there_is_no_answer_or_a_stranger(secured):
    for door in DOORS:
        assert secured["required"].ask(door, "live") == CLOSED
        assert secured["optional"].ask(door, "live") == YES
        assert secured["optional"].ask(door, "metadata") == WHO


def test_a_token_goes_first_and_is_not_passed_over(secured, authority, issuer):
    batch = authority.issue("batch")
    for door in DOORS:
        for headers, word in (([("Authorization", "Bearer x")], WHO), ([("X-API-Key", "x")], WHO),
                              ([("Authorization", issuer.bearer("root", ["admin"]))], YES)):
            assert secured["required"].ask(door, "index", batch, headers) == word, headers
    lines = [json.loads(line) for line in (secured["required"].folder / "audit").read_text().splitlines()]
    assert [line["subject"] for line in lines if line["action"] == "index" and line["pdp"] != "authentication"] == [
        "root", "root"]


def test_plain_http_at_a_door_with_tls_is_answered_by_no_route(secured, issuer):
    for port in (secured["optional"].server.rest_port, secured["optional"].server.grpc_port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/v2/models/m", None, {"Authorization": issuer.bearer("root", ["admin"])})
        reply = connection.getresponse()
        assert reply.status == 400 and b"TLS" in reply.read()
        connection.close()
