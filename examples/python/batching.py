"""A handler that answers several requests in one call: arrays come stacked.

    oip serve examples/python/batching.py --auth-enabled false
"""

import time

import numpy as np

import oip

WEIGHTS = np.linspace(-1, 1, 16, dtype=np.float32).reshape(4, 4)


@oip.model(
    "ranker",
    inputs=[("features", "FP32", [-1, 4])],
    outputs=[("scores", "FP32", [-1, 4])],
    max_batch_size=32,
    max_batch_delay=0.002,
)
def rank(features: np.ndarray) -> np.ndarray:
    """One row of scores for each row of features. A call takes long, whatever its size, as on a
    GPU: with batches, 32 callers wait for one call rather than for 32."""
    time.sleep(0.01)
    return features @ WEIGHTS
