"""The dataset folder as others open it: Hugging Face ``datasets``, with and without a copy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from instruct.api import build_dataset, load_recipe
from instruct.reasons import Reason
from tests.build.helpers import call, rows, shards, write_report
from tests.conftest import Corpora

datasets = pytest.importorskip("datasets")

FINDINGS, SUMMARIZATION = "findings_generation-rex_gradient", "findings_summarization-rex_gradient"


@pytest.fixture(scope="module")
def built(corpora: Corpora, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("output") / "out"
    build_dataset(load_recipe("demo", ["shard_rows=20"]), out, data_root=corpora.root)
    return out


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    """A copy that a test may write into."""
    shutil.copytree(built, tmp_path / "out")
    return tmp_path / "out"


def load(folder: Path, *arguments: str, **options: Any) -> Any:
    return datasets.load_dataset(str(folder), *arguments, cache_dir=str(folder.parent / "cache"), **options)


def ids(dataset: Any) -> list[str]:
    return [f"{task} {dataset_} {identifier}" for task, dataset_, identifier in zip(
        dataset["task"], dataset["dataset"], dataset["id"], strict=True)]  # fmt: skip


def sizes(folder: Path) -> dict[str, int]:
    return {split: len(rows(folder, split=split)) for split in ("train", "validation", "test")}


def test_load_dataset_gives_every_row_by_default(folder: Path) -> None:
    loaded = load(folder)
    assert {split: len(part) for split, part in loaded.items()} == sizes(folder)
    assert sorted(ids(loaded["validation"])) == sorted(
        f"{row['task']} {row['dataset']} {row['id']}" for row in rows(folder, split="validation")
    )
    assert len(load(folder, "all", split="train")) == len(loaded["train"])


def test_load_dataset_by_configuration(folder: Path) -> None:
    names = datasets.get_dataset_config_names(str(folder))
    assert set(names) == {"all", *(name.split("/")[0] for name in shards(folder))}
    loaded = load(folder, FINDINGS)
    assert list(loaded) == ["train", "validation", "test"]
    assert loaded["train"]["id"][:] == [row["id"] for row in rows(folder, FINDINGS, "train")]
    assert set(loaded["train"].unique("task")) == {"Findings Generation"}
    assert list(load(folder, "findings_generation-openi")) == ["test"]


def test_load_dataset_as_a_stream(folder: Path) -> None:
    streamed = load(folder, SUMMARIZATION, split="test", streaming=True)
    assert [row["id"] for row in streamed] == [row["id"] for row in rows(folder, SUMMARIZATION, "test")]
    assert sum(1 for _ in load(folder, split="validation", streaming=True)) == sizes(folder)["validation"]


def test_load_from_disk_of_the_folder_and_of_a_configuration(built: Path) -> None:
    everything = datasets.load_from_disk(str(built))
    assert {split: len(part) for split, part in everything.items()} == sizes(built)
    one = datasets.load_from_disk(str(built / FINDINGS))
    assert list(one) == ["train", "validation", "test"]
    assert one["train"]["id"][:] == [row["id"] for row in rows(built, FINDINGS, "train")]
    part = datasets.load_from_disk(str(built / FINDINGS / "validation"))
    assert part["id"][:] == [row["id"] for row in rows(built, FINDINGS, "validation")]


def test_load_from_disk_maps_the_shards_into_memory(built: Path) -> None:
    before = pa.total_allocated_bytes()
    loaded = datasets.load_from_disk(str(built))["train"]
    assert pa.total_allocated_bytes() - before < 10_000
    mapped = {Path(file["filename"]).resolve() for file in loaded.cache_files}
    assert mapped == {file.resolve() for name, file in shards(built).items() if "/train/" in name}


def test_images_decode(built: Path, corpora: Corpora) -> None:
    from PIL import Image

    loaded = datasets.load_from_disk(str(built))
    assert loaded["test"].features["images"] == datasets.List(datasets.Image())
    modes = set()
    for config, part in (("findings_generation-openi", "test"), (FINDINGS, "train")):
        for row in list(datasets.load_from_disk(str(built / config))[part])[:4]:
            assert len(row["images"]) == len(row["keys"]["images"])
            for image, key in zip(row["images"], row["keys"]["images"], strict=True):
                source, path = key.split("/", 1)
                folder = {"openi": "images", "rexgradient": "deid_png"}[source]
                with Image.open(corpora.root / source / folder / path) as original:
                    assert image.size == original.size and image.tobytes() == original.tobytes()
                modes.add(image.mode)
    assert "I;16" in modes and "L" in modes  # 16 bits stay 16 bits


def test_relative_image_paths_lie_below_the_root_of_the_manifest(corpora: Corpora, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build_dataset(load_recipe("demo", ["images.paths=relative"]), out, data_root=corpora.root)
    roots = {
        name: Path(root) for name, root in json.loads((out / "manifest.json").read_text("utf-8"))["image_roots"].items()
    }
    seen = 0
    for row in rows(out):
        for image, key in zip(row["images"], row["keys"]["images"], strict=True):
            source, path = key.split("/", 1)
            assert image["path"] == path and not Path(path).is_absolute()
            assert (Path(roots[source]) / path).is_file()
            seen += 1
    assert seen > 100


def test_absolute_image_paths_open_from_anywhere(built: Path) -> None:
    paths = [Path(image["path"]) for row in rows(built) for image in row["images"]]
    assert len(paths) > 100 and all(path.is_absolute() and path.is_file() for path in paths)


def test_messages_are_what_trainers_read(built: Path) -> None:
    """Parts hold a type and a text and nothing else: a key ``image`` would hide the picture from chat templates."""
    features = datasets.load_from_disk(str(built))["test"].features
    text = datasets.Value("string")
    assert features["messages"] == datasets.List({"role": text, "content": datasets.List({"type": text, "text": text})})
    several = 0
    for row in rows(built):
        roles = [message["role"] for message in row["messages"]]
        assert roles in (["user", "assistant"], ["system", "user", "assistant"])
        parts = [part for message in row["messages"] for part in message["content"]]
        assert all(set(part) == {"type", "text"} and part["type"] in ("text", "image") for part in parts)
        assert all((part["text"] is None) == (part["type"] == "image") for part in parts)
        assert sum(part["type"] == "image" for part in parts) == len(row["images"])
        assert all(part["text"].strip() for part in row["messages"][-1]["content"])
        several += len(row["images"]) > 1
    assert several


def test_conversations_say_the_same_with_image_marks(built: Path) -> None:
    names = {"system": "system", "user": "human", "assistant": "gpt"}
    for row in rows(built):
        assert [turn["from"] for turn in row["conversations"]] == [
            names[message["role"]] for message in row["messages"]
        ]
        for turn, message in zip(row["conversations"], row["messages"], strict=True):
            parts = ["<image>" if part["type"] == "image" else part["text"] for part in message["content"]]
            assert "".join(turn["value"].split()) == "".join("".join(parts).split())
        assert sum(turn["value"].count("<image>") for turn in row["conversations"]) == len(row["images"])


def test_provenance_leads_to_the_source(built: Path, corpora: Corpora) -> None:
    file = corpora.root / "rexgradient" / "metadata" / "train_metadata_view_position.json"
    published = list(json.loads(file.read_text("utf-8")))
    for row in rows(built, FINDINGS, "train"):
        origin = row["provenance"]["origin"]
        assert origin.startswith("metadata/train_metadata_view_position.json")
        assert published[int("".join(filter(str.isdigit, origin.split(".json")[1]))) - 1] == row["id"]
        assert row["provenance"]["template"] == "findings_generation"
        assert len(row["provenance"]["template_digest"]) == len(row["provenance"]["spec_digest"]) == 16
    for row in rows(built, "findings_generation-openi"):
        assert (corpora.root / "openi" / row["provenance"]["origin"]).is_file()


def test_several_variants_of_a_record_count_once(corpora: Corpora, tmp_path: Path) -> None:
    one, three = tmp_path / "one", tmp_path / "three"
    tasks = "tasks=[findings_summarization-rex_gradient]"
    first = build_dataset(load_recipe("demo", [tasks]), one, data_root=corpora.root)
    second = build_dataset(load_recipe("demo", [tasks, "variants=3"]), three, data_root=corpora.root)
    assert first.counts == second.counts
    worded = rows(three)
    assert len(worded) == 3 * len(rows(one)) == len({row["id"] for row in worded})
    for row in worded:
        assert row["id"] == f"{row['keys']['record']}#{row['provenance']['variant']}"
    texts = {row["keys"]["record"]: set() for row in worded}  # type: ignore[var-annotated]
    for row in worded:
        texts[row["keys"]["record"]].add(json.dumps(row["messages"]))
    assert {len(found) for found in texts.values()} == {3}


def test_caches_of_map_do_not_become_rows(folder: Path, corpora: Corpora) -> None:
    before = sizes(folder)
    for place in (folder, folder / FINDINGS):
        mapped = datasets.load_from_disk(str(place)).map(
            lambda row: {"length": len(row["id"])}, load_from_cache_file=False
        )
        assert "length" in mapped["train"].column_names
    caches = list(folder.rglob("cache-*.arrow"))
    assert caches  # it does write into the folder
    assert {split: len(part) for split, part in load(folder).items()} == before
    assert len(load(folder, FINDINGS, split="train")) == len(rows(folder, FINDINGS, "train")) > 0
    assert call("verify", folder).out.endswith("all is well\n")
    build_dataset(load_recipe("demo", ["shard_rows=20"]), folder, data_root=corpora.root)
    assert all(cache.is_file() for cache in caches)  # a build that changes nothing leaves them


def fingerprints(folder: Path) -> dict[str, str]:
    return {
        file.parent.relative_to(folder).as_posix(): json.loads(file.read_text("utf-8"))["_fingerprint"]
        for file in folder.rglob("state.json")
    }


def test_the_fingerprint_changes_with_the_content_alone(tmp_path: Path) -> None:
    """``datasets`` names the caches of ``map`` by it: the same one for another content gives old results."""
    data, out = tmp_path / "data", tmp_path / "out"
    for number in range(100, 110):
        write_report(data, number, f"Finding {number}.", f"Impression {number}.", [f"CXR{number}_1"])
    build_dataset("openi", out, data_root=data)
    first = fingerprints(out)
    build_dataset("openi", out, data_root=data)
    assert fingerprints(out) == first
    write_report(data, 105, "Finding 105.", "Another impression.", ["CXR105_1"])
    build_dataset("openi", out, data_root=data)
    changed = {name for name, value in fingerprints(out).items() if value != first[name]}
    assert changed == {"test", "impression_generation-openi/test", "findings_summarization-openi/test"}


def test_the_card_names_configurations_licences_and_counts(built: Path) -> None:
    text = (built / "README.md").read_text("utf-8")
    head = yaml.safe_load(text.split("---\n")[1])
    assert [item["config_name"] for item in head["configs"] if item.get("default")] == ["all"]
    patterns = [file["path"] for item in head["configs"] for file in item["data_files"]]
    assert all(pattern.endswith("/arrow/data-*.arrow") for pattern in patterns)
    assert "CC BY-NC-ND 4.0" in text and "Not for clinical use" in text
    assert "[Progression Findings Generation] [REX-Gradient]" in text


def test_the_manifest_accounts_for_every_shard(built: Path) -> None:
    manifest = json.loads((built / "manifest.json").read_text("utf-8"))
    listed = [shard for task in manifest["tasks"] for split in task["splits"].values() for shard in split["shards"]]
    assert {shard["file"] for shard in listed} == {
        file.relative_to(built).as_posix() for file in shards(built).values()
    }
    assert sum(shard["examples"] for shard in listed) == len(rows(built))
    assert len({shard["key"] for shard in listed}) == len(listed)
    for task in manifest["tasks"]:
        assert set(task["bad"]) <= {str(reason) for reason in Reason}
        assert all(len(digest) == 64 for digest in task["facts"]["inputs"].values())


def test_the_run_log_tells_what_was_done(folder: Path) -> None:
    events = [json.loads(line) for line in (folder / "build.log.jsonl").read_text("utf-8").splitlines()]
    assert (events[0]["event"], events[-1]["event"]) == ("start", "done")
    assert sum(event["event"] == "shard" for event in events) == events[-1]["built"] == len(shards(folder))
    assert all(event["time"] for event in events)
