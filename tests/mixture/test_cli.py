from __future__ import annotations

import json

import pytest

from tests.build.helpers import call
from tests.conftest import REPOSITORY


@pytest.fixture
def file(tmp_path, built):
    (tmp_path / "mixture_x.yaml").write_text(
        f"name: x\ndata: [{built}]\nuse: [{{tasks: Progression*, repeats: 6}}, {{tasks: '*'}}]\n"
    )
    return tmp_path / "mixture_x.yaml"


def test_the_report_says_what_is_drawn_and_warns(file):
    out = call("mixture", file).out
    lines = {line.split("]  ")[0] + "]": line.split() for line in out.splitlines() if line.startswith("[")}
    assert len(lines) == 5
    found = lines["[Progression Findings Generation] [REX-Gradient]"]
    rows = int(found[-7])
    assert found[-6] == str(6 * rows) and found[-3] == "6.00" and found[-1] == str(2 * 6 * rows)
    assert (
        "warning: [Progression Findings Generation] [REX-Gradient]: each row is drawn 6.00 times, more than max" in out
    )
    assert out.count("warning:") == 2
    assert "selected, without rows in this split: [Findings Generation] [OpenI], " in out


def test_json_and_overrides(file, built):
    document = json.loads(call("mixture", file, "max_epochs_warn=6", "total=4000", "--json").out)
    assert document["warnings"] == [] or all("Progression" not in warning for warning in document["warnings"])
    assert document["total"]["draws"] == 4000 == sum(line["draws"] for line in document["rows"])
    assert sum(line["share"] for line in document["rows"]) == pytest.approx(1, abs=1e-4)
    held = json.loads(call("mixture", "mixture_demo", f"data=[{built}]", "--split", "test", "--json").out)
    counts = json.loads((built / "counts.json").read_text("utf-8"))
    assert held["split"] == "test" and held["total"]["draws"] == counts["total"]["test"]
    assert all(line["draws"] == counts["rows"][line["label"]]["test"] for line in held["rows"])


def test_faults_have_their_place_and_exit_code(file, tmp_path):
    file.write_text(file.read_text().replace("repeats: 6", "repeats: 6, count: 2"))
    err = call("mixture", file, check=3).err
    assert f"error: {file}:3:7: use.0: count and repeats contradict each other; keep one of them" in err
    assert "no such recipe file" in call("mixture", "mixtur_demo", check=2).err
    assert "did you mean 'mixture_demo'?" in call("mixture", "mixtur_demo", check=2).err.lower()


def test_lint_reads_each_recipe_as_what_its_name_says(file, tmp_path):
    assert "all is well" in call("lint", file).out
    file.write_text("name: x\nuse: [{mixture: gone.yaml}]\n")
    assert f"{file}:2:8: use.0.mixture: no such mixture" in call("lint", file, check=3).out
    assert call("lint", file.with_name("build.yaml"), check=2).err
    (tmp_path / "build.yaml").write_text("name: x\nuse: [{tasks: '*'}]\n")
    assert "build.yaml:1:1: sources: this key is required" in call("lint", tmp_path / "build.yaml", check=3).out


def test_the_schema_is_printed():
    committed = (REPOSITORY / "docs" / "schemas" / "mixture.schema.json").read_text("utf-8")
    assert call("schema", "mixture").out == committed
