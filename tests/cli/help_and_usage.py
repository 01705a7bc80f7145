"""Help, exit codes and refusals of the four programs, as a person meets them.

usage: help_and_usage.py --bin DIR --source DIR [UNITTEST_NAME]...
"""

import os
import re
import stat
import subprocess

from programs import Case, DEADLINE_S, DONE, FAILED, NEEDS_PERSON, SITES, WRONG_USAGE, main, world


# Every command there is. One that comes or goes shows here.
COMMANDS = {
    "consilium": {
        "pki init", "pki recipient", "site add", "site list", "site show", "site revoke",
        "run validate", "run submit", "run list", "run status", "run stop", "run purge",
        "run watch", "run export", "model describe", "model list", "model export",
        "status", "audit verify"},
    "consilium-agent": {
        "init", "enrol", "data import", "data list", "runs list", "runs show", "model export",
        "approve", "policy", "run", "status", "audit verify"},
    "consilium-aggregator": {"init", "serve"},
    "consilium-sim": {"run", "replay", "assess", "check", "compare", "search",
                      "stack", "data list", "data fetch", "data split"},
}


def subcommands(text):
    if "Subcommands:" not in text:
        return []
    block = text.split("Subcommands:")[1].split("\n\n")[0]
    return re.findall(r"^  ([a-z]+) ", block, re.MULTILINE)


class Help(Case):
    def leaves(self, program, path):
        done = self.expect(world.call(program, *path, "--help"), DONE, "Usage:", "Example",
                           f"  {program} ")
        self.assertEqual(done.stderr, "")
        for line in done.stdout.split("Example")[1].splitlines():
            if re.match(r"  consilium (site|run (?!validate)|model (?!desc)|status|audit)", line):
                named = "--data" in line or "CONSILIUM_AGGREGATOR_DATA=" in done.stdout
                self.assertTrue(named, line)
        names = subcommands(done.stdout)
        if not names:
            # The example is of this very command.
            self.assertIn(" ".join([program, *path]), done.stdout.split("Example")[1])
            return {" ".join(path)}
        return set().union(*(self.leaves(program, [*path, name]) for name in names))

    def test_every_command_has_help_with_an_example(self):
        for program, expected in COMMANDS.items():
            with self.subTest(program):
                self.assertEqual(self.leaves(program, []), expected)

    def test_the_first_examples_work_as_they_stand(self):
        folder = world.fresh("examples")
        folder.mkdir()
        examples = self.expect(world.call("consilium", "--help"), DONE).stdout.split("Examples:")[1]
        # But for the ports, the file's name, and the time that a person takes to type.
        examples = re.sub(r":744[34]", ":0", examples)
        examples = examples.replace("run.textproto", str(world.run_config))
        self.assertIn("serve --data agg &\n", examples)
        examples = examples.replace(
            "serve --data agg &\n",
            "serve --data agg & trap 'kill $!; wait $!' EXIT\n"
            "until consilium status --data agg > status 2>&1; do kill -0 $!; done\n")
        done = subprocess.run(["bash", "-euc", examples], cwd=folder, capture_output=True,
                              text=True, timeout=DEADLINE_S,
                              env={**os.environ, "PATH": f"{world.bin}:{os.environ['PATH']}"})
        self.expect(done, DONE, "approves this run by its id")
        self.assertTrue((folder / "st-mary.join").exists())

    def test_version(self):
        for program in COMMANDS:
            done = self.expect(world.call(program, "--version"), DONE)
            self.assertRegex(done.stdout.strip(), r"^\d+\.\d+\.\d+$", program)


class Usage(Case):
    def test_wrong_usage_is_2_and_points_to_help(self):
        for line in ["consilium", "consilium run", "consilium --no-such-option status",
                     "consilium run status", "consilium run validate /nowhere.textproto",
                     "consilium model describe /nowhere", "consilium pki init",
                     "consilium-agent", "consilium-agent run", "consilium-agent status",
                     "consilium-agent approve --store x",
                     "consilium-agent approve --store x --all-runs --plan-hash 00",
                     "consilium-agent enrol --store x --join /nowhere",
                     "consilium-agent data import --store x --contract /nowhere --csv /nowhere",
                     "consilium-aggregator", "consilium-aggregator init --data x",
                     "consilium-aggregator serve", "consilium-aggregator serve --data x "
                     "--compute-threads 0",
                     "consilium-sim", "consilium-sim run", "consilium-sim run /nowhere /nowhere",
                     "consilium-sim replay /nowhere --key /nowhere",
                     "consilium-sim check --replay /nowhere"]:
            with self.subTest(line):
                self.expect(world.call(*line.split()), WRONG_USAGE, "--help")

    def test_a_word_out_of_place_is_named(self):
        for line, words in [("consilium-agent bogus", ["bogus"]),
                            ("consilium-agent runs bogus", ["bogus"]),
                            ("consilium-agent approve --store x heart-1",
                             ["Did you mean --run heart-1?"])]:
            with self.subTest(line):
                self.expect(world.call(*line.split()), WRONG_USAGE, *words)
        done = self.expect(world.call("consilium-agent", "approve", "--one-by-one", "--store",
                                      world.copy_of_store()), DONE)
        self.assertEqual(done.stdout, "from now on each run is asked for\n")

    def test_wrong_values_are_2_and_name_the_option(self):
        store = world.store(SITES[1])
        config, scenario = world.run_config, world.source / "sim/scenarios/wdbc-four-hospitals"
        spec = world.source / "models/zoo/mlp.textproto"
        for words, line in [
                ("--set", ["consilium", "model", "describe", spec, "--set", "features"]),
                ("--plan-hash",
                 ["consilium-agent", "approve", "--store", store, "--plan-hash", "7"]),
                ("--task-duration-min",
                 ["consilium-agent", "run", "--store", store, "--task-duration-min", "soon"]),
                ("--allow-test-gates", ["consilium-aggregator", "serve", "--data", "x",
                                        "--test-arrival-order", config]),
                ("--runs", ["consilium-sim", "check", "--runs", "0"]),
                ("--seeds", ["consilium-sim", "run", config, scenario / "scenario.textproto",
                             "--data", world.folder, "--seeds", "5..1"]),
                ("--clock", ["consilium-sim", "run", config, scenario / "scenario.textproto",
                             "--data", world.folder, "--clock", "sun"]),
                ("sites.faults", ["consilium-sim", "run", config, scenario / "scenario.textproto",
                                  "--data", world.folder, "--clock", "wall", "--set",
                                  "scenario.sites.faults.crash_rate=0.1"]),
                ("no_such", ["consilium-sim", "run", config, scenario / "scenario.textproto",
                             "--data", world.folder, "--set", "training.no_such=1"])]:
            with self.subTest(words):
                self.expect(world.call(*line), WRONG_USAGE, words)
        self.expect(world.admin("run", "export", world.run, "--recipient", "zz", "--out",
                                world.fresh("export")), FAILED, "zz")
        self.expect(world.admin("site", "add", "St Mary"), WRONG_USAGE, "a-z")

    def test_what_is_not_there_says_what_to_do(self):
        self.expect(world.call("consilium", "--data", world.fresh("none"), "status"), FAILED,
                    "consilium-aggregator serve", "--data", "CONSILIUM_AGGREGATOR_DATA")
        for command in ["status", "watch", "stop", "purge"]:
            self.expect(world.admin("run", command, "no-such-run"), FAILED, "no-such-run")
        self.expect(world.admin("run", "status", "no-such-run"), FAILED, "consilium run list")
        for command in [["status"], ["data", "list"], ["run"], ["audit", "verify"]]:
            self.expect(world.call("consilium-agent", *command, "--store", world.fresh("none")),
                        NEEDS_PERSON if command == ["run"] else FAILED,
                        "consilium-agent init --store")
        store = world.fresh("store")
        self.expect(world.call("consilium-agent", "init", "--store", store), DONE,
                    "consilium-agent enrol --store")
        self.expect(world.call("consilium-agent", "run", "--store", store), NEEDS_PERSON,
                    "consilium-agent enrol --store")
        self.expect(world.call("consilium-agent", "init", "--store", store), FAILED)
        self.expect(world.call("consilium-aggregator", "serve", "--data", world.fresh("none")),
                    FAILED, "init")

    def test_what_exists_is_not_overwritten(self):
        pki = world.federation.work / "pki"
        before = (pki / "root.key").read_bytes()
        self.expect(world.call("consilium", "pki", "init", "--dir", pki, "--federation", "other"),
                    FAILED, "exists")
        self.assertEqual((pki / "root.key").read_bytes(), before)
        key = world.fresh("key")
        self.expect(world.call("consilium", "pki", "recipient", "--out", key), DONE)
        self.assertEqual(stat.S_IMODE(key.stat().st_mode), 0o600)
        self.expect(world.call("consilium", "pki", "recipient", "--out", key), FAILED, "exists")
        join = world.fresh("join")
        self.expect(world.admin("site", "add", "visitor", "--out", join), DONE)
        before = join.read_bytes()
        # Nothing was asked of the aggregator: the join file that is there still works.
        self.expect(world.admin("site", "add", "visitor", "--out", join), WRONG_USAGE,
                    f"{join} exists: choose another name or remove it")
        self.assertEqual(join.read_bytes(), before)
        again = self.keys("site add", world.admin("site", "add", "visitor", "--out",
                                                  world.fresh("join"), "--json"))
        self.assertTrue(again["earlier_join_file_ended"])
        self.expect(world.admin("site", "add", "visitor", "--out", world.fresh("join")), DONE,
                    "the join file given out before no longer works")

    def test_no_aggregator_is_named(self):
        for line in (["status"], ["site", "add", "st-mary"], ["run", "list"]):
            self.expect(world.call("consilium", *line), WRONG_USAGE,
                        "say which aggregator: --data DIR or CONSILIUM_AGGREGATOR_DATA")

    def test_an_init_that_failed_can_be_repeated(self):
        data, pki = world.fresh("aggregator"), world.fresh("pki")
        self.expect(world.call("consilium", "pki", "init", "--dir", pki, "--federation", "heart"),
                    DONE)

        def init(pki, federation):
            return world.call("consilium-aggregator", "init", "--data", data, "--pki", pki,
                              "--federation", federation, "--address", "127.0.0.1:0",
                              "--enrolment-address", "127.0.0.1:0")

        self.expect(init(world.fresh("none"), "heart"), FAILED, "intermediate.key")
        self.expect(init(pki, "lung"), FAILED, "lung")
        self.assertFalse(data.exists())
        self.expect(init(pki, "heart"), DONE, "is ready")
        self.expect(init(pki, "heart"), FAILED, "already")

    def test_secrets_are_made_private(self):
        for secret in [world.federation.work / "pki/root.key",
                       world.federation.work / SITES[0] / "site.join",
                       world.store(SITES[0]).parent / "store-key/site.kek"]:
            self.assertEqual(stat.S_IMODE(secret.stat().st_mode) & 0o077, 0, secret)


main(__name__)
