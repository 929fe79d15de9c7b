"""The Python original's REST server with a handler that returns its inputs.

AUTH_ENABLED=false FASTAPI_PORT=N. Its gRPC service has another name than the protocol's, so no client of the protocol can
call it.
"""

import asyncio

from aissemble_open_inference_protocol_fastapi.aissemble_oip_fastapi import AissembleOIPFastAPI
from aissemble_open_inference_protocol_shared.handlers.model_handler import ModelHandler
from aissemble_open_inference_protocol_shared.types.dataplane import (
    Datatype, InferenceResponse, MetadataTensor, ModelMetadataResponse, ResponseOutput,
)


class Identity(ModelHandler):
    def infer(self, payload, model_name, model_version=None):
        outputs = [
            ResponseOutput(name="output", shape=i.shape, datatype=i.datatype, data=i.data) for i in payload.inputs
        ]
        return InferenceResponse(model_name=model_name, model_version=model_version, id=payload.id, outputs=outputs)

    def model_metadata(self, model_name, model_version=None):
        tensor = {"datatype": Datatype.FP32, "shape": [-1]}
        return ModelMetadataResponse(
            name=model_name, versions=None, platform="python",
            inputs=[MetadataTensor(name="input", **tensor)], outputs=[MetadataTensor(name="output", **tensor)],
        )

    def model_load(self, model_name):
        return True


if __name__ == "__main__":
    asyncio.run(AissembleOIPFastAPI(Identity()).start_server())
