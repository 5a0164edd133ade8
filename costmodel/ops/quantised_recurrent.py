"""LSTM, GRU and plain recurrent layers and cells whose weights are quantised, and whose inputs are at run time.

The products with the inputs of all steps are done at once, those with the states step by step; each quantises what it
is given to the range of its values (aten/src/ATen/native/RNN.cpp: ``FullLayer``, ``QuantizedCellParamsDynamic``).

The rules tell no temporaries, although a step has some: in a layer of one direction those of all gates of one step.
"""

from __future__ import annotations

from collections.abc import Callable

from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops.quantisation import QUANTISED, SOURCE
from costmodel.ops.recurrent import GATES, UNIT, access_of_cell, access_of_layers, outputs_of_layers, tokens_of
from costmodel.ops.rule import Outputs, Rule, always, every_argument, moved, no_temporaries, register_quantised
from costmodel.quantities import Traffic, Work


def _product(w: TensorSpec, rows: int, times: int) -> Work:
    """Products of ``rows`` rows with a weight, in ``times`` calls, each of which finds a range of its own."""
    macs = Work(macs=rows * w.size)
    if w.dtype == "float16":
        return macs  # cast, and nothing is quantised
    elements = rows * w.shape[1]
    ranges = Work(compares=2 * (elements - times), adds=2 * times, divides=2 * times)
    return macs + ranges + QUANTISED.times(elements) + Work(multiplies=rows * w.shape[0])


def _after(cell: str, hidden: int, biases: int) -> Work:
    """What one sample takes in one step besides products: biases, and the equations of the cell."""
    unit, tanhs = UNIT[cell]
    return Work(adds=biases * GATES[cell] * hidden, transcendentals=tanhs * hidden) + unit.times(hidden)


def _layers_work(cell: str) -> Callable[[OpCall], Work]:
    def work(call: OpCall) -> Work:
        args = call.args
        params, tokens = args["params"], tokens_of(args)
        if not tokens:
            return Work()
        steps = args["batch_sizes"].shape[0] if "data" in args else args["input"].shape[bool(args["batch_first"])]
        directions = 2 if args["bidirectional"] else 1
        of_each = len(params) // (args["num_layers"] * directions)
        total = Work()
        for at in range(0, len(params), of_each):
            w_ih, w_hh = params[at : at + 2]
            total += _product(w_ih, tokens, 1) + _product(w_hh, tokens, steps)
            total += _after(cell, w_hh.shape[1], biases=of_each - 2).times(tokens)
        if args["train"] and args["dropout"]:  # what each layer hands to the next is masked and scaled
            total += Work(multiplies=2 * (args["num_layers"] - 1) * call.outputs[0].shape[-1] * tokens)
        return total

    return work


def _cell_work(cell: str) -> Callable[[OpCall], Work]:
    def work(call: OpCall) -> Work:
        (w_ih, *b_ih), (w_hh, *b_hh), rows = call.args["w_ih"], call.args["w_hh"], call.args["input"].shape[0]
        if not rows:
            return Work()
        after = _after(cell, w_hh.shape[1], len(b_ih) + len(b_hh)).times(rows)
        return _product(w_ih, rows, 1) + _product(w_hh, rows, 1) + after

    return work


def _cell_outputs(args: Arguments) -> Outputs:
    x, states, (w_ih, *_) = args["input"], args["hx"], args["w_ih"]
    if x.shape[-1] != w_ih.shape[1]:
        raise ValueError(f"the recurrent cell takes {w_ih.shape[1]} features, got {x.shape}")
    if isinstance(states, list):
        return tuple(TensorSpec(h.shape, x.dtype) for h in states)
    return TensorSpec(states.shape, x.dtype)


def _cell_traffic(call: OpCall) -> Traffic:
    """Biases are packed with the weights; those that are passed beside them are not read."""
    return moved((t for name, t in call.tensors() if not name.startswith(("b_", "bias_"))), call.outputs)


def _layers(cell: str, *targets: str) -> Rule:
    return Rule(
        targets=targets, kind=always("recurrent"), outputs=outputs_of_layers, work=_layers_work(cell),
        traffic=every_argument, access=access_of_layers, temporaries=no_temporaries, fusible=False,
        source=f"torch.nn.LSTM and torch.nn.GRU; {SOURCE}", free_because=None, examples=(),
    )  # fmt: skip


register_quantised(
    *(_layers(cell, f"aten.quantized_{cell}.input", f"aten.quantized_{cell}.data") for cell in ("lstm", "gru")),
    *(
        Rule(
            targets=(f"quantized.quantized_{cell}_cell_dynamic.default",), kind=always("recurrent"),
            outputs=_cell_outputs, work=_cell_work(cell), traffic=_cell_traffic, access=access_of_cell,
            temporaries=no_temporaries, fusible=False, source=f"torch.nn.LSTMCell; {SOURCE}", free_because=None,
            examples=(),
        )
        for cell in GATES
    ),
)  # fmt: skip
