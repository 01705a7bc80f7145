"""What one virtual site more costs: simulations of 10 to 10,000 sites of a small model
(sim/scenarios/growth), each of which trains about once while ten versions are made, and the slope
of time and memory over the number of sites in a log-log fit. 1 is as much again for each site; the
program's own start, and two sites, are taken off both by a simulation of two."""

import math
import random
import statistics

# Drawn from a seed.
FILES = ()
SIZES = (10, 100, 1000, 10_000)
SMALLEST = 2
PATIENTS_PER_SITE = 40
FEATURES = 8
VERSIONS = 10
# A small simulation is over in a moment, and what else the machine does is most of it.
REPETITIONS = 15
REPETITIONS_LARGE = 3
LARGE = 1000


def table(context, sites):
    folder = context.folder / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"patients-{sites}.csv"
    if file.is_file():
        return folder
    draw = random.Random(sites)
    weights = [draw.gauss(0, 1) for _ in range(FEATURES)]
    with file.open("w") as out:
        out.write(",".join(f"z{i}" for i in range(1, FEATURES + 1)) + ",outcome\n")
        for _ in range(sites * PATIENTS_PER_SITE):
            z = [draw.gauss(0, 1) for _ in range(FEATURES)]
            risk = 1 / (1 + math.exp(-sum(w * x for w, x in zip(weights, z))))
            out.write(",".join(f"{x:.4f}" for x in z) + f",{int(draw.random() < risk)}\n")
    return folder


def simulate(context, sites):
    folder = context.root / "sim/scenarios/growth"
    # As many updates as sites.
    versions = min(sites, VERSIONS)
    summary = context.simulate(
        folder / "run.textproto", folder / f"sites-{sites}.textproto", table(context, sites),
        "--no-baselines", "--set", f"aggregation.trigger.buffer.updates={sites // versions}",
        "--set", f"stop.versions_max={versions}", "--restart", name=f"sites-{sites}")
    return {"seconds": summary["wall_seconds"], "updates": summary["updates"],
            "bytes": context.commands[-1]["peak_bytes"]}


def slope(points):
    """Least squares of log y over log x."""
    logs = [(math.log(x), math.log(y)) for x, y in points]
    mean_x, mean_y = (statistics.mean(axis) for axis in zip(*logs))
    return (sum((x - mean_x) * (y - mean_y) for x, y in logs) /
            sum((x - mean_x) ** 2 for x, _ in logs))


def run(context):
    found = {sites: [] for sites in (SMALLEST, *SIZES)}
    # In turns: whatever else the machine does meanwhile touches all sizes.
    for turn in range(REPETITIONS):
        for sites, measured in found.items():
            if sites < LARGE or turn % (REPETITIONS // REPETITIONS_LARGE) == 0:
                measured.append(simulate(context, sites))
    median = {sites: {key: statistics.median(one[key] for one in measured) for key in measured[0]}
              for sites, measured in found.items()}
    rows = [{"sites": sites, "sites_more": sites - SMALLEST, **median[sites],
             "seconds_more": median[sites]["seconds"] - median[SMALLEST]["seconds"],
             "bytes_more": median[sites]["bytes"] - median[SMALLEST]["bytes"]}
            for sites in SIZES]
    slopes = {}
    for key in ("seconds_more", "bytes_more"):
        points = [(row["sites_more"], row[key]) for row in rows]
        slopes[key] = slope(points) if all(y > 0 for _, y in points) else None
    return {"smallest": median[SMALLEST], "rows": rows, "slopes": slopes, "measured": found}


def text(result):
    figures = result["figures"]
    smallest, slopes = figures["smallest"], figures["slopes"]
    lines = [f"Medians of {REPETITIONS} simulations each, from {LARGE} sites on "
             f"{REPETITIONS_LARGE}, in turns; {PATIENTS_PER_SITE} patients a "
             f"site, a perceptron of {FEATURES} features, {VERSIONS} versions. The memory is the "
             "program's highest, the table that it reads included. A simulation of "
             f"{SMALLEST} sites takes {smallest['seconds']:.2f} s and "
             f"{smallest['bytes'] / 2**20:.0f} MiB; what more sites take beyond that:", "",
             "| sites | updates | seconds | MiB | ms per site | KiB per site |",
             "| --- | --- | --- | --- | --- | --- |"]
    for row in figures["rows"]:
        lines.append(
            f"| {row['sites']} | {row['updates']:.0f} | {row['seconds']:.2f} | "
            f"{row['bytes'] / 2**20:.0f} | {1000 * row['seconds_more'] / row['sites_more']:.2f} | "
            f"{row['bytes_more'] / 2**10 / row['sites_more']:.1f} |")
    told = {key: "none" if value is None else f"{value:.2f}" for key, value in slopes.items()}
    return lines + [
        "", f"Slope in a log-log fit over {min(SIZES)} to {max(SIZES)} sites: time "
        f"**{told['seconds_more']}**, memory **{told['bytes_more']}**.", "",
        f"{len(result['commands'])} simulations, the first of them: "
        f"`{result['commands'][0]['command']}`."]
