#!/usr/bin/python3
"""Installs the programs into a folder for the occasion; looks which they are, and where they load
libraries from.

usage: check_install.py CMAKE BUILD

A program that looks for libraries in a folder of whoever built it runs whatever is put there. A
build without LibTorch has fewer programs; nothing else than these is installed. Exits with 1 and a
line for each violation.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

PROGRAMS = {"consilium", "consilium-agent", "consilium-aggregator", "consilium-sim"}
SEARCHED = re.compile(r"\((?:RPATH|RUNPATH)\).*\[(.*)\]")


def searched_folders(program):
    listing = subprocess.run(["readelf", "--dynamic", program], capture_output=True, text=True,
                             check=True).stdout
    return [folder for found in SEARCHED.findall(listing) for folder in found.split(":") if folder]


def main():
    cmake, build = sys.argv[1:3]
    with tempfile.TemporaryDirectory() as prefix:
        subprocess.run([cmake, "--install", build, "--component", "programs", "--prefix", prefix],
                       check=True, stdout=subprocess.DEVNULL)
        programs = sorted((pathlib.Path(prefix) / "bin").iterdir())
        wrong = [f"{program.name} loads libraries from {folder}" for program in programs
                 for folder in searched_folders(program) if not folder.startswith("$ORIGIN/")]
    wrong += [f"{program.name} is none of the product's programs" for program in programs
              if program.name not in PROGRAMS]
    print(f"{len(programs)} programs checked")
    for line in wrong:
        print(f"VIOLATION: {line}")
    return 1 if wrong or not programs else 0


if __name__ == "__main__":
    sys.exit(main())
