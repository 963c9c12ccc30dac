from __future__ import annotations

import time
from pathlib import Path

import pytest

from instruct.api import load_recipe
from instruct.build import tables
from instruct.build.selection import select
from instruct.digest import digest_file
from instruct.errors import DataError
from instruct.sources import json_stream
from instruct.synth import write
from tests.build.helpers import call, shards, write_report


def test_a_reader_that_fails_waits_for_no_digests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1, 40):
        write_report(tmp_path, number, findings="Clear.")
    (report, *_) = sorted(tmp_path.rglob("*.xml"))
    report.write_text("<broken")
    digested: list[Path] = []

    def slowly(path: Path) -> str:
        digested.append(path)
        time.sleep(0.1)
        return digest_file(path)

    monkeypatch.setattr(tables, "digest_file", slowly)
    with pytest.raises(DataError, match=r"\.xml:1"):
        tables.SourceTables(select(load_recipe("openi"), tmp_path), tmp_path / "scratch").get("openi")
    assert len(digested) < 30


@pytest.mark.parametrize("small", [0, 200_000])
def test_tables_of_several_sources_are_the_same_and_leave_nothing_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: int
) -> None:
    monkeypatch.setattr(tables, "_SMALL", small)
    monkeypatch.setattr(json_stream, "_PIECE", 1 << 16)
    for name in ("openi", "rexgradient"):
        write(name, tmp_path / name, studies=200, images=False)
    recipe = load_recipe("all")
    together = tables.SourceTables(select(recipe, tmp_path), tmp_path / "scratch")
    for name in ("openi", "rexgradient"):
        alone = tables.SourceTables(select(recipe, tmp_path / name), tmp_path / "unused")
        assert together.get(name) == alone.get(name)
    assert list((tmp_path / "scratch").iterdir()) == []
    assert not (tmp_path / "unused").exists()


def test_a_reader_that_fails_amid_its_rows_leaves_nothing_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_SMALL", 0)
    for name in ("openi", "rexgradient"):
        write(name, tmp_path / name, studies=200, images=False)
    (last,) = tmp_path.rglob("test_metadata_view_position.json")
    last.write_bytes(last.read_bytes()[:-100])
    with pytest.raises(DataError, match="the file ends in the middle of a record"):
        tables.SourceTables(select(load_recipe("all"), tmp_path), tmp_path / "scratch").get("rexgradient")
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_source_gives_the_same_bytes_alone_and_beside_another(tmp_path: Path) -> None:
    for name in ("openi", "rexgradient"):
        write(name, tmp_path / "data" / name, studies=300, images=False)
    found = []
    for root in ("data", "data/openi", "data/rexgradient"):
        out = tmp_path / "out" / root.replace("/", "-")
        call("build", "all", "shard_rows=70", "--data-root", tmp_path / root, "--out", out)
        found.append({name: file.read_bytes() for name, file in shards(out).items()})
    together, *alone = found
    assert together == alone[0] | alone[1]
    assert len(together) > 20
