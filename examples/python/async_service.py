"""An `async` handler that asks another service: while it waits, the loop answers others.

    PRICES=http://localhost:9000 oip serve examples/python/async_service.py --auth-enabled false
"""

import asyncio
import os

import httpx

from oip import InferenceRequest, InferenceResponse, ModelHandler, ResponseOutput
from oip.errors import Unavailable


class Prices(ModelHandler):
    """The prices of articles, by their names, from a service elsewhere."""

    def __init__(self, url: str | None = None) -> None:
        self.url = url or os.environ.get("PRICES", "http://localhost:9000")
        self._client: httpx.AsyncClient | None = None

    @property
    def client(self) -> httpx.AsyncClient:
        # Made on the loop that it is used on.
        if self._client is None:
            self._client = httpx.AsyncClient(base_url=self.url, timeout=2.0)
        return self._client

    async def infer(
        self, payload: InferenceRequest, model_name: str, model_version: str | None = None
    ) -> InferenceResponse:
        names = payload.input("article").strings()
        prices = await asyncio.gather(*(self.price(name) for name in names))
        return InferenceResponse(
            outputs=[ResponseOutput("price", [len(names)], "FP64", data=list(prices))]
        )

    async def price(self, name: str) -> float:
        try:
            answer = await self.client.get(f"/prices/{name}")
            answer.raise_for_status()
        except httpx.HTTPError:
            raise Unavailable("the price service does not answer", retry_after=1) from None
        return float(answer.json()["price"])


handler = Prices()
