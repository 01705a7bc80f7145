"""The control: a plain loop of PyTorch on one thread. Prints seconds a round as JSON.

usage: loop.py TABLE ROUNDS
"""

import json
import random
import sys
import time

import torch
import workload


def train(parameters, network, loss_of, rows, labels, draw):
    optimizer = torch.optim.SGD(parameters, lr=workload.LEARNING_RATE)
    order = []
    for _ in range(workload.STEPS):
        if not order:
            order = list(range(workload.TRAINED_ROWS))
            draw.shuffle(order)
        taken, order = order[:workload.BATCH], order[workload.BATCH:]
        optimizer.zero_grad()
        loss_of(network(rows[taken]), labels[taken]).backward()
        optimizer.step()


def main():
    table, rounds = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(1)
    torch.manual_seed(1)
    draw = random.Random(1)
    sites = [(torch.tensor(x), torch.tensor(y)) for x, y in workload.sites_of(table)]
    network = workload.model(torch)
    parameters = list(network.parameters())
    loss_of = torch.nn.BCEWithLogitsLoss()
    seconds = []
    for _ in range(rounds):
        begin = time.perf_counter()
        base = [p.detach().clone() for p in parameters]
        total = [torch.zeros_like(p) for p in base]
        for rows, labels in sites:
            with torch.no_grad():
                for p, b in zip(parameters, base):
                    p.copy_(b)
            train(parameters, network, loss_of, rows, labels, draw)
            with torch.no_grad():
                for t, p, b in zip(total, parameters, base):
                    t += p - b
        with torch.no_grad():
            for p, b, t in zip(parameters, base, total):
                p.copy_(b + t / workload.SITES)
        seconds.append(time.perf_counter() - begin)
    print(json.dumps(seconds))


main()
