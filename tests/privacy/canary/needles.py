"""What a patient looks like wherever it might turn up, and the search for it.

A patient is an id and a row of numbers with ten significant digits each. Every number is looked
for raw and standardised, as

  text         ten digits as they stand in the table or are printed; nine digits of its float32;
               six digits, where three numbers of the row are near each other
  float64      the upper 6 of its 8 bytes (the last digits hang on how it was computed)
  widened      a float32 stored as a float64, all 8 bytes
  float32      two neighbours of the row one after the other, or two numbers of the row anywhere in
               one message, blob or entry; the lowest byte of each may be off by one
  hex          the bytes of float64 and float32, printed as hexadecimal digits

and the id as text and as hexadecimal digits. A float32 alone has 4 bytes, which random bytes show
once in 4 GB; chance() says what all rules for binary numbers make of the bytes that were searched.
"""

import bisect
import collections
import struct
import subprocess
import tempfile
import pathlib

import items

NEAR_BYTES = 512
RAW, STANDARDISED = "raw", "standardised"


class Patient:
    def __init__(self, name, numbers):
        self.name = name
        # {"raw": [...], "standardised": [...]}: numbers in the order of the encoded row.
        self.numbers = numbers


def standardised_patient(name, row, told):
    """`told`: the means and deviations that the hospitals were told."""
    return Patient(name, {RAW: row, STANDARDISED: [
        (x - mean) / deviation for x, mean, deviation in zip(row, *told)]})


Finding = collections.namedtuple("Finding", "kind patient item offset")


def _digits(value, count, rounded):
    """Significant digits of `value` as (digits, exponent), rounded or cut off."""
    text = f"{abs(value):.{count - 1 if rounded else 25}e}"
    mantissa, exponent = text.split("e")
    return mantissa.replace(".", "")[:count], int(exponent)


def text_forms(value, count):
    """Beginnings of all usual renderings of `value` with `count` digits or more: positional and
    with an exponent, rounded or going on."""
    forms = set()
    for rounded in (True, False):
        digits, exponent = _digits(value, count, rounded)
        forms.add(digits[0] + "." + digits[1:])
        if 0 <= exponent < count - 1:
            forms.add(digits[:exponent + 1] + "." + digits[exponent + 1:])
        elif -5 <= exponent < 0:
            forms.add("0." + "0" * (-exponent - 1) + digits)
    return {form.encode() for form in forms}


def _needles(patient):
    """(what, variant, column, bytes). `what` decides what a hit needs besides."""
    name = patient.name.encode()
    yield "id", "", 0, name
    yield "id", "", 0, name.hex().encode()
    for variant, row in patient.numbers.items():
        for column, value in enumerate(row):
            single = struct.unpack("<f", struct.pack("<f", value))[0]
            wide, narrow = struct.pack("<d", value), struct.pack("<f", value)
            for form in text_forms(value, 10) | text_forms(single, 9):
                yield "text", variant, column, form
            for form in text_forms(value, 6):
                yield "short text", variant, column, form
            yield "float64", variant, column, wide[2:]
            yield "widened", variant, column, struct.pack("<d", single)
            yield "hex", variant, column, wide[2:].hex().encode()
            yield "float32", variant, column, narrow[1:]
            if column + 1 < len(row):
                after = struct.pack("<f", row[column + 1])
                yield "hex", variant, column, (narrow + after).hex().encode()


class Search:
    """`find_needles` is the program. Needles that chance would find (fewer than four different
    bytes, as those of round numbers) are left out and listed in `too_plain`."""

    def __init__(self, find_needles, patients):
        self.program = find_needles
        self.needles, self.too_plain = [], []
        for patient in patients:
            for needle in _needles(patient):
                what, content = needle[0], needle[-1]
                is_plain = len(set(content)) < {"float32": 3}.get(what, 4)
                (self.too_plain if is_plain else self.needles).append((patient, *needle))

    def run(self, corpus):
        """`corpus`: (name, content, is_one). Scattered float32s are looked for only in what is one
        message, blob or entry: in a large heap of random bytes chance makes some. Returns
        Findings."""
        corpus = list(corpus)
        with tempfile.TemporaryDirectory(prefix="consilium-canary-") as name:
            folder = pathlib.Path(name)
            items.write(folder / "needles", [("", needle[4]) for needle in self.needles])
            items.write(folder / "corpus", [(name, content) for name, content, _ in corpus])
            lines = subprocess.run([self.program, folder / "needles", folder / "corpus"],
                                   check=True, capture_output=True, text=True).stdout.splitlines()
        findings, grouped = [], collections.defaultdict(list)
        for line in lines:
            needle, item, offset = map(int, line.split())
            patient, what, variant, column, _ = self.needles[needle]
            if what in ("short text", "float32"):
                grouped[patient, what, variant, item].append((offset, column))
                continue
            kind = f"{what} {variant}".strip()
            findings.append(Finding(kind, patient.name, corpus[item][0], offset))
        for (patient, what, variant, item), hits in grouped.items():
            name, content, is_one = corpus[item]
            if what == "short text":
                offset = _three_near(sorted(hits))
            else:
                offset = _two_floats(sorted(hits), content, patient.numbers[variant], is_one)
            if offset is not None:
                kind = ("text" if what == "short text" else what) + " " + variant
                findings.append(Finding(kind, patient.name, name, offset))
        return findings

    def chance(self, corpus):
        """An upper estimate of how many findings random bytes of that size would give."""
        total = sum(len(content) for _, content, _ in corpus)
        expected = 0.0
        rows = collections.Counter()  # float32 needles of each patient and variant
        for patient, what, variant, _, content in self.needles:
            if what in ("float64", "widened"):
                expected += total * 256.0 ** -len(content)
            elif what == "float32":
                rows[patient, variant] += 1
        one = 3 / 256.0 ** 4  # Of one float32, its lowest byte off by one at most.
        squares = sum(len(content) ** 2 for _, content, is_one in corpus if is_one)
        for needles in rows.values():
            expected += total * needles * one ** 2 + squares * (needles * one) ** 2 / 2
        return expected


def _three_near(hits):
    """Where three different numbers of the row begin within NEAR_BYTES."""
    offsets = [offset for offset, _ in hits]
    for index, (offset, _) in enumerate(hits):
        end = bisect.bisect_right(offsets, offset + NEAR_BYTES)
        if len({column for _, column in hits[index:end]}) >= 3:
            return offset
    return None


def _two_floats(hits, content, row, is_one):
    at = {}
    for offset, column in hits:
        expected = struct.pack("<f", row[column])[0]
        # The needle leaves out the lowest byte, which lies before it.
        if offset > 0 and (content[offset - 1] - expected) % 256 in (0, 1, 255):
            at[offset - 1] = column
    for offset, column in sorted(at.items()):
        if at.get(offset + 4) == column + 1:
            return offset
    if is_one and len(set(at.values())) >= 2:
        return min(at)
    return None
