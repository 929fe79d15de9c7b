"""One set of handlers for both servers: only the import lines differ."""

from __future__ import annotations

import os

if os.environ.get("SIDE") == "original":
    from aissemble_open_inference_protocol_shared.handlers.model_handler import ModelHandler
    from aissemble_open_inference_protocol_shared.types.dataplane import (
        Datatype,
        InferenceResponse,
        MetadataTensor,
        ModelMetadataResponse,
        ModelReadyResponse,
        ResponseOutput,
    )
else:
    from oip import (
        Datatype,
        InferenceResponse,
        MetadataTensor,
        ModelHandler,
        ModelMetadataResponse,
        ModelReadyResponse,
        ResponseOutput,
    )


def one(shape, datatype, data, name="y", parameters=None):
    return [
        ResponseOutput(
            name=name, shape=shape, datatype=datatype, data=data, parameters=parameters
        )
    ]


ANSWERS = {
    "float_list": lambda p: one([2], Datatype.FP32, [1.5, 2.5]),
    "nested_list": lambda p: one([2, 2], "FP64", [[1.0, 2.0], [3.0, 4.0]]),
    "wrong_count": lambda p: one([3], "FP32", [1.0]),
    "wrong_type": lambda p: one([1], "INT32", [1.5]),
    "text_for_float": lambda p: one([1], "FP32", ["a"]),
    "ragged": lambda p: one([2, 2], "FP32", [[1.0, 2.0], [3.0]]),
    "other_nesting": lambda p: one([4, 1], "FP32", [[1.0, 2.0], [3.0, 4.0]]),
    "beyond_uint8": lambda p: one([1], "UINT8", [300]),
    "text": lambda p: one([2], "BYTES", ["a", "é"]),
    "booleans": lambda p: one([2], "BOOL", [True, False]),
    "two_outputs": lambda p: one([1], "FP32", [1.0]) + one([1], "INT64", [2], "z"),
    "no_outputs": lambda p: [],
    "root": lambda p: one(p.inputs[0].shape, p.inputs[0].datatype, p.inputs[0].data.root),
    "first": lambda p: one([1], p.inputs[0].datatype, [p.inputs[0].data[0]]),
    "length": lambda p: one([1], "INT64", [len(p.inputs[0].data)]),
    "iterated": lambda p: one(
        p.inputs[0].shape, p.inputs[0].datatype, [x for x in p.inputs[0].data]
    ),
    "output_parameters": lambda p: one([1], "FP32", [1.0], parameters={"a": 1, "b": "x"}),
    "sees_content_type": lambda p: one(
        [1], "BYTES", [str(p.parameters.content_type if p.parameters else None)]
    ),
    "sees_extra": lambda p: one(
        [1], "BYTES", [str(getattr(p.inputs[0].parameters, "extra", "none"))]
    ),
    "sees_outputs": lambda p: one([1], "BYTES", [str([o.name for o in p.outputs or []])]),
    "sees_id": lambda p: one([1], "BYTES", [str(p.id)]),
    "is_member": lambda p: one([1], "BOOL", [p.inputs[0].datatype == Datatype.FP32]),
    "is_name": lambda p: one([1], "BOOL", [p.inputs[0].datatype == "FP32"]),
}


class Handlers(ModelHandler):
    """Answers as the model's name says."""

    def infer(self, payload, model_name, model_version=None):
        match model_name:
            case "value_error":
                raise ValueError("rows are missing")
            case "type_error":
                raise TypeError("text is not taken")
            case "key_error":
                raise KeyError("/etc/secret")
            case "not_implemented":
                raise NotImplementedError
            case "echo":
                outputs = [
                    ResponseOutput(
                        name=i.name, shape=i.shape, datatype=i.datatype, data=i.data
                    )
                    for i in payload.inputs
                ]
            case _:
                outputs = ANSWERS[model_name](payload)
        response = InferenceResponse(
            model_name=model_name, model_version=model_version, outputs=outputs
        )
        if model_name == "output_parameters":
            response.parameters = {"whole": True}
        return response

    def model_metadata(self, model_name, model_version=None):
        if model_name != "declared":
            raise NotImplementedError
        return ModelMetadataResponse(
            name=model_name,
            versions=["1", "2"] if model_version is None else [model_version],
            platform="python",
            inputs=[MetadataTensor(name="x", datatype="FP32", shape=[-1, 2])],
            outputs=[MetadataTensor(name="y", datatype=Datatype.BYTES, shape=[1])],
        )

    def model_load(self, model_name):
        return True

    def model_ready(self, model_name, model_version=None):
        return ModelReadyResponse(name=model_name, ready=model_name != "sleepy")
