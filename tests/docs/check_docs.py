"""What the documents name must exist, and generated documents must be up to date.

usage: check_docs.py SOURCE_ROOT
"""

import pathlib
import re
import subprocess
import sys

root = pathlib.Path(sys.argv[1])
findings = []


def life_of_an_update():
    rows = [line for line in (root / "docs/life_of_an_update.md").read_text().splitlines()
            if line.startswith("| ") and "`" in line]
    if len(rows) < 10:
        findings.append("docs/life_of_an_update.md: its table is gone")
    for row in rows:
        path, function = re.findall(r"`([^`]+)`", "|".join(row.split("|")[2:4]))
        file = root / path
        if not file.is_file():
            findings.append(f"docs/life_of_an_update.md: {path} is gone")
        elif function.split("::")[-1] not in file.read_text():
            findings.append(f"docs/life_of_an_update.md: {function} is not in {path}")


def links():
    for document in [root / "README.md", root / "CONTRIBUTING.md", root / "SECURITY.md",
                     *sorted((root / "docs").rglob("*.md"))]:
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if "://" not in target and not (document.parent / target).exists():
                findings.append(f"{document.relative_to(root)}: {target} is not there")


def paths():
    """`folder/file.ext` in what tells people where to go."""
    for name in ("README.md", "CONTRIBUTING.md", "docs/performance.md", "docs/summary.md"):
        for path in re.findall(r"`([\w-]+(?:/[\w.-]+)+\.[a-z]+)`", (root / name).read_text()):
            if not path.startswith(("out/", "build/")) and not (root / path).exists():
                findings.append(f"{name}: {path} is not there")


def failpoints():
    names = re.findall(r'^    "((?:agent|aggregator)\.\w+)"',
                       (root / "protocol/core/failpoint.cc").read_text(), re.MULTILINE)
    if len(names) < 12:
        findings.append("protocol/core/failpoint.cc: fewer than 12 failpoints")
    code = "\n".join(path.read_text() for folder in ("aggregator", "site_agent", "protocol/rpc")
                     for path in (root / folder).rglob("*.cc"))
    for name in names:
        if f'"{name}"' not in code:
            findings.append(f"failpoint {name} is passed nowhere")


def presets():
    """Each has a row in the guide, by its name or by the family before an ellipsis."""
    proto = (root / "protocol/proto/consilium/v1/run_config.proto").read_text()
    enum = re.search(r"enum Preset \{(.*?)\n  \}", proto, re.DOTALL)[1]
    names = re.findall(r"^    ([A-Z0-9_]+) = [1-9]", enum, re.MULTILINE)
    guide = (root / "docs/aggregation.md").read_text().split("## The presets")[1]
    rows = [line.split("|")[1] for line in guide.splitlines() if line.startswith("| ")]
    told = [word for row in rows for word in re.findall(r"[A-Z0-9_]+…?", row)]
    if len(names) < 30:
        findings.append("run_config.proto: fewer than 30 presets are found there")
    for name in names:
        if not any(name == word or word.endswith("…") and name.startswith(word[:-1])
                   for word in told):
            findings.append(f"docs/aggregation.md: its table of presets lacks {name}")


def generated():
    check = subprocess.run([sys.executable, root / "scripts/generate_docs", "--check"],
                           capture_output=True, text=True)
    if check.returncode != 0:
        findings.append(check.stderr.strip())


life_of_an_update()
links()
paths()
failpoints()
presets()
generated()
print("\n".join(findings) or "documents are up to date")
sys.exit(1 if findings else 0)
