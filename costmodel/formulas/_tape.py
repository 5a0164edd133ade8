"""A layer that torch runs as several kernels, and its backward pass: the derivative of each, in reverse.

A definition is run once for what the forward costs, and once for each set of gradients that is asked for. Gradients of
a tensor with several uses are added up by no layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

from costmodel.formulas._arguments import holds_everywhere
from costmodel.formulas._complex_numbers import on_numbers
from costmodel.formulas._kernels import Shape, broadcast, sum_of
from costmodel.formulas.cost import NO_WORK, LayerCost
from costmodel.formulas.gradient import BackwardCost, Needs, Saved
from costmodel.quantities import Count, Work, prod

ADD, MULTIPLY, DIVIDE = Work(adds=1), Work(multiplies=1), Work(divides=1)
COMPARE, FUNCTION = Work(compares=1), Work(transcendentals=1)


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

    @property
    def size(self) -> Count:
        """Elements."""
        return prod(self.shape)

    @property
    def stored(self) -> Count:
        """Elements that a kernel reads: those of an expanded tensor once."""
        return self.storage.elements


Back: TypeAlias = Callable[[Count], None]


class Tape:
    """The kernels of one layer as they run, and what leads back through them."""

    def __init__(self, needs: Needs) -> None:
        self._needs = needs
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
            self.run(read=elements, written=x.size, work=Work(adds=prod(shape) - x.size))
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

    def backward(self, output: Tensor) -> BackwardCost:
        """The backward pass, after which this tape is used up."""
        self._read, self._written, self._work = 0, 0, NO_WORK
        output.arrived = output.size
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
    tape = Tape(_NOTHING)
    cost = tape.cost(definition(tape, *arguments), kind)
    return replace(cost, gradient=partial(_backward, definition, arguments))


def _backward(definition: Definition, arguments: tuple[Any, ...], needs: Needs) -> BackwardCost:
    tape = Tape(needs)
    return tape.backward(definition(tape, *arguments))


def _same(a: Shape, b: Shape) -> bool:
    return len(a) == len(b) and all(m is n or holds_everywhere(m == n) for m, n in zip(a, b, strict=True))


# -- kernels that many layers have ------------------------------------------------------------------------------------


def add(k: Tape, a: Tensor, b: Tensor, *, work: Work = ADD) -> Tensor:
    """a + b."""
    y = k.each("sum", a, b, work=work)
    for x in (a, b):
        k.back(y, x, lambda g, x=x: k.give(x, g, y.shape))  # type: ignore[misc]  # a default binds x now
    return y


def subtract(k: Tape, a: Tensor, b: Tensor, *, work: Work = ADD) -> Tensor:
    """a - b."""
    y = k.each("difference", a, b, work=work)
    k.back(y, a, lambda g: k.give(a, g, y.shape))
    k.derive(y, b)
    return y


def multiply(k: Tape, a: Tensor, b: Tensor) -> Tensor:
    """a b."""
    y = k.each("product", a, b, work=MULTIPLY)
    k.derive(y, a, b, each=MULTIPLY)
    k.derive(y, b, a, each=MULTIPLY)
    return y


def divide(k: Tape, a: Tensor, b: Tensor, *, work: Work = DIVIDE) -> Tensor:
    """a / b: of a, g / b; of b, -g ((a / b) / b)."""
    y = k.each("quotient", a, b, work=work)
    k.derive(y, a, b, each=DIVIDE)

    def of_divisor(g: Count) -> None:
        n = y.size
        k.run(read=a.stored + b.stored, written=n, work=DIVIDE.times(n))
        k.run(read=n + b.stored, written=n, work=DIVIDE.times(n))
        k.run(read=g, written=n)
        k.run(read=2 * n, written=n, work=MULTIPLY.times(n))
        k.give(b, n, y.shape)

    k.back(y, b, of_divisor, keeps=(a, b))
    return y


def plus_number(k: Tape, x: Tensor, *, work: Work = ADD) -> Tensor:
    """x + c, whose gradient is what arrives."""
    y = k.each("sum", x, work=work)
    k.back(y, x, lambda g: k.give(x, g, y.shape))
    return y


def minus_from_number(k: Tape, x: Tensor, *, work: Work = ADD) -> Tensor:
    """c - x, or -x, which is no arithmetic."""
    y = k.each("difference", x, work=work)
    k.derive(y, x)
    return y


def times_number(k: Tape, x: Tensor, *, work: Work = MULTIPLY) -> Tensor:
    """c x, or x / c."""
    y = k.each("multiple", x, work=work)
    k.derive(y, x, each=work)
    return y


def exp(k: Tape, x: Tensor) -> Tensor:
    """exp x: g y."""
    y = k.each("exp", x, work=FUNCTION)
    k.derive(y, x, y, each=MULTIPLY)
    return y


def log(k: Tape, x: Tensor) -> Tensor:
    """log x: g / x."""
    y = k.each("log", x, work=FUNCTION)
    k.derive(y, x, x, each=DIVIDE)
    return y


def sqrt(k: Tape, x: Tensor) -> Tensor:
    """The root of x: g / (2 y)."""
    y = k.each("root", x, work=FUNCTION)

    def back(g: Count) -> None:
        k.run(read=y.size, written=y.size, work=MULTIPLY.times(y.size))
        k.run(read=g + y.size, written=y.size, work=DIVIDE.times(y.size))
        k.give(x, y.size, y.shape)

    k.back(y, x, back, keeps=(y,))
    return y


def reciprocal_root(k: Tape, x: Tensor) -> Tensor:
    """1 / sqrt(x): -g y^3 / 2."""
    y = k.each("reciprocal root", x, work=FUNCTION)

    def back(g: Count) -> None:
        n = y.size
        k.run(read=n, written=n, work=power_of(3).times(n))
        k.run(read=n, written=n, work=MULTIPLY.times(n))
        k.run(read=g + n, written=n, work=MULTIPLY.times(n))
        k.give(x, n, y.shape)

    k.back(y, x, back, keeps=(y,))
    return y


def absolute(k: Tape, x: Tensor) -> Tensor:
    """The absolute value of a real number, which is no arithmetic: g times the sign."""
    y = k.each("absolute", x)

    def back(g: Count) -> None:
        k.run(read=x.size, written=x.size)
        k.run(read=g + x.size, written=x.size, work=MULTIPLY.times(x.size))
        k.give(x, x.size, x.shape)

    k.back(y, x, back, keeps=(x,))
    return y


def power_of(exponent: float) -> Work:
    """The work of x^c: products where c is a whole number above 0.

    >>> power_of(3).multiplies, power_of(0.75).transcendentals
    (2, 1)
    """
    if exponent == -1:
        return DIVIDE
    if exponent < 0 or exponent != int(exponent):
        return FUNCTION
    return Work(multiplies=max(int(exponent) - 1, 0))


def power(k: Tape, x: Tensor, *, work: Work, slope: Work) -> Tensor:
    """x^c: g (c x^(c - 1)), where ``slope`` is the work of the power of c - 1."""
    y = k.each("power", x, work=work)

    def back(g: Count) -> None:
        n = x.size
        k.run(read=n, written=n, work=slope.times(n))
        k.run(read=n, written=n, work=MULTIPLY.times(n))
        k.run(read=g + n, written=n, work=MULTIPLY.times(n))
        k.give(x, n, x.shape)

    k.back(y, x, back, keeps=(x,))
    return y


def square(k: Tape, x: Tensor, *, work: Work = MULTIPLY) -> Tensor:
    """x^2."""
    return power(k, x, work=work, slope=NO_WORK)


def at_least(k: Tape, x: Tensor) -> Tensor:
    """max(x, c): g where x was not below."""
    y = k.each("maximum", x, work=COMPARE)

    def back(g: Count) -> None:
        k.run(read=0, written=1)  # the zero
        k.run(read=x.size, written=x.size, work=COMPARE.times(x.size))
        k.run(read=g + x.size + 1, written=x.size)
        k.give(x, x.size, x.shape)

    k.back(y, x, back, keeps=(x,))
    return y


def where(k: Tape, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """a where the condition holds, else b: of each, g or a zero."""
    y = k.each("choice", condition, a, b)
    for x in (a, b):

        def back(g: Count, x: Tensor = x) -> None:
            k.run(read=0, written=1)
            k.run(read=condition.stored + g + 1, written=y.size)
            k.give(x, y.size, y.shape)

        k.back(y, x, back, keeps=(condition,))
    return y


def total(
    k: Tape,
    x: Tensor,
    *,
    axis: int | None = None,
    mean: bool = False,
    keepdim: bool = False,
    complex_valued: bool = False,
) -> Tensor:
    """The sum or mean of all elements, or of those along one axis: g for each of them, over their number in a mean."""
    axes = range(len(x.shape)) if axis is None else (axis % len(x.shape),)
    rows = tuple(n for i, n in enumerate(x.shape) if i not in axes)
    shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape)) if keepdim else rows
    y = k.make(shape, "total", x)
    each = on_numbers(sum_of(prod(x.shape[i] for i in axes), mean=mean), complex_valued=complex_valued)
    k.run(read=x.stored, written=y.size, work=each.times(y.size))

    def back(g: Count) -> None:
        if mean:
            k.run(read=g, written=x.size, work=DIVIDE.times(x.size))
        k.give(x, x.size if mean else g, x.shape)

    k.back(y, x, back)
    return y


def reduced(k: Tape, terms: Tensor, reduction: str, *, complex_valued: bool = False) -> Tensor:
    """The terms of a loss by a kernel of its own: their mean, their sum, or, without a kernel, themselves."""
    if reduction == "none":
        return terms
    return total(k, terms, mean=reduction == "mean", complex_valued=complex_valued)


def masked(k: Tape, x: Tensor, mask: Tensor) -> Tensor:
    """x, and a constant where the mask holds: there no gradient."""
    y = k.each("masked", x, mask)
    k.derive(y, x, mask)
    return y


def view(k: Tape, x: Tensor, shape: Shape) -> Tensor:
    """Another shape of the same storage."""
    y = Tensor(shape, x.storage, x.wanted)
    k.back(y, x, lambda g: k.give(x, g, x.shape))
    return y


def copy(k: Tape, x: Tensor) -> Tensor:
    """A copy; its gradient is what arrives."""
    y = k.each("copy", x)
    k.back(y, x, lambda g: k.give(x, g, x.shape))
    return y


def constant(k: Tape, shape: Shape) -> Tensor:
    """A tensor of one number, written."""
    y = k.make(shape, "constant")
    k.run(read=0, written=y.size)
    return y


def log_sigmoid(k: Tape, x: Tensor) -> Tensor:
    """-log(1 + exp(-x)), which keeps z = exp(-|x|): g (1 - z / (1 + z)) or g z / (1 + z)."""
    y, z = k.each("logsigmoid", x, work=Work(transcendentals=2, adds=1)), k.make(x.shape, "exp")
    k.derive(y, x, x, z, each=Work(compares=1, adds=2, divides=1, multiplies=1))
    return y


def fused_loss(
    k: Tape,
    x: Tensor,
    t: Tensor,
    *weights: Tensor,
    work: Work,
    once: Work = NO_WORK,
    slope: Work,
    reduction: str,
    symmetric: bool = False,
) -> Tensor:
    """Terms of x and t and their mean or sum by one kernel, and one for the gradient; ``work`` is that of a term.

    ``symmetric``: the kernel also makes the gradient of t.
    """
    shape = broadcast(x.shape, t.shape, *(w.shape for w in weights))
    y = k.make(shape if reduction == "none" else (), "loss", x, t)
    done = work.times(prod(shape)) + once
    if reduction != "none":
        done = done + sum_of(prod(shape), mean=reduction == "mean")
    k.run(read=sum(a.stored for a in (x, t, *weights)), written=y.size, work=done)
    over = DIVIDE if reduction == "mean" else NO_WORK
    k.derive(y, x, x, t, *weights, each=slope, once=over, shape=shape)
    if symmetric:
        k.derive(y, t, t, x, *weights, each=slope, once=over, shape=shape)
    return y
