"""Lengths of texts: in whitespace words, and in tokens of a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from instruct.errors import UsageError

Lengths = npt.NDArray[np.int64]
Tokenizer = Callable[[list[str]], list[int]]

# Lower ends of the classes of a histogram of lengths; the last one has no upper end.
EDGES = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_BATCH = 5000


def word_counts(texts: pa.Array) -> Lengths:
    """Whitespace-separated words of each text; 0 for a null."""
    trimmed = pc.utf8_trim_whitespace(texts)
    counts = pc.list_value_length(pc.utf8_split_whitespace(trimmed))
    # An empty text splits into one empty word.
    return np.asarray(pc.if_else(pc.equal(pc.fill_null(trimmed, ""), ""), 0, counts), np.int64)


def token_counts(texts: pa.Array, tokenizer: Tokenizer) -> Lengths:
    """Tokens of each text, without special tokens; 0 for a null."""
    counts = [
        number
        for start in range(0, len(texts), _BATCH)
        for number in tokenizer(["" if text is None else text for text in texts[start : start + _BATCH].to_pylist()])
    ]
    return np.array(counts, np.int64)


def load_tokenizer(folder: Path) -> Tokenizer:
    """What counts the tokens of texts with the tokenizer of a model's folder.

    Raises:
        UsageError: the folder holds no tokenizer, or transformers is not installed.
    """
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise UsageError("--tokenizer needs transformers: pip install 'cxr-instruct[metrics]'") from None
    if not folder.is_dir():
        raise UsageError(f"--tokenizer {folder}: no such folder; expected that of a model, with its tokenizer")
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"--tokenizer {folder}: holds no tokenizer: {str(error).splitlines()[0]}") from None

    def count(texts: list[str]) -> list[int]:
        return [len(tokens) for tokens in tokenizer(texts, add_special_tokens=False)["input_ids"]]

    return count


def summarize(lengths: Lengths) -> dict[str, Any]:
    """Mean, quantiles and histogram of lengths; the histogram has a class per edge of :data:`EDGES`."""
    if not len(lengths):
        return {"mean": None, "median": None, "p95": None, "max": None, "histogram": [0] * len(EDGES)}
    classes = np.searchsorted(EDGES, lengths, side="right") - 1
    return {
        "mean": round(float(lengths.mean()), 4),
        "median": float(np.median(lengths)),
        "p95": float(np.quantile(lengths, 0.95, method="higher")),
        "max": int(lengths.max()),
        "histogram": np.bincount(classes, minlength=len(EDGES)).tolist(),
    }
