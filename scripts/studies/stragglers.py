"""Who is fast when some are slow: the rules on the same hospitals and the same patients, with equal
speeds, with one hospital ten times slower, and with heavy-tailed tasks at twenty hospitals and at
the 174 of the eICU demo (sim/scenarios/stragglers-*). The target is the validation loss that
synchronous FedAvg reaches at its best, and five per cent more, by seed."""

import json
import math
import statistics

# Three are of the repository alone, their table is in the pinned wheel; study.json names the folder
# of published data that the fourth needs.
FILES = ()
# How many: five, or what study.json says.
SEEDS = range(1, 16)
SEEDS_USUAL = 5
SLACK = 1.05
SCENARIOS = {
    "stragglers-equal": "four hospitals, equal speeds",
    "stragglers-one-slow": "four hospitals, the largest ten times slower",
    "stragglers-pareto": "twenty hospitals, each task's duration Pareto of shape 1.2",
    "stragglers-eicu": "174 hospitals of the eICU demo, each task's duration Pareto of shape 1.2",
}
# Each with its own defaults but for what its line says; the reference comes first.
RULES = {
    "FedAvg": ["FEDAVG"],
    "FedYogi": ["FEDYOGI"],
    # The best of TUNING.
    "FedYogi, η = .1": ["FEDYOGI", "aggregation.server.yogi.learning_rate=0.1"],
    "FedAsync": ["FEDASYNC"],
    "FedBuff": ["FEDBUFF"],
    "CA2FL": ["CA2FL"],
    "ACE": ["ACE"],
    "staleness-weighted table": ["STALENESS_WEIGHTED_TABLE"],
    "FedCompass": ["FEDCOMPASS"],
    "adaptive": ["ADAPTIVE"],
    "adaptive, a smaller buffer": ["ADAPTIVE"],
}
SYNCHRONOUS = ("FedAvg", "FedYogi", "FedYogi, η = .1")
# Where FedYogi's step was chosen: a seed that no table has.
TUNING = {"scenario": "stragglers-pareto", "seed": 20, "steps": (.01, .03, .1, .2, .3)}
# How many times as fast as FedAvg an asynchronous rule is to be; elsewhere no slower.
FASTER_GOAL = {"stragglers-pareto": 5.0, "stragglers-eicu": 5.0, "stragglers-one-slow": 5.0}
# They make a version of so many updates as study.json says: a tenth of many sites, two of few.
BUFFERED = ("FedBuff", "adaptive, a smaller buffer")
# Logistic regression without LibTorch (ADR 7), hospitals beside each other: the same on any number
# of threads.
FAST = ("--trainer", "fused", "--threads", "0")


def spread(values):
    return {"mean": statistics.mean(values), "values": values,
            "deviation": statistics.stdev(values) if len(values) > 1 else 0.0}


def loss(summary, model="federated"):
    return summary[model]["log_loss"]


def worst(summary):
    return max(site["federated"]["log_loss"] for site in summary["sites"]
               if site["federated"] and site["federated"]["log_loss"] is not None)


def facts_of(folder):
    return json.loads((folder / "study.json").read_text())


def off_share(summary):
    """How far the hospital furthest from its share of patients is from it, in its influence."""
    return max(abs(site["influence"] / site["share"] - 1) for site in summary["sites"]
               if site["share"])


def data_of(context, folder):
    """The folder of the scenario's table; None where it is published and not here."""
    name = facts_of(folder).get("data")
    if name is None:
        return context.table("wdbc")
    return context.data / name if context.data and (context.data / name).is_dir() else None


def options(context, folder, rule, seed):
    facts = facts_of(folder)
    preset, *more = RULES[rule]
    versions = facts["rounds"] if rule in SYNCHRONOUS else facts["versions"]
    if rule in BUFFERED:
        versions = facts["buffer"]["versions"]
        more = [*more, f"aggregation.trigger.buffer.updates={facts['buffer']['updates']}"]
    elif preset == "ADAPTIVE":
        versions = facts["half_versions"]
    sets = [f"aggregation.preset={preset}", f"stop.versions_max={versions}", *more]
    return ["--seeds", str(seed), "--no-baselines", *FAST,
            *[part for one in sets for part in ("--set", one)]]


def simulate(context, folder, name, *arguments):
    return context.simulate(folder / "run.textproto", folder / "scenario.textproto",
                            data_of(context, folder), *arguments, name=name)


def one_seed(context, folder, seed, rows):
    reference = simulate(context, folder, f"FedAvg-{seed}",
                         *options(context, folder, "FedAvg", seed))
    target = SLACK * reference["best_score"]
    for rule in RULES:
        # With four hospitals the buffer that ADAPTIVE has is as small.
        if rule == "adaptive, a smaller buffer" and facts_of(folder)["buffer"]["updates"] == 2:
            continue
        summary = simulate(context, folder, f"{rule}-{seed}",
                           *options(context, folder, rule, seed), "--target",
                           f"LOG_LOSS={target:.6f}")
        reached = summary["target"] if summary["target"]["reached"] else None
        rows.setdefault(rule, {}).setdefault("seeds", []).append({
            "seed": seed, "target": target, "loss": loss(summary), "worst": worst(summary),
            "off_share": off_share(summary),
            "seconds": reached and reached["seconds"], "updates": reached and reached["updates"],
            "virtual_seconds": summary["seconds"], "merged": summary["updates"]})


def tuned(context):
    folder = context.root / "sim/scenarios" / TUNING["scenario"]
    plain = options(context, folder, "FedYogi", TUNING["seed"])
    return [{"step": step, "loss": loss(simulate(
        context, folder, f"FedYogi-step-{step}", *plain, "--set",
        f"aggregation.server.yogi.learning_rate={step}"))} for step in TUNING["steps"]]


def run(context):
    """Yields what it has after each seed from the second on, since a mean needs two."""
    figures = {}
    steps = tuned(context)
    for scenario, what in SCENARIOS.items():
        folder = context.root / "sim/scenarios" / scenario
        if data_of(context, folder) is None:
            continue
        rows = {}
        seeds = SEEDS[:facts_of(folder).get("seeds", SEEDS_USUAL)]
        for done, seed in enumerate(seeds, start=1):
            one_seed(context, folder, seed, rows)
            if done > 1:
                figures[scenario] = {"what": what, "rows": rows, "seeds": list(seeds[:done])}
                yield {"scenarios": figures, "steps": steps}


def median_or_never(values, digits):
    # A seed that never gets there counts as later than all others.
    ordered = sorted(values, key=lambda v: float("inf") if v is None else v)
    middle = ordered[len(ordered) // 2]
    missed = sum(v is None for v in values)
    text = "never" if middle is None else f"{middle:.{digits}f}"
    return f"{text} ({missed} of {len(values)} never)" if missed and middle is not None else text


def faster(found, reference):
    """How many times, the median over seeds; None where a seed never got there."""
    ratios = [base["seconds"] / own["seconds"]
              for own, base in zip(found["seeds"], reference["seeds"])
              if own["seconds"] and base["seconds"]]
    return statistics.median(ratios) if len(ratios) == len(found["seeds"]) else None


def paired(found, reference, key):
    """What is more than the reference's on the same seed: the mean and its standard error."""
    more = [own[key] - base[key] for own, base in zip(found["seeds"], reference["seeds"])]
    return statistics.mean(more), statistics.stdev(more) / math.sqrt(len(more))


def ends_as_well(found, reference, key):
    mean, error = paired(found, reference, key)
    return mean <= error


def with_paired(text, found, reference, key, digits):
    if found is reference:
        return text
    mean, error = paired(found, reference, key)
    return f"{text} ({mean:+.{digits}f} ± {error:.{digits}f})"


def row(rule, found, reference):
    seeds = found["seeds"]
    loss, worst, off = (spread([s[key] for s in seeds]) for key in ("loss", "worst", "off_share"))
    times = faster(found, reference)
    loss_text = f"{loss['mean']:.4f} ± {loss['deviation']:.4f}"
    return (f"| {rule} | {median_or_never([s['seconds'] for s in seeds], 1)} | "
            f"{'–' if times is None else f'{times:.1f}×'} | "
            f"{median_or_never([s['updates'] for s in seeds], 0)} | "
            f"{with_paired(loss_text, found, reference, 'loss', 4)} | "
            f"{with_paired(format(worst['mean'], '.3f'), found, reference, 'worst', 3)} | "
            f"{off['mean']:.2f} | {statistics.median([s['merged'] for s in seeds]):.0f} | "
            f"{statistics.median([s['virtual_seconds'] for s in seeds]):.0f} |")


def goals(scenario, rows):
    """Which asynchronous rules are as much faster as they should be, and end as well."""
    goal = FASTER_GOAL.get(scenario, 1.0)
    reference = rows["FedAvg"]
    fast = {rule: times for rule, found in rows.items()
            if rule not in SYNCHRONOUS
            and (times := faster(found, reference)) is not None and times >= goal}
    as_well = [[rule for rule in fast if ends_as_well(rows[rule], reference, key)]
               for key in ("loss", "worst")]
    both = [rule for rule in as_well[0] if rule in as_well[1]]

    def named(rules):
        return ", ".join(rules) or "none"

    yogi = {rule: faster(rows[rule], rows["FedYogi, η = .1"]) for rule in both}
    beside = "".join(f" {rule}: {times:.1f} times as fast as FedYogi with η = .1."
                     for rule, times in yogi.items() if times)
    return (f"Goal: {goal:.0f} times as fast as FedAvg to the target or more (the median over "
            f"seeds, on each of which it gets there): "
            f"{named(f'{rule} ({times:.1f})' for rule, times in fast.items())}. Of these no worse "
            f"than FedAvg by more than a standard error, in the loss at the end: "
            f"{named(as_well[0])}; in the worst hospital's loss: {named(as_well[1])}; in both: "
            f"**{named(both)}**.{beside}")


def text(result):
    scenarios = result["figures"]["scenarios"]
    left_out = [what for scenario, what in SCENARIOS.items() if scenario not in scenarios]
    lines = ["Logistic regression, on the Wisconsin Diagnostic Breast Cancer table where nothing "
             "else is said. Target: the "
             "best validation loss of synchronous FedAvg with the same seed, times "
             f"{SLACK}. Seconds are virtual; medians over seeds; “faster” is against FedAvg, by "
             "seed; so is what stands in brackets: the mean of what is more than FedAvg’s, and its "
             "standard error. “Furthest from its share”: the largest |influence/share of patients "
             "− 1| of a hospital over the whole run. Trained with `--trainer fused` where a rule's "
             "local steps are plain.", ""]
    lines += [f"Not run here: {what}." for what in left_out] + [""] * bool(left_out)
    for scenario, found in scenarios.items():
        what, seeds = found["what"], found["seeds"]
        lines += [f"**{what[0].upper()}{what[1:]}**; seeds {seeds[0]} to {seeds[-1]}", "",
                  "| rule | seconds to target | faster | updates to target | test loss at the end "
                  "| worst hospital | furthest from its share | updates run | "
                  "virtual seconds run |", "|---|---|---|---|---|---|---|---|---|"]
        lines += [row(rule, of, found["rows"]["FedAvg"]) for rule, of in found["rows"].items()]
        lines += ["", goals(scenario, found["rows"]), ""]
    steps = "; ".join(f"{one['step']:g}: {one['loss']:.4f}" for one in result["figures"]["steps"])
    lines += [f"FedYogi's step was chosen by the loss at the end on seed {TUNING['seed']}, "
              f"{SCENARIOS[TUNING['scenario']]}: {steps}.", ""]
    first = result["commands"][0]["command"]
    return lines + [f"{len(result['commands'])} simulations, the first of them: `{first}`."]
