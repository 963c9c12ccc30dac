from __future__ import annotations

import json

import yaml

from instruct.build.counts import Count, Counts
from instruct.reports.card import write_reports
from instruct.reports.count_table import to_markdown

MANIFEST = {
    "name": "mine",
    "version": "1.2.3",
    "configs": [{"config_name": "all", "data_files": [{"split": "test", "path": "all/test/*.arrow"}]}],
    "sources": {
        "toy": {"access": "open", "licence": "CC0: no: terms"},
        "far": {"access": "gated", "licence": "An agreement"},
    },
    "tasks": [
        {"name": "[A] [Toy]", "bad": {"missing_image": 1200, "empty_target": 3}},
        {"name": "[A] [Far]", "absent": ["far"]},
    ],
    "recipe": {"name": "mine", "seed": 0},
}
COUNTS = Counts({"[A] [Toy]": {"test": Count(5, 4, 3)}, "[A] [Far]": {}}, {"test": Count(5, 4, 3)})


def test_a_build_gets_its_table_in_three_forms_and_a_readme(tmp_path):
    write_reports(tmp_path, MANIFEST, COUNTS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "counts.csv", "counts.json", "counts.md"]
    table = (tmp_path / "counts.md").read_text("utf-8")
    assert table == to_markdown(COUNTS, {"[A] [Far]": ["far"]})
    assert table.endswith("these sources were not on disk: far.\n")
    assert json.loads((tmp_path / "counts.json").read_text())["total"]["images_test"] == 4
    assert (tmp_path / "counts.csv").read_text().splitlines()[1] == "A,Toy,0,0,5,0,0,4,0,0,3"


def test_the_readme_opens_with_what_datasets_reads_and_tells_the_terms(tmp_path):
    write_reports(tmp_path, MANIFEST, COUNTS)
    _, head, body = (tmp_path / "README.md").read_text("utf-8").split("---\n", 2)
    assert yaml.safe_load(head) == {"configs": MANIFEST["configs"]}
    assert body.startswith("\n# mine\n\nInstruction data built by cxr-instruct 1.2.3. Not for clinical use.\n")
    assert "- toy: open; CC0: no: terms\n- far: gated; An agreement\n" in body
    assert "\n## Instruction Tuning Data for CXR\n\n### Data Summary\n" in body
    assert "\n### All the datasets\n" in body
    assert "\n- [A] [Toy]: 1,200 missing_image\n- [A] [Toy]: 3 empty_target\n" in body
    assert body.count("\n# ") == 1
    assert json.loads(body.split("```json\n")[1].split("```")[0]) == MANIFEST["recipe"]


def test_a_build_without_quarantine_does_not_speak_of_it(tmp_path):
    write_reports(tmp_path, MANIFEST | {"tasks": [{"name": "[A] [Toy]"}]}, COUNTS)
    assert "quarantine" not in (tmp_path / "README.md").read_text("utf-8")
