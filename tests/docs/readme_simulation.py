"""The commands of README's section "Simulate" work as they stand there.

usage: readme_simulation.py SOURCE_ROOT BIN_FOLDER
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

root, programs = pathlib.Path(sys.argv[1]), sys.argv[2]
section = (root / "README.md").read_text().split("\n## Simulate\n")[1].split("\n## ")[0]
commands = re.search(r"```\n(.*?)```", section, re.DOTALL)[1]

with tempfile.TemporaryDirectory() as folder:
    # The programs are built, what they write goes elsewhere, and time is short.
    script = re.sub(r"^scripts/setup .*\n", "", commands)
    for named, here in [("build/release/bin", programs), ("out/", f"{folder}/out/")]:
        assert named in script, f"README's commands do not name {named}"
        script = script.replace(named, here)
    script = script.rstrip() + " --set stop.versions_max=10 --no-baselines\n"
    done = subprocess.run(["bash", "-euc", script], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    out = pathlib.Path(folder) / "out/simulated"
    summary = json.loads((out / "summary.json").read_text())
    assert summary["versions"] == 10, summary["versions"]
    assert [run["title"] for run in summary["simulated"]] == ["FEDAVG", "FEDBUFF"]
    assert (out / "report.html").stat().st_size > 0
print("README's simulation works")
