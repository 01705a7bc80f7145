"""sim/cluster/slurm_job.sh under a Slurm of this test's own, with this machine as its node: three
ranks give the models, summary and log of one process, also where a rank was killed with SIGKILL,
and where Slurm told the job to end; each time the job goes on from its checkpoint, as often as it
may. And processes that srun has started without a process manager are warned.

It needs Debian's slurm-wlm, with munge, and root; without them it is skipped. No file of the system
is touched, and a Slurm that runs here is left alone.

usage: under_slurm.py --bin DIR --source DIR
"""

import argparse
import contextlib
import os
import pathlib
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import under_mpirun

SKIPPED = 77
DEADLINE_S = 300
PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "scancel", "scontrol", "squeue",
            "sinfo")
NODE = "here"
LONGER = ["--set", "stop.versions_max=30"]  # Over that of under_mpirun: the last one counts.
CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
TmpFS={folder}/tmp
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
PlugStackConfig={folder}/plugstack.conf
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=20
NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def why_not():
    """Why no Slurm can be started here; None where one can."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"no {', '.join(missing)} here"
    if os.getuid() != 0:
        return "only root can start a Slurm of several users"
    return None


def free_ports(count):
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in found:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in found]


def wait_until(is_so, what):
    deadline = time.monotonic() + DEADLINE_S
    while not (found := is_so()):
        assert time.monotonic() < deadline, f"waited too long for {what}"
        os.sched_yield()
    return found


class Slurm:
    """One that is there from __enter__ to __exit__."""

    def __init__(self, folder, programs):
        self.folder = folder
        self.environment = {
            **os.environ,
            "PATH": f"{programs.resolve()}:{os.environ['PATH']}",
            "SLURM_CONF": str(folder / "slurm.conf"),
            "OMPI_MCA_pml": "ob1",
            "OMPI_MCA_btl": "self,vader",
        }
        self.daemons = []

    def __enter__(self):
        munge = self.folder / "munge"
        for name in ("munge", "state", "spool", "tmp"):
            (self.folder / name).mkdir()
        munge.chmod(0o700)
        (munge / "key").write_bytes(secrets.token_bytes(1024))
        (munge / "key").chmod(0o400)
        (self.folder / "slurm.conf").write_text(CONFIG.format(
            host=socket.gethostname(), ports=free_ports(2), folder=self.folder, node=NODE))
        (self.folder / "plugstack.conf").touch()
        # No job is held by a cgroup; but slurmd asks for the kind that there is.
        version = "v2" if pathlib.Path("/sys/fs/cgroup/cgroup.controllers").exists() else "v1"
        (self.folder / "cgroup.conf").write_text(
            f"CgroupPlugin=cgroup/{version}\n" + "IgnoreSystemd=yes\n" * (version == "v2"))
        self.start("munged", "--foreground", "--force", f"--socket={munge}/socket",
                   f"--key-file={munge}/key", f"--log-file={munge}/log",
                   f"--pid-file={munge}/pid", f"--seed-file={munge}/seed")
        wait_until((munge / "socket").exists, "munged")
        self.start("slurmctld", "-D", "-c")
        self.start("slurmd", "-D", "-N", NODE)
        wait_until(lambda: self.say("sinfo", "-h", "-o", "%T").split() == ["idle"], "the node")
        return self

    def __exit__(self, *_):
        subprocess.run(["scancel", "--user=root"], env=self.environment, capture_output=True,
                       check=False)
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not self.say("squeue", "-h").strip(), "the jobs' end")
        for daemon in reversed(self.daemons):
            daemon.terminate()
            daemon.wait(DEADLINE_S)

    def start(self, *command):
        with (self.folder / "daemons.log").open("ab") as log:
            self.daemons.append(subprocess.Popen(command, env=self.environment, stdout=log,
                                                 stderr=log))

    def say(self, *command):
        return subprocess.run([str(word) for word in command], env=self.environment, text=True,
                              capture_output=True, timeout=DEADLINE_S, check=False).stdout

    def call(self, *command, code=0):
        done = subprocess.run([str(word) for word in command], env=self.environment, text=True,
                              capture_output=True, timeout=DEADLINE_S, check=False)
        assert done.returncode == code, f"{done.args}: {done.returncode}\n{done.stderr}"
        return done

    def fields(self, job):
        return dict(re.findall(r"(\w+)=(\S*)", self.say("scontrol", "show", "job", job)))


def rank_process(rank, out):
    """The process of that rank that writes there; None where there is none. Other tests' ranks run
    beside this one's."""
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            its_out = {str(out).encode(), f"--out={out}".encode()}
            if (words[0].endswith(b"consilium-sim") and its_out.intersection(words) and
                    f"PMIX_RANK={rank}".encode() in (entry / "environ").read_bytes().split(b"\0")):
                return int(entry.name)
    return None


class Job:
    """slurm_job.sh with the arguments of a run, and with these variables beside the test's."""

    def __init__(self, slurm, source, out, arguments, **variables):
        self.slurm = slurm
        self.out = out
        self.log = out.with_suffix(".log")
        # Without --threads, which the script gives.
        at = arguments.index("--threads")
        arguments = [*arguments[:at], *arguments[at + 2:]]
        script = source / "sim/cluster/slurm_job.sh"
        self.number = slurm.call(
            "sbatch", "--parsable", "--nodes=1", "--ntasks-per-node=3", "--cpus-per-task=1",
            "--chdir", out.parent, "--output", self.log,
            "--export", ",".join(["ALL", *(f"{name}={is_}" for name, is_ in variables.items())]),
            script, *arguments
        ).stdout.strip()

    def state(self):
        return self.slurm.fields(self.number).get("JobState")

    def kill_rank(self, rank):
        """After another checkpoint; returns its process."""
        self.wait_for_checkpoints()
        victim = rank_process(rank, self.out)
        assert victim is not None, self.log.read_text()
        os.kill(victim, signal.SIGKILL)
        return victim

    def wait_for_checkpoints(self):
        """Of the ranks that run now: two newer ones than there are."""
        def times():
            return {path: path.stat().st_mtime_ns
                    for path in (self.out / "checkpoint").glob("run-seed-*.[01]")}

        before = times()
        wait_until(lambda: sum(before.get(path) != when for path, when in times().items()) >= 2,
                   "checkpoints")

    def wait_for_end_of_start(self):
        wait_until(lambda: self.state() in ("PENDING", "COMPLETED", "FAILED"), "a start's end")

    def wait_for_requeue(self, restarts):
        """Slurm lets a job wait for two minutes before it begins anew, for its credential is void
        from the second of its end on; three seconds do."""
        self.wait_for_end_of_start()
        assert self.state() == "PENDING", self.log.read_text()
        self.slurm.call("scontrol", "update", f"JobId={self.number}", "StartTime=now+3")
        wait_until(lambda: self.state() == "RUNNING", "another start")
        assert self.slurm.fields(self.number)["Restarts"] == str(restarts)

    def wait_for_end(self):
        wait_until(lambda: self.state() not in
                   ("PENDING", "RUNNING", "COMPLETING", "REQUEUED"), "the job's end")
        return self.slurm.fields(self.number)


def check_job(slurm, ranks, source):
    whole, out = ranks.folder / "whole", ranks.folder / "slurm"
    ranks.call(ranks.run("SCAFFOLD", whole, *LONGER))
    job = Job(slurm, source, out, ranks.run("SCAFFOLD", out, *LONGER)[2:])

    victim = job.kill_rank(1)
    job.wait_for_requeue(1)
    said = job.log.read_text()
    assert "with 2 more ranks" in said, said
    assert re.search(rf"consilium-sim: rank 1 \(.*, process {victim}\) has died", said), said
    assert "the same command goes on from here" in said, said

    job.wait_for_checkpoints()
    slurm.call("scancel", "--signal=TERM", job.number)  # As --signal does before the time limit.
    job.wait_for_requeue(2)
    assert "consilium-sim: the launcher asks this job to end" in job.log.read_text(), said

    end = job.wait_for_end()
    assert (end["JobState"], end["Restarts"]) == ("COMPLETED", "2"), (end, job.log.read_text())
    assert under_mpirun.told(out) == under_mpirun.told(whole)
    under_mpirun.check_journals(ranks, out)
    print("3 ranks, ended twice, come to the models of one process")


def check_restarts(slurm, ranks, source):
    """As often as it may, and no more; the same sbatch goes on then. --out=DIR is seen, too."""
    whole, out = ranks.folder / "bounded-whole", ranks.folder / "bounded"
    ranks.call(ranks.run("FEDBUFF", whole, *LONGER))
    arguments = ranks.run("FEDBUFF", out, *LONGER)[2:]
    at = arguments.index("--out")
    arguments[at:at + 2] = [f"--out={out}"]

    job = Job(slurm, source, out, arguments, CONSILIUM_RESTARTS_MAX=1)
    job.kill_rank(1)
    job.wait_for_requeue(1)
    assert "restart 1 of at most 1" in job.log.read_text(), job.log.read_text()
    job.kill_rank(2)
    job.wait_for_end_of_start()
    said = job.log.read_text()
    assert job.state() == "FAILED", said
    assert "after 1 restarts, and CONSILIUM_RESTARTS_MAX is 1: not started again" in said, said
    assert "The same sbatch goes on from its checkpoint" in said, said

    job = Job(slurm, source, out, arguments, CONSILIUM_RESTARTS_MAX=1)
    end = job.wait_for_end()
    assert (end["JobState"], end["Restarts"]) == ("COMPLETED", "0"), (end, job.log.read_text())
    assert under_mpirun.told(out) == under_mpirun.told(whole)

    # Before anything is computed.
    end = (job := Job(slurm, source, out, arguments, CONSILIUM_RESTARTS_MAX="1e3")).wait_for_end()
    assert end["ExitCode"] == "2:0" and end["Restarts"] == "0", end
    assert "CONSILIUM_RESTARTS_MAX=1e3: must be a number" in job.log.read_text()
    print("a job is started again as often as it may be")


def check_uninterrupted(slurm, ranks, source):
    whole, out = ranks.folder / "short-whole", ranks.folder / "short"
    ranks.call(ranks.run("FEDBUFF", whole))
    job = Job(slurm, source, out, ranks.run("FEDBUFF", out)[2:])
    end = job.wait_for_end()
    assert (end["JobState"], end["Restarts"]) == ("COMPLETED", "0"), (end, job.log.read_text())
    under_mpirun.check_same(out, whole)
    # What is asked for wrongly is not begun again.
    wrong = ranks.folder / "wrong"
    job = Job(slurm, source, wrong, ranks.run("FEDBUFF", wrong, "--set", "no.such=1")[2:])
    end = job.wait_for_end()
    assert (end["JobState"], end["Restarts"]) == ("FAILED", "0"), (end, job.log.read_text())
    print("3 ranks give the log of one process")


def check_alone(slurm, ranks):
    run = ranks.run("FEDAVG", ranks.folder / "alone")
    run = run[:run.index("--out")] + ["--json"]
    for options, is_warned in ((["-n", 2], True), (["-n", 1], False)):
        said = slurm.call("srun", "--mpi=none", *options, *run).stderr
        assert ("without --mpi=pmix" in said) == is_warned, said
    print("processes that do not know of each other are warned")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--source", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    if (reason := why_not()) is not None:
        print(f"skipped: {reason}")
        sys.exit(SKIPPED)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "own").mkdir()
        arguments.source = arguments.source.resolve()
        ranks = under_mpirun.Ranks(arguments, folder)
        with Slurm(folder / "own", arguments.bin) as slurm:
            if "pmix" not in slurm.call("srun", "--mpi=list").stdout:
                print("skipped: this Slurm knows no PMIx")
                sys.exit(SKIPPED)
            check_uninterrupted(slurm, ranks, arguments.source)
            check_job(slurm, ranks, arguments.source)
            check_restarts(slurm, ranks, arguments.source)
            check_alone(slurm, ranks)


if __name__ == "__main__":
    main()
