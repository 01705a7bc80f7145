"""Images in a real federation: the run config and the arrays of a simulation, in the stores of real
agents, over TLS, and the same model bit by bit at the end.

usage: image_federation.py --bin DIR --source DIR [UNITTEST_NAME]...
"""

import gzip
import hashlib
import json
import os
import random
import struct
import zipfile

from programs import Case, DONE, FAILED, SITES, WRONG_USAGE, main, world

SIDE = 8
PATIENTS = {SITES[0]: 45, SITES[1]: 60}  # With two images each.
VERSIONS = 3

IMAGE = 'columns { name: "scan" tensor { shape: [1, 8, 8] min: 0 max: 255 } }\n'
AGE = 'columns { name: "age" number { min: 0 max: 120 } missing { rule: MEAN } }\n'
LABEL = """
label { column: "kind" classes { values: ["bright above", "bright below"] } }
patient_id_column: "patient"
"""

RUN = """
name: "%(name)s"
model { spec_file: "%(spec)s" %(parameters)s }
data {
  contract_file: "%(contract)s"
  split { validation: 0.2 test: 0.2 by: PATIENT seed: 3 }
  standardise: %(standardise)s
}
training {
  optimizer { sgd { learning_rate: 0.1 momentum: 0.9 } }
  batch_examples: 8
  local_steps: 12
}
aggregation { preset: FEDAVG }
stop { versions_max: %(versions)d }
seed: 5
"""

# Two sites: which update comes first changes no sum of two, so a real federation and a virtual one
# come to the same bits.
SCENARIO = """
name: "images"
dataset {
  natural {
    sites { site_id: "%(first)s" file: "%(first)s.npz" }
    sites {
      site_id: "%(second)s"
      arrays {
        column: "scan"
        parts { file: "scans-1.idx.gz" } parts { file: "others.npz" array: "rest" }
      }
      arrays { column: "kind" parts { file: "others.npz" } }
      arrays { column: "age" parts { file: "others.npz" } }
      arrays { column: "patient" parts { file: "others.npz" array: "who" } }
    }
  }
}
sites { task_ms: 1000 }
seed: 1
"""


def npy(kind, shape, items):
    dimensions = "".join(f"{size}, " for size in shape)
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': ({dimensions}), }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + items


def write_npz(path, arrays):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            archive.writestr(f"{name}.npy", npy(*array))


def images_of(site):
    """(images, kinds, ages, patients), an entry an image."""
    draw = random.Random(f"images of {site}")
    images, kinds, ages, patients = [], [], [], []
    for patient in range(PATIENTS[site]):
        below = draw.randrange(2)
        age = draw.choice([float("nan"), float(draw.randrange(20, 90))])
        for _ in range(2):
            images.append(bytes(draw.randrange(120) + 90 * ((y >= SIDE // 2) == bool(below))
                                for y in range(SIDE) for _ in range(SIDE)))
            kinds.append(["bright above", "bright below"][below])
            ages.append(age)
            patients.append(f"{site}-{patient}")
    return images, kinds, ages, patients


def texts(values):
    width = max(map(len, values))
    return (f"<U{width}", (len(values),),
            b"".join(value.ljust(width, "\0").encode("utf-32-le") for value in values))


def write_arrays(folder):
    """Each site's images in one archive; the second site's in an IDX file and an archive with other
    names, too."""
    for site in SITES:
        images, kinds, ages, patients = images_of(site)
        scans = ("|u1", (len(images), SIDE, SIDE), b"".join(images))
        ages = ("<f4", (len(ages),), struct.pack(f"<{len(ages)}f", *ages))
        write_npz(folder / f"{site}.npz", {"scan": scans, "kind": texts(kinds), "age": ages,
                                           "patient": texts(patients)})
    first, rest = images[:50], images[50:]
    header = struct.pack(">HBBIII", 0, 0x08, 3, len(first), SIDE, SIDE)
    (folder / "scans-1.idx.gz").write_bytes(gzip.compress(header + b"".join(first)))
    write_npz(folder / "others.npz", {
        "rest": ("|u1", (len(rest), SIDE, SIDE), b"".join(rest)), "kind": texts(kinds),
        "age": ages, "who": texts(patients)})


def model_id(run, header):
    """The id that these tensors have in `run`, in which images go to the model as they are: a
    model's id is of its run, too (protocol/wire/identity.h)."""
    def number(value):
        return b"n" + struct.pack("<Q", value)

    def text(value):
        return b"t" + struct.pack("<Q", len(value)) + value.encode()

    def digest(value):
        return b"d" + bytes.fromhex(value)

    def all_features(value):
        return b"l" + struct.pack("<Q", SIDE * SIDE) + SIDE * SIDE * struct.pack("<d", value)

    standardisation = hashlib.sha256(text("consilium.standardisation.v1") + all_features(0) +
                                     all_features(1))
    return hashlib.sha256(
        text("consilium.model.v1") + text(run) + number(header["version"]) +
        digest(header["layout_hash"]) + digest(header["payload_root"]) +
        digest(standardisation.hexdigest())).hexdigest()


class Images(Case):
    @classmethod
    def setUpClass(cls):
        cls.folder = world.fresh("images")
        cls.folder.mkdir()
        write_arrays(cls.folder)
        (cls.folder / "scenario.textproto").write_text(
            SCENARIO % {"first": SITES[0], "second": SITES[1]})

    def contract(self, name, columns):
        path = self.folder / f"{name}.contract.textproto"
        path.write_text(f'name: "{name}"\n{columns}{LABEL}')
        return path

    def run_config(self, name, contract, spec, parameters="", standardise="NONE"):
        path = self.folder / f"{name}.textproto"
        path.write_text(RUN % {
            "name": name, "contract": contract.name, "standardise": standardise,
            "spec": world.source / "models/zoo" / spec, "versions": VERSIONS,
            "parameters": parameters})
        return path

    def places(self, site):
        """The words of the scenario, as an agent takes them."""
        if site == SITES[0]:
            return ["--npz", self.folder / f"{site}.npz"]
        archive = self.folder / "others.npz"
        return ["--array", f"scan={self.folder / 'scans-1.idx.gz'},{archive}:rest",
                "--array", f"kind={archive}", "--array", f"age={archive}",
                "--array", f"patient={archive}:who"]

    def imported(self, site, contract, *arguments):
        return world.call("consilium-agent", "data", "import", "--store", world.store(site),
                          "--contract", contract, *self.places(site), *arguments)

    def simulated(self, config):
        done = self.expect(world.call(
            "consilium-sim", "run", config, self.folder / "scenario.textproto", "--data",
            self.folder, "--no-baselines", "--json"), DONE)
        return json.loads(done.stdout)

    def ended(self, config):
        """A real run of it and its report. The second agent runs for as long."""
        federation = world.federation
        federation.start_agent(SITES[1])
        run = federation.submit(config)
        federation.wait_for("the run has ended",
                            lambda: federation.run_report(run)["phase"] == "ended")
        federation.stop(SITES[1])
        return run, federation.run_report(run)

    def check_same(self, contract, config):
        for site in SITES:  # One whose agent runs, one at rest.
            rows = 2 * PATIENTS[site]
            done = self.keys("agent import", self.imported(site, contract, "--json"))
            self.assertEqual((done["rows_stored"], done["rows_refused"]), (rows, 0))
        run, report = self.ended(config)
        simulation = self.simulated(config)
        self.assertEqual(report["result_version"], simulation["result_version"])
        losses = [version["validation_scores"]["log_loss"] for version in report["versions"]]
        self.assertEqual(len(losses), VERSIONS + 1)
        self.assertEqual(losses, [point["validation_loss"] for point in simulation["curve"]])
        self.assertLess(losses[-1], 0.9 * losses[0])  # It has learned.
        return run, simulation

    def exported(self, run):
        out = world.fresh("model.safetensors")
        return json.loads(self.expect(world.admin("model", "export", run, "--out", out, "--json"),
                                      DONE).stdout)

    def test_a_network_learns_images_as_it_does_in_a_simulation(self):
        contract = self.contract("scans", IMAGE)
        run, simulation = self.check_same(contract, self.run_config(
            "scans", contract, "small_cnn.textproto",
            'parameters { key: "side" value: 8 } parameters { key: "channels" value: 2 } '
            'parameters { key: "units" value: 8 }'))
        model = self.exported(run)
        self.assertEqual(model_id(run, model), model["model_id"])
        self.assertEqual(model_id("scans-sim", model), simulation["model_sha256"])
        key, export = world.fresh("key"), world.fresh("run.export")
        self.expect(world.call("consilium", "pki", "recipient", "--out", key), DONE)
        self.expect(world.admin("run", "export", run, "--recipient", f"{key}.pub", "--out",
                                export), DONE)
        data = [word for site in SITES for word in ("--data", f"{site}={self.folder / site}.npz")]
        replay = self.keys("sim replay", world.call(
            "consilium-sim", "replay", export, "--key", key, "--retrain", *data, "--json",
            "--aggregator-key", world.federation.admin_json("status")["signing_key"]))
        self.assertEqual(replay["mismatches"], [])
        self.assertEqual(replay["updates_retrained"], len(SITES) * VERSIONS)

    def test_statistics_are_those_of_a_simulation(self):
        contract = self.contract("scans_and_age", IMAGE + AGE)
        self.check_same(contract, self.run_config(
            "scans-and-age", contract, "softmax_regression.textproto", standardise="FEDERATED"))


class Refusals(Case):
    def setUp(self):
        self.store = world.copy_of_store()
        self.folder = world.fresh("arrays")
        self.folder.mkdir()
        write_arrays(self.folder)
        self.contract = self.folder / "contract.textproto"
        self.contract.write_text(f'name: "scans"\n{IMAGE}{LABEL}')

    def imported(self, *arguments):
        return world.call("consilium-agent", "data", "import", "--store", self.store, "--contract",
                          self.contract, *arguments)

    def test_where_the_rows_are_is_said_once(self):
        archive = self.folder / f"{SITES[0]}.npz"
        for words, arguments in [
                ("--csv", []),
                ("--npz", ["--csv", archive, "--npz", archive]),
                ("--npz", ["--npz", self.folder / "none.npz"]),
                (".npz", ["--npz", self.folder / "scans-1.idx.gz"]),
                ("names no column", ["--array", archive]),
                ("COLUMN=FILE", ["--array", f"scan={archive},"]),
                ("nowhere", ["--array", "scan=nowhere.npz"]),
                ("is there twice", ["--array", f"scan={archive}", "--array", f"scan={archive}"]),
                ("its label and its patients", ["--array", f"scan={archive}"]),
                ("is a tensor", ["--csv", archive])]:
            with self.subTest(arguments):
                self.expect(self.imported(*arguments), WRONG_USAGE, words)

    def test_an_archive_without_a_label_says_what_is_there_instead(self):
        done = self.expect(self.imported("--npz", self.folder / "others.npz"), FAILED,
                           'array "scan" is not there; the file has "rest", "kind", "age", "who"')
        self.assertIn("--array", done.stderr)

    def test_a_pipe_in_the_place_of_a_file_is_refused(self):
        """Nobody writes it: whoever opened it would wait."""
        pipes = [self.folder / name for name in ("pipe.npz", "pipe.idx", "pipe.csv")]
        for pipe in pipes:
            os.mkfifo(pipe)
        for arguments in [["--npz", pipes[0]], ["--csv", pipes[2]],
                          ["--array", f"scan={pipes[1]}", "--array",
                           f"kind={self.folder / 'others.npz'}", "--array",
                           f"patient={self.folder / 'others.npz'}:who"]]:
            with self.subTest(arguments):
                self.expect(self.imported(*arguments), WRONG_USAGE, "is not a regular file")
        self.contract.unlink()
        os.mkfifo(self.contract)
        self.expect(self.imported("--npz", self.folder / f"{SITES[0]}.npz"), WRONG_USAGE,
                    "contract.textproto is not a regular file")

    def test_a_damaged_archive_changes_nothing(self):
        archive = self.folder / f"{SITES[0]}.npz"
        rows = 2 * PATIENTS[SITES[0]]
        self.expect(self.imported("--npz", archive), DONE, f"{rows} stored, 0 refused")
        content = archive.read_bytes()
        damaged = self.folder / "damaged.npz"
        damaged.write_bytes(content[:200] + bytes([content[200] ^ 255]) + content[201:])
        self.expect(self.imported("--npz", damaged), WRONG_USAGE, "is damaged")
        listed = self.expect(world.call("consilium-agent", "data", "list", "--store", self.store),
                             DONE)
        self.assertIn(f"{rows} rows (0 refused)", listed.stdout)
        write_npz(damaged, {"scan": ("|u1", (2, SIDE, SIDE), bytes(2 * SIDE * SIDE)),
                            "kind": texts(["bright above", "dim"]), "patient": texts(["a", "b"])})
        done = self.expect(self.imported("--npz", damaged, "--strict"), FAILED,
                           "nothing was imported")
        self.assertIn("row 2: kind is none of the contract's label values", done.stdout)


main(__name__)
