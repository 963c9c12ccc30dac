from __future__ import annotations

import io
import pickle
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

from instruct.build.image_table import ImageTable
from instruct.errors import DataError
from instruct.mixture.index import Part, build_index
from instruct.mixture.recipe import load_mixture_recipe
from instruct.mixture.rows import open_rows
from instruct.training.images import image_sizes
from tests.mixture.conftest import build

LABEL = "[Findings Generation] [REX-Gradient]"


def part_of(folder: Path, label: str = LABEL, split: str = "train") -> Part:
    index = build_index(load_mixture_recipe("mixture_demo", [f"data=[{folder}]"]), split)
    (part,) = (part for part in index.parts if part.label == label)
    return part


def written(part: Part) -> pa.Table:
    """The part's shards, read another way."""
    tables = []
    for name, _, _ in part.shards:
        with (part.folder / name).open("rb") as file:
            tables.append(pa.ipc.open_stream(file.read()).read_all())
    return pa.concat_tables(tables)


def test_rows_are_those_of_the_shards(built):
    part = part_of(built)
    rows, table = open_rows(part), written(part)
    assert len(part.shards) > 1 and len(rows) == len(table) == part.size
    assert [rows[number] for number in range(len(rows))] == table.to_pylist()
    assert rows.column("id").to_pylist() == table["id"].to_pylist()
    last_first = [len(rows) - 1, 0, 41, 0]
    assert rows.take(last_first).to_pylist() == [table.to_pylist()[number] for number in last_first]
    assert len(rows.take([])) == 0


@pytest.mark.parametrize("row", [-1, 10**6])
def test_a_row_that_is_not_there(built, row):
    rows = open_rows(part_of(built))
    for ask in (lambda: rows[row], lambda: rows.take([0, row])):
        with pytest.raises(IndexError, match=r"\[Findings Generation\] \[REX-Gradient\] has \d+ rows"):
            ask()


def test_rows_pickle_by_their_files(built):
    rows = open_rows(part_of(built))
    dumped = pickle.dumps(rows)
    assert len(dumped) < 5000 and pickle.loads(dumped)[2] == rows[2]


def test_a_part_without_rows(built):
    rows = open_rows(part_of(built, "[Findings Generation] [OpenI]"))
    assert len(rows) == 0 and len(rows.column("id")) == 0 and len(rows.take([])) == 0


def test_a_shard_that_is_gone_cut_or_another(built, tmp_path):
    shutil.copytree(built, tmp_path / "out")
    part = part_of(tmp_path / "out")
    shard = tmp_path / "out" / part.shards[1][0]
    content = shard.read_bytes()
    for damage in (
        lambda: shard.unlink(),
        lambda: shard.write_bytes(content[:-9]),
        lambda: shard.write_bytes(b"x" * len(content)),
    ):
        damage()
        with pytest.raises(DataError, match=r"data-00001.*arrow: is missing or damaged; `cxr-instruct verify`"):
            open_rows(part)


def published(built: Path) -> dict[str, list[str]]:
    """Image paths by id."""
    rows = open_rows(part_of(built))
    return {row["id"]: [image["path"] for image in row["images"]] for row in map(rows.__getitem__, range(len(rows)))}


def test_relative_paths_are_joined(built, relative):
    rows, known = open_rows(part_of(relative)), published(built)
    assert {row["id"] for row in map(rows.__getitem__, range(len(rows)))} == set(known)
    for number, stored in enumerate(rows.column("images").to_pylist()):
        assert [image["path"] for image in rows[number]["images"]] == known[rows[number]["id"]]
        assert not stored[0]["path"].startswith("/")
    assert [[image["path"] for image in images] for images in rows.absolute_images().to_pylist()] == [
        known[name] for name in rows.column("id").to_pylist()
    ]


def test_packed_images_come_with_their_bytes(packed):
    rows = open_rows(part_of(packed))
    for number in range(len(rows)):
        row = rows[number]
        (image,) = row["images"]
        assert image["path"] == row["keys"]["images"][0]
        with Image.open(io.BytesIO(image["bytes"])) as opened:
            assert (opened.mode, min(opened.size)) == ("L", 64)
    assert pickle.loads(pickle.dumps(rows))[0] == rows[0]


def test_an_images_table_that_is_gone(packed, tmp_path):
    shutil.copytree(packed, tmp_path / "out")
    rows = open_rows(part_of(tmp_path / "out"))
    shutil.rmtree(tmp_path / "out" / "images" / "rexgradient")
    with pytest.raises(DataError, match=r"images/rexgradient/.*arrow: is missing or damaged"):
        rows[0]


@pytest.fixture(scope="module")
def embedded(corpora, tmp_path_factory):
    return build(corpora, tmp_path_factory.mktemp("rows") / "out", "images.store=embed", "images.size=64")


@pytest.mark.parametrize("kind", ["built", "relative", "packed", "embedded"])
def test_a_lean_row_is_the_row_but_for_its_images(kind, request, monkeypatch):
    rows = open_rows(part_of(request.getfixturevalue(kind)))
    whole = [rows[number] for number in range(8)]
    copied = []
    monkeypatch.setattr(ImageTable, "data", lambda self, path: copied.append(path))
    lean = [rows.lean(number) for number in range(8)]
    assert not copied
    for row, short in zip(whole, lean, strict=True):
        assert {**short, "images": None} == {**row, "images": None}
        assert [image["path"] for image in short["images"]] == [image["path"] for image in row["images"]]
        assert image_sizes(short) == image_sizes(row)
    assert any(row["images"] for row in lean)
    views = [image["bytes"] for row in lean for image in row["images"]]
    assert all(isinstance(view, pa.Buffer) == (kind == "embedded") for view in views)
    with pytest.raises(IndexError, match="none with the number"):
        rows.lean(-1)
