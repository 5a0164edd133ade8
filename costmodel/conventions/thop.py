"""thop (pytorch-OpCounter): hooks on modules of exactly the classes that it knows.

Source: thop/profile.py, thop/vision/basic_hooks.py, thop/vision/calc_func.py and thop/rnn_hooks.py of thop 0.1.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from costmodel.conventions import layers as of
from costmodel.conventions.tool import (
    Called,
    Count,
    Counted,
    ModuleEntry,
    Tool,
    ToolFailsError,
    calls,
    module_count,
    paths,
)
from costmodel.graph import tensors_in
from costmodel.reading import Reading, ReadModule


def _conv(called: Called) -> int:
    if len(called.x) < 2:
        raise ToolFailsError(f"{called.module.name}: it reads the second size of the input {list(called.x)}")
    return int(prod(called.y) * (called.x[1] // int(called["groups"])) * prod(called["kernel_size"]))


def _norm(called: Called) -> int:
    return (4 if of.is_affine(called) else 2) * prod(called.x)


def _softmax(called: Called) -> int:
    if called["dim"] is None:
        raise ToolFailsError(f"{called.module.name}: a softmax without a dimension")
    n = called.x[called["dim"]]
    return of.softmax(prod(called.x) // n, n)


def _adaptive_pool(called: Called) -> int:
    window = 1.0
    for given, made in zip(called.x[2:], called.y[2:], strict=True):
        window *= given / made
    return int((window + 1) * prod(called.y))


def _upsample(called: Called) -> Counted:
    per_element = {"nearest": 1, "linear": 5, "bilinear": 11, "bicubic": 259}.get(called["mode"])
    if per_element is None:
        return 0, f"fault: the mode {called['mode']} has no number, and counts 0"
    return per_element * prod(called.y)


def _linear(called: Called) -> int:
    return int(called["in_features"]) * prod(called.y)


def _cell(called: Called) -> int:
    kind = called.module.type.removesuffix("Cell")
    n_in, hidden, bias = called["input_size"], called["hidden_size"], called["bias"]
    cell = of.lstm_cell(n_in, hidden, bias=bias) if kind == "LSTM" else of.CELLS[kind](n_in, hidden, bias=bias)
    return cell * called.x[0]


def _recurrent(called: Called) -> Counted:
    if called.is_packed:
        _, sizes, *_ = tensors_in(called.call.args)
        states = next(tensors_in(called.call.outputs[1]))
        positions = sizes.shape[0] * states.shape[1]
    elif len(called.x) < 2:
        raise ToolFailsError(f"{called.module.name}: it reads two sizes of the input {list(called.x)}")
    else:
        positions = prod(called.x[:2])
    counted = of.stacked(called, called.module.type, with_projection=False) * positions
    if called.is_packed and positions != called.x[0]:
        return counted, "fault: packed sequences are counted as if each were as long as the longest"
    if called.module.attributes.get("proj_size"):
        return counted, "fault: an LSTM's projection is not counted, and its states are taken to be as wide as the cell"
    return counted


_CONV = "a multiply-accumulate a weight and output position; biases are not counted"
_NORM = "4 an element of the input (subtract, divide, scale and shift), 2 without weights"
_GATES = "the products, and 1 for each addition and product of elements: biases, gates, states"
_ZERO = ModuleEntry(of.nothing, "nothing is counted")

ENTRIES = {
    **dict.fromkeys(of.CONV, ModuleEntry(_conv, _CONV)),
    **dict.fromkeys(
        of.TRANSPOSED_CONV,
        ModuleEntry(
            _conv,
            "fault: counted as a convolution, each output by all input channels of a group and a whole kernel, where a "
            "transposed one multiplies each input so",
        ),
    ),
    **dict.fromkeys((*of.BATCH_NORM, *of.INSTANCE_NORM, of.LAYER_NORM), ModuleEntry(_norm, _NORM)),
    "torch.nn.modules.batchnorm.SyncBatchNorm": ModuleEntry(_norm, _NORM),
    **dict.fromkeys(of.activation("PReLU"), ModuleEntry(lambda c: prod(c.x), "1 an element")),
    **dict.fromkeys(
        of.activation("Softmax"),
        ModuleEntry(_softmax, "an exponential and a division an element, and each row's additions"),
    ),
    **dict.fromkeys(of.AVG_POOL, ModuleEntry(lambda c: prod(c.y), "1 an output, whatever the window")),
    **dict.fromkeys(
        of.ADAPTIVE_AVG_POOL, ModuleEntry(_adaptive_pool, "an addition an input of the window, a division an output")
    ),
    of.LINEAR: ModuleEntry(_linear, "a multiply-accumulate a weight and row; biases are not counted"),
    **dict.fromkeys(
        of.UPSAMPLE, ModuleEntry(_upsample, "1 an output, 5 linear, 11 bilinear, 259 bicubic"),
    ),
    **dict.fromkeys(of.recurrent("RNNCell", "GRUCell", "LSTMCell"), ModuleEntry(_cell, _GATES)),
    **dict.fromkeys(of.recurrent("RNN", "GRU", "LSTM"), ModuleEntry(_recurrent, _GATES)),
    **dict.fromkeys(
        (
            *of.MAX_POOL, *of.activation("ReLU", "ReLU6", "LeakyReLU"), of.SEQUENTIAL,
            "torch.nn.modules.padding.ZeroPad2d", "torch.nn.modules.dropout.Dropout",
            "torch.nn.modules.pixelshuffle.PixelShuffle",
        ),
        _ZERO,
    ),
}  # fmt: skip
"""By the module's class, which must be exactly that."""


def _counts(tool: Tool, reading: Reading) -> Iterator[Count]:
    times = paths(reading)
    for called in calls(reading):
        entry = tool.modules.get(called.module.bases[0])
        if entry is not None and not called.module.children:
            n = times[called.module.name]
            count = module_count(called, entry)
            if n > 1 and count.amount:
                why = f"fault: a module that is held {n} times has {n} hooks, and is summed {n} times"
                count = Count(
                    count.name, count.type, count.op, count.first, count.end, n * n * count.amount, why
                )  # fmt: skip
            yield count


def _params(reading: Reading) -> int:
    """Parameters of modules that have a hook and were called, as often as each is reached; none of the model's own."""
    called = {call.owner for call in reading.graph.calls}

    def below(module: ReadModule) -> int:
        total = 0
        for key in dict.fromkeys(key for _, key in module.children):
            child = reading.modules[key]
            kind = child.bases[0]
            if kind in ENTRIES and kind != of.SEQUENTIAL:
                total += sum(p.size for p in child.parameters.values()) if key in called else 0
            else:
                total += below(child)
        return total

    return below(reading.modules[""])


THOP = Tool(
    name="thop",
    package="thop",
    version="0.1.1.post2209072238",
    unit="MACs",
    calls_it="total_ops, or MACs",
    counts=_counts,
    params=_params,
    not_counted=lambda op: f"{op} runs in no module of a class that has a hook, and counts 0",
    modules=ENTRIES,
    mode="eval",
    around="torch.no_grad",
    remarks=(
        "A class of one's own that derives from one of torch's has no hook.",
        "Parameters are those of modules with a hook that were called: none of embeddings, attention, a lone layer.",
        "It fails on hooked modules whose input is given by keyword.",
    ),
)
