"""A change rebuilds exactly what depends on it, and ``plan`` names the reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from instruct.api import build_dataset, load_recipe
from instruct.build.build import BuildResult
from tests.build.helpers import (
    IMAGE_QUERY,
    TEXT_QUERY,
    call,
    contents,
    shards,
    stamps,
    touched,
    write_report,
    write_spec,
    write_template,
)
from tests.conftest import Corpora

RECIPE = """\
name: workshop
sources: {openi: {}, rexgradient: {}}
images: {missing: drop, paths: relative}
shard_rows: 10
tasks:
  - "[First] [Mine]"
  - "[Second] [Mine]"
  - "[Findings Summarization] [REX-Gradient]"
  - "[Progression Findings Generation] [REX-Gradient]"
"""
FIRST, SECOND = "first-mine", "second-mine"
SUMMARIZATION, PROGRESSION = "findings_summarization-rex_gradient", "progression_findings_generation-rex_gradient"
NAMES = {
    FIRST: "[First] [Mine]",
    SECOND: "[Second] [Mine]",
    SUMMARIZATION: "[Findings Summarization] [REX-Gradient]",
    PROGRESSION: "[Progression Findings Generation] [REX-Gradient]",
}


class Workshop:
    """A corpus, specs and a recipe that a test may change, and the build of them."""

    def __init__(self, folder: Path) -> None:
        self.data, self.specs, self.out = folder / "data", folder / "specs", folder / "out"
        self.recipe = folder / "recipe.yaml"

    def write(self, corpora: Corpora) -> None:
        shutil.copytree(corpora.root, self.data)
        self.recipe.write_text(RECIPE, "utf-8")
        write_template(
            self.specs, "first", "{{ ask(image_count) }}", '{% from "words.jinja" import ask %}', images="any"
        )
        (self.specs / "templates" / "words.jinja").write_text(
            "{% macro ask(count) %}Report {{ count }}.{% endmacro %}", "utf-8"
        )
        write_template(self.specs, "second", "Report.")
        spec = write_spec(self.specs, {"first": IMAGE_QUERY, "second": TEXT_QUERY})
        spec.write_text(
            spec.read_text("utf-8").replace("task: first", "task: First").replace("task: second", "task: Second")
        )

    def build(self, *overrides: str) -> BuildResult:
        recipe = load_recipe(self.recipe, overrides)
        return build_dataset(recipe, self.out, data_root=self.data, specs=[self.specs])

    def plan(self, *overrides: str) -> dict[str, dict[str, Any]]:
        done = call(
            "plan",
            self.recipe,
            *overrides,
            "--data-root",
            self.data,
            "--specs",
            self.specs,
            "--out",
            self.out,
            "--json",
        )
        return {row["task"]: row for row in json.loads(done.out)["tasks"]}

    def edit(self, file: Path, old: str, new: str) -> None:
        text = file.read_text("utf-8")
        assert old in text
        file.write_text(text.replace(old, new, 1), "utf-8")

    def check(self, reasons: dict[str, list[str]], *overrides: str) -> set[str]:
        """Plan and build a change: only the tasks of ``reasons`` may change, for those. Returns what was written."""
        before = stamps(self.out)
        plan = self.plan(*overrides)
        assert {row["task"]: row["reasons"] for row in plan.values() if row["reasons"]} == {
            NAMES[config]: why for config, why in reasons.items()
        }
        assert stamps(self.out) == before
        result = self.build(*overrides)
        changed = touched(before, stamps(self.out))
        assert {name.split("/")[0] for name in changed} == set(reasons)
        assert result.built == sum(row["build"] for row in plan.values()) == len(changed & set(stamps(self.out)))
        assert result.reused == sum(row["reuse"] for row in plan.values()) == len(stamps(self.out)) - result.built
        assert result.dropped == sum(row["drop"] for row in plan.values())
        assert call("verify", self.out).code == 0
        assert not any(row["build"] or row["drop"] for row in self.plan(*overrides).values())
        return changed


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, corpora: Corpora) -> Path:
    folder = tmp_path_factory.mktemp("workshop")
    made = Workshop(folder)
    made.write(corpora)
    made.build()
    assert {name.split("/")[0] for name in shards(made.out)} == set(NAMES)
    return folder


@pytest.fixture
def workshop(tmp_path: Path, finished: Path) -> Workshop:
    """Relative image paths make a build that can be copied with its data."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return Workshop(tmp_path)


def every(workshop: Workshop, config: str) -> set[str]:
    return {name for name in shards(workshop.out) if name.startswith(f"{config}/")}


def test_nothing(workshop: Workshop) -> None:
    assert workshop.check({}) == set()


def test_a_template(workshop: Workshop) -> None:
    workshop.edit(workshop.specs / "templates" / "second.jinja", "Report.", "Please report.")
    assert workshop.check({SECOND: ["template file second.jinja changed"]}) == every(workshop, SECOND)


def test_a_macro_file_that_a_template_imports(workshop: Workshop) -> None:
    workshop.edit(workshop.specs / "templates" / "words.jinja", "Report", "Describe")
    assert workshop.check({FIRST: ["template file words.jinja changed"]}) == every(workshop, FIRST)


def test_going_back_gives_the_first_bytes_again(workshop: Workshop) -> None:
    workshop.build()
    first = contents(workshop.out)
    words = workshop.specs / "templates" / "words.jinja"
    workshop.edit(words, "Report", "Describe")
    workshop.build()
    assert contents(workshop.out) != first
    workshop.edit(words, "Describe", "Report")
    workshop.build()
    assert contents(workshop.out) == first


def test_the_query_of_a_task(workshop: Workshop) -> None:
    workshop.edit(workshop.specs / "mine.yaml", "AND len(images) > 0", "AND len(images) > 1")
    changed = workshop.check({FIRST: ["the task changed in its spec"]})
    assert changed >= every(workshop, FIRST)


def test_what_a_spec_says_for_people_rebuilds_nothing(workshop: Workshop) -> None:
    workshop.edit(workshop.specs / "mine.yaml", "licence: none", "licence: some")
    workshop.edit(workshop.specs / "mine.yaml", "    template: second", "    rule: every report\n    template: second")
    assert workshop.check({}) == set()
    assert "some" in (workshop.out / "README.md").read_text("utf-8")


def test_an_input_file_of_one_split(workshop: Workshop) -> None:
    file = workshop.data / "rexgradient" / "metadata" / "valid_metadata_view_position.json"
    records = json.loads(file.read_text("utf-8"))
    patients = [record["PatientID"] for record in records.values()]
    alone = next(record for record in records.values() if patients.count(record["PatientID"]) == 1)
    alone["Findings"] = "Clear lungs."
    file.write_text(json.dumps(records), "utf-8")
    changed = workshop.check(
        {SUMMARIZATION: ["input file rexgradient/metadata/valid_metadata_view_position.json changed"]}
    )
    assert {name.split("/")[1] for name in changed} == {"validation"}


def test_a_new_record_at_the_end(workshop: Workshop) -> None:
    write_report(workshop.data, 99999, "Clear lungs.", "Normal.")
    plan = workshop.plan()
    assert plan[NAMES[SECOND]]["reasons"] == ["input file openi/ecgen-radiology/99999.xml changed"]
    before = set(stamps(workshop.out).values())
    result = workshop.build()
    written = {name for name, stamp in stamps(workshop.out).items() if stamp not in before}
    assert written == {max(every(workshop, SECOND), key=lambda name: int(name.split("/")[2]))}
    assert result.built == 1


def test_a_new_record_that_makes_a_shard_more_moves_the_others(workshop: Workshop) -> None:
    held = json.loads((workshop.out / "counts.json").read_text("utf-8"))["rows"][NAMES[SECOND]]["test"]
    before = {shard: stamp for name, stamp in stamps(workshop.out).items() if (shard := shards(workshop.out)[name])}
    for number in range(11 - held % 10):
        write_report(workshop.data, 99990 + number, "Clear lungs.", "Normal.")
    workshop.build()
    after = {shard: stamps(workshop.out)[name] for name, shard in shards(workshop.out).items()}
    here = {shard for shard in after if SECOND in shard.parts}
    kept = {shard for shard in here if after[shard] in before.values()}
    assert len(here - kept) <= 2
    assert kept and not kept & set(before)  # every name ends in another total


def test_an_option_of_the_reader(workshop: Workshop) -> None:
    changed = workshop.check(
        {PROGRESSION: ["option rexgradient.key_image changed"]}, "sources.rexgradient.options.key_image=first"
    )
    assert changed


def test_a_setting_of_the_recipe(workshop: Workshop) -> None:
    changed = workshop.check({config: ["setting seed changed"] for config in NAMES}, "seed=1")
    assert changed == set(shards(workshop.out))


def test_shards_of_another_size(workshop: Workshop) -> None:
    workshop.check({config: ["setting shard_rows changed"] for config in NAMES}, "shard_rows=1000")
    assert len(every(workshop, SUMMARIZATION)) == 3


def test_an_image_that_is_gone(workshop: Workshop) -> None:
    image = next(iter(sorted((workshop.data / "openi" / "images").glob("CXR*.png"))))
    image.unlink()
    changed = workshop.check({FIRST: ["shards are missing or damaged, or images on disk changed"]})
    assert len(changed) == 1


def test_a_shard_that_is_gone(workshop: Workshop) -> None:
    shards(workshop.out)[f"{SECOND}/test/1"].unlink()
    plan = workshop.plan()
    assert plan[NAMES[SECOND]]["build"] == 1
    assert plan[NAMES[SECOND]]["reasons"] == ["shards are missing or damaged, or images on disk changed"]
    assert workshop.build().built == 1


def test_a_task_that_the_recipe_no_longer_has(workshop: Workshop) -> None:
    gone = every(workshop, SECOND)
    before = stamps(workshop.out)
    workshop.edit(workshop.recipe, '  - "[Second] [Mine]"\n', "")
    plan = workshop.plan()
    assert plan[NAMES[SECOND]] == {
        "task": NAMES[SECOND],
        "records": {},
        "build": 0,
        "reuse": 0,
        "drop": len(gone),
        "reasons": ["no longer in the recipe"],
    }
    printed = call(
        "plan", workshop.recipe, "--data-root", workshop.data, "--specs", workshop.specs, "--out", workshop.out
    )
    assert "nothing to do" not in printed.out
    result = workshop.build()
    assert (result.built, result.dropped) == (0, len(gone))
    assert touched(before, stamps(workshop.out)) == gone
    assert not (workshop.out / SECOND).exists()
    assert SECOND not in (workshop.out / "README.md").read_text("utf-8")
    assert NAMES[SECOND] not in (workshop.out / "counts.md").read_text("utf-8")
    assert call("verify", workshop.out).code == 0
    assert workshop.plan().keys() == set(NAMES.values()) - {NAMES[SECOND]}


def test_a_source_that_is_no_longer_on_disk(workshop: Workshop) -> None:
    gone = every(workshop, SUMMARIZATION) | every(workshop, PROGRESSION)
    shutil.rmtree(workshop.data / "rexgradient")
    plan = workshop.plan()
    assert plan[NAMES[PROGRESSION]]["reasons"] == ["not on disk: rexgradient"]
    result = workshop.build()
    assert (result.built, result.dropped) == (0, len(gone))
    assert not (workshop.out / SUMMARIZATION).exists()
    table = (workshop.out / "counts.md").read_text("utf-8")
    assert NAMES[SUMMARIZATION] in table and "not on disk: rexgradient" in table
