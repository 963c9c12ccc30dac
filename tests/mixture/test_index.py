from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from instruct.build.verify import read_manifest
from instruct.errors import DataError, SpecError, UsageError
from instruct.mixture.index import build_index
from instruct.mixture.order import epoch_order
from instruct.mixture.recipe import MixtureRecipe

ALL = "use: [{tasks: '*'}]\n"


def draws(recipe: MixtureRecipe, split: str = "train") -> dict[str, int]:
    return {part.label: part.draws for part in build_index(recipe, split).parts if part.draws}


@pytest.fixture(scope="session")
def sizes(built: Path) -> dict[str, int]:
    """Rows of the training split per "[Task] [Dataset]", by the manifest."""
    found = {
        task["name"]: sum(shard["examples"] for shard in task["splits"].get("train", {}).get("shards", ()))
        for task in read_manifest(built)["tasks"]
    }
    return {label: size for label, size in sorted(found.items()) if size}


def test_by_default_each_row_comes_once(mix, sizes):
    assert len(sizes) == 5 and draws(mix(ALL)) == sizes
    index = build_index(mix(ALL))
    assert len(index) == sum(sizes.values())
    assert sum(part.weight for part in index.parts) == pytest.approx(1)
    absent = {part.label for part in index.parts if not part.size}
    assert "[Findings Generation] [OpenI]" in absent  # OpenI is a test set: selected, and nothing to draw


def test_count_share_and_weight_in_one_mixture(mix, sizes):
    found = draws(
        mix(
            "use:\n  - {tasks: Findings Generation, count: 7}\n  - {tasks: Impression Generation, share: 0.25}\n"
            "  - {tasks: Progression*, weight: 2}\n  - {tasks: Findings Summarization}\ntotal: 1000\n"
        )
    )
    assert found["[Findings Generation] [REX-Gradient]"] == 7
    assert found["[Impression Generation] [REX-Gradient]"] == 250
    assert sum(found.values()) == 1000
    twice = found["[Progression Findings Generation] [REX-Gradient]"] / found["[Findings Summarization] [REX-Gradient]"]
    rows = sizes["[Progression Findings Generation] [REX-Gradient]"] / sizes["[Findings Summarization] [REX-Gradient]"]
    assert twice == pytest.approx(2 * rows, rel=0.05)


def test_repeats_are_per_row_and_a_cap_is_per_task_and_dataset(mix, sizes):
    assert draws(mix("use: [{tasks: '*', repeats: 3}]\n")) == {label: 3 * size for label, size in sizes.items()}
    assert draws(mix("use: [{tasks: '*', cap: 30}]\n")) == {label: min(30, size) for label, size in sizes.items()}
    half = draws(mix("use: [{tasks: '*', repeats: 0.5, cap: 40}]\n"))
    assert all(abs(half[label] - min(40, size / 2)) <= 1 for label, size in sizes.items())


@pytest.mark.parametrize("temperature", [0, 0.5])
def test_temperature_is_the_exponent_of_the_rows(mix, sizes, temperature):
    found = draws(mix(f"use: [{{tasks: '*'}}]\ntemperature: {temperature}\ntotal: 10000\n"))
    powers = {label: size**temperature for label, size in sizes.items()}
    for label, power in powers.items():
        assert abs(found[label] - 10000 * power / sum(powers.values())) <= 1


def test_shares_without_a_total_keep_as_many_draws_as_there_are_rows(mix, sizes):
    found = draws(mix("use: [{tasks: '*Findings Generation', share: 0.9}, {tasks: '*'}]\n"))
    generation = sum(number for label, number in found.items() if "Findings Generation" in label)
    assert sum(found.values()) == sum(sizes.values())
    assert generation == round(0.9 * sum(sizes.values()))


def test_caps_shorten_an_epoch_where_shares_could_not_be_kept(mix):
    found = draws(mix("use: [{tasks: Findings Generation, share: 0.5}, {tasks: Impression Generation, cap: 10}]\n"))
    assert found == {"[Findings Generation] [REX-Gradient]": 10, "[Impression Generation] [REX-Gradient]": 10}


def test_an_entry_takes_what_none_before_it_has_taken_and_weight_0_leaves_out(mix, sizes):
    found = draws(
        mix("use: [{tasks: Progression*, weight: 0}, {configs: 'impression*', count: 5}, {datasets: rex*}]\n")
    )
    assert found == {
        "[Findings Generation] [REX-Gradient]": sizes["[Findings Generation] [REX-Gradient]"],
        "[Findings Summarization] [REX-Gradient]": sizes["[Findings Summarization] [REX-Gradient]"],
        "[Impression Generation] [REX-Gradient]": 5,
    }


def test_selectors_by_tag_label_and_several_at_once(mix, sizes):
    gated = draws(mix("use: [{tags: gated}]\n"))
    assert gated == sizes  # REX-Gradient is gated, OpenI open and without a training split
    own = "tags:\n  prior: ['[Progression * Generation] [REX-Gradient]']\n"
    assert set(draws(mix(own + "use: [{tags: prior}]\n"))) == {label for label in sizes if "Progression" in label}
    both = draws(mix("use: [{tasks: ['*Findings*', 'Imp*'], tags: gated, configs: '*generation*'}]\n"))
    assert set(both) == {label for label in sizes if "Summarization" not in label and "Progression Imp" not in label}


def test_a_nested_mixture_keeps_its_proportions_and_adds_up(mix, tmp_path, built, sizes):
    findings, impression = "[Findings Generation] [REX-Gradient]", "[Impression Generation] [REX-Gradient]"
    (tmp_path / "inner.yaml").write_text(
        "name: inner\nuse: [{tasks: Findings Generation, count: 30}, {tasks: Impression Generation, count: 10}]\n"
    )
    assert draws(mix("use: [{mixture: inner.yaml}]\n")) == {findings: 30, impression: 10}
    assert draws(mix("use: [{mixture: inner.yaml, count: 200}]\n")) == {findings: 150, impression: 50}
    assert draws(mix("use: [{mixture: inner.yaml, repeats: 2}]\n")) == {findings: 60, impression: 20}
    together = draws(mix("use: [{tasks: Findings Generation, count: 5}, {mixture: inner.yaml}]\ntotal: 45\n"))
    assert together == {findings: 35, impression: 10}
    rest = draws(mix("use: [{mixture: inner.yaml}, {tasks: '*'}]\n"))
    assert rest == sizes | {findings: 30 + sizes[findings], impression: 10 + sizes[impression]}


def test_a_mixture_of_mixtures_needs_no_folders_of_its_own(mix, tmp_path, built):
    (tmp_path / "inner.yaml").write_text(f"name: inner\ndata: [{built}]\nuse: [{{tasks: Findings Generation}}]\n")
    assert draws(mix("use: [{mixture: inner.yaml, count: 7}]\n", data=None)) == {
        "[Findings Generation] [REX-Gradient]": 7
    }
    (tmp_path / "inner.yaml").write_text("name: inner\nuse: [{tasks: Findings Generation}]\n")
    with pytest.raises(SpecError, match=r"inner.yaml:1:1: data: names no dataset folder"):
        build_index(mix("use: [{mixture: inner.yaml}]\n", data=None))


def test_validation_and_test_have_each_row_once(mix, built, tmp_path):
    (tmp_path / "inner.yaml").write_text("name: inner\nuse: [{tasks: 'Findings*', count: 300}]\n")
    recipe = mix("use: [{mixture: inner.yaml, repeats: 9}, {tasks: '*', count: 1000}]\nsplits: {test: {cap: 4}}\n")
    whole = build_index(recipe, "validation")
    assert {part.split for part in whole.parts} == {"validation"}
    assert all(part.draws == part.size and part.rows is None for part in whole.parts)
    assert build_index(recipe, "val").digest == whole.digest
    few = build_index(recipe, "test")
    for part in few.parts:
        assert part.draws == min(4, part.size)
        if part.size > 4:
            assert part.rows is not None and len(set(part.rows.tolist())) == 4
    part, row = epoch_order(few, 0)
    assert all(number in few.parts[of].candidates for of, number in zip(part, row, strict=True))
    assert set(zip(*epoch_order(few, 5), strict=True)) == set(zip(part, row, strict=True))


def test_a_split_may_have_entries_of_its_own(mix):
    recipe = mix(ALL + "splits:\n  val:\n    use: [{tasks: Findings Generation, count: 3}]\n")
    assert draws(recipe, "val") == {"[Findings Generation] [REX-Gradient]": 3}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "use:\n  - tasks: Finding Generation\n",
            "mine.yaml:4:5: use.0.tasks: nothing in the dataset folders fits 'Finding Generation'; did you mean 'Fin",
        ),
        (
            "use: [{tags: [gated, zzz]}]\n",
            "use.0.tags.1: nothing in the dataset folders fits 'zzz'; there are gated, open",
        ),
        (
            "tags: {a: Nothing}\nuse: [{tags: a}]\n",
            "mine.yaml:3:8: tags.a: nothing in the dataset folders fits 'Nothing'",
        ),
        (
            "use: [{tasks: Findings Summarization, configs: impression*}]\n",
            "use.0: selects nothing: its selectors have nothing in common",
        ),
        (
            "use: [{tasks: '*'}, {tasks: Findings*}]\n",
            "use.1: selects nothing: entries before it have taken all that it selects",
        ),
        (
            "use: [{tasks: Findings*, share: 0.6}, {tasks: '*', share: 0.6}]\n",
            "mine.yaml:3:1: use: the shares add up to 1.2, more than 1",
        ),
        (
            "use: [{tasks: Findings*, share: 1}, {tasks: '*'}]\n",
            "the shares add up to 1 and leave nothing for the other entries",
        ),
        (
            "use: [{tasks: Findings*, share: 0.5}]\n",
            "the shares add up to 0.5, and no other entry takes the rest; make them 1, or give another entry a weight",
        ),
        (
            "use: [{tasks: '*', count: 10}]\ntotal: 11\n",
            "mine.yaml:4:1: total: 11 draws in all contradict the entries: counts and repeats give 10, shares 0",
        ),
        ("use: [{tasks: Impr*, count: 10}, {tasks: '*'}]\ntotal: 9\n", "total: 9 draws in all contradict the entries"),
        (
            "use: [{datasets: OpenI, count: 10}]\n",
            "use.0: count asks for 10 draws of what has no rows in this split",
        ),
        (
            "use: [{tasks: Findings*, count: 50, cap: 20}]\n",
            "use.0: count asks for too much: 50 is more than all caps together, 40",
        ),
        (
            "use: [{tasks: '*', cap: 2}]\ntotal: 50\n",
            "total: the entries with a weight cannot take their 50 draws: 50 is more than all caps together, 10",
        ),
    ],
)
def test_what_cannot_be_met_is_told_with_its_place(mix, text, told):
    with pytest.raises(SpecError) as caught:
        build_index(mix(text))
    assert told in caught.value.problems[0]


def test_every_pattern_that_fits_nothing_is_told(mix):
    with pytest.raises(SpecError) as caught:
        build_index(mix("use: [{tasks: [One, Two]}, {datasets: Three}]\n"))
    assert len(caught.value.problems) == 3


def test_a_fault_in_a_nested_mixture_is_told_with_its_own_place(mix, tmp_path):
    (tmp_path / "inner.yaml").write_text("name: inner\nuse:\n  - tasks: Nothing\n")
    with pytest.raises(
        SpecError, match=rf"^{tmp_path}/inner\.yaml:3:5: use\.0\.tasks: nothing in the dataset folders fits"
    ):
        build_index(mix("use: [{mixture: inner.yaml}]\n"))


def test_data_that_is_no_build_missing_or_there_twice(mix, built, tmp_path):
    with pytest.raises(UsageError, match=rf"mine.yaml:2:8: data.0: {tmp_path}: is no build"):
        build_index(mix(ALL, data=tmp_path))
    with pytest.raises(SpecError, match="names no dataset folder; write the --out of a build there"):
        build_index(mix(ALL, data=None))
    shutil.copytree(built, tmp_path / "copy")
    with pytest.raises(DataError, match=r"hold the same shards of .* each row would be drawn twice"):
        build_index(mix(ALL, f"data=[{built}, {tmp_path / 'copy'}]"))
    assert len(build_index(mix(ALL, f"data=[{built}, {built}]"))) == len(build_index(mix(ALL)))
    with pytest.raises(DataError, match="there is nothing to draw in split train"):
        build_index(mix("use: [{datasets: OpenI}]\n"))
    with pytest.raises(UsageError, match="split 'dev': the splits are train, validation"):
        build_index(mix(ALL), "dev")


def test_no_shard_is_opened_and_reweighting_the_table_takes_no_time(mix, built, tmp_path):
    """55 rows of 200 shards each, and every shard is gone: the index needs the manifest only."""
    manifest = json.loads((built / "manifest.json").read_text("utf-8"))
    (task,) = (task for task in manifest["tasks"] if task["name"] == "[Findings Generation] [REX-Gradient]")
    shard = task["splits"]["train"]["shards"][0] | {"examples": 20_000}
    manifest["tasks"] = [
        task
        | {"name": f"[Task {number}] [D]", "config": f"c{number}", "task": f"Task {number}"}
        | {"splits": {"train": {"records": 0, "shards": [shard | {"sha256": f"{number}/{n}"} for n in range(200)]}}}
        for number in range(55)
    ]
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "manifest.json").write_text(json.dumps(manifest))
    digests = set()
    started = time.process_time()
    for weight in (1, 2, 3, 4, 5):
        index = build_index(
            mix(f"use: [{{tasks: Task 1*, weight: {weight}}}, {{tasks: '*'}}]\n", data=tmp_path / "large")
        )
        assert len(index) == 55 * 200 * 20_000
        digests.add(index.digest)
    assert time.process_time() - started < 5  # five times; measured 0.2 s each
    assert len(digests) == 5


def test_the_digest_is_of_content_and_amounts_not_of_places(mix, built, tmp_path):
    digest = build_index(mix(ALL)).digest
    shutil.copytree(built, tmp_path / "elsewhere")
    assert build_index(mix(ALL, data=tmp_path / "elsewhere")).digest == digest
    assert build_index(mix("use: [{datasets: '*'}]\n", name="other")).digest == digest
    others = ["use: [{tasks: '*', repeats: 2}]\n", ALL + "seed: 1\n", "use: [{tasks: Findings*}]\n"]
    digests = {build_index(mix(text)).digest for text in others} | {build_index(mix(ALL), "test").digest}
    assert len(digests | {digest}) == 5
    manifest = json.loads((tmp_path / "elsewhere" / "manifest.json").read_text("utf-8"))
    for task in manifest["tasks"]:
        for split in task["splits"].values():
            split["shards"][0]["sha256"] = "0"
    (tmp_path / "elsewhere" / "manifest.json").write_text(json.dumps(manifest))
    assert build_index(mix(ALL, data=tmp_path / "elsewhere")).digest != digest


def test_an_epoch_has_each_row_as_often_as_the_mixture_says_and_the_next_goes_on(mix):
    index = build_index(mix("use: [{tasks: Findings*, repeats: 2.5}, {tasks: '*', repeats: 0.3}]\n"))
    seen = [np.zeros(part.size, int) for part in index.parts]
    for epoch in range(4):
        part, row = epoch_order(index, epoch)
        assert len(part) == len(index)
        for number, counts in enumerate(seen):
            np.add.at(counts, row[part == number], 1)
        for number, counts in enumerate(seen):
            if len(counts):
                expected = (epoch + 1) * index.parts[number].draws / index.parts[number].size
                assert set(counts) <= {int(expected), int(expected) + 1}


def test_every_stretch_of_an_epoch_has_the_proportions_of_the_whole(mix):
    index = build_index(mix("use: [{tasks: '*', repeats: 20}]\n"))
    part, _ = epoch_order(index, 0)
    for stretch in np.array_split(part, 10):
        found = np.bincount(stretch, minlength=len(index.parts)) / len(stretch)
        assert np.abs(found - [one.weight for one in index.parts]).max() < 0.01
