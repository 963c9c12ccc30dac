"""The frozen model: finding, telling apart, loading and quantising it, and its processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from instruct.digest import digest_file, digest_json
from instruct.errors import DataError, SpecError, UsageError
from instruct.training.processor import first_line, load_processor
from instruct.training.recipe import ModelChoice, Quant

_LARGE = 64 << 20


def compute_dtype(choice: ModelChoice) -> Any:
    """The torch type of the frozen weights."""
    import torch

    if choice.dtype != "auto":
        return getattr(torch, choice.dtype)
    return torch.bfloat16 if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else torch.float32


def load_base(choice: ModelChoice, quant: Quant | None = None, device: Any = None, dtype: Any = None) -> Any:
    """Load a vision-language model.

    Args:
        choice: which.
        quant: quantise its language model while loading.
        device: where the quantised weights go (a device cannot be changed afterwards).
        dtype: type of the weights instead of the choice's; ``auto``: as they are stored.

    Raises:
        DataError: the model is not there, or its family is not known.
        UsageError: quantising needs a package that is not installed.
    """
    from transformers import AutoModelForImageTextToText

    options: dict[str, Any] = {"dtype": dtype or compute_dtype(choice)}
    if choice.attention:
        options["attn_implementation"] = choice.attention
    if quant:
        options |= {
            "quantization_config": _bits_and_bytes(choice, quant),
            "device_map": {"": device if device is not None else "cpu"},
        }
    try:
        return AutoModelForImageTextToText.from_pretrained(choice.id, revision=choice.revision, **options)
    except (OSError, ValueError) as error:
        raise DataError(
            f"model {choice.id}: cannot be loaded: {first_line(error)}. Expected a folder or a name on the Hugging"
            " Face Hub of a model that takes images and text; gated models need `hf auth login`"
        ) from error


def _bits_and_bytes(choice: ModelChoice, quant: Quant) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText, BitsAndBytesConfig

    try:
        import bitsandbytes  # noqa: F401
    except ImportError:
        raise UsageError("quant needs bitsandbytes: pip install 'cxr-instruct[quant]'") from None
    config = AutoConfig.from_pretrained(choice.id, revision=choice.revision)
    with torch.device("meta"):
        shape = AutoModelForImageTextToText.from_config(config)
    inside = decoder_name(shape) + "."
    # Full names: a bare `vision_tower` is not matched inside `model`, and the tower would be quantised.
    keep = [name for name, _ in linear_layers(shape) if not name.startswith(inside)]
    if quant.bits == 8:
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=keep)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=quant.double,
        bnb_4bit_compute_dtype=compute_dtype(choice),
        llm_int8_skip_modules=keep,
    )


def model_processor(choice: ModelChoice) -> Any:
    """The processor of a model, with the recipe's options for its images.

    Raises:
        DataError: see :func:`instruct.training.processor.load_processor`.
        SpecError: the image processor has no such option.
    """
    processor = load_processor(choice.id, choice.revision)
    if choice.image_processor:
        kind, options = type(processor.image_processor), processor.image_processor.to_dict()
        if unknown := sorted(set(choice.image_processor) - set(options)):
            raise SpecError(
                f"model.image_processor: {kind.__name__} has no option {', '.join(unknown)}; it has"
                f" {', '.join(sorted(options))}"
            )
        processor.image_processor = kind.from_dict(options | choice.image_processor)
    return processor


def linear_layers(model: Any) -> list[tuple[str, Any]]:
    """Linear layers by their full names."""
    from torch import nn

    return [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)]


def decoder_name(model: Any) -> str:
    """Full name of the language model inside a vision-language model, without its output layer."""
    decoder = model.get_decoder()
    return next(str(name) for name, module in model.named_modules() if module is decoder)


def base_fingerprint(choice: ModelChoice) -> dict[str, str]:
    """What tells a base model from another: the commit on the Hub, or a folder's files.

    Of files above 64 MiB only the size is looked at.

    Raises:
        DataError: the model is not there.
    """
    from transformers import AutoConfig

    folder = Path(choice.id)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise DataError(
                f"model {choice.id}: no config.json in this folder; expected a model as transformers saves it"
            )
        files = [
            [file.name, file.stat().st_size if file.stat().st_size > _LARGE else digest_file(file)]
            for file in sorted(folder.iterdir())
            if file.suffix in (".json", ".jinja", ".model", ".txt", ".safetensors", ".bin")
        ]
        return {"id": choice.id, "content": digest_json([files, choice.image_processor])}
    try:
        config = AutoConfig.from_pretrained(choice.id, revision=choice.revision)
    except (OSError, ValueError) as error:
        raise DataError(f"model {choice.id}: cannot be loaded: {first_line(error)}") from error
    commit = str(getattr(config, "_commit_hash", None) or choice.revision)
    return {
        "id": choice.id,
        "content": digest_json([commit, choice.image_processor]) if choice.image_processor else commit,
    }
