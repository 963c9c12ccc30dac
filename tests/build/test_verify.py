"""``verify`` finds whatever is not as it was built; the next build mends it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.build.helpers import call, contents, shards
from tests.conftest import Corpora

SHARD = "impression_generation-openi/test/1"


@pytest.fixture
def built(corpora: Corpora, tmp_path: Path) -> Path:
    build(corpora, tmp_path / "out")
    return tmp_path / "out"


def build(corpora: Corpora, out: Path) -> str:
    return call("build", "openi", "shard_rows=15", "--data-root", corpora.root, "--out", out).out


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-8])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-100] ^= 0x10
    file.write_bytes(content)


def swap(file: Path) -> None:
    other = file.with_name(file.name.replace("00001-of", "00000-of"))
    content = other.read_bytes()
    other.write_bytes(file.read_bytes())
    file.write_bytes(content)


def test_a_whole_build(built: Path) -> None:
    assert call("verify", built).out == f"{built}: all is well\n"
    assert json.loads(call("verify", built, "--json").out) == {"problems": []}


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (Path.unlink, "is missing"),
        (cut, "bytes; the manifest says"),
        (flip, "its content differs from what was built"),
        (swap, "the manifest says"),
    ],
)
def test_damage_is_found_and_mended(corpora: Corpora, built: Path, damage: Callable[[Path], None], said: str) -> None:
    before = contents(built)
    file = shards(built)[SHARD]
    damage(file)
    done = call("verify", built, check=4)
    assert f"{file}: " in done.out and said in done.out
    assert done.out.endswith("build it again: what is damaged is made anew\n")
    assert len(json.loads(call("verify", built, "--json", check=4).out)["problems"]) == (2 if damage is swap else 1)
    assert f"{2 if damage is swap else 1} shards rendered" in build(corpora, built)
    assert contents(built) == before
    assert call("verify", built).code == 0


def test_a_shard_too_many(corpora: Corpora, built: Path) -> None:
    file = shards(built)[SHARD]
    stray = file.with_name("data-00007-of-00008.arrow")
    stray.write_bytes(file.read_bytes())
    assert f"{stray}: does not belong to the build" in call("verify", built, check=4).out
    build(corpora, built)
    assert not stray.exists() and call("verify", built).code == 0


@pytest.mark.parametrize("name", ["state.json", "dataset_info.json"])
def test_what_datasets_reads_is_written_again(corpora: Corpora, built: Path, name: str) -> None:
    before = contents(built)
    for file in list(built.rglob(name)):
        file.unlink()
    assert name in call("verify", built, check=4).out
    assert "nothing to render" in build(corpora, built)
    assert contents(built) == before


def test_a_build_that_is_not_finished(corpora: Corpora, built: Path) -> None:
    before = contents(built)
    (built / "manifest.json").unlink()
    for command in ("verify", "counts", "show"):
        err = call(command, built, check=2).err
        assert f"{built}: the build is not finished (no manifest.json); run the same build command again" in err
    assert "nothing to render" in build(corpora, built)
    assert contents(built) == before


def test_a_manifest_that_is_damaged(corpora: Corpora, built: Path) -> None:
    before = contents(built)
    cut(built / "manifest.json")
    assert "manifest.json: is damaged; run the same build command again" in call("verify", built, check=4).err
    assert "nothing to render" in build(corpora, built)
    assert contents(built) == before


@pytest.mark.parametrize(
    "content", ["[]", '"text"', "3", '{"a": 1}', "tasks: {}", "tasks: [3]", 'tasks: [{"splits": 3}]']
)
def test_a_manifest_of_another_shape(corpora: Corpora, built: Path, content: str) -> None:
    before = contents(built)
    key, _, value = content.partition(": ")
    held = json.loads((built / "manifest.json").read_text("utf-8"))
    changed = json.dumps({**held, key: json.loads(value)}) if key == "tasks" else content
    (built / "manifest.json").write_text(changed, "utf-8")
    for command in ("verify", "counts"):
        assert "manifest.json: is damaged; run the same build command again" in call(command, built, check=4).err
    assert "nothing to render" in build(corpora, built)
    assert contents(built) == before


def test_a_folder_that_is_no_build(tmp_path: Path) -> None:
    for command in ("verify", "counts", "show"):
        assert f"{tmp_path}: is no build of cxr-instruct (no manifest.json)" in call(command, tmp_path, check=2).err
        assert "is no build of cxr-instruct" in call(command, tmp_path / "nowhere", check=2).err
