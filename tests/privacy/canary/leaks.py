"""Leaks planted on purpose: the search of the canary test must find them, or finding nothing means
nothing. First by hand, every form of a patient in every kind of place, read back by the code that
reads the evidence; then a federation that is told to leak, through every part of the product."""

import hashlib
import re
import struct

import items
from federation import Failed
from needles import RAW, STANDARDISED, Search


def _pack(format_, numbers):
    return b"".join(struct.pack(format_, number) for number in numbers)


def _single(number):
    return struct.unpack("<f", struct.pack("<f", number))[0]


def _text(format_, numbers):
    return ",".join(format(number, format_) for number in numbers).encode()


def _forms(patient):
    """(kind that must be found, content, is it scattered float32s)"""
    yield "id", patient.name.encode(), False
    yield "id", patient.name.encode().hex().encode(), False
    for variant, row in patient.numbers.items():
        singles = [_single(number) for number in row]
        for format_ in (".6g", ".9g", ".17g", ".8e", "f"):
            yield f"text {variant}", _text(format_, row), False
        yield f"text {variant}", _text(".9g", singles[4:5]), False
        yield f"text {variant}", _text(".17g", row[7:8]), False
        yield f"text {variant}", repr(row).encode(), False
        yield f"float64 {variant}", _pack("<d", row), False
        yield f"float64 {variant}", _pack("<d", row[11:12]), False
        yield f"widened {variant}", _pack("<d", singles[5:6]), False
        yield f"float32 {variant}", _pack("<f", row), False
        yield f"float32 {variant}", _pack("<f", row[20:22]), False
        yield f"float32 {variant}", _pack("<f", [row[3], 1.0, row[17]]), True
        yield f"hex {variant}", _pack("<d", row[2:3]).hex().encode(), False
        yield f"hex {variant}", _pack("<f", row[2:4]).hex().encode(), False


def _noise(tag):
    return hashlib.sha256(tag.encode()).digest() * 40


def _length_field(number, content):
    key, size = number << 3 | items.LENGTH, len(content)
    head = bytes([key])
    while size > 127:
        head += bytes([size & 127 | 128])
        size >>= 7
    return head + bytes([size]) + content


class _Planter:
    """Makes the folders that the canary test collects, with one plant in each item."""

    def __init__(self, root):
        self.root = root
        self.expected = {}  # Tag, which is in the item's name, to the kind that must be found.
        self.decoded, self.recorded = [], []
        for folder in ("federation/logs", "federation/northern/store/blobs/tmp", "snapshots", "tmp",
                       "out", "records", "decoded"):
            (root / folder).mkdir(parents=True)

    def _tag(self, kind):
        tag = f"plant{len(self.expected):04}"
        self.expected[tag] = kind
        return tag

    def plant(self, kind, content, is_scattered):
        line = b"[info] a row: " + content + b"\n"
        self._file("federation/logs/{}.log", kind, line)
        self._file("out/{}.html", kind, b"<td>" + content + b"</td>")
        self._decoded("journal text journal[3].payload", kind, b'message: "' + content + b'"')
        self._decoded("blob", kind, content)
        message = _length_field(4, b"\x08\x07" + _length_field(2, content))
        self._call("message {} /consilium.v1.Coordination/Attach", kind, [message])
        half = len(content) // 2 + 1
        if not is_scattered:
            # A chunk's border, through the middle of a number.
            chunks = [_length_field(3, content[:half]), _length_field(3, content[half:])]
            self._call("message {} /consilium.v1.Transfer/Submit", kind, chunks)
            for name in ("federation/northern/store/{}.db", "snapshots/{}.db-wal", "tmp/{}",
                         "federation/northern/store/blobs/tmp/{}"):
                self._file(name, kind, _noise(name) + content + _noise(content.hex()))
        self._call("metadata {} served", kind, [b"consilium-error-bin=" + content])
        self._call("status {} served", kind, [b"refused: " + content])

    def plant_unpacked(self, kind, numbers):
        """Floats with a tag between each two."""
        message = b"".join(b"\x0d" + struct.pack("<f", number) for number in numbers)
        self._call("message {} /consilium.v1.Coordination/Attach", kind, [message])

    def plant_name(self, kind, name):
        (self.root / "tmp" / name).write_bytes(b"")
        self.expected["names of files"] = kind

    def finish(self):
        items.write(self.root / "decoded/planted", self.decoded)
        items.write(self.root / "records/planted.items", self.recorded)

    def _file(self, name, kind, content):
        (self.root / name.format(self._tag(kind))).write_bytes(content)

    def _decoded(self, name, kind, content):
        self.decoded.append((f"{name} {self._tag(kind)}", content))

    def _call(self, name, kind, contents):
        tag = self._tag(kind)
        self.recorded += [(name.format(tag), content) for content in contents]


def test_plants_are_found(arguments, root, corpus_of, searched):
    planted, decoy = searched[0], searched[1]
    planter = _Planter(root)
    for kind, content, is_scattered in _forms(planted):
        planter.plant(kind, content, is_scattered)
    for variant, row in planted.numbers.items():
        planter.plant_unpacked(f"float32 {variant}", row)
    planter.plant_name("id", f"{planted.name}.csv")
    planter.finish()
    findings = Search(arguments.find_needles, [planted, decoy]).run(corpus_of(root))
    if any(finding.patient == decoy.name for finding in findings):
        raise Failed("the search finds a patient who was not planted")
    found = {(tag, finding.kind) for finding in findings
             for tag in re.findall(r"plant\d{4}|names of files", finding.item)}
    missed = [f"{kind} in {tag}" for tag, kind in planter.expected.items()
              if (tag, kind) not in found]
    if missed:
        raise Failed(f"{len(missed)} of {len(planter.expected)} plants were not found: "
                     f"{', '.join(missed[:20])}")
    print(f"{len(planter.expected)} planted leaks: all found", flush=True)


# --- a federation that leaks --------------------------------------------------------------------

# From zero weights one step on one patient with label 1 moves the weights by rate · ½ · x: at this
# rate the update is the patient's standardised row.
LEAKY_RUN = """
name: "{name}"
model {{ spec_file: "{spec}" }}
data {{
  contract_file: "contract.textproto"
  split {{ validation: 0.15 test: 0.25 by: PATIENT seed: {seed} }}
  standardise: FEDERATED
}}
training {{
  optimizer {{ sgd {{ learning_rate: 2 }} }}
  batch_examples: 16
  local_steps: 1
  tasks_in_flight_max: 1
}}
aggregation {{ limits {{ update_norm_max: {limit} }} }}
participation {{ sites: "{home}" sites: "{other}" }}
stop {{ versions_max: 2 }}
seed: 1
"""

# Kind of finding, and where it must be.
LEAKED = [
    ("id", r"^message \d+ of consilium\.\d+ .*\.Admin/SubmitRun"),
    ("id", r"^message \d+ of consilium-aggregator\.\d+ \d+ served"),
    ("id", r"^message \d+ of consilium-agent\.\d+ .*\.Transfer/Submit"),
    ("id", r"^file federation/logs/northern\.log"),
    ("id", r"^file federation/logs/aggregator\.log"),
    ("id", r"^file out/canary-.*\.json"),
    ("id", r"^decoded end northern: journal text"),
    ("id", r"^decoded end aggregator: journal text"),
    ("id", r"^names of files"),
    (f"text {RAW}", r"^file out/canary-.*\.json"),
    (f"text {RAW}", r"^decoded end aggregator: journal text"),
    (f"text {RAW}", r"^decoded end northern: journal text"),
    (f"float64 {RAW}", r"^message \d+ of consilium-agent\.\d+ .*\.Coordination/Attach"),
    (f"float64 {RAW}", r"^message \d+ of consilium\.\d+ .*\.Admin/SubmitRun"),
    (f"float64 {RAW}", r"^decoded end northern: database journal"),
    (f"float64 {RAW}", r"^decoded end aggregator: database journal"),
    (f"float64 {RAW}", r"^decoded canary-.*\.export: export entry \d"),
    (f"float32 {STANDARDISED}", r"^message \d+ of consilium-agent\.\d+ .*\.Transfer/Submit"),
    (f"float32 {STANDARDISED}", r"^decoded end aggregator: blob"),
    (f"float32 {STANDARDISED}", r"^decoded canary-.*\.export: export update"),
]
# Sealed files hold all of this and show none of it.
SEALED = re.compile(r"^file .*(\.db|\.db-wal|/blobs/.*|\.export)$")


def write_leaky_config(source, folder, run):
    """`run`: the leaky run's name, limit, home, other and seed."""
    path = folder / "leaky.textproto"
    path.write_text(LEAKY_RUN.format(spec=source / "models/zoo/logistic_regression.textproto",
                                     **run))
    return path


def check_leaks(arguments, corpus, patient):
    """`patient`: the leaked one, standardised as in the leaky run."""
    findings = Search(arguments.find_needles, [patient]).run(corpus)
    for kind, where in LEAKED:
        if not any(each.kind == kind and re.search(where, each.item) for each in findings):
            raise Failed(f"the leaky federation's {kind} was not found in {where}")
    shown = [each for each in findings if each.kind != "id" and SEALED.match(each.item)]
    if shown:
        raise Failed(f"a sealed file shows a patient: {shown[0]}")
    print(f"a federation that leaks: found {len(findings)} times", flush=True)
