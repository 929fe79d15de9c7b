"""The handler that is measured: it returns its inputs."""

import os

from oip import (
    InferenceRequest,
    InferenceResponse,
    MetadataTensor,
    ModelHandler,
    ModelMetadataResponse,
    ResponseOutput,
)


class Declared(ModelHandler):
    def model_metadata(
        self, model_name: str, model_version: str | None = None
    ) -> ModelMetadataResponse:
        return ModelMetadataResponse(
            name=model_name,
            inputs=[MetadataTensor("input", "FP32", [-1])],
            outputs=[MetadataTensor("output", "FP32", [-1])],
        )


class Identity(Declared):
    def infer(
        self, payload: InferenceRequest, model_name: str, model_version: str | None = None
    ) -> InferenceResponse:
        x = payload.inputs[0]
        return InferenceResponse(outputs=[ResponseOutput("output", x.shape, x.datatype, data=x.data)])


class AsyncIdentity(Declared):
    async def infer(
        self, payload: InferenceRequest, model_name: str, model_version: str | None = None
    ) -> InferenceResponse:
        x = payload.inputs[0]
        return InferenceResponse(outputs=[ResponseOutput("output", x.shape, x.datatype, data=x.data)])


handler = AsyncIdentity() if os.environ.get("KIND") == "async" else Identity()
