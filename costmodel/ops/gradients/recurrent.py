"""The gradient of an LSTM's layer in one direction, as oneDNN computes it at once: all of its gradients, always."""

from __future__ import annotations

from math import prod
from typing import Any

from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops.access import everything
from costmodel.ops.recurrent_onednn import temporaries_of, weights_of
from costmodel.ops.rule import Outputs, Rule, always, example, moved, register
from costmodel.ops.temporaries import copy
from costmodel.quantities import Traffic, Work

UNIT = (
    Work(adds=1)  # dh: what the step showed, and what the next step made of it
    + Work(transcendentals=1)  # tanh(c), which was not kept
    + Work(multiplies=3, adds=2)  # dc = dc' f' + dh o (1 - tanh(c) tanh(c)); dc' f' is counted below
    + Work(multiplies=3, adds=1)  # of the gate o: dh tanh(c), times o (1 - o)
    + Work(multiplies=3, adds=1)  # of i: dc g, times i (1 - i)
    + Work(multiplies=3, adds=1)  # of f: dc times the state before, times f (1 - f)
    + Work(multiplies=3, adds=1)  # of g: dc i, times 1 - g g
    + Work(multiplies=1)  # dc f, for the step before
)
"""One hidden unit in one step. The gates and the cell's states were kept."""


def _outputs(args: Arguments) -> Outputs:
    bias = TensorSpec((4 * args["hidden_size"],))
    single = [TensorSpec(args[name].shape) for name in ("input", "weight1", "weight2")]
    return *single, bias, bias, *(TensorSpec(args[name].shape) for name in ("hx_", "cx_tmp"))


def _work(call: OpCall) -> Work:
    # Each weight's product is done twice, for the gradients of what it multiplied and of itself; a bias sums a gate.
    args = call.args
    rows = prod(args["input"].shape[:2])
    products = Work(macs=2 * rows * sum(w.size for w in weights_of(args, 1)))
    bias = Work(adds=max(rows - 1, 0)).times(4 * args["hidden_size"])
    return products + UNIT.times(rows * args["hidden_size"]) + bias


def _traffic(call: OpCall) -> Traffic:
    # Without what was kept, as in the forward.
    args = call.args
    given = [args[name] for name in ("grad_output", "grad_hy", "grad_cy") if args[name] is not None]
    read = [args["input"], *weights_of(args, 1), args["hx_"], args["cx_tmp"], args["output"], *given]
    return moved(read, call.outputs)


def _temporaries(args: Arguments) -> list[TensorSpec]:
    """As in the forward, and gradients that arrive with gaps; where one does not, oneDNN's own zeros are its affair."""
    given = [args[name] for name in ("grad_output", "grad_hy", "grad_cy") if args[name] is not None]
    return [*temporaries_of(args, 1), *(copy(g) for g in given if not g.is_contiguous)]


_X, _H, _Y, _B = TensorSpec((5, 2, 3)), TensorSpec((2, 4)), TensorSpec((5, 2, 4)), TensorSpec((16,))
_W = TensorSpec((16, 3)), TensorSpec((16, 4))
_ROOM = TensorSpec((16 * 4096,), "uint8")  # more than any release of oneDNN needs
_FURTHER: tuple[Any, ...] = False, 2, 4, 1, True, True, False, [], False, _ROOM

register(
    Rule(
        targets=("aten.mkldnn_rnn_layer_backward.default",), kind=always("recurrent"), outputs=_outputs, work=_work,
        traffic=_traffic, access=everything, temporaries=_temporaries, fusible=False,
        source="Werbos, Backpropagation through time (1990): the equations of torch.nn.LSTM, differentiated",
        free_because=None,
        examples=(
            example(_X, *_W, _B, _B, _H, _H, _Y, _H, _H, _Y, None, None, *_FURTHER),
            example(_X, *_W, _B, _B, _H, _H, _Y, _H, _H, _Y, _H, _H, *_FURTHER),
        ),
    ),
)  # fmt: skip
