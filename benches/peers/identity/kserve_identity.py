"""KServe's Python server with a model that returns its inputs: --http_port N --grpc_port N"""

import argparse

from kserve import InferOutput, InferResponse, Model, ModelServer, model_server


class Identity(Model):
    def __init__(self, name):
        super().__init__(name)
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):
        binary = payload.use_binary_outputs
        outputs = []
        for tensor in payload.inputs:
            output = InferOutput("output", tensor.shape, tensor.datatype)
            output.set_data_from_numpy(tensor.as_numpy(), binary_data=binary)
            outputs.append(output)
        # A missing id must not be handed on as None: KServe answers 500 then.
        return InferResponse(payload.id or "", self.name, outputs, use_binary_outputs=binary)


if __name__ == "__main__":
    arguments, _ = argparse.ArgumentParser(parents=[model_server.parser]).parse_known_args()
    server = ModelServer(
        http_port=arguments.http_port, grpc_port=arguments.grpc_port, access_log_format=None, enable_latency_logging=False
    )
    server.start([Identity("identity")])
