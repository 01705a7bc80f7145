#!/usr/bin/python3
"""The checks of this folder can fail: in a small tree of its own, which is built by the real
cmake/layers.cmake, each kind of violation is planted, and must be found.

usage: planted_violations_test.py SOURCE_ROOT CXX
"""

import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE))
import check_layers  # noqa: E402
import check_sources  # noqa: E402

SOURCE_ROOT, CXX = "", ""

# Three layers of the real table: rpc uses wire, wire uses core. Their outside libraries are not
# linked here (the headers lie in the system's include folder anyway).
CMAKE = """
cmake_minimum_required(VERSION 3.25)
project(planted CXX)
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
find_package(Threads REQUIRED)
include({root}/cmake/layers.cmake)
foreach(package IN ITEMS absl spdlog protobuf openssl grpc)
  set(CONSILIUM_OUTSIDE_${{package}})
endforeach()
consilium_library(protocol_core SOURCES protocol/core/core.cc)
consilium_library(protocol_wire SOURCES protocol/wire/wire.cc)
consilium_library(protocol_rpc SOURCES protocol/rpc/rpc.cc)
{more}
include({root}/tests/layers/describe_layers.cmake)
consilium_describe_layers(${{CMAKE_BINARY_DIR}}/layers.json)
"""

FILES = {
    "protocol/core/core.h": "int Core();\n",
    "protocol/core/core.cc": '#include "protocol/core/core.h"\nint Core() { return 1; }\n',
    "protocol/wire/wire.h": '#include "protocol/core/core.h"\nint Wire();\n',
    "protocol/wire/wire.cc": '#include "protocol/wire/wire.h"\n#include <openssl/sha.h>\n'
                             "int Wire() { return Core(); }\n",
    "protocol/rpc/rpc.h": "int Rpc();\n",
    "protocol/rpc/rpc.cc": '#include "protocol/rpc/rpc.h"\n#include "protocol/wire/wire.h"\n'
                           "#include <string>\nint Rpc() { return Wire(); }\n",
    "LICENSE": "Apache License\n",
}


class Tree:
    """A source tree in a temporary folder, and its build."""

    def __init__(self, case, files=None, more=""):
        self.folder = tempfile.TemporaryDirectory()
        case.addCleanup(self.folder.cleanup)
        self.root = pathlib.Path(self.folder.name).resolve()
        self.build = self.root / "build"
        for name, text in {**FILES, **(files or {})}.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text)
        (self.root / "CMakeLists.txt").write_text(CMAKE.format(root=SOURCE_ROOT, more=more))

    def make(self):
        """Configures and builds; the output if the compiler refused, else an empty string."""
        for command in (["cmake", "-G", "Ninja", f"-DCMAKE_CXX_COMPILER={CXX}", "-S",
                         str(self.root), "-B", str(self.build)], ["ninja", "-C", str(self.build)]):
            result = subprocess.run(command, capture_output=True, text=True)
            if result.returncode != 0:
                return result.stdout + result.stderr
        return ""

    def includes(self, layer):
        return check_layers.check_includes(self.build / "layers.json", self.build, CXX, layer)

    def headers(self):
        return check_layers.check_headers(self.build / "layers.json", self.build)


class Planted(unittest.TestCase):

    def test_clean_tree_passes(self):
        tree = Tree(self)
        self.assertEqual(tree.make(), "")
        for layer in ("protocol_core", "protocol_wire", "protocol_rpc"):
            self.assertEqual(tree.includes(layer), [])
        self.assertEqual(tree.headers(), [])
        self.assertEqual(check_sources.check(tree.root), [])

    def test_forbidden_include_does_not_compile(self):
        tree = Tree(self, {"protocol/core/core.cc": '#include "protocol/wire/wire.h"\n'})
        output = tree.make()
        self.assertIn("core.cc", output)
        self.assertIn("wire.h", output)

    def test_include_folder_too_many_is_found(self):
        tree = Tree(self, more="target_include_directories(protocol_core PRIVATE "
                         "${CMAKE_BINARY_DIR}/include_roots/protocol_wire)")
        self.assertEqual(tree.make(), "")
        self.assertEqual(tree.includes("protocol_core"), [
            "protocol_core may not use protocol_wire, but can include protocol/wire/wire.h",
            'protocol_core: #include "protocol/wire/wire.h" of protocol_wire compiles'])
        self.assertEqual(tree.includes("protocol_wire"), [])

    def test_missing_allowed_edge_is_found(self):
        tree = Tree(self)
        self.assertEqual(tree.make(), "")
        described = tree.build / "layers.json"
        text = described.read_text()
        described.write_text(text.replace('"closure": ""', '"closure": "protocol_rpc"', 1))
        self.assertEqual(tree.includes("protocol_core"), [
            "protocol_core may use protocol_rpc, but can not include protocol/rpc/rpc.h"])

    def test_outside_header_is_found_in_dependencies(self):
        tree = Tree(self, {"protocol/core/core.h": "#include <openssl/evp.h>\nint Core();\n"})
        self.assertEqual(tree.make(), "")
        problems = tree.headers()
        self.assertTrue(any("core.cc (protocol_core)" in p and "openssl/evp.h: a header of openssl"
                            in p for p in problems), problems)
        # The layers above list OpenSSL, so for them it is no violation.
        self.assertFalse([p for p in problems if "core.cc" not in p], problems)

    def test_unlisted_library_is_found_in_dependencies(self):
        tree = Tree(self, {"protocol/wire/wire.cc": '#include "protocol/wire/wire.h"\n'
                                              "#include <ares.h>\nint Wire() { return Core(); }\n"})
        self.assertEqual(tree.make(), "")
        problems = tree.headers()
        self.assertTrue(any("ares.h" in p and "does not know" in p for p in problems), problems)

    def test_own_file_of_forbidden_layer_is_found_in_dependencies(self):
        tree = Tree(self, {"protocol/core/core.cc": '#include "protocol/rpc/rpc.h"\n'},
                    more="target_include_directories(protocol_core PRIVATE ${CMAKE_SOURCE_DIR})")
        self.assertEqual(tree.make(), "")
        problems = tree.headers()
        self.assertTrue(any("a file of protocol_rpc" in p for p in problems), problems)

    def test_source_rules(self):
        tree = Tree(self, {
            "protocol/core/up.cc": '#include "../wire/wire.h"\n',
            "protocol/core/wide.cc": "//" + "x" * 99 + "\n",
            "protocol/core/cut.cc": "int i;",
            "site_agent/runtime/egress_gate.cc": "#include <grpcpp/channel.h>\n",
            "site_agent/runtime/link.cc": "#include <grpcpp/channel.h>\n",
            "cli/cli_main.cc": "int main() {\n  KeepMemoryToItself();\n}\n",
            "sim/sim_main.cc": "int main() {}\n",
            "LICENSE": "All rights reserved.\n",
        })
        self.assertEqual(check_sources.check(tree.root), [
            "LICENSE: the Apache License is not there",
            "protocol/core/cut.cc: does not end with a line break",
            'protocol/core/up.cc:1: includes through "../" (write the path from the root)',
            "protocol/core/wide.cc:1: 101 columns (at most 100)",
            "site_agent/runtime/link.cc:1: can send past the egress gate "
            "(site_agent/runtime/egress_gate.h)",
            "sim/sim_main.cc: is a program that leaves core dumps "
            "(protocol/core/process_memory.h)",
        ])


if __name__ == "__main__":
    SOURCE_ROOT, CXX = sys.argv[1:3]
    unittest.main(argv=sys.argv[:1])
