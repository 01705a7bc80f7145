"""What many hospitals hold between their tasks, in memory and in a file: SCAFFOLD at 10,000 virtual
sites, of which a tenth takes part in a round, with more and less of --idle-mib. The models are the
same bit by bit, or the study ends."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import growth  # noqa: E402

# Drawn from a seed.
FILES = ()
SITES = 10_000
UNITS = 128
# A perceptron of growth.FEATURES, UNITS, UNITS / 2 and 1.
PARAMETERS = (growth.FEATURES + 1) * UNITS + (UNITS + 1) * (UNITS // 2) + UNITS // 2 + 1
# All of it is in memory with the first.
ROOM_MIB = (16_384, 64, 8)


def simulate(context, mib):
    folder = context.root / "sim/scenarios/growth"
    barrier = "aggregation.trigger.barrier"
    summary = context.simulate(
        folder / "run.textproto", folder / f"sites-{SITES}.textproto",
        growth.table(context, SITES), "--no-baselines", "--trainer", "fused",
        "--checkpoint-s", "3600", "--idle-mib", str(mib),
        "--set", "aggregation.preset=SCAFFOLD", "--set", f"{barrier}.sites_per_round={SITES // 10}",
        "--set", f"{barrier}.deadline_ms=60000", "--set", f"model.parameters.units={UNITS}",
        name=f"room-{mib}")
    return {"mib": mib, "updates": summary["updates"], "model": summary["model_sha256"],
            "seconds": summary["wall_seconds"], "bytes": context.commands[-1]["peak_bytes"]}


def run(context):
    rows = [simulate(context, mib) for mib in ROOM_MIB]
    if len({row["model"] for row in rows}) != 1:
        sys.exit("the models hang on --idle-mib")
    return {"rows": rows, "parameters": PARAMETERS}


def text(result):
    rows = result["figures"]["rows"]
    model = 4 * result["figures"]["parameters"]
    lines = [
        f"SCAFFOLD, {SITES} sites, a perceptron of {result['figures']['parameters']} parameters "
        f"({model / 2**10:.0f} KiB), {rows[0]['updates']:.0f} updates, of hospitals drawn anew for "
        "each round: some keep nothing yet. The memory is the program's highest, the table that it "
        "reads and all else included. The models are the same.", "",
        "| `--idle-mib` | MiB | KiB per site | seconds |", "| --- | --- | --- | --- |"]
    for row in rows:
        lines.append(f"| {row['mib']} | {row['bytes'] / 2**20:.0f} | "
                     f"{row['bytes'] / 2**10 / SITES:.1f} | {row['seconds']:.0f} |")
    return lines + ["", f"{len(result['commands'])} simulations, the first of them: "
                    f"`{result['commands'][0]['command']}`."]
