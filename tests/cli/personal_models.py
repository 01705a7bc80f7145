"""The model that a run leaves each hospital of its own (FEDPER, DITTO): `consilium-agent model
export` in a real federation, and what `consilium-sim run --out` writes.

usage: personal_models.py --bin DIR --source DIR [UNITTEST_NAME]...
"""

import json
import stat
import struct
import subprocess

from programs import Case, DONE, FAILED, SITES, VERSIONS, WRONG_USAGE, main, world

BARRIER = "  trigger { buffer { updates: 2 } }\n"
OWN = "logit"


def tensors(path):
    """Name to values of a safetensors file of F32, and its metadata; not by our own reader."""
    content = path.read_bytes()
    [length] = struct.unpack("<Q", content[:8])
    header = json.loads(content[8:8 + length])
    metadata = header.pop("__metadata__")
    data = content[8 + length:]
    values = {}
    for name, place in header.items():
        begin, end = place["data_offsets"]
        values[name] = struct.unpack(f"<{(end - begin) // 4}f", data[begin:end])
    return values, metadata


def config(preset):
    text = world.run_config.read_text()
    assert BARRIER in text
    text = text.replace("preset: STALENESS_WEIGHTED_TABLE", f"preset: {preset}")
    text = text.replace(BARRIER, "")
    if preset == "FEDPER":
        text = text.replace("zoo/logistic_regression", "zoo/mlp")
        text = text.replace("training {", f'training {{\n  personal {{ layers: "{OWN}" }}')
    path = world.fresh(f"{preset.lower()}.textproto")
    path.write_text(text)
    return path


class Exported(Case):
    def export(self, site, run, out, *arguments):
        return world.call("consilium-agent", "model", "export", run, "--store", world.store(site),
                          "--out", out, *arguments)

    def finished(self, preset):
        federation = world.federation
        if federation.site_status(SITES[1])["running"]:
            federation.stop(SITES[1])
        run = federation.submit(config(preset))
        # Before anything is there: nothing is written, and the reason is told.
        out = world.fresh("early")
        self.expect(self.export(SITES[1], run, out), FAILED, "no such run was offered here")
        federation.wait_for("the run is offered", lambda: self.state(SITES[0], run))
        self.expect(self.export(SITES[0], run, out), FAILED, "no version includes an update of it")
        self.assertFalse(out.exists())
        federation.start_agent(SITES[1])
        federation.wait_for(
            "the run has ended",
            lambda: federation.run_report(run)["phase"] == "ended" and all(
                self.state(site, run) == "ended" for site in SITES))
        return run

    def state(self, site, run):
        runs = world.federation.site_status(site)["runs"]
        return next((one["state"] for one in runs if one["run"] == run), "")

    def models(self, run):
        """Each site's file, as a running agent writes it; the second again at rest."""
        files = {}
        for site in SITES:
            files[site] = world.fresh("own.safetensors")
            told = json.loads(self.expect(self.export(site, run, files[site], "--json"),
                                          DONE).stdout)
            self.assertEqual((told["run"], told["site"], told["file"]),
                             (run, site, str(files[site])))
            self.assertEqual(told["bytes"], files[site].stat().st_size)
            self.assertTrue(1 <= told["kept_with"] <= VERSIONS, told)
            self.assertEqual(stat.S_IMODE(files[site].stat().st_mode), 0o600)
        said = [line for line in world.federation.log(SITES[0]).splitlines() if run in line]
        self.assertIn(f"of the run {run}, of version {VERSIONS}, was exported", said[-1])
        self.assertNotIn(str(world.folder), said[-1])
        before = files[SITES[1]].read_bytes()
        self.expect(self.export(SITES[1], run, files[SITES[1]]), FAILED, "exists")
        self.assertEqual(files[SITES[1]].read_bytes(), before)
        world.federation.stop(SITES[1])
        again = world.fresh("again.safetensors")
        self.expect(self.export(SITES[1], run, again), DONE, f"{again}: this site's own model")
        self.assertEqual(again.read_bytes(), before)
        # Each of them is in the journal, and none of those that were refused.
        for site, exports in zip(SITES, (1, 2)):
            audit = json.loads(self.expect(world.call(
                "consilium-agent", "audit", "verify", "--store", world.store(site), "--json"),
                DONE).stdout)
            told = [{key: change.get(key) for key in ("run", "version")}
                    for change in audit["policy"] if change["change"] == "MODEL_EXPORTED"
                    and change["run"] == run]
            self.assertEqual(told, exports * [{"run": run, "version": VERSIONS}])
        return {site: tensors(file) for site, file in files.items()}

    def shared(self, run):
        out = world.fresh("shared.safetensors")
        self.expect(world.admin("model", "export", run, "--out", out), DONE)
        return tensors(out)[0]

    def test_own_layers_beside_the_shared_ones(self):
        run = self.finished("FEDPER")
        shared = self.shared(run)
        owned = self.models(run)
        for site, (values, metadata) in owned.items():
            self.assertEqual((metadata["run"], metadata["site"], metadata["spec"]),
                             (run, site, "mlp"))
            self.assertEqual(values.keys(), shared.keys())
            for name in values:
                if name.startswith(OWN):
                    self.assertNotEqual(values[name], shared[name])
                else:
                    self.assertEqual(values[name], shared[name])
        first, second = (values for values, _ in owned.values())
        self.assertNotEqual(first[f"{OWN}.weight"], second[f"{OWN}.weight"])

    def test_a_model_beside_the_shared_one(self):
        run = self.finished("DITTO")
        shared = self.shared(run)
        (first, _), (second, _) = self.models(run).values()
        self.assertEqual(first.keys(), shared.keys())
        for name in shared:
            self.assertNotEqual(first[name], shared[name])
            self.assertNotEqual(first[name], second[name])

    def test_where_there_is_none(self):
        out = world.fresh("none.safetensors")
        self.expect(self.export(SITES[0], world.run, out), FAILED, "FEDPER, FEDBN and DITTO",
                    "consilium model export")
        self.expect(self.export(SITES[0], "no-such-run", out), FAILED, "consilium-agent runs list")
        self.expect(world.call("consilium-agent", "model", "export", world.run, "--store",
                               world.store(SITES[0])), WRONG_USAGE, "--out")
        self.assertFalse(out.exists())


    def test_the_file_is_the_callers(self):
        """A service sees other folders than whoever asks it (PrivateTmp=): here by a path that is
        another file for each process."""
        run = self.finished("FEDPER")
        for site in SITES:
            folder = world.fresh("here")
            folder.mkdir()
            done = subprocess.run([world.bin / "consilium-agent", "model", "export", run, "--store",
                                   world.store(site), "--out", "/proc/self/cwd/own.safetensors"],
                                  cwd=folder, capture_output=True, text=True)
            self.expect(done, DONE)
            self.assertEqual([file.name for file in folder.iterdir()], ["own.safetensors"])

    def test_where_no_file_can_be(self):
        run = self.finished("FEDPER")
        for out, why in ((world.folder / ("x" * 300), "File name too long"),
                         (world.folder / "nowhere/own.safetensors", "No such file"),
                         (world.run_config / "own.safetensors", "Not a directory")):
            for site in SITES:
                self.expect(self.export(site, run, out), FAILED, why)
        for site in SITES:
            self.assertTrue(world.federation.site_status(site)["running"])


class Simulated(Case):
    def run_with(self, preset, *arguments):
        out = world.fresh("out")
        scenario = world.source / "sim/scenarios/wdbc-four-hospitals/scenario.textproto"
        self.expect(world.call("consilium-sim", "run", config(preset), scenario, "--data",
                               world.folder, "--no-baselines", "--out", out, *arguments), DONE)
        return out

    def test_each_hospitals_model_is_written(self):
        out = self.run_with("FEDPER", "--seeds", "1..2")
        for seed in (1, 2):
            folder = out / f"personal/run-seed-{seed}"
            files = {file.name: tensors(file) for file in folder.iterdir()}
            self.assertEqual(set(files), {f"{site}.safetensors" for site in (
                "northern", "eastern", "southern", "western")})
            one, other = (files[f"{site}.safetensors"][0] for site in ("northern", "eastern"))
            self.assertNotEqual(one[f"{OWN}.weight"], other[f"{OWN}.weight"])
            self.assertEqual(one["hidden1.weight"], other["hidden1.weight"])

    def test_a_shared_model_is_nobodys_own(self):
        self.assertFalse((self.run_with("FEDAVG") / "personal").exists())


main(__name__)
