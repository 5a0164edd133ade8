"""What a trace writes down while the model runs, as little as it can; records are made of it when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from costmodel.graph import STANDS_FOR_MANY, ModuleCall, ModuleInfo, OpCall, Storage, TensorSpec, Told

if TYPE_CHECKING:
    from costmodel.trace.patterns import Pattern


Again: TypeAlias = tuple["Pattern", list[Any], Mapping[str, Any], tuple[TensorSpec, ...], int]
"""An op that was answered by a pattern: the pattern, the arguments, the outputs, index of the module call."""
Begun: TypeAlias = tuple[ModuleInfo | str, int, int, tuple[Any, ...], bool]
"""A module call that began: the module (its type, where the model hides it), index of the enclosing call, index of the
next op, arguments, mode."""
Ended: TypeAlias = tuple[int, Mapping[str, Any] | None, Any, Told | None]
"""Its end: index of the next op, keyword arguments, outputs, what was captured."""


class Tape:
    """The notes of one trace. Nothing here holds a tensor or a module."""

    def __init__(self) -> None:
        self.infos: dict[int, ModuleInfo] = {}
        """The module tree by the modules' identities, depth first."""
        self.noted: list[OpCall | Again] = []
        self.begun: list[Begun] = []
        self.ended: dict[int, Ended] = {}
        """By index of the call."""
        self.stored: list[TensorSpec] = []
        """The first tensor on each storage."""
        self.born: list[int] = []
        """The op that allocated each storage, -1 before the first."""
        self.met: dict[int, int] = {}
        """By index of the storage, the op before which a tensor was first seen that torch made without an op: it was
        made by then, and not before the first op."""
        self.freed: dict[int, int] = {}
        """By index of the storage, the op after which nothing referred to it any more."""

    def store(self, spec: TensorSpec, born: int) -> None:
        """Notes a storage of its own for a tensor."""
        spec.storage = len(self.stored)
        self.stored.append(spec)
        self.born.append(born)

    def storages(self) -> list[Storage]:
        """Every allocation, by the index that tensors have of it."""
        return [
            Storage(spec.nbytes, spec.role, self.met.get(i, born), self.freed.get(i))
            for i, (spec, born) in enumerate(zip(self.stored, self.born, strict=True))
        ]

    def modules(self) -> dict[str, ModuleInfo]:
        """The module tree by first name, depth first."""
        return {info.name: info for info in self.infos.values()}

    def ops(self) -> list[OpCall]:
        """Every op that ran, in order."""
        return [note if isinstance(note, OpCall) else _op(index, *note) for index, note in enumerate(self.noted)]

    def tally(self) -> Iterator[tuple[OpCall, int]]:
        """Each op that no pattern answered, and the first of each pattern, with how many it stands for."""
        times: dict[Pattern, int] = {}
        for note in self.noted:
            if isinstance(note, OpCall):
                yield note, 1
                continue
            pattern = note[0]
            if pattern.first is None:
                pattern.first = _op(STANDS_FOR_MANY, *note)
            times[pattern] = times.get(pattern, 0) + 1
        for pattern, n in times.items():
            assert pattern.first is not None
            yield pattern.first, n

    def calls(self) -> list[ModuleCall]:
        """Every module call, in the order in which they began."""
        calls: list[ModuleCall] = []
        for index, (module, parent, first_op, args, training) in enumerate(self.begun):
            within = ""
            if parent >= 0:
                calls[parent].has_calls = True
                within = calls[parent].name
            if isinstance(module, str):
                name, kind, owner = f"{within and within + '.'}<{module}>", module, None
            else:
                name, kind, owner = _called_as(module, within), module.type, module.name
            call = ModuleCall(index, name, kind, parent, first_op, owner, training, args)
            calls.append(call)
            if index in self.ended:
                call.end_op, kwargs, call.outputs, told = self.ended[index]
                if kwargs is not None:
                    call.kwargs = kwargs
                if told is not None:
                    tell, taken = told
                    call.layer = tell(call, taken)
        if len(self.ended) < len(calls):
            self._end(calls)
        return calls

    def _end(self, calls: list[ModuleCall]) -> None:
        """Ends those calls that an exception left, and that the model went on after, with the last op inside."""
        ends = [call.first_op for call in calls]
        for index, note in enumerate(self.noted, 1):
            module = note.module if isinstance(note, OpCall) else note[-1]
            if module >= 0:
                ends[module] = index
        for call in reversed(calls):
            if call.index not in self.ended:
                call.end_op = ends[call.index]
            if call.parent >= 0:
                ends[call.parent] = max(ends[call.parent], ends[call.index])


def _op(
    index: int,
    pattern: Pattern,
    given: list[Any],
    named: Mapping[str, Any],
    outputs: tuple[TensorSpec, ...],
    module: int,
) -> OpCall:
    return OpCall(pattern.op, pattern.bind(given, named), outputs, module, index, pattern.inplace)


def _called_as(module: ModuleInfo, parent: str) -> str:
    """The name under which ``parent`` called a module that has several."""
    for name in (module.name, *module.aliases) if module.aliases else ():
        if name.startswith(parent + "."):
            return name
    return module.name
