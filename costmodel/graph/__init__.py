"""The records of one execution: what ran, on which shapes, inside which module. No torch, no costs.

These records are made on the tracer's hot path, so they are slotted but not ``frozen``, which would double the time
that each takes to build. Nobody changes them once the trace has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from functools import cached_property
from typing import Any, Literal, Protocol, TypeAlias

from costmodel.graph.tensors import (
    ITEMSIZE,
    PER_BYTE,
    Role,
    Sparse,
    TensorSpec,
    channels_last_strides,
    contiguous_strides,
    is_channels_last,
    same_where_it_matters,
    tensors_in,
)
from costmodel.records import dataclass

__all__ = [
    "ITEMSIZE",
    "PER_BYTE",
    "Role",
    "Sparse",
    "TensorSpec",
    "channels_last_strides",
    "contiguous_strides",
    "is_channels_last",
    "same_where_it_matters",
    "tensors_in",
]

Arguments: TypeAlias = dict[str, Any]
"""An op's arguments by its schema's names; tensors are ``TensorSpec``, all else is as it was passed."""


REPRESENTATIVE = -2
"""The index of an op that represents all of its key in the dispatch cache, in this trace and in others."""


@dataclass(slots=True, eq=False)
class OpCall:
    """One aten op that ran."""

    op: str
    """``namespace.name.overload``, as torch prints it."""
    args: Arguments
    outputs: tuple[TensorSpec, ...]
    module: int = -1
    """Index into ``Graph.calls`` of the innermost module call it ran in, -1 outside any."""
    index: int = -1
    inplace: bool = False

    def tensors(self) -> Iterator[tuple[str, TensorSpec]]:
        """Every tensor argument with its name; those of a tensor list as ``name[0]``, ``name[1]`` ..."""
        for name, value in self.args.items():
            if type(value) is TensorSpec:
                yield name, value
            elif type(value) is list:
                for i, item in enumerate(value):
                    if type(item) is TensorSpec:
                        yield f"{name}[{i}]", item


def is_sparse(call: OpCall) -> bool:
    """Whether any argument or output is a sparse tensor."""
    return any(t.sparse for t in call.outputs) or any(t.sparse for _, t in call.tensors())


WantedGradients: TypeAlias = tuple[tuple[bool, ...], bool, bool, tuple[bool, ...]]
"""Whether a layer's backward pass computes the gradient of each of its inputs, of its weights and of its biases; and
whether a gradient arrives at each of its outputs."""


@dataclass(slots=True, eq=False)
class LayerSpec:
    """What a closed form may know of a layer: its type's key and its hyper-parameters."""

    key: str
    hyper: Mapping[str, Any]
    kind: str = ""
    """Its category, one of ``ops.KINDS``, where its biggest op does not say it."""
    is_composite: bool = False
    """Whether it is made of layers that have closed forms of their own, and are listed each by itself."""
    gradients: WantedGradients | None = None
    """In a training step: what is asked for; ``None`` where it is not the same for all weights or biases."""


@dataclass(slots=True, eq=False)
class ModuleCall:
    """One call of one module."""

    index: int
    name: str
    """The qualified name, ``""`` for the model itself."""
    type: str
    parent: int
    """Index of the enclosing call, -1 for the model itself."""
    first_op: int
    owner: str | None = None
    """The key of the module in ``Graph.modules`` (its first name, where it has several); ``None`` for a module that the
    model hides from its tree."""
    training: bool = False
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    """The keyword arguments as they were passed, tensors as ``TensorSpec``, as in ``args``."""
    outputs: Any = None
    """What it returned, tensors as ``TensorSpec``, in the same nesting."""
    end_op: int = -1
    has_calls: bool = False
    """Whether modules were called inside it."""
    layer: LayerSpec | None = None
    """Where a closed form is known for the module's type."""

    @property
    def is_leaf(self) -> bool:
        """Priced as one layer: it has a closed form, and is no composite, or calls no module."""
        return not self.has_calls or (self.layer is not None and not self.layer.is_composite)


CapturedLayer: TypeAlias = tuple[Callable[[Any], LayerSpec], Any]
"""``to_spec`` and its argument: what was read off a module for the closed forms, and what makes a record of it."""


@dataclass(slots=True, eq=False)
class Storage:
    """One allocation."""

    nbytes: int
    role: Role
    allocated_at: int
    """The op that allocated it, -1 before the first."""
    freed_after: int | None = None
    """The op after which nothing referred to it any more, None if it lives on."""


@dataclass(slots=True, eq=False)
class ModuleInfo:
    """One module of the tree, called or not."""

    name: str
    type: str
    parameters: tuple[TensorSpec, ...]
    """Those registered on the module itself, shared ones included."""
    buffers: tuple[TensorSpec, ...]
    aliases: tuple[str, ...] = ()
    """Further names under which the same module is registered."""


@dataclass(frozen=True, slots=True)
class Note:
    """Why a figure of this execution is a lower bound."""

    where: str
    """The qualified name of the module, ``""`` for the model itself."""
    why: str
    """A clause that says what is not counted: ``"how many non-zeros the result has depends on values"``."""


class Recording(Protocol):
    """What a trace recorded. ``OpCall`` and ``ModuleCall`` are made of it on demand, as totals need few of them."""

    def modules(self) -> dict[str, ModuleInfo]:
        """The module tree by first name, depth first."""

    def ops(self) -> list[OpCall]:
        """Every op that ran, in order."""

    def calls(self) -> list[ModuleCall]:
        """Every module call, in the order in which they began."""

    def storages(self) -> list[Storage]:
        """Every allocation, by the index that tensors have of it."""

    def notes(self) -> list[Note]:
        """Why figures are lower bounds, where they are for another reason than their op's rule."""

    def has_sparse(self) -> bool:
        """Whether any tensor is sparse."""

    def tally(self) -> Iterable[tuple[OpCall, int]]:
        """Representatives of all ops that ran, with how many each represents: those do the same work."""

    def alike(self) -> Sequence[object]:
        """For each op an object that is the same for all that do and move the same; ``None`` where nothing says so."""


@dataclass(frozen=True, slots=True)
class Records:
    """A recording whose records are all made, as a saved profile has it."""

    of_modules: dict[str, ModuleInfo]
    of_ops: list[OpCall]
    of_calls: list[ModuleCall]
    of_storages: list[Storage]
    of_notes: list[Note] = field(default_factory=list)

    def modules(self) -> dict[str, ModuleInfo]:
        """The module tree by first name, depth first."""
        return self.of_modules

    def ops(self) -> list[OpCall]:
        """Every op that ran, in order."""
        return self.of_ops

    def calls(self) -> list[ModuleCall]:
        """Every module call, in the order in which they began."""
        return self.of_calls

    def storages(self) -> list[Storage]:
        """Every allocation, by the index that tensors have of it."""
        return self.of_storages

    def notes(self) -> list[Note]:
        """Why figures are lower bounds, where they are for another reason than their op's rule."""
        return self.of_notes

    def has_sparse(self) -> bool:
        """Whether any tensor is sparse."""
        return any(is_sparse(op) for op in self.of_ops)

    def tally(self) -> Iterable[tuple[OpCall, int]]:
        """Every op, each for itself."""
        return ((op, 1) for op in self.of_ops)

    def alike(self) -> Sequence[object]:
        """No op says what it has in common with others."""
        return [None] * len(self.of_ops)


@dataclass(eq=False)
class Graph:
    """One execution of one model."""

    model: str
    """The model's class name."""
    recording: Recording = field(repr=False)
    inputs: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    outputs: Any
    execution: Literal["meta", "real"]
    mode: Literal["eval", "train"]
    reason: str = ""
    """Why it was run with real tensors, where it was."""

    @cached_property
    def modules(self) -> dict[str, ModuleInfo]:
        """The module tree by first name, depth first."""
        return self.recording.modules()

    @cached_property
    def ops(self) -> list[OpCall]:
        """Every op that ran, in order."""
        return self.recording.ops()

    @cached_property
    def calls(self) -> list[ModuleCall]:
        """Every module call, in the order in which they began."""
        return self.recording.calls()

    @cached_property
    def storages(self) -> list[Storage]:
        """Every allocation, by the index that tensors have of it."""
        return self.recording.storages()

    @cached_property
    def notes(self) -> list[Note]:
        """Why figures are lower bounds, where they are for another reason than their op's rule."""
        return self.recording.notes()

    def __getstate__(self) -> dict[str, Any]:
        state = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return state | {"recording": Records(self.modules, self.ops, self.calls, self.storages, self.notes)}

    def parameters(self) -> dict[str, TensorSpec]:
        """Distinct parameters by first name. A tensor shared by several modules is one."""
        return self._own_parameters

    @cached_property
    def _own_parameters(self) -> dict[str, TensorSpec]:
        # Kept, as each of several totals asks: eight times 75 ms in a printed table of 10,000 layers.
        return self._distinct("parameters")

    def buffers(self) -> dict[str, TensorSpec]:
        """Distinct buffers by first name."""
        return self._distinct("buffers")

    def _distinct(self, kind: str) -> dict[str, TensorSpec]:
        # One spec is made for each distinct tensor, so identity of specs is identity of tensors.
        seen: dict[int, tuple[str, TensorSpec]] = {}
        for module in self.modules.values():
            for spec in getattr(module, kind):
                seen.setdefault(id(spec), (spec.name, spec))
        return dict(seen.values())
