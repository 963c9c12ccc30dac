"""What leaves a run: the adapter alone, or the base with the adapter merged into it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from instruct.build.files import read_json, write_json
from instruct.errors import DataError, UsageError
from instruct.training import checkpoints
from instruct.training.base import load_base
from instruct.training.lora import load_adapter
from instruct.training.recipe import ModelChoice

# What a processor consists of; saved anew it could lose its video part, so the base's own files are copied.
_PROCESSOR_FILES = (
    "preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json", "tokenizer.json",
    "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "merges.txt", "chat_template.json", "chat_template.jinja",
)  # fmt: skip
_ADAPTER = ("adapter_config.json", "adapter_model.safetensors")


def find_adapter(run: Path) -> Path:
    """The adapter of a run's folder, of a checkpoint or of an adapter's folder.

    Raises:
        UsageError: there is none.
    """
    for folder in (run, run / "adapter"):
        if all((folder / name).is_file() for name in _ADAPTER):
            return folder
    newest, _ = checkpoints.newest(run) if run.is_dir() else (None, [])
    if newest is not None:
        return newest
    raise UsageError(f"{run}: no adapter here; expected the folder of a run, a checkpoint or an adapter")


def base_of(adapter: Path) -> ModelChoice:
    """The base model that an adapter names.

    Raises:
        DataError: it names none.
    """
    config = json.loads((adapter / "adapter_config.json").read_text("utf-8"))
    if not config.get("base_model_name_or_path"):
        raise DataError(f"{adapter}/adapter_config.json: names no base model; give one with --base")
    return ModelChoice(id=config["base_model_name_or_path"], revision=config.get("revision"))


def export_adapter(run: Path, out: Path) -> Path:
    """Copy a run's adapter and its card, without the optimizer and the rest of a checkpoint.

    Raises:
        UsageError: there is no adapter, or `out` holds something.
    """
    adapter = find_adapter(run)
    _new_folder(out)
    for name in (*_ADAPTER, "README.md"):
        if (adapter / name).is_file():
            shutil.copyfile(adapter / name, out / name)
    return out


def merge(run: Path, out: Path, base: str | None = None, dtype: str = "auto") -> Path:
    """Write the base model with a run's adapter added to its weights, and the base's own processor files.

    Where the run's recipe set options of the image processor, these files get them: the model was trained with them.
    The weights are merged in the type the base is stored in, or `dtype`; never in 4 or 8 bits.

    Args:
        run: the run, a checkpoint or an adapter.
        out: a new folder.
        base: folder or Hub id of the base model instead of the one that the adapter names.
        dtype: ``auto`` (as the base is stored), ``float32`` or ``bfloat16``.

    Raises:
        UsageError: there is no adapter, or `out` holds something.
        DataError: the base cannot be loaded, or the adapter does not fit it.
    """
    adapter = find_adapter(run)
    choice = base_of(adapter) if base is None else ModelChoice(id=base)
    _new_folder(out)
    model = load_base(choice, dtype=dtype)
    merged = load_adapter(model, adapter).merge_and_unload()
    merged.save_pretrained(str(out))
    for file in _processor_files(choice):
        shutil.copyfile(file, out / file.name)
    if options := _image_options(adapter):
        _set_image_options(out, options)
    if (adapter / "README.md").is_file():
        shutil.copyfile(adapter / "README.md", out / "README.md")
    return out


def _processor_files(choice: ModelChoice) -> Iterator[Path]:
    from transformers.utils import cached_file

    for name in _PROCESSOR_FILES:
        found: Any = cached_file(
            choice.id,
            name,
            revision=choice.revision,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        if found is not None:
            yield Path(found)


def _image_options(adapter: Path) -> dict[str, Any]:
    """Options of the image processor that the adapter of a run was trained with."""
    run = adapter.parent
    if not (run / "run.json").is_file() or not (run / "recipe.yaml").is_file():
        return {}  # an adapter of its own
    options: dict[str, Any] = yaml.safe_load((run / "recipe.yaml").read_text("utf-8"))["model"]["image_processor"]
    return options


def _set_image_options(model: Path, options: dict[str, Any]) -> None:
    """Put options into the file of a model's folder that has those of its image processor."""
    # Of Qwen-VL: older names of `size`, which win over it.
    outdated = {"min_pixels", "max_pixels"} - set(options) if "size" in options else set()
    for name in ("preprocessor_config.json", "processor_config.json"):
        content = read_json(model / name)
        held = content.get("image_processor") if content and name == "processor_config.json" else content
        if held:
            held.update(options)
            for key in outdated & set(held):
                del held[key]
            write_json(model / name, content)


def _new_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise UsageError(f"{out}: is not empty; choose a new folder")
    except OSError as error:
        raise UsageError(f"{out}: no folder can be made there: {error.strerror}; choose a new folder") from None
