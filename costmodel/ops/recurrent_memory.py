"""Temporaries of recurrent layers, over their layers, directions and steps.

Source: aten/src/ATen/native/RNN.cpp, and for an LSTM in float32 aten/src/ATen/native/mkldnn/RNN.cpp: oneDNN does a
whole layer at once.
"""

from __future__ import annotations

from costmodel.graph import Arguments, TensorSpec
from costmodel.ops.temporaries import are_one, bytes_besides


class _Live:
    """Elements that are live, and the most that ever were."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def take(self, *elements: int) -> None:
        """Allocates tensors one after the other."""
        self.now += sum(elements)
        self.most = max(self.most, self.now)

    def free(self, *elements: int) -> None:
        """Frees tensors."""
        self.now -= sum(elements)


def temporaries_of_layers(cell: str, gates: int, args: Arguments, outputs: tuple[TensorSpec, ...]) -> list[TensorSpec]:
    """The peak of live tensors, without the outputs, of ``aten.lstm``, ``gru`` or ``rnn_*``."""
    x, params = args["data"] if "data" in args else args["input"], args["params"]
    if x.size == 0:
        return []
    projected = cell == "lstm" and outputs[1].shape[-1] != outputs[2].shape[-1]
    if cell == "lstm" and x.dtype == "float32" and not projected and "data" not in args:
        live = _onednn(args, gates)
    else:
        live = _step_by_step(cell, gates, args)
    return bytes_besides(sum(y.nbytes for y in outputs), live.most * params[0].itemsize)


def _sizes(args: Arguments) -> tuple[int, int, int]:
    """(steps, sequences, features) of the input; all sequences of a packed one are taken to be of equal length."""
    if "data" in args:
        rows, features = args["data"].shape
        steps = args["batch_sizes"].shape[0]
        return steps, -(-rows // steps), features
    x = args["input"]
    first, second, features = x.shape
    return (second, first, features) if args["batch_first"] else (first, second, features)


def _in_steps(args: Arguments) -> TensorSpec:
    """The input as it is read, one step after the other."""
    x: TensorSpec = args["input"]
    if not args["batch_first"]:
        return x
    (batch, steps, features), (s_batch, s_steps, s_features) = x.shape, x.full_strides
    return TensorSpec((steps, batch, features), x.dtype, (s_steps, s_batch, s_features))


def _is_copied(args: Arguments) -> bool:
    """Whether all steps of the input are copied to one matrix."""
    if "data" in args:
        return False
    x = _in_steps(args)
    return not are_one(x.shape[:2], x.full_strides[:2])


def _onednn(args: Arguments, gates: int) -> _Live:
    steps, batch, features = _sizes(args)
    directions = 2 if args["bidirectional"] else 1
    state = batch * args["hx"][0].shape[-1]
    sequence, bias = steps * state, gates * args["hx"][0].shape[-1] if args["has_biases"] else 0
    live = _Live()
    if not _in_steps(args).is_contiguous:
        live.take(steps * batch * features)
    joined = 0  # both directions of the layer before
    for layer in range(args["num_layers"]):
        for _ in range(directions):
            live.take(sequence, state, state, bias)
            live.free(bias)
            if layer:  # takes the place of the same direction's sequence of the layer before
                live.free(sequence)
        last = layer == args["num_layers"] - 1
        if directions == 2:
            live.take(2 * sequence)
            live.free(joined)
            joined = 2 * sequence
        if not last and args["train"] and args["dropout"]:
            live.take(directions * sequence)
            live.free(joined)
            joined = directions * sequence
    states = args["num_layers"] * directions * state
    live.take(states, states)
    return live


def _step_by_step(cell: str, gates: int, args: Arguments) -> _Live:
    steps, batch, features = _sizes(args)
    directions = 2 if args["bidirectional"] else 1
    states = args["hx"] if isinstance(args["hx"], list) else [args["hx"]]
    hidden, shown = batch * states[-1].shape[-1], batch * states[0].shape[-1]
    kept = hidden if cell == "lstm" else 0  # the cell's state, besides what is shown
    live, given = _Live(), 0
    for layer in range(args["num_layers"]):
        products = steps * gates * hidden  # of all steps' inputs with the weights, at once
        before = 0
        for _ in range(directions):
            rows = steps * batch * features if layer == 0 and _is_copied(args) else 0
            live.take(rows, products)
            live.free(rows, before)
            for step in range(steps):
                _step(live, cell, gates, hidden, shown)
                if step:
                    live.free(kept)
            live.take(steps * shown)  # the steps, stacked
            before = products
            if directions == 1:
                live.free(products, (steps - 1) * shown)
        if directions == 2:
            live.take(2 * steps * shown)
            live.free(products, 2 * steps * shown, 2 * (steps - 1) * shown)
        live.free(given)
        given = directions * steps * shown  # dropout's copy of it is smaller than what is live inside a layer
    final = args["num_layers"] * directions
    live.take(final * kept, final * shown)
    return live


def _step(live: _Live, cell: str, gates: int, hidden: int, shown: int) -> None:
    """One step of one direction: it leaves the new state."""
    live.take(gates * hidden)
    if cell == "lstm":
        live.take(hidden, hidden)  # the new cell state, from two products
        live.free(hidden)
        live.take(hidden, hidden)  # its tanh, and times the output gate
        live.free(hidden)
        if shown != hidden:
            live.take(shown)
            live.free(hidden)
        live.free(gates * hidden)
    elif cell == "gru":
        live.take(hidden, hidden)
        live.free(hidden, gates * hidden)
    else:
        live.take(hidden)
        live.free(gates * hidden)


def temporaries_of_cell(cell: str, gates: int, args: Arguments, outputs: tuple[TensorSpec, ...]) -> list[TensorSpec]:
    """The peak of live tensors, without the outputs, of a single step."""
    hidden = outputs[0].size
    live = _Live()
    live.take(gates * hidden)
    if cell == "lstm":  # both products are added before anything else is made, which is less
        live.take(gates * hidden)
    else:
        _step(live, cell, gates, hidden, hidden)
    return bytes_besides(sum(y.nbytes for y in outputs), live.most * outputs[0].itemsize)
