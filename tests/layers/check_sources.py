#!/usr/bin/python3
"""Holds every source file to the few rules that no compiler and no formatter knows.

usage: check_sources.py ROOT

No include goes through "../"; no line is wider than 100 columns; every file ends with a line
break; ROOT has its licence; in a hospital's agent nothing but its egress gate can send; a program
that may hold keys leaves no core dump. Exits with 1 and a line for each violation.
"""

import pathlib
import re
import sys

FOLDERS = ["protocol", "privacy", "models", "aggregator", "site_agent", "sim", "cli", "tests",
           "scripts", "cmake"]
CODE = {".cc", ".h", ".proto", ".py", ".cu"}
TEXT = CODE | {".cmake", ".txt", ".md", ".sh", ".textproto", ".json", ""}
COLUMNS = 100
# What opens a way out of a hospital, and the one place that may.
SENDING = re.compile(r"#include <grpc|\.grpc\.pb\.h|rpc/transfer_client|\b(MakeChannel|NewStub)\b")
GATE = re.compile(r"site_agent/runtime/egress_gate\.(h|cc)$")
MAIN = re.compile(r"^int main\(", re.M)
UPWARD = re.compile(r'^\s*#\s*include\s*["<][^">]*\.\./', re.M)


def sources(root):
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path


def check_file(path, relative):
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError:
        yield None, "is not UTF-8"
        return
    if text and not text.endswith("\n"):
        yield None, "does not end with a line break"
    if path.suffix not in CODE:
        return
    is_program = MAIN.search(text) and not relative.startswith("tests/")
    if is_program and "KeepMemoryToItself()" not in text:
        yield None, "is a program that leaves core dumps (protocol/core/process_memory.h)"
    may_send = not relative.startswith("site_agent/") or GATE.search(relative)
    for number, line in enumerate(text.splitlines(), 1):
        if not may_send and SENDING.search(line):
            yield number, "can send past the egress gate (site_agent/runtime/egress_gate.h)"
        if len(line) > COLUMNS:
            yield number, f"{len(line)} columns (at most {COLUMNS})"
        if UPWARD.search(line):
            yield number, 'includes through "../" (write the path from the root)'


def check(root):
    root, problems, checked = pathlib.Path(root), [], 0
    licence = root / "LICENSE"
    if not licence.is_file() or "Apache License" not in licence.read_text():
        problems.append("LICENSE: the Apache License is not there")
    for path in sources(root):
        if path.suffix not in TEXT:
            continue
        checked += 1
        for number, problem in check_file(path, path.relative_to(root).as_posix()):
            line = "" if number is None else f":{number}"
            problems.append(f"{path.relative_to(root)}{line}: {problem}")
    if checked == 0:
        sys.exit(f"no source file under {root}: nothing could be checked")
    print(f"{checked} files checked")
    return problems


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    problems = check(sys.argv[1])
    for problem in problems:
        print(f"VIOLATION: {problem}")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
