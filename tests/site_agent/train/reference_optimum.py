#!/usr/bin/python3
"""The optimum of logistic regression on five standardised features of WDBC with an L2 penalty of
0.05/2·‖w, b‖², by Newton's method in plain Python (float64): the reference that cpu_trainer_test.cc
trains towards.

usage: reference_optimum.py breast_cancer.csv    (scikit-learn's copy of the table)
"""

import csv
import math
import sys

COLUMNS, PENALTY = [0, 1, 4, 7, 21], 0.05


def solve(a, b):
    n = len(b)
    a = [row[:] + [v] for row, v in zip(a, b)]
    for i in range(n):
        pivot = max(range(i, n), key=lambda r: abs(a[r][i]))
        a[i], a[pivot] = a[pivot], a[i]
        for r in range(n):
            if r != i:
                factor = a[r][i] / a[i][i]
                a[r] = [x - factor * y for x, y in zip(a[r], a[i])]
    return [a[i][n] / a[i][i] for i in range(n)]


def main():
    rows = list(csv.reader(open(sys.argv[1])))[1:]
    labels = [1 - int(row[30]) for row in rows]
    table = [[float(row[c]) for c in COLUMNS] for row in rows]
    n = len(table)
    for c in range(len(COLUMNS)):
        mean = math.fsum(row[c] for row in table) / n
        deviation = math.sqrt(math.fsum((row[c] - mean) ** 2 for row in table) / n)
        for row in table:
            row[c] = (row[c] - mean) / deviation
    for row in table:
        row.append(1.0)
    size = len(COLUMNS) + 1
    w = [0.0] * size
    for _ in range(30):
        gradient = [PENALTY * v for v in w]
        hessian = [[PENALTY * (i == j) for j in range(size)] for i in range(size)]
        loss = 0
        for x, y in zip(table, labels):
            z = sum(a * b for a, b in zip(w, x))
            p = 1 / (1 + math.exp(-z))
            loss += math.log1p(math.exp(-abs(z))) + max(z, 0) - y * z
            for i in range(size):
                gradient[i] += (p - y) * x[i] / n
                for j in range(size):
                    hessian[i][j] += p * (1 - p) * x[i] * x[j] / n
        w = [a - b for a, b in zip(w, solve(hessian, gradient))]
    print("weights and bias:", ", ".join(f"{v:.9f}" for v in w))
    print("mean log-loss:", loss / n)


main()
