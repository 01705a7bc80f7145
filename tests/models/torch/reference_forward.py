#!/usr/bin/python3
"""Reference values for torch_model_test.cc, from the equations in plain Python (float64), without
any tensor library. Prints what the test holds.

The model: input [2, 3] -> flatten -> linear 4 (a) -> layer norm (b) -> GELU (c) -> linear 4 without
bias (d) -> tanh (e) -> add c, e (f) -> sigmoid (g) -> linear 5 (h) -> ReLU (i) -> linear 3 (out).
"""

import math
import struct


def f32(x):
    return struct.unpack("f", struct.pack("f", x))[0]


class Weights:
    """w_k = 0.4 sin(1.7 k + 0.3), k counting over the layout."""

    def __init__(self):
        self.k = 0

    def take(self, count):
        out = [f32(0.4 * math.sin(1.7 * (self.k + j) + 0.3)) for j in range(count)]
        self.k += count
        return out


def linear(weights, x, units, bias=True):
    w = weights.take(units * len(x))
    b = weights.take(units) if bias else [0.0] * units
    return [sum(w[u * len(x) + i] * x[i] for i in range(len(x))) + b[u] for u in range(units)]


def layer_norm(weights, x, epsilon=1e-5):
    gain, shift = weights.take(len(x)), weights.take(len(x))
    mean = sum(x) / len(x)
    variance = sum((v - mean) ** 2 for v in x) / len(x)
    return [(v - mean) / math.sqrt(variance + epsilon) * g + s
            for v, g, s in zip(x, gain, shift)]


def forward(x, units_out):
    weights = Weights()
    a = linear(weights, x, 4)
    b = layer_norm(weights, a)
    c = [0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in b]
    d = linear(weights, c, 4, bias=False)
    f = [u + math.tanh(v) for u, v in zip(c, d)]
    g = [1 / (1 + math.exp(-v)) for v in f]
    h = linear(weights, g, 5)
    i = [max(v, 0) for v in h]
    return linear(weights, i, units_out)


def example(row):
    return [f32(math.cos(0.9 * (6 * row + j) + 0.1)) for j in range(6)]


def main():
    outputs = [forward(example(r), 3) for r in range(4)]
    print("three outputs:", ", ".join(f"{v:.9f}" for row in outputs for v in row))
    labels = [0, 2, 1, 1]
    print("cross entropy:", sum(math.log(sum(map(math.exp, z))) - z[y]
                                for z, y in zip(outputs, labels)) / 4)
    single = [forward(example(r), 1)[0] for r in range(4)]
    print("one output:", ", ".join(f"{v:.9f}" for v in single))
    labels = [0, 1, 1, 0]
    print("bce:", sum(math.log1p(math.exp(z)) - y * z for z, y in zip(single, labels)) / 4)
    print("mse:", sum((z - y) ** 2 for z, y in zip(single, [0.5, -1, 2, 0.25])) / 4)


main()
