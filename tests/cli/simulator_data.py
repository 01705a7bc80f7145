"""`consilium-sim data list`, `fetch` and `split`, and runs over a data set by its name, against a
file server that does what servers do.

usage: simulator_data.py --bin DIR --source DIR [UNITTEST_NAME]...

What is fetched is the table of scripts/setup's scikit-learn, so no network is needed.
"""

import argparse
import hashlib
import json
import os
import pathlib
import pty
import ssl
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from file_server import CUT_BYTES, FileServer  # noqa: E402

DEADLINE_S = 120
DONE, FAILED, WRONG_USAGE = 0, 1, 2
RAW = "breast_cancer.csv"
TABLE = "wdbc.csv"

world = None  # The programs, and what the server serves.


class World:
    def __init__(self, arguments):
        self.bin, self.source = arguments.bin, arguments.source
        deps = pathlib.Path(os.environ.get("CONSILIUM_DEPS_DIR",
                                           pathlib.Path.home() / ".cache/consilium"))
        self.raw = (deps / "site-packages/sklearn/datasets/data" / RAW).read_bytes()
        self.table = subprocess.run([self.source / "scripts/wdbc_table"], check=True,
                                    capture_output=True).stdout


class Case(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)
        self.into = self.folder / "home/consilium/datasets"
        self.environment = {**os.environ, "XDG_DATA_HOME": str(self.folder / "home")}
        self.environment.pop("CONSILIUM_DATASETS", None)
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            self.environment.pop(name, None)

    def call(self, code, *arguments, words=()):
        done = subprocess.run([world.bin / "consilium-sim", *map(str, arguments)],
                              capture_output=True, text=True, timeout=DEADLINE_S,
                              env=self.environment)
        self.assertEqual(done.returncode, code, f"{done.args}\n{done.stdout}{done.stderr}")
        for word in words:
            self.assertIn(word, done.stdout if code == DONE else done.stderr)
        if code == DONE:
            self.assertEqual(done.stderr, "", done.args)
        return done.stdout

    def serve(self, **more):
        server = FileServer({RAW: world.raw}, **more)
        server.__enter__()
        self.addCleanup(server.__exit__)
        return server

    def fetch(self, code, origin, words=()):
        return self.call(code, "data", "fetch", "wdbc", "--from", origin, words=words)

    def file(self, name):
        return self.into / "wdbc" / name

    def part(self):
        return self.file(RAW + ".part")

    def expect_whole(self):
        self.assertEqual(self.file(RAW).read_bytes(), world.raw)
        self.assertEqual(self.file(TABLE).read_bytes(), world.table)
        self.assertEqual(sorted(path.name for path in self.file("").iterdir()), [RAW, TABLE])

    def damage_table(self):
        """Another label in the last row."""
        self.assertTrue(world.table.endswith(b",0\n"))
        self.file(TABLE).write_bytes(world.table[:-2] + b"1\n")

    def expect_nothing(self):
        self.assertEqual(list(self.file("").iterdir()), [])


# --- fetch ----------------------------------------------------------------------------------------


class Fetch(Case):
    def test_a_whole_file_is_fetched_once(self):
        server = self.serve()
        self.fetch(DONE, server.address("good"), ["1 fetched", "1 made"])
        self.expect_whole()
        self.fetch(DONE, server.address("good"), ["2 there already"])
        self.assertEqual(server.asked, [("good", None)])

    def test_a_damaged_file_is_fetched_again(self):
        server = self.serve()
        self.fetch(DONE, server.address("good"))
        self.file(RAW).write_bytes(world.raw[:-1] + b"x")
        self.file(TABLE).unlink()
        self.fetch(DONE, server.address("good"), ["1 fetched", "1 made"])
        self.expect_whole()

    def test_answers_that_are_cut_off_are_gone_on_with(self):
        server = self.serve()
        self.fetch(DONE, server.address("cut"))
        self.expect_whole()
        self.assertEqual(server.asked, [("cut", None), ("cut", f"bytes={CUT_BYTES}-"),
                                        ("cut", f"bytes={2 * CUT_BYTES}-")])

    def test_the_next_command_goes_on_where_the_last_was_cut_off(self):
        server = self.serve()
        self.fetch(FAILED, server.address("cut-once"),
                   ["503", f"{CUT_BYTES} of {len(world.raw)} bytes"])
        self.assertEqual(self.part().read_bytes(), world.raw[:CUT_BYTES])
        self.assertFalse(self.file(RAW).exists())
        server.heal()
        server.asked.clear()
        self.fetch(DONE, server.address("cut-once"))
        self.expect_whole()
        self.assertEqual(server.asked, [("cut-once", f"bytes={CUT_BYTES}-")])

    def test_a_server_without_ranges_sends_all_again(self):
        server = self.serve()
        self.fetch(FAILED, server.address("cut-once"))
        self.fetch(DONE, server.address("no-ranges"))
        self.expect_whole()

    def test_a_part_of_another_file_is_thrown_away(self):
        for part in (b"of another file", world.raw[:-1] + b"x", b"0" * (len(world.raw) + 1)):
            with self.subTest(len(part)):
                server = self.serve()
                self.file("").mkdir(parents=True, exist_ok=True)
                for path in self.file("").iterdir():
                    path.unlink()
                self.part().write_bytes(part)
                self.fetch(DONE, server.address("good"))
                self.expect_whole()

    def test_a_range_from_another_byte_is_refused(self):
        server = self.serve()
        self.fetch(FAILED, server.address("cut-once"))
        self.fetch(FAILED, server.address("other-range"), ["another byte", str(CUT_BYTES)])
        self.assertEqual(self.part().stat().st_size, CUT_BYTES)

    def test_wrong_bytes_get_no_name(self):
        server = self.serve()
        sha256 = hashlib.sha256(world.raw).hexdigest()
        self.fetch(FAILED, server.address("wrong"), ["SHA-256", sha256])
        self.expect_nothing()

    def test_no_more_is_taken_than_the_file_has(self):
        for how in ("large", "endless"):
            with self.subTest(how):
                self.fetch(FAILED, self.serve().address(how), [f"more than the {len(world.raw)}"])
                if self.part().exists():
                    self.assertLessEqual(self.part().stat().st_size, len(world.raw))
                self.assertFalse(self.file(RAW).exists())

    def test_it_is_led_on_but_not_to_files_and_not_for_ever(self):
        server = self.serve()
        self.fetch(FAILED, server.address("to-file"), ["file", "not supported"])
        self.fetch(FAILED, server.address("round"), ["redirects"])
        self.assertLessEqual(len([how for how, _ in server.asked if how == "round"]), 6)
        self.expect_nothing()
        self.fetch(DONE, server.address("moved"))
        self.expect_whole()

    def test_what_is_not_there_says_so(self):
        server = self.serve()
        server.files.clear()
        self.fetch(FAILED, server.address("good"), ["404", RAW])
        self.fetch(FAILED, self.folder / "nowhere", ["nowhere", "no folder"])
        self.fetch(FAILED, self.folder, [RAW, "No such file"])

    def test_nobody_is_trusted_without_a_certificate(self):
        key, certificate = self.folder / "key.pem", self.folder / "certificate.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj",
                        "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key,
                        "-out", certificate], check=True, capture_output=True)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, key)
        server = self.serve(tls=tls)
        self.fetch(FAILED, server.address("good"), ["certificate"])
        self.assertEqual(server.asked, [])
        self.expect_nothing()

    def test_folders_and_packages_are_copied_from(self):
        mirror = self.folder / "mirror"
        (mirror / "wdbc").mkdir(parents=True)
        (mirror / "wdbc" / RAW).write_bytes(world.raw)
        for origin in (mirror, mirror / "wdbc", f"file://{mirror}"):
            with self.subTest(origin):
                into = self.folder / f"into-{len(str(origin))}"
                self.call(DONE, "data", "fetch", "wdbc", "--from", origin, "--into", into)
                self.assertEqual((into / "wdbc" / TABLE).read_bytes(), world.table)
        self.call(DONE, "data", "fetch", "wdbc", "digits")
        self.expect_whole()
        self.assertEqual(len((self.into / "digits/digits.csv").read_text().splitlines()), 1797)
        (mirror / "wdbc" / RAW).write_bytes(world.raw[:-1])
        self.call(FAILED, "data", "fetch", "wdbc", "--from", mirror, "--into", self.folder / "new",
                  words=[f"{len(world.raw)} bytes"])

    def test_wrong_usage_is_2(self):
        self.call(WRONG_USAGE, "data", "fetch", words=["NAMES"])
        self.call(WRONG_USAGE, "data", "fetch", "wdbc", "no-such-set", words=["eicu-demo"])
        self.assertFalse(self.into.exists())
        self.fetch(WRONG_USAGE, "ftp://127.0.0.1/x", ["https, http or file"])
        self.call(FAILED, "data", "fetch", "eicu-demo", words=["no address", "eth-mds", "--from"])

    def test_a_terminal_sees_a_bar(self):
        server = self.serve()
        master, slave = pty.openpty()
        done = subprocess.run([world.bin / "consilium-sim", "data", "fetch", "wdbc", "--from",
                               server.address("good")], stderr=slave, stdout=subprocess.PIPE,
                              timeout=DEADLINE_S, env=self.environment)
        os.close(slave)
        seen = os.read(master, 65536)
        os.close(master)
        self.assertEqual(done.returncode, DONE)
        self.assertIn(b"wdbc [", seen)


# --- list -----------------------------------------------------------------------------------------


class List(Case):
    def states(self, code=DONE, **words):
        listed = self.call(code, "data", "list", "--json", **words)
        return {dataset["name"]: dataset for dataset in json.loads(listed)["datasets"]}

    def test_what_is_where(self):
        before = self.states()
        self.assertEqual(before["wdbc"]["state"], "missing")
        self.assertGreaterEqual(len(before), 11)
        for dataset in before.values():
            for key in ("licence", "source", "citation", "sites_told_by", "files"):
                self.assertTrue(dataset[key], f"{dataset['name']}: {key}")
            if dataset["contract"]:
                self.assertTrue((world.source / dataset["contract"]).exists(), dataset["name"])
            else:
                self.assertTrue(dataset["no_table"], dataset["name"])
        self.fetch(DONE, self.serve().address("good"))
        after = self.states()["wdbc"]
        self.assertEqual((after["state"], after["folder"]), ("present", str(self.into / "wdbc")))
        table = self.call(DONE, "data", "list")
        [line] = [line for line in table.splitlines() if line.startswith("wdbc ")]
        self.assertIn("569", line)
        self.assertIn("present", line)
        self.call(DONE, "data", "list", "wdbc", "eicu-demo", words=["ODbL", "hospitalid", "174"])
        self.call(WRONG_USAGE, "data", "list", "no-such-set", words=["no-such-set"])

    def test_other_bytes_are_named(self):
        self.fetch(DONE, self.serve().address("good"))
        self.damage_table()
        listed = self.call(FAILED, "data", "list", "wdbc", words=[TABLE, "SHA-256"])
        self.assertIn("damaged", listed)


# --- runs -----------------------------------------------------------------------------------------


class Runs(Case):
    def setUp(self):
        super().setUp()
        self.config = world.source / "sim/scenarios/wdbc-four-hospitals/run.textproto"

    def scenario(self, dataset):
        path = self.folder / "scenario.textproto"
        path.write_text(f'name: "x" dataset {{ {dataset} }} sites {{ task_ms: 1000 }} seed: 1\n')
        return path

    def preview(self, dataset, *arguments):
        told = self.call(DONE, "data", "split", self.config, self.scenario(dataset), "--preview",
                         "--json", *arguments)
        return json.loads(told)["sites"]

    def test_a_name_is_enough(self):
        dataset = 'name: "wdbc" partitioned { sites: 3 }'
        self.call(FAILED, "run", self.config, self.scenario(dataset),
                  words=["consilium-sim data fetch wdbc", "wdbc.csv", str(self.into)])
        self.fetch(DONE, self.serve().address("good"))
        sites = self.preview(dataset)
        self.assertEqual((len(sites), sum(site["rows"] for site in sites)), (3, 569))
        run = self.call(DONE, "run", self.config, self.scenario(dataset), "--no-baselines", "--set",
                        "stop.versions_max=2", "--json")
        self.assertEqual(len(json.loads(run)["sites"]), 3)
        # The same rows as by the file's name.
        plain = self.preview('partitioned { file: "wdbc.csv" sites: 3 }', "--data", self.file(""))
        self.assertEqual(sites, plain)

    def test_it_is_looked_for_in_several_folders(self):
        dataset = 'name: "wdbc" partitioned { sites: 3 }'
        for folder in ("given", "given-too/wdbc", "shared/wdbc"):
            (self.folder / folder).mkdir(parents=True)
            (self.folder / folder / TABLE).write_bytes(world.table)
        self.assertEqual(len(self.preview(dataset, "--data", self.folder / "given")), 3)
        self.assertEqual(len(self.preview(dataset, "--data", self.folder / "given-too")), 3)
        self.call(FAILED, "data", "split", self.config, self.scenario(dataset), "--preview")
        self.environment["CONSILIUM_DATASETS"] = str(self.folder / "shared")
        self.assertEqual(len(self.preview(dataset)), 3)

    def test_another_file_of_that_name_is_refused(self):
        self.fetch(DONE, self.serve().address("good"))
        self.damage_table()
        self.call(FAILED, "run", self.config,
                  self.scenario('name: "wdbc" partitioned { sites: 3 }'), words=["SHA-256", TABLE])

    def test_what_is_made_of_signals_and_motifs_is_a_table(self):
        here = pathlib.Path(os.environ.get("CONSILIUM_DATASETS", "/nowhere"))
        for name, scenario, rows in (("ecg-ptbxl", "ecg-ptbxl-four-sites", [249, 161, 17, 61]),
                                     ("dna-tal1", "dna-tal1-four-sites", [6400, 4800, 3200, 1600])):
            with self.subTest(name):
                if not (here / name).is_dir():
                    self.skipTest(f"{name} is not in $CONSILIUM_DATASETS")
                self.call(DONE, "data", "fetch", name, "--from", here, words=["SHA-256 checked"])
                self.call(DONE, "data", "list", name, words=["present", str(sum(rows))])
                folder = world.source / "sim/scenarios" / scenario
                told = self.call(DONE, "data", "split", folder / "run.textproto",
                                 folder / "scenario.textproto", "--preview", "--json")
                self.assertEqual([site["rows"] for site in json.loads(told)["sites"]], rows)

    def test_what_can_not_be_is_2(self):
        for dataset, words in [
                ('name: "wdbc"', ["no hospitals", "partitioned"]),
                ('name: "wdbx" partitioned { sites: 3 }', ["wdbx", "wdbc"]),
                ('name: "wdbc" partitioned { sites: 3 file: "other.csv" }', ["other.csv"]),
                ('name: "wdbc" partitioned { sites: 3 file: "/etc/hostname" }', ["/etc/hostname"]),
                ('name: "heart-disease-uci" partitioned { sites: 3 }', ["a file a site"]),
                ('name: "dna-tal1"', ["no hospitals", "partitioned"])]:
            with self.subTest(dataset):
                self.call(WRONG_USAGE, "run", self.config, self.scenario(dataset), words=words)


def main():
    global world
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--source", type=pathlib.Path, required=True)
    arguments, rest = parser.parse_known_args()
    world = World(arguments)
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)


if __name__ == "__main__":
    main()
