"""What stands behind the server and is asked over TLS: key sets and decision points, with the right
authority and with wrong ones; and the documented configuration of a Kubernetes cluster, as it stands."""

import http.client
import json
import re
import ssl

import pytest

from certificates import Authority
from credentials import Issuer
from decision_points import DIALECTS, permit, saying
from guarded import DOORS, NOT_NOW, YES, authorization
from oip_server import ROOT, find_binary, run_to_exit
from stub import Stub, http_answer


@pytest.fixture
def behind(tmp_path):
    """Makes stubs with TLS: an authority's certificate for an address, and what is answered."""
    made = []

    def of(answer, host="127.0.0.1", authority=None):
        folder = tmp_path / f"behind-{len(made)}"
        folder.mkdir()
        stub = Stub(answer, (authority or Authority()).serving(folder, host))
        made.append(stub)
        return stub, folder / "ca.pem"

    yield of
    for stub in made:
        stub.close()


def key_set(issuer):
    return json.dumps({"keys": [issuer.jwk()]})


# whose authority is trusted, and for which address the certificate is
TRUST = {"the right authority": ("own", "127.0.0.1"), "another authority": ("other", "127.0.0.1"),
         "the system's authorities": (None, "127.0.0.1"), "a certificate of another host": ("own", "127.0.0.2")}


def ca_flags(option, whose, own, folder):
    if whose is None:
        return []
    if whose == "other":
        (folder / "other").mkdir()
        Authority("authority").serving(folder / "other")
        return [option, folder / "other/ca.pem"]
    return [option, own]


@pytest.mark.parametrize("trust", TRUST)
def test_a_key_set_is_fetched_over_tls_from_whom_the_right_authority_vouches_for_alone(guard, behind, tmp_path, trust):
    whose, host = TRUST[trust]
    issuer = Issuer("ES256", "one")
    stub, own = behind(lambda _: http_answer(key_set(issuer)), host)
    flags = ca_flags("--auth-jwks-ca-file", whose, own, tmp_path)
    server = guard("--auth-algorithm", "ES256", "--auth-jwks-url", stub.url("/keys"), *flags, keys=False)
    expected = YES if trust == "the right authority" else NOT_NOW
    for door in DOORS:
        assert server.ask(door, "metadata", authorization(issuer.bearer())).word == expected
    assert bool(stub.asked) == (expected == YES), "nothing is asked of whom nobody vouches for"


@pytest.mark.parametrize("trust", TRUST)
@pytest.mark.parametrize("name", DIALECTS)
def test_a_decision_point_is_asked_over_tls_where_the_right_authority_vouches_for_it_alone(
        guard, behind, tmp_path, issuer, name, trust):
    whose, host = TRUST[trust]
    dialect = DIALECTS[name]
    stub, own = behind(saying(permit(dialect), "200 OK", dialect.media), host)
    flags = ca_flags("--pdp-ca-file", whose, own, tmp_path)
    server = guard("--pdp", name, "--pdp-url", stub.url(dialect.path), *flags)
    expected = YES if trust == "the right authority" else NOT_NOW
    for door in DOORS:
        assert server.ask(door, "infer", authorization(issuer.bearer())).word == expected
    assert bool(stub.asked) == (expected == YES), "nobody learns who asks for what"


def test_a_decision_point_is_shown_the_token_of_its_file_and_no_callers(guard, behind, tmp_path, issuer):
    dialect = DIALECTS["opa"]
    stub, ca = behind(saying(permit(dialect)))
    file = tmp_path / "token"
    file.write_text("the-first-token\n")
    server = guard("--pdp", "opa", "--pdp-url", stub.url(""), "--pdp-ca-file", ca, "--pdp-token-file", file,
                   "--log-level", "trace", "--audit-file", tmp_path / "audit")
    bearer = issuer.bearer()
    for token in ("the-first-token", "the-second-token"):
        file.write_text(token)
        for door in DOORS:
            assert server.ask(door, "infer", authorization(bearer)).word == YES
            assert stub.asked[-1].header("Authorization") == f"Bearer {token}"
    file.unlink()
    for door in DOORS:
        assert server.ask(door, "infer", authorization(bearer)).word == NOT_NOW
    assert len(stub.asked) == 4, "without the token nothing is asked"
    written = server.log() + (tmp_path / "audit").read_text()
    assert "-token" not in written.replace("--pdp-token", "") and "Bearer" not in written


@pytest.mark.parametrize(("option", "content"), [("pdp-token-file", None), ("pdp-token-file", " \n"), ("pdp-token-file", "a b"),
                                                 ("pdp-ca-file", None), ("pdp-ca-file", "no certificate")])
def test_a_file_for_the_decision_point_that_is_none_refuses_to_start_by_its_name(tmp_path, option, content):
    file = tmp_path / "file"
    if content is not None:
        file.write_text(content)
    command = [str(find_binary()), "serve", "--rest-port", "0", "--grpc-port", "0", "--pdp", "opa",
               "--pdp-url", "https://127.0.0.1:1", f"--{option}", str(file)]
    ended = run_to_exit(command, env={"AUTH_SECRET": "x" * 40}, cwd=tmp_path)
    assert ended.returncode not in (0, 101)
    assert option.replace("-", "_") in ended.stdout and str(file) in ended.stdout, ended.stdout


def documented():
    """The properties of the chapter on Kubernetes, as they stand in the documentation."""
    text = (ROOT / "docs/security.md").read_text()
    chapter = text[text.index("### A Kubernetes service account"):]
    block = re.search(r"```properties\n(.*?)```", chapter, re.DOTALL)[1]
    return "\n".join(line.strip() for line in block.splitlines())


def test_the_documented_configuration_of_a_kubernetes_cluster_lets_its_service_accounts_in(guard, behind, tmp_path):
    cluster = Issuer("RS256", "cluster-key")
    own_token = "the-servers-own-service-account-token"

    def api_server(asked):
        if asked.line != "GET /openid/v1/jwks HTTP/1.1":
            return http_answer("{}", "404 Not Found")
        if asked.header("Authorization") != f"Bearer {own_token}":
            return http_answer("{}", "401 Unauthorized")
        return http_answer(key_set(cluster), "200 OK", "application/jwk-set+json")

    stub, ca = behind(api_server)
    pod, tls = tmp_path / "pod", tmp_path / "tls"
    for folder in (pod, tls):
        folder.mkdir()
    (pod / "ca.crt").write_bytes(ca.read_bytes())
    (pod / "token").write_text(own_token)
    Authority("of the server").serving(tls)
    settings = documented()
    for there, here in {"/var/run/secrets/kubernetes.io/serviceaccount": str(pod), "/etc/oip/tls": str(tls),
                        "https://kubernetes.default.svc/": stub.url("/"), "= 0.0.0.0": "= 127.0.0.1"}.items():
        assert there in settings, there
        settings = settings.replace(there, here)
    (tmp_path / "oip.properties").write_text(settings)
    audit = tmp_path / "audit"
    server = guard("--audit-file", audit, keys=False, wait=None, env={"KRAUSENING_BASE": str(tmp_path)})
    context = ssl.create_default_context(cafile=tls / "ca.pem")

    def status(*token, method="GET", path="/v2/models/m"):
        connection = http.client.HTTPSConnection("127.0.0.1", server.rest_port, timeout=10, context=context)
        connection.request(method, path, None, {"Authorization": f"Bearer {one}" for one in token})
        answer = connection.getresponse().status
        connection.close()
        return answer

    account = {"kubernetes.io": {"namespace": "ml", "serviceaccount": {"name": "client", "uid": "1"}}}
    subject, issuer = "system:serviceaccount:ml:client", "https://kubernetes.default.svc.cluster.local"
    held = {"subject": subject, "roles": (), "iss": issuer, "aud": ["oip"], **account}
    assert status(cluster.token(**held)) == 200
    assert status(cluster.token(**held), method="POST", path="/v2/repository/models/m/unload") == 403
    assert status() == 401
    for other in ({"aud": ["https://kubernetes.default.svc.cluster.local"]}, {"iss": "https://other.cluster"}):
        assert status(cluster.token(**held | other)) == 401, other
    assert status(Issuer("RS256", "cluster-key").token(**held)) == 401
    assert json.loads(audit.read_text().splitlines()[0])["subject"] == subject
    assert [asked.line for asked in stub.asked] == ["GET /openid/v1/jwks HTTP/1.1"]
    log = server.log()
    assert own_token not in log and "LISTENING BEYOND" not in log
