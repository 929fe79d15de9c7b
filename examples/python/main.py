"""The handler of the Python original's README; only the imports have changed.

    oip serve examples/python/main.py --auth-enabled false --reload true
"""

from typing import Optional

from oip import (
    AissembleOIPFastAPI,
    Datatype,
    InferenceRequest,
    InferenceResponse,
    MetadataTensor,
    ModelHandler,
    ModelMetadataResponse,
)


class MyHandler(ModelHandler):
    def __init__(self) -> None:
        super().__init__()

    def infer(
        self,
        payload: InferenceRequest,
        model_name: str,
        model_version: Optional[str] = None,
    ) -> InferenceResponse:
        return InferenceResponse(
            model_name=model_name, model_version=model_version, id="id", outputs=[]
        )

    def model_metadata(
        self,
        model_name: str,
        model_version: Optional[str] = None,
    ) -> ModelMetadataResponse:
        return ModelMetadataResponse(
            name=model_name,
            versions=[model_version] if model_version else None,
            platform="python",
            inputs=[MetadataTensor(name="input", datatype=Datatype.FP32, shape=[1])],
            outputs=[MetadataTensor(name="output", datatype=Datatype.FP32, shape=[1])],
        )

    def model_load(self, model_name: str) -> bool:
        return True


fastapi_server = AissembleOIPFastAPI(MyHandler()).server
