"""`cxr-instruct diff` names what two builds differ in, each kind for itself, and reads no more than it must."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from instruct.build.diff import BuildDiff, diff
from instruct.build.diff_rows import Difference
from tests.build.helpers import call, shards, write_report, write_spec, write_template

QUERY = (
    "SELECT study AS id, split, patient, [study] AS studies, images, findings, origin FROM studies WHERE findings <> ''"
)
NAME = "[show] [Mine]"
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010800000000 3a7e9b55".replace(" ", "")
)  # a header: with images.check=exists nothing decodes it


class Workshop:
    """Twelve reports with an image each, a task over them, and builds of it as they change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for number in range(12):
            self.report(number)
        self.template("What is there?")
        write_spec(folder / "specs", {"show": QUERY})

    def report(self, number: int, findings: str | None = None, image: str | None = None) -> None:
        name = image or f"CXR{number}_a"
        write_report(self.folder / "data", number, findings or f"Findings {number}.", "None.", [name])
        file = self.folder / "data" / "openi" / "images" / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(PNG)

    def template(self, prompt: str) -> None:
        write_template(self.folder / "specs", "show", prompt, images="any")

    def query(self, query: str) -> None:
        write_spec(self.folder / "specs", {"show": query})

    def build(self, name: str, *overrides: str) -> Path:
        recipe = self.folder / "mine.yaml"
        recipe.write_text(
            f"name: mine\nsources: {{openi: {{}}}}\ntasks: ['{NAME}']\nshard_rows: 3\nmax_bad: 1\n", "utf-8"
        )
        call(
            "build", recipe, *overrides, "--data-root", self.folder / "data", "--specs", self.folder / "specs",
            "--out", self.folder / name,
        )  # fmt: skip
        return self.folder / name


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def only(found: BuildDiff) -> list[Difference]:
    """The differences of the one task, and nothing else."""
    assert [task.name for task in found.tasks] == [NAME] and not found.same
    return found.tasks[0].differences


def test_two_builds_of_the_same(workshop):
    one, other = workshop.build("one"), workshop.build("other")
    found = diff(one, other)
    assert found.same and found.read == (0, 2 * len(shards(one)))
    # Equal shards are not read, only looked for.
    for file in shards(other).values():
        file.write_bytes(bytes(file.stat().st_size))
    assert call("diff", one, other).out == f"the same examples and images; 0 of {2 * len(shards(one))} shards differ\n"
    for damage in (lambda: file.write_bytes(b"cut off"), file.unlink):
        damage()
        assert f"{file}: is missing or damaged; `cxr-instruct verify`" in call("diff", one, other, check=4).err


def test_another_prompt(workshop):
    one = workshop.build("one")
    workshop.template("Tell me what is there.")
    found = diff(one, workshop.build("other"))
    (one_kind,) = only(found)
    assert (one_kind.kind, one_kind.reason, one_kind.number) == ("changed", "prompt, provenance", 12)
    assert one_kind.ids == ["CXR0", "CXR1", "CXR10"]
    assert found.tasks[0].causes == ["template file show.jinja changed"] and found.recipe == {}


def test_another_answer_in_one_shard(workshop):
    one = workshop.build("one")
    workshop.report(5, "Now other findings.")
    found = diff(one, workshop.build("other"))
    assert only(found) == [Difference("changed", "answer", 1, ["CXR5"])]
    assert found.tasks[0].causes == ["input file openi/ecgen-radiology/5.xml changed"]
    assert found.read == (2, 8)  # the shard before, and after


def test_other_images(workshop):
    one = workshop.build("one")
    workshop.report(5, image="CXR5_b")
    assert only(diff(one, workshop.build("other"))) == [Difference("changed", "images, image paths", 1, ["CXR5"])]
    assert only(diff(workshop.build("two"), workshop.build("rel", "images.paths=relative"))) == [
        Difference("changed", "image paths", 12, ["CXR0", "CXR1", "CXR10"])
    ]


def test_records_that_came_and_went(workshop):
    one = workshop.build("one")
    workshop.report(20)
    (workshop.folder / "data" / "openi" / "ecgen-radiology" / "3.xml").unlink()
    found = diff(one, workshop.build("other"))
    assert only(found) == [Difference("added", "", 1, ["CXR20"]), Difference("removed", "", 1, ["CXR3"])]
    assert (found.tasks[0].before, found.tasks[0].after) == (12, 12)
    assert only(diff(workshop.folder / "other", one)) == [
        Difference("added", "", 1, ["CXR3"]), Difference("removed", "", 1, ["CXR20"]),
    ]  # fmt: skip


def test_records_that_were_quarantined(workshop):
    drop = ("images.missing=drop",)
    one = workshop.build("one", *drop)
    images = workshop.folder / "data" / "openi" / "images"
    (images / "CXR4_a.png").unlink()
    other = workshop.build("other", *drop)
    found = diff(one, other)
    assert only(found) == [Difference("removed", "quarantined there: missing_image", 1, ["CXR4"])]
    assert found.tasks[0].quarantine == [Difference("added", "missing_image", 1, ["CXR4"])]
    back = diff(other, one)
    assert only(back) == [Difference("added", "quarantined there: missing_image", 1, ["CXR4"])]
    assert back.tasks[0].quarantine == [Difference("removed", "missing_image", 1, ["CXR4"])]
    workshop.report(4, "<image> stands in the text.")
    (images / "CXR4_a.png").write_bytes(PNG)
    found = diff(other, workshop.build("third", *drop))
    assert found.tasks[0].quarantine == [Difference("changed", "missing_image to special_token", 1, ["CXR4"])]


def test_other_variants(workshop):
    file = workshop.folder / "specs" / "templates" / "show.jinja"
    text = file.read_text("utf-8")
    variant = text[text.index("{% variant %}") :]
    file.write_text(text + variant.replace("What is there?", "And here?"), "utf-8")
    one, both = workshop.build("one"), workshop.build("both", "variants=all")
    (more,) = only(diff(one, both))
    assert (more.kind, more.reason, more.number) == ("added", "another variant of a record of both", 12)
    (less,) = only(diff(both, one))
    assert (less.kind, less.number) == ("removed", 12)
    seeded = diff(one, workshop.build("seeded", "seed=1"))
    assert seeded.recipe == {"seed": (0, 1)}
    changed = {item.reason: item.number for item in only(seeded)}
    assert set(changed) == {"variant, prompt"} and 0 < changed["variant, prompt"] < 12


def test_keys_and_provenance_alone(workshop):
    one = workshop.build("one")
    workshop.query(QUERY.replace("origin FROM", "'elsewhere' AS origin FROM"))
    other = workshop.build("other")
    assert [(item.reason, item.number) for item in only(diff(one, other))] == [("provenance", 12)]
    workshop.query(QUERY.replace("patient, [study]", "'p' || study AS patient, [study]"))
    found = diff(one, workshop.build("third"))
    assert [(item.reason, item.number) for item in only(found)] == [("keys, provenance", 12)]
    assert found.tasks[0].causes == ["the task changed in its spec"]


def test_another_split(workshop):
    one = workshop.build("one")
    workshop.query(QUERY.replace("split,", "CASE WHEN study = 'CXR7' THEN 'train' ELSE split END AS split,"))
    reasons = {item.reason: item.ids for item in only(diff(one, workshop.build("other")))}
    assert reasons["split, provenance"] == ["CXR7"] and set(reasons) == {"split, provenance", "provenance"}


def test_tasks_that_one_build_has(workshop):
    one = workshop.build("one")
    query = QUERY.replace("images, ", "")
    write_spec(workshop.folder / "specs", {"show": QUERY, "tell": query})
    write_template(workshop.folder / "specs", "tell", "Tell.")
    found = diff(one, workshop.build("other", f"tasks=['{NAME}', '[tell] [Mine]']"))
    (task,) = found.tasks
    assert task.name == "[tell] [Mine]" and task.causes == ["not in the recipe before, built after"]
    assert [(item.kind, item.reason, item.number) for item in task.differences] == [("added", "", 12)]
    assert (task.before, task.after) == (0, 12)


def test_images_tables(tmp_path):
    from tests.images.pictures import chest, saved

    for number in range(4):
        write_report(tmp_path / "data", number, f"Findings {number}.", "None.", [f"CXR{number}_a"])
    images = tmp_path / "data" / "openi" / "images"
    images.mkdir(parents=True)
    for number in range(4):
        (images / f"CXR{number}_a.png").write_bytes(saved(chest(seed=number), "PNG"))
    write_spec(tmp_path / "specs", {"show": QUERY})
    write_template(tmp_path / "specs", "show", "What is there?", images="any")
    (tmp_path / "mine.yaml").write_text(f"name: mine\nsources: {{openi: {{}}}}\ntasks: ['{NAME}']\n", "utf-8")

    def build(name: str, *overrides: str) -> Path:
        call(
            "build", tmp_path / "mine.yaml", "images.store=pack", "images.missing=drop", "images.size=32", *overrides,
            "--data-root", tmp_path / "data", "--specs", tmp_path / "specs", "--out", tmp_path / name,
        )  # fmt: skip
        return tmp_path / name

    one = build("one")
    (images / "CXR2_a.png").write_bytes(saved(chest(seed=77), "PNG"))
    found = diff(one, build("other"))
    assert found.images == {"openi": [Difference("changed", "pixels", 1, ["CXR2_a.png"])]}
    # What the images are encoded as is another thing than what they show.
    found = diff(tmp_path / "other", build("png", "images.encoding=png"))
    names = [f"CXR{number}_a.png" for number in range(3)]
    assert found.images == {"openi": [Difference("changed", "encoding or facts, not pixels", 4, names)]}
    (embedded,) = only(diff(build("e1", "images.store=embed"), build("e2", "images.store=embed", "images.size=16")))
    assert (embedded.reason, embedded.number) == ("images", 4)


def test_for_programs(workshop):
    one = workshop.build("one")
    workshop.report(5, "Now other findings.")
    other = workshop.build("other", "seed=3")
    document: dict[str, Any] = json.loads(call("diff", one, other, "--json").out)
    assert document["same"] is False and document["recipe"] == {"seed": [0, 3]}
    (task,) = document["tasks"]
    assert {"kind": "changed", "reason": "answer", "number": 1, "ids": ["CXR5"]} in task["differences"]
    assert task["causes"] == ["input file openi/ecgen-radiology/5.xml changed", "setting seed changed"]
    text = call("diff", one, other).out
    assert "recipe: seed: 0 -> 3\n" in text and f"{NAME}: 12 -> 12 examples\n" in text
    assert "  because: setting seed changed\n" in text and "  1 examples changed: answer (CXR5)\n" in text
    assert json.loads(call("diff", one, one, "--json").out)["same"] is True


def test_folders_that_cannot_be_compared(workshop, tmp_path):
    one = workshop.build("one")
    assert "is no build of cxr-instruct" in call("diff", one, tmp_path / "nowhere", check=2).err
    shutil.copytree(one, tmp_path / "copy")
    workshop.report(5, "Now other findings.")
    other = workshop.build("other")
    for file in shards(other).values():
        file.write_bytes(file.read_bytes()[:40])
    assert (
        "is missing or damaged; `cxr-instruct verify` says what else is, and the build command mends"
        in call("diff", one, other, check=4).err
    )
