#!/usr/bin/python3
"""Reference values for cpu_trainer_test.cc: three full-batch steps of logistic regression by SGD,
by Adam and by SCAFFOLD, from the equations in plain Python (float64). Prints what the test has."""

import math
import struct


def f32(x):
    return struct.unpack("f", struct.pack("f", x))[0]


EXAMPLES = [[f32(math.sin(1.3 * (3 * r + j) + 0.2)) for j in range(3)] for r in range(8)]
LABELS = [1, 0, 0, 1, 1, 0, 1, 1]
BASE = [f32(v) for v in (0.5, -0.25, 0.125, 0.75)]  # Three weights and the bias.


def loss_and_gradient(w):
    loss, gradient = 0, [0.0] * 4
    for x, y in zip(EXAMPLES, LABELS):
        row = x + [1]
        z = sum(a * b for a, b in zip(w, row))
        p = 1 / (1 + math.exp(-z))
        loss -= y * math.log(p) + (1 - y) * math.log(1 - p)
        for j in range(4):
            gradient[j] += (p - y) * row[j] / len(LABELS)
    return loss / len(LABELS), gradient


def run(step, mu):
    w, losses = list(BASE), []
    for t in range(1, 4):
        loss, g = loss_and_gradient(w)
        losses.append(loss)
        g = [a + mu * (v - b) for a, v, b in zip(g, w, BASE)]
        w = step(t, w, g)
    print("  delta", ", ".join(f"{v - b:.9f}" for v, b in zip(w, BASE)))
    print("  mean loss", sum(losses) / 3)


def sgd(rate, momentum, decay):
    buffer = [0.0] * 4

    def step(t, w, g):
        for i in range(4):
            g[i] += decay * w[i]
            buffer[i] = g[i] if t == 1 else momentum * buffer[i] + g[i]
        return [v - rate * m for v, m in zip(w, buffer)]
    return step


def adam(rate, beta1, beta2, epsilon, decay):
    m, v = [0.0] * 4, [0.0] * 4

    def step(t, w, g):
        out = []
        for i in range(4):
            d = g[i] + decay * w[i]
            m[i] = beta1 * m[i] + (1 - beta1) * d
            v[i] = beta2 * v[i] + (1 - beta2) * d * d
            m_hat, v_hat = m[i] / (1 - beta1 ** t), v[i] / (1 - beta2 ** t)
            out.append(w[i] - rate * m_hat / (math.sqrt(v_hat) + epsilon))
        return out
    return step


def scaffold(rate, decay, c, c_i):  # arXiv:1910.06378, option II; weight decay is part of the loss.
    w, of_steps = list(BASE), []
    for _ in range(3):
        _, g = loss_and_gradient(w)
        g = [a + decay * v for a, v in zip(g, w)]
        of_steps.append(g)
        w = [v - rate * (a - own + all_) for v, a, own, all_ in zip(w, g, c_i, c)]
    after = [own - all_ + (b - v) / (3 * rate) for own, all_, b, v in zip(c_i, c, BASE, w)]
    mean = [sum(g[j] for g in of_steps) / 3 for j in range(4)]
    assert all(abs(a - m) < 1e-12 for a, m in zip(after, mean))  # What it is an estimate of.
    print("  delta", ", ".join(f"{v - b:.9f}" for v, b in zip(w, BASE)))
    print("  c_i after", ", ".join(f"{v:.9f}" for v in after))


print("scaffold 0.5, decay 0.1, at first, then with c and c_i")
scaffold(0.5, 0.1, [0.0] * 4, [0.0] * 4)
scaffold(0.5, 0.1, [f32(v) for v in (0.1, -0.2, 0.3, -0.4)],
         [f32(v) for v in (-0.3, 0.2, 0.1, 0.25)])
print("sgd 0.5")
run(sgd(0.5, 0, 0), 0)
print("sgd 0.5, momentum 0.9, decay 0.1, mu 0.2")
run(sgd(0.5, 0.9, 0.1), 0.2)
print("adam 0.05, 0.8, 0.95, 1e-3, decay 0.1")
run(adam(0.05, 0.8, 0.95, 1e-3, 0.1), 0)
