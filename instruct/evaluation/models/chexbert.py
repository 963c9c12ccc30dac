"""CheXbert: the [CLS] vector of a report, and its labels for 14 observations.

Reads ``chexbert.pth`` (``model_state_dict``, names that start with ``module.``): a bert-base-uncased encoder, thirteen
heads of four classes (blank, positive, negative, uncertain) and one of two for "No Finding".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from instruct.errors import DataError
from instruct.evaluation.metric import Values
from instruct.evaluation.models.runtime import (
    BATCH,
    LONGEST,
    batches,
    empty_model,
    fill_model,
    load_tokenizer,
    pad,
    read_state,
)

_HEADS = 14
_PRESENT = (1, 3)


@dataclass(frozen=True)
class Reading:
    """What CheXbert made of a report.

    Attributes:
        vector: [CLS] vector, shape (size,).
        labels: 1 where an observation is positive or uncertain, else 0; shape (14,).
        cut: the report has more than 512 tokens, of which the first 511 were read.
    """

    vector: Values
    labels: Values
    cut: bool


@dataclass(frozen=True)
class CheXbert:
    """The loaded model.

    Attributes:
        model: encoder.
        heads: weight and bias of each observation's classifier.
        tokenizer: uncased word pieces.
        device: torch device of all of them.
    """

    model: Any
    heads: tuple[tuple[Any, Any], ...]
    tokenizer: Any
    device: Any

    def read(self, texts: Sequence[str], batch: int = BATCH) -> list[Reading]:
        """A reading per text; a blank text is [CLS] [SEP]."""
        import torch

        ids = [self._tokens(text) for text in texts]
        readings: dict[int, Reading] = {}
        for places in batches([min(len(row), LONGEST) for row in ids], batch):
            rows = [ids[place] for place in places]
            rows = [row if len(row) <= LONGEST else [*row[: LONGEST - 1], row[-1]] for row in rows]
            with torch.inference_mode():
                tokens, mask = pad(rows, self.tokenizer.pad_token_id, self.device)
                vectors = self.model(input_ids=tokens, attention_mask=mask).last_hidden_state[:, 0]
                classes = torch.stack([(vectors @ w.T + b).argmax(dim=1) for w, b in self.heads], dim=1)
            labels = np.isin(classes.cpu().numpy(), _PRESENT).astype(np.float64)
            for place, vector, label in zip(places, vectors.cpu().numpy().astype(np.float64), labels, strict=True):
                readings[place] = Reading(vector, label, len(ids[place]) > LONGEST)
        return [readings[place] for place in range(len(texts))]

    def _tokens(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(" ".join(text.split()), verbose=False)["input_ids"]
        return ids


def load_chexbert(checkpoint: Path, encoder: Path, device: Any) -> CheXbert:
    """The model of a checkpoint.

    Args:
        checkpoint: ``chexbert.pth``.
        encoder: folder with the config and tokenizer of bert-base-uncased.
        device: torch device.

    Raises:
        DataError: a file is damaged, holds foreign objects, or lacks tensors.
    """
    state = read_state(checkpoint).get("model_state_dict")
    if not isinstance(state, dict):
        raise DataError(
            f"{checkpoint}: no 'model_state_dict'; expected the checkpoint that CheXbert's authors released"
        )
    tensors = {name.removeprefix("module."): value for name, value in state.items()}
    try:
        heads = tuple(
            (tensors[f"linear_heads.{i}.weight"].to(device), tensors[f"linear_heads.{i}.bias"].to(device))
            for i in range(_HEADS)
        )
    except KeyError as error:
        raise DataError(f"{checkpoint}: lacks the tensor {error}; expected 14 classifiers") from None
    body = {name.removeprefix("bert."): value for name, value in tensors.items() if name.startswith("bert.")}
    model = fill_model(empty_model(encoder), body, checkpoint).to(device)
    return CheXbert(model, heads, load_tokenizer(encoder), device)


def cosine(one: Values, other: Values) -> float:
    """Cosine of two vectors, in [−1, 1]."""
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))
