"""What the evidence must hold for a search that finds nothing to mean something: the patients took
part, they lie in the store, and the recorder missed nothing."""

import hashlib
import re
import shutil
import subprocess

import items
import patients
from evidence import copy_stores
from federation import Failed
from needles import RAW, standardised_patient
from patients import HOME, MINIMUM_COUNT, SITES, SPLIT


def require(condition, what):
    if not condition:
        raise Failed(what)


def statistics_of(calls):
    """The reports of all agents: [[n], [Σx], [Σx²]], from SiteEvent.statistics."""
    for call in calls:
        for message in call.messages:
            report = items.field(message, 4)
            if call.method == "/consilium.v1.Coordination/Attach" and report:
                counts, at = [], 0
                packed = items.field(report, 2)
                while at < len(packed):
                    value, at = items.varint(packed, at)
                    counts.append(value)
                yield [counts, items.doubles(items.field(report, 3)),
                       items.doubles(items.field(report, 4))]


def standardisation_in(calls, columns):
    """Of Directive.run_started, as the aggregator sent it."""
    for call in calls:
        for message in call.messages if call.method == "served" else []:
            means = items.field(message, 3, 3, 1)
            deviations = items.field(message, 3, 3, 2)
            if means and deviations and len(means) == len(deviations) == 8 * columns:
                return items.doubles(means), items.doubles(deviations)
    raise Failed("no recorded message brings the standardisation")


def close(a, b):
    return abs(a - b) <= 1e-11 * max(abs(a), abs(b))


def check_statistics(calls, tables, planted):
    """The training canary is in its hospital's sums, and its rare number in none. Returns the
    means and deviations that the hospitals were told."""
    columns = len(tables[HOME].columns)
    kept = {site: patients.Table(table.columns, [row for row in table.rows
                                                 if row[0] != planted["refused"][0]])
            for site, table in tables.items()}
    expected = [kept[site].sums(SPLIT, MINIMUM_COUNT) for site in sorted(SITES)]
    reports = list(statistics_of(calls))
    for site, sums in zip(sorted(SITES), expected):
        def same(report, sums=sums):
            return all(report[0][i] == sums[i][0] and close(report[1][i], sums[i][1]) and
                       close(report[2][i], sums[i][2]) for i in range(columns))
        require(any(same(report) for report in reports),
                f"no recorded statistics are {site}'s: the split or the recorder is not understood")
    home = expected[sorted(SITES).index(HOME)]
    require(home[-1] == (0, 0, 0) and home[0][0] > MINIMUM_COUNT, "nothing was withheld")
    means, deviations = standardisation_in(calls, columns)
    for told, computed in zip((means, deviations), patients.standardisation(expected)):
        require(all(close(a, b) for a, b in zip(told, computed)), "the standardisation is another")
    return means, deviations


def releases_of(decoded):
    """(kind, digest) that a site's journal says has left it; of SiteJournalEntry.release."""
    for name, content in items.read(decoded):
        release = items.field(content, 2)
        if re.fullmatch(r"database journal\[\d+\]\.payload", name) and release:
            yield items.field(release, 1).decode(), items.field(release, 3)


def check_recorder(federation, calls):
    """Everything that is known to be sent was recorded, and what the agents sent is what their
    journals say that they released."""
    methods = {call.method for call in calls if call.messages}
    expected = {"Enrolment/Enrol", "Coordination/Attach", "Transfer/Submit", "Transfer/Fetch",
                "Admin/AddSite", "Admin/SubmitRun", "Admin/GetRun", "Admin/WatchRun",
                "Admin/ExportRun", "Admin/ExportModel", "Admin/GetStatus", "Admin/VerifyAudit"}
    missing = {f"/consilium.v1.{each}" for each in expected} - methods
    require(not missing, f"not recorded: {missing}")
    served = [content for _, content, _ in items.decoded(
        [call for call in calls if call.method == "served"])]
    submitted = [content for _, content, _ in items.decoded(
        [call for call in calls if call.method.endswith("/Submit")])]
    require(any(b"BEGIN CERTIFICATE" in content for content in served), "no certificate was sent")
    decoded = federation.folder / "decoded"
    updates = []
    for export in decoded.glob("*.export"):
        for name, content in items.read(export):
            if name.startswith("export update"):
                updates.append(name)
                require(any(content in message for message in submitted),
                        f"no recorded upload is {name}")
    require(updates, "no update was exported")
    blobs = [content for name, content in items.read(decoded / "end aggregator")
             if name.startswith("blob")]
    fetched = [blob for blob in blobs if any(blob in message for message in served)]
    # Which versions a site fetches is a matter of pace; all fetch the first and the last one.
    require(len(fetched) >= 2, "models were sent and not recorded")
    released = {digest for site in SITES for _, digest in releases_of(decoded / f"end {site}")}
    for call in calls:
        if call.method not in ("/consilium.v1.Coordination/Attach", "/consilium.v1.Transfer/Fetch"):
            continue
        for message in call.messages:
            require(hashlib.sha256(message).digest() in released,
                    f"a message of {call.name} left a hospital past its journal")


def check_rows(arguments, federation, searched, search):
    """The rows are in their hospital's store, all of those that it took: unsealed, they are found,
    and so they are in the table that it imported."""
    decoded = federation.folder / "rows"
    copy = federation.folder / "copy"
    copy_stores(federation.work, copy)
    subprocess.run([arguments.open_stores, "rows", copy / HOME / "store",
                    copy / HOME / "store-key/site.kek", decoded], check=True)
    shutil.rmtree(copy)
    found = search.run((name, content, True) for name, content in items.read(decoded))
    table = federation.folder / "tables" / f"{HOME}.csv"
    found_in_table = search.run([("table", table.read_bytes(), True)])
    for patient in searched:
        kinds = {finding.kind for finding in found if finding.patient == patient.name}
        stored = {"id", f"float64 {RAW}"} if "refused" not in patient.name else set()
        require(stored <= kinds and bool(stored) == bool(kinds),
                f"{patient.name} is not in its store as it should be: {kinds}")
        kinds = {each.kind for each in found_in_table if each.patient == patient.name}
        require({"id", f"text {RAW}"} <= kinds, f"{patient.name} is not in its table: {kinds}")


def searched_patients(tables, planted, told):
    """The planted ones with their numbers raw and standardised."""
    return [standardised_patient(name, tables[HOME].numbers(name), told)
            for name, _, _ in planted.values()]


def check_snapshots(federation):
    """What the kills left lying around is in the snapshots."""
    snapshots = federation.folder / "snapshots"
    spooled = list(snapshots.glob("update-in-the-spool/aggregator/store/blobs/*/tmp/*"))
    require(spooled, "no unfinished upload was in the spool")
    blobs = [each for each in (snapshots / f"update-in-the-outbox/{HOME}/store/blobs").rglob("*")
             if each.is_file()]
    require(len(blobs) >= 2, "no update was in the outbox beside the model")
    for owner in ("aggregator/store/aggregator", f"{HOME}/store/site"):
        log = snapshots / "in-the-middle" / f"{owner}.db-wal"
        require(log.is_file() and log.stat().st_size > 0, f"{owner}.db has no write-ahead log")
