"""Shared keys are counted exactly, whatever the groups."""

from __future__ import annotations

import itertools
import resource
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instruct.audit.derived import Derived
from instruct.audit.overlaps import KeyIndex
from instruct.audit.result import matrix
from instruct.audit.shards import KINDS, Group
from instruct.errors import DataError
from instruct.specs.task_spec import SPLITS
from tests.audit.builds import shard

KEYS = st.sets(st.sampled_from([f"a/{number}" for number in range(12)]))
GROUPS = st.lists(st.fixed_dictionaries(dict.fromkeys(KINDS, KEYS)), min_size=1, max_size=7)


@settings(max_examples=25)
@given(GROUPS)
def test_counts_are_those_of_the_sets(contents: list[dict[str, set[str]]]) -> None:
    wanted = {
        (kind, a, b): sorted(contents[a][kind] & contents[b][kind])
        for a, b in itertools.combinations(range(len(contents)), 2)
        for kind in KINDS
        if contents[a][kind] & contents[b][kind]
    }
    with TemporaryDirectory() as folder:
        groups = [
            Group(f"D{number // 3}", "a", SPLITS[number % 3], _rows(Path(folder) / str(number), kinds))
            for number, kinds in enumerate(contents)
        ]
        with KeyIndex(groups) as index:
            counts = index.load()
            for number, (group, kinds) in enumerate(zip(groups, contents, strict=True)):
                row = counts[f"row {number}", group.split]
                assert (row.images, row.studies) == (len(kinds["image"]), len(kinds["study"]))
            for kind, split in itertools.product(KINDS, SPLITS):
                held = [kinds[kind] for kinds, group in zip(contents, groups, strict=True) if group.split == split]
                assert index.union(kind, split) == len(set().union(*held))
            found = index.overlaps()
            assert {(one.kind, one.first, one.second): one.count for one in found} == {
                place: len(keys) for place, keys in wanted.items()
            }
            for (kind, a, b), keys in wanted.items():
                if groups[a].split != groups[b].split:
                    assert index.shared(kind, a, b) == index.shared(kind, b, a) == keys
                    assert index.shared(kind, a, b, 2) == keys[:2]
    for row in matrix(groups, found):
        if row["first"] == row["second"]:
            assert all(row["shared"][a][b] == row["shared"][b][a] for a in SPLITS for b in SPLITS)
    total = sum(map(len, wanted.values()))
    cells = [number for row in matrix(groups, found) for cells in row["shared"].values() for number in cells.values()]
    twice = sum(len(keys) for (_, a, b), keys in wanted.items() if groups[a].dataset == groups[b].dataset)
    assert sum(cells) == total + twice  # within one dataset the matrix is symmetrical


@settings(max_examples=5, deadline=None)
@given(st.lists(KEYS, min_size=1, max_size=5), st.integers(60, 140))
def test_a_group_may_have_any_number_of_rows(shared: list[set[str]], rows: int) -> None:
    with TemporaryDirectory() as folder:
        held = [shared[row % len(shared)] | {f"a/own {row}"} for row in range(rows)]
        files = {
            f"row {row}": [shard(Path(folder) / f"{row}.arrow", [("a/p", sorted(keys), sorted(keys)[:-1])])]
            for row, keys in enumerate(held)
        }
        with KeyIndex([Group("D", "a", "train", files)]) as index:
            counts = index.load()
            for row, keys in enumerate(held):
                found = counts[f"row {row}", "train"]
                assert (found.records, found.studies, found.images) == (1, len(keys), len(keys) - 1)
            assert index.union("study", "train") == len(set().union(*held))
            assert index.union("patient", "train") == 1


def _rows(folder: Path, kinds: dict[str, set[str]]) -> dict[str, list[Path]]:
    """Shards of one row that hold some keys, each of them twice."""
    folder.mkdir()
    rows = [
        *[(patient, [], []) for patient in sorted(kinds["patient"])],
        (None, sorted(kinds["study"]), sorted(kinds["image"])),
    ]
    files = [shard(folder / f"{place}.arrow", rows) for place in range(2)]
    return {f"row {folder.name}": files}


@pytest.fixture
def linked(tmp_path: Path) -> KeyIndex:
    """Images of a re-issuing source and of its upstream."""
    original = shard(
        tmp_path / "up.arrow",
        [
            ("nih/p1", ["nih/s1"], ["up/images/one.dcm"]),
            ("nih/p2", ["nih/s2"], ["up/images/two.v2.dcm"]),
            (None, ["nih/s3", "nih/s4"], ["up/images/three.dcm"]),
            ("nih/p5", ["nih/s5"], ["up/a/0.png"]),
            ("nih/p6", ["nih/s6"], ["up/b/0.png"]),
        ],
    )
    copy = shard(
        tmp_path / "copy.arrow",
        [
            ("copy/x", ["copy/one"], ["copy/train/one.png"]),
            (None, ["copy/two"], ["copy/train/two.v2.jpeg"]),
            (None, ["copy/three"], ["copy/train/three.png"]),
            (None, ["copy/0"], ["copy/train/0.png"]),
            (None, ["copy/four"], ["copy/train/four.png"]),
        ],
    )
    groups = [Group("Up", "up", "test", {"up": [original]}), Group("Copy", "copy", "train", {"copy": [copy]})]
    return KeyIndex(groups)


def test_a_copy_has_the_keys_of_its_original(linked: KeyIndex) -> None:
    with linked:
        linked.load()
        assert linked.overlaps() == []
        assert linked.link([("copy", "up")]) == 3  # 0.png stands for two images there
        assert {(one.kind, one.count) for one in linked.overlaps()} == {("patient", 2), ("study", 2), ("image", 3)}
        assert linked.shared("study", 0, 1) == ["nih/s1", "nih/s2"]  # of two studies, three.dcm's is not known
        assert linked.link([("up", "nothing")]) == 0


def test_upstreams_of_upstreams() -> None:
    derived = Derived({"covidx": ["rsna"], "rsna": ["nih"], "nih": [], "siim": ["nih"], "loop": ["loop"]})
    assert derived.upstream("covidx") == ["rsna", "nih"]
    assert derived.upstream("loop") == ["loop"]
    assert list(derived.copies(["covidx", "nih", "rsna", "unknown"])) == [
        ("rsna", "nih"),
        ("covidx", "rsna"),
        ("covidx", "nih"),
    ]


def test_keys_are_asked_for_by_label_and_by_beginning(linked: KeyIndex) -> None:
    with linked:
        linked.load()
        wanted = pa.table({"key": ["nih/s2", "nih/s1", "nih/none", "copy/two"], "label": ["a", "a", "a", None]})
        assert linked.ask("study", wanted) == {(0, "a"): 2}
        assert linked.asked("study", 0, "a") == ["nih/s1", "nih/s2"]
        assert linked.asked("study", 0, "a", 1) == ["nih/s1"]
        assert linked.below(pa.array(["up/a/", "copy/train/o"])).to_pylist() == ["copy/train/one.png", "up/a/0.png"]
        assert linked.ask("patient", wanted) == {}


def test_many_cores_do_not_exhaust_the_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each thread of DuckDB needs buffers of its own, for which 96 of them do not find room here."""
    monkeypatch.setattr("os.cpu_count", lambda: 96)
    monkeypatch.setattr("instruct.audit.overlaps._MEMORY", "55MB")
    rows = [(f"a/p{row}", [f"a/s{row}"], [f"a/{row}.png"]) for row in range(200_000)]
    files = [shard(tmp_path / f"{split}.arrow", rows[start:]) for split, start in (("train", 0), ("test", 100_000))]
    groups = [Group("A", "a", split, {"row": [file]}) for split, file in zip(("train", "test"), files, strict=True)]
    with KeyIndex(groups) as index:
        index.load()
        assert [one.count for one in index.overlaps()] == [100_000] * 3
        assert len(index.shared("study", 0, 1)) == 100_000


@pytest.mark.parametrize(
    ("memory", "largest", "why"),
    [("8MB", None, "Out of Memory Error"), ("20MB", 1 << 20, "(File too large|Out of Memory Error)")],
)
def test_too_little_memory_or_disk_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, memory: str, largest: int | None, why: str
) -> None:
    monkeypatch.setattr("instruct.audit.overlaps._MEMORY", memory)
    rows = [(f"a/p{row}", [f"a/s{row}"], [f"a/{row}.png"]) for row in range(200_000)]
    groups = [Group("A", "a", "train", {"row": [shard(tmp_path / "train.arrow", rows)]})]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    if largest:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, before[1]))
    try:
        with (
            pytest.raises(DataError, match=rf"(?s)the keys of the dataset cannot be compared: .*{why}.*TMPDIR"),
            KeyIndex(groups) as index,
        ):
            index.load()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
