"""The tree that an image is made of, run as a container runs it: read-only, as user 65532, nothing else to see."""

import json
import os
import pathlib
import re
import subprocess

import pytest

from oip_server import ROOT, Server, find_binary, free_port

IMAGE, RUN = ROOT / "deploy" / "image.sh", ROOT / "deploy" / "run-image.sh"
MODELS = ROOT / "examples" / "models"
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()


def may_unshare():
    return os.geteuid() == 0 and subprocess.run(["unshare", "--mount", "true"], check=False).returncode == 0


def assemble(form, folder):
    return subprocess.run([IMAGE, form, find_binary(), folder], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def form_of(binary):
    linked = subprocess.run(["ldd", binary], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    return "static" if "statically linked" in linked or "not a dynamic" in linked else "dynamic"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """The tree of the built binary, in the form that it is linked in."""
    folder = tmp_path_factory.mktemp("image") / "root"
    done = assemble(form_of(find_binary()), folder)
    assert done.returncode == 0, done.stdout
    return folder


def files(tree):
    return {str(p.relative_to(tree)) for p in tree.rglob("*") if p.is_file()}


def test_the_tree_holds_the_binary_its_libraries_and_no_shell(tree):
    found = files(tree)
    libraries = {name for name in found if re.match(r"(usr/)?lib(64)?/", name)}
    assert found - libraries <= {"usr/local/bin/oip", "etc/passwd", "etc/group", "etc/hosts", "etc/nsswitch.conf",
                                 "etc/ssl/certs/ca-certificates.crt"}
    assert all(re.search(r"\.so\.[0-9]+$", name) for name in libraries), libraries


def test_the_same_binary_gives_the_same_tree(tree, tmp_path):
    assemble(form_of(find_binary()), tmp_path / "root")
    def listing(root):
        return sorted((str(p.relative_to(root)), p.stat().st_mode, p.stat().st_size, int(p.stat().st_mtime))
                      for p in root.rglob("*") if not p.is_dir())
    assert listing(tmp_path / "root") == listing(tree)
    assert {time for *_, time in listing(tree)} == {int(os.environ.get("SOURCE_DATE_EPOCH", 0))}


def test_a_binary_of_the_other_form_is_refused(tmp_path):
    other = {"static": "dynamic", "dynamic": "static"}[form_of(find_binary())]
    done = assemble(other, tmp_path / "root")
    assert done.returncode == 1 and "is linked" in done.stdout


class Contained(Server):
    """The server in the tree of its image."""

    def __init__(self, tree, models, log):
        self.rest_port = self.grpc_port = free_port()
        self.log_path = log
        arguments = ["serve", "/models", f"--port={self.rest_port}", "--auth-enabled=false"]
        with open(log, "wb") as out:
            self.process = subprocess.Popen([RUN, tree, models, *arguments], stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=subprocess.STDOUT)
        try:
            self.wait_for("/v2/health/ready")
        except BaseException:
            self.kill()
            raise


@pytest.mark.skipif(not may_unshare(), reason="a mount namespace of one's own needs root")
def test_the_tree_serves_models_read_only_and_as_nobody(tree, tmp_path):
    server = Contained(tree, MODELS, tmp_path / "oip.log")
    try:
        request = json.loads((MODELS / "iris" / "sample-request.json").read_text())
        status, answer = server.post("/v2/models/iris/infer", request)
        assert (status, answer["outputs"][0]["data"]) == (200, [0, 1, 2])
        process = pathlib.Path("/proc", str(server.pid))
        state = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
        assert state["Uid"].split() == ["65532"] * 4
        assert int(state["CapEff"], 16) == 0 and state["NoNewPrivs"] == "1"
        mounts = [line.split() for line in (process / "mountinfo").read_text().splitlines()]
        options = {fields[4]: fields[5].split(",") for fields in mounts}
        assert "ro" in options["/"] and "ro" in options["/models"]
        if form_of(find_binary()) == "static":
            assert "linked statically and cannot load libraries; the embedded engine serves" in server.log()
        server.stop()
    finally:
        server.kill()


@pytest.mark.parametrize("target", ["static", "dynamic", "python"])
def test_the_dockerfile_ends_in_an_image_that_runs_as_nobody(target):
    stage = re.search(rf"^FROM (\S+) AS {target}$(.*?)(?=^FROM |\Z)", DOCKERFILE, re.M | re.S)
    assert target == "python" or stage[1] == "scratch"
    assert "USER 65532:65532" in stage[2] and 'ENTRYPOINT ["oip"]' in stage[2]


def test_the_images_of_the_dockerfile_are_trees_of_image_sh():
    for form in ("static", "dynamic"):
        assert re.search(rf"deploy/image\.sh {form} \S+ /image", DOCKERFILE)
        assert f"COPY --from=build-{form} /image /" in DOCKERFILE
