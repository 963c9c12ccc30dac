"""Reports as words and word pieces, in the way RadGraph was trained on them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instruct.evaluation.models.runtime import BATCH, batches, pad

_MOST_WORDS = 2000
_PUNCTUATION = re.compile(r"([/,:.!?()])")


def words_of(text: str) -> list[str]:
    """Words of a report: ``/ , : . ! ? ( )`` stand alone, hyphens and semicolons do not; at most 2,000 are kept."""
    return _PUNCTUATION.sub(r" \1 ", text).split()[:_MOST_WORDS]


def is_cut(text: str) -> bool:
    """Has a report more words than are kept?"""
    return len(text) > _MOST_WORDS and len(_PUNCTUATION.sub(r" \1 ", text).split()) > _MOST_WORDS


@dataclass(frozen=True)
class Pieces:
    """Word pieces of reports.

    Attributes:
        ids: of each report, without special tokens.
        words: of each piece, the place of its word in the report.
    """

    ids: list[list[int]]
    words: list[list[int]]


def pieces_of(reports: Sequence[Sequence[str]], tokenizer: Any) -> Pieces:
    """Word pieces of each word on its own; a word may have none."""
    distinct = sorted({word for report in reports for word in report})
    ids = tokenizer(distinct, add_special_tokens=False, verbose=False)["input_ids"] if distinct else []
    known = dict(zip(distinct, ids, strict=True))
    return Pieces(
        [[piece for word in report for piece in known[word]] for report in reports],
        [[place for place, word in enumerate(report) for _ in known[word]] for report in reports],
    )


def word_vectors(reports: Sequence[Sequence[str]], pieces: Pieces, encoder: Any, tokenizer: Any, segment: int) -> Any:
    """Mean of the vectors of each word's pieces, 0 for a word without pieces.

    Args:
        reports: words of each report.
        pieces: their pieces.
        encoder: transformer.
        tokenizer: for its special tokens.
        segment: most pieces the encoder reads at once, special ones included; longer reports are read in parts.

    Returns:
        Tensor of shape (words of all reports, size), on the encoder's device.
    """
    import torch

    starts = np.cumsum([0, *map(len, reports)])
    room = segment - 2
    rows: list[list[int]] = []
    targets: list[NDArray[np.int64]] = []
    for start, ids, words in zip(starts, pieces.ids, pieces.words, strict=False):
        for first in range(0, len(ids), room):
            rows.append([tokenizer.cls_token_id, *ids[first : first + room], tokenizer.sep_token_id])
            targets.append(np.array(words[first : first + room], dtype=np.int64) + start)
    device = next(encoder.parameters()).device
    total = torch.zeros((int(starts[-1]), encoder.config.hidden_size), device=device)
    count = torch.zeros(int(starts[-1]), device=device)
    for places in batches([len(row) for row in rows], BATCH):
        tokens, mask = pad([rows[place] for place in places], tokenizer.pad_token_id, device)
        hidden = encoder(input_ids=tokens, attention_mask=mask).last_hidden_state
        inner = torch.cat([hidden[row, 1 : len(rows[place]) - 1] for row, place in enumerate(places)])
        target = torch.from_numpy(np.concatenate([targets[place] for place in places])).to(device)
        total.index_add_(0, target, inner)
        count.index_add_(0, target, torch.ones(len(target), device=device))
    return total / count.clamp(min=1).unsqueeze(1)
