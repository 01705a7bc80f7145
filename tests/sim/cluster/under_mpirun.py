"""`consilium-sim run` and `search` under mpirun: with any number of ranks the models, summary, log
and trials of one process; a rank killed with SIGKILL ends the job with a name and a checkpoint,
from which another number of ranks, or none, goes on; a rank that is not the same is refused. With
`--clock wall` the journal gives the models again, one hospital's order is virtual time's, and a
killed rank is named.

usage: under_mpirun.py --bin DIR --source DIR
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

DEADLINE_S = 240
# In a container there may be neither ssh nor a network, and the user may be root.
ENVIRONMENT = {
    **os.environ,
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "OMPI_MCA_plm": "isolated",
    "OMPI_MCA_pml": "ob1",
    "OMPI_MCA_btl": "self,vader",
    "OMPI_MCA_btl_tcp_if_include": "lo",
    "PMIX_MCA_gds": "hash",
}
# The file's own trigger and optimizer are not every rule's.
BARRIER = ["--set", "aggregation.trigger.barrier.deadline_ms=600000"]
RULES = {
    "FEDAVG": BARRIER,
    "FEDBUFF": ["--set", "aggregation.trigger.buffer.updates=3"],
    "SCAFFOLD": [*BARRIER, "--set", "training.optimizer.sgd.momentum=0"],
}
WALL_RULES = {**RULES, "FEDASYNC": ["--set", "aggregation.trigger.buffer.updates=1"]}


class Ranks:
    def __init__(self, arguments, folder):
        self.program = arguments.bin / "consilium-sim"
        self.folder = folder
        self.source = arguments.source.resolve()
        scenario = arguments.source / "sim/scenarios/wdbc-four-hospitals"
        # As a table of one's own, which has no name: ranks are to see that theirs differ.
        own = folder / "scenario.textproto"
        own.write_text((scenario / "scenario.textproto").read_text()
                       .replace('  name: "wdbc"\n', "", 1))
        self.files = [scenario / "run.textproto", own]
        self.table = subprocess.run([arguments.source / "scripts/wdbc_table"], check=True,
                                    capture_output=True).stdout
        (folder / "wdbc.csv").write_bytes(self.table)

    def run(self, rule, out, *more, program=None, data=None):
        """What one process, or one rank, runs."""
        return [program or self.program, "run", *self.files, "--data", data or self.folder,
                "--set", f"aggregation.preset={rule}", *WALL_RULES[rule],
                "--set", "stop.versions_max=12", "--seeds", "1..2", "--checkpoint-s", "0",
                "--no-baselines", "--threads", "1", "--out", out, *more]

    def other_data(self):
        folder = self.folder / "other"
        folder.mkdir(exist_ok=True)
        (folder / "wdbc.csv").write_bytes(self.table.replace(b"17.99", b"17.98", 1))
        return folder

    def call(self, command, code=0, environment=None):
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                              timeout=DEADLINE_S, env={**ENVIRONMENT, **(environment or {})})
        said = f"{done.args}: {done.returncode}\n{done.stdout}{done.stderr}"
        assert done.returncode == code, said
        return done


def told(out):
    """The summary without what hangs on the machine."""
    text = (out / "summary.json").read_text()
    return json.loads(re.sub(r'"(wall_seconds|energy_joules)": [^,\n]*', r'"\1": 0', text))


def logs(out):
    """What was computed and what the aggregator was told, in order, byte by byte."""
    found = {path.name: path.read_bytes() for path in sorted((out / "checkpoint").glob("*.log"))}
    assert len(found) == 2 and all(found.values()), found.keys()
    return found


def check_same(out, whole):
    assert told(out) == told(whole)
    assert logs(out) == logs(whole)


def check_journals(ranks, out):
    for export in (out / "journal").glob("*.export"):
        said = ranks.call([ranks.program, "replay", export, "--key", out / "journal/recipient.key",
                           "--json"])
        assert json.loads(said.stdout)["mismatches"] == [], said.stdout


def check_rules(ranks):
    for rule in RULES:
        whole = ranks.folder / f"whole-{rule}"
        ranks.call(ranks.run(rule, whole))
        for size in (1, 2, 3):
            out = ranks.folder / f"ranks-{rule}-{size}"
            said = ranks.call(["mpirun", "-n", size, *ranks.run(rule, out)])
            check_same(out, whole)
            assert (f"with {size - 1} more rank" in said.stderr) == (size > 1), said.stderr
        check_journals(ranks, out)
        print(f"{rule}: the same with 1, 2 and 3 ranks")


def pids(launcher, program):
    """Of the ranks, in their order, in which the launcher starts them."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            line = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if parent == launcher and line[0] == str(program).encode():
            found.append(int(entry.name))
    return sorted(found)


def kill_one(ranks, out, size, victim, environment):
    """Kills a rank once there is a checkpoint of the run. Whether it fell before the end."""
    def checkpoints():
        return {path: path.stat().st_mtime_ns
                for path in (out / "checkpoint").glob("run-seed-*.[01]")}

    before = checkpoints()
    job = subprocess.Popen(
        [str(word) for word in ["mpirun", "-n", size, *ranks.run("SCAFFOLD", out)]],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**ENVIRONMENT, **environment})
    deadline = time.monotonic() + DEADLINE_S
    while job.poll() is None and time.monotonic() < deadline:
        now = checkpoints()
        if len([path for path in now if now[path] != before.get(path)]) >= 2:
            break
        os.sched_yield()
    processes = pids(job.pid, ranks.program)
    killed = processes[victim] if len(processes) == size else None
    if killed is not None:
        os.kill(killed, signal.SIGKILL)
    stdout, stderr = job.communicate(timeout=DEADLINE_S)
    if killed is None or job.returncode == 0:
        return False
    assert f"process rank {victim}" in stderr, stderr  # The launcher's own words.
    if victim != 0:
        if f"rank {victim} (" in stderr:
            assert f"process {killed}) has died" in stderr, stderr
            assert "the same command goes on from here, with any number of ranks" in stderr, stderr
        return f"rank {victim} (" in stderr
    return True


def check_deaths(ranks):
    whole = ranks.folder / "whole-SCAFFOLD"
    for environment in ({}, {"OMPI_MCA_btl": "self,tcp"}):
        out = ranks.folder / "killed"
        shutil.rmtree(out, ignore_errors=True)
        named = 0
        for size, victim in ((3, 2), (2, 1), (3, 0), (4, 1)):
            named += bool(kill_one(ranks, out, size, victim, environment))
        # Over TCP the library may end rank 0 by itself; the last checkpoint has to do.
        assert named >= (1 if environment else 2), named
        ranks.call(["mpirun", "-n", 3, *ranks.run("SCAFFOLD", out, "--resume")],
                   environment=environment)
        assert told(out) == told(whole)
        check_journals(ranks, out)
        print(f"{named} deaths survived over {environment or 'shared memory'}")


SPACE = """
name: "steps"
parameters { path: "training.local_steps" integer { min: 1 max: 6 } }
parameters { path: "training.optimizer.sgd.learning_rate" choice { values: ["0.1", "1"] } }
objectives { quantity: BEST_SCORE direction: MINIMISE }
grid {}
"""


def trials(out):
    """What came of each trial, without what hangs on the machine."""
    return [{**trial, "costs": {**trial["costs"], "wall_seconds": 0}}
            for trial in json.loads((out / "trials.json").read_text())["trials"]]


def check_searches(ranks):
    space = ranks.folder / "space.textproto"
    space.write_text(SPACE)
    alone, over = ranks.folder / "search-alone", ranks.folder / "search-over"

    def search(out, *more):
        return [ranks.program, "search", space, *ranks.files, "--data", ranks.folder, "--set",
                "stop.versions_max=3", "--workers", 1, "--out", out, *more]

    ranks.call(search(alone))
    said = ranks.call(["mpirun", "-n", 3, *search(over)])
    assert "with 2 more ranks on 1 machine, 2 trials at once there" in said.stderr, said.stderr
    assert len(trials(over)) == 12 and trials(over) == trials(alone)
    other = search(over, "--set", "training.batch_examples=7")
    said = ranks.call(["mpirun", "-n", 1, *search(over), ":", "-n", 1, *other], code=1)
    assert "has another run config than" in said.stderr, said.stderr
    # Rank 1 reads a table of its own, with as many rows of as many hospitals.
    other = [ranks.other_data() if word == ranks.folder else word for word in search(over)]
    said = ranks.call(["mpirun", "-n", 1, *search(over), ":", "-n", 1, *other], code=1)
    assert "consilium-sim: rank 1 (" in said.stderr, said.stderr
    assert "has another data set than rank 0" in said.stderr, said.stderr
    # Where only a trial's values make a run config of the file.
    half = ranks.folder / "half.textproto"
    text = ranks.files[0].read_text().replace("../../..", str(ranks.source))
    half.write_text(re.sub(r"(sgd \{) learning_rate: [0-9.]+", r"\1", text))
    assert half.read_text() != text
    first = [half if word == ranks.files[0] else word for word in search(ranks.folder / "half")]
    second = [ranks.other_data() if word == ranks.folder else word for word in first]
    said = ranks.call(["mpirun", "-n", 1, *first, ":", "-n", 1, *second], code=1)
    assert "another data set than rank 0" in said.stderr, said.stderr
    print(f"{len(trials(over))} trials over 3 ranks")


def check_refusals(ranks):
    out = ranks.folder / "refused"
    other_program = ranks.folder / "other-sim"
    shutil.copy(ranks.program, other_program)
    with other_program.open("ab") as file:
        file.write(b"\0")
    other_data = ranks.other_data()
    run = ranks.run
    cases = [(run("FEDAVG", out, "--set", "training.local_steps=3"), "has another run config than"),
             (run("FEDAVG", out, "--set", "scenario.sites.task_ms=3"), "has another scenario than"),
             (run("FEDAVG", out, "--trainer", "fused"), "has another trainer than"),
             (run("FEDAVG", out, program=other_program), "has another program than"),
             (run("FEDAVG", out, data=other_data), "has other data than rank 0"),
             (run("FEDAVG", out, data=ranks.folder / "nowhere"), "wdbc.csv")]
    for other, why in cases:
        said = ranks.call(["mpirun", "-n", 1, *run("FEDAVG", out), ":", "-n", 1, *other], code=1)
        assert "consilium-sim: rank 1 (" in said.stderr and why in said.stderr, said.stderr
    assert not (out / "summary.json").exists()
    said = ranks.call(["mpirun", "-n", 2, ranks.program, "check", "--runs", 1], code=2)
    assert "only `run` and `search` are distributed over ranks" in said.stderr, said.stderr
    print(f"{len(cases)} ranks refused")


def replayed(ranks, out, name="run-seed-1"):
    """The versions of that run, from its journal."""
    said = ranks.call([ranks.program, "replay", out / f"journal/{name}.export", "--key",
                       out / "journal/recipient.key", "--json"])
    told = json.loads(said.stdout)
    assert told["mismatches"] == [], said.stdout
    return told["versions"]


def check_wall(ranks):
    for rule, size in (("FEDAVG", 3), ("FEDBUFF", 3), ("FEDASYNC", 2)):
        out = ranks.folder / f"wall-{rule}"
        command = ["mpirun", "-n", size,
                   *ranks.run(rule, out, "--clock", "wall", "--set",
                              "training.task_duration_min_ms=0")]
        ranks.call(command)
        summary = told(out)
        assert (summary["clock"], summary["workers"]) == ("wall", size - 1), summary
        for seed in summary["seeds"]:
            versions = replayed(ranks, out, f"run-seed-{seed['seed']}")
            assert len(versions) == 13 and seed["versions"] == 12, seed
            result = versions[seed["result_version"]]
            assert result["model_sha256"] == seed["model_sha256"], seed
            assert len(seed["sites"]) == 4 and seed["updates"] >= 12, seed
        said = ranks.call(command, code=1)
        assert "none goes on on a wall clock" in said.stderr, said.stderr
        ranks.call([*command, "--restart"])
    print("wall clock: 3 rules, and their journals")


def check_wall_is_virtual(ranks):
    """Of two hospitals no order of updates shows in the sum of a round."""
    two = ranks.folder / "two.textproto"
    two.write_text('dataset { partitioned { file: "wdbc.csv" sites: 2 } } sites { task_ms: 10 }\n')
    ids = []
    for clock in ("wall", "virtual"):
        out = ranks.folder / f"two-{clock}"
        command = ranks.run("FEDAVG", out, "--clock", clock)
        command[command.index(ranks.files[1])] = two
        ranks.call(["mpirun", "-n", 3, *command])
        ids.append([version["model_sha256"] for version in replayed(ranks, out)])
    assert ids[0] == ids[1] and len(ids[0]) == 13, ids
    print("FEDAVG of two hospitals on a wall clock is that of virtual time")


def check_wall_death(ranks):
    out = ranks.folder / "wall-killed"
    job = subprocess.Popen(
        [str(word) for word in ["mpirun", "-n", 3, "--mca", "odls_base_sigkill_timeout", 20,
                                *ranks.run("FEDBUFF", out, "--clock", "wall", "--set",
                                           "training.task_duration_min_ms=0", "--set",
                                           "stop.versions_max=100000")]],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    log = out / "checkpoint/run-seed-1.log"
    deadline = time.monotonic() + DEADLINE_S
    # It is written in blocks of a MiB, of hundreds of versions: there are some then, and not all.
    while job.poll() is None and time.monotonic() < deadline:
        if log.exists() and log.stat().st_size >= 1 << 20:
            break
        os.sched_yield()
    processes = pids(job.pid, ranks.program)
    assert len(processes) == 3, processes
    os.kill(processes[2], signal.SIGKILL)
    stderr = job.communicate(timeout=DEADLINE_S)[1]
    assert job.returncode != 0, stderr
    assert f"process {processes[2]}) has died" in stderr, stderr
    assert "what came before is in" in stderr, stderr
    assert 10 < len(replayed(ranks, out)) < 100000
    assert not (out / "summary.json").exists()
    said = ranks.call(ranks.run("FEDBUFF", out, "--clock", "wall", "--resume"), code=2)
    assert "no run goes on on a wall clock" in said.stderr, said.stderr
    print("wall clock: a killed rank is named, and the journal kept")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--source", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ranks = Ranks(arguments, pathlib.Path(folder))
        check_rules(ranks)
        check_deaths(ranks)
        check_searches(ranks)
        check_refusals(ranks)
        check_wall(ranks)
        check_wall_is_virtual(ranks)
        check_wall_death(ranks)


if __name__ == "__main__":
    main()
