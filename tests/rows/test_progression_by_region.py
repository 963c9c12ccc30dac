"""Progression targets by region of the chest: more tasks for MIMIC-CXR, in a folder of specs of their own."""

from collections import Counter

import pyarrow as pa

from instruct import synth
from instruct.resources import shipped
from instruct.sources.mimic_cxr import SOURCE
from instruct.specs.records import RecordQueries
from instruct.specs.task_spec import load_task_specs
from tests.conftest import run_cli

FOLDER = shipped("task_specs") / "progression_by_region"
FINDINGS, IMPRESSION = (entry for entry in load_task_specs([FOLDER]) if entry.task.task.endswith("by Region"))
REGIONS = {"devices", "pleura", "heart and mediastinum", "lungs", "bones"}


def regional(tables, findings):
    """Targets of a study whose findings are these, by region."""
    names = tables["studies"].schema.names
    studies = tables["studies"].to_pylist()
    with RecordQueries(SOURCE, {"mimic_cxr": tables}) as queries:
        prior = next(r["id"] for b in queries.records(FINDINGS, [], 1000) for r in b.to_pylist()).partition(":")[0]
    for row in studies:
        row["findings"] = findings if row["study"] == prior else None
    table = tables["studies"].from_pylist(studies, schema=tables["studies"].schema).select(names)
    with RecordQueries(SOURCE, {"mimic_cxr": {**tables, "studies": table}}) as queries:
        batches = queries.records(FINDINGS, ["region", "target", "section"], 1000)
        rows = [row for batch in batches for row in batch.to_pylist()]
    assert {row["id"] for row in rows} == {f"{prior}:{row['region'].replace(' ', '_')}" for row in rows}
    return {row["region"]: row["target"] for row in rows}


def test_a_sentence_is_filed_once_and_only_regions_with_a_change_make_examples(tmp_path):
    synth.write("mimic_cxr", tmp_path / "mimic_cxr", studies=60, images=False)
    tables = SOURCE.tables_of(SOURCE.find(tmp_path / "mimic_cxr"), SOURCE.options())
    findings = (
        "1. The endotracheal tube and the left pleural drain are unchanged. 2. Small left effusion has increased. "
        "No pneumothorax. Heart size is normal. Lungs are clear. Degenerative changes of the spine. Otherwise stable"
    )
    assert regional(tables, findings) == {
        "devices": "The endotracheal tube and the left pleural drain are unchanged.",
        "pleura": "Small left effusion has increased. No pneumothorax.",
        "bones": "Degenerative changes of the spine.",
    }
    assert regional(tables, "Lungs are clear. No effusion.") == {}
    assert regional(tables, "Unchanged.") == {}


def test_it_is_built_by_name_beside_the_published_rows(tmp_path):
    synth.write("mimic_cxr", tmp_path / "data" / "mimic_cxr", studies=60, images=False)
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "out"
    recipe.write_text(
        "name: regions\nsources: {mimic_cxr: {}}\naudit: 'off'\nmax_bad: 0\n"
        f"tasks: ['[Progression Findings Generation] [MIMIC-CXR]', '{FINDINGS.name}', '{IMPRESSION.name}']\n"
    )
    run_cli("build", recipe, "--data-root", tmp_path / "data", "--out", out, "--specs", FOLDER.name)
    found = Counter()
    pairs = {}
    for shard in sorted(out.glob("*/*/arrow/*.arrow")):
        with pa.memory_map(str(shard)) as file:
            for example in pa.ipc.open_stream(file).read_all().to_pylist():
                found[example["task"]] += 1
                pairs.setdefault(example["task"], set()).add(example["id"].partition(":")[0])
                if example["task"] == FINDINGS.task.task:
                    region = example["id"].partition(":")[2].replace("_", " ")
                    assert region in REGIONS
                    assert region in example["conversations"][-2]["value"].lower()
    assert pairs[FINDINGS.task.task] <= pairs["Progression Findings Generation"]
    assert found[FINDINGS.task.task] > len(pairs[FINDINGS.task.task]) > 0
    assert found[IMPRESSION.task.task] > 0
