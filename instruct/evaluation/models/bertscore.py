"""BERTScore F1: greedy cosine matching of contextual token vectors.

Definition of bert-score 0.3.13 without idf weights: every token but the first and last special one counts alike; the
special ones remain what a token may be matched with. A text without tokens scores 0 before rescaling.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from instruct.evaluation.metric import Values
from instruct.evaluation.models.runtime import BATCH, LONGEST, batches, load_model, load_tokenizer, pad

_BLOCK = 512


@dataclass(frozen=True)
class Encoder:
    """A transformer cut after one layer.

    Attributes:
        model: gives that layer's output as its last hidden state.
        tokenizer: its tokenizer.
        device: torch device of the model.
        limit: most tokens of a text, special ones included; the rest is cut off.
    """

    model: Any
    tokenizer: Any
    device: Any
    limit: int

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids with special tokens, uncut; blanks at the ends dropped, runs of spaces as one."""
        if not texts:
            return []
        plain = [re.sub(" +", " ", text).strip() for text in texts]
        ids: list[list[int]] = self.tokenizer(plain, verbose=False)["input_ids"]
        return ids

    def vectors(self, texts: Sequence[str], batch: int = BATCH) -> dict[str, Any]:
        """Unit vectors of the tokens of each distinct text: text → tensor (tokens, size) on the model's device."""
        import torch

        distinct = sorted(set(texts))
        ends = self.limit - 1
        ids = [row if len(row) <= self.limit else [*row[:ends], row[-1]] for row in self.tokens(distinct)]
        found: dict[str, Any] = {}
        for places in batches([len(row) for row in ids], batch):
            with torch.inference_mode():
                tokens, mask = pad([ids[place] for place in places], self.tokenizer.pad_token_id, self.device)
                hidden = self.model(input_ids=tokens, attention_mask=mask).last_hidden_state
                hidden = torch.nn.functional.normalize(hidden, dim=-1)
            for place, vectors in zip(places, hidden, strict=True):
                found[distinct[place]] = vectors[: len(ids[place])].clone()
        return found


def load_encoder(folder: Path, layer: int, device: Any, *, prefix_space: bool) -> Encoder:
    """An encoder that stops after a layer.

    Args:
        folder: config, tokenizer and weights.
        layer: 1 for the first layer's output.
        device: torch device.
        prefix_space: start every text with a space, as byte-level tokenizers need for an ordinary first word.

    Raises:
        DataError: the folder cannot be read.
    """
    tokenizer = load_tokenizer(folder, **({"add_prefix_space": True} if prefix_space else {}))
    model = load_model("AutoModel", folder, device)
    model.encoder.layer = model.encoder.layer[:layer]
    return Encoder(model, tokenizer, device, min(LONGEST, tokenizer.model_max_length))


def bertscore_f1(encoder: Encoder, predictions: Sequence[str], references: Sequence[str]) -> Values:
    """Raw F1 per pair, in [−1, 1], not rescaled.

    Args:
        encoder: the encoder.
        predictions: texts, shape (n,).
        references: texts, shape (n,).
    """
    pairs = list(zip(predictions, references, strict=True))
    scores: dict[tuple[str, str], float] = {}
    distinct = sorted(set(pairs), key=lambda pair: (pair[1], pair[0]))
    for start in range(0, len(distinct), _BLOCK):
        block = distinct[start : start + _BLOCK]
        vectors = encoder.vectors([text for pair in block for text in pair])
        for prediction, reference in block:
            scores[prediction, reference] = _f1(vectors[prediction], vectors[reference])
    return np.array([scores[pair] for pair in pairs], dtype=np.float64)


def rescale(scores: Values, baseline: float) -> Values:
    """Scores on the scale where the baseline is 0 and a perfect match is 1."""
    return (scores - baseline) / (1 - baseline)


def _f1(prediction: Any, reference: Any) -> float:
    if len(prediction) <= 2 or len(reference) <= 2:
        return 0.0
    cosine = prediction @ reference.T
    precision = cosine.max(dim=1).values[1:-1].mean()
    recall = cosine.max(dim=0).values[1:-1].mean()
    total = float(precision + recall)
    return 2 * float(precision) * float(recall) / total if total else 0.0
