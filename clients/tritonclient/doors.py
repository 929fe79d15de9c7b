"""The four clients of tritonclient behind one face, so that one test drives them all."""

import asyncio
import importlib

import numpy as np
from tritonclient.utils import triton_to_np_dtype

KINDS = ("http", "http.aio", "grpc", "grpc.aio")

# Values at the edges of each datatype, two rows of three.
SAMPLES = {
    "BOOL": [[True, False, True], [False, True, False]],
    **{f"INT{b}": [[0, 1, -1], [2 ** (b - 1) - 1, -(2 ** (b - 1)), 7]] for b in (8, 16, 32, 64)},
    **{f"UINT{b}": [[0, 1, 2], [2**b - 1, 2 ** (b - 1), 7]] for b in (8, 16, 32, 64)},
    "FP16": [[0, 1.5, -2.25], [65504, 6e-8, -0.0]],
    "BF16": [[0, 1.5, -2.25], [3e38, 1e-30, -0.0]],
    "FP32": [[0, 1.5, -2.25], [3.4e38, 1e-45, 0.1]],
    "FP64": [[0, 1.5, -2.25], [1.7e308, 5e-324, 0.1]],
    "BYTES": [["", "a", "Grüße"], ["\U0001f980", "x" * 300, "\x00"]],
}


def sample(datatype):
    """The sample of a datatype as an array of shape [2, 3]."""
    if datatype == "BYTES":
        return np.array([[t.encode() for t in row] for row in SAMPLES["BYTES"]], dtype=np.object_)
    return np.array(SAMPLES[datatype], dtype=triton_to_np_dtype(datatype))


def same(left, right):
    """Equal in shape, datatype and every bit that a value shows; BYTES as bytes."""
    if left.dtype == np.object_:
        as_bytes = [[v if isinstance(v, bytes) else str(v).encode() for v in a.ravel()] for a in (left, right)]
        return left.shape == right.shape and as_bytes[0] == as_bytes[1]
    return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()


class Door:
    """One client; every call of it is awaited where it has to be."""

    def __init__(self, kind, server):
        self.kind, self.is_http = kind, kind.startswith("http")
        self.module = importlib.import_module(f"tritonclient.{kind}")
        self.server = server
        self.loop = asyncio.new_event_loop() if kind.endswith("aio") else None
        url = server.rest if self.is_http else server.grpc
        self.client = self._wait(self._make(url))

    def _make(self, url):
        if self.loop is None:
            return self.module.InferenceServerClient(url)

        async def make():
            return self.module.InferenceServerClient(url)

        return make()

    def _wait(self, value):
        if asyncio.iscoroutine(value):
            return self.loop.run_until_complete(value)
        return value

    def call(self, name, *args, **kwargs):
        return self._wait(getattr(self.client, name)(*args, **kwargs))

    def document(self, name, *args, **kwargs):
        """A management call as a dictionary through every door."""
        if not self.is_http:
            kwargs["as_json"] = True
        return self.call(name, *args, **kwargs)

    def input(self, name, array, datatype=None, binary=True):
        from tritonclient.utils import np_to_triton_dtype

        datatype = datatype or np_to_triton_dtype(array.dtype)
        tensor = self.module.InferInput(name, list(array.shape), datatype)
        if self.is_http:
            tensor.set_data_from_numpy(array, binary_data=binary)
        else:
            tensor.set_data_from_numpy(array)
        return tensor

    def output(self, name, binary=True, **kwargs):
        if self.is_http:
            kwargs["binary_data"] = binary
        return self.module.InferRequestedOutput(name, **kwargs)

    def infer(self, model, arrays, outputs=None, binary_in=True, **kwargs):
        inputs = [self.input(name, array, binary=binary_in) for name, array in arrays.items()]
        return self.call("infer", model, inputs, outputs=outputs, **kwargs)

    def close(self):
        self.call("close")
        if self.loop is not None:
            self.loop.close()


def response_of(result):
    """The answer's header as a dictionary, through both doors."""
    response = result.get_response()
    if isinstance(response, dict):
        return response
    from google.protobuf.json_format import MessageToDict

    return MessageToDict(response, preserving_proto_field_name=True)
