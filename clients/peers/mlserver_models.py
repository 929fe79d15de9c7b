"""MLServer with an identity for every model of the table.

`python mlserver_models.py FOLDER` writes the model settings there; `PYTHONPATH=. mlserver start FOLDER` serves them.
"""

import json
import pathlib
import sys

from mlserver import MLModel
from mlserver.types import InferenceResponse, ResponseOutput

DATATYPES = ("FP32", "INT32", "INT64", "UINT8", "BOOL", "FP16", "BF16", "BYTES")


class Identity(MLModel):
    async def load(self):
        return True

    async def predict(self, payload):
        outputs = [ResponseOutput(name="OUT", shape=i.shape, datatype=i.datatype, data=i.data) for i in payload.inputs]
        return InferenceResponse(id=payload.id, model_name=self.name, model_version=self.version, outputs=outputs)


def write(folder):
    names = [(f"vector_{d.lower()}", d, [-1]) for d in DATATYPES] + [("matrix_fp32", "FP32", [-1, -1])]
    for name, datatype, shape in names:
        settings = {
            "name": name, "implementation": "mlserver_models.Identity",
            "inputs": [{"name": "IN", "datatype": datatype, "shape": shape}],
            "outputs": [{"name": "OUT", "datatype": datatype, "shape": shape}],
        }
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        (target / "model-settings.json").write_text(json.dumps(settings))
    ports = {"http_port": 8086, "grpc_port": 8186, "metrics_port": 8286, "parallel_workers": 0}
    (folder / "settings.json").write_text(json.dumps(ports))


if __name__ == "__main__":
    write(pathlib.Path(sys.argv[1]))
