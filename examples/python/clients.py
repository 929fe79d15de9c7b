"""Asking a server with the clients that there are: `tritonclient` and `kserve` work as they are.

    pip install "tritonclient[http,grpc]"        # or kserve, in an environment of its own
    oip serve examples/python/sklearn_iris.py --auth-enabled false
    python examples/python/clients.py triton-http localhost:8082
    python examples/python/clients.py triton-grpc localhost:8081
    python examples/python/clients.py kserve-rest http://localhost:8082
    python examples/python/clients.py kserve-grpc localhost:8081
"""

import asyncio
import sys

import numpy as np

FLOWERS = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]], dtype=np.float32)


def triton_http(target: str) -> None:
    import tritonclient.http as http

    client = http.InferenceServerClient(target)
    x = http.InferInput("x", list(FLOWERS.shape), "FP32")
    x.set_data_from_numpy(FLOWERS)
    answer = client.infer("iris", [x])
    print(answer.as_numpy("label"), answer.as_numpy("name"))
    try:
        client.infer("iris", [http.InferInput("x", [1, 1], "FP32").set_data_from_numpy(FLOWERS[:1, :1])])
    except http.InferenceServerException as error:
        print("refused:", error.status(), error.message())


def triton_grpc(target: str) -> None:
    import tritonclient.grpc as grpc

    client = grpc.InferenceServerClient(target)
    x = grpc.InferInput("x", list(FLOWERS.shape), "FP32")
    x.set_data_from_numpy(FLOWERS)
    answer = client.infer("iris", [x])
    print(answer.as_numpy("label"), answer.as_numpy("name"))
    try:
        client.infer("iris", [grpc.InferInput("x", [1, 1], "FP32").set_data_from_numpy(FLOWERS[:1, :1])])
    except grpc.InferenceServerException as error:
        print("refused:", error.status(), error.message())


async def kserve_rest(url: str) -> None:
    from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    x = InferInput("x", list(FLOWERS.shape), "FP32")
    x.set_data_from_numpy(FLOWERS, binary_data=False)
    answer = await client.infer(url, InferRequest("iris", [x]), model_name="iris")
    print({output.name: output.data for output in answer.outputs})


async def kserve_grpc(target: str) -> None:
    from kserve import InferenceGRPCClient, InferInput, InferRequest

    client = InferenceGRPCClient(target)
    x = InferInput("x", list(FLOWERS.shape), "FP32")
    x.set_data_from_numpy(FLOWERS)
    answer = await client.infer(InferRequest("iris", [x]))
    print({output.name: output.as_numpy().tolist() for output in answer.outputs})


if __name__ == "__main__":
    which, target = sys.argv[1:]
    match which:
        case "triton-http":
            triton_http(target)
        case "triton-grpc":
            triton_grpc(target)
        case "kserve-rest":
            asyncio.run(kserve_rest(target))
        case "kserve-grpc":
            asyncio.run(kserve_grpc(target))
