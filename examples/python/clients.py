"""Asking a server with the clients that there are: `tritonclient` and `kserve` work as they are.

    pip install "tritonclient[http]" kserve
    oip serve examples/python/sklearn_iris.py --auth-enabled false
    python examples/python/clients.py triton
    python examples/python/clients.py kserve
"""

import asyncio
import sys

import numpy as np

FLOWERS = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]], dtype=np.float32)


def triton(url: str = "localhost:8082") -> None:
    import tritonclient.http as http

    client = http.InferenceServerClient(url)
    x = http.InferInput("x", list(FLOWERS.shape), "FP32")
    x.set_data_from_numpy(FLOWERS)
    answer = client.infer("iris", [x])
    print(answer.as_numpy("label"), answer.as_numpy("name"))


async def kserve(url: str = "http://localhost:8082") -> None:
    from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    x = InferInput("x", list(FLOWERS.shape), "FP32")
    x.set_data_from_numpy(FLOWERS, binary_data=False)
    answer = await client.infer(url, InferRequest("iris", [x]), model_name="iris")
    print(answer)


if __name__ == "__main__":
    which = sys.argv[1] if len(sys.argv) > 1 else "triton"
    if which == "triton":
        triton()
    else:
        asyncio.run(kserve())
