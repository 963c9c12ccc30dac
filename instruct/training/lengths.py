"""Exact token lengths, image tokens included, from texts and image sizes alone.

How many tokens an image takes depends on the family, its settings and the image's size only. What a processor writes
in the place of an image is asked of it once per size, with a black image. It is then put into a row's text and
tokenized with it, so that newlines around an image merge as they do in training.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from instruct.errors import DataError
from instruct.training.images import REFUSED_IMAGE, ImageFault, image_sizes
from instruct.training.processor import special_tokens
from instruct.training.supervision import (
    TOO_LONG,
    Rendered,
    RowFault,
    Supervision,
    adds_special_tokens,
    supervised_tokens,
)

_CHUNK = 512  # rows a process measures at a time
_WORTH = 4096  # rows that take about as long to measure as a process to start


class Rows(Protocol):
    """Rows by number."""

    def __len__(self) -> int:
        """Number of rows."""

    def __getitem__(self, index: int, /) -> Mapping[str, Any]:
        """A row."""


@dataclass(frozen=True)
class Tokens:
    """A row as token ids.

    Attributes:
        ids: token ids, image tokens included.
        supervised: whether each is learnt.
        closed: whether the last answer ends with a control token, which teaches the model to stop.
    """

    ids: npt.NDArray[np.int64]
    supervised: npt.NDArray[np.bool_]
    closed: bool


@dataclass(frozen=True)
class Fault:
    """A row left out.

    Attributes:
        row: its number in the part.
        id: its ``id``.
        reason: a reason of :class:`RowFault` or :class:`ImageFault`.
        detail: what is wrong.
    """

    row: int
    id: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Measured:
    """What measuring a part gave; arrays have one entry per row of the part, in order.

    Attributes:
        length: tokens, int32; -1 where the row has a fault.
        supervised: supervised tokens, int32; 0 where the row has a fault.
        images: images, int16.
        faults: rows with a fault, by row.
        unclosed: rows whose last answer does not end with a control token.
    """

    length: npt.NDArray[np.int32]
    supervised: npt.NDArray[np.int32]
    images: npt.NDArray[np.int16]
    faults: tuple[Fault, ...]
    unclosed: int


@dataclass(frozen=True)
class _Stand:
    """What stands for an image, with runs of one token shortened to a single one."""

    text: str
    runs: tuple[tuple[int, int], ...]  # where in the text, and how many tokens


class Lengths:
    """Lengths of rows as a processor tokenizes them.

    Args:
        processor: from :func:`instruct.training.processor.load_processor`.
    """

    def __init__(self, processor: Any) -> None:
        self._processor = processor
        self.supervision = Supervision(processor)
        self._stands: dict[tuple[int, int], _Stand | Exception] = {}
        tokens = sorted(special_tokens(processor), key=len, reverse=True)
        self._run = re.compile("(" + "|".join(map(re.escape, tokens)) + r")\1+")
        self._image = re.compile(re.escape(self.supervision.placeholder))

    def __call__(self, row: Mapping[str, Any], sizes: Sequence[tuple[int, int]] | None = None) -> int:
        """Tokens of a row.

        Args:
            row: the row.
            sizes: width and height of its images; read from the files' headers if None.

        Raises:
            RowFault, ImageFault: see :class:`Supervision` and :func:`image_sizes`.
        """
        return len(self.tokens(row, sizes).ids)

    def tokens(self, row: Mapping[str, Any], sizes: Sequence[tuple[int, int]] | None = None) -> Tokens:
        """Token ids of a row, and which of them are supervised; arguments and errors as :meth:`__call__`."""
        return self._tokens(self.supervision.render(row), row, sizes)

    def prompt(self, row: Mapping[str, Any]) -> int:
        """Tokens of the prompt to generate from; errors as :meth:`Supervision.prompt` and :func:`image_sizes`."""
        text = self.supervision.prompt(row)
        return len(self._tokens(Rendered(text, ((len(text), len(text)),), False), row, None).ids)

    def _tokens(self, rendered: Rendered, row: Mapping[str, Any], sizes: Sequence[tuple[int, int]] | None) -> Tokens:
        stands = [
            self._stand(row["id"], index, size)
            for index, size in enumerate(image_sizes(row) if sizes is None else sizes)
        ]
        pieces: list[str] = []
        runs: dict[int, int] = {}
        replaced = []
        length = at = 0
        for found, stand in zip(self._image.finditer(rendered.text), stands, strict=True):
            length += found.start() - at
            pieces += [rendered.text[at : found.start()], stand.text]
            runs.update((length + place, count) for place, count in stand.runs)
            replaced.append((found.start(), found.end(), len(stand.text)))
            length += len(stand.text)
            at = found.end()
        text = "".join([*pieces, rendered.text[at:]])
        encoded = self._processor.tokenizer(
            text,
            add_special_tokens=adds_special_tokens(self._processor, rendered.text),
            return_offsets_mapping=True,
        )
        offsets = np.asarray(encoded["offset_mapping"], dtype=np.int64).reshape(-1, 2)
        supervised = supervised_tokens(rendered, offsets, replaced)
        ids = np.asarray(encoded["input_ids"], dtype=np.int64)
        if runs:
            counts = np.array([runs.get(start, 1) if end > start else 1 for start, end in offsets.tolist()])
            ids, supervised = np.repeat(ids, counts), np.repeat(supervised, counts)
        return Tokens(ids, supervised, rendered.closed)

    def _stand(self, row_id: str, index: int, size: tuple[int, int]) -> _Stand:
        if size not in self._stands:
            try:
                self._stands[size] = self._ask(size)
            except (ValueError, ZeroDivisionError) as error:
                self._stands[size] = error
        found = self._stands[size]
        if isinstance(found, Exception):
            detail = f"{size[0]} x {size[1]} pixels: {type(self._processor).__name__} refuses it: {found}"
            raise ImageFault(row_id, index, REFUSED_IMAGE, detail) from found
        return found

    def _ask(self, size: tuple[int, int]) -> _Stand:
        name = type(self._processor).__name__
        out = self._processor(
            text=[self.supervision.placeholder],
            images=[[Image.new("RGB", size)]],
            return_text_replacement_offsets=True,
        )
        told = out.get("text_replacement_offsets")
        if not told or len(told[0]) != 1:
            raise DataError(f"{name} does not tell what it puts in the place of an image, so no length can be known")
        parts: list[str] = []
        runs: list[tuple[int, int]] = []
        length = at = 0
        text: str = told[0][0]["replacement"]
        for run in self._run.finditer(text):
            parts += [text[at : run.start()], run[1]]
            length += run.start() - at
            runs.append((length, len(run[0]) // len(run[1])))
            length += len(run[1])
            at = run.end()
        return _Stand("".join([*parts, text[at:]]), tuple(runs))


def measure_part(rows: Rows, processor: Any, workers: int = 1, max_length: int | None = None) -> Measured:
    """Measure every row of a part; faults are collected, not raised.

    Args:
        rows: rows by number; they must pickle if there are several workers.
        processor: from :func:`instruct.training.processor.load_processor`.
        workers: processes; no number of them changes the result.
        max_length: rows with more tokens get the fault ``too_long``; None allows any length.

    Raises:
        DataError: the chat template itself is unusable (see :meth:`Supervision.render`).
    """
    ranges = [range(start, min(start + _CHUNK, len(rows))) for start in range(0, len(rows), _CHUNK)]
    workers = min(workers, len(rows) // _WORTH)
    if workers > 1:
        with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_start, initargs=(rows, processor)) as pool:
            parts = list(pool.map(_measure_here, ranges, [max_length] * len(ranges)))
    else:
        lengths = Lengths(processor)
        parts = [_measure(rows, lengths, chunk, max_length) for chunk in ranges]
    return Measured(
        np.concatenate([np.zeros(0, np.int32), *(part.length for part in parts)]),
        np.concatenate([np.zeros(0, np.int32), *(part.supervised for part in parts)]),
        np.concatenate([np.zeros(0, np.int16), *(part.images for part in parts)]),
        tuple(fault for part in parts for fault in part.faults),
        sum(part.unclosed for part in parts),
    )


_HERE: dict[str, Any] = {}  # of a worker process


def _start(rows: Rows, processor: Any) -> None:
    _HERE.update(rows=rows, lengths=Lengths(processor))


def _measure_here(chunk: range, max_length: int | None) -> Measured:
    return _measure(_HERE["rows"], _HERE["lengths"], chunk, max_length)


def _measure(rows: Rows, lengths: Lengths, chunk: Iterable[int], max_length: int | None) -> Measured:
    length, supervised, images, faults = [], [], [], []
    unclosed = 0
    for index in chunk:
        row = rows[index]
        images.append(len(row["images"]))
        try:
            tokens = lengths.tokens(row)
            if max_length is not None and len(tokens.ids) > max_length:
                raise RowFault(row["id"], TOO_LONG, f"{len(tokens.ids)} tokens, more than {max_length}")
        except (RowFault, ImageFault) as fault:
            faults.append(Fault(index, row["id"], fault.reason, fault.detail))
            length.append(-1)
            supervised.append(0)
            continue
        length.append(len(tokens.ids))
        supervised.append(int(tokens.supervised.sum()))
        unclosed += not tokens.closed
    return Measured(
        np.array(length, np.int32),
        np.array(supervised, np.int32),
        np.array(images, np.int16),
        tuple(faults),
        unclosed,
    )
