"""The work that all take on: a synchronous round is every site's training of a small perceptron
from the round's model, and the mean of what they come to."""

import csv
import functools
import pathlib

SITES = 200
ROWS_PER_SITE = 40  # In the table; a fifth of them are the hospital's test rows.
TRAINED_ROWS = 32
FEATURES = 8
HIDDEN = (16, 8)
BATCH = 8
EPOCHS = 10
STEPS = EPOCHS * TRAINED_ROWS // BATCH  # A site's, each round.
LEARNING_RATE = 0.05


@functools.cache
def sites_of(table):
    """The rows of each site that are trained on, as lists of features and outcomes."""
    with pathlib.Path(table).open() as file:
        rows = [[float(cell) for cell in row] for row in list(csv.reader(file))[1:]]
    trained = [rows[site * ROWS_PER_SITE:site * ROWS_PER_SITE + TRAINED_ROWS]
               for site in range(SITES)]
    return [([row[:-1] for row in own], [row[-1:] for row in own]) for own in trained]


def model(torch):
    first, second = HIDDEN
    return torch.nn.Sequential(
        torch.nn.Linear(FEATURES, first), torch.nn.ReLU(), torch.nn.Linear(first, second),
        torch.nn.ReLU(), torch.nn.Linear(second, 1))
