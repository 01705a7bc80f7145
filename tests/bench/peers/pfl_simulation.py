"""pfl-research's simulation on one process. Prints seconds a round as JSON.

usage: pfl_simulation.py TABLE ROUNDS
"""

import json
import sys
import time

import numpy
import torch
import workload
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.pytorch import PyTorchTensorDataset
from pfl.data.sampling import get_user_sampler
from pfl.hyperparam.base import NNEvalHyperParams, NNTrainHyperParams
from pfl.metrics import Metrics, Weighted
from pfl.model.pytorch import PyTorchModel


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = workload.model(torch)

    def forward(self, rows):
        return self.layers(rows)

    def loss(self, rows, labels, eval=False):  # noqa: A002
        self.eval() if eval else self.train()
        return torch.nn.functional.binary_cross_entropy_with_logits(self(rows), labels)

    def metrics(self, rows, labels, eval=True):  # noqa: A002
        return {"loss": Weighted(float(self.loss(rows, labels, eval)) * len(rows), len(rows))}


class Clock(TrainingProcessCallback):
    def __init__(self):
        self.last, self.seconds = time.perf_counter(), []

    def after_central_iteration(self, aggregate_metrics, model, *, central_iteration):
        now = time.perf_counter()
        self.seconds.append(now - self.last)
        self.last = now
        return False, Metrics()


def main():
    table, rounds = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(1)
    torch.manual_seed(1)
    numpy.random.seed(1)
    sites = [(torch.tensor(x), torch.tensor(y)) for x, y in workload.sites_of(table)]
    users = {str(i): PyTorchTensorDataset(site, user_id=str(i)) for i, site in enumerate(sites)}
    data = FederatedDataset(users.__getitem__, get_user_sampler("minimize_reuse", list(users)))
    network = Network()
    clock = Clock()
    FederatedAveraging().run(
        algorithm_params=NNAlgorithmParams(
            central_num_iterations=rounds, evaluation_frequency=rounds + 1,
            train_cohort_size=workload.SITES, val_cohort_size=None),
        backend=SimulatedBackend(training_data=data, val_data=None),
        model=PyTorchModel(network, torch.optim.SGD,
                           torch.optim.SGD(network.parameters(), lr=1.0)),
        model_train_params=NNTrainHyperParams(
            local_num_epochs=workload.EPOCHS, local_learning_rate=workload.LEARNING_RATE,
            local_batch_size=workload.BATCH),
        model_eval_params=NNEvalHyperParams(local_batch_size=workload.TRAINED_ROWS),
        callbacks=[clock])
    print(json.dumps(clock.seconds))


main()
