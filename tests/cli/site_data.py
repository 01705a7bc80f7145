"""`consilium-agent data import` as a hospital meets it.

usage: site_data.py --bin DIR --source DIR [UNITTEST_NAME]...
"""

from programs import DEADLINE_S, Case, DONE, FAILED, SITES, main, world
from terminal import killed_when_seen, lines_seen


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

    def on_a_terminal(self, command):
        code, lines = lines_seen([world.bin / command[0], *command[1:]], 80, DEADLINE_S)
        self.assertEqual(code, DONE)
        return lines

    def test_an_import_by_a_running_agent_ends_with_its_command(self):
        """The agent answers the next command when the import is over, with the rows of before."""
        site = SITES[0]
        listing = ["consilium-agent", "data", "list", "--store", world.store(site)]
        before = self.expect(world.call(*listing), DONE).stdout
        table = (world.tables / f"{site}.csv").read_text().splitlines(keepends=True)
        many = world.fresh("many.csv")
        with open(many, "w", encoding="utf-8") as file:  # For seconds.
            file.write(table[0])
            for _ in range(3000):
                file.writelines(table[1:])
        seen = killed_when_seen([world.bin / "consilium-agent", "data", "import", "--store",
                                 world.store(site), "--contract", world.contract, "--csv", many],
                                b"rows", DEADLINE_S)
        self.assertIn(b" rows wall", seen)
        self.assertEqual(self.expect(world.call(*listing), DONE).stdout, before)
        self.assertIn("nothing was imported: whoever asked is gone", world.federation.log(site))

    def test_a_terminal_sees_how_far_an_import_came(self):
        """From an agent that runs, and without one; and nobody else does."""
        for site in SITES:
            command = ["consilium-agent", "data", "import", "--store", world.store(site),
                       "--contract", world.contract, "--csv", world.tables / f"{site}.csv"]
            with self.subTest(site):
                lines = self.on_a_terminal(command)
                self.assertNotEqual(lines, [])
                self.assertRegex(lines[0], r"^importing \[=* *\] +\d+% 1 rows wall ")
                self.assertEqual(world.call(*command).stderr, "")


main(__name__)
