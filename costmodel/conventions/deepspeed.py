"""deepspeed's flops profiler: functions that it replaces, and hooks on recurrent layers.

Source: deepspeed/profiling/flops_profiler/profiler.py of deepspeed 0.19.8.
"""

from __future__ import annotations

from math import prod

from costmodel.conventions import functions as of
from costmodel.conventions.tool import FunctionEntry, Tool, ToolFailsError, all_parameters
from costmodel.graph import TensorSpec
from costmodel.ops.layout import broadcast
from costmodel.reading import ReadFunction


def _transposed(call: ReadFunction) -> int:
    given = {
        "bias": None, "stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "dilation": 1,
        **of.bound(call, *of.CONV_TRANSPOSE),
    }  # fmt: skip
    x, w = given["input"].shape, given["weight"].shape
    macs = int(prod(w[2:]) * x[1] * w[1] * x[0] * prod(x[2:]))
    if not isinstance(given["bias"], TensorSpec):
        return 2 * macs
    dims = len(x) - 2
    names = ("stride", "padding", "dilation", "output_padding")
    sizes = [value if isinstance(value, (tuple, list)) else (value,) * dims for value in map(given.get, names)]
    each = zip(x[2:], w[2:], *sizes, strict=False)  # of an input without batch one size less
    out = [(n - 1) * s - 2 * p + d * (k - 1) + more + 1 for n, k, s, p, d, more in each]
    return 2 * macs + int(w[1] * given["groups"] * x[0] * prod(out))


def _resized(call: ReadFunction) -> int:
    x, size, factor = of.resized(call)
    if size is not None:
        return prod(size) if isinstance(size, (tuple, list)) else int(size)
    if not isinstance(factor, (tuple, list)):
        return int(prod(x) * factor ** (len(x) - 2))
    if len(factor) != len(x) - 2:
        raise ToolFailsError("interpolate: it asserts a factor for each dimension behind the channels")
    return int(prod(x) * prod(factor))


def _attention(call: ReadFunction) -> int:
    if len(call.args) < 3:
        raise ToolFailsError("scaled_dot_product_attention: it takes query, key and value by position")
    q, k, v = (spec.shape for spec in call.args[:3])
    return int(2 * prod(q[:-1]) * k[-2] * (q[-1] + v[-1]))


def _elementwise(call: ReadFunction) -> int:
    shapes = of.operands(call)
    return prod(broadcast(shapes)) if shapes else 1


_FUNCTIONS = {
    **of.COMMON,
    **dict.fromkeys(
        (f"{of.F}conv_transpose{n}d" for n in (1, 2, 3)),
        FunctionEntry(_transposed, "1 an output for a bias, beside the products"),
    ),
    **dict.fromkeys(
        (f"{of.F}upsample", f"{of.F}interpolate"),
        FunctionEntry(_resized, "1 an output; fault: where its size is given, not times batch and channels"),
    ),
    f"{of.F}scaled_dot_product_attention": FunctionEntry(_attention, "both products, masked or not"),
    **dict.fromkeys(
        (
            "torch.Tensor.__matmul__", "torch.mm", "torch.Tensor.mm", "torch.bmm", "torch.Tensor.bmm",
        ),
        of.PRODUCT,
    ),
    **dict.fromkeys(
        ("torch.mul", "torch.Tensor.mul", "torch.add", "torch.Tensor.add"),
        FunctionEntry(_elementwise, "1 an element of the result"),
    ),
}  # fmt: skip

DEEPSPEED = Tool(
    name="deepspeed",
    package="deepspeed",
    version="0.19.8",
    unit="FLOPs",
    calls_it="flops",
    counts=lambda tool, reading: of.counts(tool, reading, lambda _: 1),
    params=all_parameters,
    not_counted=lambda op: f"{op} is no function that is replaced: 0",
    modules=of.HOOKS,
    functions=_FUNCTIONS,
    mode="eval",
    remarks=(
        "a @ b is counted; a + b and a * b are other functions than torch.add and torch.mul, and count nothing.",
        "It fails where a function is given by keyword what its counterpart calls otherwise.",
    ),
)
