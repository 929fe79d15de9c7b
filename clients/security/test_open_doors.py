"""Who leaves a door open is told, by the addresses that are listened at and not by those configured."""

import fcntl
import json
import os
import signal
import socket
import subprocess

import pytest

from oip_server import clean_environment, find_binary, free_port, run_to_exit, serve_arguments

OFF, SHADOW = ("--auth-enabled", "false"), ("--policy-mode", "shadow")
LOUD = "AUTHENTICATION IS OFF AND THIS SERVER LISTENS BEYOND THIS MACHINE"
PLAIN = "LISTENING BEYOND THIS MACHINE WITHOUT TLS"
HERE = "AUTHENTICATION IS OFF: everyone on this machine"


def said(models, folder, *flags, handed=None):
    """What a server logs until it listens; `handed` is the address of a socket that it is handed."""
    environment = clean_environment({"AUTH_SECRET": "x" * 40})
    command = serve_arguments(models, free_port(), free_port(), True, ["--onnxruntime-library", "off", *flags])
    script, given = 'exec "$@"', []
    if handed:
        listener = socket.create_server((handed, 0))
        given = [fcntl.fcntl(listener.fileno(), fcntl.F_DUPFD, 10)]
        listener.close()
        environment |= {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "oip"}
        script = f'export LISTEN_PID=$$; exec "$@" 3<&{given[0]}'
    with subprocess.Popen(["bash", "-c", script, "bash", *command], env=environment, cwd=folder, pass_fds=given,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for descriptor in given:
            os.close(descriptor)
        try:
            text = ""
            # The last thing that a start says.
            while "Try it" not in text and (line := process.stdout.readline()):
                text += line
            process.send_signal(signal.SIGTERM)
            return text + process.communicate(timeout=20)[0]
        finally:
            process.kill()


@pytest.mark.parametrize(("flags", "handed", "expected"), [
    (OFF, None, {HERE}),
    (OFF, "127.0.0.1", {HERE}),
    (OFF, "0.0.0.0", {LOUD, PLAIN}),
    ((), "0.0.0.0", {PLAIN}),
    # What is configured is not listened at.
    ((*OFF, "--rest-host", "0.0.0.0"), "127.0.0.1", {HERE}),
    ((*OFF, "--metrics-port", "0", "--metrics-host", "0.0.0.0"), None, {HERE, PLAIN, "AUTHENTICATION IS OFF AND /metrics"}),
    (SHADOW, None, {"THE POLICY REFUSES NOBODY: everyone on this machine"}),
    (SHADOW, "0.0.0.0", {"THE POLICY REFUSES NOBODY AND THIS SERVER LISTENS BEYOND THIS MACHINE", PLAIN}),
], ids=str)
def test_an_open_door_is_warned_about_and_louder_beyond_this_machine(models, tmp_path, flags, handed, expected):
    log = said(models, tmp_path, *flags, handed=handed)
    everything = {HERE, LOUD, PLAIN, "AUTHENTICATION IS OFF AND /metrics", "THE POLICY REFUSES NOBODY: everyone on this machine",
                  "THE POLICY REFUSES NOBODY AND THIS SERVER LISTENS BEYOND THIS MACHINE"}
    assert {sentence for sentence in everything if sentence in log} == expected, log


@pytest.mark.parametrize(("flags", "part"), [
    (OFF, HERE),
    ((*OFF, "--rest-host", "0.0.0.0"), LOUD),
    (SHADOW, "THE POLICY REFUSES NOBODY"),
    (("--trusted-proxies", "0.0.0.0/0"), "trusted_proxies holds every address"),
    (("--auth-require-exp", "false"), "holds for ever"),
    (("--auth-leeway", "1h"), "auth_leeway"),
    (("--policy-file", "EMPTY"), "policy_file holds no policy"),
    ((), None),
], ids=str)
def test_a_check_of_the_configuration_tells_what_a_start_would(models, tmp_path, flags, part):
    empty = tmp_path / "empty.cedar"
    empty.write_text("// nobody")
    flags = [str(empty) if flag == "EMPTY" else flag for flag in flags]
    env = {"AUTH_SECRET": "x" * 40}
    checked = run_to_exit([str(find_binary()), "config", "check", *flags], env=env, cwd=tmp_path)
    assert checked.returncode == 0
    warnings = [line for line in checked.stdout.splitlines() if line.startswith("warning: ")]
    if part is None:
        assert warnings == []
        return
    assert sum(part in line for line in warnings) == 1, checked.stdout
    if "--rest-host" not in flags:
        assert part in said(models, tmp_path, *flags)


def test_the_warnings_stand_in_a_log_of_json_too(models, tmp_path):
    command = serve_arguments(models, 0, 0, False, ["--log-format", "json", "--onnxruntime-library", "off"])
    with subprocess.Popen(command, env=clean_environment(), cwd=tmp_path, stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            found = next(event for line in process.stderr if HERE in (event := json.loads(line))["message"])
            assert found["level"] == "WARN"
        finally:
            process.kill()
