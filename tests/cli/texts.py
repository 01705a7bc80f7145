"""What the programs say to a person where all goes well, and nothing beside it when piped.

usage: texts.py --bin DIR --source DIR [UNITTEST_NAME]...
"""

import re

from programs import Case, DONE, SITES, VERSIONS, main, world


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


main(__name__)
