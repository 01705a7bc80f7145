"""What `consilium-sim run` says to a person: targets, means over seeds, what was written, how to go
on, and which word was out of place; and how many hospitals train at once.

usage: simulator_run.py --bin DIR --source DIR [UNITTEST_NAME]...
"""

import argparse
import csv
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import unittest

from simulator_world import SimulatorWorld
from terminal import lines_seen

DEADLINE_S = 120
DONE, FAILED, WRONG_USAGE = 0, 1, 2

world = None  # The programs, and a folder with the table.


class World(SimulatorWorld):
    def run(self, *arguments):
        return self.command("run", *self.files, "--data", self.folder, "--no-baselines", "--set",
                            "stop.versions_max=3", *arguments)


class Case(unittest.TestCase):
    def expect(self, code, command, *words):
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S)
        self.assertEqual(done.returncode, code, f"{command}\n{done.stdout}{done.stderr}")
        for word in words:
            self.assertIn(word, done.stdout if code == DONE else done.stderr)
        return done.stdout if code == DONE else done.stderr


class Said(Case):
    def test_targets_means_and_what_was_written(self):
        out = world.folder / "said"
        said = self.expect(DONE, world.run("--simulate", "FEDAVG", "--seeds", "1..2", "--target",
                                           "LOG_LOSS=0.2", "--out", out))
        runs = json.loads((out / "summary.json").read_text())["seeds"]
        told = re.findall(r"^(\w+), seed (\d): target LOG_LOSS=0.2 (reached|not reached)", said,
                          re.MULTILINE)
        expected = [(run["title"], str(seed["seed"]),
                     "reached" if run["target"]["reached"] else "not reached")
                    for seed in runs for run in [seed, *seed["simulated"]]]
        self.assertEqual(told, expected)
        self.assertEqual(len(told), 4)
        reached = [run["target"] for run in runs if run["target"]["reached"]]
        for target in reached:
            self.assertIn(f"reached at version {target['version']}, after {target['updates']} "
                          "updates", said)
        # A line a rule, of both seeds.
        means = said.split("mean ± deviation, 2 seeds")[1]
        rules = {"STALENESS_WEIGHTED_TABLE": runs,
                 "FEDAVG": [seed["simulated"][0] for seed in runs]}
        for rule, of_rule in rules.items():
            first, second = (run["federated"]["log_loss"] for run in of_rule)
            count = sum(run["target"]["reached"] for run in of_rule)
            deviation = abs(first - second) / 2 ** 0.5
            self.assertRegex(means, rf"{rule} +{(first + second) / 2:.4f} ± {deviation:.4f} .* "
                                    rf"{count} of 2\n")
        self.assertTrue(said.endswith(
            f"wrote {out}: report.html, summary.json, events, tables, journal\n"))
        for name in ("report.html", "summary.json", "events", "tables", "journal"):
            self.assertTrue((out / name).exists(), name)

    def test_one_run_has_neither_mean_nor_target(self):
        said = self.expect(DONE, world.run())
        for word in ("mean", "target", "wrote"):
            self.assertNotIn(word, said)

    def test_json_is_json_alone(self):
        said = self.expect(DONE, world.run("--json", "--seeds", "1..2", "--target", "LOG_LOSS=0.2",
                                           "--out", world.folder / "json"))
        self.assertEqual(len(json.loads(said)["seeds"]), 2)

    def test_divergence_is_named(self):
        self.expect(FAILED, world.run("--set", "training.optimizer.sgd.learning_rate=1e30"),
                    "NOT_FINITE", "training diverges", "training.optimizer", "aggregation.server")

    def test_an_interruption_says_how_to_go_on(self):
        out = world.folder / "interrupted"
        for arguments, words in (
                (["--out", out], f"the same command goes on from the newest checkpoint in {out}"),
                (["--out", out, "--restart"],
                 f"the same command without --restart goes on from the newest checkpoint in {out}"),
                ([], "without --out nothing of it is kept")):
            with self.subTest(words):
                process = subprocess.Popen(world.run("--seeds", "1..1000", *arguments),
                                           stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                           text=True)
                process.stdout.readline()  # It is about its work.
                process.send_signal(signal.SIGINT)
                process.stdout.close()
                said = process.stderr.read()
                process.stderr.close()
                self.assertEqual(process.wait(DEADLINE_S), -signal.SIGINT)
                self.assertIn(f"interrupted; {words}", said)


class Progress(Case):
    def lines_seen(self, columns, *arguments):
        code, lines = lines_seen(world.run(*arguments), columns, DEADLINE_S)
        self.assertEqual(code, DONE)
        return lines

    def test_a_terminal_sees_times_versions_score_and_seed_in_one_line(self):
        out = world.folder / "progress"
        for columns in (80, 100):
            lines = self.lines_seen(columns, "--seeds", "1..2", "--restart", "--out", out)
            for line in lines:
                self.assertLess(len(line), columns, line)
            for seed in json.loads((out / "summary.json").read_text())["seeds"]:
                # The last one of each: all three versions, and the newest score known by then.
                last = [line for line in lines if f"% seed {seed['seed']} " in line][-1]
                found = re.fullmatch(
                    r"STAL[A-Z_]* \[=+\] 100% seed \d v3/3 LOG_LOSS (0\.\d{4}) "
                    r"virtual ([0-9.]+)(ms|s) wall [0-9.]+(ms|s|m) left 0ms", last)
                self.assertIsNotNone(found, last)
                self.assertIn(found[1], [f"{point['score']:.4f}" for point in seed["curve"][1:]])
                virtual = float(found[2]) / {"ms": 1000, "s": 1}[found[3]]
                self.assertAlmostEqual(virtual, seed["curve"][-1]["seconds"], delta=0.06)

    def test_the_seed_is_told_where_there_are_several(self):
        lines = self.lines_seen(100)
        self.assertNotEqual(lines, [])
        for line in lines:
            self.assertNotIn("seed", line)

    def test_without_a_terminal_there_is_none(self):
        done = subprocess.run(world.run(), capture_output=True, text=True, timeout=DEADLINE_S)
        self.assertEqual((done.returncode, done.stderr), (DONE, ""))


class Trained(Case):
    def trained(self, *arguments):
        return json.loads(self.expect(DONE, world.run("--json", *arguments)))

    def test_any_number_of_threads_gives_the_same_model(self):
        one, three = self.trained("--threads", "1"), self.trained("--threads", "3")
        self.assertEqual(one["model_sha256"], three["model_sha256"])
        self.assertEqual(one["trainer"], "libtorch")
        self.expect(WRONG_USAGE, world.run("--threads", "1000000"), "--threads")

    def test_the_trainer_is_the_one_that_was_asked_for(self):
        """Both learn the same up to rounding, and say which they were."""
        by_name = {name: self.trained("--trainer", name) for name in ("libtorch", "fused")}
        for name, told in by_name.items():
            self.assertEqual(told["trainer"], name)
        losses = [told["federated"]["log_loss"] for told in by_name.values()]
        self.assertAlmostEqual(*losses, places=3)
        self.assertNotEqual(*(told["model_sha256"] for told in by_name.values()))
        self.expect(WRONG_USAGE, world.run("--trainer", "bogus"), "--trainer", "fused")


def most_at_once(spans):
    """The most of these (begin, end) that overlap; one that begins as another ends does not."""
    changes = sorted([(end, -1) for _, end in spans] + [(begin, 1) for begin, _ in spans])
    now, most = 0, 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


class Concurrency(Case):
    """Who trained when is counted from the record of what each hospital did, not from the slots."""
    SITES = 12
    SITES_MAX = 3

    def trainings(self, name, slow="", *arguments):
        """By site, its (begin, end) in virtual seconds."""
        [by_site] = self.trainings_by_rule(name, slow, *arguments).values()
        return by_site

    def trainings_by_rule(self, name, slow, *arguments):
        scenario = world.folder / f"{name}.textproto"
        scenario.write_text(
            f'dataset {{ partitioned {{ file: "wdbc.csv" sites: {self.SITES} }} }}\n'
            f"sites {{ latency_ms: 5 speed {{ log_normal_sigma: 0.5 }} {slow} }}\n")
        out = world.folder / name
        done = subprocess.run(world.command(
            "run", world.files[0], scenario, "--data", world.folder, "--no-baselines", "--out", out,
            "--set", "stop.versions_max=40", *arguments), capture_output=True, text=True,
            timeout=DEADLINE_S)
        self.assertEqual(done.returncode, DONE, done.stderr)
        self.warned = done.stderr
        return {table.parent.name: self.spans(table)
                for table in (out / "tables").glob("*/activity.csv")}

    def spans(self, table):
        trainings = {}
        with table.open() as rows:
            for row in csv.DictReader(rows):
                if row["kind"] == "train":
                    trainings.setdefault(row["site"], []).append(
                        (float(row["begin_seconds"]), float(row["end_seconds"])))
        return trainings

    def slots(self, deadline_ms):
        return ["--set", f"aggregation.concurrency.sites_max={self.SITES_MAX}",
                "--set", f"aggregation.concurrency.deadline_ms={deadline_ms}"]

    def test_never_more_train_than_there_are_slots(self):
        everyone = self.trainings("everyone")
        self.assertEqual(most_at_once(sum(everyone.values(), [])), self.SITES)
        drawn = self.trainings("drawn", "", *self.slots(600000))
        self.assertEqual(most_at_once(sum(drawn.values(), [])), self.SITES_MAX)
        self.assertEqual(len(drawn), self.SITES)  # Each has its turn.
        for spans in drawn.values():
            self.assertEqual(most_at_once(spans), 1)

    def test_rules_beside_it_have_as_many_slots_where_they_can(self):
        by_rule = self.trainings_by_rule("rules", "", *self.slots(600000),
                                         "--simulate", "FEDBUFF,FEDAVG", "--seeds", "1..2")
        most = {rule: most_at_once(sum(spans.values(), [])) for rule, spans in by_rule.items()}
        self.assertEqual(most, {
            f"{rule}-seed-{seed}": sites for seed in (1, 2) for rule, sites in
            (("staleness-weighted-table", self.SITES_MAX), ("fedbuff", self.SITES_MAX),
             ("fedavg", self.SITES))})
        # Once, although every seed simulates it.
        [warning] = self.warned.splitlines()
        self.assertIn("FEDAVG has no place for the run config's aggregation.concurrency", warning)

    def test_who_is_late_trains_beside_those_who_have_its_slot(self):
        deadline_s = 2
        slow = 'overrides { site_id: "site-1" slowdown: 100 }'
        spans = sum(self.trainings("late", slow, *self.slots(1000 * deadline_s)).values(), [])
        self.assertEqual(most_at_once(spans), self.SITES_MAX + 1)
        # A slot is given some milliseconds before its task begins.
        in_time = [(begin, min(end, begin + deadline_s - 0.1)) for begin, end in spans]
        self.assertEqual(most_at_once(in_time), self.SITES_MAX)


class WithoutAPreset(Case):
    """A run config that names no rule has ADAPTIVE: of four hospitals, half are two."""

    def config(self, name, aggregation):
        text = world.files[0].read_text().replace("../../../models", str(world.source / "models"))
        head, tail = text.split("# Not ADAPTIVE", 1)
        config = world.folder / f"{name}.textproto"
        config.write_text(head + aggregation + tail.split("\n}\n", 1)[1])
        return config

    def call(self, *command):
        done = subprocess.run(world.command(*command), capture_output=True, text=True,
                              timeout=DEADLINE_S)
        self.assertEqual(done.returncode, DONE, done.stderr)
        return done

    def run_of(self, config, *arguments):
        return self.call("run", config, world.files[1], "--data", world.folder, "--no-baselines",
                         "--set", "stop.versions_max=20", *arguments)

    def test_adaptive_trains_and_says_that_it_does(self):
        out = world.folder / "adaptive"
        done = self.run_of(self.config("no-preset", ""), "--out", out)
        summary = json.loads((out / "summary.json").read_text())
        self.assertEqual(summary["title"], "ADAPTIVE")
        self.assertTrue(done.stdout.startswith("ADAPTIVE\n"), done.stdout)
        self.assertEqual((summary["versions"], summary["updates"]), (20, 40))
        scores = [point["score"] for point in summary["curve"] if "score" in point]
        self.assertLess(min(scores), scores[0] / 2)

    def test_a_k_that_a_replay_is_asked_for_stands(self):
        """It would else be the recorded half of the hospitals, which nobody wrote."""
        out = world.folder / "replayed"
        self.run_of(self.config("replayed-config", ""), "--out", out)
        replay = self.call(
            "replay", out / "journal/run.export", "--key", out / "journal/recipient.key", "--json",
            "--set", "aggregation.trigger.buffer.updates=1")
        self.assertIn("K is 1 as --set says", replay.stderr)
        self.assertEqual(json.loads(replay.stdout)["changed"]["updates"], 20)

    def test_a_k_of_ones_own_stands_unless_the_file_has_a_share(self):
        k = ["--set", "aggregation.trigger.buffer.updates=1", "--json"]
        done = self.run_of(self.config("k-of-set", ""), *k)
        self.assertEqual((json.loads(done.stdout)["updates"], done.stderr), (20, ""))
        done = self.run_of(self.config("k-of-file",
                                       "aggregation { trigger { buffer { updates: 1 } } }"),
                           "--json")
        self.assertEqual(json.loads(done.stdout)["updates"], 20)
        share = self.config("share", "aggregation { trigger { buffer { live_share_min: 0.5 } } }")
        done = self.run_of(share, *k)
        self.assertEqual(json.loads(done.stdout)["updates"], 40)
        self.assertIn(f"{share} keeps its aggregation.trigger.buffer.live_share_min", done.stderr)


class OutOfPlace(Case):
    def test_files_the_wrong_way_round(self):
        for command in (["run"], ["data", "split", "--preview"]):
            self.expect(WRONG_USAGE, world.command(*command, *reversed(world.files)),
                        f"{world.files[1]} is a scenario and {world.files[0]} a run config",
                        "RUN SCENARIO")

    def test_commands_that_there_are_not(self):
        for line, words in (("runn", ["no command runn; did you mean run?", "replay, assess"]),
                            ("bogus", ["no command bogus. Commands: run, replay"]),
                            ("data lits", ["no command lits; did you mean list?",
                                           "Commands: list, fetch, split"])):
            with self.subTest(line):
                self.expect(WRONG_USAGE, world.command(*line.split()), *words, "--help")

    def test_exit_codes_are_told(self):
        self.expect(DONE, world.command("--help"),
                    "ends with 0 where it is done, 1 where it failed")

    def test_a_column_that_is_missing(self):
        """Its file and the field of the contract that names it."""
        contract = world.folder / "contract.textproto"
        text = (world.source / "models/zoo/contracts/wdbc.contract.textproto").read_text()
        contract.write_text(f'{text}\npatient_id_column: "patient"\n')
        config = world.folder / "patients.textproto"
        text = world.files[0].read_text().replace("../../../models", str(world.source / "models"))
        zoo = f"{world.source}/models/zoo/contracts/wdbc.contract.textproto"
        self.assertIn(zoo, text)
        config.write_text(text.replace(zoo, str(contract)))
        self.expect(WRONG_USAGE, world.command("run", config, world.files[1], "--data",
                                               world.folder),
                    "wdbc.csv: the file has no column \"patient\", which the contract's "
                    "patient_id_column names")

    def test_rows_that_the_contract_refuses_are_warned_of(self):
        lines = (world.folder / "wdbc.csv").read_text().splitlines()
        broken = ["not-a-number," + line.split(",", 1)[1] for line in lines[3:5]]
        table = world.folder / "own/broken.csv"
        table.parent.mkdir()
        table.write_text("\n".join([*lines[:3], *broken, *lines[5:]]) + "\n")
        scenario = world.folder / "broken.textproto"
        scenario.write_text('dataset { partitioned { file: "broken.csv" sites: 2 } }\n')
        command = world.command("run", world.files[0], scenario, "--data", table.parent, "--set",
                                "stop.versions_max=2", "--no-baselines", "--seeds", "1..2")
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S)
        self.assertEqual(done.returncode, DONE, done.stderr)
        # Once, although every seed reads the table; and not among the results.
        [warning] = [line for line in done.stderr.splitlines() if "are left out" in line]
        column = lines[0].split(",")[0]
        self.assertIn(f"{table}: 2 of {len(lines) - 1} rows are left out, since the contract "
                      f'refuses them; the first: line 4, column "{column}"', warning)
        self.assertNotIn("left out", done.stdout)
        self.assertNotIn("left out", self.warnings_of(world.run()))

    def warnings_of(self, command):
        return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S).stderr

    def test_retraining_needs_tables(self):
        out = world.folder / "journal"
        self.expect(DONE, world.run("--out", out))
        journal = [out / "journal/run.export", "--key", out / "journal/recipient.key"]
        for command in (["replay", *journal, "--retrain"], ["assess", *journal]):
            self.expect(FAILED, world.command(*command), "--data eastern=FILE")

    def test_licences_are_whole(self):
        listed = json.loads(self.expect(DONE, world.command("data", "list", "--json")))["datasets"]
        said = self.expect(DONE, world.command("data", "list"))
        self.assertGreater(max(len(data["licence"]) for data in listed), 28)
        for data in listed:
            self.assertIn(data["licence"], said)


def main():
    global world
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--source", type=pathlib.Path, required=True)
    arguments, names = parser.parse_known_args()
    os.environ.pop("CONSILIUM_DATASETS", None)
    with tempfile.TemporaryDirectory() as folder:
        world = World(arguments, pathlib.Path(folder))
        unittest.main(argv=[sys.argv[0], *names], verbosity=2)


main()
