"""Serve Python models over the Open Inference Protocol (KServe V2), REST and gRPC.

    from oip import ModelHandler, Server

    class Doubler(ModelHandler):
        def infer(self, payload, model_name, model_version=None):
            return {"output": payload.inputs[0].numpy() * 2}

    Server(Doubler(), auth_enabled=False).serve()
"""

from . import codecs, errors, testing
from ._oip import Context, TensorData, __version__
from .compat import (
    AissembleOIPFastAPI,
    AissembleOIPgRPC,
    AissembleOIPGrpc,
    AissembleOIPKServe,
    AuthzforceAdapter,
    DefaultAdapter,
)
from .decorator import Model, Spec, model
from .handler import DataplaneHandler, DefaultModelHandler, ModelHandler
from .server import Server
from .types import (
    Datatype,
    InferenceRequest,
    InferenceResponse,
    MetadataTensor,
    ModelMetadataErrorResponse,
    ModelMetadataResponse,
    ModelReadyResponse,
    Parameters,
    RequestInput,
    RequestOutput,
    ResponseOutput,
    ServerLiveResponse,
    ServerMetadataErrorResponse,
    ServerMetadataResponse,
    ServerReadyResponse,
)

__all__ = [
    "AissembleOIPFastAPI",
    "AissembleOIPGrpc",
    "AissembleOIPKServe",
    "AissembleOIPgRPC",
    "AuthzforceAdapter",
    "Context",
    "DataplaneHandler",
    "Datatype",
    "DefaultAdapter",
    "DefaultModelHandler",
    "InferenceRequest",
    "InferenceResponse",
    "MetadataTensor",
    "Model",
    "ModelHandler",
    "ModelMetadataErrorResponse",
    "ModelMetadataResponse",
    "ModelReadyResponse",
    "Parameters",
    "RequestInput",
    "RequestOutput",
    "ResponseOutput",
    "Server",
    "ServerLiveResponse",
    "ServerMetadataErrorResponse",
    "ServerMetadataResponse",
    "ServerReadyResponse",
    "Spec",
    "TensorData",
    "__version__",
    "codecs",
    "errors",
    "model",
    "testing",
]
