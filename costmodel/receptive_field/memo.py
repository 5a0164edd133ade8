"""Fields by content, so that what an op makes of the fields it reads is computed once for all blocks that are alike."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from costmodel.receptive_field.paths import Field

_MOST_ENTRIES = 1 << 12
"""Of the tables of a field that is kept: hashing larger ones would take as long as composing them."""
_MOST_KEPT = 1 << 20
"""Entries of all fields that are kept at once: 8 MB."""


class Memo:
    """Each field that occurred, once; and what became of it.

    Of the fields in CoAT-Mini half, in Funnel five in six, are ones that occurred before: it halves the time of the
    former and takes two thirds off that of the latter.
    """

    def __init__(self) -> None:
        self._fields: dict[Hashable, Field] = {}
        self._by_id: dict[int, Field] = {}
        self._answers: dict[Hashable, Field] = {}
        self._entries = 0

    def answer(self, reads: list[Field], rest: Hashable, compute: Callable[[], Field]) -> Field:
        """What ``compute`` returns, which depends on ``rest`` and on the content of the fields ``reads`` alone."""
        if any(id(field) not in self._by_id for field in reads):
            return self.intern(compute())
        key = (*map(id, reads), rest)
        known = self._answers.get(key)
        if known is None:
            known = self.intern(compute())
            if id(known) in self._by_id:
                self._answers[key] = known
        return known

    def intern(self, field: Field) -> Field:
        """The field of the same content that occurred first, or the field itself where its tables are large."""
        if id(field) in self._by_id:
            return field
        entries = sum(path.low.size for paths in field for path in paths)
        if entries > _MOST_ENTRIES:
            return field
        content = tuple(
            tuple(
                (
                    path.low.shape, path.low.tobytes(), path.high.tobytes(), tuple(path.axis_dims.items()), path.kind,
                    path.adaptive, path.notes,
                )
                for path in paths
            )
            for paths in field
        )  # fmt: skip
        known = self._fields.get(content)
        if known is not None:
            return known
        if self._entries > _MOST_KEPT:
            self._fields.clear()
            self._by_id.clear()
            self._answers.clear()
            self._entries = 0
        self._entries += entries
        self._fields[content] = self._by_id[id(field)] = field
        return field
