"""Other trainers' own loaders read a built folder and its exports: every row, every image, every learnt word.

LLaMA-Factory and ms-swift want other versions of what this package runs on, so its own environment holds neither and
these tests are skipped there. How to run them: docs/training.md, "Your own trainer".
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from instruct.training.processor import load_processor
from tests.build.helpers import call, rows
from tests.conftest import Corpora
from tests.mixture.conftest import build

Tiny = Callable[..., Path]
ALLOWED = ("--permission", "openi=a letter", "--permission", "rexgradient=a letter")


@pytest.fixture(scope="module")
def embedded(corpora: Corpora, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo recipe, with 8-bit images in the rows."""
    return build(corpora, tmp_path_factory.mktemp("loaders") / "out", "images.store=embed", "images.size=64")


def trained(dataset: Path) -> dict[str, list[dict[str, Any]]]:
    """Rows of the training split by configuration."""
    configs = sorted(folder.parents[1].name for folder in dataset.glob("*/train/arrow"))
    assert len(configs) == 5
    return {config: rows(dataset, config, "train") for config in configs}


def answer(row: dict[str, Any]) -> str:
    (words,) = (part["text"] for part in row["messages"][-1]["content"])
    return str(words)


# --- LLaMA-Factory -----------------------------------------------------------------------------------------------


@pytest.fixture
def tokenized(tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """``tokenized(folder with dataset_info.json, names)``: what LLaMA-Factory would train a tiny Qwen2-VL on."""
    pytest.importorskip("llamafactory", reason="LLaMA-Factory is not installed: docs/training.md, Your own trainer")
    if find_spec("torchaudio") is None:
        pytest.skip("LLaMA-Factory imports torchaudio, which is not installed: docs/training.md, Your own trainer")
    monkeypatch.setenv("DISABLE_VERSION_CHECK", "1")  # it asks for an older transformers
    from llamafactory.data.loader import get_dataset
    from llamafactory.data.template import get_template_and_fix_tokenizer
    from llamafactory.hparams import DataArguments, ModelArguments
    from llamafactory.hparams.training_args import TrainingArguments

    def load(folder: Path, names: list[str]) -> tuple[Any, Any]:
        processor = load_processor(tiny("qwen2_vl"))
        options = DataArguments(
            dataset=",".join(names),
            dataset_dir=str(folder),
            template="qwen2_vl",
            cutoff_len=4096,
            default_system="",
        )
        template = get_template_and_fix_tokenizer(processor.tokenizer, options)
        model = ModelArguments(model_name_or_path=str(tiny("qwen2_vl")), cache_dir=str(tmp_path / "cache"))
        training = TrainingArguments(output_dir=str(tmp_path / "out"), report_to="none", use_cpu=True)
        made = get_dataset(template, model, options, training, "sft", processor.tokenizer, processor)
        return made["train_dataset"], processor

    return load


def assert_learnt(dataset: Any, processor: Any, expected: list[dict[str, Any]]) -> None:
    """Row for row: the answer and its end are learnt, all images are there, nothing is cut or dropped."""
    assert len(dataset) == len(expected) > 300
    token = processor.tokenizer.convert_tokens_to_ids("<|image_pad|>")
    for made, row in zip(dataset, expected, strict=True):
        learnt = [number for number in made["labels"] if number != -100]
        assert processor.tokenizer.decode(learnt).strip() == f"{answer(row)}<|im_end|>"
        assert len(made["images"] or []) == len(row["keys"]["images"])
        assert (token in made["input_ids"]) == bool(row["keys"]["images"])


def test_llama_factory_reads_the_folder_as_it_is(embedded: Path, tokenized: Any, tmp_path: Path) -> None:
    columns = {"messages": "conversations", "images": "images"}
    info = {
        config: {"file_name": str(embedded / config / "train" / "arrow"), "formatting": "sharegpt", "columns": columns}
        for config in trained(embedded)
    }
    (tmp_path / "dataset_info.json").write_text(json.dumps(info), "utf-8")
    expected = [row for part in trained(embedded).values() for row in part]
    assert_learnt(*tokenized(tmp_path, list(info)), expected)


@pytest.mark.parametrize("form", ["sharegpt", "openai", "arrow"])
def test_llama_factory_reads_an_export(form: str, embedded: Path, tokenized: Any, tmp_path: Path) -> None:
    allowed = () if form == "arrow" else ALLOWED  # it points at the build, and holds no image
    call("export", embedded, "--to", "llamafactory", "--form", form, "--out", tmp_path / "export", *allowed)
    info = json.loads((tmp_path / "export" / "dataset_info.json").read_text("utf-8"))
    names = sorted(name for name in info if name.endswith("_train"))
    dataset, processor = tokenized(tmp_path / "export", names)
    parts = trained(embedded)
    assert [name.removesuffix("_train") for name in names] == list(parts)
    # The first line of a file must have all columns, so an export may move one row to the front.
    found = sorted(
        (
            processor.tokenizer.decode([number for number in made["labels"] if number != -100]).strip(),
            len(made["images"] or []),
        )
        for made in dataset
    )
    assert found == sorted(
        (f"{answer(row)}<|im_end|>", len(row["keys"]["images"])) for part in parts.values() for row in part
    )


# --- ms-swift ----------------------------------------------------------------------------------------------------


@pytest.fixture
def encoded(tiny: Tiny) -> Callable[..., list[tuple[str, int]]]:
    """``encoded(files)``: what ms-swift would train a tiny LLaVA on: learnt words and number of images of each row."""
    pytest.importorskip("swift", reason="ms-swift is not installed: docs/training.md, Your own trainer")
    from swift.dataset import load_dataset
    from swift.model import get_model_processor
    from swift.template import get_template

    def load(files: list[Path], **options: Any) -> list[tuple[str, int]]:
        # Strict: a row that it cannot read is an error, not left out.
        dataset, _ = load_dataset([str(file) for file in files], strict=True, load_from_cache_file=False, **options)
        kind, where = "llava1_5_hf", str(tiny("llava"))
        _, processor = get_model_processor(where, load_model=False, model_type=kind, use_hf=True)
        template = get_template(processor, template_type=kind, max_length=4096, default_system="")
        template.set_mode("train")
        made = []
        for row in dataset:
            batch = template.encode(row)
            learnt = processor.decode([number for number in batch["labels"] if number != -100])
            made.append((learnt, len(batch.get("pixel_values", ()))))
        return made

    return load


def expected_of(parts: dict[str, list[dict[str, Any]]]) -> list[tuple[str, int]]:
    found = [(f"{answer(row)}</s>", len(row["keys"]["images"])) for part in parts.values() for row in part]
    assert len(found) > 300
    return found


def test_ms_swift_reads_the_folder_as_it_is(embedded: Path, encoded: Any) -> None:
    parts = trained(embedded)
    files = [file for config in parts for file in sorted((embedded / config / "train" / "arrow").glob("*.arrow"))]
    # The view with plain texts: of the other one, it does not take a system turn that is a list of parts.
    columns = {"messages": "parts", "conversations": "messages"}
    assert encoded(files, columns=columns) == expected_of(parts)
    with pytest.raises(AssertionError, match="new_str: "):
        encoded(files)


def test_ms_swift_reads_an_export(embedded: Path, encoded: Any, tmp_path: Path) -> None:
    call("export", embedded, "--to", "ms-swift", "--out", tmp_path / "export", *ALLOWED)
    parts = trained(embedded)
    made = encoded([tmp_path / "export" / "train" / f"{config}.jsonl" for config in parts])
    # The first line of a file must have all columns, so an export may move one row to the front.
    assert sorted(made) == sorted(expected_of(parts))


# --- their documented rules, where they are not installed ----------------------------------------------------------


def all_rows(dataset: Path) -> list[dict[str, Any]]:
    found = rows(dataset)
    assert len(found) > 300
    return found


def test_the_rules_of_llama_factory(demo_dataset: Path) -> None:
    """Its `sharegpt` format: https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md."""
    for row in all_rows(demo_dataset):
        turns = row["conversations"]
        if turns[0]["from"] == "system":
            turns = turns[1:]
        assert [turn["from"] for turn in turns] == ["human", "gpt"] * (len(turns) // 2) and turns
        assert all(isinstance(turn["value"], str) and turn["value"].strip() for turn in turns)
        assert sum(turn["value"].count("<image>") for turn in turns) == len(row["images"])
        assert all(image["path"] and image["bytes"] is None for image in row["images"])
    # A folder that it is pointed at may hold files of one ending only.
    for folder in demo_dataset.glob("*/*/arrow"):
        assert {file.suffix for file in folder.iterdir()} == {".arrow"}


def test_the_rules_of_ms_swift(demo_dataset: Path) -> None:
    """Its `messages` format: https://swift.readthedocs.io, "Custom Dataset"."""
    for row in all_rows(demo_dataset):
        roles = [turn["role"] for turn in row["messages"]]
        asked = roles[1:] if roles[0] == "system" else roles
        assert asked == ["user", "assistant"] * (len(asked) // 2) and asked
        parts = [part for turn in row["messages"] for part in turn["content"]]
        assert {part["type"] for part in parts} <= {"text", "image"}
        assert all(part.keys() == {"type", "text"} for part in parts)  # an `image` key, even empty, would be one more
        assert sum(part["type"] == "image" for part in parts) == len(row["images"])


def test_both_views_say_the_same(demo_dataset: Path) -> None:
    for row in all_rows(demo_dataset):
        told = {"user": "human", "assistant": "gpt", "system": "system"}
        for turn, plain in zip(row["messages"], row["conversations"], strict=True):
            assert told[turn["role"]] == plain["from"]
            text = "".join("<image>" if part["type"] == "image" else part["text"] for part in turn["content"])
            assert "".join(text.split()) == "".join(plain["value"].split())
