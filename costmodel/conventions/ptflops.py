"""ptflops with its own backend: hooks on modules of exactly the classes that it knows, and functions that it replaces.

Source: ptflops/pytorch_engine.py and ptflops/pytorch_ops.py of ptflops 0.7.5.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import prod
from typing import Any

from costmodel.conventions import layers as of
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
    trainable_parameters,
)
from costmodel.graph import TensorSpec, tensors_in
from costmodel.reading import ReadFunction, Reading, ReadModule

# -- modules -------------------------------------------------------------------------------------------------------


def _conv(called: Called, *, transposed: bool = False, more: int = 0) -> int:
    x, y = called.x, called.y
    kernel, n_in, n_out = prod(called["kernel_size"]), int(called["in_channels"]), int(called["out_channels"])
    per_position = kernel * (n_in * (n_out // int(called["groups"])) + more)
    positions = x[0] * prod((x if transposed else y)[2:])
    bias = x[0] * prod(y[1:]) if called.has("bias") else 0
    return int(per_position * positions + bias)


def _transposed(called: Called) -> int:
    return _conv(called, transposed=True)


def _deformable(called: Called) -> int:
    return _conv(called, more=25 if len(called.call.args) == 3 and called.call.args[2] is not None else 24)


def _linear(called: Called) -> int:
    x, y = called.x, called.y
    return (x[-1] * y[-1] + (y[-1] if called.has("bias") else 0)) * prod(x[:-1])


def _norm(called: Called) -> int:
    return prod(called.x) * (2 if called.module.attributes.get("affine") else 1)


def _gates(kind: str, weights: int, hidden: int) -> int:
    return weights + {"RNN": 1, "GRU": 7, "LSTM": 10}[kind] * hidden


def _recurrent(called: Called) -> int:
    of.require_padded(called)
    kind, hidden = called.module.type, int(called["hidden_size"])
    total = 0
    for layer in range(int(called["num_layers"])):
        weights, biases = of.recurrent_parameters(called, f"_l{layer}")
        total += _gates(kind, weights, hidden) + biases
    return total * prod(called.x[:2]) * (2 if called["bidirectional"] else 1)


def _cell(called: Called) -> int:
    of.require_batch(called)
    weights, biases = of.recurrent_parameters(called)
    kind = called.module.type.removesuffix("Cell")
    return (_gates(kind, weights, int(called["hidden_size"])) + biases) * called.x[0]


def _multihead(called: Called) -> int:
    if len(called.call.args) != 3 or len(called.inputs) != 3 or any(len(t.shape) != 3 for t in called.inputs):
        raise ToolFailsError(f"{called.module.name}: it takes attention's three inputs by position, with a batch")
    q, k, v = (t.shape for t in called.inputs)
    batch, length = (q[0], 1) if called["batch_first"] else (q[1], 0)
    heads, d = int(called["num_heads"]), q[2]
    queries, keys, values = q[length], k[length], v[length]
    total = queries * d + queries * d * d + keys * k[2] ** 2 + values * v[2] ** 2
    if called.has("in_proj_bias"):
        total += (queries + keys + values) * d
    total += heads * queries * keys * (d // heads + 1 + v[2] // heads)
    return (total + queries * v[2] * (v[2] + 1)) * batch


def _timm_attention(called: Called) -> int:
    batch, n, _ = called.x
    d, heads = int(called["head_dim"]), int(called["num_heads"])
    return batch * heads * (n * d + n * n * (2 * d + 1))


_CONV = "a multiply-accumulate a weight and position, and 1 an output for a bias"
_ROWS = "a multiply-accumulate a weight and row, and 1 an output for a bias"
_OUTPUTS = ModuleEntry(lambda called: prod(called.y), "1 an output")
_INPUTS = ModuleEntry(lambda called: prod(called.x), "1 an element of the input")
_GATES = "the products, biases, and 1 for each product and addition of elements"

_MODULES = {
    **dict.fromkeys(of.CONV, ModuleEntry(_conv, _CONV)),
    **dict.fromkeys(of.TRANSPOSED_CONV, ModuleEntry(_transposed, _CONV)),
    **dict.fromkeys(of.activation("ReLU", "PReLU", "ELU", "LeakyReLU", "ReLU6", "GELU"), _OUTPUTS),
    **dict.fromkeys((*of.MAX_POOL, *of.AVG_POOL, *of.ADAPTIVE_AVG_POOL), _INPUTS),
    **dict.fromkeys(
        (*of.BATCH_NORM, *of.INSTANCE_NORM, of.GROUP_NORM, of.LAYER_NORM),
        ModuleEntry(_norm, "2 an element, its shift and scale; 1 without, and of any layer norm"),
    ),
    of.LINEAR: ModuleEntry(_linear, _ROWS),
    of.UPSAMPLE[0]: ModuleEntry(lambda called: prod(called.y[1:]), "1 an element of one sample's output"),
    **dict.fromkeys(of.recurrent("RNN", "GRU", "LSTM"), ModuleEntry(_recurrent, _GATES)),
    **dict.fromkeys(of.recurrent("RNNCell", "GRUCell", "LSTMCell"), ModuleEntry(_cell, _GATES)),
    of.MULTIHEAD: ModuleEntry(_multihead, "projections with biases, both products, the scaling and the softmax"),
    "torchvision.ops.deform_conv.DeformConv2d": ModuleEntry(
        _deformable, "a convolution, and 24 a position for the interpolation, 25 with a mask"
    ),
    "timm.layers.attention.Attention": ModuleEntry(
        _timm_attention, "fault: both products, scaling and softmax, but not the linear layers inside"
    ),
}  # fmt: skip
"""By the module's class, which must be exactly that. The modules inside of one of these are not counted."""


# -- functions -----------------------------------------------------------------------------------------------------


def _shape(value: Any) -> tuple[int, ...]:
    if not isinstance(value, TensorSpec):
        raise ToolFailsError("it reads the shape of an argument that is no tensor")
    return value.shape


def _shapes(call: ReadFunction, *names: str) -> tuple[tuple[int, ...], ...]:
    """The shapes of arguments that are given by position or by the names that its own functions have for them."""
    missing = [name for i, name in enumerate(names) if i >= len(call.args) and name not in call.kwargs]
    if missing:
        raise ToolFailsError(f"{call.name}: it takes {', '.join(missing)} by position or by that name")
    return tuple(_shape(call.argument(i, name)) for i, name in enumerate(names))


def _elements(call: ReadFunction) -> int:
    return prod(_shape(call.argument(0, "input")))


def _interpolated(call: ReadFunction) -> float:
    x = _shape(call.argument(0, "input"))
    size, scale = call.argument(1, "size"), call.argument(2, "scale_factor")
    dims = len(x) - 2
    if dims <= 0:
        raise ToolFailsError("interpolate: it asserts that the input has dimensions behind its channels")
    if size is not None:
        return prod(size) * prod(x[:2]) if isinstance(size, (tuple, list)) else int(size) ** dims * prod(x[:2])
    if isinstance(scale, tuple) and len(scale) == dims:
        return prod(x) * prod(map(int, scale))
    if isinstance(scale, (tuple, list)):
        raise ToolFailsError("interpolate: it raises a list of factors to a power")
    return float(prod(x) * scale**dims)


def _matmul(call: ReadFunction) -> int:
    a, b = _shapes(call, "input", "other")
    return prod(a) * b[-1]


def _addmm(call: ReadFunction) -> int:
    added, a, b = _shapes(call, "input", "mat1", "mat2")
    return prod(a) * b[-1] + (prod(added) if call.kwargs.get("beta", 1) != 0 else 0)


def _elementwise(call: ReadFunction) -> int:
    shapes = [
        value.shape if isinstance(value, TensorSpec) else None
        for value in (call.argument(0, "input"), call.argument(1, "other"))
    ]
    given = [shape for shape in shapes if shape is not None]
    if len(given) < 2:
        return prod(given[0]) if given else 1
    longest = max(map(len, given))
    a, b = ((*shape, *(1,) * (longest - len(shape))) for shape in given)
    return prod(map(max, a, b))


_F = "torch.nn.functional."
_POOLS = tuple(f"{_F}{a}{kind}_pool{n}d" for a in ("", "adaptive_") for kind in ("avg", "max") for n in (1, 2, 3))
_ONE = "1 an element of the input, of the function"
_ALIGNED = "1 an element of both, their shapes aligned at the first dimension, of the function"

_FUNCTIONS = {
    **dict.fromkeys(
        (*(f"{_F}{name}" for name in ("relu", "prelu", "elu", "relu6", "gelu", "silu", "softmax")), *_POOLS),
        FunctionEntry(_elements, _ONE),
    ),
    **dict.fromkeys((f"{_F}upsample", f"{_F}interpolate"), FunctionEntry(_interpolated, "1 an output")),
    **dict.fromkeys(
        ("torch.matmul", "torch.Tensor.matmul"),
        FunctionEntry(_matmul, "the first factor's elements times the second's last size, of the function"),
    ),
    **dict.fromkeys(
        ("torch.mm", "torch.Tensor.mm", "torch.bmm", "torch.Tensor.bmm"),
        FunctionEntry(_matmul, "the product's multiply-accumulates, of the function"),
    ),
    **dict.fromkeys(
        ("torch.addmm", "torch.Tensor.addmm", "torch.baddbmm"),
        FunctionEntry(_addmm, "the product's multiply-accumulates, and 1 an element that is added, of the function"),
    ),
    **dict.fromkeys(
        ("torch.mul", "torch.Tensor.mul", "torch.add", "torch.Tensor.add"), FunctionEntry(_elementwise, _ALIGNED)
    ),
}  # fmt: skip
"""By the name under which the function is called: ``a + b`` and ``a @ b`` are none of them."""


def _counts(tool: Tool, reading: Reading) -> Iterator[Count]:
    places = _places(reading)
    by_modules, by_functions, shown = 0, 0.0, 0
    for called in calls(reading):
        entry = tool.modules.get(called.module.bases[0])
        if entry is not None and places[called.module.name]:
            count = module_count(called, entry, places[called.module.name])
            by_modules += count.amount
            yield count
    for function in reading.functions:
        if function.name in tool.functions:
            exact, count = function_count(reading, function, tool)
            by_functions += exact
            shown += count.amount
            yield _counted_twice(count) if _has_hook(tool, reading, function.call) else count
    samples = _samples(reading)
    rest = int(by_modules / samples + by_functions) - by_modules - shown
    why = (
        "fractions are cut off"
        if samples == 1
        else f"fault: what modules count is divided by the first size of the first input, {samples}; of functions not"
    )
    if rest:
        yield Count("", reading.graph.model, "", 0, 0, rest, why)


def _counted_twice(count: Count) -> Count:
    why = f"fault: {count.type} has a hook, and calls a function that is replaced: counted twice"
    return Count(count.name, count.type, count.op, count.first, count.end, count.amount, why, is_twice=True)


def _has_hook(tool: Tool, reading: Reading, call: int) -> bool:
    owner = reading.graph.calls[call].owner if call >= 0 else None
    return owner is not None and reading.modules[owner].bases[0] in tool.modules


def _samples(reading: Reading) -> int:
    """The length of the model's first input, which is taken to be the batch."""
    args = reading.graph.inputs
    first = next(tensors_in(args[0]), None) if args else None
    if first is None:
        return 1
    if not first.shape or not first.shape[0]:
        raise ToolFailsError(f"it divides by the first size of the first input, whose sizes are {list(first.shape)}")
    return first.shape[0]


def _places(reading: Reading) -> Counter[str]:
    """How often each module is summed: as often as it is reached without passing through one that has a hook."""
    found: Counter[str] = Counter()

    def visit(module: ReadModule) -> None:
        found[module.name] += 1
        if module.bases[0] not in _MODULES:
            for child in dict.fromkeys(key for _, key in module.children):
                visit(reading.modules[child])

    visit(reading.modules[""])
    return found


PTFLOPS = Tool(
    name="ptflops",
    package="ptflops",
    version="0.7.5",
    unit="MACs",
    calls_it="MACs",
    counts=_counts,
    params=trainable_parameters,
    not_counted=lambda op: f"{op} runs in no module of a class that has a hook, and is no function that is replaced: 0",
    modules=_MODULES,
    functions=_FUNCTIONS,
    mode="eval",
    remarks=(
        "A class of one's own that derives from one of torch's has no hook.",
        "a @ b, a + b and a * b are other functions than torch.matmul, torch.add and torch.mul, and count nothing.",
        "It prints no number where one of its own hooks fails, such as attention whose inputs are given by keyword.",
    ),
)
