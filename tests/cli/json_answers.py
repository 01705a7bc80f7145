"""--json of the four programs, as a script reads it.

usage: json_answers.py --bin DIR --source DIR [UNITTEST_NAME]...
"""

import json
import pathlib

from programs import Case, DONE, FAILED, SITES, VERSIONS, WRONG_USAGE, main, world


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


main(__name__)
