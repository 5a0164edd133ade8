"""Functions of torch as counters count them that replace functions: in FLOPs, two a multiply-accumulate.

calflops' counts began as a copy of deepspeed's, so they have most of them in common.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

from costmodel.conventions import layers as of
from costmodel.conventions.fvcore import einsum_path_flops
from costmodel.conventions.tool import (
    Called,
    Count,
    FunctionEntry,
    ModuleEntry,
    Tool,
    ToolFailsError,
    calls,
    function_count,
    module_count,
)
from costmodel.graph import TensorSpec, tensors_in
from costmodel.reading import ReadFunction, Reading

Shape = tuple[int, ...]


def bound(call: ReadFunction, *names: str) -> dict[str, Any]:
    """The arguments by name. ``ToolFailsError`` where the tool's function does not take them so."""
    found = {**dict(zip(names, call.args, strict=False)), **call.kwargs}
    if len(call.args) > len(names) or not found.keys() <= set(names) or names[0] not in found:
        given = ", ".join([*(["..."] if call.args else []), *call.kwargs])
        raise ToolFailsError(f"it does not take {call.name.rpartition('.')[2]}({given}), but ({', '.join(names)})")
    return found


def elements(*names: str) -> Callable[[ReadFunction], int]:
    """Elements of the first of the arguments with these names."""
    return lambda call: int(bound(call, *names)[names[0]].size)


def _sizes(value: Any, dims: int) -> Shape:
    return value if isinstance(value, tuple) else (value,) * dims


_CONV = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
CONV_TRANSPOSE = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")


def convolved(x: Shape, kernel: Shape, stride: Any, padding: Any, dilation: Any) -> Shape:
    """Sizes of a convolution's output. ``"same"`` is half of what it adds, rounded down, on both sides."""
    dims = len(x) - 2
    strides, dilations = _sizes(stride, dims), _sizes(dilation, dims)
    if padding == "same":
        paddings: Shape = tuple(d * (k - 1) // 2 for d, k in zip(dilations, kernel, strict=True))
    else:
        paddings = _sizes(0 if padding == "valid" else padding, dims)
    each = zip(x[2:], kernel, strides, paddings, dilations, strict=False)  # of an input without batch one size less
    return tuple((n + 2 * p - (d * (k - 1) + 1)) // s + 1 for n, k, s, p, d in each)


def convolution(call: ReadFunction) -> int:
    """Two a multiply-accumulate, and 1 an output for a bias."""
    given = {"bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1, **bound(call, *_CONV)}
    x, w = given["input"].shape, given["weight"].shape
    if len(x) != len(w) or w[1] * given["groups"] != x[1]:
        raise ToolFailsError(f"convolution of {list(x)}: it asserts that the second size is that of the channels")
    out = convolved(x, w[2:], given["stride"], given["padding"], given["dilation"])
    outputs = int(x[0] * w[0] * prod(out))
    return int(2 * outputs * w[1] * prod(w[2:])) + (outputs if isinstance(given["bias"], TensorSpec) else 0)


def linear(call: ReadFunction) -> int:
    """Two a multiply-accumulate."""
    given = bound(call, "input", "weight", "bias")
    return 2 * int(given["input"].size) * int(given["weight"].shape[0])


def batch_norm(call: ReadFunction) -> int:
    """By an element: 2, in training 5; without weights 1 less."""
    names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    given = {"weight": None, "training": False, **bound(call, *names)}
    most = 5 if given["training"] else 2
    return int(given["input"].size) * (most if given["weight"] is not None else most - 1)


def norm(*names: str) -> Callable[[ReadFunction], int]:
    """By an element 5, without weights 4."""

    def count(call: ReadFunction) -> int:
        given = {"weight": None, **bound(call, *names)}
        return int(given["input"].size) * (5 if given["weight"] is not None else 4)

    return count


def product(call: ReadFunction) -> int:
    """The first factor's elements times the second's last size, twice."""
    given = bound(call, "input", "other", "out")
    return 2 * int(given["input"].size) * int(given["other"].shape[-1])


def addmm(first: str) -> Callable[[ReadFunction], int]:
    """The product, and 1 an element that is added."""

    def count(call: ReadFunction) -> int:
        given = bound(call, first, "mat1", "mat2", "beta", "alpha", "out")
        return 2 * int(given["mat1"].size) * int(given["mat2"].shape[-1]) + int(given[first].size)

    return count


def einsum(call: ReadFunction) -> int:
    """What ``numpy.einsum_path`` prints."""
    equation, *operands = call.args
    if any(not isinstance(operand, TensorSpec) for operand in operands):
        raise ToolFailsError("einsum of a list of operands: it takes each by itself")
    return int(einsum_path_flops(equation, [spec.shape for spec in tensors_in(operands)]))


def operands(call: ReadFunction) -> list[Shape]:
    """The shapes of those of an elementwise function's two operands that are tensors."""
    given = bound(call, "input", "other", "alpha", "out")
    return [given[name].shape for name in ("input", "other") if isinstance(given.get(name), TensorSpec)]


def resized(call: ReadFunction) -> tuple[Shape, Any, Any]:
    """What is resized, and to what: a size, or by a factor."""
    if not call.args:
        raise ToolFailsError("interpolate: it takes the input by position")
    size, factor = call.argument(1, "size"), call.argument(2, "scale_factor")
    if size is None and factor is None:
        raise ToolFailsError("interpolate: it asserts a size or a factor")
    return call.args[0].shape, size, factor


F = "torch.nn.functional."
_POOL = (
    "input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "count_include_pad", "divisor_override",
    "return_indices",
)  # fmt: skip
_GELU = ("input", "approximate")
_ACTIVATIONS = {
    "relu": ("input", "inplace"), "prelu": ("input", "weight"), "elu": ("input", "alpha", "inplace"),
    "leaky_relu": ("input", "negative_slope", "inplace"), "relu6": ("input", "inplace"), "silu": ("input", "inplace"),
    "gelu": _GELU, "softmax": ("input", "dim", "_stacklevel", "dtype"),
}  # fmt: skip
_NORM = "an estimate: 5 an element, 4 without weights"
_INSTANCE = ("input", "running_mean", "running_var", "weight", "bias", "use_input_stats", "momentum", "eps")
CONVOLUTION = FunctionEntry(convolution, "1 an output for a bias, beside the products")
PRODUCT = FunctionEntry(product, "the first factor's elements times the second's last size, twice")
ADDMM = "1 an element that is added, beside the product"

COMMON = {
    f"{F}linear": FunctionEntry(linear, "the product; a bias is not counted"),
    **dict.fromkeys((f"{F}conv{n}d" for n in (1, 2, 3)), CONVOLUTION),
    **{f"{F}{name}": FunctionEntry(elements(*names), "1 an element") for name, names in _ACTIVATIONS.items()},
    **dict.fromkeys(
        (f"{F}{a}{kind}_pool{n}d" for a in ("", "adaptive_") for kind in ("avg", "max") for n in (1, 2, 3)),
        FunctionEntry(elements(*_POOL), "1 an element of the input"),
    ),
    f"{F}batch_norm": FunctionEntry(batch_norm, "2 an element, 5 in training; 1 less without weights"),
    f"{F}layer_norm": FunctionEntry(norm("input", "normalized_shape", "weight", "bias", "eps"), _NORM),
    f"{F}group_norm": FunctionEntry(norm("input", "num_groups", "weight", "bias", "eps"), _NORM),
    f"{F}instance_norm": FunctionEntry(norm(*_INSTANCE), _NORM),
    "torch.matmul": PRODUCT,
    "torch.Tensor.matmul": PRODUCT,
    "torch.addmm": FunctionEntry(addmm("input"), ADDMM),
    "torch.Tensor.addmm": FunctionEntry(addmm("self"), ADDMM),
    "torch.baddbmm": FunctionEntry(addmm("self"), ADDMM),
    "torch.einsum": FunctionEntry(
        einsum, "fault: the count that numpy.einsum_path prints, which has four digits, and no multiply-accumulates"
    ),
}  # fmt: skip
"""By the name under which the function is called."""


# -- recurrent layers, which have hooks ----------------------------------------------------------------------------


def _step(called: Called, kind: str, suffix: str) -> int:
    weights, biases = of.recurrent_parameters(called, suffix)
    rows = called.parameter(f"weight_ih{suffix}")[0]
    elementwise = {"RNN": 1, "GRU": 7, "LSTM": 10}[kind] * int(called["hidden_size"])
    return 2 * weights - 2 * rows + elementwise + biases


def _recurrent(called: Called) -> int:
    of.require_padded(called)
    layers = sum(_step(called, called.module.type, f"_l{layer}") for layer in range(int(called["num_layers"])))
    return layers * prod(called.x[:2]) * (2 if called["bidirectional"] else 1)


def _cell(called: Called) -> int:
    of.require_batch(called)
    return _step(called, called.module.type.removesuffix("Cell"), "") * called.x[0]


_GATES = "both products with one addition less each, biases, and 1 for each product and addition of elements"

HOOKS = {
    **dict.fromkeys(of.recurrent("RNN", "GRU", "LSTM"), ModuleEntry(_recurrent, _GATES)),
    **dict.fromkeys(of.recurrent("RNNCell", "GRUCell", "LSTMCell"), ModuleEntry(_cell, _GATES)),
}
"""By the module's class, which must be exactly that."""


def counts(tool: Tool, reading: Reading, times: Callable[[str], int]) -> Iterator[Count]:
    """What modules with hooks count, and functions that are called in any other; ``times`` is for each module."""
    for called in calls(reading):
        entry = tool.modules.get(called.module.bases[0])
        if entry is not None:
            yield module_count(called, entry, times(called.module.name))
    for function in reading.functions:
        if function.name in tool.functions:
            _, count = function_count(reading, function, tool)
            n = times(_frame(tool, reading, function.call))
            yield count if n == 1 else Count(
                count.name, count.type, count.op, count.first, count.end, n * count.amount,
                f"fault: a module that is held {n} times is summed {n} times",
            )  # fmt: skip


def _frame(tool: Tool, reading: Reading, call: int) -> str:
    """The module that a function's count is added to: the innermost that has no hook of its own."""
    while call >= 0:
        found = reading.graph.calls[call]
        if found.owner is not None and reading.modules[found.owner].bases[0] not in tool.modules:
            return found.owner
        call = found.parent
    return ""
