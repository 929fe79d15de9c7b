"""KServe's Python server with an identity for every model of the table.

`python kserve_server.py --http_port 8085 --grpc_port 8185`
"""

import argparse

from kserve import InferOutput, InferResponse, Model, ModelServer, model_server

DATATYPES = ("fp32", "int32", "int64", "uint8", "bool", "fp16", "bf16", "bytes")


class Identity(Model):
    def __init__(self, name):
        super().__init__(name)
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):
        outputs = []
        for tensor in payload.inputs:
            output = InferOutput("OUT", tensor.shape, tensor.datatype)
            output.set_data_from_numpy(tensor.as_numpy(), binary_data=False)
            outputs.append(output)
        # A missing id must not be handed on as None: KServe answers 500 then.
        return InferResponse(payload.id or "", self.name, outputs)


if __name__ == "__main__":
    arguments, _ = argparse.ArgumentParser(parents=[model_server.parser]).parse_known_args()
    models = [Identity(f"vector_{d}") for d in DATATYPES] + [Identity("matrix_fp32")]
    ModelServer(http_port=arguments.http_port, grpc_port=arguments.grpc_port).start(models)
