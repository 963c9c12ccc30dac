"""The wheel: what it holds, and that the package finds its files when unpacked from it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

pytest.importorskip("hatchling", reason="hatchling builds the wheel; it comes with the extra dev")

USE = """
import json, sys
import instruct
from instruct.prompts.source import find_template
from instruct.resources import shipped
from instruct.reports.count_table import published
from instruct.specs.recipe import load_recipe
from instruct.specs.task_spec import load_task_specs
entries = load_task_specs()
print(json.dumps({
    "package": instruct.__file__,
    "templates": str(shipped("templates")),
    "tasks": len(entries),
    "found": [find_template(entry.task.template).name for entry in entries if entry.spec.source == "openi"],
    "recipe": load_recipe("demo").name,
    "published": len(published()),
}))
"""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    (wheel,) = folder.glob("cxr_instruct-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "suffixes"), [("templates", [".jinja"]), ("task_specs", [".yaml", ".jinja"]), ("recipes", [".yaml"])]
)
def test_the_wheel_ships_every_file_of(unpacked, folder, suffixes):
    here, there = REPOSITORY / folder, unpacked / "instruct" / "_data" / folder
    shipped = {path.relative_to(there) for path in there.rglob("*") if path.is_file()}
    assert shipped == {path.relative_to(here) for path in here.rglob("*") if path.suffix in suffixes} != set()


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_beside_it(unpacked):
    assert (unpacked / "instruct" / "py.typed").is_file()
    assert (unpacked / "instruct" / "reports" / "data" / "published_counts.csv").is_file()
    for kind in ("html", "css", "js"):
        here, there = (root / "instruct" / "reports" / "preview" for root in (REPOSITORY, unpacked))
        names = {path.name for path in here.glob(f"*.{kind}")}
        assert names == {path.name for path in there.glob(f"*.{kind}")} != set()
    assert {path.name.split("-")[0] for path in unpacked.iterdir()} == {"instruct", "cxr_instruct"}
    (metadata,) = unpacked.glob("*.dist-info")
    assert "cxr-instruct = instruct.cli.main:main" in (metadata / "entry_points.txt").read_text()
    needed = (metadata / "METADATA").read_text()
    core = [line for line in needed.splitlines() if line.startswith("Requires-Dist") and "extra ==" not in line]
    assert not [line for line in core if "torch" in line or "transformers" in line]


@pytest.mark.slow
def test_it_works_unpacked_far_from_the_source_tree(unpacked, tmp_path):
    import json

    done = subprocess.run(
        [sys.executable, "-P", "-c", USE],
        cwd=tmp_path, env={"PYTHONPATH": str(unpacked), "PATH": ""}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    told = json.loads(done.stdout)
    assert Path(told["package"]).is_relative_to(unpacked)
    assert Path(told["templates"]) == unpacked / "instruct" / "_data" / "templates"
    assert told["found"] == ["findings_generation", "impression_generation", "findings_summarization"]
    assert told["recipe"] == "demo"
    assert told["published"] == 56
