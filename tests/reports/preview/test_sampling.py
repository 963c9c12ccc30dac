"""Which examples a preview shows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct.build.verify import read_manifest
from instruct.errors import UsageError
from instruct.reports.preview.rows import Filter, Group, find_places, groups_of, read_example
from instruct.reports.preview.sampling import sample
from tests.build.helpers import rows


def make_groups(sizes: dict[tuple[int, int, str], int]) -> list[Group]:
    groups, first = [], 0
    for (task, dataset, split), size in sorted(sizes.items()):
        groups.append(Group(f"task {task}", f"dataset {dataset}", split, "source", first, ((Path("x"), size),)))
        first += size
    return groups


GROUPS = st.dictionaries(
    st.tuples(st.integers(0, 4), st.integers(0, 3), st.sampled_from(["train", "val", "test"])),
    st.integers(1, 40),
    min_size=1,
    max_size=20,
).map(make_groups)


def shares(groups: list[Group], places: list[int]) -> Counter[tuple[str, str, str]]:
    """Examples of a sample in each group."""
    found: Counter[tuple[str, str, str]] = Counter()
    for group in groups:
        inside = [place for place in places if group.first <= place < group.first + group.examples]
        found[group.task, group.dataset, group.split] = len(inside)
    return found


@given(GROUPS, st.integers(1, 300), st.integers(0, 9))
def test_a_sample_is_fair(groups: list[Group], size: int, seed: int) -> None:
    places = sample(groups, size, seed)
    total = sum(group.examples for group in groups)
    assert len(places) == len(set(places)) == min(size, total) and places == sorted(places)
    held = shares(groups, places)
    full = {key for group in groups if held[key := (group.task, group.dataset, group.split)] == group.examples}
    open_shares = [number for key, number in held.items() if key not in full]
    # No group that has more to give is more than one behind any other.
    assert not open_shares or max(held.values()) - min(open_shares) <= 1
    tasks = Counter(task for (task, _, _), number in held.items() if number)
    assert len(tasks) == min(size, len({group.task for group in groups}))


@given(GROUPS, st.integers(1, 60), st.integers(1, 60), st.integers(0, 9))
def test_a_larger_sample_only_adds(groups: list[Group], size: int, more: int, seed: int) -> None:
    assert set(sample(groups, size, seed)) <= set(sample(groups, size + more, seed))


def test_the_seed_decides() -> None:
    groups = make_groups({(0, 0, "train"): 1000})
    assert sample(groups, 5, 0) == sample(groups, 5, 0) != sample(groups, 5, 1)


def test_places_are_the_examples_of_the_shards_in_order(built: Path) -> None:
    groups = groups_of(built, read_manifest(built), None, None)
    total = groups[-1].first + groups[-1].examples
    found = [read_example(groups, place) for place in range(total)]
    assert total == 268
    assert [example["id"] for group, example in found if (group.task, group.split) == ("Findings Generation", "train")]
    for group in groups:
        config = next(
            task["config"] for task in read_manifest(built)["tasks"]
            if (task["task"], task["dataset"]) == (group.task, group.dataset)
        )  # fmt: skip
        split = {"val": "validation"}.get(group.split, group.split)
        assert [example for one, example in found if one == group] == rows(built, config, split)
    for place in (-1, total):
        with pytest.raises(IndexError):
            read_example(groups, place)


@pytest.mark.parametrize(
    "wanted",
    [
        Filter(),
        Filter(task="Findings Generation"),
        Filter(split="test", dataset="VinDr-CXR"),
        Filter(text="PNEUMOTHORAX"),
        Filter(text="pneumothorax", task="Impression Generation"),
        Filter(text=".*"),
        Filter(text="nowhere to be found"),
    ],
)
@pytest.mark.parametrize("start", [0, 7, 33])
def test_a_filter_finds_what_a_plain_search_does(built: Path, wanted: Filter, start: int) -> None:
    groups = groups_of(built, read_manifest(built), None, None)
    expected, seen = [], 0
    for place in range(groups[-1].first + groups[-1].examples):
        group, example = read_example(groups, place)
        if not wanted.takes(group):
            continue
        seen += 1
        said = [example["id"], *(turn["value"] for turn in example["conversations"])]
        if seen > start and any(wanted.text.lower() in text.lower() for text in said):
            expected.append(place)
    batches = list(find_places(groups, wanted, start))
    assert [place for _, places in batches for place in places] == expected
    assert max((looked for looked, _ in batches), default=start) == max(seen, start) or seen <= start


def test_an_unknown_task_and_an_empty_choice(built: Path) -> None:
    manifest = read_manifest(built)
    with pytest.raises(UsageError, match=r"has no task 'X'; it has: \[Findings Generation\] \[REX-Gradient\]"):
        groups_of(built, manifest, "X", None)
    with pytest.raises(UsageError, match="holds no example of what was asked for"):
        groups_of(built, manifest, "abnormality_detection-vindr_cxr", "val")
