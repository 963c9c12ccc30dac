import hashlib
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from instruct import synth
from instruct.errors import DataError, UsageError


def digest(root: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        total.update(str(path.relative_to(root)).encode())
        total.update(path.read_bytes())
    return total.hexdigest()


@pytest.mark.parametrize("source", sorted(synth.SOURCES))
class TestEverySource:
    def test_same_arguments_give_the_same_bytes(self, source, tmp_path):
        first = synth.write(source, tmp_path / "a", studies=21, seed=5)
        script = f"from instruct import synth; synth.write({source!r}, {str(tmp_path / 'b')!r}, studies=21, seed=5)"
        subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, "PYTHONHASHSEED": "77"})
        again = synth.write(source, tmp_path / "c", studies=21, seed=5)
        assert digest(tmp_path / "a") == digest(tmp_path / "b") == digest(tmp_path / "c")
        assert first == again

    def test_another_seed_gives_other_files_with_the_same_counts(self, source, tmp_path):
        first = synth.write(source, tmp_path / "a", studies=200, seed=0, images=False)
        other = synth.write(source, tmp_path / "b", studies=200, seed=1, images=False)
        assert digest(tmp_path / "a") != digest(tmp_path / "b")
        for row in first.counts:
            for split, counts in first.counts[row].items():
                assert counts.examples == other.counts[row][split].examples, (row, split)

    def test_images_do_not_change_the_other_files(self, source, tmp_path):
        bare = synth.write(source, tmp_path / "bare", studies=20, images=False)
        full = synth.write(source, tmp_path / "full", studies=20)
        assert bare == full
        for path in (p for p in (tmp_path / "bare").rglob("*") if p.is_file()):
            assert path.read_bytes() == (tmp_path / "full" / path.relative_to(tmp_path / "bare")).read_bytes()
        assert not list((tmp_path / "bare").rglob("*.png"))

    def test_refuses_to_mix_two_corpora(self, source, tmp_path):
        synth.write(source, tmp_path, studies=20, images=False)
        with pytest.raises(UsageError, match=r"exists already.*choose another folder"):
            synth.write(source, tmp_path, studies=20, images=False)

    def test_refuses_too_few_studies(self, source, tmp_path):
        with pytest.raises(UsageError, match="expected 20 or more"):
            synth.write(source, tmp_path, studies=19)
        assert not list(tmp_path.iterdir())

    def test_every_row_has_every_split(self, source, tmp_path):
        planted = synth.write(source, tmp_path, studies=20, images=False)
        assert planted.source == source
        assert all(set(splits) == {"train", "val", "test"} for splits in planted.counts.values())


def test_unknown_source_names_the_known_ones(tmp_path):
    with pytest.raises(UsageError, match=r"openi, .*rexgradient"):
        synth.write("chexphoto", tmp_path, studies=20)


def test_naming_the_package_loads_no_arrays():
    code = "import sys, instruct.synth; print(sorted({'numpy', 'PIL'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert result.stdout.strip() == "[]"


def test_half_a_corpus_is_not_left(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "note").touch()
    monkeypatch.setattr("instruct.synth.openi.write", lambda root, **_: cut_off(root))
    for folder in ("new", "mine"):
        with pytest.raises(KeyboardInterrupt):
            synth.write("openi", tmp_path / folder, studies=20)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["half", "mine", "note"]  # what is not ours stays


def cut_off(root):
    root.mkdir(exist_ok=True)
    (root / "half").touch()
    raise KeyboardInterrupt


@pytest.mark.parametrize("there", ["nothing", "a folder", "a link to one"])
def test_a_full_disk_is_told_and_nothing_is_left(tmp_path, there):
    out = tmp_path / "corpus"
    if there != "nothing":
        (tmp_path / "folder").mkdir()
        out.symlink_to(tmp_path / "folder") if there == "a link to one" else (tmp_path / "folder").rename(out)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))  # as if no room were left
    try:
        with pytest.raises(DataError, match=f"{out}: the corpus cannot be written: File too large"):
            synth.write("openi", out, studies=20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert out.exists() == (there != "nothing") and not list(tmp_path.glob("*/*"))
    synth.write("openi", out, studies=20, images=False)
