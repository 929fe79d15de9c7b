"""A scikit-learn classifier as a function.

    oip serve examples/python/sklearn_iris.py --auth-enabled false
"""

import numpy as np
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

import oip

NAMES = np.array(["setosa", "versicolor", "virginica"])
measures, kinds = load_iris(return_X_y=True)
classifier = LogisticRegression(max_iter=1000).fit(measures, kinds)


@oip.model(
    "iris",
    inputs=[("x", "FP32", [-1, 4])],
    outputs=[("label", "INT64", [-1]), ("name", "BYTES", [-1]), ("probabilities", "FP32", [-1, 3])],
    platform="sklearn",
)
def predict(x: np.ndarray) -> dict[str, object]:
    """Which iris this is, from the lengths and widths of sepal and petal in centimetres."""
    labels = classifier.predict(x)
    return {
        "label": labels,
        "name": NAMES[labels],
        "probabilities": classifier.predict_proba(x),
    }


if __name__ == "__main__":
    oip.Server(predict).serve()
