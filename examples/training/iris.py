"""Train `iris`: which of three species is a flower with these measures?

Logistic regression on Fisher's iris data as scikit-learn bundles it. The
standardisation of the inputs is part of the graph, so clients send centimetres.
"""

import numpy as np
from onnx import helper
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import export

SEED = 1936


def train():
    data = load_iris()
    x_train, x_test, y_train, y_test = train_test_split(
        data.data.astype(np.float32), data.target, test_size=0.2, stratify=data.target, random_state=SEED
    )
    scaler = StandardScaler().fit(x_train)
    classifier = LogisticRegression(C=10.0, max_iter=1000).fit(scaler.transform(x_train), y_train)
    return scaler, classifier, x_test, y_test


def save(scaler, classifier):
    nodes = [
        helper.make_node("Sub", ["input", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "scale"], ["standardised"]),
        helper.make_node("Gemm", ["standardised", "weights", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["logits"], ["label"], axis=1, keepdims=0),
    ]
    export.save_model(
        "iris",
        "Iris species from sepal length, sepal width, petal length, petal width in cm. "
        "0 = setosa, 1 = versicolor, 2 = virginica.",
        nodes,
        [export.tensor("input", np.float32, 4)],
        [export.tensor("label", np.int64), export.tensor("probabilities", np.float32, 3)],
        [
            export.weight("mean", scaler.mean_.astype(np.float32)),
            export.weight("scale", scaler.scale_.astype(np.float32)),
            export.weight("weights", classifier.coef_.T.astype(np.float32)),
            export.weight("bias", classifier.intercept_.astype(np.float32)),
        ],
    )


def main():
    scaler, classifier, x_test, y_test = train()
    save(scaler, classifier)
    # Measured on the saved file, on flowers that training has not seen.
    accuracy = (export.run("iris", input=x_test)["label"] == y_test).mean()
    print(f"iris: accuracy {accuracy:.1%} on {len(y_test)} held-out flowers")
    # One flower of each species, all three held out.
    rows = [int(np.flatnonzero(y_test == species)[0]) for species in range(3)]
    answer = export.write_samples("iris", "three-flowers", input=x_test[rows])
    assert answer["label"].tolist() == [0, 1, 2], answer


if __name__ == "__main__":
    main()
