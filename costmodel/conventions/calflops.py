"""calflops: functions that it replaces, and hooks on recurrent layers.

Source: calflops/calculate_pipline.py, calflops/pytorch_ops.py and calflops/utils.py of calflops 0.3.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from costmodel.conventions import functions as of
from costmodel.conventions.tool import Count, FunctionEntry, Tool, ToolFailsError, paths, trainable_parameters
from costmodel.graph import TensorSpec
from costmodel.reading import ReadFunction, Reading


def _transposed(call: ReadFunction) -> int:
    given = {
        "bias": None, "stride": 1, "padding": 0, "groups": 1, "dilation": 1, **of.bound(call, *of.CONV_TRANSPOSE)
    }  # fmt: skip
    x, w = given["input"].shape, given["weight"].shape
    total = 2 * prod(w[2:]) * int(x[1]) * (w[1] // given["groups"]) * x[0] * prod(x[2:])
    if isinstance(given["bias"], TensorSpec):
        total += w[1] * x[0] * prod(of.convolved(x, w[2:], given["stride"], given["padding"], given["dilation"]))
    return int(total)


def _resized(call: ReadFunction) -> int:
    x, size, factor = of.resized(call)
    if size is not None:
        return prod(size) if isinstance(size, (tuple, list)) else int(size)
    if isinstance(factor, (tuple, list)) and not (isinstance(factor, tuple) and len(factor) == x[0]):
        raise ToolFailsError("interpolate: it raises a tuple of factors to a power")
    return prod(x)


def _elementwise(call: ReadFunction) -> int:
    shapes = of.operands(call)
    if not shapes:
        return 1
    longest = max(map(len, shapes))
    return prod(max(sizes) for sizes in zip(*((*s, *(1,) * (longest - len(s))) for s in shapes), strict=True))


_FUNCTIONS = {
    **of.COMMON,
    **dict.fromkeys(
        (f"{of.F}conv_transpose{n}d" for n in (1, 2, 3)),
        FunctionEntry(
            _transposed,
            "fault: divided by the groups twice, and by a bias 1 an output that a convolution would have",
        ),
    ),
    **dict.fromkeys(
        (f"{of.F}upsample", f"{of.F}interpolate"),
        FunctionEntry(_resized, "fault: 1 an element of the input, or of one channel of the output"),
    ),
    **dict.fromkeys(
        ("torch.mul", "torch.Tensor.mul", "torch.add", "torch.Tensor.add"),
        FunctionEntry(_elementwise, "1 an element of both, their shapes aligned at the first dimension"),
    ),
}


def _counts(tool: Tool, reading: Reading) -> Iterator[Count]:
    if not reading.modules[""].parameters:
        raise ToolFailsError("it asks for the first parameter of a model that has none")
    return of.counts(tool, reading, paths(reading).__getitem__)


CALFLOPS = Tool(
    name="calflops",
    package="calflops",
    version="0.3.2",
    unit="FLOPs",
    calls_it="FLOPs",
    counts=_counts,
    params=trainable_parameters,
    not_counted=lambda op: f"{op} is no function that is replaced: 0",
    modules=of.HOOKS,
    functions=_FUNCTIONS,
    mode="eval",
    remarks=(
        "bmm, mm, a @ b and fused attention are not counted; nor are a + b and a * b, as torch.add and torch.mul are.",
        "It fails on models without parameters, and where a function is given what its counterpart does not take.",
    ),
)
