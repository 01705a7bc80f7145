"""kill -9 of aggregator and agent at every failpoint: after the restart the federation goes on, the
final model equals that of an undisturbed run bit for bit, and every receipt has its one end.

usage: kill_anywhere.py --bin DIR --source DIR [--failpoint NAME]... [--preset NAME]

With --preset SCAFFOLD the sites go in rounds, and each keeps something from round to round.
"""

import argparse
import collections
import json
import pathlib
import re
import sys
import tempfile

from federation import Failed, wdbc_federation

SITES = ["eastern", "northern", "southern", "western"]
VERSIONS = 12
# Which site's update is taken when. Sites come more than once in a row, and with gaps.
ORDER = ["eastern", "northern", "western", "southern", "eastern", "eastern", "western", "northern",
         "southern", "western", "western", "eastern", "northern", "southern", "eastern", "western",
         "southern", "southern", "northern", "eastern", "western", "eastern", "southern",
         "northern"]


def failpoints(source):
    text = (source / "protocol/core/failpoint.cc").read_text()
    return re.findall(r'^    "((?:agent|aggregator)\.\w+)"', text, re.MULTILINE)


def check_receipts(federation, report, run):
    """Versions name exactly the included updates; every acceptance a site holds has its one end."""
    named = collections.Counter(part["update_id"] for version in report["versions"]
                                for part in version["contributions"] if not part["table_entry"])
    if any(times != 1 for times in named.values()):
        raise Failed("an update is in two versions as a new one")
    included = set()
    for site in SITES:
        status = next(one for one in federation.site_status(site)["runs"] if one["run"] == run)
        for receipt in status["receipts"]:
            if receipt["phase"] == "accepted":
                raise Failed(f"{site}: task {receipt['task']} was accepted and has no end")
            if receipt["phase"] == "included":
                included.add(receipt["update_sha256"])
    if included != set(named):
        raise Failed(f"sites hold {len(included)} inclusion receipts, versions name {len(named)}")


def in_rounds(run_config, preset):
    text = run_config.read_text()
    text = re.sub(r"momentum: \S+", "", text)
    run_config.write_text(re.sub(r"preset: \w+\s+trigger {.*}", f"preset: {preset}", text))


def trial(template, folder, failpoint):
    """Returns the ids of all models; `failpoint` None: undisturbed."""
    federation = template.copy_to(folder / (failpoint or "undisturbed").replace(":", "-"))
    federation.aggregator_arguments = ["--test-arrival-order", folder / "order",
                                       "--allow-test-gates"]
    victim = None
    if failpoint:
        victim = "aggregator" if failpoint.startswith("aggregator.") else "northern"
    try:
        federation.start_aggregator(failpoint if victim == "aggregator" else None)
        if victim == "aggregator" and federation.died("aggregator"):
            federation.start_aggregator()
            victim = None
        try:
            run = federation.submit(folder / "run.textproto")
        except Failed:
            if victim != "aggregator" or not federation.died("aggregator"):
                raise
            # Killed before it could answer: whether the run exists is the journal's to say.
            federation.start_aggregator()
            victim = None
            runs = federation.admin_json("run", "list")["runs"]
            run = runs[0]["run_id"] if runs else federation.submit(folder / "run.textproto")
        for site in SITES:
            federation.start_agent(site, failpoint if victim == site else None)
        killed = victim is None and failpoint is not None

        def ended():
            nonlocal killed
            if victim and not killed and federation.died(victim):
                killed = True
                if victim == "aggregator":
                    federation.start_aggregator()
                else:
                    federation.start_agent(victim)
            for name in federation.processes:
                if federation.died(name):
                    raise Failed(f"{name} died:\n{federation.log(name)[-2000:]}")
            # Between two looks the aggregator may be killed in the middle of its answer.
            answer = federation.admin("--json", "run", "status", run, check=False)
            return answer.returncode == 0 and json.loads(answer.stdout)["phase"] == "ended"

        federation.wait_for("the run has ended", ended)
        if failpoint and not killed:
            raise Failed("the failpoint was never passed")

        def receipts_arrived():
            return not any(receipt["phase"] in ("accepted", "sending", "ready")
                           for site in SITES for one in federation.site_status(site)["runs"]
                           for receipt in one["receipts"])

        federation.wait_for("every receipt has its end", receipts_arrived)
        report = federation.run_report(run)
        check_receipts(federation, report, run)
        audit = federation.admin_json("audit", "verify")
        if not audit["intact"]:
            raise Failed(f"the audit chain is broken: {audit}")
        # The run's id is part of a model's id and the same in every trial: one submission each.
        return [version["model_id"] for version in report["versions"]]
    finally:
        federation.stop_all()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--source", type=pathlib.Path, required=True)
    parser.add_argument("--failpoint", action="append")
    parser.add_argument("--preset")
    arguments = parser.parse_args()
    failures = 0
    with tempfile.TemporaryDirectory(prefix="consilium-faults-") as name:
        folder = pathlib.Path(name)
        template, _ = wdbc_federation(arguments.bin, arguments.source, folder, SITES, VERSIONS)
        order = ORDER
        if arguments.preset:
            in_rounds(folder / "run.textproto", arguments.preset)
            order = SITES * VERSIONS
        (folder / "order").write_text("\n".join(order) + "\n")
        expected = trial(template, folder, None)
        if len(expected) != VERSIONS + 1:
            sys.exit(f"the undisturbed run made {len(expected)} versions")
        for failpoint in arguments.failpoint or failpoints(arguments.source):
            try:
                models = trial(template, folder, failpoint)
                if len(models) != len(expected):
                    raise Failed(f"{len(models)} versions instead of {len(expected)}")
                if models != expected:
                    first = next(i for i, pair in enumerate(zip(models, expected))
                                 if pair[0] != pair[1])
                    raise Failed(f"version {first} differs from the undisturbed run's")
                print(f"ok      {failpoint}", flush=True)
            except Failed as failed:
                failures += 1
                print(f"FAILED  {failpoint}: {failed}", flush=True)
    sys.exit(f"{failures} failpoints failed" if failures else 0)


main()
