"""Faults of rows, carried out of a loader's workers: torch raises an error anew from its traceback, as one text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from instruct.errors import UserError

_FAULT = "fault"
Batch = dict[str, Any]


class Carrying:
    """A collator whose fault is given in the place of the batch; :func:`raised` raises it in the process that asked.

    Args:
        collator: what makes a batch of rows.
    """

    def __init__(self, collator: Callable[[Sequence[Any]], Batch]) -> None:
        self._collator = collator

    def __call__(self, rows: Sequence[Any]) -> Batch:
        """A batch, or the fault that kept it from being made."""
        try:
            return self._collator(rows)
        except UserError as fault:
            return {_FAULT: fault}


def raised(batches: Iterable[Batch]) -> Iterator[Batch]:
    """The batches of a loader with a :class:`Carrying` collator.

    Raises:
        UserError: of the first batch that could not be made.
    """
    for batch in batches:
        if _FAULT in batch:
            raise batch[_FAULT]
        yield batch
