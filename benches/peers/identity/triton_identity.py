"""Triton with its Python backend, out of PyTriton's wheel: `python triton_identity.py FOLDER HTTP_PORT GRPC_PORT`.

Lays out a model that returns its inputs, and becomes the server.
"""

import os
import pathlib
import shutil
import sys
import sysconfig

import pytriton

CONFIG = """name: "identity"
backend: "python"
input [{ name: "input" data_type: TYPE_FP32 dims: [-1] }]
output [{ name: "output" data_type: TYPE_FP32 dims: [-1] }]
"""
MODEL = '''import triton_python_backend_utils as backend

class TritonPythonModel:
    def execute(self, requests):
        return [
            backend.InferenceResponse([backend.Tensor("output", tensor.as_numpy()) for tensor in request.inputs()])
            for request in requests
        ]
'''


def main(folder, http_port, grpc_port):
    wheel = pathlib.Path(pytriton.__file__).parent
    server = wheel / "tritonserver"
    version = folder / "models" / "identity" / "1"
    version.mkdir(parents=True, exist_ok=True)
    (version / "model.py").write_text(MODEL)
    (version.parent / "config.pbtxt").write_text(CONFIG)
    # The backend wants the stub of this Python beside it.
    backend = folder / "backends" / "python"
    shutil.copytree(server / "backends" / "python", backend, dirs_exist_ok=True)
    stub = backend / "triton_python_backend_stub"
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    shutil.copy(server / "python_backend_stubs" / python / stub.name, stub)
    stub.chmod(0o755)
    program = server / "bin" / "tritonserver"
    program.chmod(0o755)
    libraries = [wheel.parent / "nvidia_pytriton.libs", sysconfig.get_config_var("LIBDIR")]
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
        # The backend starts the first Python that it finds.
        "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(wheel.parent),
    }
    arguments = [
        program, "--model-repository", folder / "models", "--backend-directory", folder / "backends",
        "--http-port", http_port, "--grpc-port", grpc_port, "--http-address", "127.0.0.1", "--grpc-address", "127.0.0.1",
        "--allow-metrics", "false",
    ]
    os.execve(program, [str(word) for word in arguments], environment)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]).absolute(), *sys.argv[2:4])
