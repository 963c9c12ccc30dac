"""A judge in a folder, run through transformers on this machine: greedy decoding, at most 2,048 tokens in all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instruct.evaluation.metric import Settings
from instruct.evaluation.models.runtime import batches, device_of, load_model, load_tokenizer

_TOTAL = 2048
_BATCH = 8


@dataclass(frozen=True)
class LocalJudge:
    """A causal language model.

    Attributes:
        model: on its device.
        tokenizer: its tokenizer.
        green: use the turns that GREEN's model was trained on instead of the tokenizer's chat template.
    """

    model: Any
    tokenizer: Any
    green: bool

    def write(self, prompts: Sequence[str]) -> list[str | None]:
        """What the model writes after each of distinct prompts; None where the prompt leaves it no room."""
        model, tokenizer = self.model, self.tokenizer
        rows = [_ids(tokenizer, prompt, self.green) for prompt in prompts]
        total = min(_TOTAL, getattr(model.config, "max_position_embeddings", _TOTAL))
        fitting = [place for place, row in enumerate(rows) if len(row) < total]
        answers: list[str | None] = [None] * len(rows)
        for chosen in batches([len(rows[place]) for place in fitting], _BATCH):
            places = [fitting[choice] for choice in chosen]
            written = _write(model, tokenizer, [rows[place] for place in places], total)
            for place, new in zip(places, written, strict=True):
                if tokenizer.eos_token_id not in new and len(rows[place]) + len(new) < total:
                    (new,) = _write(model, tokenizer, [rows[place]], total)  # a longer prompt beside it took its room
                answers[place] = tokenizer.decode(new, skip_special_tokens=True)
        return answers


def load_judge(folder: Path, settings: Settings, *, green: bool) -> LocalJudge:
    """The judge in a folder: config, tokenizer and weights of a causal language model.

    Args:
        folder: the folder.
        settings: device.
        green: see :class:`LocalJudge`.

    Raises:
        DataError: the folder cannot be read.
    """
    import torch

    device = device_of(settings)
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    tokenizer = load_tokenizer(folder)
    return LocalJudge(load_model("AutoModelForCausalLM", folder, device, dtype=dtype), tokenizer, green)


def _write(model: Any, tokenizer: Any, rows: list[list[int]], total: int) -> list[list[int]]:
    """New tokens after each row; rows are padded on the left, and none grows beyond ``total`` with its padding."""
    import torch

    fill = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    longest = max(map(len, rows))
    padded = [[fill] * (longest - len(row)) + row for row in rows]
    mask = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
    with torch.inference_mode():
        written = model.generate(
            input_ids=torch.tensor(padded, device=model.device),
            attention_mask=torch.tensor(mask, device=model.device),
            do_sample=False,
            temperature=None,
            top_p=None,
            max_length=total,
            pad_token_id=fill,
            eos_token_id=tokenizer.eos_token_id,
        )
    new: list[list[int]] = written[:, longest:].tolist()
    return new


def _ids(tokenizer: Any, prompt: str, green: bool) -> list[int]:
    if green:
        end = tokenizer.eos_token
        ids: list[int] = tokenizer(f"<|user|>\n{prompt}{end}\n<|assistant|>\n")["input_ids"]
        return ids if ids[-1:] == [tokenizer.eos_token_id] else [*ids, tokenizer.eos_token_id]
    if tokenizer.chat_template:
        turns = [{"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        chat: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return chat
    plain: list[int] = tokenizer(prompt)["input_ids"]
    return plain
