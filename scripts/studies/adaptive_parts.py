"""What each part of ADAPTIVE does: FedBuff with and without the fairness contract, the
delay-adaptive step, other numbers of updates a version, other steps of the server, and the
staleness-weighted table with and without a contract, on the hospitals of the stragglers study
(docs/adr/0006-adaptive.md)."""

import csv
import pathlib
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import stragglers  # noqa: E402

FILES = ()
SEEDS = range(1, 6)
SCENARIOS = ("stragglers-equal", "stragglers-one-slow", "stragglers-pareto")
CONTRACT = "aggregation.fairness.epsilon=0.25"
STEP = "aggregation.server.sgd.learning_rate"
# The contract's default.
WINDOW_VERSIONS = 50
ADAPTIVE = "and the delay-adaptive step: ADAPTIVE, K = 2"
FALLING = (f"{STEP}=1", f"{STEP}_final=0.3", "aggregation.server.sgd.decay_versions=60")
# Updates a version, and what is set; all merge as many updates.
VARIANTS = {
    "FEDBUFF, K = 2": (2, ("aggregation.preset=FEDBUFF",)),
    "with the contract": (2, ("aggregation.preset=FEDBUFF", CONTRACT)),
    ADAPTIVE: (2, ("aggregation.preset=ADAPTIVE",)),
    "ADAPTIVE, K = 4": (4, ("aggregation.preset=ADAPTIVE",)),
    "ADAPTIVE, K = 10": (10, ("aggregation.preset=ADAPTIVE",)),
    "ADAPTIVE, K = 4, η from 1 to .3 over 60 versions": (
        4, ("aggregation.preset=ADAPTIVE", *FALLING)),
    "ADAPTIVE, K = 2, contract over 100 versions": (
        2, ("aggregation.preset=ADAPTIVE", "aggregation.fairness.window_versions=100")),
    "ADAPTIVE, K = 2, no update is too old": (
        2, ("aggregation.preset=ADAPTIVE", "aggregation.limits.staleness_versions_max=1000000")),
    "ADAPTIVE, K = 2, η = 2": (2, ("aggregation.preset=ADAPTIVE", f"{STEP}=2")),
    "staleness-weighted table": (2, ("aggregation.preset=STALENESS_WEIGHTED_TABLE",)),
    "staleness-weighted table with the contract": (
        2, ("aggregation.preset=STALENESS_WEIGHTED_TABLE", CONTRACT)),
}


def away(summary, tables):
    """How a site's influence over its share goes with the part of the run's versions in which it
    was in the middle of a task that is longer than the contract's window: their correlation over
    sites."""
    versions = {site["name"]: [0] for site in summary["sites"]}
    last = 0
    with open(next(tables.glob("*/updates.csv")), newline="") as file:
        for update in csv.DictReader(file):
            last = int(update["version"])
            versions[update["site"]].append(last)
    missed = [sum(max(0, later - earlier - WINDOW_VERSIONS)
                  for earlier, later in zip(of, [*of[1:], last])) for of in versions.values()]
    return statistics.correlation(
        missed, [site["influence"] / site["share"] for site in summary["sites"]])


def simulate(context, scenario, seed, target, name, updates, sets):
    folder = context.root / "sim/scenarios" / scenario
    facts = stragglers.facts_of(folder)
    merged = facts["buffer"]["updates"] * facts["buffer"]["versions"]
    sets = [*sets, f"aggregation.trigger.buffer.updates={updates}",
            f"stop.versions_max={merged // updates}"]
    summary = stragglers.simulate(
        context, folder, f"{name}-{seed}", "--seeds", str(seed), "--no-baselines",
        *stragglers.FAST, "--target", f"LOG_LOSS={target:.6f}",
        *[part for one in sets for part in ("--set", one)])
    reached = summary["target"] if summary["target"]["reached"] else None
    tables = context.folder / scenario / f"{name}-{seed}/tables"
    return {"away": away(summary, tables) if scenario == "stragglers-pareto" else None,
            "seconds": reached and reached["seconds"], "loss": stragglers.loss(summary),
            "worst": stragglers.worst(summary), "off_share": stragglers.off_share(summary),
            "merged": summary["updates"]}


def run(context):
    figures = {"rows": {}, "updates": {}}
    for scenario in SCENARIOS:
        folder = context.root / "sim/scenarios" / scenario
        for seed in SEEDS:
            reference = stragglers.simulate(
                context, folder, f"FedAvg-{seed}",
                *stragglers.options(context, folder, "FedAvg", seed))
            for name, (updates, sets) in VARIANTS.items():
                found = simulate(context, scenario, seed,
                                 stragglers.SLACK * reference["best_score"],
                                 name.replace(" ", "-"), updates, sets)
                figures["rows"].setdefault(name, {}).setdefault(scenario, []).append(found)
                figures["updates"][scenario] = found["merged"]
    return figures


def cell(seeds):
    seconds = stragglers.median_or_never([s["seconds"] for s in seeds], 0)
    loss, worst, off = (statistics.mean(s[key] for s in seeds)
                        for key in ("loss", "worst", "off_share"))
    return f"{seconds}; {loss:.4f}; {worst:.3f}; {off:.2f}"


def text(result):
    figures = result["figures"]
    updates = ", ".join(str(figures["updates"][scenario]) for scenario in SCENARIOS)
    titles = [stragglers.SCENARIOS[scenario] for scenario in SCENARIOS]
    lines = [f"Seeds {SEEDS[0]} to {SEEDS[-1]}; {updates} updates. In each field: virtual seconds "
             f"to {stragglers.SLACK} times the best validation loss of synchronous FedAvg with the "
             "same seed (the median); test loss at the end; the worst hospital's; how far the "
             "hospital that is furthest from its share of influence is from it (means).", "",
             "| rule | " + " | ".join(titles) + " |", "|---|" + "---|" * len(titles)]
    lines += [f"| {name} | " + " | ".join(cell(found[scenario]) for scenario in SCENARIOS) + " |"
              for name, found in figures["rows"].items()]
    aways = [s["away"] for s in figures["rows"][ADAPTIVE]["stragglers-pareto"]]
    lines += ["", "Under ADAPTIVE with Pareto tasks, the correlation over hospitals of "
              "influence/share with how much of the run a hospital spent in tasks that are longer "
              f"than the contract's window: {statistics.mean(aways):.2f} (mean over seeds)."]
    first = next(c["command"] for c in result["commands"] if "--target" in c["command"])
    return lines + ["", f"{len(result['commands'])} simulations, the first of them beside "
                        f"FedAvg's: `{first}`."]
