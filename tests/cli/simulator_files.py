"""What `consilium-sim run --out` and `compare` leave, read as others read it: TensorBoard with its
own reader, tables with Python's csv, the comparison from its JSON.

usage: simulator_files.py --bin DIR --source DIR [UNITTEST_NAME]...

Without TensorBoard (scripts/setup --check-tools) its part is skipped.
"""

import argparse
import csv
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

from simulator_world import SimulatorWorld
from skipping import run_tests

DEADLINE_S = 120
SEEDS = [1, 2]
VERSIONS = 6

world = None  # The programs, and a folder with two experiments.


class World(SimulatorWorld):
    def __init__(self, arguments, folder):
        super().__init__(arguments, folder)
        self.experiments = {name: self.simulate(name, *overrides) for name, overrides in {
            "few-steps": ["--set", "training.local_steps=1", "--no-baselines"],
            "many-steps": ["--set", "training.local_steps=20"]}.items()}

    def simulate(self, name, *arguments):
        out = self.folder / name
        self.call("run", *self.files, "--data", self.folder, "--set",
                  f"stop.versions_max={VERSIONS}", "--seeds", f"{SEEDS[0]}..{SEEDS[-1]}",
                  "--target", "LOG_LOSS=0.35", "--out", out, *arguments)
        return out

    def call(self, *arguments, code=0):
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True,
                              timeout=DEADLINE_S)
        assert done.returncode == code, f"{done.args}\n{done.stdout}{done.stderr}"
        return done.stdout if code == 0 else done.stderr

    def summary(self, name):
        return json.loads((self.experiments[name] / "summary.json").read_text())


def tensorboard_events(file):
    """(tag, step, value, wall time) of each scalar, by TensorBoard's reader, where it is."""
    packages = pathlib.Path(os.environ.get(
        "CONSILIUM_DEPS_DIR", pathlib.Path.home() / ".cache/consilium")) / "check-packages"
    if not (packages / "tensorboard").is_dir():
        raise unittest.SkipTest("no TensorBoard here; scripts/setup --check-tools fetches it")
    sys.path.insert(0, str(packages))
    from tensorboard.backend.event_processing import event_file_loader
    from tensorboard.util import tensor_util
    events = []
    for event in event_file_loader.EventFileLoader(str(file)).Load():
        for value in event.summary.value:
            number = float(tensor_util.make_ndarray(value.tensor))
            events.append((value.tag, event.step, number, event.wall_time))
    return events


class TensorBoard(unittest.TestCase):
    def test_it_reads_the_curves(self):
        for i, seed in enumerate(SEEDS):
            files = list(world.experiments["many-steps"].glob(f"events/*-seed-{seed}/*"))
            self.assertEqual(len(files), 1)
            events = tensorboard_events(files[0])
            curve = world.summary("many-steps")["seeds"][i]["curve"]
            losses = {step: value for tag, step, value, _ in events if tag == "validation/loss"}
            times = {step: at for tag, step, _, at in events if tag == "validation/loss"}
            known = {p["version"]: p for p in curve if p["validation_loss"] is not None}
            self.assertGreaterEqual(len(known), VERSIONS)
            self.assertEqual(losses.keys(), known.keys())
            for version, point in known.items():
                self.assertAlmostEqual(losses[version], point["validation_loss"], places=5)
                self.assertAlmostEqual(times[version], point["seconds"], places=9)


class Files(unittest.TestCase):
    def test_the_timeline_has_a_training_for_every_merged_update(self):
        """And no site trains two tasks at once; its own curve's points are versions."""
        summary = world.summary("many-steps")["seeds"][0]
        [folder] = world.experiments["many-steps"].glob(f"tables/*-seed-{SEEDS[0]}")
        rows = list(csv.DictReader((folder / "activity.csv").open()))
        for site in summary["sites"]:
            spans = sorted((float(row["begin_seconds"]), float(row["end_seconds"])) for row in rows
                           if row["site"] == site["name"] and row["kind"] == "train")
            self.assertGreaterEqual(len(spans), site["updates"])
            for (_, end), (begin, _) in zip(spans, spans[1:]):
                self.assertLessEqual(end, begin)
        scores = list(csv.DictReader((folder / "site_scores.csv").open()))
        self.assertEqual({int(row["version"]) for row in scores},
                         {point["version"] for point in summary["curve"]
                          if point["validation_loss"] is not None})

    def test_the_idle_fraction_is_what_the_timeline_leaves_free(self):
        for summary in world.summary("many-steps")["seeds"]:
            [folder] = world.experiments["many-steps"].glob(f"tables/*-seed-{summary['seed']}")
            rows = list(csv.DictReader((folder / "activity.csv").open()))
            fractions = [site["idle_fraction"] for site in summary["sites"]]
            for site in summary["sites"]:
                busy, until = 0.0, 0.0
                for begin, end in sorted((float(row["begin_seconds"]), float(row["end_seconds"]))
                                         for row in rows if row["site"] == site["name"]):
                    end = min(end, summary["seconds"])
                    busy += max(0.0, end - max(begin, until))
                    until = max(until, end)
                self.assertAlmostEqual(site["idle_fraction"], 1 - busy / summary["seconds"],
                                       places=6)
            self.assertGreater(max(fractions), 0)
            self.assertLess(min(fractions), 1)
            told = list(csv.DictReader((folder / "sites.csv").open()))
            for row, fraction in zip(told, fractions):
                self.assertAlmostEqual(float(row["idle_fraction"]), fraction, places=8)

    def test_tables_say_what_the_summary_says(self):
        summary = world.summary("many-steps")["seeds"][0]
        [folder] = world.experiments["many-steps"].glob(f"tables/*-seed-{SEEDS[0]}")
        tables = {name: list(csv.DictReader((folder / f"{name}.csv").open()))
                  for name in ("versions", "sites", "updates")}
        self.assertEqual(len(tables["versions"]), len(summary["curve"]))
        for row, point in zip(tables["versions"], summary["curve"]):
            self.assertEqual(int(row["updates"]), point["updates"])
            self.assertEqual(int(row["upload_bytes"]), point["upload_bytes"])
        self.assertEqual([row["site"] for row in tables["sites"]],
                         [site["name"] for site in summary["sites"]])
        for row, site in zip(tables["sites"], summary["sites"]):
            for model in ("alone", "federated", "pooled"):
                self.expect_scores(row, f"{model}_", site[model])
                told = {key for key in row if key.startswith(f"{model}_")}
                self.assertEqual(told, {f"{model}_{key}" for key in summary["federated"]})
        self.assertEqual(len(tables["updates"]), summary["updates"])
        for row in tables["updates"]:
            product = 1.0
            for factor in row["factors"].split()[1::2]:
                product *= float(factor)
            self.assertAlmostEqual(product, float(row["coefficient"]), places=4)
            self.assertEqual(int(row["staleness"]), int(row["version"]) - 1 - int(row["base"]))

    def expect_scores(self, row, prefix, scores):
        """The row has every score that the summary has, and none that it has not."""
        for key in world.summary("many-steps")["seeds"][0]["federated"]:
            expected = None if scores is None else scores[key]
            cell = row[prefix + key]
            self.assertEqual(cell == "", expected is None, prefix + key)
            if expected is not None:
                self.assertAlmostEqual(float(cell), expected, delta=1e-8 * max(1, abs(expected)))

    def test_every_sites_scores_make_up_the_curve(self):
        """Of a version, over sites by their examples: the validation loss of its curve."""
        summary = world.summary("many-steps")["seeds"][0]
        [folder] = world.experiments["many-steps"].glob(f"tables/*-seed-{SEEDS[0]}")
        rows = list(csv.DictReader((folder / "site_scores.csv").open()))
        self.assertEqual(set(rows[0]), {"site", "version", "seconds", "score",
                                        *summary["federated"]})
        self.assertEqual({row["site"] for row in rows}, {s["name"] for s in summary["sites"]})
        for point in summary["curve"]:
            of = [row for row in rows if int(row["version"]) == point["version"]]
            examples = sum(int(row["examples"]) for row in of)
            for row in of:
                self.assertEqual(row["score"], row["log_loss"])
            # Some hospitals have too few of a class to tell it.
            self.assertTrue(any(row["auprc"] != "" and float(row["auprc"]) > 0 for row in of))
            loss = sum(int(row["examples"]) * float(row["log_loss"]) for row in of) / examples
            self.assertAlmostEqual(loss, point["validation_loss"], places=6)

    def test_the_target_is_the_first_version_that_reaches_it(self):
        found = 0
        for name in world.experiments:
            for run in world.summary(name)["seeds"]:
                target = run["target"]
                self.assertEqual((target["metric"], target["value"]), ("LOG_LOSS", 0.35))
                reaching = [p for p in run["curve"]
                            if p["score"] is not None and p["score"] <= 0.35]
                self.assertEqual(target["reached"], bool(reaching))
                if reaching:
                    found += 1
                    for key in ("version", "seconds", "updates", "upload_bytes"):
                        self.assertEqual(target[key], reaching[0][key])
        self.assertGreater(found, 0)

    def test_scores_and_bytes(self):
        for run in world.summary("many-steps")["seeds"]:
            scores = [p["score"] for p in run["curve"] if p["score"] is not None]
            self.assertEqual(run["metric"], "LOG_LOSS")
            self.assertAlmostEqual(run["best_score"], min(scores), places=9)
            self.assertAlmostEqual(run["final_score"], scores[-1], places=9)
            losses = {s["name"]: s["federated"]["log_loss"] for s in run["sites"]
                      if s["federated"] and s["federated"]["log_loss"] is not None}
            self.assertEqual(run["worst_site"], max(losses, key=losses.get))
            # Thirty features and a bias, f32; every merged update was accepted.
            self.assertEqual(run["upload_bytes"] % (31 * 4), 0)
            self.assertGreaterEqual(run["upload_bytes"], run["updates"] * 31 * 4)
            self.assertGreater(run["wall_seconds"], 0)

    def test_compare(self):
        few, many = world.experiments.values()
        out = world.folder / "compared"
        said = world.call("compare", few, many / "summary.json", "--out", out)
        self.assertIn("has the lower test loss", said)
        self.assertIn("Decided by the test loss; --metric takes another.", said)
        self.assertRegex(world.call("compare", few, many, "--metric", "AUROC"),
                         "(few|many)-steps has the higher test AUROC|have the same test AUROC")
        compared = json.loads((out / "compare.json").read_text())
        expected = [b["federated"]["log_loss"] - a["federated"]["log_loss"] for a, b in zip(
            world.summary("few-steps")["seeds"], world.summary("many-steps")["seeds"])]
        loss = compared["differences"][0]["loss"]
        self.assertAlmostEqual(loss["mean"], sum(expected) / len(expected), places=12)
        self.assertEqual(loss["pairs"], len(SEEDS))
        self.assertEqual((compared["decided_by"], compared["warnings"]), ("loss", []))
        self.assertEqual(json.loads(world.call("compare", few, many, "--json"))["differences"][0]
                         ["loss"], loss)
        self.assertIn("few-steps", (out / "compare.html").read_text())
        rows = list(csv.DictReader((out / "compare.csv").open()))
        self.assertEqual([(row["run"], int(row["seed"])) for row in rows],
                         [(name, seed) for name in world.experiments for seed in SEEDS])
        for row in rows:
            of_seed = world.summary(row["run"])["seeds"][SEEDS.index(int(row["seed"]))]
            scores = of_seed["federated"]
            self.assertAlmostEqual(float(row["loss"]), scores["log_loss"], places=8)
            for metric in ("LOG_LOSS", "AUROC", "AUPRC", "BALANCED_ACCURACY", "CALIBRATION_ERROR"):
                self.assertAlmostEqual(float(row[metric]), scores[metric.lower()], places=8)
            self.assertAlmostEqual(float(row["ACCURACY"]), 1 - scores["errors_per_100"] / 100)
            self.assertEqual(row["C_INDEX"], "")
            self.assertEqual(row["target_seconds"] != "", of_seed["target"]["reached"])

    def test_runs_tell_their_data_and_scenario(self):
        """The same for each seed under any run config, and another for another seed or split."""
        few, many = (world.summary(name)["seeds"] for name in world.experiments)
        for key in ("data_sha256", "scenario_sha256"):
            self.assertEqual([run[key] for run in few], [run[key] for run in many])
            self.assertNotEqual(few[0][key], few[1][key])
        world.simulate("another-split", "--no-baselines", "--set", "training.local_steps=1",
                       "--set", "data.split.test=0.3")
        told = json.loads(world.call("compare", world.experiments["few-steps"],
                                     world.folder / "another-split", "--json"))
        self.assertEqual(len(told["warnings"]), 1)
        self.assertIn("differ in their data", told["warnings"][0])
        self.assertNotIn("scenario", told["warnings"][0])

    def test_without_validation_rows_the_curve_is_on_test_rows(self):
        out = world.simulate("no-validation", "--no-baselines", "--set",
                             "data.split.validation=0")
        for run in json.loads((out / "summary.json").read_text())["seeds"]:
            self.assertEqual({point["validation_loss"] for point in run["curve"]}, {None})
            losses = [point["test_loss"] for point in run["curve"]]
            self.assertEqual(len(losses), VERSIONS + 1)
            self.assertLess(losses[-1], losses[0])
            self.assertEqual(run["result_version"], VERSIONS)
            of_all = run["simulation_only"]["federated"]["LOG_LOSS"]["centres"]
            self.assertLess(min(of_all.values()), losses[-1])
            self.assertGreater(max(of_all.values()), losses[-1])
        self.assertIn('"key":"test_loss"', (out / "report.html").read_text())
        for point in world.summary("many-steps")["seeds"][0]["curve"]:
            self.assertNotIn("test_loss", point)

    def test_what_can_not_be_compared(self):
        few = world.experiments["few-steps"]
        other = world.folder / "other.json"
        other.write_text("{}")
        self.assertIn("has no federated loss", world.call("compare", few, other, code=2))
        other.write_text("{")
        self.assertIn("is not JSON", world.call("compare", few, other, code=2))
        world.call("compare", few, code=2)
        self.assertIn("METRIC=VALUE", world.call(
            "run", world.source / "sim/scenarios/wdbc-four-hospitals/run.textproto",
            world.source / "sim/scenarios/wdbc-four-hospitals/scenario.textproto",
            "--target", "LOG_LOSS", code=2))


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
