"""What a layer's backward pass costs, and what its forward keeps for it.

A backward pass computes the gradients that are asked for, and no others: of a layer's inputs where something before it
is learnt, of its weight and its bias where these are. Adding up the gradients of a tensor that several layers use is
no layer's work, and is not counted here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import field
from typing import ClassVar, TypeAlias

from costmodel.quantities import Count, Work
from costmodel.records import dataclass
from costmodel.shown import Shown


@dataclass(frozen=True, kw_only=True, slots=True)
class Needs:
    """Which gradients are asked for.

    >>> Needs(inputs=(True, False)).input(1)
    False
    """

    inputs: bool | tuple[bool, ...] = True
    """That of the input; of a layer that takes several tensors, that of each, in order."""
    weight: bool = True
    """That of the weight, or of all the weights of a layer that has several."""
    bias: bool = True
    """That of the bias, or of all the biases."""
    outputs: tuple[bool, ...] = (True,)
    """Whether a gradient arrives at each output, in order; at those that are left out, none does."""
    lies_as_output: bool = False
    """Whether the gradient that arrives lies in memory in the order of the output, where that is another than its
    shape's."""

    def input(self, index: int = 0) -> bool:
        """Whether the gradient of this input is asked for."""
        return self.inputs if isinstance(self.inputs, bool) else self.inputs[index]

    requires_grad: bool | None = None
    """Whether the weight requires a gradient, though none is asked for where autograd is off; ``None``: if one is."""

    @property
    def is_folded(self) -> bool:
        """Whether torch takes the rows of several matrices as one, for a weight that requires a gradient."""
        return self.weight if self.requires_grad is None else self.requires_grad

    def output(self, index: int) -> bool:
        """Whether a gradient arrives at this output."""
        return index < len(self.outputs) and self.outputs[index]

    @property
    def any_input(self) -> bool:
        """Whether the gradient of any input is asked for."""
        return self.inputs if isinstance(self.inputs, bool) else any(self.inputs)


@dataclass(frozen=True, slots=True)
class Saved:
    """A tensor that autograd keeps from the forward to the backward pass."""

    tensor: str
    """``"input"``, of several ``"input 0"``, ``"input 1"`` ..., where a view of one is that one; ``"output"``; or the
    name of a tensor that the layer makes for this: a mask, indices, a mean. Parameters and buffers are not listed."""
    elements: Count
    itemsize: int | None = None
    """Bytes of an element; ``None``: those of an element of the layer's input."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BackwardCost(Shown):
    """The cost of one layer's backward pass, every kernel of its own reading and writing whole tensors."""

    view: ClassVar[str] = "backward cost"

    read: Count = 0
    """Elements read."""
    written: Count = 0
    """Elements written."""
    work: Work = field(default_factory=Work)
    """Arithmetic by kind."""
    saved: tuple[Saved, ...] = ()
    """What is kept for it, each tensor once."""
    saved_weights: Count = 0
    """Elements of weights that are kept as well: parameters, unless autocast has cast them."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.work.macs

    @property
    def flops(self) -> int:
        """Arithmetic operations, a multiply-accumulate being two."""
        return self.work.flops

    @property
    def memory_access(self) -> Count:
        """Elements read plus elements written."""
        return self.read + self.written

    def saved_bytes(self, itemsize: int = 4) -> Count:
        """Bytes of what is kept, where an element of the layer's input has ``itemsize``."""
        total: Count = 0
        for kept in self.saved:
            total = total + kept.elements * (itemsize if kept.itemsize is None else kept.itemsize)
        return total

    def times(self, factor: Count) -> BackwardCost:
        """Every count times ``factor``."""
        kept = tuple(Saved(s.tensor, s.elements * factor, s.itemsize) for s in self.saved)
        return BackwardCost(
            read=self.read * factor,
            written=self.written * factor,
            work=self.work.times(factor),
            saved=kept,
            saved_weights=self.saved_weights * factor,
        )

    def __add__(self, other: BackwardCost) -> BackwardCost:
        """Both; what both keep under one name is one tensor."""
        names = {kept.tensor for kept in self.saved}
        return BackwardCost(
            read=self.read + other.read,
            written=self.written + other.written,
            work=self.work + other.work,
            saved=(*self.saved, *(kept for kept in other.saved if kept.tensor not in names)),
            saved_weights=self.saved_weights + other.saved_weights,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Extra:
    """What a forward costs more in a training step: torch then takes composite ops apart, and makes what it keeps."""

    read: Count = 0
    """Elements read."""
    written: Count = 0
    """Elements written."""
    work: Work = field(default_factory=Work)
    """Arithmetic by kind."""

    @property
    def memory_access(self) -> Count:
        """Elements read plus elements written."""
        return self.read + self.written

    def __add__(self, other: Extra) -> Extra:
        """Both."""
        return Extra(read=self.read + other.read, written=self.written + other.written, work=self.work + other.work)

    def times(self, factor: Count) -> Extra:
        """Every count times ``factor``."""
        return Extra(read=self.read * factor, written=self.written * factor, work=self.work.times(factor))


WhenTrained: TypeAlias = Callable[[Needs], Extra]
"""What a layer's forward costs more in a training step, by the gradients that are asked for. A function of a module, or
a ``partial`` of one."""


def always(extra: Extra, _: Needs) -> Extra:
    """The same, whichever gradients are asked for."""
    return extra


def together(parts: Iterable[WhenTrained], needs: Needs) -> Extra:
    """What several layers cost more, of which each but the first has inputs that are learnt."""
    return sum((part(needs) for part in parts), Extra())


def and_more(when_trained: WhenTrained | None, more: Extra, needs: Needs) -> Extra:
    """Further kernels, whichever gradients are asked for."""
    return more if when_trained is None else when_trained(needs) + more


Gradient: TypeAlias = Callable[[Needs], BackwardCost]
"""A layer's backward pass by the gradients that are asked for. A function of a module, or a ``partial`` of one, so that
what holds it can be pickled."""

NOTHING = BackwardCost()
"""The backward pass of what computes nothing."""


def free(_: Needs) -> BackwardCost:
    """The gradient of a layer whose backward pass moves and computes nothing, as that of a view."""
    return NOTHING


def of_input(cost: BackwardCost, needs: Needs) -> BackwardCost:
    """The gradient of a layer of one input and no parameters: this cost, where it is asked for at all."""
    return cost if needs.any_input else NOTHING


def around_a_view(*, view: Count, whole: Count, inputs: bool = True) -> BackwardCost:
    """What autograd copies around the gradient of a layer that writes over a view, in elements of it and of the whole.

    The gradient of the view is copied into zeros of the whole, and that copied again; then the view's part is copied
    out for the layer's own gradient, and that copied back where the gradient of what was written over is asked for.
    """
    back = view if inputs else 0
    return BackwardCost(read=view + whole + view + back, written=whole + view + whole + view + back)


def times(gradient: Gradient, factor: Count, needs: Needs) -> BackwardCost:
    """A gradient, ``factor`` times."""
    return gradient(needs).times(factor)


def extra_times(when_trained: WhenTrained, factor: Count, needs: Needs) -> Extra:
    """What a forward costs more, ``factor`` times."""
    return when_trained(needs).times(factor)
