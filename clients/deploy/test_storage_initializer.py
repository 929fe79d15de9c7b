"""KServe's storage initializer, the real one, fills the folder that the runtime's container serves."""

import contextlib
import functools
import http.server
import io
import json
import subprocess
import sys
import tarfile
import threading
import zipfile

import pytest

import onnx_models
from oip_server import ROOT, free_port
from running import Started

IRIS = ROOT / "examples" / "models" / "iris"
MODEL = (IRIS / "1" / "model.onnx").read_bytes()
# What the init container's entry point does with its arguments.
INITIALIZER = "import sys; from kserve_storage import Storage; Storage.download_files(sys.argv[1:2], sys.argv[2:3])"
TYPES = {".zip": "application/zip", ".tar": "application/x-tar", ".gz": "application/gzip", ".onnx":
         "application/octet-stream"}


class Store(http.server.SimpleHTTPRequestHandler):
    """A folder with the content types that the initializer insists on."""

    extensions_map = TYPES

    def log_message(self, *_):
        pass


@pytest.fixture
def store(tmp_path):
    """A folder, and the address under which it is to be had."""
    folder = tmp_path / "store"
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Store, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def initialize(uri, target):
    """Runs the initializer in a process of its own, as an init container."""
    done = subprocess.run([sys.executable, "-c", INITIALIZER, uri, str(target)], timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout


@contextlib.contextmanager
def served(mounted, *more):
    """The server as the runtime starts it, with the filled folder in the place of /mnt/models."""
    port = free_port()
    arguments = ["--model_name=iris", f"--model_dir={mounted}", f"--port={port}", "--auth-enabled=false"]
    with Started([*arguments, "--onnxruntime-library=off", *more], port, mounted.parent) as server:
        yield server


def assert_it_knows_flowers(server, path="/v2/models/iris/infer"):
    request = json.loads((IRIS / "sample-request.json").read_text())
    wanted = json.loads((IRIS / "sample-response.json").read_text())
    status, answer = server.post(path, request)
    assert status == 200
    labels = [next(o["data"] for o in a["outputs"] if o["name"] == "label") for a in (answer, wanted)]
    assert labels[0] == labels[1]


def put_file(folder):
    (folder / "iris.onnx").write_bytes(MODEL)
    return "iris.onnx"


def put_zip(folder):
    with zipfile.ZipFile(folder / "iris.zip", "w") as archive:
        archive.writestr("model.onnx", MODEL)
    return "iris.zip"


def _tar(path, mode):
    with tarfile.open(path, mode) as archive:
        entry = tarfile.TarInfo("1/model.onnx")
        entry.size = len(MODEL)
        archive.addfile(entry, io.BytesIO(MODEL))


def put_tar(folder):
    _tar(folder / "iris.tar", "w")
    return "iris.tar"


def put_compressed_tar(folder):
    _tar(folder / "iris.tar.gz", "w:gz")
    return "iris.tar.gz"


@pytest.mark.parametrize("put", [put_file, put_zip, put_tar, put_compressed_tar])
def test_a_model_fetched_over_http_is_served(store, tmp_path, put):
    folder, address = store
    mounted = tmp_path / "mnt"
    initialize(f"{address}/{put(folder)}", mounted)
    with served(mounted) as server:
        assert_it_knows_flowers(server)


def test_a_folder_of_versions_that_the_initializer_links_is_served(tmp_path):
    # From file:// and pvc:// the initializer makes symbolic links instead of copies.
    source, mounted = tmp_path / "volume", tmp_path / "mnt"
    for version in (1, 2):
        onnx_models.put(source.parent, source.name, MODEL, version)
    initialize(f"file://{source}", mounted)
    assert any(path.is_symlink() for path in mounted.iterdir())
    with served(mounted) as server:
        for version in (1, 2):
            assert_it_knows_flowers(server, f"/v2/models/iris/versions/{version}/infer")
