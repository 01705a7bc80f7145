"""Rules that bear hostile hospitals: two of ten send the opposite of what they trained, train on
wrong labels, or plant a backdoor (sim/scenarios/attacks), under plain averaging and under each
robust rule. What an attack costs is the test loss and error with it beside those without; of a
backdoor, how many test patients of the other label it turns, with its trigger and without."""

import statistics

# The table is in the pinned wheel.
FILES = ()
SEEDS = range(1, 6)
ATTACKS = {
    "none": "nobody is hostile",
    "sign-flip": "the opposite of what was trained",
    "sign-flip-scaled": "the opposite, five times as long",
    "label-flip": "trained on wrong labels",
    "backdoor": "a backdoor, scaled five times",
}
HOSTILE_MAX = 2
# Each with its own defaults but for what its line says; plain averaging comes first.
RULES = {
    "FedAvg": ["FEDAVG"],
    "norm bound": ["NORM_BOUND", "aggregation.transform.clip_norm=0.5"],
    "coordinate median": ["COORDINATE_MEDIAN"],
    "trimmed mean": ["TRIMMED_MEAN"],
    "Krum": ["KRUM", f"aggregation.combine.krum.hostile_max={HOSTILE_MAX}"],
    "multi-Krum": ["MULTI_KRUM", f"aggregation.combine.krum.hostile_max={HOSTILE_MAX}"],
    "geometric median": ["GEOMETRIC_MEDIAN"],
    "BASGD": ["BASGD", "aggregation.combine.buckets.buckets=5"],
    "Zeno++": ["ZENO"],
}
# A validator must be honest, so with Zeno++ the hostile two are named instead of drawn.
HOSTILE_NAMED = ["site-9", "site-10"]


def simulate(context, attack, rule, seed):
    folder = context.root / "sim/scenarios/attacks"
    preset, *more = RULES[rule]
    sets = [f"aggregation.preset={preset}", *more]
    if rule == "BASGD":
        # About as many merged updates: a version is made of one of each bucket.
        sets.append("stop.versions_max=80")
    run_config = "run.textproto"
    if rule == "Zeno++":
        run_config = "zeno.textproto"
        if attack != "none":
            sets += [f'scenario.sites.attacks.0.sites="{site}"' for site in HOSTILE_NAMED]
            sets.append("scenario.sites.attacks.0.share=0")
    return context.simulate(
        folder / run_config, folder / f"{attack}.textproto", context.table("wdbc"),
        "--seeds", str(seed), "--no-baselines",
        *[part for one in sets for part in ("--set", one)], name=f"{attack}-{rule}-{seed}")


def run(context):
    rows = {}
    for rule in RULES:
        for attack in ATTACKS:
            for seed in SEEDS:
                summary = simulate(context, attack, rule, seed)
                rows.setdefault(rule, {}).setdefault(attack, []).append({
                    "seed": seed, "loss": summary["federated"]["log_loss"],
                    "errors_per_100": summary["federated"]["errors_per_100"],
                    "backdoor": summary.get("backdoor"), "merged": summary["updates"]})
    return {"rows": rows}


def spread(values, digits):
    mean = statistics.mean(values)
    return f"{mean:.{digits}f} ± {statistics.stdev(values):.{digits}f}"


def row(rule, found):
    cells = []
    for attack in ATTACKS:
        seeds = found[attack]
        errors = statistics.mean(s["errors_per_100"] for s in seeds)
        cells.append(f"{spread([s['loss'] for s in seeds], 3)} ({errors:.1f})")
    opened = [s["backdoor"] for s in found["backdoor"]]
    turned = [100 * statistics.mean(o[key] for o in opened)
              for key in ("with_trigger", "without_trigger")]
    return f"| {rule} | {' | '.join(cells)} | {turned[0]:.0f} ({turned[1]:.0f}) |"


def text(result):
    titles = ["rule", *ATTACKS.values(), "turned by the trigger, % (without it)"]
    lines = [f"Ten hospitals of the Wisconsin Diagnostic Breast Cancer table, {HOSTILE_MAX} of "
             f"them hostile; {len(SEEDS)} seeds ({SEEDS[0]} to {SEEDS[-1]}). Test loss of all "
             "hospitals' patients, mean ± deviation over seeds, and errors per 100.", "",
             "| " + " | ".join(titles) + " |", "|" + " --- |" * len(titles)]
    lines += [row(rule, found) for rule, found in result["figures"]["rows"].items()]
    return lines + ["", f"{len(result['commands'])} simulations, the first of them: "
                    f"`{result['commands'][0]['command']}`."]
