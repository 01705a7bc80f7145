"""What the tests of the four programs share: one small, real federation, set up once for each file
with a run that has ended, and a case that reads exit codes, words and --json. What would change the
federation works on a copy.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "faults"))
from federation import wdbc_federation  # noqa: E402

SITES = ["eastern", "northern"]
VERSIONS = 4
DEADLINE_S = 120

DONE, FAILED, WRONG_USAGE, NEEDS_PERSON = 0, 1, 2, 3

# What scripts may rely on: the keys of each --json, the optional ones left out.
JSON_KEYS = {
    "site list": {"sites"},
    "site list sites": {"site_id", "state", "certificate_ends_unix_s", "certificate_sha256",
                        "signing_key_sha256", "last_seen_unix_s", "software_version"},
    "site add": {"site_id", "file", "expires_unix_s", "earlier_join_file_ended"},
    "run validate": {"config", "contract", "spec"},
    "run submit": {"run_id", "plan_hash", "warnings"},
    "run list": {"runs"},
    "run list runs": {"run_id", "phase", "version", "sites", "submitted_unix_s"},
    "run status": {"run_id", "plan_hash", "plan", "phase", "why_ended", "submitted_unix_ns",
                   "ended_unix_ns", "current_version", "result_model_id", "last_model_id",
                   "participants", "versions", "staleness_histogram", "duplicates_absorbed",
                   "refusals"},
    "run status participants": {"site_id", "decision", "refusal", "train_examples",
                                "tasks_granted", "updates_accepted", "updates_included",
                                "updates_not_included", "updates_refused", "influence"},
    "run status versions": {"version", "model_id", "committed_unix_ns", "contributions",
                            "server_learning_rate", "validation", "test", "validation_scores"},
    "run status scores": {"examples", "sites", "log_loss", "accuracy", "balanced_accuracy",
                          "auroc"},
    "run stop": {"had_ended"},
    "run export": {"file", "bytes"},
    "run purge": {"blobs_removed"},
    "model describe": {"name", "input_shape", "layers", "payload_bytes", "parameters",
                       "layout_hash"},
    "status": {"federation", "software_version", "started_unix_s", "journal_entries",
               "journal_head", "main_address", "enrolment_address", "sites_attached", "runs_live"},
    "audit verify": {"intact", "entries", "first_bad_sequence", "finding", "head"},
    "pki init": {"dir", "federation", "root_certificate_sha256"},
    "pki recipient": {"private_key_file", "public_key_file", "public_key"},
    "agent init": {"store", "protection"},
    "agent enrol": {"site", "federation", "certificate_sha256", "signing_key_sha256"},
    "agent import": {"dataset", "rows_read", "rows_stored", "rows_refused", "report_file",
                     "refusals"},
    "agent data list": {"datasets"},
    "agent data list datasets": {"name", "contract", "contract_sha256", "rows", "rows_refused",
                                 "imported"},
    "agent approve": {"approved"},
    "agent runs list": {"runs"},
    "agent policy": {"minimum_count", "all_runs_approved"},
    "agent status": {"site", "federation", "aggregator", "certificate_expired",
                     "certificate_not_after", "certificate_sha256", "running", "attached", "runs"},
    "agent status runs": {"run", "plan_sha256", "state", "tasks", "receipts", "train_examples"},
    "agent audit": {"rows", "head_sha256", "releases"},
    "sim run": {"title", "dataset", "scored", "sites", "federated", "alone", "pooled", "versions",
                "result_version", "updates", "duplicates_absorbed", "staleness", "seconds",
                "wall_seconds", "energy_joules", "clock", "upload_bytes", "metric", "best_score",
                "final_score", "worst_site", "target", "model_sha256", "curve"},
    "sim replay": {"run", "versions", "programs_run", "updates_retrained", "mismatches"},
    "sim what if": {"run", "set", "without", "sites", "approximation", "compared",
                    "model_distance", "why_ended", "recorded", "changed", "trainer",
                    "signer_checked"},
    "sim check": {"held", "refused_configs", "events", "versions", "updates", "program_version",
                  "broken"},
}


class World:
    """The shared federation, its folder, its ended run and the arguments."""

    def begin(self, arguments, folder):
        self.bin, self.source, self.folder = arguments.bin, arguments.source, folder
        self.federation, self.run_config = wdbc_federation(self.bin, self.source, folder, SITES,
                                                           VERSIONS)
        self.contract = self.source / "models/zoo/contracts/wdbc.contract.textproto"
        self.tables = folder / "tables"
        self.copies = 0
        federation = self.federation
        federation.start_aggregator()
        for site in SITES:
            federation.start_agent(site)
        self.run = federation.submit(self.run_config)
        federation.wait_for("the run has ended",
                            lambda: federation.run_report(self.run)["phase"] == "ended")
        # One agent goes on running, the other's store is at rest.
        federation.stop(SITES[1])

    def call(self, program, *arguments, stdin=""):
        return subprocess.run([self.bin / program, *map(str, arguments)], input=stdin,
                              capture_output=True, text=True, timeout=DEADLINE_S)

    def admin(self, *arguments):
        return self.call("consilium", "--data", self.federation.work / "aggregator", *arguments)

    def start_first_agent(self):
        federation = self.federation
        federation.start_agent(SITES[0])
        federation.wait_for("the agent answers",
                            lambda: federation.site_status(SITES[0])["running"])

    def store(self, site):
        return self.federation.work / site / "store"

    def fresh(self, name):
        self.copies += 1
        return self.folder / f"{self.copies}-{name}"

    def copy_of_store(self):
        """A store at rest with its key, which a case may spoil."""
        site = self.fresh("site")
        shutil.copytree(self.federation.work / SITES[1], site)
        location = site / "store/kek.location"
        location.write_text(f"{site}/store-key/site.kek\n")
        return site / "store"


world = World()


class Case(unittest.TestCase):
    def expect(self, done, code, *words):
        """The exit code, and what is said to a person: on stderr where it did not work."""
        said = done.stdout if code == DONE else done.stderr
        self.assertEqual(done.returncode, code, f"{done.args}\n{done.stdout}{done.stderr}")
        for word in words:
            self.assertIn(word, said, done.args)
        if code != DONE:
            self.assertNotEqual(done.stderr.strip(), "", done.args)
        return done

    def keys(self, name, done):
        self.expect(done, DONE)
        self.assertEqual(done.stderr, "", done.args)
        answer = json.loads(done.stdout)
        self.check_keys(name, answer)
        return answer

    def check_keys(self, name, value):
        self.assertLessEqual(JSON_KEYS[name], set(value), name)


def main(module):
    """Runs the cases of `module` in a federation: usage FILE --bin DIR --source DIR [NAME]..."""
    parser = argparse.ArgumentParser(description=sys.modules[module].__doc__)
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--source", type=pathlib.Path, required=True)
    parser.add_argument("tests", nargs="*")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="consilium-cli-") as name:
        world.begin(arguments, pathlib.Path(name))
        try:
            program = unittest.main(module, argv=[sys.argv[0], *arguments.tests], exit=False,
                                    verbosity=2)
        finally:
            world.federation.stop_all()
    sys.exit(0 if program.result.wasSuccessful() else 1)
