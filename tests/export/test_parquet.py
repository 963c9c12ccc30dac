"""Parquet for the Hub: `datasets` opens it with images, row groups stay small, nothing tells of this machine."""

from __future__ import annotations

import io
import json
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from tests.build.helpers import call
from tests.export.conftest import OPENI, REXGRADIENT, table

FINDINGS, SUMMARY = "findings_generation-openi", "findings_summarization-openi"


def card(folder: Path) -> tuple[dict, str]:
    _, head, body = (folder / "README.md").read_text("utf-8").split("---\n", 2)
    return yaml.safe_load(head), body


def without_images(row: dict) -> dict:
    return {name: value for name, value in row.items() if name != "images"}


@pytest.mark.parametrize("store", ["packed", "embedded"])
def test_it_opens_with_images(request, export, tmp_path, store):
    build = request.getfixturevalue(store)
    out = export(build, "parquet")
    one = datasets.load_dataset(str(out), FINDINGS, cache_dir=str(tmp_path / "cache"))["test"]
    built = table(build, FINDINGS, "test")
    assert one.features["images"] == datasets.List(datasets.Image())
    assert [row["id"] for row in one] == [row["id"] for row in built] and len(one) > 20
    for row, known in zip(one, built, strict=True):
        assert row["messages"] == known["messages"] and row["keys"] == known["keys"]
        assert [image.mode for image in row["images"]] == ["L"] * len(known["images"])
        assert all(min(image.size) == 64 for image in row["images"])
    raw = one.cast_column("images", datasets.List(datasets.Image(decode=False)))
    assert [image["path"] for row in raw for image in row["images"]] == [
        k for row in built for k in row["keys"]["images"]
    ]
    everything = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))  # `all` is the default
    manifest = json.loads((build / "manifest.json").read_text("utf-8"))
    for split, name in (("train", "train"), ("val", "validation"), ("test", "test")):
        shards = [s for task in manifest["tasks"] for s in task["splits"].get(split, {}).get("shards", ())]
        assert len(everything[name]) == sum(shard["examples"] for shard in shards)


def test_packed_and_embedded_builds_give_the_same_bytes(packed, embedded, export):
    one, other = export(packed, "parquet", name="one"), export(embedded, "parquet", name="other")
    files = sorted(file.relative_to(one) for file in one.rglob("*.parquet"))
    assert files == sorted(file.relative_to(other) for file in other.rglob("*.parquet"))
    for file in files:
        assert pq.read_table(one / file)["images"].equals(pq.read_table(other / file)["images"])
        assert pq.read_table(one / file)["conversations"].equals(pq.read_table(other / file)["conversations"])


def test_a_build_without_images_gives_keys(reference, export, tmp_path):
    out = export(reference, "parquet", allowed=())
    one = datasets.load_dataset(str(out), FINDINGS, split="test", cache_dir=str(tmp_path / "cache"))
    assert one.features["images"] == datasets.List(datasets.Image(decode=False))
    for row in one:
        assert row["images"] == [{"bytes": None, "path": key} for key in row["keys"]["images"]]
    assert "Rows hold no images, but their keys" in card(out)[1]


def test_published_images_are_embedded_on_demand(reference, corpora, export, tmp_path):
    out = export(
        reference, "parquet", "--embed-images", "--tasks", "findings_generation-rex_gradient", allowed=REXGRADIENT
    )
    (file,) = out.glob("*/test-*.parquet")
    for row in pq.read_table(file).to_pylist():
        for image in row["images"]:
            published = corpora.root / "rexgradient" / "deid_png" / image["path"].partition("/")[2]
            assert image["bytes"] == next(
                path.read_bytes() for path in (published, corpora.root / image["path"]) if path.is_file()
            )
            assert Image.open(io.BytesIO(image["bytes"])).mode == "I;16"  # as published, nothing cut off


def test_nothing_tells_of_this_machine(reference, packed, export, tmp_path, corpora):
    for build, more in ((reference, ["--embed-images"]), (packed, [])):
        out = export(build, "parquet", *more, "--tasks", FINDINGS, allowed=OPENI)
        for file in (file for file in out.rglob("*") if file.is_file()):
            content = file.read_bytes()
            if file.suffix == ".parquet":
                content = json.dumps([without_images(row) for row in pq.read_table(file).to_pylist()]).encode()
                content += str([i["path"] for row in pq.read_table(file).to_pylist() for i in row["images"]]).encode()
            for place in (tmp_path, build, corpora.root):
                assert str(place).encode() not in content, file


def test_row_groups_and_files_are_cut(packed, export, monkeypatch):
    monkeypatch.setattr("instruct.export.parquet.GROUP_BYTES", 30_000)
    monkeypatch.setattr("instruct.export.parquet.FILE_BYTES", 60_000)
    whole = export(packed, "parquet", "--tasks", FINDINGS, allowed=OPENI)
    files = sorted(whole.glob("*/test-*.parquet"))
    assert len(files) > 2
    assert [file.name for file in files] == [
        f"test-{number:05d}-of-{len(files):05d}.parquet" for number in range(len(files))
    ]
    rows = []
    for file in files:
        found = pq.ParquetFile(file)
        assert file.stat().st_size < 140_000  # the tables of small row groups weigh more than they do
        for number in range(found.num_row_groups):
            group = found.read_row_group(number)
            assert len(group) == 1 or sum(len(i["bytes"]) for r in group["images"].to_pylist() for i in r) <= 30_000
            rows += group["id"].to_pylist()
    assert rows == [row["id"] for row in table(packed, FINDINGS, "test")]
    monkeypatch.undo()
    (single,) = export(packed, "parquet", "--tasks", FINDINGS, name="single", allowed=OPENI).glob("*/test-*.parquet")
    assert pq.ParquetFile(single).num_row_groups == 1


def test_the_card_has_configs_terms_and_the_permission(packed, export):
    head, body = card(export(packed, "parquet", "--split", "test"))
    names = [config["config_name"] for config in head["configs"]]
    assert names[0] == "all" and head["configs"][0]["default"] and FINDINGS in names and "dataset_info" not in head
    assert {item["split"] for config in head["configs"] for item in config["data_files"]} == {"test"}
    assert "I have been granted access to openi by its owners" in head["extra_gated_fields"]
    assert "Not to be given to others, by the terms of" in body and "- **openi**: a letter" in body
    assert "**Not for clinical use.**" in body


@pytest.mark.slow
def test_trl_trains_on_it(packed, export, tmp_path):
    from importlib.util import find_spec

    if find_spec("trl") is None:
        pytest.skip("trl is not installed")
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from trl import SFTConfig, SFTTrainer

    from instruct.testing.tiny import build_tiny

    out = export(packed, "parquet", "--split", "test")
    rows = datasets.load_dataset(str(out), FINDINGS, split="test", cache_dir=str(tmp_path / "cache"))
    texts = [part["text"] for row in rows for turn in row["messages"] for part in turn["content"] if part["text"]]
    tiny = build_tiny("llava", tmp_path / "tiny", texts)
    settings = SFTConfig(
        output_dir=str(tmp_path / "run"), max_steps=1, per_device_train_batch_size=2, max_length=None, report_to="none",
        bf16=False, gradient_checkpointing=False, use_cpu=True, save_strategy="no", logging_steps=1,
    )  # fmt: skip
    trainer = SFTTrainer(
        AutoModelForImageTextToText.from_pretrained(tiny), args=settings, train_dataset=rows,
        processing_class=AutoProcessor.from_pretrained(tiny),
    )  # fmt: skip
    trainer.train()
    assert 4 < trainer.state.log_history[0]["loss"] < 10


def test_embedding_belongs_to_parquet(packed, tmp_path):
    err = call("export", packed, "--to", "llava", "--embed-images", "--out", tmp_path / "out", check=2).err
    assert "--embed-images belongs to --to parquet; llava reads image files" in err
    err = call("export", packed, "--to", "parquet", "--form", "openai", "--out", tmp_path / "out", check=2).err
    assert "--form belongs to --to llamafactory; parquet has one form" in err
