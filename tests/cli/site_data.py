"""`consilium-agent data import` as a hospital meets it.

usage: site_data.py --bin DIR --source DIR [UNITTEST_NAME]...
"""

from programs import Case, DONE, FAILED, SITES, main, world


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


main(__name__)
