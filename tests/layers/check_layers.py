#!/usr/bin/python3
"""Holds a build against the partial order of targets in cmake/layers.cmake.

usage: check_layers.py includes LAYERS_JSON BUILD_DIR CXX LAYER
       check_layers.py headers  LAYERS_JSON BUILD_DIR

includes: asks the compiler which of our headers LAYER can include, with the include folders that
          its sources are compiled with. All of its own and of those it may use must be found, no
          other one; and a file that includes one of those does not compile.
headers:  reads ninja's dependency log. No object may depend on a header of a layer or of an
          outside library that its layer does not list.

LAYERS_JSON is what describe_layers.cmake writes. Exits with 1 and a line for each violation.
"""

import json
import os
import pathlib
import re
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "scripts"))
import build_info  # noqa: E402

# What lies in the system's include folder can not be hidden from a target, so it is told apart
# by path. The names are those of cmake/layers.cmake.
OUTSIDE = [
    ("torch", re.compile(r"/torch_include/|/site-packages/|/include/(ATen|c10|caffe2|torch)/")),
    ("absl", re.compile(r"/include/absl/")),
    ("spdlog", re.compile(r"/include/(spdlog|fmt)/")),
    ("protobuf", re.compile(r"/include/google/protobuf/")),
    ("openssl", re.compile(r"/include/([^/]+-linux-gnu/)?openssl/")),
    ("grpc", re.compile(r"/include/(grpc|grpcpp|grpc\+\+)/")),
    ("sqlcipher", re.compile(r"/include/sqlcipher/")),
    ("json", re.compile(r"/include/nlohmann/")),
    ("cli11", re.compile(r"/include/CLI/")),
    ("pagmo", re.compile(r"/include/(pagmo|boost|eigen3|tbb|oneapi)/")),
    ("mpi", re.compile(r"/(openmpi|mpich)/include/|/include/([^/]+-linux-gnu/)?mpi[\w-]*\.h$")),
    ("zip", re.compile(r"/include/([^/]+-linux-gnu/)?(zip|zipconf)\.h$")),
    ("curl", re.compile(r"/include/([^/]+-linux-gnu/)?curl/")),
    ("zlib", re.compile(r"/include/([^/]+-linux-gnu/)?(zlib|zconf)\.h$")),
]
# The compiler's and the C library's own folders under /usr/include. Any other folder there
# belongs to a library that no layer lists.
SYSTEM = re.compile(r"/lib/(gcc|llvm-\d+|clang)/|/include/c\+\+/"
                    r"|/include/([^/]+-linux-gnu/)?(arpa|asm|asm-generic|bits|c\+\+|gnu|linux|net"
                    r"|netinet|sys)/|/include/[^/]+\.h$")
# Libraries whose headers lie beside the C library's.
LOOSE = re.compile(r"/include/(sqlite3|sqlite3ext|ares\w*|zstd|lz4\w*|expat\w*)\.h$")


class Layer:
    """One line of cmake/layers.cmake, with what it reaches through others."""

    def __init__(self, entry):
        split = {key: [part for part in entry[key].split(":") if part]
                 for key in ("closure", "outside", "include_dirs")}
        self.name = entry["name"]
        self.folder = entry["folder"]
        self.may_see = {self.name, *split["closure"]}
        self.outside = set(split["outside"])
        # The system's own folder is searched by every compiler, named or not.
        self.include_dirs = [path for path in dict.fromkeys(split["include_dirs"])
                             if path != "/usr/include"]


def read_layers(path):
    return {entry["name"]: Layer(entry) for entry in json.loads(pathlib.Path(path).read_text())}


def layer_of_object(command, layers, source_root):
    """The layer that an object belongs to: by its target, else (a program) by its folder."""
    target = re.search(r"CMakeFiles/([^/]+)\.dir/", command["output"])
    if target and target.group(1) in layers:
        return layers[target.group(1)]
    return layer_of_file(command["file"], layers, source_root)


def layer_of_file(path, layers, source_root):
    relative = os.path.relpath(os.path.realpath(path), source_root)
    for layer in layers.values():
        if relative.startswith(layer.folder + "/"):
            return layer
    return None


def source_root_of(build):
    cache = (pathlib.Path(build) / "CMakeCache.txt").read_text()
    return os.path.realpath(re.search(r"^CMAKE_HOME_DIRECTORY:INTERNAL=(.*)$", cache, re.M)[1])


# --- includes ---------------------------------------------------------------------------------


def headers_of(layers):
    """For each layer the headers that only its own include folders hold, as they are included."""
    found = {}
    for layer in layers.values():
        of_others = {folder for name in layer.may_see - {layer.name} if name in layers
                     for folder in layers[name].include_dirs}
        names = []
        for folder in layer.include_dirs:
            if folder in of_others or any(path.search(folder + "/") for _, path in OUTSIDE):
                continue
            for here, _, files in os.walk(folder, followlinks=True):
                names += [os.path.relpath(os.path.join(here, file), folder)
                          for file in files if file.endswith(".h")]
        found[layer.name] = sorted(names)
    return found


def include_flags(layer, layers, build):
    """The include folders that the layer's objects are compiled with, all of them together."""
    flags = {f"-I{folder}": None for folder in layer.include_dirs}
    source_root = source_root_of(build)
    for command in build_info.commands(build):
        if layer_of_object(command, layers, source_root) is not layer:
            continue
        words = command["words"]
        for word, following in zip(words, words[1:] + [""]):
            if word in ("-I", "-isystem", "-iquote"):
                flags[f"-I{following}"] = None
            elif word.startswith("-I"):
                flags[word] = None
    return list(flags)


def preprocess(cxx, flags, text):
    return subprocess.run([cxx, "-std=c++20", "-E", "-P", "-x", "c++", *flags, "-"], input=text,
                          capture_output=True, text=True, cwd="/")


def check_includes(layers_json, build, cxx, name):
    layers = read_layers(layers_json)
    layer, headers = layers[name], headers_of(layers)
    flags = include_flags(layer, layers, build)
    problems, asked = [], [(owner, header) for owner in layers for header in headers[owner]]

    question = "".join(f'#if __has_include("{header}")\nfound_{i}_\n#endif\n'
                       for i, (_, header) in enumerate(asked))
    answer = preprocess(cxx, flags, question)
    if answer.returncode != 0:
        sys.exit(f"the compiler did not answer: {answer.stderr}")
    visible = {int(i) for i in re.findall(r"found_(\d+)_", answer.stdout)}
    for i, (owner, header) in enumerate(asked):
        if owner in layer.may_see and i not in visible:
            problems.append(f"{name} may use {owner}, but can not include {header}")
        elif owner not in layer.may_see and i in visible:
            problems.append(f"{name} may not use {owner}, but can include {header}")

    # What the compiler says to a person who tries.
    forbidden = [(owner, headers[owner][0]) for owner in layers
                 if owner not in layer.may_see and headers[owner]]
    for owner, header in forbidden:
        attempt = preprocess(cxx, flags, f'#include "{header}"\n')
        if attempt.returncode == 0:
            problems.append(f'{name}: #include "{header}" of {owner} compiles')
        elif not re.search("No such file|file not found", attempt.stderr):  # g++, clang++
            problems.append(f"{name}: {header} of {owner} fails otherwise: {attempt.stderr}")
    allowed = sum(len(headers[owner]) for owner in layers if owner in layer.may_see)
    print(f"{name}: {allowed} headers it may include, {len(asked) - allowed} it may not; "
          f"{len(forbidden)} forbidden layers tried")
    return problems


# --- headers ----------------------------------------------------------------------------------


def complaint(path, layer, layers, build, source_root):
    """Why `layer` may not depend on the file `path`; None if it may."""
    absolute = os.path.normpath(os.path.join(build, path))
    for outside, pattern in OUTSIDE:
        if pattern.search(absolute):
            return None if outside in layer.outside else f"a header of {outside}"
    real = os.path.realpath(absolute)
    if real.startswith(source_root + "/") and not real.startswith(os.path.realpath(build) + "/"):
        owner = layer_of_file(real, layers, source_root)
        if owner is not None and owner.name not in layer.may_see:
            return f"a file of {owner.name}"
        return None
    if real.startswith(os.path.realpath(build) + "/"):
        return None  # Generated; whose it is shows in the include folders ("includes").
    if LOOSE.search(absolute) or not SYSTEM.search(absolute):
        return "a header of a library that cmake/layers.cmake does not know"
    return None


def check_headers(layers_json, build):
    layers, built = read_layers(layers_json), build_info.dependencies(build)
    source_root = source_root_of(build)
    problems, objects = [], 0
    for command in build_info.commands(build):
        layer = layer_of_object(command, layers, source_root)
        files = built.get(command["output"])
        if layer is None or files is None:
            continue
        objects += 1
        for path in files:
            why = complaint(path, layer, layers, build, source_root)
            if why is not None:
                source = os.path.relpath(command["file"], source_root)
                problems.append(f"{source} ({layer.name}) depends on {path}: {why}")
    if objects == 0:
        sys.exit("no object of any layer was built here: nothing could be checked")
    print(f"{objects} objects of {len(layers)} layers checked")
    return problems


def main():
    commands = {"includes": (check_includes, 4), "headers": (check_headers, 2)}
    command, arguments = commands.get(sys.argv[1] if len(sys.argv) > 1 else "", (None, 0))
    if command is None or len(sys.argv) != 2 + arguments:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    problems = command(*sys.argv[2:])
    for problem in problems:
        print(f"VIOLATION: {problem}")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
