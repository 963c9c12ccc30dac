"""``show``: examples of a build as a model will see them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from instruct.api import build_dataset, load_recipe
from tests.build.helpers import call, rows
from tests.conftest import Corpora

SUMMARIZATION, PROGRESSION = "findings_summarization-rex_gradient", "progression_findings_generation-rex_gradient"


@pytest.fixture(scope="module")
def built(corpora: Corpora, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("show") / "out"
    build_dataset(load_recipe("rexgradient", ["shard_rows=4", "variants=2"]), out, data_root=corpora.root)
    return out


def show(built: Path, *arguments: str) -> list[dict[str, Any]]:
    examples: list[dict[str, Any]] = json.loads(call("show", built, "--json", *arguments).out)["examples"]
    return examples


def test_the_first_of_every_task_and_split(built: Path) -> None:
    found = show(built)
    assert len({(row["task"], row["split"]) for row in found}) == len(found) == 5 * 3
    for row in found:
        split = row.pop("split")
        config = f"{row['task'].lower().replace(' ', '_')}-rex_gradient"
        assert row == rows(built, config, {"val": "validation"}.get(split, split))[0]


def test_by_task_split_and_number_over_several_shards(built: Path) -> None:
    for name in (SUMMARIZATION, "[Findings Summarization] [REX-Gradient]"):
        found = show(built, "--task", name, "--split", "train", "-n", "11")
        assert [row["id"] for row in found] == [row["id"] for row in rows(built, SUMMARIZATION, "train")][:11]


def test_by_id_of_an_example_or_a_record(built: Path) -> None:
    wanted = rows(built, SUMMARIZATION, "test")[-1]
    (found,) = show(built, "--task", SUMMARIZATION, "--id", wanted["id"])
    assert found == {"split": "test", **wanted}
    both = show(built, "--task", SUMMARIZATION, "--id", wanted["keys"]["record"], "-n", "5")
    assert [row["keys"]["record"] for row in both] == [wanted["keys"]["record"]] * 2
    assert len({row["id"] for row in both}) == 2


def test_the_text_shows_roles_images_in_place_and_provenance(built: Path) -> None:
    (row,) = show(built, "--task", PROGRESSION, "--split", "train")
    text = call("show", built, "--task", PROGRESSION, "--split", "train").out
    lines = text.splitlines()
    assert lines[0] == f"[Progression Findings Generation] [REX-Gradient] train: {row['id']}"
    assert "user:" in lines and "assistant:" in lines
    paths = [image["path"] for image in row["images"]]
    assert len(paths) == 2 and [line for line in lines if line.startswith("<image: ")] == [
        f"<image: {path}>" for path in paths
    ]
    assert row["messages"][-1]["content"][0]["text"] in text
    assert lines[-2].startswith(
        f"from {row['provenance']['origin']}, template progression_findings_generation, variant "
    )
    assert "\x1b" not in text  # no colours where nobody sees them


def test_what_is_not_there(built: Path) -> None:
    err = call("show", built, "--task", "Findings", check=2).err
    assert "has no task 'Findings'; it has: [Findings Generation] [REX-Gradient], " in err
    err = call("show", built, "--id", "p0", check=2).err
    assert f"{built} has no example with the id 'p0' in what was asked for" in err
    identifier = rows(built, SUMMARIZATION, "test")[0]["id"]
    assert "has no example" in call("show", built, "--id", identifier, "--split", "train", check=2).err
