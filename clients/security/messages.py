"""gRPC messages as bytes, without generated code: field numbers of the protocol's proto file."""

import struct

from onnx_models import _field as field


def _model_at(number):
    return lambda model: field(number, model)


def _nothing(_):
    return b""


def _infer(model):
    tensor = field(1, "IN") + field(2, "FP32") + field(3, 1)
    return field(1, model) + field(5, tensor) + field(7, struct.pack("<f", 1.5))


# What each RPC of the service is asked: a function of the model's name.
MESSAGES = {
    "ServerLive": _nothing,
    "ServerReady": _nothing,
    "ServerMetadata": _nothing,
    "ModelReady": _model_at(1),
    "ModelMetadata": _model_at(1),
    "ModelConfig": _model_at(1),
    "ModelStatistics": _model_at(1),
    "ModelInfer": _infer,
    "ModelStreamInfer": _infer,
    "RepositoryIndex": _nothing,
    "RepositoryModelLoad": _model_at(2),
    "RepositoryModelUnload": _model_at(2),
    "SystemSharedMemoryStatus": _nothing,
    "SystemSharedMemoryRegister": _model_at(1),
    "SystemSharedMemoryUnregister": _model_at(1),
    "CudaSharedMemoryStatus": _nothing,
    "CudaSharedMemoryRegister": _model_at(1),
    "CudaSharedMemoryUnregister": _model_at(1),
    "TraceSetting": _model_at(2),
    "LogSettings": _nothing,
}
