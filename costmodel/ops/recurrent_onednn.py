"""A layer of an LSTM in one direction, as oneDNN computes it at once on the CPU where autograd records it."""

from __future__ import annotations

from math import prod

from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops.access import everything
from costmodel.ops.recurrent import work_of_steps
from costmodel.ops.rule import Gradients, Rule, always, example, moved, register
from costmodel.ops.temporaries import copy
from costmodel.ops.versions import Change, has
from costmodel.quantities import Traffic, Work

_PAGE, _LINE = 4096, 64
"""Bytes that parts of the workspace, and rows in them, begin at multiples of."""


def workspace(*, steps: int, batch: int, features: int, hidden: int, itemsize: int) -> int:
    """Bytes that a forward keeps for its gradient, in parts that it computes and parts that the gradient will.

    Gates and what a step shows, by step; the states at both sides of the layer, and their gradients in single
    precision, of each step and one before. Source: ``set_workspace_sizes`` and ``set_offsets`` in oneDNN's
    src/cpu/rnn/rnn_utils.hpp; its release 3.5 kept two states more than 3.12.

    >>> workspace(steps=1, batch=1, features=1, hidden=1, itemsize=4) == 7 * 4096
    True
    """
    states = 2 * (steps + 1) * batch
    wide, rows = max(features, hidden), steps * batch
    parts = [
        rows * _row(4 * hidden, itemsize), rows * _row(hidden, itemsize), states * _row(wide, itemsize),
        states * _row(wide, 4), states * _row(wide, 4), states * hidden * itemsize, states * hidden * 4,
    ]  # fmt: skip
    if not has(Change.ONEDNN_KEEPS_LESS):
        parts += [states * _row(wide, itemsize)] * 2
    return sum(-(-part // _PAGE) * _PAGE for part in parts)


def _row(elements: int, itemsize: int) -> int:
    """Bytes of a row, which is not a multiple of 256 elements long: such rows would share lines of the cache."""
    line = _LINE // itemsize
    padded = -(-elements // line) * line
    return (padded + line if padded % 256 == 0 else padded) * itemsize


def weights_of(args: Arguments, first: int) -> tuple[TensorSpec, TensorSpec]:
    """Those of the input and of the state; torch counts them from 0 here, from 1 in the gradient."""
    return args[f"weight{first}"], args[f"weight{first + 1}"]


def _outputs(args: Arguments) -> Gradients:
    x, h, c = args["input"], args["hx_"], args["cx_"]
    steps, batch, features = x.shape
    hidden = args["hidden_size"]
    kept = None
    if args["train"]:
        size = workspace(steps=steps, batch=batch, features=features, hidden=hidden, itemsize=x.itemsize)
        kept = TensorSpec((size,), "uint8")
    return TensorSpec((steps, batch, hidden), x.dtype), TensorSpec(h.shape, h.dtype), TensorSpec(c.shape, c.dtype), kept


def _work(call: OpCall) -> Work:
    args = call.args
    step = work_of_steps("lstm", list(weights_of(args, 0)), biases=2 if args["has_biases"] else 0, parts=False)
    return step.times(prod(args["input"].shape[:2]))


def _traffic(call: OpCall) -> Traffic:
    # What is kept for the gradient is left out on both sides: it is as large as oneDNN's alignment makes it.
    args = call.args
    biases = [args["weight2"], args["weight3"]] if args["has_biases"] else []
    return moved([args["input"], *weights_of(args, 0), *biases, args["hx_"], args["cx_"]], call.outputs[:3])


def temporaries_of(args: Arguments, first: int) -> list[TensorSpec]:
    """Both biases in one, and weights that are not contiguous."""
    weights = weights_of(args, first)
    both = [TensorSpec((4 * args["hidden_size"],), weights[0].dtype)] if args["has_biases"] else []
    return [*both, *(copy(w) for w in weights if not w.is_contiguous)]


def _temporaries(args: Arguments) -> list[TensorSpec]:
    return temporaries_of(args, 0)


_X, _H = TensorSpec((5, 2, 3)), TensorSpec((2, 4))
_WEIGHTS = TensorSpec((16, 3)), TensorSpec((16, 4))
_B = TensorSpec((16,))

register(
    Rule(
        targets=("aten.mkldnn_rnn_layer.default",), kind=always("recurrent"), outputs=_outputs, work=_work,
        traffic=_traffic, access=everything, temporaries=_temporaries, fusible=False,
        source="torch.nn.LSTM: the equations of its documentation", free_because=None,
        examples=(
            example(_X, *_WEIGHTS, _B, _B, _H, _H, False, [], 2, 4, 1, True, False, False, True),
            example(_X, *_WEIGHTS, *_WEIGHTS, _H, _H, True, [], 2, 4, 1, False, True, False, True),
        ),
    ),
)  # fmt: skip
