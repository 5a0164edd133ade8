"""Values with the names that have them, in one phrase."""

from __future__ import annotations

from collections.abc import Mapping


def by_value(given: Mapping[str, str]) -> str:
    """Each value with the names that have it; of the most frequent one, last, the names are not listed.

    >>> by_value({"a": "eval", "b": "train", "c": "train"}), by_value({"a": "eval", "b": "train"})
    ('eval for a; train for the others', 'eval for a; train for b')
    >>> by_value({"a": "eval", "b": "eval"}), by_value({})
    ('eval', '')
    """
    having: dict[str, list[str]] = {}
    for name, value in given.items():
        having.setdefault(value, []).append(name)
    if len(having) < 2:
        return "".join(having)
    ordered = sorted(having.items(), key=lambda item: len(item[1]))
    parts = [f"{value} for {', '.join(names)}" for value, names in ordered]
    if len(ordered[-1][1]) > 1:
        parts[-1] = f"{ordered[-1][0]} for the others"
    return "; ".join(parts)
