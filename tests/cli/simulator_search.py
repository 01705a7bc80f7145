"""`consilium-sim search` as a person meets it: killed and started again, its files as others read
them, and what it refuses.

usage: simulator_search.py --bin DIR --source DIR [UNITTEST_NAME]...

What needs TensorBoard (scripts/setup --check-tools) or a table that is not there is skipped.
"""

import argparse
import csv
import json
import os
import pathlib
import random
import shlex
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

from simulator_world import SimulatorWorld
from skipping import run_tests

DEADLINE_S = 120
SPACE = """
name: "rates"
parameters {
  path: "training.optimizer.sgd.learning_rate" real { min: 0.001 max: 0.3 scale: LOG }
}
parameters { path: "training.local_steps" integer { min: 1 max: 20 } }
parameters { path: "aggregation.preset" choice { values: ["FEDAVG", "FEDBUFF"] } }
objectives { quantity: BEST_SCORE direction: MINIMISE }
seed: 1
"""
EVOLUTION = SPACE + "differential_evolution { population: 4 generations: 2 }\n"
SIZES = """
name: "sizes"
parameters { path: "model.parameters.units" choice { values: ["2", "4"] } }
parameters { path: "spec.layers.relu2.activation.function" choice { values: ["RELU", "TANH"] } }
parameters { path: "scenario.sites.latency_ms" integer { min: 5 max: 6 } }
objectives { quantity: BEST_SCORE direction: MINIMISE }
objectives { quantity: MULTIPLY_ADDS direction: MINIMISE }
seeds: "1..2"
grid {}
"""

CELLS = """
name: "cells"
cell { nodes: 2 stages: 2 cells: 1 pooling: 4 }
parameters { path: "cell.channels" integer { min: 2 max: 4 } }
objectives { quantity: BEST_SCORE direction: MAXIMISE }
aging_evolution { population: 3 sample: 2 trials: 6 }
seed: 3
"""

world = None


class World(SimulatorWorld):
    def words(self, space, out, *arguments):
        file = self.folder / f"{out}.textproto"
        file.write_text(space)
        return self.command("search", file, *self.files, "--data", self.folder, "--set",
                            "stop.versions_max=4", "--out", self.folder / out, *arguments)

    def search(self, space, out, *arguments, code=0):
        done = subprocess.run(self.words(space, out, *arguments), capture_output=True,
                              text=True, timeout=DEADLINE_S)
        assert done.returncode == code, f"{done.args}\n{done.stdout}{done.stderr}"
        return done

    def trials(self, out):
        """What was tried and what came of it; how long it took differs."""
        trials = json.loads((self.folder / out / "trials.json").read_text())["trials"]
        return [(t["trial"], t["parameters"], t["objectives"], t.get("rung")) for t in trials]


def write_images(folder, count):
    """A kind of image is two bright rows, in noise."""
    draw = random.Random(1)
    images = struct.pack(">IIII", 0x803, count, 28, 28)
    labels = struct.pack(">II", 0x801, count) + bytes(i % 10 for i in range(count))
    for i in range(count):
        for y in range(28):
            bright = 150 if y in (2 * (i % 10) + 3, 2 * (i % 10) + 4) else 0
            images += bytes(bright + draw.randrange(100) for _ in range(28))
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(images)
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(labels)


def log_lines(out):
    log = world.folder / out / "trials.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def children(pid):
    return [int(p) for task in pathlib.Path(f"/proc/{pid}/task").iterdir()
            for p in (task / "children").read_text().split()]


def is_gone(pid):
    """Nobody may be there to wait for it."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().split()[2] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


class Search(unittest.TestCase):
    def test_killed_it_goes_on_to_the_same_trials(self):
        whole = world.search(EVOLUTION, "whole", "--workers", 1)
        self.assertEqual(len(world.trials("whole")), 12)
        words = world.words(EVOLUTION, "killed", "--workers", 1)
        for lines in (3, 8):
            process = subprocess.Popen(words, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
            deadline = time.monotonic() + DEADLINE_S
            while log_lines("killed") < lines and time.monotonic() < deadline:
                self.assertIsNone(process.poll())
                time.sleep(0.002)
            trials = children(process.pid)
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=DEADLINE_S)
            for trial in trials:
                while not is_gone(trial) and time.monotonic() < deadline:
                    time.sleep(0.002)
                self.assertTrue(is_gone(trial))
            self.assertLess(log_lines("killed"), 13)
        log = world.folder / "killed/trials.jsonl"
        log.write_bytes(log.read_bytes() + b'{"trial":99,"po')
        known = log_lines("killed")
        again = world.search(EVOLUTION, "killed", "--workers", 1)
        self.assertIn(f"goes on from {known - 1} trials", again.stderr)
        self.assertEqual(world.trials("killed"), world.trials("whole"))
        self.assertEqual(again.stdout.splitlines()[:-1], whole.stdout.splitlines()[:-1])

    def test_a_killed_generation_goes_on_to_the_same_trials(self):
        spaces = {
            "cma": SPACE + "cma_es { population: 5 generations: 2 }\n",
            "nsga": SPACE + "objectives { quantity: UPLOAD_BYTES direction: MINIMISE }\n"
                            "nsga2 { population: 8 generations: 1 }\n"}
        for name, space in spaces.items():
            # However many at once, killed or not.
            world.search(space, name, "--workers", 1)
            words = world.words(space, f"{name}-killed", "--workers", 2)
            process = subprocess.Popen(words, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
            deadline = time.monotonic() + DEADLINE_S
            while log_lines(f"{name}-killed") < 9 and time.monotonic() < deadline:
                self.assertIsNone(process.poll())
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=DEADLINE_S)
            self.assertLess(log_lines(f"{name}-killed"), 16)
            world.search(space, f"{name}-killed", "--workers", 2)
            trials = world.trials(name)
            self.assertEqual(len(trials), {"cma": 15, "nsga": 16}[name])
            self.assertEqual(world.trials(f"{name}-killed"), trials)

    def test_a_trial_is_what_run_says(self):
        done = world.search(SPACE + "random { trials: 5 }\n", "random", "--workers", 3)
        self.assertNotIn("\r", done.stderr)
        command = shlex.split(done.stdout.splitlines()[-1])
        self.assertEqual(command[:2], ["consilium-sim", "run"])
        ran = subprocess.run([world.bin / command[0], *command[1:], "--json"], check=True,
                             capture_output=True, timeout=DEADLINE_S)
        [best] = json.loads((world.folder / "random/trials.json").read_text())["best"]
        [objectives] = [o for number, _, o, _ in world.trials("random") if number == best]
        self.assertEqual(json.loads(ran.stdout)["best_score"], objectives["best_score"])
        self.assertEqual(objectives["best_score"],
                         min(o["best_score"] for _, _, o, _ in world.trials("random")))
        # However many at once.
        world.search(SPACE + "random { trials: 5 }\n", "random1", "--workers", 1)
        self.assertEqual(world.trials("random1"), world.trials("random"))
        table = (world.folder / "random/trials.csv").read_text().splitlines()
        titles = table[0].split(",")
        self.assertEqual(len(set(titles)), len(titles))
        rows = list(csv.DictReader(table))
        self.assertEqual([r["training.local_steps"] for r in rows],
                         [p["training.local_steps"] for _, p, _, _ in world.trials("random")])
        self.assertEqual([int(r["trial"]) for r in rows if r["best"] == "1"], [best])

    def test_a_grid_over_config_spec_and_scenario(self):
        done = world.search(SIZES, "sizes", "--set",
                            'model.spec_file="../../../models/zoo/mlp.textproto"', "--json")
        found = json.loads(done.stdout)
        self.assertEqual(len(found["trials"]), 8)
        self.assertEqual(found, json.loads((world.folder / "sizes/trials.json").read_text()))
        for trial in found["trials"]:
            units = int(trial["parameters"]["model.parameters.units"])
            # Thirty features to units to units/2 to one.
            half = units // 2
            self.assertEqual(trial["objectives"]["multiply_adds"], 30 * units + units * half + half)
            self.assertEqual(trial["costs"]["parameters"],
                             31 * units + (units + 1) * half + half + 1)
            summary = json.loads(
                (world.folder / f"sizes/trials/{trial['trial']:06d}.json").read_text())
            scores = [seed["best_score"] for seed in summary["seeds"]]
            self.assertEqual([seed["seed"] for seed in summary["seeds"]], [1, 2])
            self.assertAlmostEqual(trial["objectives"]["best_score"], sum(scores) / 2, places=12)
        functions = {t["parameters"]["spec.layers.relu2.activation.function"]:
                     t["objectives"]["best_score"] for t in found["trials"]}
        self.assertEqual(len(set(functions.values())), 2)
        self.assertIn("Chart.js v", (world.folder / "sizes/report.html").read_text())

    def test_halving_runs_few_for_long(self):
        world.search(SPACE + "successive_halving { trials: 6 versions_min: 2 versions_max: 6 }\n",
                     "halving", "--workers", 2, code=2)  # stop.versions_max is set by --set.
        words = [w for w in world.words(
            SPACE + "successive_halving { trials: 6 versions_min: 2 versions_max: 6 }\n",
            "halving") if w not in ("--set", "stop.versions_max=4")]
        subprocess.run(words, check=True, capture_output=True, timeout=DEADLINE_S)
        trials = json.loads((world.folder / "halving/trials.json").read_text())
        versions = {}
        for trial in trials["trials"]:
            summary = json.loads(
                (world.folder / f"halving/trials/{trial['trial']:06d}.json").read_text())
            self.assertEqual(summary["versions"], trial["versions_max"])
            versions.setdefault(trial["versions_max"], []).append(trial["trial"])
        self.assertEqual(len(versions[2]), 6)
        self.assertGreaterEqual(len(versions[6]), 2)
        self.assertEqual(set(versions), {2, 6})
        self.assertLessEqual(set(trials["best"]), set(versions[6]))

    def test_halving_by_virtual_time(self):
        space = SPACE + """successive_halving {
            trials: 6 virtual_ms_min: 4000 virtual_ms_max: 12000 }\n"""
        world.search(space, "timed", "--workers", 2, "--set", "stop.versions_max=100")
        found = json.loads((world.folder / "timed/trials.json").read_text())
        times = {}
        for trial in found["trials"]:
            summary = json.loads(
                (world.folder / f"timed/trials/{trial['trial']:06d}.json").read_text())
            # What was on its way is waited for; nothing takes a second.
            self.assertLess(summary["seconds"], trial["virtual_ms"] / 1000 + 1)
            times.setdefault(trial["virtual_ms"], []).append(summary["seconds"])
        self.assertEqual(len(times[4000]), 6)
        self.assertGreaterEqual(len(times[12000]), 2)
        self.assertEqual(set(times), {4000, 12000})
        self.assertGreater(min(times[12000]), max(times[4000]))
        self.assertIn("successive_halving: its rungs", world.search(
            space.replace("virtual_ms_min", "versions_min: 1 virtual_ms_min"), "both",
            code=2).stderr)

    def test_a_preset_with_blocks_of_another_is_warned_of(self):
        done = world.search(SPACE + "random { trials: 1 }\n", "kept")
        [warning] = [line for line in done.stderr.splitlines() if "warning" in line]
        self.assertIn("run.textproto keeps its aggregation.trigger in trials of other presets",
                      warning)
        clean = world.search(SPACE + "random { trials: 1 }\n", "unkept", "--set",
                             "aggregation.trigger={ buffer { updates: 3 } }")
        self.assertNotIn("keeps its", clean.stderr)
        for override in ("aggregation={ preset: FEDBUFF }", "aggregation.preset=FEDBUFF"):
            ran = subprocess.run(
                world.command("run", *world.files, "--data", world.folder, "--no-baselines",
                              "--set", "stop.versions_max=1", "--set", override),
                capture_output=True, text=True, timeout=DEADLINE_S)
            self.assertEqual(ran.returncode, 0, ran.stderr)
            self.assertIn("keeps its aggregation.trigger", ran.stderr)

    def with_images_of_our_own(self, scenario):
        """The scenario without the data set's name, whose images ours are not."""
        text = scenario.read_text()
        self.assertIn('  name: "fashion-mnist"\n', text)
        ours = world.folder / "own-images.textproto"
        ours.write_text(text.replace('  name: "fashion-mnist"\n', ""))
        return ours

    def test_cells_are_searched_and_stacked(self):
        write_images(world.folder, 300)
        folder = world.source / "sim/scenarios/search-cnn-evolution"
        # A site says nothing of fewer than five patients.
        small = ["--data", world.folder, "--set", "data.split.validation=0.3", "--set",
                 "stop.versions_max=1", "--set",
                 "training.local_steps=2"]
        space = world.folder / "cells.textproto"
        space.write_text(CELLS)
        scenario = self.with_images_of_our_own(folder / "scenario.textproto")

        def sim(*words, code=0):
            done = subprocess.run(world.command(*words),
                                  capture_output=True, text=True, timeout=DEADLINE_S)
            self.assertEqual(done.returncode, code, done.stderr)
            return done

        done = sim("search", space, folder / "run.textproto", scenario, *small,
                   "--out", world.folder / "cells")
        found = json.loads((world.folder / "cells/trials.json").read_text())
        self.assertEqual(len(found["trials"]), 6)
        self.assertEqual(len(found["parameters"]), 9)
        sizes = set()
        for trial in found["trials"]:
            spec = (world.folder / f"cells/trials/{trial['trial']:06d}.textproto").read_text()
            channels = trial["parameters"]["cell.channels"]
            self.assertIn('name: "stem_conv"', spec)
            self.assertIn(f'channels: "{channels}"', spec)
            sizes.add(trial["costs"]["multiply_adds"])
        self.assertGreater(len(sizes), 2)
        # Where several are equal in score, the first of them is shown and stacked.
        best = found["best"][0]
        # Its command says the same again, from another folder than the run config's.
        command = shlex.split(done.stdout.splitlines()[-1])
        ran = json.loads(sim(*command[1:], "--json").stdout)
        [score] = [t["objectives"]["best_score"] for t in found["trials"] if t["trial"] == best]
        self.assertEqual(ran["best_score"], score)
        # With a cell of its own between stages.
        halved = world.folder / "halved.textproto"
        halved.write_text(CELLS.replace("nodes: 2", "nodes: 1 reduction: true")
                          .replace("trials: 6", "trials: 4"))
        sim("search", halved, folder / "run.textproto", scenario, *small,
            "--out", world.folder / "halved")
        reduced = json.loads((world.folder / "halved/trials.json").read_text())
        self.assertIn("cell.reduction.node1.right_op", reduced["parameters"])
        self.assertEqual([t.get("error") for t in reduced["trials"]], [None] * 4)
        deep = sim("stack", halved, folder / "run.textproto", world.folder / "halved", "--set",
                   "cell.stages=3", "--set", "cell.pooling=2").stdout
        self.assertIn('name: "reduction2_node1"', deep)
        self.assertNotIn('name: "stage1"', deep)
        # Deeper, for another run.
        stack = ["stack", space, folder / "run.textproto", world.folder / "cells"]
        as_it_was = sim(*stack).stdout
        self.assertEqual(as_it_was.partition("name:")[2],
                         (world.folder / f"cells/trials/{best:06d}.textproto").read_text()
                         .partition("name:")[2])
        deep = world.folder / "deep.textproto"
        sim(*stack, "--set", "cell.cells=3", "--set", "cell.channels=2", "--out", deep)
        self.assertIn('name: "cell6_node2"', deep.read_text())
        self.assertNotIn('name: "cell7_node2"', deep.read_text())
        sim("run", folder / "run.textproto", scenario, *small, "--set",
            f'model.spec_file="{deep}"', "--no-baselines", "--json")
        for words, code, *arguments in [
                ("exists", 1, "--out", deep), ("cell.nodes", 2, "--set", "cell.nodes=3"),
                ("no trial 99", 1, "--trial", "99"), ("cell.cells", 2, "--set", "cell.cells=65"),
                ("has neither a flatten", 2, "--set",
                 'model.spec_file="../../../models/zoo/mlp.textproto"')]:
            self.assertIn(words, sim(*stack, *arguments, code=code).stderr)
        # A base without a head is refused before anything is tried.
        self.assertIn("has neither a flatten", sim(
            "search", space, folder / "run.textproto", folder / "scenario.textproto", "--set",
            'model.spec_file="../../../models/zoo/mlp.textproto"', "--out",
            world.folder / "headless", code=2).stderr)

    def test_the_worked_scenario_begins(self):
        """Its whole grid takes minutes."""
        folder = world.source / "sim/scenarios/search-mlp-grid"
        space = world.folder / "mlp-grid.textproto"
        space.write_text((folder / "space.textproto").read_text() + "trials_max: 2\n")
        done = subprocess.run(
            world.command("search", space, folder / "run.textproto", folder / "scenario.textproto",
                          "--data", world.folder, "--out", world.folder / "mlp-grid", "--json"),
            check=True, capture_output=True, text=True, timeout=DEADLINE_S)
        trials = json.loads(done.stdout)["trials"]
        self.assertEqual(len(trials), 2)
        # Two hidden layers of four units over thirty features.
        self.assertEqual([t["objectives"]["parameters"] for t in trials], [31 * 4 + 5 * 4 + 5] * 2)

    def test_the_worked_cells_begin(self):
        write_images(world.folder, 300)
        cells = world.source / "sim/scenarios/search-cells"
        images = world.source / "sim/scenarios/search-cnn-evolution"
        scenario = self.with_images_of_our_own(images / "scenario.textproto")
        for name, parameters in (("space", 12), ("reduction", 24)):
            space = world.folder / f"cells-{name}.textproto"
            space.write_text((cells / f"{name}.textproto").read_text() + "trials_max: 1\n")
            done = subprocess.run(
                world.command("search", space, images / "run.textproto", scenario, "--data",
                              world.folder, "--set", "data.split.validation=0.3", "--set",
                              "stop.versions_max=1", "--set", "training.local_steps=2", "--out",
                              world.folder / f"cells-{name}", "--json"),
                check=True, capture_output=True, text=True, timeout=DEADLINE_S)
            [trial] = json.loads(done.stdout)["trials"]
            self.assertEqual(len(trial["parameters"]), parameters)

    def test_what_is_refused(self):
        def refused(space, *arguments, out="refused", code=2):
            return world.search(space, out, *arguments, code=code).stderr

        self.assertIn("refused.textproto:2:6", refused("name: 'a'\nnames: 'b'\n"))
        self.assertIn("It can be STALENESS_WEIGHTED_TABLE, FEDAVG,", refused(
            SPACE.replace("FEDAVG", "FEDAVRG") + "random { trials: 1 }"))
        self.assertIn("It can be MINIMISE, MAXIMISE.", refused(
            SPACE.replace("MINIMISE", "DOWN") + "random { trials: 1 }"))
        self.assertIn("(training.lokal_steps)", refused(
            SPACE.replace("local_steps", "lokal_steps") + "random { trials: 1 }"))
        self.assertIn("seeds:", refused(SPACE + "seeds: '5..1' random { trials: 1 }"))
        self.assertIn("Range", refused(SPACE + "random { trials: 1 }", "--workers", "0", code=2)
                      .replace("range", "Range"))
        self.assertFalse((world.folder / "refused/trials.jsonl").exists())
        # A trial that fails is told, and a search where all do has failed.
        bad = SPACE.replace("min: 0.001 max: 0.3 scale: LOG", "min: -2 max: -1")
        self.assertIn("learning_rate", refused(bad + "random { trials: 2 }", out="bad", code=1))
        self.assertEqual(len((world.folder / "bad/trials.csv").read_text().splitlines()), 3)
        # Another search's folder.
        world.search(SPACE + "random { trials: 1 }", "taken")
        self.assertIn("another space", refused(EVOLUTION, out="taken", code=1))
        self.assertIn("another run config", refused(
            SPACE + "random { trials: 1 }", "--set", "training.batch_examples=8", out="taken",
            code=1))
        # A larger budget goes on.
        world.search(SPACE + "random { trials: 2 }", "taken")
        self.assertEqual(len(world.trials("taken")), 2)


class TensorBoard(unittest.TestCase):
    def test_it_reads_the_hyperparameters(self):
        packages = pathlib.Path(os.environ.get(
            "CONSILIUM_DEPS_DIR", pathlib.Path.home() / ".cache/consilium")) / "check-packages"
        if not (packages / "tensorboard").is_dir():
            self.skipTest("no TensorBoard here; scripts/setup --check-tools fetches it")
        world.search(SPACE + "random { trials: 3 }\n", "board")
        sys.path.insert(0, str(packages))
        from tensorboard.backend.event_processing import event_file_loader
        from tensorboard.plugins.hparams import metadata
        from tensorboard.util import tensor_util

        def values(folder):
            [file] = folder.glob("events.out.*")
            return {value.tag: value for event in
                    event_file_loader.EventFileLoader(str(file)).Load()
                    for value in event.summary.value}

        events = world.folder / "board/events"
        [whole] = values(events).values()
        experiment = metadata.parse_experiment_plugin_data(whole.metadata.plugin_data.content)
        self.assertEqual(whole.metadata.plugin_data.plugin_name, metadata.PLUGIN_NAME)
        self.assertEqual(experiment.name, "rates")
        self.assertEqual([metric.name.tag for metric in experiment.metric_infos],
                         ["objective/best_score"])
        for number, parameters, objectives, _ in world.trials("board"):
            found = values(events / f"trial-{number:06d}")
            start = metadata.parse_session_start_info_plugin_data(
                found[metadata.SESSION_START_INFO_TAG].metadata.plugin_data.content)
            self.assertEqual(start.hparams["aggregation.preset"].string_value,
                             parameters["aggregation.preset"])
            self.assertEqual(start.hparams["training.local_steps"].number_value,
                             float(parameters["training.local_steps"]))
            self.assertEqual(start.hparams.keys(), {info.name for info in experiment.hparam_infos})
            end = metadata.parse_session_end_info_plugin_data(
                found[metadata.SESSION_END_INFO_TAG].metadata.plugin_data.content)
            self.assertEqual(end.status, 1)
            self.assertAlmostEqual(
                float(tensor_util.make_ndarray(found["objective/best_score"].tensor)),
                objectives["best_score"], places=6)


class DiabetesTable(unittest.TestCase):
    def test_the_worked_grid_begins(self):
        datasets = os.environ.get("CONSILIUM_DATASETS")
        if not datasets or not (pathlib.Path(datasets) / "diabetes-130us").is_dir():
            self.skipTest("needs diabetes-130us in $CONSILIUM_DATASETS")
        tables = world.folder / "datasets"
        subprocess.run([world.bin / "consilium-sim", "data", "fetch", "diabetes-130us", "--from",
                        pathlib.Path(datasets) / "diabetes-130us", "--into", tables], check=True,
                       capture_output=True, timeout=DEADLINE_S)
        folder = world.source / "sim/scenarios/search-care-grid"
        space = world.folder / "care-grid.textproto"
        space.write_text((folder / "space.textproto").read_text() + "trials_max: 1\n")
        done = subprocess.run(
            world.command("search", space, folder / "run.textproto", folder / "scenario.textproto",
                          "--data", tables, "--set", "stop.versions_max=1", "--out",
                          world.folder / "care-grid", "--json"),
            check=True, capture_output=True, text=True, timeout=DEADLINE_S)
        [trial] = json.loads(done.stdout)["trials"]
        self.assertEqual(trial["parameters"]["training"], "{ batch_examples: 96 local_steps: 32 }")
        self.assertEqual(trial["parameters"]["scenario.dataset.partitioned.sites"], "4")
        # Two hidden layers of eight units.
        features = (trial["objectives"]["parameters"] - 8 - 9 * 8 - 9) / 8
        self.assertEqual(trial["objectives"]["multiply_adds"], 8 * features + 8 * 8 + 8)


def main():
    global world
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--source", type=pathlib.Path, required=True)
    arguments, names = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        world = World(arguments, pathlib.Path(folder))
        run_tests(names)


main()
