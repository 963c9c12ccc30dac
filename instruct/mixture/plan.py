"""The plan of a run: which row is seen when. A pure function: it can be checked, saved, and resumed by position."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instruct.digest import digest_bytes, digest_json
from instruct.errors import DataError
from instruct.mixture.index import MixtureIndex
from instruct.mixture.order import distinct, endless_rows, interleave
from instruct.mixture.quota import decimal, quotas
from instruct.synth.keyed import Draws

# Changes when the same arguments would give another plan.
FORMAT = 1
TOO_LONG, NO_TOKENS, EXCLUDED = "too long", "no tokens", "excluded"


@dataclass(frozen=True)
class RunPlan:
    """The rows of a run in the order they are seen: step ``s`` takes ``[s * global_batch, (s + 1) * global_batch)``.

    Attributes:
        part: number of the part of each draw, ``int32[n]``.
        row: number of the row in its part, ``int64[n]``.
        length: tokens of the row, ``int32[n]``.
        excluded: rows that are never drawn: (part, row, reason) each, by part and row.
        meta: plain data: ``labels``, ``rows`` (candidates per part), ``global_batch``, ``steps``, ``seed``,
            ``max_length``, ``pool``, ``text_apart``, ``index`` (its digest), ``format``.
        digest: of all of the above.
    """

    part: NDArray[np.int32]
    row: NDArray[np.int64]
    length: NDArray[np.int32]
    excluded: tuple[tuple[int, int, str], ...]
    meta: dict[str, Any]
    digest: str

    def __len__(self) -> int:
        """Draws."""
        return len(self.part)

    @property
    def steps(self) -> int:
        """Global batches."""
        return int(self.meta["steps"])

    def save(self, folder: Path, index: MixtureIndex | None = None) -> Path:
        """Write the plan into a folder; see :func:`instruct.mixture.saved_plan.save_plan`."""
        from instruct.mixture.saved_plan import save_plan

        return save_plan(self, folder, index)

    @classmethod
    def load(cls, folder: Path) -> RunPlan:
        """Read a saved plan; see :func:`instruct.mixture.saved_plan.load_plan`."""
        from instruct.mixture.saved_plan import load_plan

        return load_plan(folder)

    def padding_waste(self, micro_batch: int) -> float:
        """Share of padding when consecutive rows make micro-batches, each as long as its longest row; 0-1."""
        return padding_waste(self.length, micro_batch)

    def report(self, images: Sequence[NDArray[Any]] | None = None) -> list[dict[str, Any]]:
        """What the run sees of each part.

        Args:
            images: per part and row of its shards, the number of images.

        Returns:
            Per part: ``label``, ``rows`` that may be drawn, ``excluded`` of them, ``draws``, ``repeats`` (draws per
            row that is not excluded), ``tokens``, and ``images`` where their numbers are given.
        """
        number = len(self.meta["labels"])
        draws = np.bincount(self.part, minlength=number)
        tokens = np.bincount(self.part, weights=self.length, minlength=number)
        excluded = Counter(part for part, _, _ in self.excluded)
        table = []
        for part, (label, rows) in enumerate(zip(self.meta["labels"], self.meta["rows"], strict=True)):
            left = rows - excluded[part]
            line = {
                "label": label,
                "rows": rows,
                "excluded": excluded[part],
                "draws": int(draws[part]),
                "repeats": round(float(draws[part] / left), 4) if left else 0.0,
                "tokens": int(tokens[part]),
            }
            if images is not None:
                line["images"] = int(images[part][self.row[self.part == part]].sum())
            table.append(line)
        return table


def padding_waste(lengths: NDArray[np.int32], micro_batch: int) -> float:
    """Share of padding when consecutive rows make micro-batches, each as long as its longest row; 0-1."""
    starts = np.arange(0, len(lengths), micro_batch)
    sizes = np.diff(np.append(starts, len(lengths)))
    padded = int((np.maximum.reduceat(lengths.astype(np.int64), starts) * sizes).sum())
    return 1 - int(lengths.sum(dtype=np.int64)) / padded if padded else 0.0


def plan_run(
    index: MixtureIndex,
    lengths: Sequence[NDArray[np.int32]],
    *,
    global_batch: int,
    steps: int | None = None,
    epochs: float | None = None,
    seed: int = 0,
    max_length: int | None = None,
    pool: int = 32,
    text_only: Sequence[NDArray[np.bool_]] | None = None,
    reasons: Sequence[Mapping[int, str]] | None = None,
) -> RunPlan:
    """Order the rows of a run.

    Each part gives draws in proportion to those of the mixture and to the share of its rows that are not excluded, so
    that a row is drawn as often as the mixture says whatever is excluded beside it. A part's rows all come once before
    one comes again. Parts are spread evenly over the run; within ``pool`` global batches, rows are sorted by length and
    the batches shuffled, so that what is padded together is alike.

    Args:
        index: the mixture.
        lengths: per part and row of its shards, tokens with image tokens; −1 for a row that must not be drawn.
        global_batch: rows of an optimizer step, over all processes and accumulation, 1 or more.
        steps: optimizer steps; or else
        epochs: draws of the mixture (default 1), rounded up to whole steps.
        seed: key of the order.
        max_length: longer rows are excluded; None for no limit.
        pool: global batches within which rows are sorted by length; 1 or more.
        text_only: per part and row, whether it has no image; if given, no step has both kinds.
        reasons: per part, why a row of length −1 is excluded.

    Returns:
        The plan, the same on every machine.

    Raises:
        DataError: nothing is left to draw.
        ValueError: the arguments do not fit each other.
    """
    draws = [part.draws for part in index.parts]
    labels = [part.label for part in index.parts]
    candidates = [part.candidates for part in index.parts]
    if [len(length) for length in lengths] != [part.size for part in index.parts]:
        raise ValueError("lengths must have an array per part of the index, with a number per row of its shards")
    if steps is not None and epochs is not None:
        raise ValueError("steps and epochs contradict each other")
    excluded: list[tuple[int, int, str]] = []
    usable: list[NDArray[np.int64]] = []
    for part, (rows, length) in enumerate(zip(candidates, lengths, strict=True)):
        good = (length[rows] > 0) & (length[rows] <= (np.iinfo(np.int32).max if max_length is None else max_length))
        usable.append(rows[good])
        if draws[part]:
            told = reasons[part] if reasons is not None else {}
            excluded += [(part, row, _reason(int(length[row]), row, told)) for row in rows[~good].tolist()]
    kinds = _kinds(usable, text_only)
    masses = [
        [
            Fraction(drawn * len(rows), max(len(all_), 1))
            for drawn, rows, all_ in zip(draws, kind, candidates, strict=True)
        ]
        for kind in kinds
    ]
    if not any(map(any, masses)):
        raise DataError(_nothing_left(sum(map(len, candidates)), excluded))
    totals = [sum(mass, Fraction(0)) for mass in masses]
    if steps is not None:
        steps_of = quotas(steps, totals)
    else:
        steps_of = [ceil(total * decimal(float(1 if epochs is None else epochs)) / global_batch) for total in totals]
    key = Draws(seed, "plan", str(index.seed))
    names = distinct(labels)
    orders = [
        _order(
            key.child(f"kind {number}"), names, kind, lengths, quotas(batches * global_batch, mass), global_batch, pool
        )
        for number, (kind, mass, batches) in enumerate(zip(kinds, masses, steps_of, strict=True))
    ]
    turns = interleave(key, [f"kind {number}" for number in range(len(kinds))], steps_of)
    part_of = np.concatenate([part for part, _ in orders])[turns].reshape(-1)
    row_of = np.concatenate([row for _, row in orders])[turns].reshape(-1)
    length_of = np.zeros(len(part_of), np.int32)
    for part, length in enumerate(lengths):
        here = part_of == part
        length_of[here] = length[row_of[here]]
    meta = {
        "format": FORMAT,
        "index": index.digest,
        "labels": labels,
        "rows": [len(rows) for rows in candidates],
        "global_batch": global_batch,
        "steps": sum(steps_of),
        "seed": seed,
        "max_length": max_length,
        "pool": pool,
        "text_apart": text_only is not None,
    }
    return RunPlan(
        part_of, row_of, length_of, tuple(excluded), meta, plan_digest(part_of, row_of, length_of, excluded, meta)
    )


def plan_digest(
    part: NDArray[np.int32],
    row: NDArray[np.int64],
    length: NDArray[np.int32],
    excluded: Sequence[tuple[int, int, str]],
    meta: Mapping[str, Any],
) -> str:
    """Digest of a plan's content, which no version of a file format changes."""
    arrays = [
        digest_bytes(array.astype(kind).tobytes()) for array, kind in ((part, "<i4"), (row, "<i8"), (length, "<i4"))
    ]
    return digest_json([*arrays, [list(line) for line in excluded], dict(meta)])


def _reason(length: int, row: int, told: Mapping[int, str]) -> str:
    if length < 0:
        return told.get(row, EXCLUDED)
    return NO_TOKENS if length == 0 else TOO_LONG


def _kinds(
    usable: Sequence[NDArray[np.int64]], text_only: Sequence[NDArray[np.bool_]] | None
) -> list[list[NDArray[np.int64]]]:
    """The usable rows, of all parts together; or those with images and those without."""
    if text_only is None:
        return [list(usable)]
    is_text = [text[rows] for rows, text in zip(usable, text_only, strict=True)]
    return [[rows[text == kind] for rows, text in zip(usable, is_text, strict=True)] for kind in (False, True)]


def _order(
    key: Draws,
    names: Sequence[str],
    rows: Sequence[NDArray[np.int64]],
    lengths: Sequence[NDArray[np.int32]],
    counts: Sequence[int],
    global_batch: int,
    pool: int,
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Part and row of each draw, ``[steps, global_batch]``."""
    drawn = [endless_rows(key, name, some, 0, count) for name, some, count in zip(names, rows, counts, strict=True)]
    time = interleave(key, names, counts)
    part = np.repeat(np.arange(len(counts), dtype=np.int32), counts)[time]
    row = np.concatenate(drawn)[time]
    length = np.concatenate([some[of] for some, of in zip(lengths, drawn, strict=True)])[time]
    pools = np.arange(len(part)) // (pool * global_batch)
    by_length = np.lexsort((length, pools)).reshape(-1, global_batch)
    steps = np.arange(len(by_length), dtype=np.int64)
    shuffled = np.lexsort((key.bits("batches", steps), steps // pool))
    order = by_length[shuffled]
    return part[order], row[order]


def _nothing_left(rows: int, excluded: Sequence[tuple[int, int, str]]) -> str:
    counts: Iterator[str] = (
        f"{reason} {number:,}" for reason, number in Counter(r for _, _, r in excluded).most_common()
    )
    return f"nothing is left to draw: of {rows:,} rows, {len(excluded):,} are excluded ({', '.join(counts) or 'none'})"
