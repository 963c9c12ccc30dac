"""Evaluation loss: exact per supervised token, the same for any number of processes and any batch size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from instruct.mixture.index import MixtureIndex
from instruct.mixture.rows import open_rows
from instruct.synth.keyed import Draws
from instruct.training.collate import Collator
from instruct.training.faults import Carrying, raised
from instruct.training.loss import supervised_loss


def choose_rows(index: MixtureIndex, max_rows: int, seed: int) -> list[NDArray[np.int64]]:
    """Rows of each part to evaluate on: at most `max_rows`, always the same ones, ascending."""
    chosen = []
    for part in index.parts:
        rows = part.candidates if part.draws else part.candidates[:0]
        if len(rows) > max_rows:
            order = Draws(seed, "evaluation", part.label, part.config).bits("row", rows)
            rows = np.sort(rows[np.argsort(order, kind="stable")[:max_rows]])
        chosen.append(rows)
    return chosen


class Validation:
    """Evaluates a model on some rows.

    Args:
        index: the rows: its candidates, each once.
        lengths: tokens per part and row, -1 for a row that cannot be used; rows above `max_length` are left out too.
        collator: makes batches.
        batch_size: rows per forward pass of a process.
        max_length: tokens of the longest row.
        workers: loader processes per process.
    """

    def __init__(
        self,
        index: MixtureIndex,
        lengths: Sequence[NDArray[np.int32]],
        collator: Collator,
        *,
        batch_size: int,
        max_length: int,
        workers: int = 0,
    ) -> None:
        self._collator, self._workers = collator, workers
        self._labels = sorted({part.label for part in index.parts if len(part.candidates)})
        self._rows = [open_rows(part) for part in index.parts]
        self._batches: list[tuple[str, int, list[int]]] = []
        for number, (part, length) in enumerate(zip(index.parts, lengths, strict=True)):
            rows = part.candidates
            usable = rows[(length[rows] >= 0) & (length[rows] <= max_length)]
            usable = usable[np.argsort(length[usable], kind="stable")]  # less padding
            for start in range(0, len(usable), batch_size):
                self._batches.append((part.label, number, usable[start : start + batch_size].tolist()))

    def __len__(self) -> int:
        """Batches, over all processes."""
        return len(self._batches)

    def __call__(self, model: Any, accelerator: Any) -> dict[str, Any]:
        """The loss of all rows, and of each '[Task] [Dataset]'; every process must call it.

        Returns:
            ``loss``, ``rows``, ``supervised_tokens``, and ``parts``: label to the same three.
        """
        sums = torch.zeros(len(self._labels), 3, dtype=torch.float64)
        place = {label: number for number, label in enumerate(self._labels)}
        was_training = model.training
        model.eval()
        try:
            with torch.no_grad():
                for label, counted, batch in self._own_batches(accelerator):
                    facts = batch.pop("facts")
                    with accelerator.autocast():
                        loss, _ = supervised_loss(model, batch, 1)
                    if counted:
                        sums[place[label]] += torch.tensor([loss.item(), len(facts.ids), facts.supervised])
        finally:
            model.train(was_training)
        sums = accelerator.reduce(sums.to(accelerator.device), "sum").cpu()
        parts = {label: _summary(sums[place[label]]) for label in self._labels if sums[place[label]][2]}
        return {**_summary(sums.sum(0)), "parts": parts}

    def _own_batches(self, accelerator: Any) -> Iterator[tuple[str, bool, dict[str, Any]]]:
        """This process's batches; all processes get as many, so that none waits for another: the last may not count."""
        from accelerate.utils import send_to_device

        rank, world = accelerator.process_index, accelerator.num_processes
        own = [
            (*self._batches[min(start + rank, len(self._batches) - 1)], start + rank < len(self._batches))
            for start in range(0, len(self._batches), world)
        ]
        loader = torch.utils.data.DataLoader(
            _Rows([[(number, row) for row in rows] for _, number, rows, _ in own], self._rows),
            batch_size=None,
            collate_fn=Carrying(self._collator),
            num_workers=self._workers,
            generator=torch.Generator(),  # the global one belongs to dropout
        )
        for (label, _, _, counted), batch in zip(own, raised(loader), strict=True):
            yield label, counted, send_to_device(batch, accelerator.device)


class _Rows(torch.utils.data.Dataset):  # type: ignore[misc]
    def __init__(self, batches: list[list[tuple[int, int]]], rows: Sequence[Any]) -> None:
        self._batches, self._rows = batches, rows

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, number: int) -> list[dict[str, Any]]:
        return [self._rows[part][row] for part, row in self._batches[number]]


def _summary(sums: Any) -> dict[str, Any]:
    loss, rows, tokens = sums.tolist()
    return {"loss": loss / tokens if tokens else float("nan"), "rows": int(rows), "supervised_tokens": int(tokens)}
