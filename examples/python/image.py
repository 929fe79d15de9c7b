"""An image model with pre- and post-processing: the caller sends a PNG or JPEG as it is, the
handler decodes it, scales it, runs the model and names the answer.

    oip serve examples/python/image.py --auth-enabled false
"""

import io

import numpy as np
from PIL import Image, UnidentifiedImageError

from oip import (
    Datatype,
    InferenceRequest,
    InferenceResponse,
    MetadataTensor,
    ModelHandler,
    ModelMetadataResponse,
    ResponseOutput,
)
from oip.errors import InvalidRequest

COLOURS = ["red", "green", "blue"]


class Colours(ModelHandler):
    """Says which colour an image mostly has. Stands for a network of your own."""

    def model_metadata(
        self, model_name: str, model_version: str | None = None
    ) -> ModelMetadataResponse:
        return ModelMetadataResponse(
            name=model_name,
            inputs=[MetadataTensor("image", Datatype.BYTES, [-1])],
            outputs=[
                MetadataTensor("colour", Datatype.BYTES, [-1]),
                MetadataTensor("scores", Datatype.FP32, [-1, 3]),
            ],
        )

    def infer(
        self, payload: InferenceRequest, model_name: str, model_version: str | None = None
    ) -> InferenceResponse:
        # In JSON, send the file as base64 with the parameter "content_type": "base64"; over gRPC
        # and as binary data it is sent as it is. Either way it arrives here as bytes.
        images = [preprocess(file) for file in payload.input("image").numpy()]
        scores = run(np.stack(images))
        return InferenceResponse(
            outputs=[
                ResponseOutput("scores", data=scores),
                ResponseOutput(
                    "colour",
                    [len(images)],
                    Datatype.BYTES,
                    data=[COLOURS[best] for best in scores.argmax(axis=1)],
                ),
            ]
        )


def preprocess(file: bytes) -> np.ndarray:
    """A file as an array of 3 x 32 x 32, from 0 to 1."""
    try:
        image = Image.open(io.BytesIO(file)).convert("RGB").resize((32, 32))
    except UnidentifiedImageError:
        raise InvalidRequest("input 'image' is no image that is known here") from None
    return np.asarray(image, dtype=np.float32).transpose(2, 0, 1) / 255


def run(batch: np.ndarray) -> np.ndarray:
    """The network: how much of each colour there is."""
    sums: np.ndarray = batch.mean(axis=(2, 3))
    scores: np.ndarray = sums / np.maximum(sums.sum(axis=1, keepdims=True), 1e-6)
    return scores


handler = Colours()
