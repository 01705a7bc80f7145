"""Flower's simulation on all processors. Prints seconds a round as JSON.

usage: flower_simulation.py TABLE ROUNDS
"""

import json
import os
import random
import sys
import time

import torch
import workload
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

TABLE, ROUNDS = sys.argv[1], int(sys.argv[2])
seconds = []


def own_rows(site):
    # What belongs to this file itself is made anew for each message; a module's is not.
    torch.set_num_threads(1)
    rows, labels = workload.sites_of(TABLE)[site]
    return torch.tensor(rows), torch.tensor(labels)


client = ClientApp()


@client.train()
def train(message, context):
    rows, labels = own_rows(int(context.node_config["partition-id"]))
    network = workload.model(torch)
    network.load_state_dict(message.content["arrays"].to_torch_state_dict())
    optimizer = torch.optim.SGD(network.parameters(), lr=workload.LEARNING_RATE)
    loss_of = torch.nn.BCEWithLogitsLoss()
    order = []
    for _ in range(workload.STEPS):
        if not order:
            order = list(range(workload.TRAINED_ROWS))
            random.shuffle(order)
        taken, order = order[:workload.BATCH], order[workload.BATCH:]
        optimizer.zero_grad()
        loss_of(network(rows[taken]), labels[taken]).backward()
        optimizer.step()
    return Message(reply_to=message, content=RecordDict({
        "arrays": ArrayRecord(network.state_dict()),
        "metrics": MetricRecord({"num-examples": len(rows)})}))


class Timed(FedAvg):
    def configure_train(self, *arguments, **named):
        self.begin = time.perf_counter()
        return super().configure_train(*arguments, **named)

    def aggregate_train(self, *arguments, **named):
        result = super().aggregate_train(*arguments, **named)
        seconds.append(time.perf_counter() - self.begin)
        return result


server = ServerApp()


@server.main()
def main(grid, context):
    strategy = Timed(fraction_train=1.0, fraction_evaluate=0.0,
                     min_train_nodes=workload.SITES, min_available_nodes=workload.SITES)
    strategy.start(grid=grid, initial_arrays=ArrayRecord(workload.model(torch).state_dict()),
                   num_rounds=ROUNDS)


if __name__ == "__main__":
    run_simulation(server, client, num_supernodes=workload.SITES, backend_config={
        "client_resources": {"num_cpus": 1},
        "init_args": {"num_cpus": os.cpu_count(), "log_to_driver": False}})
    print(json.dumps(seconds))
