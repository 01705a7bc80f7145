"""A grid of stacked perceptrons over hidden layers, units, batch and workers: the loss against what
the network costs (sim/scenarios/search-care-grid). Ended, it goes on when this runs again."""

import re
import statistics

FILES = ("diabetes-130us/dataset_diabetes.zip",)
DIMENSIONS = {"hidden layers": "model.spec_file", "units": "model.parameters.units",
              "batch": "training", "workers": "scenario.dataset.partitioned.sites"}
# Of 81: all of two and of four hidden layers. Those of eight take longer than these together; with
# 81 here the study goes on to them.
TRIALS = 54
ROWS = 5


def run(context):
    folder = context.root / "sim/scenarios/search-care-grid"
    tables = context.folder / "datasets"
    context.program("data", "fetch", "diabetes-130us", unshown=[
        "--from", context.data / "diabetes-130us", "--into", tables])
    space = context.folder / "space.textproto"
    space.write_text((folder / "space.textproto").read_text() + f"trials_max: {TRIALS}\n")
    found = context.search("care-grid", space, folder / "run.textproto",
                           folder / "scenario.textproto", tables)
    for trial in found["trials"]:
        summary = trial.pop("summary")  # Has a curve of each site.
        if summary:
            trial["errors_per_100"] = summary["federated"]["errors_per_100"]
    return found


def table(titles, rows):
    return ["| " + " | ".join(titles) + " |", "|" + " --- |" * len(titles),
            *("| " + " | ".join(map(str, row)) + " |" for row in rows)]


def grid_value(trial, title):
    """2 of "../search-mlp-grid/stack2.textproto", 96 of { batch_examples: 96 … }."""
    return int(re.search(r"\d+", trial["parameters"][DIMENSIONS[title]]).group())


def grid_row(trial):
    return [*(grid_value(trial, title) for title in DIMENSIONS),
            f"{trial['objectives']['best_score']:.4f}", trial["costs"]["parameters"],
            trial["costs"]["multiply_adds"], f"{trial['costs']['virtual_seconds']:.0f}"]


def text(result):
    found = result["figures"]
    trials = sorted((t for t in found["trials"] if "objectives" in t),
                    key=lambda t: t["objectives"]["best_score"])
    numbers = set(found["best"])
    front = [t for t in trials if t["trial"] in numbers]
    errors = [t["errors_per_100"] for t in trials]
    titles = [*DIMENSIONS, "loss", "parameters", "multiply-adds", "virtual s"]
    lines = [f"{len(found['trials'])} trials of one seed, the first of the grid, of which "
             f"{len(trials)} succeeded. Test errors per 100 are from {min(errors):.2f} to "
             f"{max(errors):.2f}; the objective is the validation loss. Multiply-adds are of one "
             "example's forward pass. The best:", "",
             *table(titles, map(grid_row, trials[:ROWS])), "",
             f"The front of loss, parameters and multiply-adds has {len(front)} trials, from the "
             "smallest network to the best:", "",
             *table(titles, [grid_row(t) for t in sorted(
                 front, key=lambda t: t["costs"]["multiply_adds"])]), "",
             "Over the others, for each value of one dimension:", ""]
    rows = []
    for title in DIMENSIONS:
        for value in sorted({grid_value(t, title) for t in trials}):
            those = [t for t in trials if grid_value(t, title) == value]
            losses = [t["objectives"]["best_score"] for t in those]
            seconds = statistics.median(t["costs"]["virtual_seconds"] for t in those)
            rows.append([title, value, f"{min(losses):.4f}", f"{statistics.median(losses):.4f}",
                         f"{max(losses):.4f}", f"{seconds:.0f}"])
    command = result["commands"][-1]["command"]
    return lines + table(["dimension", "value", "best loss", "median", "worst",
                          "virtual s, median"], rows) + ["", f"`{command}`"]
