#!/usr/bin/env python3
"""Personal layers and models over three sites of made patients, from the papers and without
anything of Consilium's (NumPy, float64):

  fedper  arXiv:1912.00818: two layers, of which the last never leaves its site;
  fedbn   arXiv:2102.07623: three layers, of which the batch norm in the middle, with its running
          statistics, never leaves;
  ditto   arXiv:2012.04221, algorithm 1: FedAvg, and beside it at each site
          v ← v − η(∇F(v) + λ(v − w)) with w the model that the round began with.

In each, three rounds of two full-batch steps of SGD, sites weighted by their patients, and the
second site misses the second round. Prints after each round the shared model, what each site keeps,
and its log-loss with the model that serves it; kept in personal_reference.inc:

    python3 tests/conformance/personal_reference.py > tests/conformance/personal_reference.inc
"""

import numpy as np

RATE, STEPS, ROUNDS, LAMBDA = 0.5, 2, 3, 0.4
MOMENTUM, EPSILON = 0.1, 1e-5
ROWS = [6, 4, 5]
X = [np.float32(np.sin(1.7 * np.arange(2 * n) + site + 0.3)).astype(float).reshape(n, 2)
     for site, n in enumerate(ROWS)]
Y = [(np.arange(n) * (site + 2) % 3 == 0).astype(float) for site, n in enumerate(ROWS)]


def present(site, round_number):
    return not (site == 1 and round_number == 2)


def some(count, phase):
    return np.float32(0.6 * np.cos(2.3 * np.arange(count) + phase)).astype(float)


def head_loss(z, y):
    """Mean log-loss of logits z, and its derivative by z."""
    p = 1 / (1 + np.exp(-z))
    return np.mean(np.log1p(np.exp(z)) - y * z), (p - y) / len(y)


class TwoLayers:
    """body 2 → 2, tanh, head 2 → 1. Weights: body.weight, body.bias, head.weight, head.bias."""
    size, trained = 9, 9

    def loss_and_gradient(self, w, x, y):
        a, b, c, d = w[:4].reshape(2, 2), w[4:6], w[6:8], w[8]
        h = np.tanh(x @ a.T + b)
        loss, dz = head_loss(h @ c + d, y)
        dh = np.outer(dz, c) * (1 - h ** 2)
        return loss, np.concatenate([(dh.T @ x).ravel(), dh.sum(0), h.T @ dz, [dz.sum()]])

    def loss(self, w, x, y):
        return self.loss_and_gradient(w, x, y)[0]

    def after_step(self, w, before, x):
        return w


class WithBatchNorm:
    """body 2 → 2, norm, head 2 → 1, then the running mean and variance of norm."""
    size, trained = 17, 13

    def normalised(self, w, x):
        h = x @ w[:4].reshape(2, 2).T + w[4:6]
        return h, h.mean(0), h.var(0)

    def loss_and_gradient(self, w, x, y):
        gamma, beta, c, d = w[6:8], w[8:10], w[10:12], w[12]
        h, mean, var = self.normalised(w, x)
        root = np.sqrt(var + EPSILON)
        n = (h - mean) / root
        loss, dz = head_loss((gamma * n + beta) @ c + d, y)
        dout = np.outer(dz, c)
        dn = dout * gamma
        dh = (dn - dn.mean(0) - n * (dn * n).mean(0)) / root
        gradient = np.concatenate([(dh.T @ x).ravel(), dh.sum(0), (dout * n).sum(0), dout.sum(0),
                                   (gamma * n + beta).T @ dz, [dz.sum()], np.zeros(4)])
        return loss, gradient

    def after_step(self, w, before, x):
        _, mean, var = self.normalised(before, x)
        unbiased = var * len(x) / (len(x) - 1)
        w[13:15] = (1 - MOMENTUM) * before[13:15] + MOMENTUM * mean
        w[15:17] = (1 - MOMENTUM) * before[15:17] + MOMENTUM * unbiased
        return w

    def loss(self, w, x, y):
        h = x @ w[:4].reshape(2, 2).T + w[4:6]
        n = (h - w[13:15]) / np.sqrt(w[15:17] + EPSILON)
        return head_loss((w[6:8] * n + w[8:10]) @ w[10:12] + w[12], y)[0]


def train(model, w, x, y, pull=0.0, centre=None):
    w = w.copy()
    for _ in range(STEPS):
        before = w.copy()
        _, gradient = model.loss_and_gradient(w, x, y)
        if pull:
            gradient = gradient + pull * (w - centre)
        w = model.after_step(w - RATE * gradient, before, x)
    return w


def show(name, kind, round_number, site, values):
    text = ", ".join(repr(float(v)) for v in np.atleast_1d(values))
    print(f'{{"{name}", Row::{kind}, {round_number}, {site}, {{{text}}}}},')


def merged(w, ends):
    total = sum(ROWS[site] for site in ends)
    return w + sum(ROWS[site] * (end - w) for site, end in ends.items()) / total


def personal_layers(name, model, w, places):
    """The sites begin with personal values of their own."""
    own = [some(len(places), site + 1) for site in range(3)]
    if name == "fedbn":  # Variances are positive.
        own = [np.concatenate([o[:-2], 1 + np.abs(o[-2:])]) for o in own]
    own = [np.float32(o).astype(float) for o in own]
    show(name, "kModel", 0, 0, w)
    for site in range(3):
        show(name, "kKept", 0, site, own[site])
    for number in range(1, ROUNDS + 1):
        ends = {}
        for site in (s for s in range(3) if present(s, number)):
            begin = w.copy()
            begin[places] = own[site]
            ends[site] = train(model, begin, X[site], Y[site])
            own[site] = ends[site][places]
            ends[site][places] = w[places]  # What is personal is not in the update.
        w = merged(w, ends)
        show(name, "kModel", number, 0, w)
        for site in range(3):
            show(name, "kKept", number, site, own[site])
            serves = w.copy()
            serves[places] = own[site]
            show(name, "kLoss", number, site, model.loss(serves, X[site], Y[site]))


def ditto():
    model, w, v = TwoLayers(), some(9, 0), [None] * 3
    show("ditto", "kModel", 0, 0, w)
    for number in range(1, ROUNDS + 1):
        ends = {}
        for site in (s for s in range(3) if present(s, number)):
            ends[site] = train(model, w, X[site], Y[site])
            begin = w if v[site] is None else v[site]
            v[site] = train(model, begin, X[site], Y[site], LAMBDA, w)
        w = merged(w, ends)
        show("ditto", "kModel", number, 0, w)
        for site in range(3):
            show("ditto", "kKept", number, site, v[site])
            show("ditto", "kLoss", number, site, model.loss(v[site], X[site], Y[site]))


print("// Generated by personal_reference.py.")
personal_layers("fedper", TwoLayers(), some(9, 0), np.arange(6, 9))
start = some(17, 0)
start[15:] = 1 + np.abs(start[15:])
personal_layers("fedbn", WithBatchNorm(), np.float32(start).astype(float),
                np.concatenate([np.arange(6, 10), np.arange(13, 17)]))
ditto()
