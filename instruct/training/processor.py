"""Processors: loading one with or without torchvision, its padding token, its control tokens."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from instruct.errors import DataError

# Padding tokens of common families, for tokenizers that have one but do not say so.
_PADDING = ("<|finetune_right_pad_id|>", "<|pad|>", "<pad>", "[PAD]", "<|endoftext|>", "<unk>")
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)


def load_processor(path: str | Path, revision: str | None = None) -> Any:
    """The processor of a model folder or Hub id, images only where videos need torchvision; it has a padding token.

    It pickles. Do not save it next to an adapter, nor give it to a Trainer as ``processing_class`` (which saves it
    into every checkpoint): without its video part it does not load elsewhere. Copy the base model's files instead.

    Raises:
        DataError: there is no processor, no chat template, or it needs a package that is not installed.
    """
    if not Path(path).exists() and not _HUB_NAME.fullmatch(str(path)):
        raise DataError(f"{path}: there is no such folder, nor is this a name on the Hugging Face Hub (OWNER/MODEL)")
    from transformers import AutoProcessor

    options = {"revision": revision} if revision else {}
    try:
        processor = AutoProcessor.from_pretrained(str(path), **options)
    except (OSError, ImportError, ValueError) as error:
        # A family with a video processor, which needs torchvision; or one saved without its video part.
        processor = _load_without_video(str(path), options, error)
    tokenizer = getattr(processor, "tokenizer", None)
    if tokenizer is None or getattr(processor, "image_processor", None) is None:
        raise DataError(f"{path}: {type(processor).__name__} is no processor of a vision-language model")
    if not tokenizer.is_fast:
        raise DataError(f"{path}: the tokenizer has no tokenizer.json; which text a token stands for cannot be told")
    if not (processor.chat_template or tokenizer.chat_template):
        raise DataError(f"{path}: no chat template; training and prompts need one (chat_template.jinja in the folder)")
    if not processor.chat_template:
        processor.chat_template = tokenizer.chat_template
    tokenizer.deprecation_warnings["sequence-length-is-longer-than-the-specified-maximum"] = True  # the plan's job
    set_pad_token(processor)
    return processor


def _load_without_video(path: str, options: dict[str, str], error: Exception) -> Any:
    import transformers
    from transformers import AutoConfig
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

    try:
        kind = AutoConfig.from_pretrained(path, **options).model_type
        name = PROCESSOR_MAPPING_NAMES.get(kind)
        base = getattr(transformers, name) if name else None
        if base is None or "video_processor" not in base.get_attributes():
            raise error
        return _image_only(base).from_pretrained(path, **options)
    except (OSError, ImportError, ValueError) as second:
        raise DataError(f"{path}: no processor can be loaded: {first_line(second)}") from second


@cache
def _image_only(base: Any) -> Any:
    """The class without its video part. It keeps its name, which is looked up in the saved configuration."""
    attributes = [name for name in base.get_attributes() if name != "video_processor"]
    body = {
        "images_only": True,
        "get_attributes": classmethod(lambda cls: attributes),
        "__reduce_ex__": lambda self, protocol: (_restore, (base, self.__dict__)),
    }
    return type(base.__name__, (base,), body)


def _restore(base: Any, state: dict[str, Any]) -> Any:
    kind = _image_only(base)
    processor = kind.__new__(kind)
    processor.__dict__.update(state)
    return processor


def first_line(error: BaseException) -> str:
    """First line of an error's message; its kind where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def processor_backend(processor: Any) -> str:
    """Which classes read images, for the run record: ``Qwen2VLProcessor, Qwen2VLImageProcessorPil, no video``."""
    names = [type(processor).__name__, type(processor.image_processor).__name__]
    if getattr(processor, "images_only", False):
        names.append("no video")
    return ", ".join(names)


def set_pad_token(processor: Any) -> str:
    """Give the tokenizer a padding token if it has none, and return it: an unused special token, else the EOS token."""
    tokenizer = processor.tokenizer
    if tokenizer.pad_token is None:
        special = special_tokens(processor)
        used = {tokenizer.eos_token, tokenizer.bos_token}
        tokenizer.pad_token = next((name for name in _PADDING if name in special - used), tokenizer.eos_token)
    if tokenizer.pad_token is None:
        raise DataError("the tokenizer has neither a padding token nor an EOS token")
    token: str = tokenizer.pad_token
    return token


def align_pad_token(model: Any, processor: Any) -> None:
    """Set the model's and its generation config's ``pad_token_id`` to the processor's."""
    number = processor.tokenizer.pad_token_id
    model.config.get_text_config().pad_token_id = number
    if getattr(model, "generation_config", None) is not None:
        model.generation_config.pad_token_id = number


def special_tokens(processor: Any) -> frozenset[str]:
    """Control tokens of the model, which no text of a row may contain."""
    tokenizer = processor.tokenizer
    tokens = set(tokenizer.all_special_tokens)
    tokens |= {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    for holder in (processor, tokenizer):
        tokens |= {getattr(holder, name, None) for name in ("image_token", "video_token", "audio_token")}
    return frozenset(token for token in tokens if isinstance(token, str) and token)
