"""Images packed into tables or embedded: the same picture whichever way, planned and reused like text."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import instruct
from instruct.build.image_job import ImageJob
from instruct.build.image_table import MAX_SHARD_IMAGES, ImageTable, cut, image_batches, image_schema, key_of
from instruct.errors import SpecError, UsageError
from instruct.images.backend import backend
from instruct.images.geometry import fit
from instruct.images.hashes import content_hash
from instruct.images.store import ImagePolicy, store_image
from instruct.regions import decode_mask
from instruct.synth import write
from tests.build.helpers import call, contents, rows, write_report, write_spec, write_template
from tests.images.pictures import chest, claims, rotated, saved

QUERY = (
    "SELECT study AS id, split, patient, [study] AS studies, images, findings, origin FROM studies WHERE findings <> ''"
)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Eight OpenI reports with an image or two each, of different kinds; a spec of one task."""
    data = tmp_path / "data"
    for number in range(8):
        names = [f"CXR{number}_a", f"CXR{number}_b"][: 1 + number % 2]
        write_report(data, number, f"Findings {number}.", "None.", names)
        for place, name in enumerate(names):
            pixels = chest(90 + 7 * number, 140, 255 if place else 4000, seed=10 * number + place)
            write_image(data, name, saved(pixels, "PNG"))
    write_spec(tmp_path / "specs", {"show": QUERY})
    write_template(tmp_path / "specs", "show", "What is there?", images="any")
    (tmp_path / "mine.yaml").write_text("name: mine\nsources: {openi: {}}\ntasks: ['[show] [Mine]']\n")
    return tmp_path


def write_image(data: Path, name: str, content: bytes) -> Path:
    file = data / "openi" / "images" / f"{name}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def build(corpus: Path, store: str, *more: str, out: str = "out", check: int = 0, workers: int = 1):
    return call(
        "build", corpus / "mine.yaml", f"images.store={store}", "images.missing=drop", "images.size=64",
        "images.encoding=png", *more, "--data-root", corpus / "data", "--out", corpus / out,
        "--specs", corpus / "specs", "--workers", str(workers), check=check,
    )  # fmt: skip


def stored(corpus: Path, name: str, **policy) -> np.ndarray:
    from tests.images.pictures import opened

    data = (corpus / "data" / "openi" / "images" / f"{name}.png").read_bytes()
    return opened(store_image(data, ImagePolicy(**({"size": 64, "encoding": "png"} | policy))).data)


def test_all_three_ways_load_as_pictures(corpus):
    for store in ("reference", "pack", "embed"):
        build(corpus, store, out=store)
        assert call("verify", corpus / store).out.endswith("all is well\n")
    reference = datasets.load_from_disk(str(corpus / "reference"))["test"]
    embedded = datasets.load_from_disk(str(corpus / "embed"))["test"]
    packed = instruct.open_packed(corpus / "pack", split="test")
    again = datasets.load_dataset(str(corpus / "embed"), "show-mine", cache_dir=str(corpus / "cache"))["test"]
    assert len(reference) == len(embedded) == len(packed) == len(again) == 8
    for one, other, third, fourth in zip(reference, embedded, packed, again, strict=True):
        assert one["messages"] == other["messages"] == third["messages"]
        keys = one["keys"]["images"]
        assert keys == other["keys"]["images"] == third["keys"]["images"]
        for place, key in enumerate(keys):
            name = Path(key).stem
            assert isinstance(one["images"][place], Image.Image) and max(one["images"][place].size) > 100
            expected = stored(corpus, name)
            for row in (other, third, fourth):
                assert row["images"][place].mode == "L"
                assert (np.asarray(row["images"][place]) == expected).all()
    # Embedding holds an image as often as rows show it; packing holds it once, and rows hold its key.
    assert [image for row in rows(corpus / "pack", "show-mine") for image in row["images"]] == [
        {"bytes": None, "path": key} for row in rows(corpus / "pack", "show-mine") for key in row["keys"]["images"]
    ]
    assert not (corpus / "embed" / "images").exists()
    # Rows of a reference build say nothing new.
    assert {image["path"] for row in rows(corpus / "reference") for image in row["images"]} == {
        str(file) for file in (corpus / "data/openi/images").iterdir()
    }
    assert "images" not in json.loads((corpus / "reference" / "manifest.json").read_text())


def test_the_images_table_tells_everything_about_an_image(corpus):
    write_image(corpus / "data", "CXR3_b", rotated(chest(300, 200, seed=5), 6, "PNG"))
    build(corpus, "pack", "images.fit=square")
    (table,) = datasets.load_from_disk(str(corpus / "out" / "images")).values()
    assert len(table) == 12 and sorted(table["key"]) == table["key"]
    for row in table:
        data = (corpus / "data" / "openi" / "images" / row["path"]).read_bytes()
        image = store_image(data, ImagePolicy("square", 64, "png"))
        assert row["key"] == key_of(row["path"])
        grey = np.asarray(row["image"])
        assert grey.shape == (64, 64) == (row["height"], row["width"])
        x, y, width, height = (row[f"content_{name}"] for name in ("x", "y", "width", "height"))
        assert row["content_hash"] == content_hash(grey[y : y + height, x : x + width]) == image.content
        assert row["perceptual_hash"] == image.perceptual
        assert (row["window"], row["low"], row["high"]) == (
            image.window.method, image.window.low, image.window.high,
        )  # fmt: skip
        assert (row["source_width"], row["source_height"]) == image.geometry.source
    facts = json.loads((corpus / "out" / "manifest.json").read_text())["images"]
    assert facts["policy"] == {"fit": "square", "size": 64, "encoding": "png", "backend": "pillow", "links": False}
    assert facts["backend"].keys() == {"pillow", "libjpeg_turbo", "zlib"}
    assert facts["sources"]["openi"]["images"] == 12 and facts["sources"]["openi"]["bad"] == {}


def bad_images(corpus: Path) -> dict[str, str]:
    """Spoil images of the corpus; name to reason."""
    data, good = corpus / "data", saved(chest(), "PNG")
    rng = np.random.default_rng(0)
    noise = saved(rng.integers(0, 255, (90, 80), np.uint8), "PNG")
    pages = [Image.fromarray(chest(seed=seed)) for seed in range(2)]
    files = {
        "undecodable_image": [noise[: len(noise) // 2], b"", b"<html>"],
        "image_too_small": [saved(np.zeros((1, 1), np.uint8), "PNG")],
        "image_too_large": [claims(20_000, 20_000)],
        "constant_image": [saved(np.full((50, 60), 9, np.uint8), "PNG")],
        "several_frames": [saved(pages[0], "PNG", save_all=True, append_images=pages[1:])],
    }
    reasons = {}
    for reason, some in files.items():
        for content in some:
            number = 100 + len(reasons)
            write_report(data, number, f"Bad {number}.", "None.", [f"CXR{number}_a"])
            write_image(data, f"CXR{number}_a", content)
            reasons[f"CXR{number}"] = reason
    outside = corpus / "elsewhere.png"
    outside.write_bytes(good)
    write_report(data, 200, "Linked.", "None.", ["CXR200_a"])
    (data / "openi" / "images" / "CXR200_a.png").symlink_to(outside)
    reasons["CXR200"] = "path_outside_root"
    write_report(data, 201, "Gone.", "None.", ["CXR201_a"])
    reasons["CXR201"] = "missing_image"
    # Odd, and handled.
    for number, content in enumerate(
        (
            saved(Image.fromarray(chest()).convert("CMYK"), "TIFF"),
            saved(Image.fromarray(chest()).convert("P"), "PNG"),
            saved(Image.fromarray(chest()).convert("RGBA"), "PNG"),
            saved(chest(), "JPEG"),
            rotated(chest(), 8),
            saved(Image.fromarray(chest(top=60000).astype(np.int32) * 1000), "TIFF"),
        ),
        300,
    ):
        write_report(data, number, f"Odd {number}.", "None.", [f"CXR{number}_a"])
        write_image(data, f"CXR{number}_a", content)
    return reasons


@pytest.mark.parametrize("store", ["pack", "embed"])
def test_what_cannot_be_stored_is_left_out_with_its_reason_and_the_build_goes_on(corpus, store):
    reasons = bad_images(corpus)
    done = build(corpus, store, "max_bad=1")
    quarantine = [json.loads(line) for line in (corpus / "out" / "quarantine.jsonl").read_text().splitlines()]
    assert {row["id"].split("-")[0]: row["reason"] for row in quarantine} == reasons
    assert len(rows(corpus / "out", "show-mine")) == 8 + 6
    lost = [json.loads(line) for line in (corpus / "out" / "quarantine-images.jsonl").read_text().splitlines()]
    assert {Path(row["image"]).stem[:-2]: row["reason"] for row in lost} == {
        name: reason for name, reason in reasons.items() if reason != "missing_image"
    }
    assert all(row["source"] == "openi" and row["detail"] for row in lost)
    assert "images of openi: 18 stored; left out: 1 constant_image, 1 image_too_large, 1 image_too_small" in done.err
    assert "images of openi: 3 not stored: undecodable_image (quarantine-images.jsonl)" in done.out
    assert call("verify", corpus / "out").code == 0
    # Fewer may be bad: then the build says which and why, and keeps what is finished.
    failed = build(corpus, store, "max_bad=0.1", check=4)
    assert "1 constant_image: all pixels of an image of the record have one value; first: CXR" in failed.err
    # Mended, the list is gone, and a link can be allowed.
    for name, reason in reasons.items():
        if reason != "path_outside_root":
            write_image(corpus / "data", f"{name}_a", saved(chest(), "PNG"))
    build(corpus, store, "images.links=follow")
    assert not (corpus / "out" / "quarantine-images.jsonl").exists()
    assert len(rows(corpus / "out", "show-mine")) == 8 + 6 + len(reasons)


@pytest.mark.parametrize("store", ["pack", "embed"])
def test_an_image_too_long_for_jpeg_is_left_out_and_the_build_goes_on(corpus, store):
    write_report(corpus / "data", 100, "Long.", "None.", ["CXR100_a"])
    write_image(corpus / "data", "CXR100_a", saved(np.tile(np.arange(8, dtype=np.uint8) * 30, (70_000, 1)), "PNG"))
    build(corpus, store, "images.encoding=jpeg", "max_bad=1")
    (lost,) = [json.loads(line) for line in (corpus / "out" / "quarantine-images.jsonl").read_text().splitlines()]
    assert (lost["image"], lost["reason"]) == ("CXR100_a.png", "image_too_large")
    assert len(rows(corpus / "out", "show-mine")) == 8


def test_a_build_is_planned_reused_and_made_anew_by_the_shard(corpus):
    table = corpus / "out" / "images" / "openi" / "arrow" / "data-00000-of-00001.arrow"
    first = build(corpus, "pack")
    assert "2 shards rendered, 0 reused" in first.out and "images of openi: 12 images, shards: 1 to build" in first.err
    before = contents(corpus / "out")
    stamp = table.stat().st_mtime_ns
    assert "nothing to render" in build(corpus, "pack").out
    assert contents(corpus / "out") == before and table.stat().st_mtime_ns == stamp

    def plan(*more: str) -> dict[str, tuple[int, int]]:
        done = call(
            "plan", corpus / "mine.yaml", "images.store=pack", "images.missing=drop", "images.encoding=png", *more,
            "--data-root", corpus / "data", "--out", corpus / "out", "--specs", corpus / "specs", "--json",
        )  # fmt: skip
        return {row["task"]: (row["build"], row["reuse"]) for row in json.loads(done.out)["tasks"]}

    assert plan("images.size=64") == {"images of openi": (0, 1), "[show] [Mine]": (0, 1)}
    for other in (["images.size=65"], ["images.size=64", "images.backend=fast"], ["images.size=64", "images.fit=long"]):
        assert plan(*other)["images of openi"] == (1, 0)
    assert contents(corpus / "out") == before

    # Another picture in a file: the table is made anew, rows are not.
    file = corpus / "data" / "openi" / "images" / "CXR0_a.png"
    old = file.stat()
    file.write_bytes(saved(chest(200, 100, seed=99), "PNG"))
    os.utime(file, ns=(old.st_atime_ns, old.st_mtime_ns + 1))
    again = build(corpus, "pack")
    assert "1 shards rendered, 1 reused" in again.out
    assert (
        np.asarray(instruct.open_packed(corpus / "out", split="test")[0]["images"][0]) == stored(corpus, "CXR0_a")
    ).all()

    # A damaged or lost table is noticed and made anew.
    good = table.read_bytes()
    table.write_bytes(good[:-9] + b"x" + good[-8:])
    assert "its content differs" in call("verify", corpus / "out", check=4).out
    assert "1 shards rendered, 1 reused" in build(corpus, "pack").out
    assert table.read_bytes() == good

    # Packed, embedded, referred to, and packed again: nothing of the other ways stays behind.
    build(corpus, "embed")
    assert not (corpus / "out" / "images").exists() and call("verify", corpus / "out").code == 0
    build(corpus, "reference")
    assert not list((corpus / "out" / ".build").rglob("*.arrow"))
    build(corpus, "pack")
    assert table.read_bytes() == good


def test_other_libraries_make_other_shards(monkeypatch):
    def key(name: str, tools: str) -> str:
        return ImageJob("s", 0, "/data", (name,), ((1, 1),), ImagePolicy(backend=tools)).key  # type: ignore[arg-type]

    cases = [("a.png", "pillow"), ("a.png", "fast"), ("a.dicom", "pillow"), ("a", "pillow")]
    before = {case: key(*case) for case in cases}
    assert len(set(before.values())) == len(cases)
    of = {"pillow": set(cases), "simplejpeg": {cases[1]}, "pydicom": set(cases[2:]), "imagecodecs": set(cases[1:])}
    for library, changed in of.items():
        with monkeypatch.context() as patch:
            for module in ("backend", "dicom"):
                patch.setattr(
                    f"instruct.images.{module}.version",
                    lambda name, one=library: "99" if name == one else version(name),
                )
            backend.cache_clear()
            assert {case for case in cases if key(*case) != before[case]} == changed
    backend.cache_clear()
    assert {case: key(*case) for case in cases} == before


def test_no_number_of_workers_and_no_kill_changes_a_byte(corpus):
    for store in ("pack", "embed"):
        build(corpus, store, out=f"{store}-1")
        build(corpus, store, out=f"{store}-2", workers=2)
        assert contents(corpus / f"{store}-1") == contents(corpus / f"{store}-2")
    script = (
        "import os, instruct.build.image_job as job\n"
        "store, seen = job.store_image, []\n"
        "def dying(*given):\n"
        "    seen.append(1)\n"
        "    if len(seen) > 7: os._exit(9)\n"
        "    return store(*given)\n"
        "job.store_image = dying\n"
        "from instruct.cli.main import main\n"
        "main()\n"
    )
    command = [
        sys.executable, "-c", script, "build", str(corpus / "mine.yaml"), "images.store=pack", "images.missing=drop",
        "images.size=64", "images.encoding=png", "--data-root", str(corpus / "data"), "--out", str(corpus / "killed"),
        "--specs", str(corpus / "specs"),
    ]  # fmt: skip
    assert subprocess.run(command, capture_output=True).returncode == 9
    assert not (corpus / "killed" / "manifest.json").exists()
    build(corpus, "pack", out="killed")
    assert contents(corpus / "killed") == contents(corpus / "pack-1")


@pytest.mark.parametrize(("source", "masks"), [("vindr_cxr", False), ("siim", True)])
def test_boxes_and_masks_follow_their_image_into_the_prompt(tmp_path, source, masks):
    """In pixels of the stored, padded square: what the record and the prompt say is what the picture shows."""
    write(source, tmp_path / "data" / source, studies=24)
    found = {}
    for store in ("reference", "pack"):
        recipe = instruct.load_recipe("all", [
            "name=boxes", f"sources={{{source}: {{}}}}", f"images.store={store}", "images.missing=drop",
            "images.fit=square", "images.size=96", "dialect=pixels", "max_bad=1",
        ])  # fmt: skip
        instruct.build_dataset(recipe, tmp_path / store, data_root=tmp_path / "data")
        found[store] = {(row["task"], row["id"]): row for row in rows(tmp_path / store, "*-*")}
    assert found["pack"].keys() == found["reference"].keys()
    (stored_images,) = datasets.load_from_disk(str(tmp_path / "pack" / "images")).values()
    table = {row["path"]: row for row in stored_images}
    regions = 0
    for key, row in found["pack"].items():
        said = " ".join(part["text"] or "" for turn in row["messages"] for part in turn["content"])
        for region, known in zip(row["regions"], found["reference"][key]["regions"], strict=True):
            image = table[row["keys"]["images"][region["image"]].partition("/")[2]]
            geometry = fit((image["source_width"], image["source_height"]), "square", 96)
            assert region["size"] == [96, 96] and region["label"] == known["label"]
            assert region["box"] == pytest.approx(geometry.box(known["box"]), abs=1e-12)
            if "[[" not in said:  # not a polygon
                assert ", ".join(str(round(value * 96)) for value in region["box"]) in said
            assert (region["mask"] is not None) == masks
            if masks:
                mask = decode_mask(region["mask"], 96, 96)
                assert (mask == geometry.mask(decode_mask(known["mask"], *known["size"]))).all() and mask.any()
            regions += 1
    assert regions > 3


# The images table.


@given(st.sets(st.integers(0, 60_000), max_size=3000), st.integers(0, 60_000))
def test_one_image_more_changes_one_shard(names, more):
    paths = {f"images/{name}.png" for name in names} - {f"images/{more}.png"}
    before, after = list(cut(paths)), list(cut({*paths, f"images/{more}.png"}))
    assert sorted(path for shard in before for path in shard) == sorted(paths)
    assert [key_of(path) for shard in before for path in shard] == sorted(map(key_of, paths))
    assert all(0 < len(shard) <= MAX_SHARD_IMAGES for shard in before)
    held = {tuple(shard) for shard in before}
    assert sum(tuple(shard) not in held for shard in after) <= 2  # two, where the new one begins a shard


def test_a_table_finds_every_image_and_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr("instruct.build.image_table._BATCH_BYTES", 20_000)
    image = store_image(saved(chest(), "PNG"), ImagePolicy())
    shards = list(cut(f"p{number}/x.png" for number in range(1500)))
    files = []
    for number, shard in enumerate(shards):
        with pa.ipc.new_stream(tmp_path / f"{number}.arrow", image_schema()) as writer:
            for batch in image_batches((path, image) for path in shard):
                writer.write_batch(batch)
        files.append(tmp_path / f"{number}.arrow")
    table = ImageTable(files)
    assert len(table) == 1500 and len(shards) > 1
    for number in range(0, 1500, 7):
        assert f"p{number}/x.png" in table
        assert bytes(table.data(f"p{number}/x.png")) == image.data
    assert table.geometry("p3/x.png") == image.geometry
    for path in ("p1500/x.png", "", "p3/x.png "):
        assert path not in table
        with pytest.raises(KeyError):
            table.data(path)
    assert "x" not in ImageTable([])


def test_paths_that_share_a_key_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr("instruct.build.image_table.key_of", lambda path: len(path))
    monkeypatch.setattr("instruct.build.image_table._BATCH_BYTES", 1)  # each in a batch of its own
    paths = ["aa", "ab", "ac", "abcd"]
    images = {path: store_image(saved(chest(seed=seed), "PNG"), ImagePolicy()) for seed, path in enumerate(paths)}
    with pa.ipc.new_stream(tmp_path / "x.arrow", image_schema()) as writer:
        for batch in image_batches(images.items()):
            writer.write_batch(batch)
    table = ImageTable([tmp_path / "x.arrow"])
    for path in paths:
        assert bytes(table.data(path)) == images[path].data
    assert "ad" not in table and "a" not in table and "abce" not in table


# Opening.


def test_opening_copies_nothing_and_reads_are_views(corpus):
    build(corpus, "pack")
    instruct.open_packed(corpus / "out", split="test")
    before = pa.total_allocated_bytes()
    raw = instruct.open_packed(corpus / "out", split="test", decode=False)
    assert pa.total_allocated_bytes() == before
    (buffer,) = raw[0]["images"]
    assert isinstance(buffer, pa.Buffer) and bytes(buffer)[:4] == b"\x89PNG"
    held = [memoryview(raw[0]["images"][0]) for _ in range(50)]
    assert pa.total_allocated_bytes() - before < 50 * len(held[0])
    assert {np.frombuffer(view, np.uint8).ctypes.data for view in held} == {buffer.address}


def test_a_packed_dataset_is_one_of_datasets(corpus):
    from torch.utils.data import DataLoader

    build(corpus, "pack")
    shutil.copytree(corpus / "out", corpus / "moved")
    shutil.rmtree(corpus / "data")  # the folder is whole without the published images, and anywhere
    whole = instruct.open_packed(corpus / "moved", split="test")
    assert instruct.open_packed(corpus / "moved", "show-mine", "test")["id"] == whole["id"]
    chosen = whole.shuffle(seed=3).select([2, 5])
    assert chosen[0]["images"][0].size == whole[whole["id"].index(chosen[0]["id"])]["images"][0].size
    assert whole[:3]["images"][2][0].mode == "L"
    assert whole.select_columns(["id"])[0].keys() == {"id"}
    assert pickle.loads(pickle.dumps(whole))[1]["images"][1].size == whole[1]["images"][1].size
    loader = DataLoader(
        whole, batch_size=3, num_workers=1, multiprocessing_context="spawn",
        collate_fn=collate,
    )  # fmt: skip
    assert [shape for batch in loader for shape in batch] == [image.size for row in whole for image in row["images"]]


def collate(batch: list[dict]) -> list[tuple[int, int]]:
    return [np.asarray(image).shape[::-1] for row in batch for image in row["images"]]


def test_a_fingerprint_changes_with_the_pictures(corpus):
    build(corpus, "pack")
    first = instruct.open_packed(corpus / "out", split="test")._fingerprint
    assert instruct.open_packed(corpus / "out", split="test")._fingerprint == first
    build(corpus, "pack", "images.fit=long")
    assert instruct.open_packed(corpus / "out", split="test")._fingerprint != first


def test_mistakes_are_explained(corpus, monkeypatch):
    build(corpus, "reference", out="reference")
    with pytest.raises(UsageError, match=r"not packed \(images.store: reference\); datasets.load_from_disk opens it"):
        instruct.open_packed(corpus / "reference")
    build(corpus, "pack")
    with pytest.raises(UsageError, match="has no rows train; it has: show-mine test"):
        instruct.open_packed(corpus / "out")
    with pytest.raises(UsageError, match="has no other test; it has: show-mine test"):
        instruct.open_packed(corpus / "out", "other", "test")
    with pytest.raises(UsageError, match="no build of cxr-instruct"):
        instruct.open_packed(corpus / "data")
    with pytest.raises(SpecError, match="store: pack needs missing: drop"):
        instruct.load_recipe("demo", ["images.store=pack", "images.missing=keep"])

    def gone(name: str) -> str:
        if name == "simplejpeg":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr("instruct.images.backend.version", gone)
    backend.cache_clear()
    failed = build(corpus, "pack", "images.backend=fast", check=2)
    backend.cache_clear()
    assert "images.backend: fast needs simplejpeg; install it with pip install 'cxr-instruct[fast]'" in failed.err
