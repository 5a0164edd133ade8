"""A layer that torch runs as several kernels, and its backward pass: the derivative of each, in reverse.

A definition is run once for what the forward costs, and once for each set of gradients that is asked for. Gradients of
a tensor with several uses are added up by no layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

from costmodel.formulas._arguments import holds_everywhere
from costmodel.formulas._kernels import Shape, broadcast
from costmodel.formulas.cost import NO_WORK, LayerCost
from costmodel.formulas.gradient import BackwardCost, Extra, Needs, Saved
from costmodel.quantities import Count, Work, prod
from costmodel.records import dataclass


@dataclass(eq=False, slots=True)
class Storage:
    """What lies in memory under a tensor and its views."""

    name: str | None
    """``None``: a parameter's or a buffer's, of which autograd's keeping costs nothing."""
    elements: Count
    itemsize: int | None = None


@dataclass(eq=False, slots=True)
class Tensor:
    """A tensor without its values."""

    shape: Shape
    storage: Storage
    wanted: bool = False
    """Whether its gradient is asked for, or that of something it is computed from."""
    arrived: Count | None = None
    """Elements of the gradient that has arrived, an expanded one's counted once; ``None``: none has."""
    is_part: bool = False
    """Whether it is a part of its storage."""

    @property
    def size(self) -> Count:
        """Elements."""
        return prod(self.shape)

    @property
    def stored(self) -> Count:
        """Elements that a kernel reads: those of an expanded tensor once."""
        return self.size if self.is_part else self.storage.elements


Back: TypeAlias = Callable[[Count], None]


class Tape:
    """The kernels of one layer as they run, and what leads back through them."""

    def __init__(self, needs: Needs, *, is_trained: bool = True) -> None:
        self._needs = needs
        self.is_trained = is_trained
        """Whether it runs in a training step, where torch takes composite ops apart."""
        self._read: Count = 0
        self._written: Count = 0
        self._work = NO_WORK
        self._steps: list[tuple[Tensor, Back]] = []
        self._kept: list[Storage] = []
        self._names: set[str] = set()

    # -- what a layer is given ----------------------------------------------------------------------------------------

    def input(self, shape: Sequence[Count], index: int | None = None, *, itemsize: int | None = None) -> Tensor:
        """The input of that number; ``None``: a layer's only one."""
        name = "input" if index is None else f"input {index}"
        wanted = itemsize is None and self._needs.input(index or 0)  # numbers of another kind have no gradient
        return Tensor(tuple(shape), Storage(name, prod(shape), itemsize), wanted)

    def weight(self, *shape: Count) -> Tensor:
        """A weight that is learnt."""
        return Tensor(shape, Storage(None, prod(shape)), self._needs.weight)

    def bias(self, *shape: Count) -> Tensor:
        """A bias that is learnt."""
        return Tensor(shape, Storage(None, prod(shape)), self._needs.bias)

    def buffer(self, *shape: Count) -> Tensor:
        """What is neither learnt nor an input, such as the weights of classes."""
        return Tensor(shape, Storage(None, prod(shape)))

    # -- kernels ------------------------------------------------------------------------------------------------------

    def run(self, *, read: Count, written: Count, work: Work = NO_WORK) -> None:
        """One kernel, forward or backward."""
        self._read = self._read + read
        self._written = self._written + written
        self._work = self._work + work

    def make(self, shape: Shape, name: str, *of: Tensor, itemsize: int | None = None) -> Tensor:
        """A tensor computed from others, without the kernel."""
        n, unique = 1, name
        while unique in self._names:
            n, unique = n + 1, f"{name} {n + 1}"
        self._names.add(unique)
        return Tensor(tuple(shape), Storage(unique, prod(shape), itemsize), any(x.wanted for x in of))

    def each(self, name: str, *read: Tensor, work: Work = NO_WORK, itemsize: int | None = None) -> Tensor:
        """A kernel that computes one element at each position of the tensors that it reads, which are broadcast."""
        distinct = list(dict.fromkeys(read))
        y = self.make(broadcast(*(x.shape for x in read)), name, *read, itemsize=itemsize)
        self.run(read=sum(x.stored for x in distinct), written=y.size, work=work.times(y.size))
        return y

    def derive(
        self,
        y: Tensor,
        of: Tensor,
        *read: Tensor,
        each: Work = NO_WORK,
        once: Work = NO_WORK,
        shape: Shape | None = None,
    ) -> None:
        """The gradient of one input by one kernel, from that of ``y`` and from tensors that are kept for it.

        ``shape`` is that of the kernel's result, by default that of ``y``; where the input was broadcast to it, a
        second kernel adds up.
        """
        made = y.shape if shape is None else shape

        def back(g: Count) -> None:
            self.run(
                read=g + sum(x.stored for x in read), written=prod(made), work=each.times(prod(made)) + once
            )  # fmt: skip
            self.give(of, prod(made), made)

        self.back(y, of, back, keeps=read)

    def back(self, y: Tensor, of: Tensor, kernels: Back, *, keeps: Sequence[Tensor] = ()) -> None:
        """The gradient of one input by several kernels, which ``kernels`` runs; it calls ``give``."""
        if of.wanted:
            self.keep(*keeps)
            self._steps.append((y, kernels))

    def keep(self, *tensors: Tensor) -> None:
        """Tensors that a backward pass reads."""
        self._kept += [x.storage for x in tensors if x.storage not in self._kept]

    def give(self, x: Tensor, elements: Count, shape: Shape) -> None:
        """A gradient of this shape arrives at a tensor, which may have been broadcast to it."""
        if not x.wanted:
            return
        if not _same(x.shape, shape):
            size = prod(shape)
            adds = 0 if isinstance(size, int) and size == 0 else size - x.size  # the sum of nothing is no arithmetic
            self.run(read=elements, written=x.size, work=Work(adds=adds))
            elements = x.size
        x.arrived = elements if x.arrived is None else x.size

    # -- results ------------------------------------------------------------------------------------------------------

    def cost(self, output: Tensor, kind: str = "other") -> LayerCost:
        """The layer, which returns this tensor."""
        return LayerCost(
            kind=kind,
            output_shape=output.shape,
            output_size=output.shape[2:],
            read=self._read,
            written=self._written,
            work=self._work,
        )

    def backward(self, output: Tensor, *others: Tensor) -> BackwardCost:
        """The backward pass from tensors at which gradients arrive, after which this tape is used up."""
        self._read, self._written, self._work = 0, 0, NO_WORK
        for y in (output, *others):
            y.arrived = y.size
        if output.storage.name not in (None, "input"):
            output.storage.name = "output"
        for y, kernels in reversed(self._steps):
            if y.arrived is not None:
                kernels(y.arrived)
        saved = tuple(Saved(s.name, s.elements, s.itemsize) for s in self._kept if s.name is not None)
        return BackwardCost(read=self._read, written=self._written, work=self._work, saved=saved)


Definition: TypeAlias = Callable[..., Tensor]
"""Runs a layer's kernels on a tape, its first argument, and returns its output. A function of a module."""

_NOTHING = Needs(inputs=False, weight=False, bias=False)


def defined(definition: Definition, *arguments: Any, kind: str = "other") -> LayerCost:
    """The layer that a definition computes from these arguments, and its backward pass."""
    tape = Tape(_NOTHING, is_trained=False)
    cost = tape.cost(definition(tape, *arguments), kind)
    return replace(
        cost,
        gradient=partial(_backward, definition, arguments),
        when_trained=partial(_extra, definition, arguments, cost),
    )


def _extra(definition: Definition, arguments: tuple[Any, ...], cost: LayerCost, needs: Needs) -> Extra:
    tape = Tape(needs)
    trained = tape.cost(definition(tape, *arguments))
    return difference(trained, cost)


def difference(trained: LayerCost, cost: LayerCost) -> Extra:
    """What a forward costs more in a training step."""
    return Extra(
        read=trained.read - cost.read,
        written=trained.written - cost.written,
        work=trained.work + cost.work.times(-1),
    )


def _backward(definition: Definition, arguments: tuple[Any, ...], needs: Needs) -> BackwardCost:
    tape = Tape(needs)
    return tape.backward(definition(tape, *arguments))


def _same(a: Shape, b: Shape) -> bool:
    return len(a) == len(b) and all(m is n or holds_everywhere(m == n) for m, n in zip(a, b, strict=True))
