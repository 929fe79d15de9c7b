"""Ways around: credentials in other places, other forms of a request, one port for both doors."""

import socket
import time

import pytest

import raw_grpc
from guarded import DOORS, INFER, NO, SERVICE, WHO, YES, authorization
from messages import MESSAGES

ELSEWHERE = {
    "Proxy-Authorization": "Bearer TOKEN",
    "X-Authorization": "Bearer TOKEN",
    "X-Forwarded-Authorization": "Bearer TOKEN",
    "X-Auth-Token": "TOKEN",
    "Cookie": "Authorization=Bearer TOKEN; token=TOKEN",
    "X-Forwarded-User": "root",
    "X-Remote-User": "root",
    "Remote-User": "root",
    "X-Forwarded-Client-Cert": 'Hash=00;Subject="CN=root"',
    "X-SSL-Client-S-DN": "CN=root",
    "X-User": "root",
    "X-Roles": "admin",
    "From": "root@example",
}


@pytest.fixture(scope="module")
def server(guard_all):
    return guard_all()


@pytest.fixture(scope="module")
def admin(issuer):
    return issuer.token("root", ["admin"])


@pytest.mark.parametrize("name", ELSEWHERE)
def test_who_somebody_is_stands_in_no_other_header(server, admin, name):
    for door in DOORS:
        said = server.ask(door, "metadata", [(name, ELSEWHERE[name].replace("TOKEN", admin))])
        assert said.word == WHO, door


def test_a_token_in_the_address_the_body_or_binary_metadata_is_none(server, admin):
    for query in (f"?access_token={admin}", f"?token={admin}", f"?Authorization=Bearer%20{admin}", f";jwt={admin}"):
        status = server.rest_call("GET", f"/v2/models/m/config{query}").status
        assert status in (401, 404) and admin not in server.log()
    form = [("Content-Type", "application/x-www-form-urlencoded")]
    assert server.rest_call("POST", "/v2/models/m/infer", form, f"access_token={admin}").status == 401
    metadata = [("authorization-bin", f"Bearer {admin}".encode())]
    assert server.grpc_call("ModelMetadata", MESSAGES["ModelMetadata"]("m"), metadata).word == WHO


@pytest.mark.parametrize("name", ["X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "X-Method-Override",
                                  "X-Forwarded-Prefix", "X-Forwarded-Host", "X-Custom-IP-Authorization"])
@pytest.mark.parametrize("value", ["/v2/health/live", "GET", "127.0.0.1"])
def test_no_header_leads_to_another_route(server, name, value):
    for path in ("/v2/models/m", "/metrics", "/openapi.json"):
        assert server.rest_call("GET", path, [(name, value)]).status == 401


@pytest.mark.parametrize("target", ["http://HOST/v2/models/m", "http://other/v2/models/m", "/v2/models/m?/v2/health/live",
                                    "/v2/models/m#/v2/health/live", "/%76%32/models/m", "/v2/models/%6d", "/v2/%6dodels/m"])
def test_no_form_of_a_target_is_open(server, issuer, target):
    target = target.replace("HOST", server.rest)
    assert server.rest_call("GET", target).status == 401
    assert server.rest_call("GET", target, authorization(issuer.bearer())).status == 200


def test_a_name_that_is_decoded_twice_or_holds_a_slash_is_decided_as_it_stands(guard, issuer, tmp_path):
    policy = tmp_path / "m.cedar"
    policy.write_text('permit(principal, action, resource == Model::"m");')
    server = guard("--policy-file", policy)
    bearer = authorization(issuer.bearer())
    for name in ("m%2f..%2fother", "other%2f..%2fm", "%256d", "m%00", "m%20", "M", "m%3f", "m%23", "m.", "./m", "m%0a"):
        for path in (f"/v2/models/{name}", f"/v2/models/{name}/config"):
            assert server.rest_call("GET", path, bearer).status in (403, 404), path
    for name in ("m\0", "m ", " m", "M", "m/", "./m", "m/../other", "m\n"):
        assert server.ask("grpc", "metadata", bearer, name).word == NO, name


def test_a_refusal_does_not_wait_for_the_body_or_the_message(guard, issuer, tmp_path):
    policy = tmp_path / "nobody.cedar"
    policy.write_text('permit(principal in Role::"admin", action, resource);')
    server = guard("--policy-file", policy)
    shown = {b"": b"401", b"Authorization: Bearer x\r\n": b"401",
             f"Authorization: {issuer.bearer()}\r\n".encode(): b"403"}
    for header, status in shown.items():
        since = time.monotonic()
        with socket.create_connection(("127.0.0.1", server.rest_port), 10) as connection:
            connection.sendall(b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 60000000\r\n" + header + b"\r\n")
            assert connection.recv(100).split()[1] == status
        assert time.monotonic() - since < 5
    for headers in ([], [("authorization", "Bearer x")]):
        since = time.monotonic()
        assert raw_grpc.call(server, "ModelInfer", None, headers).word == WHO
        assert time.monotonic() - since < 5


def test_a_refusal_on_a_connection_says_nothing_about_the_next_request(server, issuer):
    """Neither a permit nor a refusal outlives its request on a connection that is kept."""
    good, bad = f"Authorization: {issuer.bearer()}\r\n", "Authorization: Bearer x\r\n"
    with socket.create_connection(("127.0.0.1", server.rest_port), 10) as connection:
        sent = [good, "", bad, good, ""]
        connection.sendall("".join(f"GET /v2/models/m HTTP/1.1\r\nHost: x\r\n{head}\r\n" for head in sent).encode())
        seen = b""
        while seen.count(b"HTTP/1.1 ") < len(sent):
            data = connection.recv(65536)
            assert data
            seen += data
    assert [part[:3] for part in seen.split(b"HTTP/1.1 ")[1:]] == [b"200", b"401", b"401", b"200", b"401"]
    said = [server.ask("grpc", "metadata", headers).word
            for headers in (authorization(issuer.bearer()), [], authorization("Bearer x"), authorization(issuer.bearer()))]
    assert said == [YES, WHO, WHO, YES], "all of them on one channel"


SMUGGLED = {
    "two lengths": b"Content-Length: 2\r\nContent-Length: 60\r\n\r\n{}",
    "a length and chunks": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks spelt otherwise": b"Transfer-Encoding: xchunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "chunks twice": b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": b"Transfer-Encoding : chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_a_smuggled_request_is_not_answered_as_another_callers(server, admin, name):
    """What stands behind the odd body has no credential of its own, and gets no answer by that of the first."""
    hidden = b"POST /v2/repository/models/m/unload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    head = f"POST /v2/repository/index HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {admin}\r\n".encode()
    with socket.create_connection(("127.0.0.1", server.rest_port), 5) as connection:
        connection.sendall(head + SMUGGLED[name] + hidden)
        connection.shutdown(socket.SHUT_WR)
        seen = b""
        while data := connection.recv(65536):
            seen += data
    assert seen.count(b"HTTP/1.1 200") <= 1, seen
    assert server.ask("rest", "metadata", authorization(f"Bearer {admin}")).word == YES, "the model is still there"


def test_names_that_look_like_policy_are_names(server, issuer):
    for subject in ('root", action, resource); permit(principal', 'Role::"admin"', "admin", "root\x00", "*", "principal"):
        for roles in ((), ("admin\"",), ('Role::"admin"',), ("ADMIN",), ("admin ",), ("\u0430dmin",), ("admin\x00",), ("*",), ("user,admin",)):
            for door in DOORS:
                assert server.ask(door, "load", authorization(issuer.bearer(subject, roles))).word == NO, (subject, roles)


def test_on_one_port_each_door_is_as_closed_as_on_two(guard, issuer):
    server = guard(one_port=True)
    bearer = authorization(issuer.bearer())
    for door in DOORS:
        assert server.ask(door, "metadata").word == WHO
        assert server.ask(door, "metadata", authorization("Bearer x")).word == WHO
        assert server.ask(door, "metadata", bearer).word == YES
        assert server.ask(door, "load", bearer).word == NO
    grpc = [("Content-Type", "application/grpc")]
    for path in ("/v2/models/m/infer", f"/{SERVICE}/ModelInfer", f"/{SERVICE}/ModelMetadata", "/metrics", "/openapi.json"):
        for headers in (grpc, [("Content-Type", "application/json")], []):
            for method in ("GET", "POST"):
                reply = server.rest_call(method, path, headers, INFER)
                assert reply.status in (401, 404, 405, 415) or reply.headers.get("grpc-status") in ("12", "16"), (path, reply)
                assert b"OUT" not in reply.body, (path, reply)
