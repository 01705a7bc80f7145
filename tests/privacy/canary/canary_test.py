"""Patients planted in a hospital's data are found in no store file, log, journal, report or decoded
message of a federation of real processes, as text, float32 or float64, raw or standardised; and the
same search finds them wherever they are planted on purpose.

usage: canary_test.py --bin DIR --source DIR --recorder SO --open-stores PROGRAM
                      --find-needles PROGRAM [--keep]

What is searched: every file that a process left (also in the middle of the run, and after a kill
-9 that left a sealed update in the outbox and one in the spool), its name, what the programs print
at their most talkative log level, reports, every table, journal entry and blob after decryption,
the exported journal after decryption, and every message, metadata value and status that a program
handed to gRPC (message_recorder.cc). needles.py says what is looked for.
"""

import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "faults"))
import items  # noqa: E402
import leaks  # noqa: E402
import patients  # noqa: E402
from checks import (check_recorder, check_rows, check_snapshots,  # noqa: E402
                    check_statistics, require, searched_patients)
from evidence import (RecordedFederation, ask_everything, corpus_of,  # noqa: E402
                      export_run, open_stores)
from federation import Failed  # noqa: E402
from needles import Search, standardised_patient  # noqa: E402
from patients import HOME, MINIMUM_COUNT, SITES, SPLIT  # noqa: E402

VERSIONS = 30
CHANCE_MAX = 1e-3


# --- the federation -----------------------------------------------------------------------------

def write_configs(source, folder):
    contract = (source / "models/zoo/contracts/wdbc.contract.textproto").read_text()
    contract += (f'columns {{ name: "{patients.RARE}" number {{ min: 0 max: 1000 }} '
                 'missing { rule: MEAN } }\npatient_id_column: "patient"\n')
    (folder / "contract.textproto").write_text(contract)
    config = (source / "sim/scenarios/wdbc-four-hospitals/run.textproto").read_text()
    config = config.replace("../../../models/zoo/contracts/wdbc.contract.textproto",
                            "contract.textproto")
    config = config.replace("../../../models", str(source / "models"))
    config = re.sub(r"split \{.*\}", f"split {{ validation: {SPLIT['validation']} "
                    f"test: {SPLIT['test']} by: PATIENT seed: {SPLIT['seed']} }}", config)
    config = re.sub(r"task_duration_min_ms: \d+", "task_duration_min_ms: 100", config)
    config = re.sub(r"versions_max: \d+", f"versions_max: {VERSIONS}", config)
    (folder / "run.textproto").write_text(config)


def run_federation(federation, tables):
    """A whole run, with a copy of all stores wherever something lies around. Returns its id."""
    # The planted patients' hospital is killed twice, and yet most of the updates are its own.
    for site in SITES:
        federation.agent_arguments[site] = ["--task-duration-min", "0s" if site == HOME else "2s"]
    federation.start_aggregator("aggregator.blob_written")
    run = federation.submit(tables / "run.textproto")
    for site in SITES:
        federation.start_agent(site, "agent.outbox_blob_synced" if site == HOME else None)
    federation.wait_until_dead("aggregator")
    federation.snapshot("update-in-the-spool")
    federation.start_aggregator()
    federation.wait_until_dead(HOME)
    federation.snapshot("update-in-the-outbox")
    federation.start_agent(HOME, "agent.mid_send")
    federation.wait_until_dead(HOME)
    federation.snapshot("upload-cut-off")
    federation.start_agent(HOME)
    federation.admin("run", "watch", run, "--until-version", VERSIONS // 2)
    federation.snapshot("in-the-middle")
    federation.admin("run", "watch", run)
    included = {each["site_id"]: int(each["updates_included"])
                for each in federation.run_report(run)["participants"]}
    require(included[HOME] >= VERSIONS // 4, f"{HOME} has too small a part in it: {included}")
    return run


# --- the test -----------------------------------------------------------------------------------

def report(findings):
    return "\n".join(f"  {each.kind} of {each.patient} in {each.item} at {each.offset}"
                     for each in findings[:40])


def test_nothing_is_found(arguments, federation, tables, planted):
    run = run_federation(federation, federation.folder / "tables")
    ask_everything(federation, run)
    export_run(federation, run)
    out = federation.folder / "out"
    federation.stop_all()
    data = [part for site in SITES
            for part in ("--data", f"{site}={federation.folder / 'tables' / site}.csv")]
    federation.call("consilium-sim", "assess", out / f"{run}.export",
                    "--key", federation.work / "reader.key", *data, "--out", out / "report")
    check_snapshots(federation)
    open_stores(arguments, federation)
    calls = items.read_calls(federation.records)
    searched = searched_patients(tables, planted, check_statistics(calls, tables, planted))
    search = Search(arguments.find_needles, searched)
    require(len(search.too_plain) <= len(search.needles) / 50, "too many needles are plain")
    check_rows(arguments, federation, searched, search)
    check_recorder(federation, calls)
    corpus = corpus_of(federation.folder)
    findings = search.run(corpus)
    require(not findings, f"patients were found {len(findings)} times:\n{report(findings)}")
    chance = search.chance(corpus)
    require(chance < CHANCE_MAX, f"chance alone would find {chance:.1e}: the rules are too weak")
    size = sum(len(content) for _, content, _ in corpus)
    print(f"{len(searched)} patients, {len(search.needles)} needles: not found in {len(corpus)} "
          f"items, {size / 2 ** 20:.1f} MiB (by chance: {chance:.1e})", flush=True)
    return searched


def test_leaky_federation(arguments, federation, tables, planted):
    """A hospital that trains on one patient and lets numbers over one patient out, in a run that
    is named after the patient and has a number of the patient's for a limit."""
    name, texts, label = planted["train"]
    columns = tables[HOME].columns
    alone = patients.Table(columns, [(name, texts, label)])
    folder = federation.folder / "tables"
    alone.write(folder / "alone.csv")
    config = leaks.write_leaky_config(
        arguments.source, folder, {"name": name, "limit": texts[columns.index("mean_area")],
                                   "home": HOME, "other": "eastern", "seed": SPLIT["seed"]})
    federation.call("consilium-agent", "data", "import",
                    "--store", federation.work / HOME / "store",
                    "--contract", folder / "contract.textproto", "--csv", folder / "alone.csv")
    subprocess.run([arguments.open_stores, "loosen", federation.work / HOME / "store/site.db",
                    federation.work / HOME / "store-key/site.kek"], check=True)
    federation.start_aggregator()
    for site in SITES:
        federation.start_agent(site)
    run = federation.submit(config)
    federation.admin("run", "watch", run)
    export_run(federation, run)
    federation.stop_all()
    open_stores(arguments, federation)
    told = patients.standardisation([alone.sums(SPLIT, 1),
                                     tables["eastern"].sums(SPLIT, MINIMUM_COUNT)])
    leaks.check_leaks(arguments, corpus_of(federation.folder),
                      standardised_patient(name, alone.numbers(name), told))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("bin", "source", "recorder", "open-stores", "find-needles"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    parser.add_argument("--keep", action="store_true", help="leave the work folder")
    arguments = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="consilium-canary-"))
    federation = None
    try:
        tables, planted = patients.make_tables(arguments.source)
        (folder / "tables").mkdir()
        for site, table in tables.items():
            table.write(folder / "tables" / f"{site}.csv")
        write_configs(arguments.source, folder / "tables")
        federation = RecordedFederation(arguments, folder)
        federation.create({site: folder / "tables" / f"{site}.csv" for site in SITES},
                          folder / "tables/contract.textproto")
        searched = test_nothing_is_found(arguments, federation, tables, planted)
        leaks.test_plants_are_found(arguments, folder / "planted", corpus_of, searched)
        test_leaky_federation(arguments, federation, tables, planted)
    except Failed as failed:
        sys.exit(f"FAILED: {failed}")
    finally:
        if federation:
            for process in federation.processes.values():
                process.kill()
        if not arguments.keep:
            shutil.rmtree(folder)


main()
