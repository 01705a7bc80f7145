"""More connections than the aggregator has file descriptors for: it ends by itself and says why,
since its listeners may have gone deaf, and a new start lets the sites in again.

usage: descriptors.py --bin DIR --source DIR
"""

import argparse
import pathlib
import socket
import tempfile

from federation import Failed, wdbc_federation

SITES = ["eastern", "northern"]
DESCRIPTORS_MAX = 200


def enrolment_port(federation):
    return int(federation.admin_json("status")["enrolment_address"].rpartition(":")[2])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--source", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="consilium-descriptors-") as name:
        federation, run_config = wdbc_federation(arguments.bin, arguments.source,
                                                 pathlib.Path(name), SITES, versions=6)
        connections = []
        try:
            federation.start("aggregator", "bash", "-c", f'ulimit -n {DESCRIPTORS_MAX}; exec "$@"',
                             "bash", federation.bin / "consilium-aggregator", "serve", "--data",
                             federation.work / "aggregator")
            federation.wait_for("the aggregator answers", lambda: federation.admin(
                "status", check=False).returncode == 0)
            port = enrolment_port(federation)
            # They say nothing, so that each is waited for until its handshake is given up.
            for _ in range(DESCRIPTORS_MAX):
                connections.append(socket.create_connection(("127.0.0.1", port)))
            federation.wait_for("the aggregator has ended", lambda: federation.died("aggregator"))
            code = federation.processes.pop("aggregator").returncode
            log = federation.log("aggregator")
            if code != 1 or "too many connections" not in log:
                raise Failed(f"it ended with {code}\n{log[-3000:]}")
            for connection in connections:
                connection.close()
            federation.start_aggregator()
            for site in SITES:
                federation.start_agent(site)
            run = federation.submit(run_config)
            federation.wait_for("the run has ended",
                                lambda: federation.run_report(run)["phase"] == "ended")
        finally:
            federation.stop_all()


main()
