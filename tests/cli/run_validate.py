"""`consilium run validate`: what is wrong with a run config, and where.

usage: run_validate.py --bin DIR --source DIR [UNITTEST_NAME]...
"""

import re

from programs import Case, DONE, VERSIONS, WRONG_USAGE, main, world


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

    def test_so_many_at_once_needs_a_number_a_deadline_and_a_rule_without_rounds(self):
        def variant(preset, concurrency, *more):
            return self.variant(
                ("preset: STALENESS_WEIGHTED_TABLE",
                 f"preset: {preset} concurrency {{ {concurrency} }}"),
                ("  trigger { buffer { updates: 2 } }\n", ""), *more)

        two = "sites_max: 2 deadline_ms: 60000"
        self.expect(world.call("consilium", "run", "validate", variant("FEDBUFF", two)), DONE)
        path = "aggregation.concurrency"
        slow = ("task_duration_min_ms: 0", "task_duration_min_ms: 60000")
        for preset, concurrency, words, *more in [
                ("FEDBUFF", "deadline_ms: 60000", (f"{path}.sites_max", "must be given")),
                ("FEDBUFF", "sites_max: 0 deadline_ms: 9000", (f"{path}.sites_max", "from 1")),
                ("FEDBUFF", "sites_max: 10001 deadline_ms: 9000", (f"{path}.sites_max", "10,000")),
                ("FEDBUFF", "sites_max: 2", (f"{path}.deadline_ms", "must be given")),
                ("FEDBUFF", "sites_max: 2 deadline_ms: -1", ("Expected integer",)),
                ("FEDBUFF", "", (f"{path}.sites_max", f"{path}.deadline_ms")),
                ("FEDBUFF", two, (f"{path}.deadline_ms", "task_duration_min_ms"), slow),
                ("FEDBUFF", two, ("tasks_in_flight_max", path),
                 ("tasks_in_flight_max: 1", "tasks_in_flight_max: 2")),
                ("FEDAVG", two, (path, "sites_per_round")),
                ("FEDCOMPASS", two, (path, "groups")),
                ("ADAPTIVE", two, (path, "fairness")),
                ("ZENO transform { zeno { validator: 'northern' } }", two, (path, "validator"))]:
            with self.subTest(preset=preset, concurrency=concurrency):
                self.refused(variant(preset, concurrency, *more), *words)

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


main(__name__)
