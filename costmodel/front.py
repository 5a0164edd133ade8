"""The Pareto front: rows that no other undercuts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Flags = np.ndarray[Any, np.dtype[np.bool_]]


def front(columns: Sequence[Any]) -> Flags:
    """Which rows are on the front, where less is better in each column: no other is as small in all, and less in one.

    >>> front([[1, 2, 2, 3], [5, 3, 3, 4]]).tolist()
    [True, True, True, False]
    """
    # Ranks instead of figures: as exact, also of integers of more than 64 bits.
    ranks = np.stack([np.unique(np.asarray(column), return_inverse=True)[1] for column in columns], axis=1)
    order = np.lexsort(ranks.T[::-1])
    ranks = ranks[order]
    is_new = np.concatenate([np.full(min(1, len(ranks)), True), (ranks[1:] != ranks[:-1]).any(axis=1)])
    points = ranks[is_new]
    kept = _front_of_two(points) if points.shape[1] == 2 else _front(points)
    found = np.zeros(len(ranks), dtype=bool)
    found[order] = kept[np.cumsum(is_new) - 1]
    return found


def _front_of_two(points: np.ndarray[Any, Any]) -> Flags:
    """Of distinct points in order: each that is lower than all before it."""
    lowest = np.minimum.accumulate(points[:, 1])
    return np.concatenate([np.full(min(1, len(points)), True), points[1:, 1] < lowest[:-1]])


def _front(points: np.ndarray[Any, Any]) -> Flags:
    """Of distinct points in order: the first is on the front, and so is the first of those that it leaves."""
    kept, rest = np.zeros(len(points), dtype=bool), np.arange(len(points))
    while len(rest):
        kept[rest[0]] = True
        rest = rest[(points[rest] < points[rest[0]]).any(axis=1)]
    return kept
