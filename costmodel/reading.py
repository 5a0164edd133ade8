"""What other counters look at in a model and its forward: ops as Python calls them, and what modules are. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any

from costmodel.graph import Arguments, Graph, TensorSpec
from costmodel.records import dataclass


@dataclass(slots=True, eq=False)
class ReadOp:
    """One op as it was called, before torch takes it apart."""

    name: str
    """``namespace.name.overload``, as torch prints it."""
    args: Arguments
    """By the schema's names, tensors as ``TensorSpec``."""
    outputs: tuple[TensorSpec, ...]
    first: int
    """Index into ``Graph.ops`` of the first op that it became."""
    end: int
    """One more than that of the last."""
    call: int
    """Index into ``Graph.calls`` of the innermost module call it ran in, -1 outside any."""
    inplace: bool = False
    in_engine: bool = False
    """Whether autograd's engine called it, in a backward pass, and no Python code."""
    differentiated: frozenset[str] = frozenset()
    """The tensor arguments that require a gradient outside of ``torch.no_grad()``, which some kernels ask."""
    inside: list[ReadOp] = field(default_factory=list)
    """The ops that torch took it apart into, where the trace does not record it whole."""

    @property
    def base(self) -> str:
        """Its name without namespace and overload: ``linear``."""
        return self.name.split(".")[1]

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor argument."""
        spec = self.args[name]
        assert isinstance(spec, TensorSpec), (self.name, name)
        return spec.shape

    def leaves(self) -> Iterator[ReadOp]:
        """The ops that it consists of after torch took it apart: itself, where it is recorded whole."""
        if not self.inside:
            yield self
        for op in self.inside:
            yield from op.leaves()


@dataclass(frozen=True, slots=True, eq=False)
class ReadModule:
    """What one module of the tree is."""

    name: str
    """Its first qualified name, the key of ``Reading.modules``."""
    bases: tuple[str, ...]
    """Qualified names of its class and the classes that it derives from, the nearest first."""
    attributes: Mapping[str, Any]
    """Attributes that are numbers, flags, texts, or tuples of those."""
    parameters: Mapping[str, TensorSpec]
    """Those of its whole subtree, distinct ones, by their names in it."""
    masked: frozenset[str]
    """The names of those that a mask of ``torch.nn.utils.prune`` is for."""
    tensors: frozenset[str]
    """The names of its own attributes that are tensors: parameters, buffers, and what it computes and keeps."""
    children: tuple[tuple[str, str], ...]
    """The name under which it holds each child, and the child's key."""

    @property
    def type(self) -> str:
        """The name of its class."""
        return self.bases[0].rpartition(".")[2]


@dataclass(frozen=True, slots=True, eq=False)
class ReadFunction:
    """One call of a Python function."""

    name: str
    """As it is written from ``torch`` on: ``torch.nn.functional.relu``, ``torch.Tensor.add``."""
    args: tuple[Any, ...]
    """Tensors as ``TensorSpec``."""
    kwargs: Mapping[str, Any]
    first: int
    """As of an op."""
    end: int
    call: int
    """Index into ``Graph.calls`` of the innermost module call it ran in, -1 outside any."""

    def argument(self, position: int, name: str) -> Any:
        """What was given by position or by name, or ``None``."""
        return self.args[position] if position < len(self.args) else self.kwargs.get(name)


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """One execution of one model, with what other counters look at."""

    graph: Graph
    ops: tuple[ReadOp, ...]
    """The ops that Python code called, in order."""
    modules: Mapping[str, ReadModule]
    """The module tree by first name, depth first."""
    functions: tuple[ReadFunction, ...]
    """The calls of those Python functions that were looked for, in the order in which they began."""
    kept: tuple[ReadOp, ...] = ()
    """The ops that are in the graph of torch's tracer, if that recorded the forward."""
    differentiates: bool = False
    """Whether the forward differentiates, so that autograd recorded it."""
