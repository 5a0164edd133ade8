"""The definitions, run slowly: loop nests that count visits, numbers that count operations, kernels that torch runs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from costmodel.quantities import Work


def starts(*, size: int, reach: int, stride: int, before: int, after: int) -> list[int]:
    """First positions of all windows that fit into a padded axis, slid one stride at a time."""
    return list(range(-before, size + after - reach + 1, stride))


def conv_visits(
    *,
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> tuple[int, int]:
    """Visits of a convolution's inner loop for one filter of one channel, and how many of them lie on the padding."""
    axes = [
        starts(size=n, reach=d * (k - 1) + 1, stride=s, before=p, after=p)
        for n, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True)
    ]
    visits = on_padding = 0
    for corner in product(*axes):
        for tap in product(*map(range, kernel)):
            place = [c + t * d for c, t, d in zip(corner, tap, dilation, strict=True)]
            visits += 1
            on_padding += not all(0 <= at < n for at, n in zip(place, size, strict=True))
    return visits, on_padding


def conv_transpose_visits(
    *,
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    out: Sequence[int],
) -> tuple[int, int]:
    """Visits of a transposed convolution's inner loop, scattering, and how many of them fall outside the output."""
    visits = outside = 0
    for source in product(*map(range, size)):
        for tap in product(*map(range, kernel)):
            place = [i * s - p + t * d for i, s, p, t, d in zip(source, stride, padding, tap, dilation, strict=True)]
            visits += 1
            outside += not all(0 <= at < n for at, n in zip(place, out, strict=True))
    return visits, outside


def grouped_pairs(*, c_in: int, c_out: int, groups: int) -> int:
    """Pairs of an input and an output channel that are in the same group."""
    return sum(i * groups // c_in == o * groups // c_out for i in range(c_in) for o in range(c_out))


class Tally(Counter[str]):
    """Operations by kind, as numbers made by it are calculated with."""

    def number(self, value: float) -> Number:
        """A number whose arithmetic is counted here."""
        return Number(value, self)

    def numbers(self, values: Any) -> list[Number]:
        """As many of them."""
        return [self.number(float(v)) for v in values]

    def call(self, function: Callable[[float], float], x: Number) -> Number:
        """A transcendental function."""
        self["transcendentals"] += 1
        return self.number(function(x.value))

    def larger(self, a: Number, b: Number) -> Number:
        """The larger of two."""
        self["compares"] += 1
        return a if a.value > b.value else b

    def above(self, a: Number, limit: float) -> bool:
        """Whether a number is above a limit."""
        self["compares"] += 1
        return a.value > limit

    def total(self, terms: Sequence[Number]) -> Number:  # type: ignore[override]  # a Counter has a total of its own
        """Their sum."""
        result = terms[0]
        for term in terms[1:]:
            result = result + term
        return result

    def dot(self, a: Sequence[Number], b: Sequence[Number]) -> Number:
        """A dot product: one multiply-accumulate for each pair."""
        self["macs"] += len(a)
        return self.number(sum(x.value * y.value for x, y in zip(a, b, strict=True)))

    @property
    def work(self) -> Work:
        """What has been counted."""
        return Work(**self)


class Number:
    """A number whose arithmetic is counted. Sign flips and absolute values are free."""

    def __init__(self, value: float, tally: Tally) -> None:
        self.value, self.tally = value, tally

    def _made(self, kind: str, value: float) -> Number:
        self.tally[kind] += 1
        return self.tally.number(value)

    def __add__(self, other: Any) -> Number:
        return self._made("adds", self.value + getattr(other, "value", other))

    def __sub__(self, other: Any) -> Number:
        return self._made("adds", self.value - getattr(other, "value", other))

    def __rsub__(self, other: float) -> Number:
        return self._made("adds", other - self.value)

    def __mul__(self, other: Any) -> Number:
        return self._made("multiplies", self.value * getattr(other, "value", other))

    def __truediv__(self, other: Any) -> Number:
        return self._made("divides", self.value / getattr(other, "value", other))

    def __rtruediv__(self, other: float) -> Number:
        return self._made("divides", other / self.value)

    def __neg__(self) -> Number:
        return self.tally.number(-self.value)

    def __abs__(self) -> Number:
        return self.tally.number(abs(self.value))

    __radd__ = __add__
    __rmul__ = __mul__


def values(numbers: Sequence[Number]) -> torch.Tensor:
    """The numbers' values, as torch has them."""
    return torch.tensor([n.value for n in numbers], dtype=torch.float64)


def sigmoid(x: Number) -> Number:
    """1 / (1 + exp(-x))."""
    return 1 / (1 + x.tally.call(math.exp, -x))


def softmax(row: Sequence[Number]) -> list[Number]:
    """A stable softmax of one row."""
    tally = row[0].tally
    top = row[0]
    for x in row[1:]:
        top = tally.larger(top, x)
    powers = [tally.call(math.exp, x - top) for x in row]
    whole = tally.total(powers)
    return [p / whole for p in powers]


ONE_KERNEL = (
    "linear", "bilinear", "rms_norm", "instance_norm", "scaled_dot_product_attention", "_pad_circular", "lstm", "gru",
    "rnn_tanh", "rnn_relu",
)  # fmt: skip
"""Layers that some device runs as one kernel and another as several: counted as one (docs/definitions.md)."""


class Kernels(TorchDispatchMode):
    """Elements that torch's kernels read and write, views and allocations apart.

    An operand that is passed twice is read once, and so is an expanded dimension.
    """

    def __init__(self) -> None:
        super().__init__()
        self.read = self.written = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the kernel, and count its operands."""
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        composite = torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd")
        if composite and name not in ONE_KERNEL:
            with self:
                return func._op_dk(torch._C.DispatchKey.CompositeImplicitAutograd, *args, **kwargs)
        result = func(*args, **kwargs)
        outputs = list(_tensors(result))
        operands = list({id(t): t for t in _tensors((args, kwargs))}.values())
        if func.is_view or name == "_unsafe_view" or name.startswith(("empty", "new_empty")):
            return result
        if name not in ("native_batch_norm", "max_pool2d_with_indices", "lstm", "gru", "rnn_tanh", "rnn_relu"):
            outputs = outputs[:1]  # the others are kept for a backward pass
        if name in ("native_batch_norm", "instance_norm") and args[5]:
            outputs += [t for t in args[3:5] if t is not None]
        if name == "copy_":
            operands = operands[1:]
        self.written += sum(t.numel() for t in outputs)
        self.read += 0 if name.startswith(("zeros", "ones", "fill", "arange")) else sum(map(_stored, operands))
        return result


def _stored(tensor: torch.Tensor) -> int:
    return math.prod(n for n, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride)


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)


def run(module: nn.Module, *inputs: torch.Tensor, **options: Any) -> tuple[Any, Kernels]:
    """What a module returns, and the kernels that made it. The inference fast path of attention is off."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), torch._C._AutoDispatchBelowAutograd(), Kernels() as kernels:
            result = module(*inputs, **options)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return result, kernels


def elements(tensors: Iterator[torch.Tensor]) -> int:
    """Elements of parameters or buffers."""
    return sum(t.numel() for t in tensors)
