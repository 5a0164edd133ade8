"""What a formula returns: the cost of a layer, and of a block, which is named layers.

Counts are declared ``int``, which is what ints give. From NumPy arrays or sympy symbols come arrays and expressions,
exact as well; to a type checker, ``numpy.asarray(cost.macs)`` is an array.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import field, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from costmodel.arguments import short
from costmodel.errors import InputError
from costmodel.formulas import gradient as gradients
from costmodel.formulas._arguments import is_count
from costmodel.formulas.gradient import BackwardCost, Gradient, Needs, WhenTrained
from costmodel.quantities import Count, Work
from costmodel.records import dataclass
from costmodel.shown import Shown

if TYPE_CHECKING:
    from costmodel.formulas._wiring import Wired

NO_WORK = Work()
"""No arithmetic."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerCost(Shown):
    """The cost of one layer. Every count is a Python int, a NumPy array or a sympy expression, as its inputs were.

    ``a + b`` is the cost of both, with the output of ``b``: the sum reads as "a, then b".

    >>> step = LayerCost(kind="add", output_shape=(1, 8), read=16, written=8, work=Work(adds=8))
    >>> (step + step).memory_access, (step + step).flops
    (48, 16)
    """

    view: ClassVar[str] = "layer cost"

    kind: str
    """The category: standard conv, depthwise conv, linear, norm, ..."""
    output_shape: tuple[Count, ...]
    output_size: tuple[Count, ...] = ()
    """The spatial part of the output's shape; () where there is none."""
    read: int
    """Elements read, when each op is a kernel of its own."""
    written: int
    """Elements written, likewise."""
    work: Work = field(default_factory=Work)
    """Arithmetic by kind."""
    params: int = 0
    """Learnt elements."""
    buffers: int = 0
    """Elements kept and not learnt, such as running statistics."""
    activations: int = 0
    """Output elements of convolutions and matrix products; 0 for every other layer."""
    gradient: Gradient | None = field(default=None, compare=False, repr=False)
    """Its backward pass; ``None`` where that has no closed form. ``backward`` calls it."""
    when_trained: WhenTrained | None = field(default=None, compare=False, repr=False)
    """What its forward costs more in a training step; ``None``: nothing."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates, taps on padding included."""
        return self.work.macs

    @property
    def flops(self) -> int:
        """Arithmetic operations, a multiply-accumulate being two."""
        return self.work.flops

    @property
    def memory_access(self) -> int:
        """Elements read plus elements written."""
        return self.read + self.written

    def backward(
        self,
        *,
        inputs: bool | tuple[bool, ...] = True,
        weight: bool = True,
        bias: bool = True,
        outputs: tuple[bool, ...] = (True,),
    ) -> BackwardCost:
        """The cost of the layer's backward pass: the gradients that are asked for, each for each input and parameter.

        Args:
            inputs: whether the gradient of the input is asked for; of each input in order, where there are several.
            weight: whether that of the weight is (of all weights, where there are several).
            bias: whether that of the bias is.
            outputs: of a layer that returns several tensors, at which of them a gradient arrives: by default at the
                first alone.

        Raises ``InputError`` for a layer whose backward pass has no closed form.
        """
        if self.gradient is None:
            raise InputError(
                f"the backward pass of this layer ({self.kind}) has no closed form: quantised layers have no gradient, "
                "those of complex numbers are traced only, and of a sum of layers ask each (LayerCost.backward)"
            )
        return self.gradient(Needs(inputs=inputs, weight=weight, bias=bias, outputs=outputs))

    def __add__(self, other: LayerCost) -> LayerCost:
        return total((self, other))

    def times(self, factor: Count) -> LayerCost:
        """Every count times ``factor``, such as 1 where a sweep's configuration has the layer and 0 elsewhere."""
        if not is_count(factor):
            raise InputError(f"times: factor={short(factor)}: must be a whole number, an array of them or a symbol")
        counts = {name: getattr(self, name) * factor for name in _COUNTS}
        gradient = self.gradient and partial(gradients.times, self.gradient, factor)
        extra = self.when_trained and partial(gradients.extra_times, self.when_trained, factor)
        return replace(self, work=self.work.times(factor), gradient=gradient, when_trained=extra, **counts)

    def parameters_only(self) -> LayerCost:
        """The cost of a layer that does not run: its parameters and buffers."""
        return replace(self, read=0, written=0, activations=0, work=NO_WORK, gradient=gradients.free, when_trained=None)


_COUNTS = ("read", "written", "params", "buffers", "activations")
_KINDS_OF_WORK = Work.__slots__


class Sum:
    """The cost of layers run one after the other, added up as they come: a sweep's layers are large, and not kept."""

    def __init__(self) -> None:
        self._counts: dict[str, Count] = {}
        self._kinds: set[str] = set()
        self._last: LayerCost | None = None

    def add(self, layer: LayerCost) -> None:
        """One more layer."""
        self._last = layer
        self._kinds.add(layer.kind)
        for names, counted in ((_COUNTS, layer), (_KINDS_OF_WORK, layer.work)):
            for name in names:
                count = getattr(counted, name)
                # Most kinds of work are 0 in most layers; adding 0 to a sweep's array would cost as much as an array.
                if not (isinstance(count, int) and count == 0):
                    self._counts[name] = self._counts[name] + count if name in self._counts else count

    def total(self) -> LayerCost:
        """The layers added so far as one; the output is the last one's."""
        if self._last is None:
            raise InputError("layers is empty: a total needs at least one layer")
        return LayerCost(
            kind=self._last.kind if len(self._kinds) == 1 else "other",
            output_shape=self._last.output_shape,
            output_size=self._last.output_size,
            work=Work(**{kind: self._counts.get(kind, 0) for kind in _KINDS_OF_WORK}),
            **{name: self._counts.get(name, 0) for name in _COUNTS},
        )


def total(layers: Iterable[LayerCost]) -> LayerCost:
    """The cost of layers run one after the other; the output is the last one's.

    >>> step = LayerCost(kind="activation", output_shape=(1, 8), read=8, written=8, work=Work(compares=8))
    >>> total([step] * 3).flops
    24
    """
    added = Sum()
    if not isinstance(layers, Iterable):
        raise InputError(f"total: layers are some LayerCosts, such as a list of them, not {short(layers)}")
    for layer in layers:
        if not isinstance(layer, LayerCost):
            raise InputError(f"total: layers are LayerCosts, and one of them is {short(layer)}")
        added.add(layer)
    return added.total()


def as_one(kind: str, *steps: LayerCost, params: Count = 0, buffers: Count = 0) -> LayerCost:
    """Several kernels that make up one layer, under the layer's own kind."""
    whole = total(steps)
    return replace(
        whole,
        kind=kind,
        params=whole.params + params,
        buffers=whole.buffers + buffers,
        when_trained=_of_all(steps),
    )


def _of_all(steps: Iterable[LayerCost]) -> WhenTrained | None:
    trained = [step.when_trained for step in steps if step.when_trained is not None]
    return partial(gradients.together, trained) if trained else None


class HasTotal(ABC):
    """Something with a total cost, whose figures are also its own attributes."""

    __slots__ = ()

    @property
    @abstractmethod
    def total(self) -> LayerCost:
        """The cost as a whole."""

    @property
    def params(self) -> int:
        """Learnt elements."""
        return self.total.params

    @property
    def buffers(self) -> int:
        """Elements kept and not learnt."""
        return self.total.buffers

    @property
    def work(self) -> Work:
        """Arithmetic by kind."""
        return self.total.work

    @property
    def macs(self) -> int:
        """Multiply-accumulates, taps on padding included."""
        return self.total.macs

    @property
    def flops(self) -> int:
        """Arithmetic operations, a multiply-accumulate being two."""
        return self.total.flops

    @property
    def memory_access(self) -> int:
        """Elements read plus elements written."""
        return self.total.memory_access

    @property
    def activations(self) -> int:
        """Output elements of convolutions and matrix products."""
        return self.total.activations

    @property
    def output_shape(self) -> tuple[Count, ...]:
        """The shape that is returned."""
        return self.total.output_shape

    @property
    def output_size(self) -> tuple[Count, ...]:
        """The spatial part of that shape."""
        return self.total.output_size


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockCost(HasTotal, Shown):
    """The layers of a block, each under its name, in the order they run; totals are sums over them."""

    view: ClassVar[str] = "block cost"

    layers: tuple[tuple[str, LayerCost], ...]
    wiring: tuple[Wired, ...] | None = field(default=None, compare=False, repr=False)
    """What each layer takes and makes, views among them; ``None`` where it is not known."""

    @property
    def total(self) -> LayerCost:
        """The sum of the layers."""
        layers = [layer for _, layer in self.layers]
        return replace(total(layers), when_trained=_of_all(layers))

    def backward(self, *, inputs: bool = True) -> BackwardCost:
        """The cost of the block's backward pass, and what is kept for it, each tensor once.

        All its parameters are learnt, and batch norms have their batch's own statistics.

        Args:
            inputs: whether the gradient of the block's input is asked for.

        Raises ``InputError`` for a block whose backward pass has no closed form.
        """
        from costmodel.formulas._wiring import backward_of

        if self.wiring is None:
            raise InputError("the backward pass of this block has no closed form: ask its layers one by one")
        return backward_of(self.wiring, inputs=inputs)

    @property
    def saved_bytes(self) -> Count:
        """Bytes that its training keeps from the forward to the backward pass, 4 an element of a feature map."""
        return self.backward().saved_bytes()

    def __getitem__(self, name: str) -> LayerCost:
        for own, layer in self.layers:
            if own == name:
                return layer
        raise KeyError(f"no layer {name!r} in this block: it has {', '.join(own for own, _ in self.layers)}")

    def __add__(self, other: BlockCost) -> BlockCost:
        from costmodel.formulas._wiring import in_a_row

        one, two = self.wiring, other.wiring
        wiring = None if one is None or two is None else in_a_row(one, two)
        return BlockCost(layers=self.layers + other.layers, wiring=wiring)
