#!/usr/bin/env python3
"""Zeno++ written down once more, straight from arXiv:1903.07020, over gradients in f64 (which go
against the updates that sites send), without anything of Consilium's. Prints what
tests/conformance/zeno_test.cc compares with; its output is kept in zeno_reference.inc:

    python3 tests/conformance/zeno_reference.py > tests/conformance/zeno_reference.inc

Needs NumPy.
"""

import numpy as np

ELEMENTS = 5
VALIDATOR, HOSTILE = 2, 4
# Whose update arrives; two wait for the first of the validator.
ARRIVALS = [0, 3, 2, 1, 4, 0, 2, 3, 4, 1, 2, 0, 3, 4, 1, 0, 2, 4, 3, 1, 0, 3, 2, 1, 4, 0, 3, 1]
DOWNHILL = np.array([1.0, -0.5, 0.25, 0.75, -1.0])


def delta(k, site):
    """The k-th update; the same in C++. The hostile site goes the other way, and further."""
    noise = np.array([((7 * k + 3 * i + 5 * i * k) % 11 - 5) / 8 for i in range(ELEMENTS)])
    if site == HOSTILE:
        return -3 * DOWNHILL + noise
    if site == VALIDATOR:
        return 0.5 * DOWNHILL + noise / 8
    return 0.25 * DOWNHILL + noise


def zeno(k_updates, gamma, rho, epsilon, rate, exponent):
    models, scoring, waiting, answers = [np.array([0.25, -0.5, 0.0, 1.0, 2.0])], None, [], []
    for k, site in enumerate(ARRIVALS):
        current = len(models) - 1
        base = current - min(current, (3 * k) % 4)
        gradient = -delta(k, site)
        if site == VALIDATOR:
            scoring = gradient
        else:
            waiting.append((base, gradient))
        while scoring is not None and len(waiting) >= k_updates:
            batch, waiting = waiting[:k_updates], waiting[k_updates:]
            accepted = []
            for base, g in batch:
                g = g * (np.linalg.norm(scoring) / np.linalg.norm(g))
                passed = gamma * np.dot(scoring, g) - rho * np.dot(g, g) >= -gamma * epsilon
                answers.append(passed)
                if passed:
                    accepted.append((1.0 + len(models) - 1 - base) ** -exponent * g)
            step = sum(accepted) / len(accepted) if accepted else np.zeros(ELEMENTS)
            models.append(models[-1] - rate * step)
    assert 4 <= sum(answers) <= len(answers) - 4, answers  # Both happen.
    return models[1:]


def rows(name, models):
    print(f"inline constexpr double {name}[][{ELEMENTS}] = {{")
    for model in models:
        print("    {" + ", ".join(repr(float(x)) for x in model) + "},")
    print("};")


def main():
    print("// Made by zeno_reference.py.")
    rows("kZeno", zeno(1, 0.1, 0.002, 0.0, 1.0, 0.0))
    rows("kZenoOfThree", zeno(3, 0.2, 0.1, 0.25, 0.5, 0.5))


if __name__ == "__main__":
    main()
