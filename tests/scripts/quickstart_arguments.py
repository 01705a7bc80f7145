"""What scripts/quickstart refuses before it installs, builds or removes anything.

usage: quickstart_arguments.py SOURCE_ROOT
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPTS = pathlib.Path(sys.argv.pop(1)) / "scripts"
HEART_FILES = [f"processed.{name}.data" for name in ("cleveland", "hungarian", "switzerland", "va")]


class QuickstartArguments(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        # Set-up would begin here, and could not: nothing below this folder may be made.
        self.nowhere = self.folder / "dependencies"

    def run_script(self, script, *arguments):
        environment = {k: v for k, v in os.environ.items() if k != "CONSILIUM_DATASETS"}
        environment["CONSILIUM_DEPS_DIR"] = str(self.nowhere)
        return subprocess.run([SCRIPTS / script, *map(str, arguments)], env=environment,
                              capture_output=True, text=True, timeout=30)

    def assert_refused(self, result, *words):
        self.assertEqual(result.returncode, 2, result.stdout + result.stderr)
        self.assertEqual(result.stdout, "")
        self.assertNotIn("unbound variable", result.stderr)
        for word in words:
            self.assertIn(word, result.stderr)
        self.assertFalse(self.nowhere.exists())

    def test_wrong_arguments(self):
        for script in ("quickstart", "quickstart_job"):
            for option in ("--dataset", "--data", "--out"):
                self.assert_refused(self.run_script(script, option), f"{option} needs a value")
                self.assert_refused(self.run_script(script, option, ""), f"{option} needs a value")
            self.assert_refused(self.run_script(script, "--datset", "wdbc"), "--datset")
            self.assert_refused(self.run_script(script, "--dataset", "hearts"), "hearts",
                                "wdbc", "heart-disease-uci")
            self.assert_refused(self.run_script(script, "--data", self.folder / "none"),
                                "no such folder")

    def test_missing_or_other_files(self):
        heart = ("--dataset", "heart-disease-uci")
        self.assert_refused(self.run_script("quickstart", *heart), "archive.ics.uci.edu",
                            *HEART_FILES)
        data = self.folder / "data"
        data.mkdir()
        for name in HEART_FILES[:3]:
            (data / name).write_text("63,1,1\n")
        self.assert_refused(self.run_script("quickstart", *heart, "--data", data), HEART_FILES[3])
        (data / HEART_FILES[3]).write_text("63,1,1\n")
        self.assert_refused(self.run_script("quickstart", *heart, "--data", data),
                            "not the published ones")

    def test_keeps_what_it_did_not_make(self):
        out = self.folder / "thesis"
        out.mkdir()
        self.assertEqual(self.run_script("quickstart_job", "--check", "--out", out).returncode, 0)
        chapter = out / "chapter.tex"
        chapter.write_text("years of work")
        for script in ("quickstart", "quickstart_job"):
            self.assert_refused(self.run_script(script, "--out", out), "not empty", str(out))
            self.assert_refused(self.run_script(script, "--out", chapter), "no folder")
        self.assertEqual(chapter.read_text(), "years of work")

    def test_replaces_its_own(self):
        out = self.folder / "out"
        out.mkdir()
        (out / ".consilium-quickstart").touch()
        (out / "old").touch()
        self.assertEqual(self.run_script("quickstart_job", "--check", "--out", out).returncode, 0)
        self.assertTrue((out / "old").exists())
        # The programs are not there; by then the old folder is gone and the new one is marked.
        self.run_script("quickstart_job", "--out", out, "--bin", self.folder)
        self.assertFalse((out / "old").exists())
        self.assertTrue((out / ".consilium-quickstart").exists())


unittest.main()
