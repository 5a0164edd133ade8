"""Views: the same storage under another shape. None of them computes or moves anything."""

from __future__ import annotations

from collections.abc import Callable

from costmodel.graph import OpCall, TensorSpec
from costmodel.ops.rule import Example, Rule, Torch, example, free, register
from costmodel.ops.sight import aligned, everything, pointwise, regrouped
from costmodel.window import Fixed, Follow, Sight, Tap, Whole

_VIEW = "a view: the same storage under another shape"
_X = TensorSpec((2, 3, 4))
_SQUEEZABLE = TensorSpec((2, 1, 3, 1))


def _view(
    *targets: str, window: Callable[[OpCall, int], Sight], examples: tuple[Example, ...], because: str = _VIEW
) -> Rule:
    return free(*targets, because=because, kind="view", outputs=Torch.VIEW, window=window, examples=examples)


def _following(positions: list[int]) -> Sight:
    """Input dimension d follows output dimension ``positions[d]``."""
    return {"self": tuple(Follow(p) for p in positions)}


def _along(call: OpCall, dim: int, tap: Tap, *, kept: bool) -> Sight:
    """``tap`` along ``dim``, the other dimensions as they are; without ``kept`` the output lacks ``dim``."""
    dim %= len(call.args["self"].shape)
    rank = len(call.args["self"].shape)
    return {"self": tuple(tap if d == dim else Follow(d - (d > dim and not kept)) for d in range(rank))}


def _permute(call: OpCall, output: int) -> Sight:
    rank = len(call.args["self"].shape)
    dims = [d % rank for d in call.args["dims"]]
    return _following([dims.index(d) for d in range(rank)])


def _swapped(first: str, second: str) -> Callable[[OpCall, int], Sight]:
    def window(call: OpCall, output: int) -> Sight:
        positions = list(range(len(call.args["self"].shape)))
        if positions:
            a, b = call.args[first], call.args[second]
            positions[a], positions[b] = positions[b], positions[a]
        return _following(positions)

    return window


def _t(call: OpCall, output: int) -> Sight:
    return _following(list(reversed(range(len(call.args["self"].shape)))))


def _movedim(call: OpCall, output: int) -> Sight:
    rank = len(call.args["self"].shape)
    as_list = [v if isinstance(v, (list, tuple)) else [v] for v in (call.args["source"], call.args["destination"])]
    source, destination = ([d % rank for d in dims] for dims in as_list)
    moved = dict(zip(source, destination, strict=True))
    rest = iter(p for p in range(rank) if p not in destination)
    return _following([moved[d] if d in moved else next(rest) for d in range(rank)])


def _expand(call: OpCall, output: int) -> Sight:
    return {"self": aligned(call.args["self"], call.outputs[0])}


def _unsqueeze(call: OpCall, output: int) -> Sight:
    rank = len(call.outputs[0].shape)
    new = call.args["dim"] % rank
    return _following([d for d in range(rank) if d != new])


def _squeeze(call: OpCall, output: int) -> Sight:
    shape = call.args["self"].shape
    dims = call.args.get("dim", range(len(shape)))
    dims = {d % len(shape) for d in ([dims] if isinstance(dims, int) else dims) if shape}
    gone = {d for d in dims if shape[d] == 1}
    taps: list[Tap] = []
    position = 0
    for d in range(len(shape)):
        taps.append(Fixed(0) if d in gone else Follow(position))
        position += d not in gone
    return {"self": tuple(taps)}


def _select(call: OpCall, output: int) -> Sight:
    dim = call.args["dim"]
    return _along(call, dim, Fixed(call.args["index"] % call.args["self"].shape[dim]), kept=False)


def _unbind(call: OpCall, output: int) -> Sight:
    return _along(call, call.args["dim"], Fixed(output), kept=False)


def slice_start(start: int | None, length: int) -> int:
    """Where a slice of an axis begins: negative counts from the end, and what lies outside is clamped."""
    start = start or 0
    return min(max(start + length if start < 0 else start, 0), length)


def _slice(call: OpCall, output: int) -> Sight:
    dim = call.args["dim"]
    start = slice_start(call.args["start"], call.args["self"].shape[dim])
    return _along(call, dim, Follow(dim % len(call.args["self"].shape), call.args["step"], start, start), kept=True)


def _narrow(call: OpCall, output: int) -> Sight:
    dim = call.args["dim"] % len(call.args["self"].shape)
    start = slice_start(call.args["start"], call.args["self"].shape[dim])
    return _along(call, dim, Follow(dim, 1, start, start), kept=True)


def _piece(call: OpCall, output: int) -> Sight:
    # Pieces lie one after the other.
    dim = call.args["dim"] % len(call.args["self"].shape)
    start = sum(y.shape[dim] for y in call.outputs[:output])
    return _along(call, dim, Follow(dim, 1, start, start), kept=True)


def _diagonal(call: OpCall, output: int) -> Sight:
    # The two dimensions are gone; their common diagonal is the last one.
    rank = len(call.args["self"].shape)
    dim1, dim2 = call.args["dim1"] % rank, call.args["dim2"] % rank
    below, right = max(-call.args["offset"], 0), max(call.args["offset"], 0)
    rest = iter(range(rank))
    on_diagonal = {dim1: Follow(rank - 2, 1, below, below), dim2: Follow(rank - 2, 1, right, right)}
    return {"self": tuple(on_diagonal[d] if d in on_diagonal else Follow(next(rest)) for d in range(rank))}


def unfolded(call: OpCall, output: int) -> Sight:
    """Overlapping windows of ``size`` every ``step``, the position inside a window being a new last dimension."""
    dim = call.args["dimension"] % max(len(call.args["self"].shape), 1)
    return _along(call, dim, Follow(dim, call.args["step"], 0, call.args["size"] - 1), kept=True)


def _split_last(call: OpCall, output: int) -> Sight:
    return _following(list(range(len(call.args["self"].shape))))


def _joined_last(call: OpCall, output: int) -> Sight:
    rank = len(call.args["self"].shape)
    return {"self": (*(Follow(d) for d in range(rank - 1)), Whole())}


def _reinterpreted(call: OpCall, output: int) -> Sight:
    same_size = call.args["self"].itemsize == call.outputs[0].itemsize
    return pointwise(call, output) if same_size else _joined_last(call, output)


register(
    _view(
        "aten.view.default", "aten._unsafe_view.default", window=regrouped(),
        examples=(example(_X, [6, -1]), example(_X, [2, 3, 2, 2])),
    ),
    _view("aten._reshape_alias.default", window=regrouped(), examples=(example(_X, [6, 4], [4, 1]),)),
    _view("aten.view_as.default", window=regrouped(), examples=(example(_X, TensorSpec((4, 6))),)),
    _view("aten.unflatten.int", window=regrouped(), examples=(example(_X, 2, [2, 2]),)),
    _view("aten.view.dtype", window=_reinterpreted, examples=(example(_X, "int32"), example(_X, "float16"))),
    _view("aten.t.default", "aten.t_.default", window=_t,
          examples=(example(TensorSpec((2, 3))), example(TensorSpec((3,))))),
    _view("aten.numpy_T.default", window=_t, examples=(example(_X),)),
    _view("aten.transpose.int", "aten.transpose_.default", window=_swapped("dim0", "dim1"),
          examples=(example(_X, 1, -1),)),
    _view("aten.swapaxes.default", window=_swapped("axis0", "axis1"), examples=(example(_X, 0, 2),)),
    _view("aten.permute.default", window=_permute, examples=(example(_X, [2, 0, 1]), example(_X, [0, -1, 1]))),
    _view("aten.movedim.int", window=_movedim, examples=(example(_X, 0, -1),)),
    _view("aten.movedim.intlist", window=_movedim, examples=(example(_X, [0, 1], [2, 0]),)),
    _view("aten.expand.default", window=_expand, examples=(example(TensorSpec((3, 1)), [2, -1, 4]),)),
    _view("aten.expand_as.default", window=_expand, examples=(example(TensorSpec((3, 1)), _X),)),
    _view(
        "aten.unsqueeze.default", "aten.unsqueeze_.default", window=_unsqueeze,
        examples=(example(_X, 1), example(_X, -1)),
    ),
    _view("aten.squeeze.default", "aten.squeeze_.default", window=_squeeze, examples=(example(_SQUEEZABLE),)),
    _view(
        "aten.squeeze.dim", "aten.squeeze_.dim", window=_squeeze,
        examples=(example(_SQUEEZABLE, -1), example(_SQUEEZABLE, 0)),
    ),
    _view("aten.squeeze.dims", "aten.squeeze_.dims", window=_squeeze, examples=(example(_SQUEEZABLE, [1, -1]),)),
    _view("aten.select.int", window=_select, examples=(example(_X, 1, -1), example(_X, -1, 2))),
    _view(
        "aten.slice.Tensor", window=_slice,
        examples=(example(_X, 1, 1), example(_X, -1, -3, 9, 2), example(_X, 0, None, 1), example(_X)),
    ),
    _view("aten.narrow.default", window=_narrow, examples=(example(_X, 2, 1, 2),)),
    _view("aten.split.Tensor", "aten.unsafe_split.Tensor", window=_piece,
          examples=(example(_X, 3, 2), example(_X, 1, -2))),
    _view(
        "aten.split_with_sizes.default", "aten.unsafe_split_with_sizes.default", "aten.split.sizes", window=_piece,
        examples=(example(_X, [1, 2], 1),),
    ),
    _view("aten.chunk.default", "aten.unsafe_chunk.default", window=_piece, examples=(example(_X, 2, -1),)),
    _view("aten.tensor_split.sections", window=_piece, examples=(example(_X, 3, 2),)),
    _view("aten.tensor_split.indices", window=_piece, examples=(example(_X, [1], 2),)),
    _view("aten.unbind.int", window=_unbind, examples=(example(_X, 1), example(_X, -1))),
    _view(
        "aten.diagonal.default", window=_diagonal,
        examples=(example(_X, 1, 1, 2), example(_X, -1, -1, 0)),
    ),
    _view("aten.unfold.default", window=unfolded, examples=(example(_X, 2, 3, 1), example(_X, -1, 2, 2))),
    _view(
        "aten.as_strided.default", "aten.as_strided_.default", window=everything,
        examples=(example(_X, [3, 2], [1, 3], 2),), because="a view: the same storage under other strides",
    ),
    _view(
        "aten.alias.default", "aten.detach.default", "aten.detach_.default", "aten.positive.default",
        "aten.lift_fresh.default", window=pointwise, examples=(example(_X),),
        because="the tensor itself under another name",
    ),
    _view("aten.view_as_real.default", window=_split_last, examples=(example(TensorSpec((2, 3), "complex64")),)),
    _view("aten.view_as_complex.default", window=_joined_last, examples=(example(TensorSpec((3, 2))),)),
    _view(
        "aten._conj.default", "aten.conj.default", "aten.real.default", "aten.imag.default", "aten.resolve_neg.default",
        window=pointwise, examples=(example(TensorSpec((2, 3), "complex64")),),
        because="a view: a flag on, or a part of, the same storage",
    ),
)  # fmt: skip
