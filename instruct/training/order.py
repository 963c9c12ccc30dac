"""The rows of a run in the order of its plan, as a dataset of torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from instruct.mixture.plan import RunPlan
from instruct.mixture.rows import PartRows


class PlannedRows(torch.utils.data.Dataset):  # type: ignore[misc]
    """Draw ``i`` of a plan, read when it is asked for.

    Args:
        plan: the plan.
        rows: per part, its rows.
    """

    def __init__(self, plan: RunPlan, rows: Sequence[PartRows]) -> None:
        self._plan, self._rows = plan, rows

    def __len__(self) -> int:
        """Draws of the run."""
        return len(self._plan)

    def __getitem__(self, draw: int) -> dict[str, Any]:
        """The row of a draw."""
        return self._rows[int(self._plan.part[draw])][int(self._plan.row[draw])]
