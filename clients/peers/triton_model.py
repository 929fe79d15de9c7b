"""Triton's Python backend as an identity: place it as `<model>/1/model.py` beside a `config.pbtxt`."""

import triton_python_backend_utils as backend


class TritonPythonModel:
    def execute(self, requests):
        return [
            backend.InferenceResponse([backend.Tensor("OUT", tensor.as_numpy()) for tensor in request.inputs()])
            for request in requests
        ]
