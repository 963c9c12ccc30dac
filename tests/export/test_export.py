"""What every export keeps to: terms, counts of what is left out, whole folders, the same bytes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct.export.grounding import with_boxes
from instruct.export.rows import Row
from instruct.prompts.dialect import region_filters
from tests.build.helpers import call, write_report, write_spec, write_template
from tests.export.conftest import ALLOWED, lines, table

FINDINGS = "findings_generation-openi"
TRAINERS = ("parquet", "llava", "llamafactory", "ms-swift", "axolotl")


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


# --- terms -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", TRAINERS)
def test_images_are_not_copied_against_the_terms(packed, tmp_path, to):
    out = tmp_path / "out"
    err = call("export", packed, "--to", to, "--out", out, check=5).err
    assert "exporting with images is refused by the terms of 2 of its sources" in err
    assert "openi: CC BY-NC-ND 4.0" in err and "--permission SOURCE=REASON" in err
    err = call("export", packed, "--to", to, "--out", out, *ALLOWED[:2], check=5).err
    assert "of 1 of its sources" in err and "rexgradient" in err
    assert not out.exists()


def test_only_the_sources_that_are_exported_are_asked(packed, tmp_path):
    out = tmp_path / "out"
    call("export", packed, "--to", "llava", "--out", out, "--tasks", "[Findings Generation] [OpenI]", *ALLOWED[:2])
    err = call("export", packed, "--to", "llava", "--out", out, "--tasks", FINDINGS, *ALLOWED, check=2).err
    assert "a permission was given for rexgradient, which needs none here" in err


def test_texts_and_paths_need_no_permission(reference, packed, tmp_path):
    call("export", reference, "--to", "llava", "--out", tmp_path / "one")
    call("export", packed, "--to", "llava", "--out", tmp_path / "two", "--tasks", "findings_summarization-openi")
    assert not (tmp_path / "one" / "images").exists() and not (tmp_path / "two" / "images").exists()
    err = call("export", reference, "--to", "llava", "--out", tmp_path / "one", *ALLOWED, check=2).err
    assert "a permission is for exports that hold images; this one holds none" in err


# --- what is left out --------------------------------------------------------------------------------------------

QUERY = "SELECT study AS id, split, patient, [study] AS studies, images, findings, origin FROM studies"


@pytest.fixture
def corpus(tmp_path: Path, corpora) -> Path:
    """Six OpenI reports by reference: good, missing, empty, 16-bit, DICOM, and one whose turns do not alternate."""
    whole = next((corpora.root / "openi" / "images").glob("CXR*.png")).read_bytes()
    deep = next((corpora.root / "rexgradient").rglob("*.png")).read_bytes()
    contents = {"good": whole, "empty": b"", "deep": deep, "dicom": bytes(128) + b"DICM" + bytes(40), "gone": None}
    for number, (name, content) in enumerate(contents.items()):
        write_report(tmp_path / "data", number, f"Finding {number}.", "None.", [name])
        if content is not None:
            (tmp_path / "data" / "openi" / "images").mkdir(parents=True, exist_ok=True)
            (tmp_path / "data" / "openi" / "images" / f"{name}.png").write_bytes(content)
    write_spec(tmp_path / "specs", {"show": QUERY})
    write_template(tmp_path / "specs", "show", "What is there?", images="any")
    (tmp_path / "mine.yaml").write_text("name: mine\nsources: {openi: {}}\ntasks: ['[show] [Mine]']\n")
    call(
        "build", tmp_path / "mine.yaml", "--data-root", tmp_path / "data", "--specs", tmp_path / "specs",
        "--out", tmp_path / "built",
    )  # fmt: skip
    return tmp_path


@pytest.mark.parametrize("to", ["llava", "llamafactory", "ms-swift", "axolotl"])
def test_images_that_trainers_cannot_show(corpus, to):
    done = call("export", corpus / "built", "--to", to, "--out", corpus / "out")
    assert "1 examples left out: missing_image: an image is not on disk" in done.out
    assert "1 examples left out: dicom_image: an image is a DICOM file" in done.out
    assert "1 examples left out: sixteen_bit_image: an image is a 16-bit PNG, which trainers turn white" in done.out
    assert "1 examples left out: empty_image" in done.out and f"1 examples: {corpus / 'out'}" in done.out
    told = json.loads((corpus / "out" / "export.json").read_text("utf-8"))["rows"]["[show] [Mine]"]["test"]
    assert told["exported"] == 1 and sum(told["left_out"].values()) == 4
    document = json.loads(call("export", corpus / "built", "--to", to, "--out", corpus / "out", "--json").out)
    assert document["rows"]["[show] [Mine]"]["test"] == told
    written = "".join(content.decode() for name, content in files(corpus / "out").items() if name != "export.json")
    assert "images/good.png" in written and "images/deep.png" not in written


def test_embedding_published_images_leaves_out_what_datasets_cannot_open(corpus):
    given = ("--embed-images", "--permission", "openi=a letter")
    done = call("export", corpus / "built", "--to", "parquet", "--out", corpus / "out", *given)
    assert "2 examples: " in done.out and "dicom_image" in done.out and "sixteen_bit_image" not in done.out


def test_nothing_left_to_export(corpus):
    shutil.rmtree(corpus / "data" / "openi" / "images")
    err = call("export", corpus / "built", "--to", "llava", "--out", corpus / "out", check=4).err
    assert "nothing can be exported:" in err and "5 examples left out: missing_image: an image is not on disk" in err
    assert not (corpus / "out" / "export.json").exists()


@pytest.mark.parametrize(
    ("senders", "alternates"),
    [
        ("hg", True), ("shg", True), ("hghg", True), ("shghg", True),
        ("", False), ("s", False), ("h", False), ("gh", False), ("hhg", False), ("hgg", False), ("hgh", False),
        ("hsg", False), ("hgsg", False), ("sshg", False),
    ],
)  # fmt: skip
def test_turns_that_alternate(senders, alternates):
    names = {"s": "system", "h": "human", "g": "gpt"}
    assert Row("a", "b", [(names[one], "text") for one in senders], []).alternates is alternates


def test_tasks_and_splits_that_are_not_there(packed, tmp_path):
    err = call("export", packed, "--to", "llava", "--out", tmp_path / "o", "--tasks", "[X] [Y]", check=2).err
    assert "has no task [X] [Y]; it has: [Findings Generation] [OpenI]" in err
    err = call(
        "export", packed, "--to", "llava", "--out", tmp_path / "o", "--tasks", FINDINGS, "--split", "train", check=2
    ).err
    assert "has no example of what was asked for" in err
    err = call("export", tmp_path, "--to", "llava", "--out", tmp_path / "o", check=2).err
    assert "is no build of cxr-instruct" in err


def test_splits_and_tasks_are_chosen(packed, export):
    chosen = ("--tasks", "findings_generation-rex_gradient", "--tasks", FINDINGS, "--split", "val", "--split", "test")
    out = export(packed, "ms-swift", *chosen)
    found = {str(file.relative_to(out)): len(lines(file)) for file in out.rglob("*.jsonl")}
    rex = "findings_generation-rex_gradient"
    assert found == {
        f"test/{FINDINGS}.jsonl": len(table(packed, FINDINGS, "test")),
        f"test/{rex}.jsonl": len(table(packed, rex, "test")),
        f"validation/{rex}.jsonl": len(table(packed, rex, "validation")),
    }


# --- the folder --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", TRAINERS)
def test_the_same_bytes_again_in_the_place_of_an_earlier_export(packed, tmp_path, to):
    out = tmp_path / "out"
    call("export", packed, "--to", "axolotl" if to != "axolotl" else "llava", "--out", out, *ALLOWED)
    call("export", packed, "--to", to, "--out", out, *ALLOWED)
    first = files(out)
    call("export", packed, "--to", to, "--out", out, *ALLOWED)
    assert files(out) == first and not (out / ".export").exists()
    told = json.loads(first["export.json"])
    assert {name for name in first if not name.startswith("images/")} == {*told["files"], "export.json"}
    if to in ("parquet", "llava"):  # others hold absolute paths
        call("export", packed, "--to", to, "--out", tmp_path / "elsewhere", *ALLOWED)
        other = files(tmp_path / "elsewhere")
        assert {name for name in first if first[name] != other.get(name)} <= {"README.md", "export.json"}


def test_a_folder_that_holds_something_else(packed, tmp_path):
    (tmp_path / "thesis.txt").write_text("my only copy", "utf-8")
    err = call("export", packed, "--to", "llava", "--out", tmp_path, *ALLOWED, check=2).err
    assert f"{tmp_path}: is not empty (thesis.txt) and holds no export; choose another --out" in err
    err = call("export", packed, "--to", "llava", "--out", tmp_path / "thesis.txt", *ALLOWED, check=2).err
    assert "cannot be an output folder: it is a file" in err
    err = call("export", packed, "--to", "llava", "--out", packed, *ALLOWED, check=2).err
    assert "is the folder of the build" in err  # nor is a build overwritten
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_what_an_export_did_not_write_is_not_deleted(reference, tmp_path):
    out = tmp_path / "out"
    call("export", reference, "--to", "llava", "--out", out)
    for name in ("mine.txt", "images/mine.png", "build/manifest.json"):
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("my only copy")
        before = files(out)
        assert (
            f"{name} is no part of the export there"
            in call("export", reference, "--to", "llava", "--out", out, check=2).err
        )
        assert files(out) == before
        (out / name).unlink()
    call("export", reference, "--to", "llava", "--out", out)


@pytest.mark.parametrize("where", [".", "inside/out", ".."])
def test_an_export_stays_out_of_the_folder_of_its_build(packed, tmp_path, where):
    built = shutil.copytree(packed, tmp_path / "here" / "built")
    before = files(built)
    (built.parent / "export.json").write_text('{"files": {}}')  # as if the build lay in an earlier export
    err = call("export", built, "--to", "llava", "--out", built / where, *ALLOWED, check=2).err
    assert "is the folder of the build, in it, or around it; choose another --out" in err
    assert files(built) == before


def test_a_killed_export_is_no_export_and_the_next_one_is_whole(packed, tmp_path):
    out = tmp_path / "out"
    command = ["export", str(packed), "--to", "llava", "--out", str(out), *ALLOWED]
    stop = (
        "import os, signal, sys\n"
        "from instruct.export import pictures\n"
        "write = pictures.Path.write_bytes\n"
        "def once(self, data, seen=[0]):\n"
        "    seen[0] += 1\n"
        "    if seen[0] == 50: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return write(self, data)\n"
        "pictures.Path.write_bytes = once\n"
        "from instruct.cli.main import main\n"
        f"sys.argv = ['cxr-instruct', *{command!r}]\n"
        "main()\n"
    )
    assert subprocess.run([sys.executable, "-c", stop], capture_output=True).returncode == -signal.SIGKILL
    assert (out / "images").is_dir() and not (out / "export.json").exists()
    call(*command)
    undisturbed = tmp_path / "undisturbed"
    call("export", packed, "--to", "llava", "--out", undisturbed, *ALLOWED)
    assert {
        k: v for k, v in files(out).items() if k.startswith("images") or (k.endswith(".json") and k != "export.json")
    } == {
        k: v
        for k, v in files(undisturbed).items()
        if k.startswith("images") or (k.endswith(".json") and k != "export.json")
    }


def test_two_exports_into_one_folder_at_once(packed, tmp_path):
    import fcntl

    (tmp_path / "out" / ".export").mkdir(parents=True)
    with (tmp_path / "out" / ".export" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(str(os.getpid()))
        lock.flush()
        err = call("export", packed, "--to", "llava", "--out", tmp_path / "out", *ALLOWED, check=2).err
    assert f"another export is writing into this folder (process {os.getpid()})" in err


def test_a_damaged_build(packed, tmp_path):
    shutil.copytree(packed, tmp_path / "built")
    shard = next((tmp_path / "built" / FINDINGS).rglob("data-*.arrow"))
    shard.write_bytes(shard.read_bytes()[:-64])
    err = call("export", tmp_path / "built", "--to", "llava", "--out", tmp_path / "out", *ALLOWED, check=4).err
    assert f"{shard}: is missing or damaged" in err
    assert not (tmp_path / "out" / "export.json").exists()


# --- boxes -------------------------------------------------------------------------------------------------------

share = st.integers(0, 1000).map(lambda value: value / 1000)
boxes = st.tuples(share, share, share, share).map(
    lambda v: [min(v[0], v[2]), min(v[1], v[3]), max(v[0], v[2]), max(v[1], v[3])]
)
words = st.text(st.sampled_from("abc [],. 019\n"), max_size=12)


@given(st.lists(st.tuples(words, boxes), max_size=5), words, st.sampled_from(["thousand", "unit", "pixels"]))
def test_marks_stand_where_boxes_were_printed(pieces, tail, dialect):
    regions = [{"image": 0, "label": "", "box": box, "mask": None, "size": [700, 900]} for _, box in pieces]
    printed = [region_filters(dialect)["boxes"]([region]) for region in regions]
    text = "".join(before + box for (before, _), box in zip(pieces, printed, strict=True)) + tail
    (changed,), objects = with_boxes([text], regions, dialect)
    if objects["bbox"]:
        assert objects["bbox"] == [region["box"] for region in regions]
        assert changed.count("<bbox>") == len(regions)
        refilled = changed
        for box in printed:
            refilled = refilled.replace("<bbox>", box, 1)
        assert refilled == text
    else:
        assert changed == text
    if pieces and all(text.count(box) == printed.count(box) for box in printed):
        assert objects["bbox"]
