"""LLaVA, LLaMA-Factory, ms-swift and axolotl: the same conversations in the forms that their documentation shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest
from PIL import Image

from instruct.export.rows import BOXES_AS_TEXT, Row, swift
from instruct.prompts.dialect import read_boxes, region_filters
from tests.build.helpers import call
from tests.export.conftest import OPENI, lines, table

FINDINGS, SUMMARY = "findings_generation-openi", "findings_summarization-openi"


def text_of(turns: list[dict[str, str]]) -> str:
    return "".join(turn["value"] for turn in turns)


def opened(path: Path) -> tuple[str, tuple[int, int]]:
    with Image.open(path) as image:
        image.load()
        return image.mode, image.size


# --- LLaVA -------------------------------------------------------------------------------------------------------


def test_llava(packed, export):
    out = export(packed, "llava")
    assert {file.name for file in out.glob("*.json")} == {"train.json", "validation.json", "test.json", "export.json"}
    found = {row["id"]: row for row in json.loads((out / "test.json").read_text("utf-8"))}
    built = {f"{FINDINGS}/{row['id']}": row for row in table(packed, FINDINGS, "test")}
    assert set(built) <= set(found)
    folded = 0
    for name, row in built.items():
        turns = row["conversations"]
        if turns[0]["from"] == "system":
            folded += 1
            turns = [{"from": "human", "value": f"{turns[0]['value']}\n{turns[1]['value']}"}, *turns[2:]]
        assert found[name]["conversations"] == turns
        image = found[name]["image"]
        paths = image if isinstance(image, list) else [image]
        assert isinstance(image, list) == (len(row["images"]) > 1)
        assert len(paths) == text_of(turns).count("<image>") == len(row["keys"]["images"])
        for path, key in zip(paths, row["keys"]["images"], strict=True):
            assert path.removeprefix("images/").removesuffix(".jpg") == key
            assert opened(out / path)[0] == "L" and min(opened(out / path)[1]) == 64
    assert folded and {turn["from"] for row in found.values() for turn in row["conversations"]} == {"human", "gpt"}
    text = [row for name, row in found.items() if name.startswith(SUMMARY)]
    assert text and all("image" not in row for row in text)
    told = json.loads((out / "export.json").read_text("utf-8"))["notes"]
    assert set(told) == {
        "show several images", "the system turn is put before the first user turn, as this format has none",
    }  # fmt: skip


def test_an_image_is_written_once(packed, embedded, export):
    one, other = export(packed, "llava", name="one"), export(embedded, "llava", name="other")
    for out in (one, other):
        files = [file for file in (out / "images").rglob("*") if file.is_file()]
        distinct = {
            key for config in packed.glob("*-*") for split in config.iterdir() if split.is_dir()
            for row in table(packed, config.name, split.name) for key in row["keys"]["images"]
        }  # fmt: skip
        assert len(files) == len(distinct) == json.loads((out / "export.json").read_text("utf-8"))["images"]
    # However a build stores its images, the export is the same.
    assert {
        file.relative_to(one): file.read_bytes() for file in one.rglob("*.json*") if file.name != "export.json"
    } == {file.relative_to(other): file.read_bytes() for file in other.rglob("*.json*") if file.name != "export.json"}


# --- LLaMA-Factory -----------------------------------------------------------------------------------------------


def documented(folder: Path) -> dict[str, tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Each dataset of dataset_info.json with its rows, loaded and checked as LLaMA-Factory's documentation tells it."""
    found = {}
    for name, entry in json.loads((folder / "dataset_info.json").read_text("utf-8")).items():
        place = folder / entry["file_name"]
        files = sorted(map(str, place.iterdir())) if place.is_dir() else [str(place)]
        (kind,) = {Path(file).suffix[1:] for file in files}  # a folder must hold files of one type
        loaded = datasets.load_dataset(
            {"jsonl": "json"}.get(kind, kind), data_files=files, split="train", cache_dir=str(folder / "cache"),
            **({"chunksize": 4000} if kind == "jsonl" else {}),
        )  # fmt: skip
        tags = {"role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt"}
        tags |= {"system_tag": "system"} | entry.get("tags", {})
        assert entry["formatting"] == "sharegpt"
        rows = []
        for row in loaded:
            turns = [(turn[tags["role_tag"]], turn[tags["content_tag"]]) for turn in row[entry["columns"]["messages"]]]
            system = turns.pop(0)[1] if turns[0][0] == tags["system_tag"] else ""
            speakers = [tags["user_tag"], tags["assistant_tag"]] * (len(turns) // 2)
            assert [role for role, _ in turns] == speakers and speakers  # otherwise the row is dropped
            images = row[entry["columns"]["images"]] if "images" in entry["columns"] else []
            assert "".join(text for _, text in turns).count("<image>") == len(images)
            rows.append({"system": system, "texts": [text for _, text in turns], "images": images})
        found[name] = (entry, rows)
    return found


@pytest.mark.parametrize("form", ["sharegpt", "openai"])
def test_llamafactory(packed, export, form):
    out = export(packed, "llamafactory", "--form", form, "--tasks", FINDINGS, "--tasks", SUMMARY, allowed=OPENI)
    found = documented(out)
    assert set(found) == {f"{FINDINGS}_test", f"{SUMMARY}_test"}
    entry, rows = found[f"{FINDINGS}_test"]
    assert ("tags" in entry) == (form == "openai") and entry["columns"]["images"] == "images"
    assert "images" not in found[f"{SUMMARY}_test"][0]["columns"]
    built = table(packed, FINDINGS, "test")
    assert [row["texts"] for row in rows] == [
        [turn["value"] for turn in row["conversations"] if turn["from"] != "system"] for row in built
    ]
    assert any(row["system"] for row in rows)
    for row in rows:
        assert all(opened(out / path)[0] == "L" for path in row["images"])


def test_llamafactory_over_the_builds_own_shards(embedded, export):
    out = export(embedded, "llamafactory", "--form", "arrow", "--tasks", FINDINGS, allowed=())
    assert {file.name for file in out.iterdir()} == {"dataset_info.json", "export.json", "README.md"}
    ((entry, rows),) = documented(out).values()
    assert entry["file_name"] == str(embedded / FINDINGS / "test" / "arrow")
    assert len(rows) == len(table(embedded, FINDINGS, "test"))
    assert all(isinstance(image, Image.Image) for row in rows for image in row["images"])


def test_shards_that_llamafactory_cannot_open(packed, reference, tmp_path):
    arrow = ("--to", "llamafactory", "--form", "arrow", "--out", tmp_path / "out")
    err = call("export", packed, *arrow, check=2).err
    assert "the images are packed, and LLaMA-Factory does not find them there: use --form sharegpt" in err
    err = call("export", reference, *arrow, check=2).err
    assert "an image is a 16-bit PNG, which trainers turn white" in err and "--form sharegpt leaves these" in err
    assert not (tmp_path / "out" / "export.json").exists()
    call("export", reference, *arrow, "--tasks", FINDINGS)
    ((_, rows),) = documented(tmp_path / "out").values()
    assert rows and all(image.mode != "I;16" for row in rows for image in row["images"])


# --- ms-swift ----------------------------------------------------------------------------------------------------


def test_swift(packed, export):
    out = export(packed, "ms-swift")
    rows, built = lines(out / "test" / f"{FINDINGS}.jsonl"), table(packed, FINDINGS, "test")
    names = {"system": "system", "human": "user", "gpt": "assistant"}
    assert [row["messages"] for row in rows] == [
        [{"role": names[turn["from"]], "content": turn["value"]} for turn in row["conversations"]] for row in built
    ]
    for row in rows:
        assert set(row) == {"messages", "images", "channel"} and row["channel"] == "[Findings Generation] [OpenI]"
        assert all(Path(path).is_absolute() and opened(Path(path)) for path in row["images"])
    text = lines(out / "test" / f"{SUMMARY}.jsonl")
    assert text and all(set(row) == {"messages", "channel"} for row in text)


def filled(texts: list[str], objects: dict[str, Any]) -> list[str]:
    """Texts with each mark replaced by its box, as ms-swift does, in thousandths."""
    boxes = iter(objects["bbox"])
    pieces = [text.split("<bbox>") for text in texts]
    return [
        "".join([some[0], *(f"[{', '.join(str(round(v * 1000)) for v in next(boxes))}]{piece}" for piece in some[1:])])
        for some in pieces
    ]


def test_swift_words_the_boxes(grounded, export):
    allowed = ("--permission", "siim=a letter", "--permission", "object_cxr=a letter")
    out = export(grounded, "ms-swift", allowed=allowed)
    config = "foreign_object_detection-object_cxr"
    rows, built = lines(out / "train" / f"{config}.jsonl"), table(grounded, config, "train")
    # The first row has a box, so that a reader that takes the types from the first rows knows that of `bbox`.
    assert rows[0]["objects"]["bbox"] and not all(row["objects"]["bbox"] for row in rows)
    whole = {
        (row["images"][0], *filled([turn["content"] for turn in row["messages"]], row["objects"])): row for row in rows
    }
    for row in built:
        image = f"{out}/images/{row['keys']['images'][0]}"
        found = whole.pop((image, *(turn["value"] for turn in row["conversations"])))
        assert found["objects"]["bbox"] == [region["box"] for region in row["regions"]]
        assert found["objects"]["image_id"] == [0] * len(row["regions"]) and found["objects"]["bbox_type"] == "norm1"
        answer = row["conversations"][-1]["value"]
        assert len(read_boxes(answer, "thousand") or []) == found["messages"][-1]["content"].count("<bbox>")
    assert not whole

    segmented = table(grounded, "pneumothorax_segmentation-siim", "train")
    polygons = [row for row in segmented if "[[" in row["conversations"][-1]["value"]]
    kept = lines(out / "train" / "pneumothorax_segmentation-siim.jsonl")
    answers = [row["conversations"][-1]["value"] for row in polygons]
    assert polygons and [
        row for row in kept if row["messages"][-1]["content"] in answers and not row["objects"]["bbox"]
    ]
    told = json.loads((out / "export.json").read_text("utf-8"))["notes"]
    printed = sum("[[" in row["conversations"][-1]["value"] for split in ("train", "validation", "test")
                  for row in table(grounded, "pneumothorax_segmentation-siim", split))  # fmt: skip
    assert told == {"their regions stay as text, without objects": printed}

    loaded = datasets.load_dataset(
        "json", data_files=str(out / "train" / f"{config}.jsonl"), split="train", cache_dir=str(out / "cache"),
        chunksize=2000,
    )  # fmt: skip
    assert len(loaded) == len(built) and "objects" in loaded.column_names


def test_boxes_of_other_dialects_stay_text():
    region = {"image": 0, "label": "nodule", "box": [0.1, 0.2, 0.3, 0.4], "mask": None, "size": [10, 10]}
    for dialect in ("json", "tags", "paligemma"):
        answer = region_filters(dialect)["boxes"]([region])
        row = Row("a", "[A] [B]", [("human", "<image> Where?"), ("gpt", answer)], ["a.png"], [region], dialect)
        found, notes = swift(row)
        assert found["messages"][1]["content"] == answer and "objects" not in found and notes == [BOXES_AS_TEXT]


# --- axolotl -----------------------------------------------------------------------------------------------------


def without_none(value: Any) -> Any:
    """As axolotl does before it calls the processor."""
    if isinstance(value, dict):
        return {key: without_none(held) for key, held in value.items() if held is not None}
    return [without_none(held) for held in value] if isinstance(value, list) else value


def test_axolotl(packed, export):
    out = export(packed, "axolotl")
    assert not [file for file in out.rglob("*.jsonl") if file.parent != out]
    rows = lines(out / "test.jsonl")
    built = [row for config in (FINDINGS,) for row in table(packed, config, "test")]
    shown = {json.dumps(row["messages"]): row for row in rows}
    for row in built:
        paths = iter(row["keys"]["images"])
        parts = [
            {
                "role": turn["role"],
                "content": [
                    {"type": part["type"], "text": part["text"],
                     "path": f"{out}/images/{next(paths)}.jpg" if part["type"] == "image" else None}
                    for part in turn["content"]
                ],
            }
            for turn in row["messages"]
        ]  # fmt: skip
        assert json.dumps(parts) in shown
    # The first row has images, as some rows have and text-only ones have not.
    assert any(part["type"] == "image" for turn in rows[0]["messages"] for part in turn["content"])
    loaded = datasets.load_dataset(
        "json", data_files=str(out / "test.jsonl"), split="train", cache_dir=str(out / "cache"), chunksize=3000
    )
    assert [row["messages"] for row in loaded] == [row["messages"] for row in rows]


@pytest.mark.slow
def test_a_processor_reads_all_images_of_axolotls_messages(packed, export, tmp_path):
    from transformers import AutoProcessor

    from instruct.testing.tiny import build_tiny

    out = export(packed, "axolotl", "--split", "test")
    rows = [without_none(row["messages"]) for row in lines(out / "test.jsonl")]
    several = next(row for row in rows if sum(part["type"] == "image" for turn in row for part in turn["content"]) > 1)
    texts = [part["text"] for row in rows[:20] for turn in row for part in turn["content"] if "text" in part]
    processor = AutoProcessor.from_pretrained(build_tiny("llava", tmp_path / "tiny", texts))
    read = processor.apply_chat_template([several], tokenize=True, return_dict=True, return_tensors="pt")
    images = sum(part["type"] == "image" for turn in several for part in turn["content"])
    assert read["pixel_values"].shape[0] == images > 1
