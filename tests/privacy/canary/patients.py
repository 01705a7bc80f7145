"""Planted patients, the tables of the hospitals, and what the statistics phase must make of them;
all of it apart from the product's code."""

import csv
import hashlib
import hmac
import io
import math
import re
import struct
import subprocess

SITES = ["northern", "eastern", "western"]
HOME = "northern"  # The hospital of the planted patients.
SPLIT = {"seed": 11, "validation": 0.15, "test": 0.25}
MINIMUM_COUNT = 5

# A number that one patient alone has: its mean would be the patient's own.
RARE = "rare_marker"


def split_part(config, patient):
    """"train", "validation" or "test" under `split { by: PATIENT }`: HKDF-SHA256 as
    protocol/wire/derived_seed.h and site_agent/ingest/split.h have it."""
    info = b"split\0" + patient.encode() + b"\0" + struct.pack("<Q", 0)
    extracted = hmac.new(b"consilium.seed.v1", struct.pack("<Q", config["seed"]), hashlib.sha256)
    key = hmac.new(extracted.digest(), info + b"\x01", hashlib.sha256).digest()
    unit = (int.from_bytes(key[:8], "big") >> 11) * 2.0 ** -53
    if unit < config["test"]:
        return "test"
    return "validation" if unit < config["test"] + config["validation"] else "train"


def draw(name, counter=0):
    """[0, 1), by name."""
    digest = hashlib.sha256(f"{name}/{counter}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2.0 ** 64


def unusual_number(name, low, high):
    """A number of ten significant digits of which no beginning is plain, as text."""
    for counter in range(1000):
        text = f"{low + (high - low) * draw(name, counter):.10g}"
        digits = re.sub(r"^0\.0*|\.", "", text)
        if len(digits) == 10 and digits[-1] != "0" and len(set(digits[:6])) >= 5:
            return text
    raise ValueError(f"no unusual number between {low} and {high}")


class Table:
    """Columns in the contract's order, and rows (patient, texts, label)."""

    def __init__(self, columns, rows):
        self.columns = columns
        self.rows = rows

    def write(self, path):
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["patient", *self.columns, "malignant"])
        for patient, texts, label in self.rows:
            writer.writerow([patient, *texts, label])
        path.write_text(text.getvalue())

    def numbers(self, patient):
        texts = next(texts for name, texts, _ in self.rows if name == patient)
        return [float(text) for text in texts]

    def sums(self, config, minimum_count):
        """(n, Σx, Σx²) per column over the training rows; small counts withheld."""
        sums = []
        for column in range(len(self.columns)):
            values = [float(texts[column]) for patient, texts, _ in self.rows
                      if texts[column] and split_part(config, patient) == "train"]
            if len(values) < minimum_count:
                values = []
            sums.append((len(values), math.fsum(values), math.fsum(x * x for x in values)))
        return sums


def real_table(text):
    """Of scripts/wdbc_table, with ids for its rows and a column that nobody has."""
    lines = list(csv.reader(io.StringIO(text)))
    return Table(lines[0][:-1] + [RARE],
                 [(f"p{number:04}", line[:-1] + [""], line[-1])
                  for number, line in enumerate(lines[1:], 1)])


def unusual_patient(table, name):
    """Beyond every real patient in each number, by up to half as much."""
    texts = []
    for index, column in enumerate(table.columns):
        values = [float(row[1][index]) for row in table.rows if row[1][index]]
        top = max(values) if values else 100.0
        texts.append(unusual_number(f"{name}/{column}", top * 1.02, top * 1.5))
    return (name, texts, "1")


def canary_id(config, part):
    """An id that falls into that part of the split."""
    for counter in range(1000):
        name = f"canary-{part}-{hashlib.sha256(f'{part}{counter}'.encode()).hexdigest()[:12]}"
        if split_part(config, name) == part:
            return name
    raise ValueError(f"no id falls into {part}")


def standardisation(sums_of_sites):
    """(means, deviations) of the federation: population variance, 0 and 1 where nobody has it."""
    means, deviations = [], []
    for sums in zip(*sums_of_sites):
        count, first, second = (math.fsum(part) for part in zip(*sums))
        mean = first / count if count else 0.0
        variance = second / count - mean * mean if count else 0.0
        means.append(mean)
        deviations.append(math.sqrt(variance) if variance > 0 else 1.0)
    return means, deviations


def make_tables(source):
    """Tables by site, and the planted patients by what became of them."""
    text = subprocess.run([source / "scripts/wdbc_table"], check=True, capture_output=True,
                          text=True).stdout
    whole = real_table(text)
    planted = {part: unusual_patient(whole, canary_id(SPLIT, part))
               for part in ("train", "validation", "test")}
    refused = unusual_patient(whole, "canary-refused-5e0c1d7b94a2")
    # Out of the contract's range; every other number is fine.
    refused[1][3] = unusual_number("refused", 80000, 90000)
    planted["refused"] = refused
    ends = {"northern": (0, 340), "eastern": (340, 480), "western": (480, 569)}
    tables = {site: Table(whole.columns, whole.rows[slice(*ends[site])])
              for site in SITES}
    for place, patient in enumerate(planted.values()):
        tables[HOME].rows.insert(40 * place + 7, patient)
    # Thus the rare number is known of one patient in each part of the split.
    return tables, planted
