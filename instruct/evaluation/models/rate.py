"""RaTEScore's two models: entities of a report (RaTE-NER), and a vector of each entity's text (BioLORD)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from instruct.errors import DataError
from instruct.evaluation.metric import Values
from instruct.evaluation.models.runtime import BATCH, LONGEST, batches, load_model, load_tokenizer, pad
from instruct.evaluation.ratescore import TYPES

_ENTITY_TOKENS = 30
Entity = tuple[str, str]


@dataclass(frozen=True)
class Tagger:
    """Token classifier with the labels O, B-TYPE and I-TYPE."""

    model: Any
    tokenizer: Any
    device: Any
    labels: tuple[str, ...]

    def entities(self, sentences: Sequence[str], batch: int = BATCH) -> list[list[Entity]]:
        """(text, type) of the entities of each sentence; what is beyond 512 tokens is not read."""
        import torch

        ids = self.tokenizer(list(sentences), truncation=True, max_length=LONGEST)["input_ids"] if sentences else []
        found: dict[int, list[Entity]] = {}
        for places in batches([len(row) for row in ids], batch):
            with torch.inference_mode():
                tokens, mask = pad([ids[place] for place in places], self.tokenizer.pad_token_id, self.device)
                best = self.model(input_ids=tokens, attention_mask=mask).logits.argmax(dim=2).tolist()
            for place, row in zip(places, best, strict=True):
                found[place] = self._read(ids[place], [self.labels[label] for label in row[: len(ids[place])]])
        return [found[place] for place in range(len(ids))]

    def _read(self, ids: list[int], labels: list[str]) -> list[Entity]:
        tokens = self.tokenizer.convert_ids_to_tokens(ids)
        special = {self.tokenizer.cls_token, self.tokenizer.sep_token}
        inner = [place for place, token in enumerate(tokens) if token not in special]
        return [
            (self.tokenizer.convert_tokens_to_string(tokens[first : last + 1]), kind)
            for first, last, kind in entity_spans(labels, inner)
        ]


def entity_spans(labels: Sequence[str], inner: Sequence[int]) -> Iterator[tuple[int, int, str]]:
    """First token, last token and type of each entity, as the released code reads tags.

    An entity has the type of its B tag and ends before the next B or O, whatever types its I tags name. One that is
    still open at the last token ends there, unless another entity ended right before it: then it is dropped. I tags
    without a B before them are no entity.

    Args:
        labels: a tag per token, special tokens included.
        inner: places of the other tokens.
    """
    start = end = None
    kind = ""
    for place in inner:
        tag, following = labels[place][:2], labels[place + 1][:2]
        if tag == "B-":
            kind = labels[place][2:]
            if following == "I-":
                start = place
                continue
            yield place, place, kind
            start = end = place if following == "B-" else None
        elif tag == "I-" and following != "I-":
            if start is not None:
                yield start, place, kind
            start = end = place if following == "B-" else None
            kind = labels[place][2:]
    if start is not None and end is None:
        yield start, len(labels) - 2, kind


@dataclass(frozen=True)
class Embedder:
    """Encoder of short texts."""

    model: Any
    tokenizer: Any
    device: Any

    def vectors(self, texts: Sequence[str], batch: int = BATCH) -> list[Values]:
        """Unit [CLS] vector of each text, of its first 30 tokens."""
        import torch

        ids = self.tokenizer(list(texts), truncation=True, max_length=_ENTITY_TOKENS)["input_ids"] if texts else []
        found: dict[int, Values] = {}
        for places in batches([len(row) for row in ids], batch):
            with torch.inference_mode():
                tokens, mask = pad([ids[place] for place in places], self.tokenizer.pad_token_id, self.device)
                first = self.model(input_ids=tokens, attention_mask=mask).last_hidden_state[:, 0]
                unit = torch.nn.functional.normalize(first, dim=1).cpu().numpy().astype(np.float64)
            found.update(zip(places, unit, strict=True))
        return [found[place] for place in range(len(ids))]


def load_tagger(folder: Path, device: Any) -> Tagger:
    """RaTE-NER of a folder.

    Raises:
        DataError: it cannot be read, or its labels are not those of RaTE-NER.
    """
    model = load_model("AutoModelForTokenClassification", folder, device)
    labels = tuple(str(model.config.id2label[place]) for place in range(model.config.num_labels))
    known = {"O", *(f"{side}-{kind}" for side in "BI" for kind in TYPES)}
    foreign = sorted(set(labels) - known)
    if foreign:
        raise DataError(
            f"{folder}: labels {', '.join(foreign[:4])} are not RaTE-NER's; expected O and B-/I- of {', '.join(TYPES)}"
        )
    return Tagger(model, load_tokenizer(folder), device, labels)


def load_embedder(folder: Path, device: Any) -> Embedder:
    """BioLORD of a folder.

    Raises:
        DataError: it cannot be read.
    """
    return Embedder(load_model("AutoModel", folder, device), load_tokenizer(folder), device)
