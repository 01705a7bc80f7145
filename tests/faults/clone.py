"""Two real agents on copies of one store: only one of them goes on, and the other says why and what
to do.

1. The original is attached when its copy starts: the copy is fenced, the original's run ends.
2. The copy attaches while the original is down: the original is fenced when it comes back. With a
   new join file it takes the site over, and then the copy is out.

usage: clone.py --bin DIR --source DIR
"""

import argparse
import pathlib
import shutil
import tempfile

from federation import Failed, wdbc_federation

SITES = ["eastern", "northern"]
SITE = "northern"
CLONE = "northern-clone"


def expect(condition, what, federation, *logs):
    if condition:
        return
    raise Failed("\n".join([what] + [f"--- {name}.log\n{federation.log(name)[-3000:]}"
                                     for name in logs]))


def attached(federation, name):
    """Whether the newest process of that name has attached, by its own log: `status` while it
    starts would open the store in its place."""
    since_start = federation.log(name).rpartition("the agent runs on")[2]
    return "attached to the aggregator" in since_start


def await_fenced(federation, name):
    """The process has ended by itself, since a person must act, and says what to do."""
    federation.wait_for(f"{name} is fenced", lambda: federation.died(name))
    code = federation.processes.pop(name).returncode
    expect(code == 3, f"{name} exits with {code} instead of 3: no restart helps", federation, name)
    last = federation.log(name).strip().splitlines()[-1]
    for words in ["LEASE_FENCED", "Two copies of this site's store are about",
                  f"consilium site add --again {SITE}", "consilium-agent enrol --store"]:
        expect(words in last, f"the last line of {name}'s log lacks '{words}'", federation, name)


def alarms(federation):
    return sum(f"ALARM site {SITE}: LEASE_FENCED" in line
               for line in federation.log("aggregator").splitlines())


def await_end(federation, run):
    federation.wait_for("the run has ended",
                        lambda: federation.run_report(run)["phase"] == "ended")
    report = federation.run_report(run)
    for site in report["participants"]:
        expect(site["updates_included"] > 0, f"no update of {site['site_id']} was merged",
               federation)
    audit = federation.admin_json("audit", "verify")
    expect(audit["intact"], f"the audit chain is broken: {audit}", federation)


def copy_comes_second(federation, run_config):
    shutil.copytree(federation.work / SITE, federation.work / CLONE, symlinks=True)
    federation.start_aggregator()
    for site in SITES:
        federation.start_agent(site)
    run = federation.submit(run_config)
    federation.wait_for("the original is attached", lambda: attached(federation, SITE))
    federation.start_agent(CLONE)
    await_fenced(federation, CLONE)
    expect(alarms(federation) > 0, "no alarm in the aggregator's log", federation, "aggregator")
    expect(not federation.died(SITE), "the original ended too", federation, SITE)
    expect(federation.site_status(SITE)["attached"], "the original is not attached any more",
           federation, SITE)
    await_end(federation, run)


def copy_comes_first(federation, run_config):
    for log in federation.logs.iterdir():
        log.write_text("")
    # With the lease that the original holds now.
    shutil.rmtree(federation.work / CLONE)
    shutil.copytree(federation.work / SITE, federation.work / CLONE, symlinks=True)
    federation.start_aggregator()
    federation.start_agent(SITES[0])
    federation.start_agent(CLONE)
    federation.wait_for("the copy is attached", lambda: attached(federation, CLONE))
    before = alarms(federation)
    federation.start_agent(SITE)
    await_fenced(federation, SITE)
    expect(alarms(federation) > before, "no alarm in the aggregator's log", federation,
           "aggregator")
    expect(federation.site_status(CLONE)["attached"], "the copy is not attached any more",
           federation, CLONE)

    join = federation.work / SITE / "again.join"
    federation.admin("site", "add", "--again", SITE, "--out", join)
    federation.call("consilium-agent", "enrol", "--store", federation.work / SITE / "store",
                    "--join", join)
    await_fenced(federation, CLONE)
    federation.start_agent(SITE)
    federation.wait_for("the original is attached", lambda: attached(federation, SITE))
    await_end(federation, federation.submit(run_config))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--source", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="consilium-clone-") as name:
        federation, run_config = wdbc_federation(arguments.bin, arguments.source,
                                                 pathlib.Path(name),
                                                 SITES, versions=6)
        for trial in (copy_comes_second, copy_comes_first):
            try:
                trial(federation, run_config)
            except Failed:
                for log in sorted(federation.logs.iterdir()):
                    print(f"--- {log.name}\n{log.read_text(errors='replace')[-4000:]}", flush=True)
                raise
            finally:
                federation.stop_all()
            print(f"ok      {trial.__name__}", flush=True)


main()
