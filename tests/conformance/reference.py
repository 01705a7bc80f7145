#!/usr/bin/env python3
"""The aggregation rules written down once more, straight from the papers and from
docs of the staleness-weighted table, over whole models instead of vector programs, without
anything of Consilium's. Prints the models that tests/conformance/strategies_test.cc compares
with; its output is kept in reference.inc:

    python3 tests/conformance/reference.py > tests/conformance/reference.inc
"""

import numpy as np

EXAMPLES = [100, 50, 30, 20]  # Training examples of sites a, b, c, d.
ARRIVALS = 24


def arrival(k, current):
    """The k-th update: its site, its base version and its delta; the same in C++."""
    site = (k * k + k // 3) % 4
    base = current - min(current, (3 * k) % 4)
    delta = np.array([((7 * k + 3) % 11 - 5) / 8, ((5 * k + 1) % 13 - 6) / 16])
    return site, base, delta


def polynomial(tau, a=0.5):
    return (1.0 + tau) ** -a


class Federation:
    """Versions of a model with two weights, one buffer of k updates."""

    def __init__(self, k, rule, server):
        self.models = [np.array([0.25, -0.5])]
        self.k, self.rule, self.server = k, rule, server

    def run(self):
        buffer = []
        for k in range(ARRIVALS):
            current = len(self.models) - 1
            site, base, delta = arrival(k, current)
            buffer.append((site, base, delta, current - base))
            if len(buffer) == self.k:
                direction = self.rule.direction(self.models, buffer)
                self.models.append(self.server.step(self.models[-1], direction, current))
                buffer = []
        return self.models[1:]


class FedAsync:  # Algorithm 1 of arXiv:1903.03934, alpha = 0.6.
    def direction(self, models, buffer):
        (_, base, delta, _), = buffer
        alpha = 0.6 * polynomial(len(models) - 1 - base)
        local = models[base] + delta
        return (1 - alpha) * models[-1] + alpha * local - models[-1]


class FedBuff:  # Algorithm 1 of arXiv:2106.06639.
    def direction(self, models, buffer):
        current = len(models) - 1
        return sum(polynomial(current - b) * d for _, b, d, _ in buffer) / len(buffer)


class RateCorrected:  # FedBuff with p_i and a capped inverse rate.
    def __init__(self, cap, kappa_per_site, decay):
        self.counts = np.zeros(4)
        self.cap, self.kappa, self.decay = cap, kappa_per_site * 4, decay

    def direction(self, models, buffer):
        current = len(models) - 1
        p = np.array(EXAMPLES) / sum(EXAMPLES)
        rate = (self.counts + self.kappa * p) / (self.counts.sum() + self.kappa)
        weight = np.minimum(p / rate, self.cap)
        out = sum(weight[s] * polynomial(current - b) * d for s, b, d, _ in buffer) / len(buffer)
        self.counts *= self.decay
        for site, *_ in buffer:
            self.counts[site] += 1
        return out


class Ca2fl:  # Algorithm 2 of "Tackling the data heterogeneity in asynchronous FL" (ICLR 2024).
    def __init__(self):
        self.cache = np.zeros((4, 2))

    def direction(self, models, buffer):
        before = self.cache.copy()
        out = before.mean(axis=0) + np.mean([d - before[s] for s, _, d, _ in buffer], axis=0)
        for site, _, delta, _ in buffer:
            self.cache[site] = delta
        return out


class Table:  # w += eta * sum a_i h_i / sum a_i, a_i = p_i * s(max(0, age_i - usual_i)).
    def __init__(self):
        self.entries = {}  # site: (base, delta, staleness when it arrived)
        self.ages = {site: [] for site in range(4)}

    def direction(self, models, buffer):
        current = len(models) - 1
        for site in {s for s, *_ in buffer}:
            if site in self.entries:
                self.ages[site].append(current - self.entries[site][0])
        for site, base, delta, arrived in buffer:  # The last one of a site stays.
            self.entries[site] = (base, delta, arrived)
        weights, total = {}, 0.0
        for site, (base, delta, arrived) in self.entries.items():
            usual = np.median(self.ages[site][-5:]) if self.ages[site] else 2 * arrived + 1
            weights[site] = (EXAMPLES[site] / sum(EXAMPLES)
                             * polynomial(max(0.0, current - base - usual)))
        total = sum(weights.values())
        return sum(weights[s] * self.entries[s][1] for s in weights) / total


class Sgd:
    def __init__(self, rate, final=None, over=1, momentum=0.0):
        self.rate, self.final, self.over, self.momentum = rate, final or rate, over, momentum
        self.velocity = np.zeros(2)

    def step(self, weights, direction, version):
        eta = self.rate * (self.final / self.rate) ** (min(version, self.over) / self.over)
        self.velocity = self.momentum * self.velocity + direction
        return weights + eta * self.velocity


class Adam:  # arXiv:1412.6980, algorithm 1, upwards.
    def __init__(self, rate, beta1=0.9, beta2=0.99, epsilon=1e-3):
        self.rate, self.b1, self.b2, self.epsilon = rate, beta1, beta2, epsilon
        self.m, self.v, self.t = np.zeros(2), np.zeros(2), 0

    def step(self, weights, direction, _):
        self.t += 1
        self.m = self.b1 * self.m + (1 - self.b1) * direction
        self.v = self.b2 * self.v + (1 - self.b2) * direction**2
        m_hat = self.m / (1 - self.b1**self.t)
        v_hat = self.v / (1 - self.b2**self.t)
        return weights + self.rate * m_hat / (np.sqrt(v_hat) + self.epsilon)


CASES = {
    "fedasync": Federation(1, FedAsync(), Sgd(1)),
    "fedbuff": Federation(3, FedBuff(), Sgd(0.5)),
    "fedbuff_rates": Federation(3, RateCorrected(1.2, 1, 0.9), Sgd(1)),
    "fedbuff_momentum": Federation(3, FedBuff(), Sgd(0.5, momentum=0.9)),
    "fedbuff_adam": Federation(3, FedBuff(), Adam(0.1)),
    "ca2fl": Federation(3, Ca2fl(), Sgd(1)),
    "table": Federation(2, Table(), Sgd(1, 0.3, 6)),
}

if __name__ == "__main__":
    for name, federation in CASES.items():
        for version, model in enumerate(federation.run(), start=1):
            print(f'{{"{name}", {version}, {{{model[0]:.17g}, {model[1]:.17g}}}}},')
