"""FedBuff's claim (arXiv:2106.06639): how many client trips, that is updates sent and merged, it
takes to a target against synchronous FedAvg and FedAsync, on images at a hundred sites whose labels
are Dirichlet(.1) (sim/scenarios/fashion-mnist-hundred-sites). Needs Debian's package
dataset-fashion-mnist."""

import json
import pathlib
import statistics

FILES = ("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz",)
IMAGES = pathlib.Path(FILES[0]).parent
SEEDS = range(1, 3)
SITES = 100
# Preset, and trips in a version; each with its own defaults. The claim's own rule comes first.
RULES = {
    "FedBuff": ("FEDBUFF", 10),
    "FedAvg, synchronous": ("FEDAVG", SITES),
    "FedAsync": ("FEDASYNC", 1),
}
# Of the paper, for CIFAR-10 at 5,000 clients: trips against FedBuff's.
PAPER = {"FedAvg, synchronous": 3.3, "FedAsync": 2.5}


def run(context):
    folder = context.root / "sim/scenarios/fashion-mnist-hundred-sites"
    facts = json.loads((folder / "study.json").read_text())
    rows = {}
    for seed in SEEDS:
        for rule, (preset, trips) in RULES.items():
            summary = context.simulate(
                folder / "run.textproto", folder / "scenario.textproto", IMAGES,
                "--seeds", str(seed), "--no-baselines",
                "--target", f"{facts['metric']}={facts['target']}",
                "--set", f"aggregation.preset={preset}",
                "--set", f"stop.versions_max={facts['trips_max'] // trips}",
                name=f"{preset}-{seed}")
            reached = summary["target"] if summary["target"]["reached"] else None
            rows.setdefault(rule, []).append({
                "seed": seed, "trips": reached and reached["updates"],
                "seconds": reached and reached["seconds"], "merged": summary["updates"],
                "errors_per_100": summary["federated"]["errors_per_100"]})
    return {**facts, "rows": rows}


def median(values, digits):
    # A seed that never gets there counts as later than all others.
    middle = sorted(float("inf") if v is None else v for v in values)[len(values) // 2]
    return "never" if middle == float("inf") else f"{middle:.{digits}f}"


def row(rule, seeds, reference):
    ratios = [s["trips"] / r["trips"] for s, r in zip(seeds, reference)
              if s["trips"] and r["trips"]]
    ratio = f"{statistics.median(ratios):.1f}×" if len(ratios) == len(seeds) else "–"
    paper = f"{PAPER[rule]}×" if rule in PAPER else "1×"
    return (f"| {rule} | {median([s['trips'] for s in seeds], 0)} | {ratio} | {paper} | "
            f"{median([s['seconds'] for s in seeds], 0)} | "
            f"{statistics.mean(s['errors_per_100'] for s in seeds):.1f} |")


def text(result):
    figures = result["figures"]
    rows = figures["rows"]
    lines = [f"{len(SEEDS)} seeds ({SEEDS[0]} to {SEEDS[-1]}); Fashion-MNIST dealt out to {SITES} "
             "sites, Dirichlet .1, speeds half-normal; a small convolutional network. Target: "
             f"validation accuracy of {figures['target']}, within {figures['trips_max']} trips; "
             "medians over "
             "seeds. “Paper” is CIFAR-10 at 5,000 clients.", "",
             "| rule | trips to target | against FedBuff | paper | virtual seconds to target | "
             "test errors per 100 at the end |", "|---|---|---|---|---|---|"]
    lines += [row(rule, seeds, rows["FedBuff"]) for rule, seeds in rows.items()]
    first = result["commands"][0]["command"]
    return lines + ["", f"{len(result['commands'])} simulations, the first of them: `{first}`."]
