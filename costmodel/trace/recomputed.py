"""Which module calls of a forward a backward pass makes again, for a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from costmodel.trace.events import CallStart


class Recomputed:
    """The calls that are made again in one backward pass."""

    def __init__(self, starts: list[CallStart], original: dict[int, int], outer: Recomputed | None) -> None:
        self._starts, self._original, self._outer = starts, original, outer
        self.first = len(starts)
        """Index of the first call that begins in it."""
        self._outermost: list[int] = []
        self._resolved = self.first
        self._taken: set[tuple[int, int]] = set()

    def begins(self, call: int, *, is_outermost: bool) -> None:
        """Notes a call, and whether none that is made again encloses it."""
        if is_outermost:
            self._outermost.append(call)

    def resolve(self) -> None:
        """Notes the original of each call so far: it stands inside of what that stands in.

        The enclosing call of an outermost one is that of the node which needs what is computed again. It is inside
        the original, where the checkpoint keeps nothing. Or it is around the original, where one node stands for all
        of a checkpoint, and of several calls of a module the last is made again first. Or another call is around both,
        where the node is of a checkpoint inside the one that runs again.
        """
        starts, original = self._starts, self._original
        inside: dict[int, list[int]] = {}
        for index in range(len(starts) if self._resolved < len(starts) else 0):
            if index not in original:
                inside.setdefault(starts[index][1], []).append(index)
        for index in range(self._resolved, len(starts)):
            module, parent, first_op, args, training = starts[index]
            if index in original:  # of a backward pass inside this one
                continue
            if index not in self._outermost:
                found = self._first_left(inside.get(original.get(parent, -2), ()), index)
            else:
                around = [original.get(call, call) for call in self._enclosing(parent)]
                found = next((call for call in around if starts[call][0] == module), None)
                for call in (*around, -1) if found is None else ():
                    found = self._first_left(self._before(inside.get(call, ())), index)
                    if found is not None:
                        break
            if found is not None:
                original[index] = original.get(found, found)
                if index in self._outermost:
                    starts[index] = module, starts[original[index]][1], first_op, args, training
        self._resolved = len(starts)

    def _before(self, inside: Sequence[int]) -> Iterator[int]:
        if self._outer is not None:  # what the pass around this one has made again, it makes once more
            yield from reversed(range(self._outer.first, self.first))
        yield from reversed(inside)

    def _first_left(self, calls: Iterable[int], index: int) -> int | None:
        module, parent = self._starts[index][:2]
        for call in calls:
            if call < self.first and self._starts[call][0] == module and (parent, call) not in self._taken:
                self._taken.add((parent, call))
                return call
        return None

    def _enclosing(self, call: int) -> Iterator[int]:
        while call >= 0:
            yield call
            call = self._starts[call][1]
