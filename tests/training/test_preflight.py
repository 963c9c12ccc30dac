"""``cxr-instruct check``: every fault of a row is found before the run, listed, and left out by its plan."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from instruct.errors import DataError
from instruct.mixture.index import build_index
from instruct.mixture.recipe import MixtureRecipe
from instruct.training.base import model_processor
from instruct.training.exclusions import Exclusion, read_exclusions, write_exclusions
from instruct.training.preflight import Preflight, check
from instruct.training.prepare import prepare
from instruct.training.recipe import TrainingRecipe
from tests.build.helpers import call
from tests.training.runs import recipe, write_recipe
from tests.training.spoil import change, copied, cut_file, say

Tiny = Callable[..., Path]
CONFIG = "findings_generation-rex_gradient"
LABEL = "[Findings Generation] [REX-Gradient]"
ONLY = {"mixture": {"use": [{"configs": CONFIG}]}, "evaluation": None}


@pytest.fixture
def spoilt(tmp_path: Path, demo_dataset: Path) -> tuple[Path, dict[str, str]]:
    """A dataset with one row of every fault; and the reason that each id must have."""
    dataset = copied(demo_dataset, tmp_path / "spoilt", own_images=True)
    wanted: dict[str, str] = {}

    def spoil(found: list[dict[str, Any]]) -> None:
        cut_file(found[0]["images"][0]["path"])
        Path(found[1]["images"][0]["path"]).unlink()
        say(found[2], "user", "Describe <image> please.")
        say(found[3], "assistant", "Clear lungs.<|im_end|> And more.")
        say(found[4], "assistant", "  ")
        say(found[5], "assistant", "The lungs are clear. " * 400)
        found[6]["messages"] = found[6]["messages"][:-1]
        reasons = (
            "undecodable_image", "missing_image", "special_token", "special_token", "empty_target", "too_long",
            "nothing_to_learn",
        )  # fmt: skip
        wanted.update(zip((row["id"] for row in found), reasons, strict=False))

    change(dataset, spoil, CONFIG, "train")
    return dataset, wanted


def usable(found: Preflight, split: str = "train") -> int:
    return sum(part.usable for part in found.parts if part.split == split)


def test_every_fault_is_found_and_the_plan_leaves_it_out(
    spoilt: tuple[Path, dict[str, str]], tiny: Tiny, tmp_path: Path
) -> None:
    dataset, wanted = spoilt
    run = recipe(tmp_path / "run", dataset, tiny("llava"), **ONLY)
    found = check(run)
    assert {entry.id: entry.reason for entry in found.exclusions} == wanted
    (part,) = found.parts
    assert part.usable == part.rows - 7
    assert part.excluded["special_token"] == 2 and sum(part.excluded.values()) == 7
    details = {entry.id: entry.detail for entry in found.exclusions}
    said = dict(zip(wanted.values(), details.values(), strict=True))  # the last of each reason
    assert "truncated" in said["undecodable_image"] and "no such file" in said["missing_image"]
    assert "holds '<|im_end|>', a control token" in said["special_token"]
    assert "tokens; plan.max_length is 512" in said["too_long"]

    prepared = prepare(run, model_processor(run.model))
    assert {(row, reason) for _, row, reason in prepared.plan.excluded} >= {(0, "undecodable_image")}
    assert len({row for _, row, _ in prepared.plan.excluded}) == 7
    assert {int(row) for row in prepared.plan.row} & set(range(7)) == set()
    # Longer rows are measured against the run's own limit, whatever the list says.
    longer = run.model_copy(update={"plan": run.plan.model_copy(update={"max_length": 4096})})
    assert len(prepare(longer, model_processor(run.model)).plan.excluded) == 6


def test_what_a_user_reads(spoilt: tuple[Path, dict[str, str]], tiny: Tiny, tmp_path: Path) -> None:
    dataset, wanted = spoilt
    file = write_recipe(tmp_path / "r.yaml", recipe(tmp_path / "run", dataset, tiny("llava"), **ONLY))
    done = call("check", file, "--workers", "2")
    assert f"{LABEL} train" in done.out and " rows usable, " in done.out
    assert "left out: empty_target 1, missing_image 1, nothing_to_learn 1, special_token 2, too_long 1" in done.out
    assert f"and 2 more; all in {tmp_path / 'run' / 'exclusions.jsonl'}" in done.out
    assert "Supervised by generation marks." in done.out
    # The example: what is supervised is marked, its end too; an image is told by its tokens.
    shown = done.out.split("⟦supervised⟧:\n")[1]
    assert shown.count("⟦") == shown.count("⟧") == 1 and "<|im_end|>⟧" in shown
    assert "<image> × 16" in shown and shown.index("<image>") < shown.index("⟦")
    lines = [json.loads(line) for line in (tmp_path / "run" / "exclusions.jsonl").read_text("utf-8").splitlines()]
    assert {line["id"]: line["reason"] for line in lines} == wanted
    told = json.loads(call("check", file, "--json").out)
    assert told == json.loads((tmp_path / "run" / "check.json").read_text("utf-8"))
    again = check(recipe(tmp_path / "run", dataset, tiny("llava"), **ONLY))
    assert told["excluded"] == 7 and told["parts"][0]["usable"] == usable(again)


def test_images_that_are_back_are_found_again(tmp_path: Path, demo_dataset: Path, tiny: Tiny) -> None:
    """What was measured is kept with the run; a disk that was not mounted must not be."""
    dataset = copied(demo_dataset, tmp_path / "dataset", own_images=True)
    run = recipe(tmp_path / "run", dataset, tiny("llava"), **ONLY)
    (tmp_path / "images").rename(tmp_path / "away")
    gone = check(run)
    assert usable(gone) == 0 and {entry.reason for entry in gone.exclusions} == {"missing_image"}
    (tmp_path / "away").rename(tmp_path / "images")
    back = check(run)
    assert not back.exclusions and usable(back) == back.parts[0].rows
    fresh = check(recipe(tmp_path / "fresh", dataset, tiny("llava"), **ONLY))
    assert back.parts == fresh.parts
    said: list[str] = []
    assert check(run, say=said.append).parts == fresh.parts
    assert not any(line.startswith("measuring") for line in said)  # and is kept now


def test_training_on_nothing_is_refused(tmp_path: Path, demo_dataset: Path, tiny: Tiny) -> None:
    run = recipe(tmp_path / "run", demo_dataset, tiny("llava"), plan={"max_length": 20}, **ONLY)
    err = call("check", write_recipe(tmp_path / "r.yaml", run), check=4).err
    assert "nothing to train on: of" in err and "rows none is usable (too_long" in err
    assert (tmp_path / "run" / "exclusions.jsonl").read_text("utf-8").count("too_long") == len(check(run).exclusions)
    assert "nothing to train on" in call("check", tmp_path / "r.yaml", "--json", check=4).out


def test_the_rows_that_are_evaluated_on_are_checked_too(tmp_path: Path, demo_dataset: Path, tiny: Tiny) -> None:
    dataset = copied(demo_dataset, tmp_path / "spoilt", own_images=True)
    change(dataset, lambda found: cut_file(found[0]["images"][0]["path"]), CONFIG, "validation")
    run = recipe(tmp_path / "run", dataset, tiny("llava"), mixture={"use": [{"configs": CONFIG}]},
                 evaluation={"max_rows": 500})  # fmt: skip
    found = check(run)
    assert [(entry.split, entry.reason) for entry in found.exclusions] == [("validation", "undecodable_image")]
    assert usable(found) and usable(found, "validation") == found.parts[1].rows - 1


def test_a_tokenizer_without_padding_is_told(tmp_path: Path, demo_dataset: Path, tiny: Tiny) -> None:
    found = check(recipe(tmp_path / "run", demo_dataset, tiny("llava", pad_token=False), **ONLY))
    (note,) = found.notes
    assert note.startswith("The tokenizer has no padding token; '<|im_end|>' is used, which also ends an answer")
    assert not check(recipe(tmp_path / "other", demo_dataset, tiny("llava"), **ONLY)).notes


def test_a_template_without_generation_marks(tmp_path: Path, demo_dataset: Path, tiny: Tiny) -> None:
    marked = check(recipe(tmp_path / "marked", demo_dataset, tiny("llava"), **ONLY))
    found = check(recipe(tmp_path / "run", demo_dataset, tiny("llava", generation_marks=False), **ONLY))
    assert found.supervision == "prefix difference" and "no generation marks" in found.notes[0]
    assert found.segments == marked.segments and found.parts == marked.parts


def test_a_template_that_rewrites_earlier_turns(tmp_path: Path, demo_dataset: Path, tiny: Tiny) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny("llava", generation_marks=False), model)
    file = model / "chat_template.jinja"
    # As some templates do: the prompt opens a thought that the finished turn does not have.
    rewritten = file.read_text("utf-8").replace("assistant\n' }}{% endif %}", "assistant\n<think>\n' }}{% endif %}")
    assert rewritten != file.read_text("utf-8")
    file.write_text(rewritten, "utf-8")
    run = recipe(tmp_path / "run", demo_dataset, model, **ONLY)
    err = call("check", write_recipe(tmp_path / "r.yaml", run), check=4).err
    assert f"the chat template of {model}" in err and "{% generation %}" in err


def test_marks_around_nothing(tmp_path: Path, demo_dataset: Path, tiny: Tiny) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny("llava"), model)
    file = model / "chat_template.jinja"
    file.write_text(file.read_text("utf-8").replace("{% generation %}", "").replace("{% endgeneration %}", "")
                    + "{% generation %}{% endgeneration %}", "utf-8")  # fmt: skip
    run = recipe(tmp_path / "run", demo_dataset, model, **ONLY)
    assert "none is usable (nothing_to_learn" in call("check", write_recipe(tmp_path / "r.yaml", run), check=4).err


def exclusion(index: Any, row: int, reason: str = "mine", **changes: Any) -> Exclusion:
    part = index.parts[0]
    return Exclusion(part.label, index.split, row, "id", reason, "", part.digest)._replace(**changes)


def test_the_list_belongs_to_its_data(tmp_path: Path, demo_dataset: Path) -> None:
    mixture = MixtureRecipe.model_validate({"name": "m", "data": [demo_dataset], "use": [{"configs": CONFIG}]})
    index = build_index(mixture)
    assert read_exclusions(tmp_path, index) == [{}]
    # A line of one's own counts; those of other parts and splits, and old verdicts of length, do not.
    lines = [
        exclusion(index, 3),
        exclusion(index, 4, "too_long"),
        exclusion(index, 5, label="[Other] [Row]", data="x"),
        exclusion(index, 6, split="validation", data="x"),
    ]
    write_exclusions(tmp_path, lines)
    assert read_exclusions(tmp_path, index) == [{3: "mine"}]
    write_exclusions(tmp_path, [exclusion(index, 3, data="0" * 64)])
    with pytest.raises(
        DataError, match=r"exclusions\.jsonl:1: row 3 .* was counted in other shards .* run `cxr-instruct check` again"
    ):
        read_exclusions(tmp_path, index)
    (tmp_path / "exclusions.jsonl").write_text('{"row": 3}\n', "utf-8")
    with pytest.raises(DataError, match=r"exclusions\.jsonl:1: expected a JSON object with label, split, row, id"):
        read_exclusions(tmp_path, index)


def test_workers_change_nothing(spoilt: tuple[Path, dict[str, str]], tiny: Tiny, tmp_path: Path) -> None:
    dataset, _ = spoilt
    one = check(recipe(tmp_path / "one", dataset, tiny("qwen2_vl"), **ONLY), workers=1)
    two = check(recipe(tmp_path / "two", dataset, tiny("qwen2_vl"), **ONLY), workers=2)
    assert (one.parts, one.exclusions, one.segments) == (two.parts, two.exclusions, two.segments)


def test_a_mixed_recipe_of_the_package_is_clean(tmp_path: Path, demo_dataset: Path, tiny: Tiny) -> None:
    found = check(TrainingRecipe.model_validate({**recipe(tmp_path / "run", demo_dataset, tiny("gemma3")).model_dump(),
                                                 "plan": {"max_length": 2048}}))  # fmt: skip
    assert not found.exclusions and found.images > 50 and not found.notes
    assert all(0 < part.supervised < part.tokens and part.longest <= 2048 for part in found.parts)
