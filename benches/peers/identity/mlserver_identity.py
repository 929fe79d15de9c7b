"""MLServer's model that returns its inputs; `python mlserver_identity.py FOLDER HTTP_PORT GRPC_PORT METRICS_PORT` writes its settings."""

import json
import pathlib
import sys

from mlserver import MLModel
from mlserver.types import InferenceResponse, ResponseOutput


class Identity(MLModel):
    async def load(self):
        return True

    async def predict(self, payload):
        outputs = [
            ResponseOutput(name="output", shape=i.shape, datatype=i.datatype, data=i.data) for i in payload.inputs
        ]
        return InferenceResponse(id=payload.id, model_name=self.name, model_version=self.version, outputs=outputs)


def write(folder, http_port, grpc_port, metrics_port):
    tensor = {"datatype": "FP32", "shape": [-1]}
    model = {
        "name": "identity", "implementation": "mlserver_identity.Identity",
        "inputs": [{"name": "input", **tensor}], "outputs": [{"name": "output", **tensor}],
    }
    # A process of workers besides would have to share the server's CPUs: the model does no work.
    server = {
        "http_port": http_port, "grpc_port": grpc_port, "metrics_port": metrics_port, "parallel_workers": 0,
        "grpc_max_message_length": 64 << 20, "debug": False,
    }
    (folder / "identity").mkdir(parents=True, exist_ok=True)
    (folder / "identity" / "model-settings.json").write_text(json.dumps(model))
    (folder / "settings.json").write_text(json.dumps(server))


if __name__ == "__main__":
    write(pathlib.Path(sys.argv[1]), *map(int, sys.argv[2:5]))
