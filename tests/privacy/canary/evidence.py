"""Gathers what a federation leaves behind: its processes run under a recorder, copies of the stores
are taken while it runs, sealed things are opened, and all of it becomes one corpus to search."""

import hashlib
import os
import shutil
import signal
import stat
import subprocess

import items
from federation import Federation
from patients import HOME, SITES

READABLE = {".log", ".json", ".html", ".safetensors"}


def copy_stores(work, to):
    """Those of the aggregator and of all sites; sockets are no files."""
    def sockets(folder, names):
        return [name for name in names
                if stat.S_ISSOCK(os.lstat(os.path.join(folder, name)).st_mode)]
    for name in ["aggregator", *SITES]:
        shutil.copytree(work / name, to / name, symlinks=True, ignore=sockets)


class RecordedFederation(Federation):
    """Every program runs under the recorder, and what the tools print is kept."""

    def __init__(self, arguments, folder):
        super().__init__(arguments.bin, folder / "federation")
        self.folder = folder
        self.records = folder / "records"
        for each in (self.records, folder / "tmp", folder / "out"):
            each.mkdir()
        # Inherited by the programs; this interpreter loads nothing of it.
        os.environ.update(LD_PRELOAD=str(arguments.recorder), GRPC_VERBOSITY="DEBUG",
                          CONSILIUM_TEST_RECORDS=str(self.records), TMPDIR=str(folder / "tmp"))

    def call(self, program, *arguments, check=True):
        done = super().call(program, *arguments, check=check)
        with open(self.folder / "out" / f"{program}.log", "a", encoding="utf-8") as log:
            log.write(f"{' '.join(map(str, arguments))}\n{done.stdout}{done.stderr}")
        return done

    def snapshot(self, name):
        for process in self.processes.values():
            process.send_signal(signal.SIGSTOP)
        copy_stores(self.work, self.folder / "snapshots" / name)
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)

    def wait_until_dead(self, name):
        self.wait_for(f"the failpoint kills {name}", lambda: self.died(name))


def ask_everything(federation, run):
    """What operators ask, here and at the hospital of the planted patients; the answers are kept
    in out/."""
    for question in (["status"], ["site", "list"], ["run", "list"], ["run", "status", run],
                     ["audit", "verify"]):
        federation.admin(*question)
    store = federation.work / HOME / "store"
    for question in (["status"], ["data", "list"], ["audit", "verify"]):
        federation.call("consilium-agent", *question, "--store", store)
        federation.call("consilium-agent", *question, "--store", store, "--json")


def export_run(federation, run):
    """Its report, its journal for a recipient of ours, and its model, into out/."""
    out = federation.folder / "out"
    (out / f"{run}.json").write_text(federation.admin("--json", "run", "status", run).stdout)
    key = federation.work / "reader.key"
    if not key.exists():
        federation.call("consilium", "pki", "recipient", "--out", key)
    federation.admin("run", "export", run, "--recipient", f"{key}.pub",
                     "--out", out / f"{run}.export")
    federation.admin("model", "export", run, "--out", out / f"{run}.safetensors")


def open_stores(arguments, federation):
    """Decrypts all that lies sealed into decoded/, from copies."""
    decoded = federation.folder / "decoded"
    shutil.rmtree(decoded, ignore_errors=True)
    decoded.mkdir()
    states = {"end": federation.work}
    states.update((path.name, path) for path in (federation.folder / "snapshots").iterdir())
    for name, state in states.items():
        copy = federation.folder / "copy"
        copy_stores(state, copy)
        aggregator = copy / "aggregator"
        stores = {"aggregator": (aggregator / "store/aggregator.db", aggregator / "keys/kek",
                                 aggregator / "store/blobs")}
        stores.update((site, (copy / site / "store/site.db", copy / site / "store-key/site.kek",
                              copy / site / "store/blobs")) for site in SITES)
        for owner, paths in stores.items():
            subprocess.run([arguments.open_stores, "store", *paths, decoded / f"{name} {owner}"],
                           check=True)
        shutil.rmtree(copy)
    for export in (federation.folder / "out").glob("*.export"):
        subprocess.run([arguments.open_stores, "export", export, federation.work / "reader.key",
                        decoded / export.name], check=True)


def file_items(root, folders):
    """Every file once, and the names of all."""
    seen, names = set(), []
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            names.append(str(path.relative_to(root)))
            if not path.is_file() or path.is_symlink():
                continue
            content = path.read_bytes()
            digest = hashlib.sha256(content).digest()
            if digest not in seen:
                seen.add(digest)
                yield f"file {names[-1]}", content, path.suffix in READABLE
    yield "names of files", "\n".join(names).encode(), True


def corpus_of(root):
    """(name, content, is_one) of all evidence below `root`."""
    folders = ["federation", "snapshots", "tmp", "out"]
    corpus = list(file_items(root, [each for each in folders if (root / each).is_dir()]))
    for path in sorted((root / "decoded").iterdir()):
        corpus += [(f"decoded {path.name}: {name}", content, True)
                   for name, content in items.read(path)]
    corpus += items.decoded(items.read_calls(root / "records"))
    return corpus
