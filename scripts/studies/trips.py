"""FedBuff's claim (arXiv:2106.06639): how many client trips, that is updates sent and merged, it
takes to a target against synchronous FedAvg and FedAsync, on images at a hundred sites whose labels
are Dirichlet(.1) (sim/scenarios/fashion-mnist-hundred-sites). Each rule once with its defaults and
once tuned: of the server's steps below, the one with the fewest trips on the first seed. Needs
Debian's package dataset-fashion-mnist."""

import json
import pathlib
import statistics

FILES = ("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz",)
IMAGES = pathlib.Path(FILES[0]).parent
SEEDS = range(1, 4)
SITES = 100
# Nobody is silent here, so that no deadline passes.
DEADLINE_MS = 3_600_000
# Preset, trips in a version (None: of all who train at once), the field that is its server's step
# with the values to try, the default first, and the fields by which not all train at once. The
# claim's own rule comes first.
SERVER_STEP = "aggregation.server.sgd.learning_rate"
SLOTS = ("aggregation.concurrency.sites_max", "aggregation.concurrency.deadline_ms")
DRAWN = ("aggregation.trigger.barrier.sites_per_round", "aggregation.trigger.barrier.deadline_ms")
RULES = {
    "FedBuff": ("FEDBUFF", 10, SERVER_STEP, (1, 0.3), SLOTS),
    "FedAvg, synchronous": ("FEDAVG", None, SERVER_STEP, (1, 1.5), DRAWN),
    "FedAsync": ("FEDASYNC", 1, "aggregation.mixing_alpha", (0.6, 0.3), SLOTS),
}
# Of the paper, for CIFAR-10 at 5,000 clients: trips against FedBuff's.
PAPER = {"FedAvg, synchronous": 3.3, "FedAsync": 2.5}


def simulate(context, facts, rule, at_once, seed, step):
    preset, trips, field, _, (sites_max, deadline_ms) = RULES[rule]
    fewer = [] if at_once == SITES else ["--set", f"{sites_max}={at_once}",
                                         "--set", f"{deadline_ms}={DEADLINE_MS}"]
    folder = context.root / "sim/scenarios/fashion-mnist-hundred-sites"
    summary = context.simulate(
        folder / "run.textproto", folder / "scenario.textproto", IMAGES,
        "--seeds", str(seed), "--no-baselines", "--trainer", "fused",
        "--target", f"{facts['metric']}={facts['target']}",
        "--set", f"aggregation.preset={preset}",
        "--set", f"{field}={step}",
        "--set", f"stop.versions_max={facts['trips_max'] // (trips or at_once)}", *fewer,
        name=f"{preset}-{step}-{seed}")
    reached = summary["target"] if summary["target"]["reached"] else {}
    return {"seed": seed, "step": step, "trips": reached.get("updates"),
            "seconds": reached.get("seconds"), "best": summary["best_score"],
            "errors_per_100": summary["federated"]["errors_per_100"]}


def later(result):
    """Orders results: whoever gets there in fewer trips first, then whoever scored better."""
    return (result["trips"] or float("inf"), -result["best"])


def run(context, at_once=SITES):
    facts = json.loads(
        (context.root / "sim/scenarios/fashion-mnist-hundred-sites/study.json").read_text())
    rows = {}
    for rule, (_, _, _, steps, _) in RULES.items():
        tried = [simulate(context, facts, rule, at_once, SEEDS[0], step) for step in steps]
        best = min(tried, key=later)
        settings = {"defaults": tried[0], "tuned": best}
        rows[rule] = {"tried": tried}
        for name, chosen in settings.items():
            if name == "tuned" and best is tried[0]:
                rows[rule][name] = rows[rule]["defaults"]
                continue
            rows[rule][name] = [chosen] + [
                simulate(context, facts, rule, at_once, seed, chosen["step"])
                for seed in SEEDS[1:]]
    return {**facts, "rows": rows}


def median(values, digits):
    # A seed that never gets there counts as later than all others.
    middle = statistics.median(float("inf") if v is None else v for v in values)
    return "never" if middle == float("inf") else f"{middle:.{digits}f}"


def row(rule, name, seeds, reference):
    ratios = [s["trips"] / r["trips"] for s, r in zip(seeds, reference)
              if s["trips"] and r["trips"]]
    ratio = f"{statistics.median(ratios):.1f}×" if len(ratios) == len(seeds) else "–"
    paper = f"{PAPER[rule]}×" if rule in PAPER else "1×"
    never = sum(s["trips"] is None for s in seeds)
    missed = f" ({never} of {len(seeds)} never)" if 0 < never < len(seeds) else ""
    return (f"| {rule} | {name} | {seeds[0]['step']} | "
            f"{median([s['trips'] for s in seeds], 0)}{missed} | {ratio} | {paper} | "
            f"{median([s['seconds'] for s in seeds], 0)} | "
            f"{statistics.mean(s['errors_per_100'] for s in seeds):.1f} |")


def text(result):
    figures = result["figures"]
    rows = figures["rows"]
    lines = [f"{len(SEEDS)} seeds ({SEEDS[0]} to {SEEDS[-1]}); Fashion-MNIST dealt out to {SITES} "
             "sites, Dirichlet .1, speeds half-normal; a small convolutional network. Target: "
             f"validation accuracy of {figures['target']}, within {figures['trips_max']} trips; "
             "medians over seeds. Tuned: the server's step (of FedAsync its α) with the fewest "
             f"trips on seed {SEEDS[0]}, of two. “Against FedBuff” is by seed, "
             "defaults against defaults and tuned against tuned; “paper” is CIFAR-10 at 5,000 "
             "clients.", "",
             "| rule | settings | server's step | trips to target | against FedBuff | "
             "paper | virtual seconds to target | test errors per 100 at the end |",
             "|---|---|---|---|---|---|---|---|"]
    lines += [row(rule, name, found[name], rows["FedBuff"][name])
              for name in ("defaults", "tuned") for rule, found in rows.items()]
    tried = [f"{rule}, " + ", ".join(
        f"{t['step']}: " + (f"{t['trips']}" if t["trips"] else
                                           f"never (best {t['best']:.2f})")
        for t in found["tried"]) for rule, found in rows.items()]
    first = result["commands"][0]["command"]
    return lines + ["", f"Trips on seed {SEEDS[0]} by step. " + "; ".join(tried) + ".", "",
                    f"{len(result['commands'])} simulations, the first of them: `{first}`."]
