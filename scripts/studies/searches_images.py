"""Searches of convolutional networks: differential evolution (sim/scenarios/search-cnn-evolution),
and aging evolution over cells (sim/scenarios/search-cells), whose best one is stacked deeper for a
larger set. Random search with as many trials is the control. Needs Debian's package
dataset-fashion-mnist. Ended, it goes on when this runs again."""

import re
import statistics

FILES = ("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz",)
IMAGES = "/usr/share/datasets/fashion-mnist"
# Of the convolutional networks; what fits the time that this study has.
VERSIONS = 4
STACKED_VERSIONS = 8
RATE_OF_CELLS = 0.005
STACKED = {"cell.cells": 2, "cell.pooling": 2}
ROWS = 5
QUARTERS = 4


def without_curves(found):
    """A trial's summary has a curve of each site: only what is told here stays."""
    for trial in found["trials"]:
        summary = trial.pop("summary")
        if summary:
            trial["errors_per_100"] = summary["federated"]["errors_per_100"]
    return found


def at_random(context, space, trials):
    """The same space, searched at random with as many trials."""
    file = context.folder / f"{space.parent.name}-random.textproto"
    file.parent.mkdir(parents=True, exist_ok=True)
    text, count = re.subn(r"^(differential_evolution|aging_evolution) \{.*\}$",
                          f"random {{ trials: {trials} }}", space.read_text(), flags=re.MULTILINE)
    assert count == 1
    file.write_text(text)
    return file


def assign(path, value):
    return "--set", f"{path}={value}"


def larger_set(context, cells, options):
    """The best cell as it was found, and stacked, beside a plain network."""
    folder = context.root / "sim/scenarios"
    run_file = folder / "search-cnn-evolution/run.textproto"
    stacked = context.folder / "stacked.textproto"
    stacked.unlink(missing_ok=True)
    context.program("stack", folder / "search-cells/space.textproto", run_file,
                    context.folder / "cells-evolved", *options,
                    *[word for path, value in STACKED.items() for word in assign(path, value)],
                    "--out", stacked)
    found = context.folder / f"cells-evolved/trials/{cells['best'][0]:06d}.textproto"
    values = ", ".join(f'"\\"{file}\\""' for file in ("cnn2.textproto", found, stacked))
    space = context.folder / "larger.textproto"
    space.write_text(
        'name: "larger"\n'
        f'parameters {{ path: "model.spec_file" choice {{ values: [{values}] }} }}\n'
        "objectives { quantity: BEST_SCORE direction: MAXIMISE }\n"
        "grid {}\n")
    return context.search("larger", space, run_file, folder / "search-cells/scenario.textproto",
                          IMAGES, *options, *assign("stop.versions_max", STACKED_VERSIONS))


def run(context):
    scenarios = context.root / "sim/scenarios"
    images = [scenarios / f"search-cnn-evolution/{name}.textproto" for name in ("run", "scenario")]
    rate = assign("training.optimizer.adam.learning_rate", RATE_OF_CELLS)
    short = assign("stop.versions_max", VERSIONS)
    cnn_space = scenarios / "search-cnn-evolution/space.textproto"
    cell_space = scenarios / "search-cells/space.textproto"
    found = {}
    # The searches first, and then what they are held against.
    found["cnn"] = without_curves(
        context.search("cnn-evolved", cnn_space, *images, IMAGES, *short))
    yield found
    found["cells"] = without_curves(
        context.search("cells-evolved", cell_space, *images, IMAGES, *rate, *short))
    yield found
    found["larger"] = without_curves(larger_set(context, found["cells"], rate))
    yield found
    found["cells_random"] = without_curves(
        context.search("cells-random", at_random(context, cell_space, tries(found["cells"])),
                       *images, IMAGES, *rate, *short))
    yield found
    found["cnn_random"] = without_curves(
        context.search("cnn-random", at_random(context, cnn_space, tries(found["cnn"])), *images,
                       IMAGES, *short))
    yield found


def tries(found):
    return len(found["trials"])


def succeeded(found):
    return [t for t in found["trials"] if t.get("objectives")]


def table(titles, rows):
    return ["| " + " | ".join(titles) + " |", "|" + " --- |" * len(titles),
            *("| " + " | ".join(map(str, row)) + " |" for row in rows)]


def best_after(found, trials):
    scores = [t["objectives"]["best_score"] for t in succeeded(found) if t["trial"] < trials]
    return f"{max(scores):.4f}" if scores else "–"


def front_of(found):
    """Accuracy against multiply-adds, the smallest first."""
    front = []
    for trial in sorted(succeeded(found), key=lambda t: (t["costs"]["multiply_adds"],
                                                         -t["objectives"]["best_score"])):
        if not front or trial["objectives"]["best_score"] > front[-1]["objectives"]["best_score"]:
            front.append(trial)
    return front


def search_row(name, found):
    quarters = [tries(found) * (i + 1) // QUARTERS for i in range(QUARTERS)]
    ends = front_of(found)
    last = [t["objectives"]["best_score"] for t in succeeded(found) if t["trial"] >= quarters[-2]]
    told = " to ".join(f"{t['objectives']['best_score']:.4f} at {t['costs']['multiply_adds']:,}"
                       for t in (ends[0], ends[-1]))
    return [name, f"{len(succeeded(found))} of {tries(found)}",
            *(best_after(found, count) for count in quarters),
            f"{statistics.mean(last):.4f}" if last else "–", f"{len(ends)}: {told}"]


def two_searches(name, found, control):
    """`control` may be None: it was not searched."""
    quarters = [tries(found) * (i + 1) // QUARTERS for i in range(QUARTERS)]
    return table(["search", "succeeded", *(f"best of {count}" for count in quarters),
                  "mean of the last quarter", "front of accuracy and multiply-adds"],
                 [search_row(name, found), *([search_row("random", control)] if control else [])])


def same_beginning(found, control):
    """A sentence on how many trials both begin with."""
    if not control:
        return "There is no random search to hold it against."
    count = 0
    for one, other in zip(found["trials"], control["trials"]):
        if one["parameters"] != other["parameters"]:
            break
        count += 1
    return f"Both searches begin with the same {count} trials."


def cnn_text(found, control):
    best = sorted(succeeded(found), key=lambda t: -t["objectives"]["best_score"])[:ROWS]
    rows = [[f"{float(t['parameters']['training.optimizer.adam.learning_rate']):.5f}",
             f"{float(t['parameters']['spec.layers.drop.dropout.probability']):.3f}",
             re.search(r"\d+", t["parameters"]["model.spec_file"]).group(),
             f"{t['objectives']['best_score']:.4f}", t["costs"]["parameters"],
             t["costs"]["multiply_adds"], f"{t['errors_per_100']:.1f}"] for t in best]
    return ["#### Differential evolution over a convolutional network", "",
            "Validation accuracy on the 10,000 test images of Fashion-MNIST at ten sites after "
            f"{VERSIONS} versions; population 10, 3 generations, crossover .7, mutation .5. "
            f"{same_beginning(found, control)}", "",
            *two_searches("differential evolution", found, control), "",
            "The best that differential evolution tried:", "",
            *table(["learning rate", "dropout", "convolutions", "validation accuracy", "parameters",
                    "multiply-adds", "test errors per 100"], rows)]


def cell_of(trial):
    parameters = trial["parameters"]
    nodes = len({path.split(".")[1] for path in parameters if path.startswith("cell.node")})
    sides = [[f"{parameters[f'cell.node{n}.{side}_op']}({parameters[f'cell.node{n}.{side}']})"
              for side in ("left", "right")] for n in range(1, nodes + 1)]
    return "; ".join(" + ".join(side) for side in sides)


def cells_text(found, control):
    best = [t for t in found["trials"] if t["trial"] == found["best"][0]][0]
    return ["#### Cells by aging evolution", "",
            "Validation accuracy on the same images, as many versions. "
            f"{same_beginning(found, control)}", "",
            *two_searches("aging evolution", found, control), "",
            f"The best cell: {cell_of(best)}."]


def larger_text(larger):
    names = ("two plain convolutions", "the best cell, as found", "the best cell, stacked deeper")
    rows = [[name, f"{t['objectives']['best_score']:.4f}", f"{t['errors_per_100']:.1f}",
             t["costs"]["parameters"], t["costs"]["multiply_adds"]]
            for name, t in zip(names, larger["trials"])]
    stacked = ", ".join(f"`{path}={value}`" for path, value in STACKED.items())
    return [f"On all 70,000 images, {STACKED_VERSIONS} versions, stacked by {stacked}:", "",
            *table(["network", "validation accuracy", "test errors per 100", "parameters",
                    "multiply-adds"], rows)]


def text(result):
    figures = result["figures"]
    lines = ["One seed.", "", *cnn_text(figures["cnn"], figures.get("cnn_random"))]
    if "cells" in figures:
        lines += ["", *cells_text(figures["cells"], figures.get("cells_random"))]
    if "larger" in figures:
        lines += ["", *larger_text(figures["larger"])]
    return lines + ["", "In this order:", "", *(f"- `{c['command']}`" for c in result["commands"])]
