"""ultralytics-thop: hooks on modules of the classes that it knows and of those derived from them, and five functions.

Source: thop/profile.py, thop/vision/basic_hooks.py, thop/vision/calc_func.py and thop/rnn_hooks.py of
ultralytics-thop 2.2.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

from costmodel.conventions import layers as of
from costmodel.conventions import shapes
from costmodel.conventions.tool import (
    Called,
    Count,
    Counted,
    ModuleEntry,
    OpEntry,
    Tool,
    all_parameters,
    calls,
    module_count,
    op_count,
)
from costmodel.graph import TensorSpec, tensors_in
from costmodel.reading import Reading, ReadOp


def _given(called: Called) -> tuple[TensorSpec, ...]:
    """The tensors that a module was given, by keyword, too."""
    return tuple(tensors_in((called.call.args, called.call.kwargs)))


def _x(called: Called) -> tuple[int, ...]:
    return _given(called)[0].shape


def _conv(called: Called) -> int:
    return _convolution(called, over=called.y, channels=_x(called))


def _transposed(called: Called) -> int:
    return _convolution(called, over=_x(called), channels=called.y)


def _convolution(called: Called, over: tuple[int, ...], channels: tuple[int, ...]) -> int:
    kernel = called["kernel_size"]
    return int(prod(over) * (channels[-1 - len(kernel)] // int(called["groups"])) * prod(kernel))


def _norm(called: Called) -> int:
    return (4 if of.is_affine(called) else 2) * prod(_x(called))


def _softmax(called: Called) -> int:
    x = _x(called)
    dim = -3 if called.torch_type == "Softmax2d" else called["dim"]
    if dim is None:
        dim = of.implicit_dim(x)
    n = x[dim] if x else 1
    rows = prod(x) // n if n else 0
    more = prod(x) if called.torch_type == "Softmin" else rows if called.torch_type == "LogSoftmax" else 0
    return rows * (2 * n + max(n - 1, 0)) + more


def _avg_pool(called: Called) -> int:
    dims = int(called.torch_type[-2])
    kernel, stride, padding = (of.tupled(called[name], dims) for name in ("kernel_size", "stride", "padding"))
    windows = 1
    for size, n, k, s, p in zip(_x(called)[-dims:], called.y[-dims:], kernel, stride, padding, strict=True):
        low, high = (-p, size + p) if called["count_include_pad"] else (0, size)
        windows *= sum(max(min(i * s - p + k, high) - max(i * s - p, low), 0) for i in range(n))
    return prod(_x(called)[:-dims]) * windows + prod(called.y)


def _adaptive_pool(called: Called) -> int:
    windows = (
        n if size == n else sum(-(-(j + 1) * size // n) - j * size // n for j in range(n))
        for size, n in zip(_x(called), called.y, strict=True)
    )
    return prod(windows) + prod(called.y)


def _upsample(called: Called) -> Counted:
    modes = {"nearest": 0, "nearest-exact": 0, "linear": 5, "bilinear": 11, "bicubic": 259, "trilinear": 31}
    per_element = modes.get(called["mode"])
    if per_element is None:
        return 0, f"fault: the mode {called['mode']} has no number, and counts 0"
    return per_element * prod(called.y)


def _linear(called: Called) -> int:
    return int(called["in_features"]) * prod(called.y)


def _bilinear(called: Called) -> int:
    return (int(called["in1_features"]) + 1) * int(called["in2_features"]) * prod(called.y)


def _cell(called: Called) -> int:
    kind, x = called.torch_type.removesuffix("Cell"), _x(called)
    n_in, hidden, bias = called["input_size"], called["hidden_size"], called["bias"]
    cell = of.lstm_cell(n_in, hidden, bias=bias) if kind == "LSTM" else of.CELLS[kind](n_in, hidden, bias=bias)
    return cell * (x[0] if len(x) == 2 else 1)


def _recurrent(kind: str) -> Any:
    return lambda called: of.stacked(called, kind, with_projection=True) * of.positions(called, _x(called))


def _multihead(called: Called) -> int:
    out, *weights = called.outputs
    batch_first, embed, heads = bool(called["batch_first"]), int(called["embed_dim"]), int(called["num_heads"])
    y = out.shape
    queries = y[-2] if batch_first or len(y) == 2 else y[0]
    batch = 1 if len(y) == 2 else y[0 if batch_first else 1]
    appended = called.has("bias_k") + int(called["add_zero_attn"])
    if weights:
        keys = weights[0].shape[-1]
    else:
        key = _given(called)[1].shape
        keys = (key[-2] if batch_first or len(key) == 2 else key[0]) + appended
    projections = embed * (2 * queries * embed + (keys - appended) * int(called["kdim"] + called["vdim"]))
    return batch * (projections + 2 * queries * keys * embed) + of.softmax(batch * heads * queries, keys)


def _einsum(op: ReadOp) -> Counted:
    """The sizes of the labels of two operands, but for those of one alone that are summed away."""
    sizes = [spec.shape for spec in tensors_in(op.args["tensors"])]
    if len(sizes) != 2:
        return 0, "fault: an einsum of one operand or of more than two counts 0"
    left, arrow, out = op.args["equation"].replace(" ", "").partition("->")
    if not arrow:
        out = "..." + "".join(label for label in left if left.count(label) == 1)
    labelled: list[dict[str | int, int]] = []
    for term, size in zip(left.split(","), sizes, strict=True):
        head, _, tail = term.partition("...")
        between = range(len(size) - len(head) - len(tail), 0, -1)
        labels: list[str | int] = [*head, *between, *tail]
        labelled.append({label: n for label, n in zip(labels, size, strict=True) if n != 1})
    a, b = labelled
    kept = (
        label
        for label in a.keys() | b.keys()
        if (label in a and label in b) or (label in out if isinstance(label, str) else "..." in out)
    )
    return prod(a.get(label) or b[label] for label in kept)


def _matmul(op: ReadOp) -> int:
    return prod(op.outputs[0].shape) * op.shape("self")[-1]


_CONV = "a multiply-accumulate a weight and position; biases are not counted"
_NORM = "4 an element of the input (subtract, divide, scale and shift), 2 without weights"
_POOL = "an addition an input of each window and a division an output"
_GATES = "the products, and 1 for each addition and product of elements: biases, gates, states"
_PRODUCT = "the product's multiply-accumulates, of a function that no module with a number calls"

ENTRIES = {
    **dict.fromkeys(of.CONV, ModuleEntry(_conv, _CONV)),
    **dict.fromkeys(of.TRANSPOSED_CONV, ModuleEntry(_transposed, _CONV)),
    **dict.fromkeys(
        (
            "torch.nn.modules.batchnorm._NormBase", of.LAYER_NORM, of.GROUP_NORM,
            "torch.nn.modules.normalization.RMSNorm",
        ),
        ModuleEntry(_norm, _NORM),
    ),
    **dict.fromkeys(of.activation("PReLU"), ModuleEntry(lambda c: prod(_x(c)), "1 an element")),
    **dict.fromkeys(
        of.activation("Softmax", "LogSoftmax", "Softmin", "Softmax2d"),
        ModuleEntry(
            _softmax, "an exponential and a division an element, and each row's additions; a logarithm, a sign more"
        ),
    ),
    **dict.fromkeys(of.AVG_POOL, ModuleEntry(_avg_pool, _POOL)),
    **dict.fromkeys(of.ADAPTIVE_AVG_POOL, ModuleEntry(_adaptive_pool, _POOL)),
    of.LINEAR: ModuleEntry(_linear, "a multiply-accumulate a weight and row; biases are not counted"),
    "torch.nn.modules.linear.Bilinear": ModuleEntry(_bilinear, "both contractions of each output"),
    **dict.fromkeys(of.UPSAMPLE, ModuleEntry(_upsample, "5 an output linear, 11 bilinear, 31 trilinear, 259 bicubic")),
    **dict.fromkeys(of.recurrent("RNNCell", "GRUCell", "LSTMCell"), ModuleEntry(_cell, _GATES)),
    **{of.recurrent(kind)[0]: ModuleEntry(_recurrent(kind), _GATES) for kind in ("RNN", "GRU", "LSTM")},
    of.MULTIHEAD: ModuleEntry(_multihead, "the projections, both products, and the softmax's operations"),
    "torch.nn.modules.sparse.Embedding": ModuleEntry(of.nothing, "a lookup multiplies nothing"),
}  # fmt: skip
"""By the nearest of a module's classes."""

_FREE = frozenset({
    *of.MAX_POOL, *of.activation("ReLU", "ReLU6", "LeakyReLU"), of.SEQUENTIAL,
    "torch.nn.modules.container.ModuleList", "torch.nn.modules.container.ModuleDict",
    "torch.nn.modules.container.ParameterList", "torch.nn.modules.container.ParameterDict",
    "torch.nn.modules.padding._ConstantPadNd", "torch.nn.modules.padding._ReflectionPadNd",
    "torch.nn.modules.padding._ReplicationPadNd", "torch.nn.modules.padding._CircularPadNd",
    "torch.nn.modules.dropout._DropoutNd", "torch.nn.modules.pooling.FractionalMaxPool2d",
    "torch.nn.modules.pooling.FractionalMaxPool3d", "torch.nn.modules.pooling._MaxUnpoolNd",
    "torch.nn.modules.linear.Identity", "torch.nn.modules.flatten.Flatten", "torch.nn.modules.flatten.Unflatten",
    "torch.nn.modules.fold.Unfold", "torch.nn.modules.pixelshuffle.PixelShuffle",
    "torch.nn.modules.pixelshuffle.PixelUnshuffle", "torch.nn.modules.channelshuffle.ChannelShuffle",
})  # fmt: skip
"""Classes whose rule is that they cost nothing: functions that such modules call are counted."""

_OPS = {
    "matmul": OpEntry(_matmul, _PRODUCT),
    "bmm": OpEntry(_matmul, _PRODUCT),
    "linear": OpEntry(shapes.linear, _PRODUCT),
    "einsum": OpEntry(_einsum, "the sizes of both operands' labels, multiplied"),
    "scaled_dot_product_attention": OpEntry(shapes.attention, _PRODUCT),
}


def _entry(tool: Tool, bases: tuple[str, ...]) -> ModuleEntry | None:
    nearest = next((base for base in bases if base in tool.modules or base in _FREE), "")
    return tool.modules.get(nearest)


def _counts(tool: Tool, reading: Reading) -> Iterator[Count]:
    within = _within_an_entry(tool, reading)
    for called in calls(reading):
        entry = _entry(tool, called.module.bases)
        if entry is not None:
            yield module_count(called, entry)
    for op in reading.ops:
        entry_of_op = tool.ops.get(op.base)
        if entry_of_op is not None and not op.in_engine and not (op.call >= 0 and within[op.call]):
            yield op_count(reading, op, entry_of_op)


def _within_an_entry(tool: Tool, reading: Reading) -> list[bool]:
    """Whether each call is one of a module that has a number, or inside of one."""
    found: list[bool] = []
    for call in reading.graph.calls:
        own = call.owner is not None and _entry(tool, reading.modules[call.owner].bases) is not None
        found.append(own or (call.parent >= 0 and found[call.parent]))
    return found


ULTRALYTICS_THOP = Tool(
    name="ultralytics-thop",
    package="ultralytics-thop",
    version="2.2.3",
    unit="MACs",
    calls_it="total_ops, or MACs",
    counts=_counts,
    params=all_parameters,
    not_counted=lambda op: f"{op} is no function that it counts, and runs in no module that has a number: 0",
    modules=ENTRIES,
    ops=_OPS,
    mode="eval",
    around="torch.no_grad",
    remarks=(
        "Functions count outside of all modules that have a number: none in a class that derives from nn.Linear.",
    ),
)
