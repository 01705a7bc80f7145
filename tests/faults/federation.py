"""A federation of real processes on this machine, for tests: certificate authority, aggregator,
agents, each in a folder below one work folder. Nothing is mocked.

Waiting is always on a condition that the programs report (an answer, an exit, a state), with a
deadline that only a defect reaches.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time

DEADLINE_S = 120


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Failed(Exception):
    pass


def wdbc_federation(bin_folder, source, folder, sites, versions):
    """Hospitals out of the WDBC table's four, enrolled, with data, stopped; and a run config whose
    outcome hangs on the order of arrivals alone."""
    scenario = source / "sim/scenarios/wdbc-four-hospitals"
    table = folder / "wdbc.csv"
    table.write_bytes(subprocess.run([source / "scripts/wdbc_table"], check=True,
                                     capture_output=True).stdout)
    subprocess.run([bin_folder / "consilium-sim", "data", "split", scenario / "run.textproto",
                    scenario / "scenario.textproto", "--data", folder, "--out", folder / "tables"],
                   check=True, capture_output=True)
    text = (scenario / "run.textproto").read_text()
    text = text.replace("../../../models", str(source / "models"))
    text = re.sub(r"task_duration_min_ms: \d+",
                  "task_duration_min_ms: 0\n  tasks_in_flight_max: 1", text)
    text = re.sub(r"versions_max: \d+", f"versions_max: {versions}", text)
    run_config = folder / "run.textproto"
    run_config.write_text(text)
    federation = Federation(bin_folder, folder / "template")
    federation.create({site: folder / "tables" / f"{site}.csv" for site in sites},
                      source / "models/zoo/contracts/wdbc.contract.textproto")
    return federation, run_config


class Federation:
    """Layout below `work`: pki, aggregator, SITE/store, logs."""

    def __init__(self, bin_folder, work):
        self.bin = pathlib.Path(bin_folder)
        self.work = pathlib.Path(work)
        self.logs = self.work / "logs"
        self.processes = {}
        self.aggregator_arguments = []
        self.agent_arguments = {}

    # --- set-up -----------------------------------------------------------------------------

    def call(self, program, *arguments, check=True):
        done = subprocess.run([self.bin / program, *map(str, arguments)], capture_output=True,
                              text=True, timeout=DEADLINE_S)
        if check and done.returncode != 0:
            raise Failed(f"{program} {' '.join(map(str, arguments))}: exit {done.returncode}\n"
                         f"{done.stdout}{done.stderr}")
        return done

    def admin(self, *arguments, check=True):
        return self.call("consilium", "--data", self.work / "aggregator", *arguments, check=check)

    def admin_json(self, *arguments):
        return json.loads(self.admin("--json", *arguments).stdout)

    def create(self, tables, contract):
        """`tables`: site id to CSV file. Leaves everything stopped."""
        self.work.mkdir(mode=0o700)
        self.logs.mkdir()
        self.call("consilium", "pki", "init", "--dir", self.work / "pki", "--federation", "test")
        self.call("consilium-aggregator", "init", "--data", self.work / "aggregator",
                  "--pki", self.work / "pki", "--federation", "test",
                  "--address", f"127.0.0.1:{free_port()}",
                  "--enrolment-address", f"127.0.0.1:{free_port()}")
        self.start_aggregator()
        for site, table in tables.items():
            (self.work / site).mkdir(mode=0o700)
            join = self.work / site / "site.join"
            store = self.work / site / "store"
            self.admin("site", "add", site, "--out", join)
            self.call("consilium-agent", "init", "--store", store)
            self.call("consilium-agent", "enrol", "--store", store, "--join", join)
            self.call("consilium-agent", "data", "import", "--store", store, "--contract", contract,
                      "--csv", table)
            self.call("consilium-agent", "approve", "--store", store, "--all-runs")
        self.stop_all()

    def copy_to(self, work):
        """A copy of a stopped federation: a trial may do to it what it likes."""
        shutil.copytree(self.work, work, symlinks=True)
        return Federation(self.bin, work)

    # --- processes --------------------------------------------------------------------------

    def start(self, name, *command, failpoint=None):
        environment = dict(os.environ)
        environment.pop("CONSILIUM_FAILPOINT", None)
        if failpoint:
            environment["CONSILIUM_FAILPOINT"] = failpoint
        with open(self.logs / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen([str(part) for part in command], stdout=log,
                                                    stderr=log, env=environment)

    def start_aggregator(self, failpoint=None):
        self.start("aggregator", self.bin / "consilium-aggregator", "serve", "--data",
                   self.work / "aggregator", *self.aggregator_arguments, failpoint=failpoint)
        self.wait_for("the aggregator answers", lambda: self.died("aggregator") or
                      self.admin("status", check=False).returncode == 0)

    def start_agent(self, site, failpoint=None):
        self.start(site, self.bin / "consilium-agent", "run", "--store", self.work / site / "store",
                   *self.agent_arguments.get(site, []), failpoint=failpoint)

    def died(self, name):
        return self.processes[name].poll() is not None

    def kill(self, name):
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].wait()

    def stop(self, name):
        process = self.processes.pop(name)
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise Failed(f"{name} does not stop on SIGTERM") from None

    def stop_all(self):
        # The aggregator last: agents say goodbye.
        for name in sorted(self.processes, key=lambda name: name == "aggregator"):
            self.stop(name)

    def wait_for(self, what, condition):
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            if time.monotonic() > deadline:
                raise Failed(f"waited {DEADLINE_S} s until {what}; logs in {self.logs}")
            time.sleep(0.05)  # Between two looks; nothing hangs on its length.

    # --- runs -------------------------------------------------------------------------------

    def submit(self, run_config):
        return self.admin_json("run", "submit", run_config)["run_id"]

    def run_report(self, run):
        return self.admin_json("run", "status", run)

    def site_status(self, site):
        return json.loads(self.call("consilium-agent", "status", "--store",
                                    self.work / site / "store", "--json").stdout)

    def log(self, name):
        return (self.logs / f"{name}.log").read_text(errors="replace")
