"""Orders without a random generator: hashes of seed, part and row, so that an order depends on nothing else.

A row left out, or a row more, does not change the order of the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from instruct.mixture.index import MixtureIndex
from instruct.synth.keyed import Draws


def endless_rows(draws: Draws, name: str, candidates: NDArray[np.int64], start: int, count: int) -> NDArray[np.int64]:
    """A piece of the endless series that has every candidate once, in random order, then all again in another one.

    Args:
        draws: key of the order.
        name: what the candidates are rows of.
        candidates: row numbers.
        start: position of the piece's first row, 0 or more.
        count: length of the piece.
    """
    if not count:
        return np.zeros(0, np.int64)
    size = len(candidates)
    rounds = range(start // size, (start + count - 1) // size + 1)
    series = [candidates[np.argsort(draws.bits(f"{name} {number}", candidates), kind="stable")] for number in rounds]
    first = start - rounds.start * size
    return np.concatenate(series)[first : first + count]


def interleave(draws: Draws, names: Sequence[str], counts: Sequence[int]) -> NDArray[np.int64]:
    """Positions of several series, one behind the other, in the order in which they are seen.

    Each series keeps its order and is spread evenly: item k of n comes at a random time in [k/n, (k+1)/n), so every
    stretch has the proportions of the whole.

    Args:
        draws: key of the order.
        names: name of each series.
        counts: length of each series.
    """
    times = [
        (steps + draws.uniform(f"time {name}", steps)) / count
        for name, count in zip(names, counts, strict=True)
        for steps in [np.arange(count, dtype=np.int64)]
        if count
    ]
    return np.argsort(np.concatenate(times), kind="stable") if times else np.zeros(0, np.int64)


def distinct(labels: Sequence[str]) -> list[str]:
    """Labels, a repeated one with its number behind it: two builds may hold the same "[Task] [Dataset]"."""
    seen: dict[str, int] = {}
    names = []
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        names.append(label if seen[label] == 1 else f"{label} #{seen[label]}")
    return names


def epoch_order(index: MixtureIndex, epoch: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Part and row of every draw of an epoch, in order.

    Args:
        index: the mixture.
        epoch: number of the epoch, from 0. What is drawn less than once per epoch goes on where the last one ended.
    """
    names = distinct([part.label for part in index.parts])
    counts = [part.draws for part in index.parts]
    rows = [
        endless_rows(Draws(index.seed, "mixture"), name, part.candidates, epoch * part.draws, part.draws)
        for name, part in zip(names, index.parts, strict=True)
    ]
    order = interleave(Draws(index.seed, "mixture", f"epoch {epoch}"), names, counts)
    return np.repeat(np.arange(len(counts), dtype=np.int32), counts)[order], np.concatenate(rows)[order]
