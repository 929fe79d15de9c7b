"""The command `oip` that the package brings."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from oip import _programs, cli
from oip._workers import default_threads

HANDLER = """
from oip import *

class Answers(ModelHandler):
    def infer(self, payload, model_name, model_version=None):
        return {"y": [ANSWER]}
"""
FORMS = {
    "a class": "",
    "an original's server": "fastapi_server = AissembleOIPFastAPI(Answers()).server",
    "a service": "grpc = AissembleOIPGrpc(Answers())",
    "a server": "anything = Server(Answers(), threads=2)",
    "a function": "del Answers\n@model('m')\ndef answer(x):\n    return {'y': [ANSWER]}",
}
DOOR = r'(?:REST  http://|"rest":")(127.0.0.1:\d+)'
BODY = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}]}'


@contextmanager
def serving(
    *arguments: str, environment: dict[str, str] | None = None, alone: bool = False
) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    command = [sys.executable, "-m", "oip.cli", "serve", *arguments]
    command += ["--rest-port", "0", "--grpc-port", "0", "--auth-enabled", "false"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**({} if alone else os.environ), **(environment or {})},
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(DOOR, line):
                yield f"http://{found[1]}", process
                break
        else:
            pytest.fail("the server ended")
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        finally:
            process.kill()


def ask(url: str) -> str:
    for _ in range(100):
        try:
            with urllib.request.urlopen(f"{url}/v2/models/m/infer", BODY, timeout=10) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            # Asked again and again, a handler that fails would fill the pipe of its log.
            if error.code == 500:
                return error.read().decode()
            time.sleep(0.05)
        except OSError:
            time.sleep(0.05)
    return "nothing"


@pytest.mark.parametrize("form", FORMS)
def test_a_program_is_served_whatever_its_form(tmp_path: Path, form: str) -> None:
    program = tmp_path / "main.py"
    program.write_text((HANDLER + FORMS[form]).replace("ANSWER", "5"))
    with serving(str(program)) as (url, process):
        assert '"data":[5]' in ask(url)
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "served"),
    [(["--reload", "true"], ""), ([], "server = Server(Answers(), reload=True)")],
)
def test_a_changed_program_is_served_anew(
    tmp_path: Path, arguments: list[str], served: str
) -> None:
    program = tmp_path / "main.py"
    program.write_text(HANDLER.replace("ANSWER", "1") + served)
    with serving(str(program), *arguments) as (url, process):
        assert '"data":[1]' in ask(url)
        program.write_text(HANDLER.replace("ANSWER", "2") + served)
        assert process.stdout is not None
        giving_up = threading.Timer(30, process.kill)
        giving_up.start()
        for line in process.stdout:
            if found := re.search(DOOR, line):
                assert '"data":[2]' in ask(f"http://{found[1]}")
                break
        else:
            pytest.fail("it did not begin again")
        giving_up.cancel()


def test_what_is_installed_below_a_program_is_not_looked_at(tmp_path: Path) -> None:
    own = ["main.py", "inner/deep.py"]
    installed = ["env/lib/a.py", ".hidden/b.py", "node_modules/gyp/c.py", "inner/__pycache__/d.py"]
    for name in [*own, *installed, "env/pyvenv.cfg", "inner/notes.txt"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert {file for file, _ in _programs._files(tmp_path)} == {tmp_path / name for name in own}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "has nothing to serve"),
        (HANDLER + "class Other(ModelHandler): pass", "several handlers .Answers, Other."),
        ("raise KeyError('lost')", "lost"),
    ],
)
def test_a_program_that_cannot_be_served_says_why(
    tmp_path: Path, text: str, message: str
) -> None:
    program = tmp_path / "main.py"
    program.write_text(text)
    command = [sys.executable, "-m", "oip.cli", "serve", str(program), "--auth-enabled", "false"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert ended.returncode == 2
    assert re.search(message, ended.stderr), ended.stderr


PIDS = """
import os
from oip import *

class Answers(ModelHandler):
    def infer(self, payload, model_name, model_version=None):
        return {"y": [os.getpid()]}

SERVED
"""
SERVED = {
    "a class": "",
    "an object": "handler = Answers()",
    "a server": "server = Server(Answers)",
    "a function": "del Answers\n@model('m')\ndef answer(x):\n    return {'y': [os.getpid()]}",
}


@pytest.mark.parametrize("form", SERVED)
def test_processes_share_a_program(tmp_path: Path, form: str) -> None:
    program = tmp_path / "main.py"
    program.write_text(PIDS.replace("SERVED", SERVED[form]))
    with serving(str(program), "--workers", "1") as (url, process):
        pid = int(re.findall(r'"data":\[(\d+)\]', ask(url))[0])
        assert pid != process.pid and Path(f"/proc/{pid}").exists()
    assert process.returncode == 0
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists():
            break
        time.sleep(0.05)
    else:
        pytest.fail("a process was left behind")


IN_THIS_PROCESS_AND_IN_OTHERS = pytest.mark.parametrize("workers", [(), ("--workers", "1")])


@IN_THIS_PROCESS_AND_IN_OTHERS
def test_a_program_logs_in_the_form_that_is_set(tmp_path: Path, workers: tuple[str, ...]) -> None:
    program = tmp_path / "main.py"
    program.write_text(HANDLER.replace("[ANSWER]", "[1 / 0]"))
    (tmp_path / "oip.properties").write_text("log_format=json\n")
    environment = {"KRAUSENING_BASE": str(tmp_path)}
    with serving(str(program), *workers, environment=environment) as (url, process):
        ask(url)
        assert process.stdout is not None
        for line in process.stdout:
            if "ZeroDivisionError" in line:
                break
        said = json.loads(line)
    assert said["level"] == "ERROR" and said["target"] == "oip.handler"
    assert said["message"] == "infer of model 'm': ZeroDivisionError"
    assert "Traceback" in said["traceback"] and said["timestamp"].endswith("Z")


SETTINGS = """
from oip import *

class Answers(ModelHandler):
    def infer(self, payload, model_name, model_version=None):
        return {"y": [5]}

SERVED
"""


@pytest.mark.parametrize(
    "served",
    [
        'server = Server(Answers(), model_name="m", tensors_limit=1)',
        'service = AissembleOIPKServe("m", Answers(), tensors_limit=1)',
    ],
)
def test_what_a_program_says_of_its_server_counts(tmp_path: Path, served: str) -> None:
    program = tmp_path / "main.py"
    program.write_text(SETTINGS.replace("SERVED", served))
    first = BODY.removeprefix(b'{"inputs":[').removesuffix(b"]}")
    two = b'{"inputs":[' + first + b"," + first.replace(b'"x"', b'"z"') + b"]}"
    with serving(str(program), environment={"OIP_TENSORS_LIMIT": "9"}) as (url, process):
        assert '"data":[5]' in ask(url)
        with pytest.raises(urllib.error.HTTPError) as other:
            urllib.request.urlopen(f"{url}/v2/models/other/infer", BODY, timeout=10)
        assert other.value.code == 404
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{url}/v2/models/m/infer", two, timeout=10)
        assert refused.value.code in (400, 413)
    with serving(str(program), "--model-name", "n", "--tensors-limit", "2") as (url, _):
        url = f"{url}/v2/models/n/infer"
        for _ in range(100):
            try:
                with urllib.request.urlopen(url, two, timeout=10) as answer:
                    assert answer.status == 200
                break
            except urllib.error.HTTPError as error:
                assert error.code == 503
                time.sleep(0.05)


def test_a_program_may_switch_authentication_off_itself(tmp_path: Path) -> None:
    program = tmp_path / "main.py"
    program.write_text(
        SETTINGS.replace("SERVED", "server = Server(Answers(), auth_enabled=False, rest_prot=1)")
    )
    command = [sys.executable, "-m", "oip.cli", "serve", str(program)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert ended.returncode == 2 and "'rest_prot'" in ended.stderr, ended.stderr


def test_a_handler_for_every_name_is_announced_as_one(tmp_path: Path) -> None:
    program = tmp_path / "main.py"
    program.write_text(HANDLER.replace("ANSWER", "5"))
    with serving(str(program)) as (_, process):
        assert process.stdout is not None
        assert any("main.py: one handler for every name" in line for line in process.stdout)


OWN = """
import logging
from oip import *

log = logging.getLogger("mine")

class Answers(ModelHandler):
    def infer(self, payload, model_name, model_version=None):
        log.info("asked for %s", model_name)
        return {"y": [5]}
"""


@IN_THIS_PROCESS_AND_IN_OTHERS
def test_what_a_program_logs_itself_has_the_same_form(
    tmp_path: Path, workers: tuple[str, ...]
) -> None:
    program = tmp_path / "main.py"
    program.write_text(OWN)
    with serving(str(program), "--log-format", "json", *workers) as (url, process):
        ask(url)
        assert process.stdout is not None
        for line in process.stdout:
            if '"mine"' in line:
                break
        said = json.loads(line)
    assert (said["target"], said["message"], said["level"]) == ("mine", "asked for m", "INFO")


def test_a_program_that_sets_up_logging_keeps_its_form(tmp_path: Path) -> None:
    program = tmp_path / "main.py"
    program.write_text(OWN + 'logging.basicConfig(level="INFO", format="MINE %(message)s")\n')
    with serving(str(program), "--log-format", "json") as (url, process):
        ask(url)
        assert process.stdout is not None
        for line in process.stdout:
            if "asked for" in line:
                break
    assert line == "MINE asked for m\n"


@pytest.mark.parametrize("command", ["apikey", "policy", "audit", "replay", "bench", "config"])
def test_every_command_of_the_binary_is_there(
    command: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([command, "--help"]) == 0
    assert f"oip {command}" in capfd.readouterr().out


def test_the_other_commands_are_the_binarys(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capfd.readouterr().out.startswith("oip 0.")
    assert cli.main(["serve", "--no-such-flag"]) == 2


def test_a_folder_of_onnx_models_is_served() -> None:
    models = Path(__file__).parents[3] / "examples" / "models"
    if not models.exists():
        pytest.skip("not in the repository")
    with serving(str(models)) as (url, process):
        assert process.stdout is not None
        assert any("iris" in line and "READY" in line.upper() for line in process.stdout)
        with urllib.request.urlopen(f"{url}/v2/models/iris") as answer:
            assert b"onnx" in answer.read()


def test_the_onnxruntime_beside_the_package_runs_onnx_files_beside_programs(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    models = Path(__file__).parents[3] / "examples" / "models"
    if not models.exists():
        pytest.skip("not in the repository")
    shutil.copytree(models / "iris", tmp_path / "iris")
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "1" / "model.py").write_text(MODEL.replace("FACTOR", "2"))
    # No word of where the library is: neither a setting nor an activated environment.
    environment = {"VIRTUAL_ENV": "", "OIP_ONNXRUNTIME_LIBRARY": ""}
    with serving(str(tmp_path), environment=environment) as (url, process):
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "iris" in line and "READY" in line.upper():
                break
        assert any("onnxruntime" in line.lower() for line in said), said
        assert '"data":[2.0]' in ask(url)
        with urllib.request.urlopen(f"{url}/v2/models/iris") as answer:
            assert "onnx" in json.load(answer)["platform"]


def test_the_command_needs_no_environment(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    ended = subprocess.run(
        [sys.executable, "-m", "oip.cli", "config"],
        env=environment, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=30,
    )
    assert "rest_port" in ended.stdout, ended.stderr


MODEL = """
from oip import *

class Doubles(ModelHandler):
    def model_load(self, model_name):
        self.factor = FACTOR
        return True

    def model_metadata(self, model_name, model_version=None):
        return ModelMetadataResponse(
            inputs=[MetadataTensor("x", "FP32", [-1])], outputs=[MetadataTensor("y", "FP32", [-1])]
        )

    def infer(self, payload, model_name, model_version=None):
        return payload.input("x").numpy() * self.factor
"""


def test_a_folder_of_models_may_hold_programs(tmp_path: Path) -> None:
    for version, factor in (("1", "2"), ("2", "3")):
        folder = tmp_path / "m" / version
        folder.mkdir(parents=True)
        (folder / "model.py").write_text(MODEL.replace("FACTOR", factor))
    with serving(str(tmp_path), "--model-control", "poll", "--poll-interval", "100ms") as (url, _):
        assert '"data":[3.0]' in ask(url)
        with urllib.request.urlopen(f"{url}/v2/models/m") as answer:
            assert json.load(answer)["platform"] == "python"
        with urllib.request.urlopen(f"{url}/v2/models/m/versions/1/infer", BODY) as answer:
            assert json.load(answer)["outputs"][0]["data"] == [2.0]
        (tmp_path / "m" / "2" / "model.py").write_text(MODEL.replace("FACTOR", "7"))
        for _ in range(100):
            if '"data":[7.0]' in ask(url):
                break
            time.sleep(0.1)
        else:
            pytest.fail("the change was not seen")


def test_a_load_reads_what_stands_there_now_whatever_python_has_compiled(tmp_path: Path) -> None:
    folder = tmp_path / "m" / "1"
    (folder / "inner").mkdir(parents=True)
    program = "from aside import factor\nfrom . import relative\nfrom inner.deep import three\n" + MODEL
    program = program.replace("FACTOR", "1 * factor * relative.factor * three")
    files = {
        folder / "model.py": program,
        folder / "aside.py": "factor = 2\n",
        folder / "relative.py": "factor = 2\n",
        folder / "inner" / "deep.py": "three = 3\n",
    }

    def write(*changes: tuple[str, str]) -> None:
        for file, text in files.items():
            for old, new in changes:
                text = text.replace(old, new)
            file.write_text(text)
            os.utime(file, (1_700_000_000, 1_700_000_000))

    # As most people have it: with what was compiled lying beside the files.
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    write()
    with serving(str(tmp_path), environment=environment, alone=True) as (url, _):
        assert '"data":[12.0]' in ask(url)
        write(("factor = 1 * ", "factor = 5 * "), ("factor = 2\n", "factor = 3\n"), ("= 3\n", "= 7\n"))
        load = urllib.request.Request(f"{url}/v2/repository/models/m/load", b"{}")
        with urllib.request.urlopen(load, timeout=10) as answer:
            assert answer.status == 200
        assert '"data":[1715.0]' in ask(url)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise KeyError('lost')", "model.py: KeyError: 'lost'"),
        (
            MODEL.replace("(ModelHandler):", "(ModelHandler):\n    max_batch_size = 4"),
            r"write it in the table .batching. of model.toml",
        ),
    ],
)
def test_a_program_that_cannot_be_loaded_is_listed_with_its_reason(
    tmp_path: Path, text: str, reason: str
) -> None:
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "1" / "model.py").write_text(text.replace("FACTOR", "2"))
    with serving(str(tmp_path)) as (_, process):
        assert process.stdout is not None
        for line in process.stdout:
            if re.search(reason, line):
                break
        else:
            pytest.fail("not said")
        assert "ONNX" not in line


WAITS = """
import asyncio, os
from oip import *

class Waits(ModelHandler):
    def model_metadata(self, model_name, model_version=None):
        return ModelMetadataResponse(
            inputs=[MetadataTensor("x", "FP32", [-1])],
            outputs=[MetadataTensor("who", "BYTES", [-1]), MetadataTensor("other", "FP32", [1])],
        )

    async def infer(self, payload, model_name, model_version=None):
        try:
            await asyncio.sleep(payload.input("x").data.root[0])
        except asyncio.CancelledError:
            open("CANCELLED", "w").close()
            raise
        who, wanted = payload.context, payload.outputs
        said = [payload.id, payload.parameters, wanted and [o.name for o in wanted]]
        said += [who.request_id, who.remaining is not None]
        return {"who": [repr(said)], "other": [1.0]}
"""


def waits(url: str, seconds: float, **members: object) -> tuple[int, dict[str, Any]]:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1], "data": [seconds]}
    body = json.dumps({"inputs": [tensor], **members}).encode()
    request = urllib.request.Request(f"{url}/v2/models/m/infer", body, {"X-Request-Id": "r-7"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_handler_in_a_folder_knows_its_caller_and_waits_side_by_side(tmp_path: Path) -> None:
    cancelled = tmp_path / "cancelled"
    folder = tmp_path / "models" / "m" / "1"
    folder.mkdir(parents=True)
    (folder / "model.py").write_text(WAITS.replace("CANCELLED", str(cancelled)))
    arguments = [str(tmp_path / "models"), "--request-timeout", "2s"]
    with serving(*arguments) as (url, _), ThreadPoolExecutor(20) as pool:
        asked = {"id": "a", "parameters": {"tenant": "b"}, "outputs": [{"name": "who"}]}
        for _ in range(100):
            status, body = waits(url, 0, **asked)
            if status == 200:
                break
            time.sleep(0.05)
        assert [output["name"] for output in body["outputs"]] == ["who"]
        said = "['a', Parameters(tenant='b'), ['who'], 'r-7', True]"
        assert body["outputs"][0]["data"] == [said]
        begun = time.monotonic()
        assert {one[0] for one in pool.map(lambda _: waits(url, 0.5), range(20))} == {200}
        assert time.monotonic() - begun < 1.9
        assert waits(url, 30)[0] == 504
        for _ in range(100):
            if cancelled.exists():
                break
            time.sleep(0.05)
        else:
            pytest.fail("it was not cancelled")


@pytest.mark.parametrize(
    ("table", "known"),
    [("", "1.0"), ("[cache]\nmax_bytes = 100000", "0.0"), ("[batching]\nmax_batch_size = 4", "0.0")],
)
def test_a_handler_in_a_folder_whose_answers_are_for_several_knows_no_caller(
    tmp_path: Path, table: str, known: str
) -> None:
    folder = tmp_path / "m" / "1"
    folder.mkdir(parents=True)
    knows = """
        try:
            self.factor = len([payload.context])
        except RuntimeError:
            self.factor = 0
        return payload"""
    program = MODEL.replace("\n        return payload", knows)
    (folder / "model.py").write_text(program.replace("FACTOR", "2"))
    (tmp_path / "m" / "model.toml").write_text(table)
    with serving(str(tmp_path)) as (url, _):
        assert f'"data":[{known}]' in ask(url)


def test_a_handler_in_a_folder_whose_batching_is_off_knows_no_caller_either(tmp_path: Path) -> None:
    folder = tmp_path / "m" / "1"
    folder.mkdir(parents=True)
    # It fails in the check, which then has its requests run alone.
    knows = "\n        self.factor = len([payload.context])\n        return payload"
    program = MODEL.replace("\n        return payload", knows).replace("FACTOR", "2")
    (folder / "model.py").write_text(program)
    (tmp_path / "m" / "model.toml").write_text("[batching]\nmax_batch_size = 4")
    with serving(str(tmp_path)) as (url, _):
        assert "the model failed to answer" in ask(url)


ASYNC_UNLOAD = """
import asyncio
""" + MODEL + """
    async def model_ready(self, model_name, model_version=None):
        return True

    async def model_load(self, model_name):
        self.factor, self.loop = FACTOR, asyncio.get_running_loop()
        return True

    async def model_unload(self, model_name):
        same = asyncio.get_running_loop() is self.loop
        open("WHERE", "w").write(str(same))
"""


def test_an_async_handler_in_a_folder_is_let_go_of_on_its_loop(tmp_path: Path) -> None:
    said, folder = tmp_path / "said", tmp_path / "models" / "m" / "1"
    folder.mkdir(parents=True)
    program = ASYNC_UNLOAD.replace("WHERE", str(said))
    (folder / "model.py").write_text(program.replace("FACTOR", "2"))
    with serving(str(tmp_path / "models")) as (url, _):
        assert '"data":[2.0]' in ask(url)
        (folder / "model.py").write_text(program.replace("FACTOR", "11"))
        load = urllib.request.Request(f"{url}/v2/repository/models/m/load", b"{}")
        urllib.request.urlopen(load, timeout=10).close()
        assert '"data":[11.0]' in ask(url)
        for _ in range(100):
            if said.exists() and said.read_text():
                break
            time.sleep(0.05)
        assert said.read_text() == "True"


BESIDE = """
import sys
import aside
from . import aside as relative

UNLOADED = "WHERE"
""" + MODEL.replace("FACTOR", "aside.factor + relative.factor") + """
    def model_unload(self, model_name):
        open(UNLOADED, "w").write(f"{model_name} {sorted(n for n in sys.modules if 'oip_models' in n)}")
"""


def test_each_version_has_the_modules_beside_it_and_is_let_go_of(tmp_path: Path) -> None:
    said = tmp_path / "unloaded"
    models = tmp_path / "models"
    for version, factor in (("1", "2"), ("2", "3")):
        folder = models / "m" / version
        folder.mkdir(parents=True)
        (folder / "model.py").write_text(BESIDE.replace("WHERE", str(said)))
        (folder / "aside.py").write_text(f"factor = {factor}")
    with serving(str(models), "--model-control", "poll", "--poll-interval", "100ms") as (url, _):
        assert '"data":[6.0]' in ask(url)
        with urllib.request.urlopen(f"{url}/v2/models/m/versions/1/infer", BODY) as answer:
            assert json.load(answer)["outputs"][0]["data"] == [4.0]
        shutil.rmtree(models / "m" / "2")
        for _ in range(100):
            if said.exists() and said.read_text():
                break
            time.sleep(0.05)
        assert said.read_text().startswith("m ")
        assert '"data":[4.0]' in ask(url)


LINE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z +(INFO|WARN) [\w.:]+: "


def test_every_line_of_the_log_has_one_form_and_one_clock(tmp_path: Path) -> None:
    program = tmp_path / "main.py"
    program.write_text(OWN + "logging.getLogger('mine').warning('begins')\n")
    with serving(str(program), environment={"TZ": "Asia/Tokyo"}) as (url, process):
        ask(url)
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines += [line] if re.match(r"\d{4}-", line) else []
            if "asked for" in line:
                break
    assert any(" mine: asked for m" in line for line in lines), lines
    assert any(" oip::" in line for line in lines), lines
    for line in lines:
        assert re.match(LINE, line), line
        moment = datetime.fromisoformat(line.split()[0])
        assert abs((datetime.now(UTC) - moment).total_seconds()) < 60


PICKLED = """
import os, pickle, helper

with open(os.path.join(os.path.dirname(__file__), "weights.pkl"), "rb") as file:
    at_top = pickle.load(file)
""" + MODEL.replace("self.factor = FACTOR", """
        with open(os.path.join(os.path.dirname(__file__), "weights.pkl"), "rb") as file:
            weights = pickle.load(file)
        import helper as again
        assert again is helper and isinstance(weights, helper.Weights)
        self.factor = weights.factor * helper.SCALE""")


def test_a_load_finds_the_modules_beside_its_program_and_the_classes_that_were_pickled(
    tmp_path: Path,
) -> None:
    for version, scale in (("1", 2), ("2", 3)):
        folder = tmp_path / "m" / version
        folder.mkdir(parents=True)
        (folder / "helper.py").write_text(f"SCALE = {scale}\nclass Weights:\n    factor = 10\n")
        make = "import pickle, helper; pickle.dump(helper.Weights(), open('weights.pkl', 'wb'))"
        subprocess.run([sys.executable, "-c", make], cwd=folder, check=True)
        (folder / "model.py").write_text(PICKLED)
    with serving(str(tmp_path)) as (url, _):
        assert '"data":[30.0]' in ask(url)


def test_what_is_served_ends_with_its_supervisor(tmp_path: Path) -> None:
    program = tmp_path / "main.py"
    program.write_text(PIDS.replace("SERVED", ""))
    with serving(str(program), "--reload", "true") as (url, process):
        served = json.loads(ask(url))["outputs"][0]["data"][0]
        assert served != process.pid
        process.kill()
        process.wait()
        for _ in range(100):
            if not Path(f"/proc/{served}").exists():
                break
            time.sleep(0.1)
        else:
            os.kill(served, signal.SIGKILL)
            pytest.fail("it goes on")


SLEEPS = MODEL.replace("return payload", "import time; time.sleep(0.5); return payload").replace("FACTOR", "2")


def test_a_blocking_handler_in_a_folder_has_as_many_threads_as_instances(tmp_path: Path) -> None:
    folder = tmp_path / "m" / "1"
    folder.mkdir(parents=True)
    (folder / "model.py").write_text(SLEEPS)
    many = default_threads() + 10
    (tmp_path / "m" / "model.toml").write_text(f"instances = {many}")
    with serving(str(tmp_path)) as (url, _), ThreadPoolExecutor(many) as pool:
        assert '"data":[2.0]' in ask(url)
        begun = time.monotonic()
        assert all('"data":[2.0]' in answer for answer in pool.map(lambda _: ask(url), range(many)))
        # In one round, and not in two.
        assert time.monotonic() - begun < 0.99
