#!/usr/bin/python3
"""Makes optimizer_reference.inc: server Adam and momentum over three steps, by NumPy in float32.

usage: optimizer_reference.py > optimizer_reference.inc   (needs NumPy)

Every operation of the update rule is one NumPy operation on float32 arrays, so each rounds by
itself, as in aggregator/merge/shard_math.h.
"""

import numpy as np

F = np.float32
N, STEPS = 37, 3


def rows(name, array):
    print(f"inline constexpr float {name}[] = {{")
    for value in array:
        print(f"    {float(value).hex()}F,")
    print("};")


def main():
    random = np.random.default_rng(20240607)
    weights = random.normal(size=N).astype(F)
    directions = (random.normal(size=(STEPS, N)) * 0.3).astype(F)
    directions[:, 3] = 0  # 0/(√0 + ε)
    rate, beta1, beta2, epsilon = 0.0137, 0.9, 0.99, 1e-3
    w, m, v = weights.copy(), np.zeros(N, F), np.zeros(N, F)
    for d in directions:
        m = F(beta1) * m + F(1 - beta1) * d
        v = F(beta2) * v + F(1 - beta2) * (d * d)
        w = w + F(rate) * m / (np.sqrt(v) + F(epsilon))
    momentum_w, momentum_m = weights.copy(), np.zeros(N, F)
    for d in directions:
        momentum_m = F(beta1) * momentum_m + d
        momentum_w = momentum_w + F(rate) * momentum_m
    print("// Made by optimizer_reference.py.")
    print(f"inline constexpr size_t kSteps = {STEPS};")
    for name, value in [("kRate", rate), ("kBeta1", beta1), ("kBeta2", beta2),
                        ("kEpsilon", epsilon)]:
        print(f"inline constexpr double {name} = {value!r};")
    rows("kWeights", weights)
    rows("kDirections", directions.reshape(-1))
    rows("kAdamWeights", w)
    rows("kAdamFirst", m)
    rows("kAdamSecond", v)
    rows("kMomentumWeights", momentum_w)
    rows("kMomentumFirst", momentum_m)


if __name__ == "__main__":
    main()
