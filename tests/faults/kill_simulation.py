"""`consilium-sim run` killed with SIGKILL at random moments, again and again, until it ends: the
models, the summary and the journal are those of the undisturbed run.

usage: kill_simulation.py --bin DIR --source DIR [--seed N]
"""

import argparse
import json
import pathlib
import random
import re
import shutil
import subprocess
import tempfile
import time

DEADLINE_S = 240
KILLS_MIN = 4


class Simulator:
    def __init__(self, arguments, folder):
        self.program = arguments.bin / "consilium-sim"
        self.folder = folder
        scenario = arguments.source / "sim/scenarios/wdbc-four-hospitals"
        self.files = [scenario / "run.textproto", scenario / "scenario.textproto"]
        table = subprocess.run([arguments.source / "scripts/wdbc_table"], check=True,
                               capture_output=True).stdout
        (folder / "wdbc.csv").write_bytes(table)

    def run_command(self, out, *more, seeds="1..2"):
        return [self.program, "run", *self.files, "--data", self.folder, "--seeds", seeds,
                "--simulate", "FEDADAM", "--set", "stop.versions_max=25", "--checkpoint-s", "0.02",
                "--out", out, *more]

    def call(self, *arguments, code=0):
        done = subprocess.run([str(a) for a in arguments], capture_output=True, text=True,
                              timeout=DEADLINE_S)
        assert done.returncode == code, f"{done.args}\n{done.stdout}{done.stderr}"
        return done

    def run(self, out, *more, code=0, seeds="1..2"):
        return self.call(*self.run_command(out, *more, seeds=seeds), code=code)

    def run_killed(self, out, chance):
        """Starts anew and kills until it ends by itself; how often it was killed."""
        kills = 0
        # As long as a whole run takes, so that kills fall on every part of it.
        longest = self.seconds
        while True:
            process = subprocess.Popen(self.run_command(out), stdout=subprocess.PIPE,
                                       stderr=subprocess.STDOUT)
            wait = None if kills >= 40 else chance.uniform(0.05, 1) * longest
            try:
                said, _ = process.communicate(timeout=wait)
                assert process.returncode == 0, said.decode()
                return kills
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                kills += 1

    def undisturbed(self, out):
        began = time.monotonic()
        self.run(out)
        self.seconds = time.monotonic() - began


def told(out):
    """The summary without what hangs on the machine."""
    text = (out / "summary.json").read_text()
    return json.loads(re.sub(r'"(wall_seconds|energy_joules)": [^,\n]*', r'"\1": 0', text))


def check_journals(simulator, out):
    exports = sorted((out / "journal").glob("*.export"))
    assert len(exports) == 4, exports
    for export in exports:
        said = simulator.call(simulator.program, "replay", export, "--key",
                              out / "journal/recipient.key", "--json")
        replayed = json.loads(said.stdout)
        assert replayed["mismatches"] == [], replayed
    return replayed


def check_refusals(simulator, out):
    for said, why in [(simulator.run(out, "--set", "training.local_steps=3", code=1), "run config"),
                      (simulator.run(out, code=1, seeds="4"), "seeds")]:
        assert why in said.stderr and "--restart" in said.stderr, said.stderr
    nothing = simulator.folder / "nothing"
    assert "--resume" in simulator.run(nothing, "--resume", code=1).stderr


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--source", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    arguments = parser.parse_args()
    print(f"--seed {arguments.seed}")
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        simulator = Simulator(arguments, pathlib.Path(folder))
        whole = simulator.folder / "whole"
        simulator.undisturbed(whole)
        kills = 0
        while kills < KILLS_MIN:
            out = simulator.folder / "killed"
            shutil.rmtree(out, ignore_errors=True)
            kills += simulator.run_killed(out, chance)
            assert told(out) == told(whole)
            check_journals(simulator, out)
        print(f"killed {kills} times")

        # Ended, it goes on to the same result at once, and nothing else may use its folder.
        began = time.monotonic()
        simulator.run(out, "--resume")
        print(f"again in {time.monotonic() - began:.2f} s, whole in {simulator.seconds:.2f} s")
        assert told(out) == told(whole)
        check_refusals(simulator, out)
        simulator.run(out, seeds="1..3")
        assert len(told(out)["seeds"]) == 3
        simulator.run(out, "--restart", seeds="4")


if __name__ == "__main__":
    main()
