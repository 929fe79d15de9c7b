"""Train `digits`: which digit was written on these 8x8 pixels?

A small convolutional network on scikit-learn's digits: one 3x3 convolution with
sixteen filters, a 2x2 max pool, two dense layers. It is small enough to be
trained with NumPy alone, which is what the class below does: forward pass,
gradients, Adam.
"""

import numpy as np
from onnx import helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import export

SEED = 8
FILTERS = 16
HIDDEN = 48
EPOCHS = 40
BATCH = 32
RATE = 2e-3
PIXEL_MAX = np.float32(16)


def patches(images):
    """The 3x3 neighbourhood of each pixel, zeros beyond the edge: [n, 8, 8, 9]."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    return windows.reshape(*images.shape, 9)


class Network:
    def __init__(self, rng):
        def normal(fan_in, *shape):
            return rng.normal(0, np.sqrt(2 / fan_in), shape).astype(np.float32)

        flat = FILTERS * 4 * 4
        self.weights = {
            "conv": normal(9, 9, FILTERS),
            "conv_bias": np.zeros(FILTERS, np.float32),
            "dense": normal(flat, flat, HIDDEN),
            "dense_bias": np.zeros(HIDDEN, np.float32),
            "head": normal(HIDDEN, HIDDEN, 10),
            "head_bias": np.zeros(10, np.float32),
        }
        self.mean = {name: np.zeros_like(w) for name, w in self.weights.items()}
        self.square = {name: np.zeros_like(w) for name, w in self.weights.items()}
        self.steps = 0

    def gradients(self, images, labels):
        """Gradients of the mean cross-entropy."""
        w, n = self.weights, len(images)
        windows = patches(images / PIXEL_MAX)
        conv = np.maximum(windows @ w["conv"] + w["conv_bias"], 0)
        # [n, row, y, column, x, filter]: the maximum over y and x is the 2x2 pool.
        blocks = conv.reshape(n, 4, 2, 4, 2, FILTERS)
        pooled = blocks.max(axis=(2, 4))
        # ONNX flattens channels first.
        flat = pooled.transpose(0, 3, 1, 2).reshape(n, -1)
        hidden = np.maximum(flat @ w["dense"] + w["dense_bias"], 0)
        logits = hidden @ w["head"] + w["head_bias"]
        exp = np.exp(logits - logits.max(axis=1, keepdims=True))

        d_logits = exp / exp.sum(axis=1, keepdims=True)
        d_logits[np.arange(n), labels] -= 1
        d_logits /= n
        d_hidden = (d_logits @ w["head"].T) * (hidden > 0)
        d_pooled = (d_hidden @ w["dense"].T).reshape(n, FILTERS, 4, 4).transpose(0, 2, 3, 1)
        # The gradient of a pool goes to the pixels that were the maximum.
        winners = (blocks == pooled[:, :, None, :, None]) & (blocks > 0)
        d_conv = (winners * d_pooled[:, :, None, :, None]).reshape(conv.shape)
        return {
            "conv": np.tensordot(windows, d_conv, axes=((0, 1, 2), (0, 1, 2))),
            "conv_bias": d_conv.sum(axis=(0, 1, 2)),
            "dense": flat.T @ d_hidden,
            "dense_bias": d_hidden.sum(axis=0),
            "head": hidden.T @ d_logits,
            "head_bias": d_logits.sum(axis=0),
        }

    def step(self, images, labels):
        """One step of Adam."""
        self.steps += 1
        for name, gradient in self.gradients(images, labels).items():
            self.mean[name] = 0.9 * self.mean[name] + 0.1 * gradient
            self.square[name] = 0.999 * self.square[name] + 0.001 * gradient**2
            mean = self.mean[name] / (1 - 0.9**self.steps)
            square = self.square[name] / (1 - 0.999**self.steps)
            update = RATE * mean / (np.sqrt(square) + 1e-8)
            self.weights[name] = (self.weights[name] - update).astype(np.float32)


def train(images, labels):
    rng = np.random.default_rng(SEED)
    network = Network(rng)
    for _ in range(EPOCHS):
        order = rng.permutation(len(images))
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            network.step(images[rows], labels[rows])
    return network.weights


def save(weights):
    nodes = [
        helper.make_node("Div", ["image", "pixel_max"], ["scaled"]),
        helper.make_node("Conv", ["scaled", "conv", "conv_bias"], ["conv_out"], kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("Relu", ["conv_out"], ["conv_relu"]),
        helper.make_node("MaxPool", ["conv_relu"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pooled"], ["flat"], axis=1),
        helper.make_node("Gemm", ["flat", "dense", "dense_bias"], ["dense_out"]),
        helper.make_node("Relu", ["dense_out"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "head", "head_bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["logits"], ["label"], axis=1, keepdims=0),
    ]
    # ONNX orders a convolution's weights [filter, channel, row, column].
    kernels = weights["conv"].T.reshape(FILTERS, 1, 3, 3)
    export.save_model(
        "digits",
        "The digit written on an 8x8 image; a pixel is 0 (paper) to 16 (ink).",
        nodes,
        [export.tensor("image", np.float32, 1, 8, 8)],
        [export.tensor("label", np.int64), export.tensor("probabilities", np.float32, 10)],
        [export.weight("pixel_max", PIXEL_MAX), export.weight("conv", kernels)]
        + [export.weight(name, w) for name, w in weights.items() if name != "conv"],
    )


def main():
    data = load_digits()
    x_train, x_test, y_train, y_test = train_test_split(
        data.images.astype(np.float32), data.target, test_size=0.2, stratify=data.target, random_state=SEED
    )
    save(train(x_train, y_train))
    # Measured on the saved file, on images that training has not seen.
    labels = export.run("digits", image=x_test[:, None])["label"]
    print(f"digits: accuracy {(labels == y_test).mean():.1%} on {len(y_test)} held-out images")
    # A held-out three, one row of pixels a line.
    row = int(np.flatnonzero(y_test == 3)[0])
    answer = export.write_samples("digits", "a-three", per_line=8, image=x_test[row][None, None])
    assert answer["label"].tolist() == [3], answer


if __name__ == "__main__":
    main()
