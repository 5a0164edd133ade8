"""The event log of a trace: the least that must be recorded while the model runs. Records are built from it later."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from itertools import accumulate
from typing import Any, ClassVar, TypeAlias

from costmodel.graph import (
    REPRESENTATIVE,
    Arguments,
    CapturedLayer,
    ModuleCall,
    ModuleInfo,
    Note,
    OpCall,
    Storage,
    TensorSpec,
)
from costmodel.records import dataclass

Bind: TypeAlias = Callable[[Sequence[Any], Mapping[str, Any]], Arguments]
"""An op's arguments by name, from those given by position and those given by keyword."""


@dataclass(slots=True, eq=False)
class OpTemplate:
    """What all ops have in common that were answered from one entry of the dispatch cache."""

    op: str
    bind: Bind
    representative: OpCall | None = field(init=False, default=None)
    """The first of them for which a record was made: the others do the same work."""
    inplace: ClassVar[bool] = False


CachedOp: TypeAlias = tuple[OpTemplate, Sequence[Any], Mapping[str, Any], tuple[TensorSpec, ...], int]
"""An op answered from the dispatch cache: template, positional and keyword arguments, outputs, module call."""
CallStart: TypeAlias = tuple[ModuleInfo | str, int, int, tuple[Any, ...], bool]
"""A module call's start: module (its type, where the model hides it), enclosing call, next op, arguments, mode."""
CallEnd: TypeAlias = tuple[int, Mapping[str, Any] | None, Any, CapturedLayer | None]
"""A module call's end: next op, keyword arguments, outputs, what was captured."""


class EventLog:
    """What happened in one trace, in order. It holds no tensor and no module."""

    def __init__(self) -> None:
        self.modules_by_id: dict[int, ModuleInfo] = {}
        """The module tree by ``id()``, depth first."""
        self.events: list[OpCall | CachedOp] = []
        """Every op."""
        self.call_starts: list[CallStart] = []
        self.call_ends: dict[int, CallEnd] = {}
        """By index of the call."""
        self.module = -1
        """Index of the innermost module call that runs now."""
        self.storage_specs: list[TensorSpec] = []
        """The first tensor on each storage."""
        self.holds_sparse = False
        """Whether any of them is sparse."""
        self.allocated_at: list[int] = []
        """The op that allocated each storage, -1 before the first."""
        self.first_seen_at: dict[int, int] = {}
        """By index of the storage, the op that first takes a tensor that torch has made without an op."""
        self.freed_after: dict[int, int] = {}
        """By index of the storage, the op after which nothing referred to it any more."""
        self.noted: dict[tuple[int, str], None] = {}
        """Module calls in which a figure is a lower bound, and why."""

    def add_note(self, why: str) -> None:
        """Records that a figure of the module that runs now is a lower bound, and why."""
        self.noted[self.module, why] = None

    def add_storage(self, spec: TensorSpec, allocated_at: int) -> None:
        """Gives a tensor a storage of its own."""
        spec.storage = len(self.storage_specs)
        self.holds_sparse |= spec.sparse is not None
        self.storage_specs.append(spec)
        self.allocated_at.append(allocated_at)

    def add_op(self, op: str, args: Arguments, outputs: tuple[TensorSpec, ...], inplace: bool = False) -> None:
        """Records an op that is not answered from the dispatch cache."""
        self.events.append(OpCall(op, args, outputs, self.module, len(self.events), inplace))

    def most_bytes(self) -> int:
        """The most bytes that were alive at once so far, parameters apart."""
        change: dict[int, int] = {}
        for i, (spec, start) in enumerate(zip(self.storage_specs, self.allocated_at, strict=True)):
            if spec.role not in ("parameter", "buffer"):
                change[start] = change.get(start, 0) + spec.nbytes
                if i in self.freed_after:
                    end = self.freed_after[i] + 1
                    change[end] = change.get(end, 0) - spec.nbytes
        return max(accumulate(change[index] for index in sorted(change)), default=0)

    # -- records, made on demand (``costmodel.graph.Recording``) ----------------------------------------------------

    def storages(self) -> list[Storage]:
        """Every allocation, by the index that tensors have of it."""
        return [
            Storage(
                spec.distinct_bytes,
                spec.role,
                self.first_seen_at.get(i, allocated_at),
                self.freed_after.get(i),
            )
            for i, (spec, allocated_at) in enumerate(zip(self.storage_specs, self.allocated_at, strict=True))
        ]

    def modules(self) -> dict[str, ModuleInfo]:
        """The module tree by first name, depth first."""
        return {info.name: info for info in self.modules_by_id.values()}

    def ops(self) -> list[OpCall]:
        """Every op that ran, in order."""
        return [
            event if isinstance(event, OpCall) else _record(index, *event) for index, event in enumerate(self.events)
        ]

    def notes(self) -> list[Note]:
        """Why figures are lower bounds, each reason once for each module."""
        calls = self.calls() if self.noted else []
        found = [Note(calls[module].name if module >= 0 else "", why) for module, why in self.noted]
        return list(dict.fromkeys(found))

    def has_sparse(self) -> bool:
        """Whether any tensor is sparse."""
        return self.holds_sparse

    def tally(self) -> Iterator[tuple[OpCall, int]]:
        """Each op that was not answered from the cache, and a representative of each that was, with their number."""
        times: dict[OpTemplate, int] = {}
        for event in self.events:
            if isinstance(event, OpCall):
                yield event, 1
                continue
            template = event[0]
            if template.representative is None:
                template.representative = _record(REPRESENTATIVE, *event)
            times[template] = times.get(template, 0) + 1
        for template, n in times.items():
            assert template.representative is not None
            yield template.representative, n

    def alike(self) -> list[OpTemplate | None]:
        """The templates of ops that were answered from the cache, where those and their tensors' metadata say all."""
        if any(spec.scale_bytes or spec.stored_bytes is not None for spec in self.storage_specs):
            return [None] * len(self.events)  # the metadata do not say how many bytes lie in memory
        return [
            event[0] if not isinstance(event, OpCall) and _are_distinct(event[1], event[2]) else None
            for event in self.events
        ]

    def calls(self) -> list[ModuleCall]:
        """Every module call, in the order in which they began."""
        calls: list[ModuleCall] = []
        for index, (module, parent, first_op, args, training) in enumerate(self.call_starts):
            within = ""
            if parent >= 0:
                calls[parent].has_calls = True
                within = calls[parent].name
            if isinstance(module, str):
                name, kind, owner = f"{within and within + '.'}<{module}>", module, None
            else:
                name, kind, owner = _name_below(within, module), module.type, module.name
            call = ModuleCall(index, name, kind, parent, first_op, owner, training, args)
            calls.append(call)
            if index in self.call_ends:
                call.end_op, kwargs, call.outputs, captured = self.call_ends[index]
                if kwargs is not None:
                    call.kwargs = kwargs
                if captured is not None:
                    to_spec, found = captured
                    call.layer = to_spec(found)
        if len(self.call_ends) < len(calls):
            self._end_abandoned(calls)
        return calls

    def _end_abandoned(self, calls: list[ModuleCall]) -> None:
        """Ends calls that an exception left, where the model caught it: with the last op inside."""
        ends = [call.first_op for call in calls]
        for index, event in enumerate(self.events, 1):
            module = event.module if isinstance(event, OpCall) else event[-1]
            if module >= 0:
                ends[module] = index
        for call in reversed(calls):
            if call.index not in self.call_ends:
                call.end_op = ends[call.index]
            if call.parent >= 0:
                ends[call.parent] = max(ends[call.parent], ends[call.index])


def _record(
    index: int,
    template: OpTemplate,
    given: Sequence[Any],
    named: Mapping[str, Any],
    outputs: tuple[TensorSpec, ...],
    module: int,
) -> OpCall:
    return OpCall(template.op, template.bind(given, named), outputs, module, index, template.inplace)


def _are_distinct(given: Sequence[Any], named: Mapping[str, Any]) -> bool:
    """Whether no tensor is given twice, or in a list: ``x * x`` reads half of what ``x * y`` does."""
    values = (*given, *named.values()) if named else given
    tensors = [id(value) for value in values if type(value) is TensorSpec]
    return (len(tensors) < 2 or len({*tensors}) == len(tensors)) and list not in map(type, values)


def _name_below(parent: str, module: ModuleInfo) -> str:
    """The name of a module that ``parent`` called: one of its own, where it has several."""
    for name in (module.name, *module.aliases) if module.aliases else ():
        if name.startswith(parent + "."):
            return name
    return module.name
