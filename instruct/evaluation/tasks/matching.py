"""The one-to-one matching with the largest total value (assignment problem)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from instruct.evaluation.metric import Values


def best_matching(values: Values) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the assignment of largest total value, min(rows, columns) pairs.

    The shortest-augmenting-path form of the Hungarian method, O(n²·m).

    Args:
        values: shape (rows, columns), finite.
    """
    flipped = values.shape[0] > values.shape[1]
    cost = -(values.T if flipped else values)
    n, m = cost.shape
    row_price, column_price = np.zeros(n + 1), np.zeros(m + 1)
    owner = np.zeros(m + 1, dtype=np.intp)
    for row in range(1, n + 1):
        owner[0] = row
        column = 0
        least = np.full(m + 1, np.inf)
        used = np.zeros(m + 1, dtype=np.bool_)
        came = np.zeros(m + 1, dtype=np.intp)
        while owner[column]:
            used[column] = True
            here = owner[column]
            reduced = cost[here - 1] - row_price[here] - column_price[1:]
            better = ~used[1:] & (reduced < least[1:])
            least[1:][better] = reduced[better]
            came[1:][better] = column
            free = np.where(used[1:], np.inf, least[1:])
            following = int(free.argmin()) + 1
            step = least[following]
            row_price[owner[used]] += step
            column_price[used] -= step
            least[~used] -= step
            column = following
        while column:
            owner[column] = owner[came[column]]
            column = int(came[column])
    columns = np.flatnonzero(owner[1:])
    rows = owner[1:][columns] - 1
    order = np.argsort(rows)
    rows, columns = rows[order], columns[order]
    return (columns, rows) if flipped else (rows, columns)
