"""LSTM, GRU and plain recurrent networks, each call one op, and their cells."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from costmodel.access import AccessMap, Affine, All, AxisMap
from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops import layout
from costmodel.ops.complex_numbers import TANH, as_counted, in_parts, is_complex
from costmodel.ops.recurrent_memory import temporaries_of_cell, temporaries_of_layers
from costmodel.ops.rule import Example, Outputs, Rule, always, every_argument, example, register
from costmodel.quantities import Work

_SIGMOID = Work(transcendentals=1, adds=1, divides=1)

# What one hidden unit does in one step, once the products with both weights and their biases are there. The
# halves W_ih x and W_hh h of every gate are added together first. Beside it stand its hyperbolic tangents.
UNIT: dict[str, tuple[Work, int]] = {
    # i, f, o sigmoids, g tanh; c' = f c + i g; h' = o tanh(c')
    "lstm": (Work(adds=4) + _SIGMOID.times(3) + Work(multiplies=2, adds=1) + Work(multiplies=1), 2),
    # r, z sigmoids; n = tanh(W_in x + r (W_hn h)); h' = (1 - z) n + z h
    "gru": (Work(adds=3) + _SIGMOID.times(2) + Work(multiplies=1) + Work(adds=1, multiplies=2) + Work(adds=1), 1),
    "rnn_tanh": (Work(adds=1), 1),
    "rnn_relu": (Work(adds=1) + Work(compares=1), 0),
}
GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


def work_of_steps(cell: str, weights: list[TensorSpec], biases: int, parts: bool) -> Work:
    """One step of one layer in one direction on one sample; ``parts``: of complex numbers.

    Shapes of the weights: (gates H, in) and (gates H, h), and with a projection of the state (P, H).
    """
    hidden = weights[0].shape[0] // GATES[cell]
    # Every weight is applied once, and every bias is added once to each of its gates' units.
    unit, tanhs = UNIT[cell]
    step = Work(macs=sum(w.size for w in weights), adds=biases * weights[0].shape[0]) + unit.times(hidden)
    if parts:
        return in_parts(step) + TANH.times(tanhs * hidden)
    return step + Work(transcendentals=tanhs * hidden)


def _work(cell: str) -> Callable[[OpCall], Work]:
    def work(call: OpCall) -> Work:
        args = call.args
        tokens, params, parts = tokens_of(args), args["params"], is_complex(call)
        directions = 2 if args["bidirectional"] else 1
        per_direction = len(params) // (args["num_layers"] * directions)
        total = Work()
        for at in range(0, len(params), per_direction):
            layer = params[at : at + per_direction]
            # Matrices are weights, vectors are biases.
            weights = [p for p in layer if len(p.shape) == 2]
            total += work_of_steps(cell, weights, biases=len(layer) - len(weights), parts=parts)
        if args["train"] and args["dropout"]:
            # What each layer hands to the next is masked and scaled.
            between = (args["num_layers"] - 1) * call.outputs[0].shape[-1]
            masked = Work(multiplies=2 * between)
            total += in_parts(masked) if parts else masked
        return total.times(tokens)

    return work


def tokens_of(args: Arguments) -> int:
    """Time steps of all samples together; a packed sequence has as many rows."""
    if "data" in args:
        return int(args["data"].shape[0])
    return int(args["input"].shape[0] * args["input"].shape[1])


def _states(args: Arguments) -> list[TensorSpec]:
    hx = args["hx"]
    return hx if isinstance(hx, list) else [hx]


def outputs_of_layers(args: Arguments) -> tuple[TensorSpec, ...]:
    """The output of the last layer at every step, and the final states of all layers."""
    x = args["data"] if "data" in args else args["input"]
    packed = "data" in args
    if len(x.shape) != (2 if packed else 3) or x.shape[-1] != args["params"][0].shape[1]:
        raise ValueError(
            f"the recurrent layer takes {args['params'][0].shape[1]} features of "
            f"{'(tokens, features)' if packed else '(steps, batch, features)'}, got {x.shape}"
        )
    states = _states(args)
    width = states[0].shape[2] * (2 if args["bidirectional"] else 1)
    shape, strides = (*x.shape[:-1], width), None
    if args.get("batch_first"):
        # Steps are computed one after the other, so memory holds (steps, batch, features).
        strides = layout.normal((width, width * shape[0], 1), shape)
    return TensorSpec(shape, x.dtype, strides), *(TensorSpec(h.shape, h.dtype) for h in states)


def access_of_layers(call: OpCall, output: int) -> AccessMap:
    """Which positions of the input an output depends on."""
    # An output depends on the steps before it (and after it, with two directions): the closest axis map is All.
    if "data" in call.args:
        return {"data": (All(), All())}
    batch_first = call.args["batch_first"]
    # The final states are (layers, batch, features), whatever the layout of the input.
    batch = Affine(0 if batch_first and output == 0 else 1)
    axis_maps: tuple[AxisMap, ...] = (batch, All(), All()) if batch_first else (All(), batch, All())
    return {"input": axis_maps}


def _cell_work(cell: str) -> Callable[[OpCall], Work]:
    def work(call: OpCall) -> Work:
        args = call.args
        biases = sum(args[name] is not None for name in ("b_ih", "b_hh"))
        return work_of_steps(cell, [args["w_ih"], args["w_hh"]], biases, is_complex(call)).times(args["input"].shape[0])

    return work


def _cell_outputs(cell: str) -> Callable[[Arguments], Outputs]:
    def outputs(args: Arguments) -> Outputs:
        x, states = args["input"], _states(args)
        if x.shape[-1] != args["w_ih"].shape[1]:
            raise ValueError(f"the recurrent cell takes {args['w_ih'].shape[1]} features, got {x.shape}")
        if cell == "gru":
            # The one cell whose last operation begins with the old state, and so takes over its layout.
            return TensorSpec(states[0].shape, x.dtype, layout.preserved_strides(states[0].shape, states))
        fresh = tuple(TensorSpec(h.shape, x.dtype) for h in states)
        return fresh if len(fresh) > 1 else fresh[0]

    return outputs


def access_of_cell(call: OpCall, output: int) -> AccessMap:
    """Each sample of its own."""
    return {name: (Affine(0), All()) for name in ("input", "hx", "hx[0]", "hx[1]") if name in dict(call.tensors())}


def _rule(
    target: str,
    outputs: Callable[[Arguments], Outputs],
    work: Callable[[OpCall], Work],
    access: Callable[[OpCall, int], AccessMap],
    temporaries: Callable[[Arguments], Iterable[TensorSpec]],
    examples: tuple[Example, ...],
) -> Rule:
    return Rule(
        targets=(target,), kind=always("recurrent"), outputs=outputs, work=as_counted(work), traffic=every_argument,
        access=access, temporaries=temporaries, fusible=False,
        source="torch.nn.LSTM, torch.nn.GRU and torch.nn.RNN: the equations of their documentation",
        free_because=None, examples=examples,
    )  # fmt: skip


def _parameters(
    cell: str, n_in: int, hidden: int, layers: int, directions: int, bias: bool, projection: int = 0
) -> list[TensorSpec]:
    rows, state = GATES[cell] * hidden, projection or hidden
    params = []
    for layer in range(layers):
        for _ in range(directions):
            params += [TensorSpec((rows, n_in if layer == 0 else state * directions)), TensorSpec((rows, state))]
            params += [TensorSpec((rows,)), TensorSpec((rows,))] if bias else []
            params += [TensorSpec((projection, hidden))] if projection else []
    return params


def _examples(cell: str) -> tuple[Example, ...]:
    def case(layers: int, directions: int, bias: bool, dropout: float, train: bool, batch_first: bool,
             projection: int = 0) -> Example:  # fmt: skip
        x = TensorSpec((2, 5, 3) if batch_first else (5, 2, 3))
        h = TensorSpec((layers * directions, 2, projection or 4))
        hx = [h, TensorSpec((layers * directions, 2, 4))] if cell == "lstm" else h
        params = _parameters(cell, 3, 4, layers, directions, bias, projection)
        return example(x, hx, params, bias, layers, dropout, train, directions == 2, batch_first)

    cases = [case(1, 1, True, 0.0, False, False), case(2, 2, True, 0.5, True, True), case(2, 1, False, 0.0, True, True)]
    return (*cases, case(2, 2, True, 0.0, False, True, projection=3)) if cell == "lstm" else tuple(cases)


def _packed_example(cell: str) -> Example:
    h = TensorSpec((1, 0, 4))
    hx, params = ([h, h] if cell == "lstm" else h), _parameters(cell, 3, 4, 1, 1, True)
    # Integers are 0 in an example, so its one step has a batch of 0.
    return example(TensorSpec((0, 3)), TensorSpec((1,), "int64"), hx, params, True, 1, 0.0, False, False)


def _cell_examples(cell: str) -> tuple[Example, ...]:
    h, (w_ih, w_hh, b, _) = TensorSpec((2, 4)), _parameters(cell, 3, 4, 1, 1, True)
    hx = [h, h] if cell == "lstm" else h
    return (example(TensorSpec((2, 3)), hx, w_ih, w_hh, b, b), example(TensorSpec((2, 3)), hx, w_ih, w_hh))


def _of_layers(cell: str) -> Callable[[Arguments], list[TensorSpec]]:
    return lambda args: temporaries_of_layers(cell, GATES[cell], args, outputs_of_layers(args))


def _of_cell(cell: str) -> Callable[[Arguments], list[TensorSpec]]:
    outputs = _cell_outputs(cell)

    def temporaries(args: Arguments) -> list[TensorSpec]:
        made = outputs(args)
        return temporaries_of_cell(cell, GATES[cell], args, made if isinstance(made, tuple) else (made,))

    return temporaries


for _cell in GATES:
    _layers = outputs_of_layers, _work(_cell), access_of_layers, _of_layers(_cell)
    register(
        _rule(f"aten.{_cell}.input", *_layers, _examples(_cell)),
        _rule(f"aten.{_cell}.data", *_layers, (_packed_example(_cell),)),
        _rule(
            f"aten.{_cell}_cell.default", _cell_outputs(_cell), _cell_work(_cell), access_of_cell, _of_cell(_cell),
            _cell_examples(_cell),
        ),
    )  # fmt: skip
