"""Shares: a build in pieces, each made by a process of its own, on any machine, with nothing between them but files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from instruct.errors import DataError, UsageError

# Lines of a message.
_SHOWN = 10


@dataclass(frozen=True)
class Share:
    """Which jobs of a plan a process runs: every ``total``-th, beginning with the ``number``-th.

    Attributes:
        number: 1 to ``total``; 0 takes none.
        total: how many pieces there are.
    """

    number: int = 1
    total: int = 1

    @classmethod
    def parse(cls, text: str) -> Share:
        """The share that ``3/16`` means.

        Raises:
            UsageError: it is not of this form, or there is no such piece.
        """
        match = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
        share = cls(*map(int, match.groups())) if match else cls(0)
        if not 1 <= share.number <= share.total:
            raise UsageError(f"--shard {text}: expected I/N with I from 1 to N, such as 3/16")
        return share

    def takes(self, position: int) -> bool:
        """Whether the job at a position of the plan, from 0, is one of the share."""
        return position % self.total == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"


class LackingShardsError(DataError):
    """Shards that others were to make are not there.

    Args:
        lacking: names of their jobs.
        total: how many jobs the plan has.
    """

    def __init__(self, lacking: Sequence[str], total: int) -> None:
        self.lacking, self.total = list(lacking), total
        shown = "; ".join(self.lacking[:_SHOWN]) + (
            f"; and {len(lacking) - _SHOWN:,} more" if len(lacking) > _SHOWN else ""
        )
        super().__init__(
            f"{len(lacking):,} of {total:,} shards are in no piece: {shown}. Run the pieces that are missing again,"
            " with the same recipe, data and release; or `cxr-instruct build`, which makes here what is missing"
        )

    def __reduce__(self) -> tuple[type[LackingShardsError], tuple[list[str], int]]:
        return type(self), (self.lacking, self.total)
