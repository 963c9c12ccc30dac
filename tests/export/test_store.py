"""Copies on a store without renames: whole or visibly not, and openable there; pieces sent and fetched."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from instruct.api import load_recipe
from instruct.build.execute import make_executor
from instruct.build.pieces import build_piece
from instruct.build.share import Share
from instruct.digest import digest_file
from tests.build.helpers import call, contents
from tests.conftest import Corpora


@pytest.fixture
def memory() -> Iterator[MemoryFileSystem]:
    """An empty store in memory, as fsspec has it: no renames are used, nothing is listed by chance."""
    store = fsspec.filesystem("memory")
    store.rm("/", recursive=True) if store.find("/") else None
    yield store
    store.rm("/", recursive=True) if store.find("/") else None


@pytest.fixture
def built(packed: Path, tmp_path: Path) -> Path:
    """A copy of the packed build, to be changed."""
    return shutil.copytree(packed, tmp_path / "built")


def there(store: Any, root: str) -> dict[str, bytes]:
    return {path.removeprefix(f"{root}/"): store.cat_file(path) for path in store.find(root)}


def wanted(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and ".build" not in file.relative_to(folder).parts
    }


# A folder of a build is called arrow, too.
@pytest.mark.parametrize("root", ["/bucket/rex", "/arrow", "/deep/arrow/arrow"])
def test_a_copy_is_the_build(memory, packed, root):
    said = call("copy", packed, f"memory:/{root}")
    assert f"{len(wanted(packed))} files sent" in said.out and " 0 removed" in said.out
    assert there(memory, root) == wanted(packed)
    again = json.loads(call("copy", packed, f"memory:/{root}", "--json").out)
    assert (again["sent"], again["kept"], again["removed"]) == (1, len(wanted(packed)) - 1, 0)


def test_a_copy_opens_from_its_store_and_from_another_disk(memory, embedded, packed, tmp_path):
    config = "findings_generation-openi"
    call("copy", embedded, "memory://bucket/rex")
    far = datasets.load_from_disk(f"memory://bucket/rex/{config}")["test"]
    near = datasets.load_from_disk(str(embedded / config))["test"]
    assert [row["id"] for row in far] == [row["id"] for row in near] and len(near) > 20
    assert far[0]["images"][0].tobytes() == near[0]["images"][0].tobytes()
    call("copy", packed, f"file://{tmp_path}/disk")
    assert call("verify", tmp_path / "disk").out.endswith("all is well\n")


def test_what_is_old_goes_and_what_was_damaged_there_is_sent_again(memory, built):
    call("copy", built, "memory://rex")
    shard = next(built.glob("*/*/arrow/data-*"))
    name = shard.relative_to(built).as_posix()
    manifest = json.loads((built / "manifest.json").read_text("utf-8"))
    gone = {"file": "old/train/arrow/data-00000-of-00001.arrow", "sha256": "0" * 64}
    manifest["tasks"].append({"splits": {"train": {"shards": [gone]}}})
    memory.pipe_file("/rex/manifest.json", json.dumps(manifest).encode())
    memory.pipe_file(f"/rex/{gone['file']}", b"of an earlier build")
    memory.pipe_file("/rex/adapter/model.safetensors", b"somebody's work")
    memory.pipe_file("/rex/mine.txt", b"notes")
    memory.pipe_file(f"/rex/{name}", bytes(shard.stat().st_size))
    (built / "cache-1234.arrow").write_bytes(b"of datasets")
    said = call("copy", built, "memory://rex")
    assert "2 files sent" in said.out and "1 removed" in said.out and name in said.err
    assert "2 other files there are no part of a copy and were left alone" in said.err
    (built / "cache-1234.arrow").unlink()
    others = {"adapter/model.safetensors": b"somebody's work", "mine.txt": b"notes"}
    assert there(memory, "/rex") == wanted(built) | others


@pytest.mark.parametrize("where", [".", "inside/copy", ".."])
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_folder_is_not_copied_over_itself(built, where, scheme):
    before = contents(built)
    (built.parent / "link").symlink_to(built)
    err = call("copy", built, f"{scheme}{built.parent / 'link' / where}", check=2).err
    assert "cannot be copied onto itself, into itself or around itself" in err
    assert contents(built) == before


def test_a_folder_that_lacks_files_is_not_copied(memory, built, packed, export):
    next(built.glob("*/*/arrow/data-*")).unlink()
    assert "arrow/data-" in (err := call("copy", built, "memory://rex", check=4).err) and "make the folder again" in err
    out = export(packed, "llava", "--split", "test", "--permission", "openi=mine", "--permission", "rexgradient=mine")
    picture = next(file for file in (out / "images").rglob("*") if file.is_file())
    renamed = picture.rename(picture.with_name("tmp_1" + picture.suffix))
    call("copy", out, "memory://rex")  # whatever its name is, it is an image of the export
    assert there(memory, "/rex") == wanted(out)
    renamed.unlink()
    assert "lacks images/ (" in call("copy", out, "memory://other", check=4).err
    (out / "export.json").write_text("{}")
    assert "export.json: is damaged; export again" in call("copy", out, "memory://other", check=4).err
    assert not there(memory, "/other")


def test_a_place_that_cannot_be_made(packed):
    assert "cannot be written" in call("copy", packed, "/proc/nowhere/x", check=4).err


class Breaking(MemoryFileSystem):
    """A store that fails at the n-th change: before it, or after half of the bytes were written."""

    protocol = "breaking"
    cachable = False
    left = 0

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("breaking:/"))

    def _step(self, path: str, content: bytes | None = None) -> None:
        type(self).left -= 1
        if self.left == 0:
            if content:
                super().pipe_file(path, content[: len(content) // 2])
            raise OSError("the connection was lost")

    def pipe_file(self, path, value, **options):
        self._step(path, value)
        return super().pipe_file(path, value, **options)

    def put_file(self, lpath, rpath, **options):
        content = Path(lpath).read_bytes()
        self._step(rpath, content)
        return super().pipe_file(rpath, content)

    def rm_file(self, path):
        self._step(path)
        return super().rm_file(path)


def test_a_copy_that_breaks_anywhere_is_visibly_none_and_goes_on(memory, packed, built):
    """An earlier copy is replaced: there is never a manifest over files that are not its own."""
    fsspec.register_implementation("breaking", Breaking, clobber=True)
    manifest = json.loads((built / "manifest.json").read_text())
    first = next(iter(built.glob("*/*/arrow/data-*"))).relative_to(built)
    (built / first).write_bytes(b"another shard")
    before = next(
        shard for task in manifest["tasks"] for split in task["splits"].values() for shard in split["shards"]
        if shard["file"] == first.as_posix()
    )  # fmt: skip
    before["sha256"] = digest_file(built / first)
    (built / "manifest.json").write_text(json.dumps(manifest))
    Breaking.left = 0
    call("copy", built, "breaking://rex")
    whole = [wanted(built), wanted(packed)]
    breaks, seen = 0, set()
    while True:
        Breaking.left = 1 + breaks
        done = call("copy", packed, "breaking://rex", check=None)
        held = there(memory, "/rex")
        seen.add("manifest.json" in held)
        if "manifest.json" in held and held["manifest.json"] in [one["manifest.json"] for one in whole]:
            assert {name: held[name] for name in held if name != "copying.json"} in whole
        if done.code == 0:
            break
        assert done.code == 4 and "the connection was lost; run the same command again" in done.err
        # Back to the state before: the next break is one step later.
        Breaking.left = 0
        call("copy", built, "breaking://rex")
        breaks += 1
    # Mark, old manifest, shard, manifest, mark again; and what was not there to be removed.
    assert breaks >= 5 and seen == {True, False} and there(memory, "/rex") == whole[1]


def test_a_store_that_alters_files_is_found_out(memory, packed):
    class Altering(MemoryFileSystem):
        protocol = "altering"
        cachable = False

        @classmethod
        def _strip_protocol(cls, path):
            return super()._strip_protocol(path.removeprefix("altering:/"))

        def put_file(self, lpath, rpath, **options):
            super().pipe_file(rpath, Path(lpath).read_bytes().replace(b"a", b"b"))

    fsspec.register_implementation("altering", Altering, clobber=True)
    assert "came back with another content" in call("copy", packed, "altering://rex", check=4).err
    held = there(memory, "/rex")
    assert held and "manifest.json" not in held


def test_places_that_hold_something_else(memory, packed, built, tmp_path):
    memory.pipe_file("/thesis/thesis.txt", b"my only copy")
    assert "memory://thesis: is not empty and holds no copy" in call("copy", packed, "memory://thesis", check=2).err
    memory.pipe_file("/other/manifest.json", b'{"name": "other", "tasks": []}')
    err = call("copy", packed, "memory://other", check=2).err
    assert f"holds the build 'other'; {packed} is the build 'demo'" in err
    memory.pipe_file("/strange/manifest.json", b"[]")
    assert "holds a manifest.json of something else" in call("copy", packed, "memory://strange", check=2).err
    assert "is no build of cxr-instruct" in call("copy", tmp_path / "none", "memory://x", check=2).err
    assert "--option x is not" in call("copy", packed, "memory://x", "--option", "x", check=2).err.replace("'", "")
    assert "Protocol not known: nowhere" in call("copy", packed, "nowhere://x", check=2).err
    shard = next(built.glob("*/*/arrow/data-*"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    assert f"{shard}: its content differs from what was written" in call("copy", built, "memory://x", check=4).err


def test_an_export_is_copied_too(memory, packed, export):
    out = export(packed, "parquet", "--split", "test")
    call("copy", out, "memory://rex")
    assert there(memory, "/rex") == wanted(out)
    assert "holds an export of 'demo' to parquet" in call("copy", packed, "memory://rex", check=2).err


@pytest.mark.parametrize("command", [["build", "demo"], ["merge", "demo"], ["plan", "demo"]])
def test_a_url_is_no_output_folder(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    err = call(*command, "--out", "s3://bucket/rex", check=2).err
    assert "is a URL; give a local folder" in err and "cxr-instruct copy" in err
    assert not list(tmp_path.iterdir())


# --- pieces ------------------------------------------------------------------------------------------------------

PACKED = ["images.store=pack", "images.size=64", "shard_rows=40"]


def piece(corpora: Corpora, out: Path, share: str, *overrides: str) -> None:
    recipe = load_recipe("demo", [*PACKED, *overrides])
    build_piece(recipe, out, Share.parse(share), make_executor("local"), data_root=corpora.root)


def test_pieces_meet_on_a_store(memory, corpora, packed, tmp_path):
    """As machines do that share nothing but a bucket."""
    for share in ("1/2", "2/2"):
        folder = tmp_path / share.replace("/", "-")
        piece(corpora, folder, share)
        assert " 0 there already" in call("copy", folder, "memory://pieces").out
        assert call("copy", folder, "memory://pieces").out.startswith("0 files sent")
        shutil.rmtree(folder)
    merge = [
        "merge", "demo", *PACKED, "--data-root", corpora.root, "--out", tmp_path / "out", "--from", "memory://pieces",
    ]  # fmt: skip
    call(*merge)
    assert contents(tmp_path / "out") == contents(packed)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]  # nothing fetched is left

    shutil.rmtree(tmp_path / "out")
    shard = memory.find("/pieces/shards")[0]
    whole = memory.cat_file(shard)
    memory.pipe_file(shard, bytes(len(whole)))
    assert f"{Path(shard).name}: is damaged; send the piece again" in call(*merge, check=4).err
    memory.rm_file(shard)
    assert f"memory://pieces/shards/{Path(shard).name}: is not there" in call(*merge, check=4).err
    memory.rm_file(shard.replace("shards", "results").replace(".arrow", ".json"))
    assert "in no piece" in call(*merge, check=4).err


def test_places_that_hold_no_pieces_of_the_build(memory, corpora, tmp_path):
    piece(corpora, tmp_path / "piece", "1/2")
    memory.pipe_file("/other/name.json", b'"other"\n')
    memory.pipe_file("/thesis/thesis.txt", b"my only copy")
    err = call("copy", tmp_path / "piece", "memory://other", check=2).err
    assert "holds pieces of the build 'other', not of 'demo'" in err
    assert "is not empty and holds no pieces" in call("copy", tmp_path / "piece", "memory://thesis", check=2).err
    merge = ("merge", "demo", *PACKED, "--data-root", corpora.root, "--out", tmp_path / "out")
    assert "holds no pieces of a build" in call(*merge, "--from", "memory://thesis", check=2).err
