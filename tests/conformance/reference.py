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


def round_arrival(k, current):
    """The same for rounds: each site in turn, on the current model."""
    _, _, delta = arrival(k, current)
    return k % 4, current, delta


def steps_of(k):
    """Local steps of the k-th update."""
    return 1 + k % 3


def polynomial(tau, a=0.5):
    return (1.0 + tau) ** -a


class Federation:
    """Versions of a model with two weights, one buffer of k updates."""

    def __init__(self, k, rule, server, arrivals=arrival):
        self.models = [np.array([0.25, -0.5])]
        self.k, self.rule, self.server, self.arrivals = k, rule, server, arrivals

    def run(self):
        buffer = []
        for k in range(ARRIVALS):
            current = len(self.models) - 1
            site, base, delta = self.arrivals(k, current)
            buffer.append((site, base, delta, current - base))
            self.rule.steps = [steps_of(j) for j in range(k + 1 - len(buffer), k + 1)]
            if len(buffer) == self.k:
                direction = self.rule.direction(self.models, buffer)
                self.server.ages = [current - b for _, b, _, _ in buffer]
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


class Contract:
    """A rate-corrected buffer whose weights keep each site's part within (1 +- epsilon) p_i of a
    window (docs/aggregation.md, "The fairness contract"), tasks and rests left alone. All four
    sites are members from version 0."""

    def __init__(self, server, epsilon, window, kappa_per_site, decay):
        self.server, self.epsilon, self.window, self.decay = server, epsilon, window, decay
        self.p = np.array(EXAMPLES) / sum(EXAMPLES)
        self.kappa = 4 * kappa_per_site
        self.counts, self.parts, self.updates = np.zeros(4), [], []
        self.live, self.lacking, self.of_version = np.ones(4, bool), np.zeros(4), np.zeros(4)

    def cap(self, arrived):
        here = self.live | arrived
        p = self.p[here] / self.p[here].sum()
        r = (self.counts + self.kappa * self.p)[here]
        r = r / r.sum()

        def keeps(c):
            part = np.minimum(p, c * r)
            part = part / part.sum() / p
            return part.min() >= 1 - self.epsilon / 2 and part.max() <= 1 + self.epsilon / 2

        def effective(c):
            w = np.minimum(p / r, c)
            return (r * w).sum() ** 2 / (r * w * w).sum() >= 0.25

        largest = max(1.0, (p / r).max())
        return min(self.border(largest, keeps), self.border(largest, lambda c: not effective(c)))

    @staticmethod
    def border(high, holds):
        """From where in [1, high] on it holds; the end where it never does."""
        low = 1.0
        if holds(low) or not holds(high):
            return low if holds(low) else high
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (low, middle) if holds(middle) else (middle, high)
        return high

    def direction(self, models, buffer):
        current = len(models) - 1
        sites = np.array([s for s, *_ in buffer])
        share = np.array([polynomial(current - b) for _, b, *_ in buffer])  # s(tau)
        rate = self.server.rate_at(current, [current - b for _, b, *_ in buffer])
        of_weight = rate / len(buffer) * share
        rates = (self.counts + self.kappa * self.p) / (self.counts.sum() + self.kappa)
        x = (self.p / rates)[sites]
        cap = self.cap(np.isin(np.arange(4), sites))
        if current == 0:
            weight = np.minimum(x, cap)
        else:
            m = np.array([(sites == s).sum() for s in sites])
            due = self.lacking[sites] / m + self.of_version[sites] / 2
            weight = np.minimum(np.maximum(x / 2 + due / of_weight, x / 4), cap)
        coefficients = weight * of_weight
        self.count(sites, share, coefficients)
        total = sum(c * d for c, (_, _, d, _) in zip(coefficients, buffer))
        return total / rate  # Which the server's step multiplies again.

    def count(self, sites, share, coefficients):
        """A version was made: what each site has had of the window, and what was due to it."""
        part, came = np.zeros(4), np.zeros(4)
        self.counts = self.counts * self.decay
        for site, s, c in zip(sites, share, coefficients):
            part[site] += c
            came[site] += 1
            self.counts[site] += s
        self.parts, self.updates = self.parts + [part], self.updates + [came]
        parts = np.array(self.parts[-self.window:])
        new = len(self.parts) < self.window
        self.live = (np.array(self.updates[-self.window:]).sum(axis=0) > 0) | new
        share_now = self.p * self.live / self.p[self.live].sum()
        masses = parts[:, self.live].sum(axis=1)
        self.lacking = np.where(self.live, masses.sum() * share_now - parts.sum(axis=0), 0)
        self.of_version = masses.mean() * share_now


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


class FedAvg:  # Algorithm 1 of arXiv:1602.05629, as the mean of deltas.
    def direction(self, models, buffer):
        n = np.array([EXAMPLES[s] for s, *_ in buffer], dtype=float)
        return sum(ni * d for ni, (_, _, d, _) in zip(n / n.sum(), buffer))


class FedNova:  # Equation 7 of arXiv:2007.07481 with a_i = (1, ..., 1).
    def direction(self, models, buffer):
        n = np.array([EXAMPLES[s] for s, *_ in buffer], dtype=float)
        p, tau = n / n.sum(), np.array(self.steps, dtype=float)
        normalised = [d / t for (_, _, d, _), t in zip(buffer, tau)]
        return (p * tau).sum() * sum(pi * d for pi, d in zip(p, normalised))


class Ace:  # arXiv:2511.19066: the mean of the latest of all, or of those not too old (ACED).
    def __init__(self, age_max=None):
        self.latest, self.age_max = {}, age_max

    def direction(self, models, buffer):
        (site, base, delta, _), = buffer
        self.latest[site] = (base, delta)
        live = [d for b, d in self.latest.values()
                if self.age_max is None or len(models) - 1 - b <= self.age_max]
        return np.mean(live, axis=0) if live else np.zeros(2)


class Mean:
    def direction(self, models, buffer):
        return np.mean([d for _, _, d, _ in buffer], axis=0)


class DcAsgd:  # Equation 10 of arXiv:1609.08326: g + lambda g*g*(w_t - w_bak).
    def __init__(self, rate, compensation):
        self.rate, self.compensation = rate, compensation

    def direction(self, models, buffer):
        (_, base, delta, _), = buffer
        distance = self.rate * self.steps[0]
        gradient = -delta / distance
        gradient = gradient + self.compensation * gradient * gradient * (models[-1] - models[base])
        return -distance * gradient


class FlSim:  # A sum; s over that of a staleness of one.
    def direction(self, models, buffer):
        current = len(models) - 1
        return sum(polynomial(current - b) / polynomial(1) * d for _, b, d, _ in buffer)


class NvFlare:  # The version is counted up before the staleness is taken.
    def direction(self, models, buffer):
        after = len(models)
        return np.mean([d / (1 + np.sqrt(after - b)) for _, b, d, _ in buffer], axis=0)


class Appfl:  # Against the current model, over all clients.
    def direction(self, models, buffer):
        current = len(models) - 1
        return sum(0.9 * polynomial(current - b) * (models[b] + d - models[-1])
                   for _, b, d, _ in buffer) / len(EXAMPLES)


class Plato:  # Against the current model.
    def direction(self, models, buffer):
        return np.mean([models[b] + d - models[-1] for _, b, d, _ in buffer], axis=0)


class Sgd:
    def __init__(self, rate, final=None, over=1, momentum=0.0, tau_c=None):
        self.rate, self.final, self.over, self.momentum = rate, final or rate, over, momentum
        self.tau_c, self.velocity = tau_c, np.zeros(2)

    def rate_at(self, version, ages):
        eta = self.rate * (self.final / self.rate) ** (min(version, self.over) / self.over)
        late = self.tau_c is not None and np.mean(ages) > self.tau_c
        return eta / np.mean(ages) if late else eta

    def step(self, weights, direction, version):
        self.velocity = self.momentum * self.velocity + direction
        return weights + self.rate_at(version, self.ages) * self.velocity


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


class FedOpt:  # Algorithm 2 of arXiv:2003.00295, with m and v that begin at zero.
    def __init__(self, kind, rate, beta1=0.9, beta2=0.99, tau=1e-3):
        self.kind, self.rate, self.b1, self.b2, self.tau = kind, rate, beta1, beta2, tau
        self.m, self.v = np.zeros(2), np.zeros(2)

    def step(self, weights, direction, _):
        squared = direction**2
        self.m = self.b1 * self.m + (1 - self.b1) * direction
        if self.kind == "adagrad":
            self.v = self.v + squared
        elif self.kind == "yogi":
            self.v = self.v - (1 - self.b2) * squared * np.sign(self.v - squared)
        else:
            self.v = self.b2 * self.v + (1 - self.b2) * squared
        return weights + self.rate * self.m / (np.sqrt(self.v) + self.tau)


class AmsGrad:  # Algorithm 1 of arXiv:2407.18365; with corrected=True as torch.optim.Adam has it.
    def __init__(self, rate, delayed=None, tau_c=1, corrected=False):
        self.rate, self.delayed, self.tau_c, self.corrected = rate, delayed, tau_c, corrected
        self.m, self.v, self.v_hat, self.t = np.zeros(2), np.zeros(2), np.zeros(2), 0

    def step(self, weights, direction, _):
        self.t += 1
        self.m = 0.9 * self.m + 0.1 * direction
        self.v = 0.99 * self.v + (1 - 0.99) * direction**2
        self.v_hat = np.maximum(self.v_hat, self.v)
        rate, m, v_hat = self.rate, self.m, self.v_hat
        if self.delayed:
            tau = self.delayed(self.ages)
            rate = rate if tau <= self.tau_c else rate / max(tau, 1)
        if self.corrected:
            m, v_hat = m / (1 - 0.9**self.t), v_hat / (1 - 0.99**self.t)
        return weights + rate * m / (np.sqrt(v_hat) + 1e-3)


def adaptive(server, *contract):
    return Federation(3, Contract(server, *contract), server)


CASES = {
    "fedasync": Federation(1, FedAsync(), Sgd(1)),
    "fedbuff": Federation(3, FedBuff(), Sgd(0.5)),
    "fedbuff_rates": Federation(3, RateCorrected(1.2, 1, 0.9), Sgd(1)),
    "fedbuff_momentum": Federation(3, FedBuff(), Sgd(0.5, momentum=0.9)),
    "fedbuff_adam": Federation(3, FedBuff(), Adam(0.1)),
    "adaptive": adaptive(Sgd(1, 0.3, 6, tau_c=1.2), 0.25, 4, 0.5, 0.98),
    # Versions 2 and 3: no few updates may carry the model, whatever the contract needs.
    "adaptive_guarded": adaptive(Sgd(0.5), 0.1, 4, 0.01, 1),
    "ca2fl": Federation(3, Ca2fl(), Sgd(1)),
    "table": Federation(2, Table(), Sgd(1, 0.3, 6)),
    "fedprox": Federation(4, FedAvg(), Sgd(1), round_arrival),
    "fedadam": Federation(4, FedAvg(), FedOpt("adam", 0.1), round_arrival),
    # The numbers of FLamby's published rows.
    "fedadam_flamby": Federation(4, FedAvg(), FedOpt("adam", 0.01, 0.9, 0.999, 1e-8),
                                 round_arrival),
    "fedyogi": Federation(4, FedAvg(), FedOpt("yogi", 0.1), round_arrival),
    "fedadagrad": Federation(4, FedAvg(), FedOpt("adagrad", 0.1, beta1=0.0), round_arrival),
    "fedadagrad_flamby": Federation(4, FedAvg(), FedOpt("adagrad", 0.01, 0.9, tau=1e-8),
                                    round_arrival),
    "fedamsgrad": Federation(4, FedAvg(), AmsGrad(0.1), round_arrival),
    "fedbuff_amsgrad": Federation(3, FedBuff(), AmsGrad(0.1, corrected=True)),
    "fednova": Federation(4, FedNova(), Sgd(1), round_arrival),
    "ace": Federation(1, Ace(), Sgd(0.5)),
    "aced": Federation(1, Ace(age_max=2), Sgd(1)),
    "fadas": Federation(3, Mean(), AmsGrad(0.1, delayed=max)),
    "fadas_mean": Federation(3, Mean(), AmsGrad(0.1, delayed=np.mean, tau_c=1.5)),
    "dc_asgd": Federation(1, DcAsgd(rate=0.1, compensation=0.5), Sgd(1)),
    "stale_synchronous": Federation(1, Mean(), Sgd(0.25)),
    "fedbuff_flsim": Federation(3, FlSim(), Sgd(1)),
    "fedbuff_nvflare": Federation(3, NvFlare(), Sgd(1)),
    "fedbuff_appfl": Federation(3, Appfl(), Sgd(1)),
    "fedbuff_plato": Federation(3, Plato(), Sgd(1)),
}

if __name__ == "__main__":
    for name, federation in CASES.items():
        for version, model in enumerate(federation.run(), start=1):
            print(f'{{"{name}", {version}, {{{model[0]:.17g}, {model[1]:.17g}}}}},')
