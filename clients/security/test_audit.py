"""The audit of the built binary: a line a request, a chain that shows what was done to it, a full disk."""

import contextlib
import hashlib
import hmac
import json
import re
import subprocess

import pytest

import raw_grpc
from guarded import ASKS, DOORS, NO, NOT_NOW, WHO, YES, authorization
from messages import MESSAGES
from oip_server import clean_environment, find_binary, run_to_exit

KEY = b"a key of the audit that has more than 32 bytes"
MEMBERS = {"seq", "time", "subject", "action", "ip", "path", "decision", "enforced", "reason", "pdp", "latency_us", "hmac"}


class Kept:
    """A server and its audit."""

    def __init__(self, guard, folder, *flags):
        self.file, self.key = folder / "audit", folder / "key"
        self.key.write_bytes(KEY)
        self.server = guard("--audit-file", self.file, "--audit-key-file", self.key, *flags)

    def lines(self):
        return [json.loads(line) for line in self.file.read_bytes().decode("ascii").splitlines()]

    def head(self):
        """The last head in the server's log, once it has stopped."""
        self.server.stop()
        return re.findall(r"audit head head=(\d+:[0-9a-f]+)", self.server.log())[-1]

    def verify(self, *flags, key=True, file=None):
        flags = [*(["--key-file", self.key] if key else []), *flags]
        command = [find_binary(), "audit", "verify", file or self.file, *flags]
        done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def kept(guard, tmp_path):
    return lambda *flags, folder=tmp_path: Kept(guard, folder, *flags)


def test_each_request_has_one_line_that_says_who_what_where_and_why(kept, issuer):
    audit = kept("--trusted-proxies", "127.0.0.1")
    callers = {"alice": authorization(issuer.bearer("alice")), "Anonymous": []}
    expected = []
    for door in DOORS:
        for subject, headers in callers.items():
            for what in ASKS:
                if what in ("live", "ready"):
                    continue
                more = [("X-Request-Id", f"{door}-{what}"), ("X-Forwarded-For", "192.0.2.7")]
                word = audit.server.ask(door, what, headers + more).word
                expected.append((subject, f"{door}-{what}", "permit" if word == YES else "deny"))
    lines = audit.lines()
    assert [(line["subject"], line["request_id"], line["decision"]) for line in lines] == expected
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    for line in lines:
        assert MEMBERS <= set(line) <= MEMBERS | {"model", "request_id"}, line
        assert line["ip"] == "192.0.2.7" and line["pdp"] == "embedded" and line["enforced"] is True
        assert line["reason"]
    # A stranger's call that nothing could permit is refused before the message that names the model.
    unread = [line for line in lines if "its message was not read" in line["reason"]]
    assert unread and all("model" not in line and line["subject"] == "Anonymous" for line in unread)


def test_an_open_probe_has_no_line_and_a_wrong_credential_has_one_that_names_nobody(kept):
    audit = kept()
    for door in DOORS:
        audit.server.ask(door, "live")
        audit.server.ask(door, "ready")
        assert audit.server.ask(door, "metadata", authorization("Bearer x")).word == WHO
    lines = audit.lines()
    assert [(line["subject"], line["action"], line["decision"]) for line in lines] == [("Anonymous", "metadata", "deny")] * 2
    assert all(line["pdp"] == "authentication" and line["reason"].startswith("authentication") for line in lines)
    # gRPC names the model in the message, which is not read.
    assert [line.get("model") for line in lines] == ["m", None]


def test_a_verified_chain_shows_each_change_and_a_cut_end_by_the_head(kept, issuer):
    audit = kept()
    for number in range(6):
        for door in DOORS:
            audit.server.ask(door, "metadata", authorization(issuer.bearer(f"caller-{number}")))
    head = audit.head()
    assert head.startswith("12:")
    code, said = audit.verify("--head", head)
    assert code == 0 and "12 lines" in said and "whole" in said and "note:" not in said, said
    whole = audit.file.read_text().splitlines(keepends=True)
    other = audit.file.with_name("other")

    def found(lines, *flags, **options):
        other.write_text("".join(lines))
        return audit.verify(*flags, file=other, **options)[0]

    changed = [line.replace("caller-2", "caller-7") for line in whole]
    renumbered = [re.sub(r'"seq":\d+', f'"seq":{at}', line) for at, line in enumerate(whole[:4] + whole[5:], 1)]
    for name, lines in {
        "a changed subject": changed,
        "a deny made a permit": [line.replace('"permit"', '"deny"', 1) for line in whole],
        "a missing line": whole[:4] + whole[5:],
        "a missing first line": whole[1:],
        "a missing line, renumbered": renumbered,
        "moved lines": whole[:3] + [whole[4], whole[3]] + whole[5:],
        "a line twice": whole[:3] + whole[2:],
        "a line put in": whole[:3] + ['{"seq":4,"subject":"root","decision":"permit","hmac":"00"}\n'] + whole[3:],
        "a torn line": whole[:5] + [whole[5][:40]],
        "a joined line": [*whole[:5], whole[5].rstrip("\n"), *whole[6:]],
        "an empty file": [],
    }.items():
        assert found(lines, "--head", head) == 1, name
    # A cut end is a shorter chain that is whole: only a head from the log shows it.
    assert found(whole[:-2]) == 0
    assert found(whole[:-2], "--head", head) == 1
    # Without the key an attacker can compute the chain anew; with it he cannot.
    assert found(rechained(changed), "--head", head) == 1


def rechained(lines):
    """The chain computed anew by somebody who lacks the key."""
    code, out = "0" * 64, []
    for line in lines:
        body = line[:line.rindex(',"hmac"')]
        code = hmac.new(b"guess", bytes.fromhex(code) + body.encode(), hashlib.sha256).hexdigest()
        out.append(f'{body},"hmac":"{code}"}}\n')
    return out


def test_without_key_and_head_verify_says_what_it_cannot_find(kept, issuer):
    audit = kept()
    audit.server.ask("rest", "metadata", authorization(issuer.bearer()))
    audit.server.stop()
    assert "--head" in audit.verify()[1]
    code, said = audit.verify(key=False)
    assert code == 0 and "--key-file" in said and "the audit is whole" not in said, said
    empty = audit.file.with_name("empty")
    empty.touch()
    code, said = audit.verify(file=empty)
    assert code == 0 and "no lines" in said and "whole" not in said, said
    wrong = audit.key.with_name("wrong")
    wrong.write_bytes(b"another key that has more than 32 bytes, too")
    assert audit.verify("--key-file", wrong, key=False)[0] == 1
    assert audit.verify(file=audit.file.with_name("none"))[0] == 2


def test_a_chain_goes_on_after_a_restart_and_not_with_another_key(kept, issuer, guard, tmp_path):
    audit = kept()
    audit.server.ask("rest", "metadata", authorization(issuer.bearer()))
    audit.server.stop()
    audit.server = guard("--audit-file", audit.file, "--audit-key-file", audit.key)
    audit.server.ask("grpc", "metadata", authorization(issuer.bearer()))
    head = audit.head()
    assert audit.verify("--head", head)[0] == 0 and head.startswith("2:")
    arguments = [str(find_binary()), "serve", "--rest-port", "0", "--grpc-port", "0", "--audit-file", str(audit.file)]
    ended = run_to_exit(arguments, env={"AUTH_SECRET": "x" * 40}, cwd=tmp_path)
    assert ended.returncode not in (0, 101) and str(audit.file) in ended.stdout


def test_a_torn_last_line_is_said_at_the_start_that_finds_it_and_the_audit_goes_on(kept, issuer):
    bearer, torn = authorization(issuer.bearer()), "the audit's last line is torn"
    audit = kept()
    assert audit.server.ask("rest", "metadata", bearer).word == YES
    audit.server.stop()
    with audit.file.open("a") as file:
        file.write('{"seq":2,"ti')
    for said in (1, 0):
        audit = kept()
        assert audit.server.ask("rest", "metadata", bearer).word == YES
        audit.server.stop()
        assert audit.server.log().count(torn) == said
    assert audit.verify()[0] == 1


def test_two_servers_do_not_keep_one_audit(kept, tmp_path):
    audit = kept()
    arguments = [str(find_binary()), "serve", "--rest-port", "0", "--grpc-port", "0",
                 "--audit-file", str(audit.file), "--audit-key-file", str(audit.key)]
    ended = run_to_exit(arguments, env={"AUTH_SECRET": "x" * 40}, cwd=tmp_path)
    assert ended.returncode not in (0, 101) and "another process" in ended.stdout


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_audit_in_the_log_is_verified_there(guard, issuer, tmp_path, form):
    """Without a file; `oip audit verify --log` finds its lines and heads among the others."""
    key = tmp_path / "key"
    key.write_bytes(KEY)
    logs = []
    for _ in range(2):
        server = guard("--audit-key-file", key, "--log-format", form, "--log-level", "debug")
        for door in DOORS:
            server.ask(door, "metadata", authorization(issuer.bearer()))
            server.ask(door, "load", authorization(issuer.bearer('bob"\n' + FORGED)))
            server.ask(door, "metadata", authorization("Bearer x"))
        server.stop()
        logs.append(server.log())
    # The collector of the cluster puts something before each line of text.
    whole = [("oip-0 " if form == "text" else "") + line for log in logs for line in log.splitlines()]
    file = tmp_path / "log"

    def verify(lines, *flags):
        file.write_text("\n".join(lines) + "\n")
        command = [find_binary(), "audit", "verify", "--log", file, "--key-file", key, *flags]
        done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    code, said = verify(whole)
    assert code == 0 and "12 lines" in said and "the audit is whole" in said, said
    last = [at for at, line in enumerate(whole) if "seq" in line and "hmac" in line]
    assert len(last) == 12
    for name, lines in {
        "a missing line": [line for at, line in enumerate(whole) if at != last[2]],
        "a cut end of a run": [line for at, line in enumerate(whole) if at != last[5]],
        "a cut end": [line for at, line in enumerate(whole) if at != last[11]],
        "a changed line": [line.replace("alice", "carol") if at == last[0] else line for at, line in enumerate(whole)],
    }.items():
        assert verify(lines)[0] == 1, name
    heads = re.findall(r"6:[0-9a-f]{64}", "\n".join(whole))
    assert len(heads) == 2 and all(verify(whole, "--head", head)[0] == 0 for head in heads)
    piped = subprocess.run([find_binary(), "audit", "verify", "--log", "-", "--key-file", key], env=clean_environment(),
                           input="\n".join(whole), capture_output=True, text=True)
    assert piped.returncode == 0, piped


FORGED = '{"seq":1,"subject":"root","decision":"permit"}'
INJECTED = ["bob\n" + FORGED, "bob\r\n" + FORGED, "bob\u2028" + FORGED, "bob\u0085x", "bob\x0bx", "bob\x1b[2J", "bob\0",
            'bob","decision":"permit","x":"', "bob\\", "b\u043eb", "\u202ebob", "\U0001f980"]


def test_no_subject_path_model_or_request_id_writes_a_line_of_its_own(kept, issuer):
    audit = kept("--log-level", "debug")
    server, plain = audit.server, authorization(issuer.bearer())
    expected = []
    for subject in INJECTED:
        for door in DOORS:
            server.ask(door, "load", authorization(issuer.bearer(subject)))
            expected.append(subject)
        # A model's name: percent-encoded in a path, as it is in a message.
        quoted = "".join(f"%{byte:02x}" for byte in subject.encode())
        server.rest_call("GET", f"/v2/models/{quoted}", plain)
        server.grpc_call("ModelMetadata", MESSAGES["ModelMetadata"](subject), [("authorization", plain[0][1])])
        expected += [(subject, "alice")] * 2
    for name in (b"id\xff", b"id\xc2\x85x", b"id\t" + FORGED.encode()):
        server.rest_call("GET", "/v2/models/m", [*plain, ("X-Request-Id", name)])
        raw_grpc.call(server, "ModelMetadata", MESSAGES["ModelMetadata"]("m"),
                      [("authorization", plain[0][1]), ("x-request-id", name)])
        expected += ["alice"] * 2
    whole = audit.file.read_bytes()
    assert all(0x20 <= byte <= 0x7E or byte == 0x0A for byte in whole)
    said = [(line.get("model"), line["subject"]) for line in audit.lines()]
    assert [one[1] for one in said] == [e if isinstance(e, str) else e[1] for e in expected]
    assert [one[0] for one, e in zip(said, expected) if not isinstance(e, str)] == [e[0] for e in expected if not isinstance(e, str)]
    head = audit.head()
    assert audit.verify("--head", head)[0] == 0
    # Nor into the server's log.
    log = server.log_path.read_bytes().decode("utf-8")
    assert not any(line.startswith(FORGED[:6]) for line in re.split("[\n\r\u2028\u0085\x0b]", log))
    assert not re.search("[\x00-\x08\x0b-\x1a\x1c-\x1f\u2028\u0085\u202e]", log)


def test_a_line_has_a_bound_whatever_is_sent(kept, issuer):
    audit = kept()
    long = "x" * 6000
    for door in DOORS:
        # The longest name that a model may have.
        audit.server.ask(door, "metadata", [*authorization(issuer.bearer(long)), ("X-Request-Id", long)], long[:1024])
    assert len(audit.lines()) == 2
    assert all(len(line) < 10_000 for line in audit.file.read_text().splitlines())


def test_an_audit_holds_no_query_and_no_claim(kept, issuer):
    audit = kept()
    bearer = authorization(issuer.bearer(email="alice@private.example"))
    audit.server.rest_call("GET", "/v2/models/m?token=hidden", bearer)
    text = audit.file.read_text()
    assert '"path":"/v2/models/m"' in text and "hidden" not in text and "private" not in text


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], capture_output=True)
    if made.returncode != 0:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(folder):
    with contextlib.suppress(OSError), open(folder / "filler", "wb", buffering=0) as filler:
        while True:
            filler.write(b"x" * 512)


@pytest.mark.parametrize("failure", ["refuse", "continue"])
def test_a_full_disk_refuses_or_lets_pass_as_it_was_configured(kept, issuer, small_disk, failure):
    again = kept("--audit-failure", failure, folder=small_disk)
    bearer = authorization(issuer.bearer())
    assert again.server.ask("rest", "metadata", bearer).word == YES
    fill(small_disk)
    lines = again.file.read_bytes().count(b"\n")
    for door in DOORS:
        for _ in range(12):
            word = again.server.ask(door, "metadata", bearer).word
        assert word == (NOT_NOW if failure == "refuse" else YES), door
        assert again.server.ask(door, "load", bearer).word == (NOT_NOW if failure == "refuse" else NO)
        assert again.server.ask(door, "live").word == YES
    again.server.wait_for_log("the audit cannot be written")
    (small_disk / "filler").unlink()
    for door in DOORS:
        assert again.server.ask(door, "metadata", bearer).word == YES
    head = again.head()
    assert again.verify("--head", head)[0] == 0, again.verify("--head", head)
    text = again.file.read_text()
    assert text.count("\n") >= lines + 2
    assert ("decisions before this line were not written down" in text) == (failure == "continue")


@pytest.mark.parametrize("failure", ["refuse", "continue"])
def test_a_device_that_is_always_full_refuses_or_lets_pass(guard, issuer, failure):
    server = guard("--audit-file", "/dev/full", "--audit-failure", failure)
    for door in DOORS:
        word = server.ask(door, "metadata", authorization(issuer.bearer())).word
        assert word == (NOT_NOW if failure == "refuse" else YES)
        assert server.ask(door, "metadata").word == (NOT_NOW if failure == "refuse" and door == "rest" else WHO)
    server.wait_for_log("the audit cannot be written")
