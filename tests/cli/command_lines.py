"""The programs as a person or a script meets them: help, exit codes, --json, refusals.

One small, real federation is set up once, with a run that has ended; what would change it works on
a copy.

usage: command_lines.py --bin DIR --source DIR [UNITTEST_NAME]...
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "faults"))
from federation import wdbc_federation  # noqa: E402

SITES = ["eastern", "northern"]
VERSIONS = 4
DEADLINE_S = 120

DONE, FAILED, WRONG_USAGE, NEEDS_PERSON = 0, 1, 2, 3

# Every command there is. One that comes or goes shows here.
COMMANDS = {
    "consilium": {
        "pki init", "pki recipient", "site add", "site list", "site show", "site revoke",
        "run validate", "run submit", "run list", "run status", "run stop", "run purge",
        "run watch", "run export", "model describe", "model list", "model export",
        "status", "audit verify"},
    "consilium-agent": {
        "init", "enrol", "data import", "data list", "runs list", "runs show", "approve", "policy",
        "run", "status", "audit verify"},
    "consilium-aggregator": {"init", "serve"},
    "consilium-sim": {"run", "replay", "assess", "check", "compare", "search",
                      "stack", "data list", "data fetch", "data split"},
}

# What scripts may rely on: the keys of each --json, the optional ones left out.
JSON_KEYS = {
    "site list": {"sites"},
    "site list sites": {"site_id", "state", "certificate_ends_unix_s", "certificate_sha256",
                        "signing_key_sha256", "last_seen_unix_s", "software_version"},
    "site add": {"site_id", "file", "expires_unix_s", "earlier_join_file_ended"},
    "run validate": {"config", "contract", "spec"},
    "run submit": {"run_id", "plan_hash", "warnings"},
    "run list": {"runs"},
    "run list runs": {"run_id", "phase", "version", "sites", "submitted_unix_s"},
    "run status": {"run_id", "plan_hash", "plan", "phase", "why_ended", "submitted_unix_ns",
                   "ended_unix_ns", "current_version", "result_model_id", "last_model_id",
                   "participants", "versions", "staleness_histogram", "duplicates_absorbed",
                   "refusals"},
    "run status participants": {"site_id", "decision", "refusal", "train_examples",
                                "tasks_granted", "updates_accepted", "updates_included",
                                "updates_not_included", "updates_refused", "influence"},
    "run status versions": {"version", "model_id", "committed_unix_ns", "contributions",
                            "server_learning_rate", "validation", "test", "validation_scores"},
    "run status scores": {"examples", "sites", "log_loss", "accuracy", "balanced_accuracy",
                          "auroc"},
    "run stop": {"had_ended"},
    "run export": {"file", "bytes"},
    "run purge": {"blobs_removed"},
    "model describe": {"name", "input_shape", "layers", "payload_bytes", "parameters",
                       "layout_hash"},
    "status": {"federation", "software_version", "started_unix_s", "journal_entries",
               "journal_head", "main_address", "enrolment_address", "sites_attached", "runs_live"},
    "audit verify": {"intact", "entries", "first_bad_sequence", "finding", "head"},
    "pki init": {"dir", "federation", "root_certificate_sha256"},
    "pki recipient": {"private_key_file", "public_key_file", "public_key"},
    "agent init": {"store", "protection"},
    "agent enrol": {"site", "federation", "certificate_sha256", "signing_key_sha256"},
    "agent import": {"dataset", "rows_read", "rows_stored", "rows_refused", "report_file",
                     "refusals"},
    "agent data list": {"datasets"},
    "agent data list datasets": {"name", "contract", "contract_sha256", "rows", "rows_refused",
                                 "imported"},
    "agent approve": {"approved"},
    "agent runs list": {"runs"},
    "agent policy": {"minimum_count", "all_runs_approved"},
    "agent status": {"site", "federation", "aggregator", "certificate_expired",
                     "certificate_not_after", "certificate_sha256", "running", "attached", "runs"},
    "agent status runs": {"run", "plan_sha256", "state", "tasks", "receipts", "train_examples"},
    "agent audit": {"rows", "head_sha256", "releases"},
    "sim run": {"title", "dataset", "scored", "sites", "federated", "alone", "pooled", "versions",
                "result_version", "updates", "duplicates_absorbed", "staleness", "seconds",
                "wall_seconds", "energy_joules", "clock", "upload_bytes", "metric", "best_score",
                "final_score", "worst_site", "target", "model_sha256", "curve"},
    "sim replay": {"run", "versions", "programs_run", "updates_retrained", "mismatches"},
    "sim what if": {"run", "set", "without", "sites", "approximation", "compared",
                    "model_distance", "why_ended", "recorded", "changed", "trainer",
                    "signer_checked"},
    "sim check": {"held", "refused_configs", "events", "versions", "updates", "program_version",
                  "broken"},
}

world = None  # The shared federation, its folder, its ended run and the arguments.


class World:
    def __init__(self, arguments, folder):
        self.bin, self.source, self.folder = arguments.bin, arguments.source, folder
        self.federation, self.run_config = wdbc_federation(self.bin, self.source, folder, SITES,
                                                           VERSIONS)
        self.contract = self.source / "models/zoo/contracts/wdbc.contract.textproto"
        self.tables = folder / "tables"
        self.copies = 0
        federation = self.federation
        federation.start_aggregator()
        for site in SITES:
            federation.start_agent(site)
        self.run = federation.submit(self.run_config)
        federation.wait_for("the run has ended",
                            lambda: federation.run_report(self.run)["phase"] == "ended")
        # One agent goes on running, the other's store is at rest.
        federation.stop(SITES[1])

    def call(self, program, *arguments, stdin=""):
        return subprocess.run([self.bin / program, *map(str, arguments)], input=stdin,
                              capture_output=True, text=True, timeout=DEADLINE_S)

    def admin(self, *arguments):
        return self.call("consilium", "--data", self.federation.work / "aggregator", *arguments)

    def start_first_agent(self):
        federation = self.federation
        federation.start_agent(SITES[0])
        federation.wait_for("the agent answers",
                            lambda: federation.site_status(SITES[0])["running"])

    def store(self, site):
        return self.federation.work / site / "store"

    def fresh(self, name):
        self.copies += 1
        return self.folder / f"{self.copies}-{name}"

    def copy_of_store(self):
        """A store at rest with its key, which a case may spoil."""
        site = self.fresh("site")
        shutil.copytree(self.federation.work / SITES[1], site)
        location = site / "store/kek.location"
        location.write_text(f"{site}/store-key/site.kek\n")
        return site / "store"


class Case(unittest.TestCase):
    def expect(self, done, code, *words):
        """The exit code, and what is said to a person: on stderr where it did not work."""
        said = done.stdout if code == DONE else done.stderr
        self.assertEqual(done.returncode, code, f"{done.args}\n{done.stdout}{done.stderr}")
        for word in words:
            self.assertIn(word, said, done.args)
        if code != DONE:
            self.assertNotEqual(done.stderr.strip(), "", done.args)
        return done

    def keys(self, name, done):
        self.expect(done, DONE)
        self.assertEqual(done.stderr, "", done.args)
        answer = json.loads(done.stdout)
        self.check_keys(name, answer)
        return answer

    def check_keys(self, name, value):
        self.assertLessEqual(JSON_KEYS[name], set(value), name)


# --- help and usage -------------------------------------------------------------------------------


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


# --- --json ---------------------------------------------------------------------------------------


class Json(Case):
    def test_admin(self):
        sites = self.keys("site list", world.admin("site", "list", "--json"))["sites"]
        self.assertEqual([site["site_id"] for site in sites][:2], SITES)
        self.check_keys("site list sites", sites[0])
        self.keys("status", world.admin("status", "--json"))
        runs = self.keys("run list", world.admin("--json", "run", "list"))["runs"]
        self.check_keys("run list runs", runs[0])
        report = self.keys("run status", world.admin("run", "status", world.run, "--json"))
        self.check_keys("run status participants", report["participants"][0])
        self.check_keys("run status versions", report["versions"][0])
        self.assertEqual(report["current_version"], VERSIONS)
        result = report["versions"][report["result_version"]]
        for scores in (result["validation_scores"], result["test_scores"]):
            self.check_keys("run status scores", scores)
            self.assertEqual(scores["sites"], len(SITES))
            self.assertTrue(0.5 < scores["auroc"] <= 1, scores)
        self.assertAlmostEqual(sum(site["influence"] for site in report["participants"]), 1)
        for command in (["run", "watch"], ["model", "list"]):
            again = self.keys("run status", world.admin(*command, world.run, "--json"))
            self.assertEqual(again, report)
        audit = self.keys("audit verify", world.admin("audit", "verify", "--json"))
        self.assertTrue(audit["intact"])
        plan = self.keys("run validate", world.admin("run", "validate", world.run_config, "--json"))
        self.assertEqual(plan, report["plan"])

    def test_admin_that_writes(self):
        join = world.fresh("join")
        added = self.keys("site add", world.admin("site", "add", "later", "--out", join, "--json"))
        self.assertEqual((added["site_id"], added["file"]), ("later", str(join)))
        self.assertFalse(added["earlier_join_file_ended"])
        key = world.fresh("key")
        recipient = self.keys("pki recipient", world.call("consilium", "pki", "recipient", "--out",
                                                          key, "--json"))
        self.assertEqual(pathlib.Path(recipient["public_key_file"]).read_text().strip(),
                         recipient["public_key"])
        export = world.fresh("run.export")
        written = self.keys("run export", world.admin(
            "run", "export", world.run, "--recipient", f"{key}.pub", "--out", export, "--json"))
        self.assertEqual(written["bytes"], export.stat().st_size)
        replay = self.keys("sim replay", world.call(
            "consilium-sim", "replay", export, "--key", key, "--json", "--aggregator-key",
            world.federation.admin_json("status")["signing_key"]))
        self.assertEqual(replay["mismatches"], [])
        self.assertTrue(replay["signer_checked"])
        self.check_what_if(export, key)
        model = world.fresh("model.safetensors")
        self.assertIn("model_id", json.loads(self.expect(world.admin(
            "model", "export", world.run, "--out", model, "--json"), DONE).stdout))
        self.assertGreater(model.stat().st_size, 0)
        pki = world.fresh("pki")
        self.keys("pki init", world.call("consilium", "pki", "init", "--dir", pki, "--federation",
                                         "other", "--json"))

    def check_what_if(self, export, key):
        """The recorded federation of two sites with changes: one trains, one is played back."""
        first, second = SITES
        replay = ["consilium-sim", "replay", export, "--key", key, "--aggregator-key",
                  world.federation.admin_json("status")["signing_key"]]
        data = ["--data", f"{first}={world.tables / first}.csv"]
        out = world.fresh("what-if")
        told = self.keys("sim what if", world.call(
            *replay, *data, "--set", "stop.versions_max=2", "--out", out, "--json"))
        self.assertEqual({site["site"]: site["mode"] for site in told["sites"]},
                         {first: "retrained", second: "re-aggregated"})
        self.assertEqual((told["recorded"]["versions"], told["changed"]["versions"]), (VERSIONS, 2))
        self.assertIn(second, told["approximation"])
        self.assertEqual(told["compared"]["sites"], [first])
        self.assertGreater(told["compared"]["changed"]["scores"]["examples"], 0)
        self.assertGreater(told["model_distance"], 0)
        self.assertEqual(json.loads((out / "summary.json").read_text()), told)
        # What is said again as it was: each task, base and version comes when it came.
        both = [word for site in SITES for word in ("--data", f"{site}={world.tables / site}.csv")]
        same = self.keys("sim what if", world.call(
            *replay, *both, "--set", f"stop.versions_max={VERSIONS}", "--json"))
        self.assertEqual(same["model_distance"], 0)
        self.expect(world.call(*replay, "--without", second, *data), DONE, "retrained",
                    f"without {second}", "log-loss")
        self.expect(world.call(*replay, "--without", second), DONE, "re-aggregated",
                    "APPROXIMATION: 1 of 1 sites", "No scores")
        for words, arguments in [
                (["--without bogus", first, second], ["--without", "bogus"]),
                (["no site"], ["--without", first, "--without", second]),
                (["training", f"--data {second}=FILE"], ["--set", "training.local_steps=3", *data]),
                (["--retrain"], ["--retrain", "--without", second]),
                (["scenario"], ["--set", "scenario.seed=1"]),
                (["--out"], ["--out", out]),
                (["no_such_field"], ["--set", "no_such_field=1"])]:
            with self.subTest(arguments):
                self.expect(world.call(*replay, *arguments), WRONG_USAGE, *words)

    def test_run_to_its_purge(self):
        run = self.keys("run submit", world.admin("run", "submit", world.run_config,
                                                  "--json"))["run_id"]
        self.assertFalse(self.keys("run stop", world.admin("run", "stop", run,
                                                           "--json"))["had_ended"])
        self.expect(world.admin("run", "watch", run), DONE, "ended")
        self.expect(world.admin("run", "stop", run), DONE, f"{run} has ended already")
        # The models do not go with a word that does not name them.
        self.expect(world.admin("run", "purge", run), WRONG_USAGE, "its result too",
                    f"consilium model export {run}", "--with-models")
        self.assertEqual(world.federation.run_report(run)["phase"], "ended")
        self.expect(world.call("consilium", "run", "purge", "--help"), DONE, "ALL MODELS",
                    "Can not be undone")
        self.keys("run purge", world.admin("run", "purge", run, "--with-models", "--json"))

    def test_model(self):
        spec = world.source / "models/zoo/mlp.textproto"
        described = self.keys("model describe", world.call(
            "consilium", "model", "describe", spec, "--set", "features=30", "--json"))
        self.assertEqual(described["input_shape"], [30])

    def test_agent(self):
        for site in SITES:  # One that runs, one at rest.
            store = world.store(site)
            status = self.keys("agent status", world.call("consilium-agent", "status", "--store",
                                                          store, "--json"))
            self.assertEqual(status["running"], site == SITES[0])
            self.assertFalse(status["certificate_expired"])
            self.check_keys("agent status runs", status["runs"][0])
            data = self.keys("agent data list", world.call("consilium-agent", "data", "list",
                                                           "--store", store, "--json"))
            self.check_keys("agent data list datasets", data["datasets"][0])
            runs = self.keys("agent runs list", world.call("consilium-agent", "runs", "list",
                                                           "--store", store, "--json"))
            self.assertEqual([run["run"] for run in runs["runs"]], [world.run])
            self.expect(world.call("consilium-agent", "runs", "show", world.run, "--store", store),
                        DONE, world.run)
            self.keys("agent policy", world.call("consilium-agent", "policy", "--store", store,
                                                 "--json"))
            audit = self.keys("agent audit", world.call("consilium-agent", "audit", "verify",
                                                        "--store", store, "--json"))
            self.assertGreater(audit["releases"]["update"]["count"], 0)
            self.keys("agent approve", world.call("consilium-agent", "approve", "--store", store,
                                                  "--all-runs", "--json"))
            self.keys("agent import", world.call(
                "consilium-agent", "data", "import", "--store", store, "--contract",
                world.contract, "--csv", world.tables / f"{site}.csv", "--json"))

    def test_agent_from_init(self):
        store, join = world.fresh("store"), world.fresh("join")
        self.keys("agent init", world.call("consilium-agent", "init", "--store", store, "--json"))
        self.expect(world.admin("site", "add", "newcomer", "--out", join), DONE,
                    "consilium-agent enrol")
        enrolled = self.keys("agent enrol", world.call(
            "consilium-agent", "enrol", "--store", store, "--join", join, "--json"))
        # What two people compare on the telephone.
        shown = self.keys("site list sites", world.admin("site", "show", "newcomer", "--json"))
        for name in ("certificate_sha256", "signing_key_sha256"):
            self.assertEqual(shown[name], enrolled[name])
        self.expect(world.admin("site", "show", "newcomer"), DONE,
                    f"certificate  {enrolled['certificate_sha256']}",
                    f"signing key  {enrolled['signing_key_sha256']}")
        self.expect(world.admin("site", "show", "nobody"), FAILED, "consilium site list")
        # Once.
        self.expect(world.call("consilium-agent", "enrol", "--store", store, "--join", join),
                    FAILED, "TOKEN_REFUSED")

    def test_sim(self):
        scenario = world.source / "sim/scenarios/wdbc-four-hospitals/scenario.textproto"
        out = world.fresh("out")
        summary = self.keys("sim run", world.call(
            "consilium-sim", "run", world.run_config, scenario, "--data", world.folder, "--set",
            "stop.versions_max=2", "--json", "--out", out))
        self.assertEqual(json.loads((out / "summary.json").read_text()), summary)
        checked = self.keys("sim check", world.call("consilium-sim", "check", "--runs", "5",
                                                    "--json"))
        self.assertEqual(checked["held"] + checked["refused_configs"], 5)
        self.assertIsNone(checked["broken"])


class Import(Case):
    def test_strict_imports_all_or_nothing(self):
        store = world.copy_of_store()
        good = world.tables / f"{SITES[1]}.csv"
        bad = world.fresh("bad.csv")
        bad.write_text(good.read_text() + "one,field\n")
        command = ["consilium-agent", "data", "import", "--store", store, "--contract",
                   world.contract, "--csv"]
        rows = len(good.read_text().splitlines()) - 1
        done = self.expect(world.call(*command, good), DONE, f"{rows} stored")
        self.assertNotIn("refused rows", done.stdout)
        done = self.expect(world.call(*command, bad, "--strict"), FAILED, "nothing was imported")
        self.assertIn(f"line {rows + 2}", done.stdout)
        listed = self.expect(world.call("consilium-agent", "data", "list", "--store", store), DONE)
        self.assertIn(f"{rows} rows (0 refused)", listed.stdout)
        self.expect(world.call(*command, bad), DONE, f"{rows} stored, 1 refused", "refused rows")


class Text(Case):
    SCORES = r"log-loss \d\.\d{3}, AUROC [01]\.\d{3} \(n \d+\)"

    def test_how_good_the_model_is(self):
        done = self.expect(world.admin("run", "status", world.run), DONE,
                           "versions behind: updates")
        self.assertRegex(done.stdout,
                         rf"version \d+: validation {self.SCORES}; test {self.SCORES}\n")
        self.assertEqual(len(re.findall(r" \d+\.\d% ", done.stdout)), len(SITES))
        done = self.expect(world.admin("model", "list", world.run), DONE)
        self.assertEqual(len(re.findall(self.SCORES, done.stdout)), VERSIONS + 1)
        done = self.expect(world.admin("run", "watch", world.run), DONE)
        self.assertRegex(done.stdout, rf"^version {VERSIONS}: validation {self.SCORES}")

    def test_submit_tells_what_comes_next(self):
        config = world.fresh("run.textproto")
        text = world.run_config.read_text()
        config.write_text(text + 'participation { sites: "nobody" }\n')
        done = self.expect(world.admin("run", "submit", config), DONE,
                           "approves this run by its id")
        run = done.stdout.splitlines()[0]
        self.assertIn(f"consilium-agent approve --store STORE --run {run}", done.stdout)
        self.assertEqual(done.stderr, 'warning: the run waits for "nobody", which was not added: '
                                      "consilium site add nobody\n")
        self.expect(world.admin("run", "stop", run), DONE, "is stopping")
        told = self.keys("run submit", world.admin("run", "submit", config, "--json"))
        self.assertEqual(len(told["warnings"]), 1)
        self.expect(world.admin("run", "stop", told["run_id"]), DONE)


class Quiet(Case):
    def test_nothing_but_results_when_piped(self):
        for done in [world.admin("status"), world.admin("site", "list"), world.admin("run", "list"),
                     world.admin("run", "status", world.run),
                     world.admin("run", "watch", world.run),
                     world.admin("run", "validate", world.run_config),
                     world.admin("audit", "verify"), world.admin("model", "list", world.run),
                     world.call("consilium-agent", "status", "--store", world.store(SITES[0])),
                     world.call("consilium-agent", "audit", "verify", "--store",
                                world.store(SITES[0]))]:
            with self.subTest(done.args):
                self.expect(done, DONE)
                self.assertEqual(done.stderr, "")
                self.assertNotEqual(done.stdout, "")
                self.assertNotRegex(done.stdout, "[\x1b\r]")


# --- run validate ---------------------------------------------------------------------------------


class Validate(Case):
    def variant(self, *replacements):
        text = world.run_config.read_text()
        for old, new in replacements:
            self.assertIn(old, text)
            text = text.replace(old, new)
        path = world.fresh("run.textproto")
        path.write_text(text)
        return path

    def refused(self, path, *words):
        done = self.expect(world.call("consilium", "run", "validate", path), WRONG_USAGE, *words)
        self.assertEqual(done.stdout, "")
        for line in done.stderr.strip().splitlines():
            self.assertRegex(line, r"\S: .*\S", "a sentence with its place")
        return done

    def test_unknown_fields_by_line_and_column(self):
        path = self.variant(("local_steps: 20", "local_steps: 20\n  learning_rat: 1"))
        lines = path.read_text().splitlines()
        line = next(i for i, text in enumerate(lines) if "learning_rat:" in text)
        done = self.refused(path, "learning_rat", f"{path}:{line + 1}:")
        self.assertRegex(done.stderr, rf":{line + 1}:\d+: ")
        spec = world.fresh("spec.textproto")
        spec.write_text('name: "x"\nlayerz { }\n')
        self.expect(world.call("consilium", "model", "describe", spec), WRONG_USAGE, f"{spec}:2:",
                    "layerz")

    def test_survival_in_intervals(self):
        run = world.source / "sim/scenarios/flamby-tcga-brca/discrete_hazard.textproto"
        self.expect(world.call("consilium", "run", "validate", run), DONE)
        text, zoo = run.read_text(), world.source / "models/zoo"
        contract = (zoo / "contracts/tcga_brca.contract.textproto").read_text()
        ends = "contract.label.survival.interval_ends"
        for old, new, words in [
                ("interval_ends: [365, 731,", "interval_ends: [731, 365,", (ends, "[1] is 365")),
                (", 1096, 1461]", ", 1096, 11461, 11462]", (ends, "time_max")),
                ("interval_ends:", "#", ("spec.parameters.intervals", "no default"))]:
            with self.subTest(new):
                self.assertIn(old, contract)
                folder = world.fresh("survival")
                folder.mkdir()
                (folder / "c.textproto").write_text(contract.replace(old, new))
                (folder / "run.textproto").write_text(
                    text.replace("../../../models/zoo/discrete", f"{zoo}/discrete").replace(
                        "../../../models/zoo/contracts/tcga_brca.contract.textproto",
                        "c.textproto"))
                self.refused(folder / "run.textproto", *words)
        path = world.fresh("run.textproto")
        path.write_text(text.replace("../../../models/zoo", str(zoo)).replace(
            "discrete_hazard.textproto\"", "discrete_hazard.textproto\" "
            "parameters { key: \"intervals\" value: 5 }"))
        self.refused(path, ends, "must be 5, one for each output")

    def test_what_is_not_built_yet(self):
        self.refused(self.variant(("stop {",
                                   "privacy { patient_level { epsilon_max: 8 } }\nstop {")),
                     "privacy", "not built yet")

    def test_every_preset_works_or_says_what_it_needs(self):
        presets = (world.source / "protocol/proto/consilium/v1/run_config.proto").read_text()
        preset_names = re.search(r"enum Preset \{(.*?)\n  \}", presets, re.DOTALL).group(1)
        works = 0
        for name in re.findall(r"^\s+([A-Z][A-Z0-9_]+) = [1-9]\d*;", preset_names, re.MULTILINE):
            # What a rule can not do without.
            needs = {"NORM_BOUND": " transform { clip_norm: 1 }",
                     "BASGD": " combine { buckets { buckets: 2 } }"}.get(name, "")
            plain_sgd = (" momentum: 0.9", "")
            training = {"FEDPROX": [("local_steps:", "proximal_mu: 0.1 local_steps:")],
                        "FEDNOVA": [plain_sgd], "DC_ASGD": [plain_sgd],
                        "SCAFFOLD": [plain_sgd]}.get(name, [])
            path = self.variant(("preset: STALENESS_WEIGHTED_TABLE", f"preset: {name}{needs}"),
                                ("  trigger { buffer { updates: 2 } }\n", ""), *training)
            done = world.call("consilium", "run", "validate", path)
            if done.returncode == DONE:
                works += 1
                continue
            # What they need is in no other rule's config: a layer of one's own, one that
            # normalises, a site that is trusted.
            self.refused(path, *{
                "FEDPER": ("training.personal", "must name"),
                "FEDBN": ("aggregation.preset", "batch_norm"),
                "ZENO": ("aggregation.transform.zeno.validator", "must name")}[name])
        self.assertGreaterEqual(works, 32)
        self.refused(self.variant(("preset: STALENESS_WEIGHTED_TABLE", "preset: NO_SUCH_RULE")),
                     "NO_SUCH_RULE")

    def test_each_impossible_value_is_named_by_its_path(self):
        for old, new, words in [
                ("learning_rate: 0.01", "learning_rate: -1",
                 "training.optimizer.sgd.learning_rate"),
                ("stop {", 'participation { sites: "north" sites_min: 5 }\nstop {',
                 "participation.sites_min"),
                ("stop {", 'participation { sites: "St Mary" }\nstop {', "participation.sites"),
                ("batch_examples: 16", "batch_examples: 4000000000", "training.batch_examples"),
                ("validation: 0.15", "validation: 0.8", "data.split.validation"),
                (f"versions_max: {VERSIONS}", "versions_max: 4000000000", "stop.versions_max"),
                ('name: "wdbc"', 'name: "W D"', "name"),
                ("updates: 2", "updates: 4000000000", "aggregation.trigger.buffer.updates")]:
            with self.subTest(words):
                self.refused(self.variant((old, new)), words)

    def test_all_complaints_at_once(self):
        done = self.refused(self.variant(("learning_rate: 0.01", "learning_rate: -1"),
                                         ("batch_examples: 16", "batch_examples: 4000000000")))
        self.assertEqual(len(done.stderr.strip().splitlines()), 2)

    def test_a_file_that_is_missing_or_no_text(self):
        self.refused(self.variant(("logistic_regression.textproto", "no_such.textproto")),
                     "no_such.textproto")
        path = world.fresh("run.textproto")
        path.write_bytes(bytes(range(256)) * 10)
        self.refused(path, f"{path}:1:")

    def test_the_aggregator_refuses_alike(self):
        path = self.variant(("stop {", "privacy { patient_level { epsilon_max: 8 } }\nstop {"))
        self.expect(world.admin("run", "submit", path), WRONG_USAGE, "not built yet")


# --- keys and journals ----------------------------------------------------------------------------


class Keys(Case):
    def status(self, store, *arguments):
        return world.call("consilium-agent", "status", "--store", store, *arguments)

    def test_loose_permissions(self):
        for path, mode, command in [("store-key/site.kek", 0o644, "chmod 600"),
                                    ("store-key", 0o755, "chmod 700"),
                                    ("store/site.db", 0o644, "chmod 600")]:
            with self.subTest(path):
                store = world.copy_of_store()
                self.expect(self.status(store), DONE)
                (store.parent / path).chmod(mode)
                self.expect(self.status(store), FAILED, command)

    def test_wrong_missing_or_damaged_key(self):
        store = world.copy_of_store()
        other = world.fresh("store")
        self.expect(world.call("consilium-agent", "init", "--store", other), DONE)
        done = self.expect(self.status(store, "--kek", f"{other}-key/site.kek"), FAILED)
        self.assertRegex(done.stderr, "(?i)key")
        self.expect(world.call("consilium-agent", "run", "--store", store, "--kek",
                               f"{other}-key/site.kek"), NEEDS_PERSON)
        self.expect(self.status(store, "--kek", world.fresh("none")), FAILED,
                    "no credential consilium-kek in $CREDENTIALS_DIRECTORY")
        key = store.parent / "store-key/site.kek"
        key.write_text("consilium-kek 1 plain 00\n")
        self.expect(self.status(store), FAILED, "not a key file")

    def test_a_plaintext_store_is_refused(self):
        store = world.copy_of_store()
        (store / "site.db").write_bytes(b"SQLite format 3\0" + bytes(4080))
        self.expect(self.status(store), FAILED)

    def test_passphrase(self):
        store = world.fresh("store")
        command = ["consilium-agent", "init", "--store", store, "--passphrase-file", "-"]
        self.expect(world.call(*command, stdin="too short\n"), WRONG_USAGE, "12 to 1024")
        self.expect(world.call(*command, stdin="correct horse battery\n"), DONE, "passphrase")
        self.expect(self.status(store), FAILED, "--passphrase-file")
        self.expect(world.call("consilium-agent", "status", "--store", store, "--passphrase-file",
                               "-", stdin="correct horse batterz\n"), WRONG_USAGE,
                    "wrong passphrase")
        self.expect(world.call("consilium-agent", "status", "--store", store, "--passphrase-file",
                               "-", stdin="correct horse battery\n"), DONE, "not joined")

    def test_the_aggregators_key(self):
        copy = world.fresh("aggregator")
        world.federation.stop_all()
        shutil.copytree(world.federation.work / "aggregator", copy)
        shutil.copytree(world.federation.work / "aggregator-key", f"{copy}-key")
        key = pathlib.Path(f"{copy}-key/aggregator.kek")
        world.federation.start_aggregator()
        world.start_first_agent()
        key.chmod(0o644)
        self.expect(world.call("consilium-aggregator", "serve", "--data", copy), FAILED,
                    "chmod 600")
        key.chmod(0o600)
        other = world.fresh("store")
        self.expect(world.call("consilium-agent", "init", "--store", other), DONE)
        shutil.copy(f"{other}-key/site.kek", key)
        done = self.expect(world.call("consilium-aggregator", "serve", "--data", copy), FAILED)
        self.assertRegex(done.stderr, "(?i)key")


def flip_a_bit_in_every_page(path, page=4096):
    content = bytearray(path.read_bytes())
    for start in range(page, len(content), page):
        content[start + page // 2] ^= 1
    path.write_bytes(content)


class Audit(Case):
    def test_a_damaged_journal_at_a_site(self):
        store = world.copy_of_store()
        verify = ["consilium-agent", "audit", "verify", "--store", store]
        self.expect(world.call(*verify), DONE, "holds")
        flip_a_bit_in_every_page(store / "site.db")
        self.expect(world.call(*verify), FAILED)

    def test_damage_at_the_aggregator(self):
        world.federation.stop_all()
        copy = world.federation.copy_to(world.fresh("federation"))
        spoilt = world.federation.copy_to(world.fresh("federation"))
        world.federation.start_aggregator()
        world.start_first_agent()
        copy.start_aggregator()
        try:
            self.assertTrue(copy.admin_json("audit", "verify")["intact"])
            blobs = [path for path in (copy.work / "aggregator").rglob("*")
                     if path.is_file() and "blobs" in path.parts]
            self.assertGreater(len(blobs), VERSIONS)
            content = bytearray(blobs[0].read_bytes())
            content[len(content) // 2] ^= 1
            blobs[0].write_bytes(content)
            done = copy.admin("audit", "verify", check=False)
            self.expect(done, FAILED, "audit chain is broken")
            self.assertIn("NOT INTACT", done.stdout)
            done = copy.admin("audit", "verify", "--json", check=False)
            self.assertEqual(done.returncode, FAILED)
            answer = json.loads(done.stdout)
            self.assertFalse(answer["intact"])
            self.assertIn(world.run, answer["finding"])
        finally:
            copy.stop_all()
        databases = list((spoilt.work / "aggregator").rglob("*.db"))
        self.assertEqual(len(databases), 1)
        flip_a_bit_in_every_page(databases[0])
        self.expect(world.call("consilium-aggregator", "serve", "--data",
                               spoilt.work / "aggregator"), FAILED)


def main():
    global world
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--source", type=pathlib.Path, required=True)
    parser.add_argument("tests", nargs="*")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="consilium-cli-") as name:
        world = World(arguments, pathlib.Path(name))
        try:
            program = unittest.main(argv=[sys.argv[0], *arguments.tests], exit=False, verbosity=2)
        finally:
            world.federation.stop_all()
    sys.exit(0 if program.result.wasSuccessful() else 1)


main()
