"""Every kind of key by which the built binary lets callers in, and how each changes while it runs."""

import hashlib
import json
import subprocess
import threading
import time

import pytest
from cryptography.hazmat.primitives import serialization as form

from credentials import ALGORITHMS, FURTHER, Issuer, claims
from guarded import DOORS, NOT_NOW, WHO, YES, authorization
from oip_server import clean_environment, find_binary, run_to_exit
from stub import Stub, http_answer

RELOAD_S = 6


def show(server, issuer, door="rest", **claims):
    return server.ask(door, "metadata", authorization(issuer.bearer(**claims))).word


def until(said, expected, limit=RELOAD_S):
    """Asks until the answer is the one expected."""
    end = time.monotonic() + limit
    while (last := said()) != expected:
        assert time.monotonic() < end, f"still {last!r} after {limit} s"
        time.sleep(0.1)


def key_set(*issuers):
    return json.dumps({"keys": [issuer.jwk() for issuer in issuers]})


def serves(*issuers):
    return lambda _: http_answer(key_set(*issuers))


@pytest.mark.parametrize("algorithm", ALGORITHMS + FURTHER)
@pytest.mark.parametrize("way", ["file", "environment", "properties"])
def test_a_key_lets_its_tokens_in_at_both_doors(guard, tmp_path, algorithm, way):
    issuer = Issuer(algorithm)
    text = issuer.key.decode() if issuer.is_shared else issuer.public_pem.decode()
    if way == "file":
        server = guard(*issuer.flags(tmp_path), keys=False)
    elif way == "environment":
        server = guard("--auth-algorithm", algorithm, keys=False, env={"AUTH_SECRET": text})
    else:
        escaped = text.replace("\n", "\\n")
        (tmp_path / "oip.properties").write_text(f"auth_algorithm={algorithm}\nauth_secret={escaped}\n")
        server = guard(keys=False, env={"KRAUSENING_BASE": str(tmp_path)})
    for door in DOORS:
        assert show(server, issuer, door) == YES
        assert show(server, Issuer("RS256" if issuer.is_shared else algorithm), door) == WHO
    assert text not in server.log()


class Provider:
    """A key set behind a URL."""

    def __init__(self, answer):
        self.stub = Stub(answer)

    def flags(self, *more):
        return ["--auth-algorithm", "ES256", "--auth-jwks-url", self.stub.url("/keys"), *more]


@pytest.fixture
def provider():
    made = []

    def of(answer):
        made.append(Provider(answer))
        return made[-1]

    yield of
    for one in made:
        one.stub.close()


def _endless(_):
    yield b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
    while True:
        yield b" " * 65536


EMPTY_OR_WRONG = {
    "silent": None,
    "slow": lambda issuer, stub: lambda _: stub.drip(http_answer(key_set(issuer))),
    "closing": lambda issuer, stub: lambda _: iter([b""]),
    "endless": lambda issuer, stub: _endless,
    "huge": lambda issuer, stub: lambda _: http_answer(key_set(issuer) + " " * (2 << 20)),
    "failing": lambda issuer, stub: lambda _: http_answer(key_set(issuer), "500 Oops"),
    "redirecting": lambda issuer, stub: lambda asked: (
        http_answer(key_set(issuer)) if "elsewhere" in asked.line
        else http_answer("", "302 Found", "text/plain", f"Location: {stub.url('/elsewhere')}")),
    "not found": lambda issuer, stub: lambda _: http_answer(key_set(issuer), "404 Not Found"),
    "HTML": lambda issuer, stub: lambda _: http_answer("<html></html>", "200 OK", "text/html"),
    "no set": lambda issuer, stub: lambda _: http_answer("{}"),
    "an empty set": lambda issuer, stub: lambda _: http_answer('{"keys": []}'),
    "another kind of key": lambda issuer, stub: serves(Issuer("RS256", issuer.kid)),
    "a key for encryption": lambda issuer, stub: lambda _: http_answer(
        json.dumps({"keys": [issuer.jwk() | {"use": "enc"}]})),
    "cut": lambda issuer, stub: lambda _: iter([http_answer(key_set(issuer))[:-9]]),
}


@pytest.mark.parametrize("fault", EMPTY_OR_WRONG)
def test_without_keys_nobody_is_let_in_and_nobody_waits_long(guard, provider, fault):
    issuer = Issuer("ES256", "one")
    behind = provider(None)
    make = EMPTY_OR_WRONG[fault]
    behind.stub.answer = make(issuer, behind.stub) if make else behind.stub.silence
    server = guard(*behind.flags("--auth-jwks-timeout", "0.5s"), keys=False)
    for door in DOORS:
        since = time.monotonic()
        # 503 where the provider is at fault; 401 where its set holds no key for this token.
        assert show(server, issuer, door) in (NOT_NOW, WHO)
        assert time.monotonic() - since < 5
        assert server.ask(door, "metadata").word == WHO
        assert server.ask(door, "live").word == YES
    assert not any("elsewhere" in asked.line for asked in behind.stub.asked)
    assert len(behind.stub.asked) <= 2, "whatever is sent here, the provider is left in peace"


@pytest.mark.parametrize(("named", "word"), [("ISSUER", YES), ("ISSUER/", NOT_NOW), ("https://id.example", NOT_NOW), ("", NOT_NOW)])
def test_discovery_is_held_to_the_issuer_that_was_configured(guard, provider, named, word):
    issuer = Issuer("ES256", "one")
    behind = provider(None)
    base = behind.stub.url("/realm")

    def answer(asked):
        if "openid-configuration" in asked.line:
            document = {"issuer": named.replace("ISSUER", base), "jwks_uri": behind.stub.url("/keys")}
            return http_answer(json.dumps(document))
        return http_answer(key_set(issuer))

    behind.stub.answer = answer
    server = guard("--auth-algorithm", "ES256", "--auth-issuer", base, keys=False)
    for door in DOORS:
        assert show(server, issuer, door, iss=base) == word
    if word == YES:
        assert show(server, issuer, iss="https://id.example") == WHO
        assert behind.stub.asked[0].line == "GET /realm/.well-known/openid-configuration HTTP/1.1"
    else:
        assert not any("/keys" in asked.line for asked in behind.stub.asked)


@pytest.mark.parametrize("uri", ["http://keys.example/set", "file:///etc/passwd", "//127.0.0.1/x", "", "gopher://x"])
def test_discovery_does_not_lead_to_an_address_that_is_not_https(guard, provider, uri):
    issuer = Issuer("ES256", "one")
    behind = provider(None)
    base = behind.stub.url("")
    behind.stub.answer = lambda _: http_answer(json.dumps({"issuer": base, "jwks_uri": uri}))
    server = guard("--auth-algorithm", "ES256", "--auth-issuer", base, keys=False)
    assert show(server, issuer, iss=base) == NOT_NOW


def new_key(*arguments):
    """A key, and the line for the file."""
    made = subprocess.run([find_binary(), "apikey", "new", *arguments], env=clean_environment(),
                          check=True, capture_output=True, text=True)
    return made.stdout.strip().split("\n")


def test_an_api_key_lets_in_whom_it_names_and_nothing_like_it_does(guard, tmp_path):
    (key, line), (admin, admins) = new_key("--id", "batch"), new_key("--id", "root", "--role", "admin")
    file = tmp_path / "keys"
    file.write_text(f"# machines\n{line}\n\n{admins}\n")
    server = guard("--auth-api-keys-file", file, keys=False)

    def shown(door, what="metadata", **headers):
        return server.ask(door, what, [(name.replace("_", "-"), value) for name, value in headers.items()]).word

    for door in DOORS:
        assert shown(door, X_API_Key=key) == YES
        assert shown(door, "load", X_API_Key=key) == "no"
        assert shown(door, "load", X_API_Key=admin) == YES
        for wrong in (key[:-1], key + "x", key.upper(), "", line, line.split()[0], hashlib.sha256(key.encode()).hexdigest()):
            assert shown(door, X_API_Key=wrong) == WHO, wrong
        assert server.ask(door, "metadata", [("X-API-Key", key)] * 2).word == WHO
        assert server.ask(door, "metadata", [("X-API-Key", key), ("X-API-Key", "x")]).word == WHO
        # The token is looked at first, and what does not hold is not passed over for the key.
        for value in ("Bearer x", "Basic eDp5", f"Bearer {key}", key):
            assert shown(door, Authorization=value, X_API_Key=key) == WHO, value
    assert key not in server.log() and admin not in server.log()


def test_an_api_key_in_the_address_is_no_credential(guard, tmp_path):
    key, line = new_key("--id", "batch")
    (tmp_path / "keys").write_text(line)
    server = guard("--auth-api-keys-file", tmp_path / "keys", keys=False)
    for query in (f"?api_key={key}", f"?x-api-key={key}", f"?access_token={key}"):
        assert server.rest_call("GET", f"/v2/models/m{query}").status == 401
    assert key not in server.log()


REFUSED_STARTS = {
    "no key": ([], {}, "auth_secret"),
    "a blank secret": ([], {"AUTH_SECRET": "  "}, "auth_secret"),
    "algorithm none": (["--auth-algorithm", "none"], {"AUTH_SECRET": "x" * 40}, "none"),
    "algorithm NONE among others": (["--auth-algorithm", "HS256,NONE"], {"AUTH_SECRET": "x" * 40}, "none"),
    "ES512": (["--auth-algorithm", "ES512"], {"AUTH_SECRET": "x" * 40}, "ES512"),
    "a secret for RS256": (["--auth-algorithm", "RS256"], {"AUTH_SECRET": "x" * 40}, "auth_secret"),
    "HS and RS at once": (["--auth-algorithm", "HS256,RS256"], {"AUTH_SECRET": "x" * 40}, "auth_algorithm"),
    "a key set by plain HTTP": (["--auth-algorithm", "RS256", "--auth-jwks-url", "http://id.example/keys"], {}, "https"),
    "a key set with a password": (["--auth-algorithm", "RS256", "--auth-jwks-url", "https://u:p4ss@id.example/"], {}, "password"),
    "an issuer by plain HTTP": (["--auth-algorithm", "RS256", "--auth-issuer", "http://id.example"], {}, "https"),
}


@pytest.mark.parametrize("name", REFUSED_STARTS)
def test_a_start_that_could_not_check_callers_is_refused(tmp_path, name):
    flags, environment, word = REFUSED_STARTS[name]
    arguments = [str(find_binary()), "serve", "--rest-port", "0", "--grpc-port", "0", *flags]
    ended = run_to_exit(arguments, env=environment, cwd=tmp_path)
    assert ended.returncode not in (0, 101), ended.stdout
    error = [line for line in ended.stdout.splitlines() if line.startswith("error")]
    assert len(error) == 1 and word in error[0], ended.stdout
    assert "x" * 40 not in ended.stdout and "p4ss" not in ended.stdout


@pytest.mark.parametrize("kind", ["private", "HS256"])
def test_a_key_of_the_wrong_kind_refuses_to_start_and_is_not_shown(tmp_path, kind):
    issuer = Issuer("RS256")
    pem = issuer.key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    (tmp_path / "key").write_bytes(pem if kind == "private" else issuer.public_pem)
    option = ["--auth-secret-file" if kind == "HS256" else "--auth-key-file", str(tmp_path / "key")]
    arguments = [str(find_binary()), "serve", "--rest-port", "0", "--grpc-port", "0",
                 "--auth-algorithm", "RS256" if kind == "private" else "HS256", *option]
    ended = run_to_exit(arguments, cwd=tmp_path)
    assert ended.returncode not in (0, 101), ended.stdout
    assert pem.decode().splitlines()[3] not in ended.stdout


class Changing:
    """A file of keys, and the server that reads it."""

    def __init__(self, file, server, old, new, wrong, asks):
        self.file, self.server, self.old, self.new, self.wrong = file, server, old, new, wrong
        self.asks = asks

    def lets(self, door="rest"):
        """What holders of the old and of the new key are told."""
        old, new = self.asks
        return self.server.ask(door, "metadata", old()).word, self.server.ask(door, "metadata", new()).word


@pytest.fixture
def changing(guard, tmp_path):
    """One of each kind of file that is read again while the server runs."""
    kinds = {}

    def add(name, flags, old, new, wrong, *asks):
        file = tmp_path / name
        file.write_bytes(old)
        kinds[name] = Changing(file, guard(*flags, file, keys=False), old, new, wrong, asks)

    def shows(issuer):
        return lambda: authorization(issuer.bearer())

    one, two = Issuer("HS256"), Issuer("HS256")
    two.key = b"another secret of more than thirty-two bytes"
    add("secret", ["--auth-secret-file"], one.key, two.key, b"", shows(one), shows(two))
    one, two = Issuer("EdDSA"), Issuer("EdDSA")
    flags = ["--auth-algorithm", "EdDSA", "--auth-key-file"]
    add("key", flags, one.public_pem, two.public_pem, one.public_pem[:40], shows(one), shows(two))
    one, two = Issuer("ES256", "one"), Issuer("ES256", "two")
    flags = ["--auth-algorithm", "ES256", "--auth-jwks-file"]
    add("set", flags, key_set(one).encode(), key_set(two).encode(), b"{", shows(one), shows(two))
    (one, line), (two, other) = new_key("--id", "one"), new_key("--id", "two")
    asks = (lambda: [("X-API-Key", one)]), (lambda: [("X-API-Key", two)])
    add("apikeys", ["--auth-api-keys-file"], f"{line}\n".encode(), f"#\n{other}\n".encode(), b"no key", *asks)
    return kinds


@pytest.mark.parametrize("configured", ["EdDSA", "Ed25519"])
def test_a_key_of_ed25519_and_its_tokens_may_call_their_algorithm_by_either_name(guard, tmp_path, configured):
    """RFC 9864 names it Ed25519; RFC 8037 called it EdDSA."""
    old, new = Issuer("EdDSA", "old"), Issuer("EdDSA", "new")
    keys = {"keys": [old.jwk(), new.jwk() | {"alg": "Ed25519"}]}
    (tmp_path / "keys").write_text(json.dumps(keys))
    server = guard("--auth-algorithm", configured, "--auth-jwks-file", tmp_path / "keys", keys=False)
    for signer in (old, new):
        for name, word in (("EdDSA", YES), ("Ed25519", YES), ("ed25519", WHO), ("Ed448", WHO)):
            token = signer.compact(signer.header(alg=name), claims())
            assert server.ask("rest", "metadata", authorization(f"Bearer {token}")).word == word, name


def test_a_key_that_changes_changes_who_is_let_in_and_a_wrong_file_leaves_the_old(changing):
    for name, kind in changing.items():
        assert kind.lets() == (YES, WHO), name
        kind.file.write_bytes(kind.wrong)
    time.sleep(2.5)
    for name, kind in changing.items():
        assert kind.lets() == (YES, WHO), name
        assert kind.file.name in kind.server.log(), f"{name}: the log says which file is wrong"
        kind.file.unlink()
    time.sleep(2.5)
    for name, kind in changing.items():
        assert kind.lets("grpc") == (YES, WHO), name
        kind.file.write_bytes(kind.new)
    for name, kind in changing.items():
        # What was remembered of the old key goes with it.
        until(kind.lets, (WHO, YES))
        assert kind.lets("grpc") == (WHO, YES), name


def test_a_kid_that_is_not_in_the_set_does_not_hold_by_the_right_key(guard, tmp_path):
    issuer = Issuer("ES256", "one")
    (tmp_path / "keys.json").write_text(key_set(issuer))
    server = guard("--auth-algorithm", "ES256", "--auth-jwks-file", tmp_path / "keys.json", keys=False)
    assert show(server, issuer) == YES
    for kid in ("three", "", "../../dev/null", "one'--"):
        for door in DOORS:
            token = issuer.compact(issuer.header(kid=kid), claims())
            assert server.ask(door, "metadata", authorization(f"Bearer {token}")).word == WHO, kid


@pytest.fixture(scope="module", autouse=True)
def rotation(guard_all):
    """Two servers before providers of their own, watched from the first test of this module on: the
    least time between two fetches is 10 s."""
    stale, turned = Provider(None), Provider(None)
    one = Issuer("ES256", "one")
    for behind in (stale, turned):
        behind.stub.answer = serves(one)
    without = guard_all(*stale.flags("--auth-jwks-refresh", "1s", "--auth-jwks-stale", "12s"), keys=False)
    server = guard_all(*turned.flags(), keys=False)
    begun, seen = time.monotonic(), []
    assert show(without, one) == show(server, one) == YES
    stale.stub.down()

    def watch():
        while time.monotonic() < begun + 14:
            seen.append((time.monotonic() - begun, show(without, one)))
            time.sleep(0.5)

    watcher = threading.Thread(target=watch)
    watcher.start()
    yield {"one": one, "seen": seen, "watcher": watcher, "without": without,
           "server": server, "turned": turned}
    watcher.join()
    for behind in (stale, turned):
        behind.stub.close()


def test_keys_outlive_their_provider_for_a_while_and_then_nobody_is_let_in(rotation):
    rotation["watcher"].join()
    assert {word for at, word in rotation["seen"] if at < 11} == {YES}
    assert {word for at, word in rotation["seen"] if at > 13} == {NOT_NOW}
    bearer = authorization(rotation["one"].bearer())
    assert rotation["without"].ask("grpc", "metadata", bearer).word == NOT_NOW
    assert "the key set could not be refreshed" in rotation["without"].log()


def test_a_new_kid_is_fetched_and_a_withdrawn_key_no_longer_holds(rotation):
    one, two, server, turned = rotation["one"], Issuer("ES256", "two"), rotation["server"], rotation["turned"]
    rotation["watcher"].join()
    assert len(turned.stub.asked) == 1
    turned.stub.answer = serves(two)
    assert show(server, two, "grpc") == YES
    assert show(server, one) == WHO
    # A kid that is not known asks the provider, but not more often than every ten seconds.
    for _ in range(20):
        assert show(server, Issuer("ES256", "guessed")) == WHO
    assert len(turned.stub.asked) == 2
