"""What a build folder of CMake and ninja knows: how each object is compiled, and from what."""

import json
import pathlib
import shlex
import subprocess


def commands(build):
    """The entries of compile_commands.json, with "words" (the command, split) and "output" (the
    object's path in the build folder)."""
    entries = json.loads((pathlib.Path(build) / "compile_commands.json").read_text())
    for entry in entries:
        entry["words"] = shlex.split(entry["command"])
        entry["output"] = entry["words"][entry["words"].index("-o") + 1]
    return entries


def dependencies(build):
    """The files that each object was compiled from, by the object's path in the build folder, out
    of ninja's log. Stale entries are left out: their object is not what would be built now."""
    listing = subprocess.run(["ninja", "-C", str(build), "-t", "deps"], check=True,
                             capture_output=True, text=True).stdout
    found, current = {}, []
    for line in listing.splitlines():
        if line.startswith("    "):
            current.append(line.strip())
        elif ": #deps " in line:
            current = []
            if "(VALID)" in line:
                found[line.split(": #deps ")[0]] = current
    return found
