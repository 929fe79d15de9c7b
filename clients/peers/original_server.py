"""The Python original with an identity handler, REST and gRPC.

`AUTH_ENABLED=false FASTAPI_PORT=8084 GRPC_PORT=8184 python original_server.py`
"""

import asyncio

from aissemble_open_inference_protocol_fastapi.aissemble_oip_fastapi import AissembleOIPFastAPI
from aissemble_open_inference_protocol_grpc.aissemble_oip_grpc import AissembleOIPgRPC
from aissemble_open_inference_protocol_shared.handlers.model_handler import ModelHandler
from aissemble_open_inference_protocol_shared.types.dataplane import (
    Datatype, InferenceResponse, MetadataTensor, ModelMetadataResponse, ResponseOutput,
)


class Identity(ModelHandler):
    def infer(self, payload, model_name, model_version=None):
        outputs = [
            ResponseOutput(name="OUT", shape=i.shape, datatype=i.datatype, data=i.data) for i in payload.inputs
        ]
        if payload.outputs:
            wanted = {o.name for o in payload.outputs}
            outputs = [o for o in outputs if o.name in wanted]
        return InferenceResponse(model_name=model_name, model_version=model_version, id=payload.id, outputs=outputs)

    def model_metadata(self, model_name, model_version=None):
        tensor = {"datatype": Datatype.FP32, "shape": [-1]}
        return ModelMetadataResponse(
            name=model_name, versions=None, platform="python",
            inputs=[MetadataTensor(name="IN", **tensor)], outputs=[MetadataTensor(name="OUT", **tensor)],
        )

    def model_load(self, model_name):
        return True


async def main():
    # The gRPC server has to be made inside the loop that it runs in.
    await asyncio.gather(AissembleOIPFastAPI(Identity()).start_server(), AissembleOIPgRPC(Identity()).start_server())


if __name__ == "__main__":
    asyncio.run(main())
