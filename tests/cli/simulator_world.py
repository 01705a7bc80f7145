"""What the tests of consilium-sim's command line begin with: the programs, and a folder with the
table of scripts/wdbc_table, which a scenario of the repository reads."""

import subprocess


class SimulatorWorld:
    def __init__(self, arguments, folder):
        self.bin, self.source, self.folder = arguments.bin, arguments.source, folder
        table = subprocess.run([self.source / "scripts/wdbc_table"], check=True,
                               capture_output=True).stdout
        (folder / "wdbc.csv").write_bytes(table)
        scenario = self.source / "sim/scenarios/wdbc-four-hospitals"
        self.files = [scenario / "run.textproto", scenario / "scenario.textproto"]

    def command(self, *arguments):
        return [str(part) for part in (self.bin / "consilium-sim", *arguments)]
