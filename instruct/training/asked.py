"""The examples that are asked: which rows of a split, in which batches, and the way back to the order of the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from instruct.mixture.index import MixtureIndex
from instruct.mixture.recipe import split_key
from instruct.mixture.rows import open_rows
from instruct.training.predictions import Answer, Line, prediction_line


class AskedRows(Sequence[Mapping[str, Any]]):
    """Candidate rows of a mixture in one split, each once, by part and number; not of parts that it never draws.

    Args:
        index: the mixture in that split.
        max_rows: rows per part, evenly spaced from its first to its last; None for all.
    """

    def __init__(self, index: MixtureIndex, max_rows: int | None = None) -> None:
        self.split = split_key(index.split)
        self._index = index
        self._rows = [open_rows(part) for part in index.parts]
        self._places = [
            (number, int(row))
            for number, part in enumerate(index.parts)
            if part.draws
            for row in _spaced(part.candidates, max_rows)
        ]

    def __len__(self) -> int:
        """How many examples are asked."""
        return len(self._places)

    def __getitem__(self, position: Any) -> Any:
        """The example at a position, with the columns of its shard."""
        part, row = self._places[position]
        return self._rows[part][row]

    @property
    def folders(self) -> list[Path]:
        """Dataset folders of the examples, each once, in order."""
        return list(dict.fromkeys(self.folder(position) for position in range(len(self))))

    def folder(self, position: int) -> Path:
        """Dataset folder of an example."""
        return self._index.parts[self._places[position][0]].folder

    def batches(self, size: int) -> list[list[int]]:
        """Positions in batches of examples of like length, the longest first, so that memory runs out early or never.

        Length is told by the number of images, then by the letters of the prompt: no processor is asked, and the
        batches are the same for every model.
        """
        lengths = [_length(self._rows[part].lean(row)) for part, row in self._places]
        order = sorted(range(len(self)), key=lambda position: (lengths[position], -position), reverse=True)
        return [order[start : start + size] for start in range(0, len(order), size)]

    def line(self, position: int, answer: Answer) -> Line:
        """The prediction line of an answer (see :func:`instruct.training.predictions.prediction_line`)."""
        part, row = self._places[position]
        return prediction_line(self._rows[part].lean(row), self.split, answer)

    def in_order(self, batches: Sequence[Sequence[int]], lines: Mapping[int, Sequence[Line]]) -> list[Line]:
        """Lines by number of batch, put back into the order of the data.

        Raises:
            RuntimeError: a line is missing or too many, which is a defect of this package.
        """
        found = {
            position: line
            for number, members in lines.items()
            for position, line in zip(batches[number], members, strict=True)
        }
        if sorted(found) != list(range(len(self))):
            raise RuntimeError(f"{len(found)} of {len(self)} examples were answered")
        return [found[position] for position in range(len(self))]


def _spaced(rows: Any, number: int | None) -> Any:
    if number is None or number >= len(rows):
        return rows
    return rows[np.linspace(0, len(rows) - 1, number).round().astype(np.int64)]


def _length(row: Mapping[str, Any]) -> tuple[int, int]:
    texts = (part["text"] or "" for turn in row["messages"][:-1] for part in turn["content"])
    return len(row["images"]), sum(map(len, texts))
