"""Views: the same storage under another shape. None of them computes or moves anything."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from costmodel.access import AccessMap, Affine, All, AxisMap, Fixed
from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops.access import aligned, everything, pointwise, reshaped
from costmodel.ops.composite import Composite, register_composites
from costmodel.ops.rule import Example, Rule, Torch, example, free, register

_VIEW = "a view: the same storage under another shape"
_X = TensorSpec((2, 3, 4))
_SQUEEZABLE = TensorSpec((2, 1, 3, 1))


def _view(
    *targets: str, access: Callable[[OpCall, int], AccessMap], examples: tuple[Example, ...], because: str = _VIEW
) -> Rule:
    return free(*targets, because=because, kind="view", outputs=Torch.VIEW, access=access, examples=examples)


def _following(positions: list[int]) -> AccessMap:
    """Input dimension d follows output dimension ``positions[d]``."""
    return {"self": tuple(Affine(p) for p in positions)}


def _along(call: OpCall, dim: int, axis_map: AxisMap, *, kept: bool) -> AccessMap:
    """``axis_map`` along ``dim``, the other dimensions as they are; without ``kept`` the output lacks ``dim``."""
    dim %= len(call.args["self"].shape)
    rank = len(call.args["self"].shape)
    return {"self": tuple(axis_map if d == dim else Affine(d - (d > dim and not kept)) for d in range(rank))}


def _permute(call: OpCall, output: int) -> AccessMap:
    rank = len(call.args["self"].shape)
    dims = [d % rank for d in call.args["dims"]]
    return _following([dims.index(d) for d in range(rank)])


def _swapped(first: str, second: str) -> Callable[[OpCall, int], AccessMap]:
    def access(call: OpCall, output: int) -> AccessMap:
        positions = list(range(len(call.args["self"].shape)))
        if positions:
            a, b = call.args[first], call.args[second]
            positions[a], positions[b] = positions[b], positions[a]
        return _following(positions)

    return access


def _t(call: OpCall, output: int) -> AccessMap:
    return _following(list(reversed(range(len(call.args["self"].shape)))))


def _movedim(call: OpCall, output: int) -> AccessMap:
    rank = len(call.args["self"].shape)
    as_list = [v if isinstance(v, (list, tuple)) else [v] for v in (call.args["source"], call.args["destination"])]
    source, destination = ([d % rank for d in dims] for dims in as_list)
    moved = dict(zip(source, destination, strict=True))
    rest = iter(p for p in range(rank) if p not in destination)
    return _following([moved[d] if d in moved else next(rest) for d in range(rank)])


def _expand(call: OpCall, output: int) -> AccessMap:
    return {"self": aligned(call.args["self"], call.outputs[0])}


def _unsqueeze(call: OpCall, output: int) -> AccessMap:
    rank = len(call.outputs[0].shape)
    new = call.args["dim"] % rank
    return _following([d for d in range(rank) if d != new])


def _squeeze(call: OpCall, output: int) -> AccessMap:
    shape = call.args["self"].shape
    dims = call.args.get("dim", range(len(shape)))
    dims = {d % len(shape) for d in ([dims] if isinstance(dims, int) else dims) if shape}
    gone = {d for d in dims if shape[d] == 1}
    axis_maps: list[AxisMap] = []
    position = 0
    for d in range(len(shape)):
        axis_maps.append(Fixed(0) if d in gone else Affine(position))
        position += d not in gone
    return {"self": tuple(axis_maps)}


def _select(call: OpCall, output: int) -> AccessMap:
    dim = call.args["dim"]
    return _along(call, dim, Fixed(call.args["index"] % call.args["self"].shape[dim]), kept=False)


def _unbind(call: OpCall, output: int) -> AccessMap:
    return _along(call, call.args["dim"], Fixed(output), kept=False)


def slice_start(start: int | None, length: int) -> int:
    """Where a slice of an axis begins: negative counts from the end, and what lies outside is clamped."""
    start = start or 0
    return min(max(start + length if start < 0 else start, 0), length)


def _slice(call: OpCall, output: int) -> AccessMap:
    dim = call.args["dim"]
    start = slice_start(call.args["start"], call.args["self"].shape[dim])
    return _along(call, dim, Affine(dim % len(call.args["self"].shape), call.args["step"], start, start), kept=True)


def _narrow(call: OpCall, output: int) -> AccessMap:
    dim = call.args["dim"] % len(call.args["self"].shape)
    start = slice_start(call.args["start"], call.args["self"].shape[dim])
    return _along(call, dim, Affine(dim, 1, start, start), kept=True)


def _piece(call: OpCall, output: int) -> AccessMap:
    # Pieces follow each other.
    dim = call.args["dim"] % len(call.args["self"].shape)
    start = sum(y.shape[dim] for y in call.outputs[:output])
    return _along(call, dim, Affine(dim, 1, start, start), kept=True)


def _diagonal(call: OpCall, output: int) -> AccessMap:
    # The two dimensions are gone; their common diagonal is the last one.
    rank = len(call.args["self"].shape)
    dim1, dim2 = call.args["dim1"] % rank, call.args["dim2"] % rank
    below, right = max(-call.args["offset"], 0), max(call.args["offset"], 0)
    rest = iter(range(rank))
    on_diagonal = {dim1: Affine(rank - 2, 1, below, below), dim2: Affine(rank - 2, 1, right, right)}
    return {"self": tuple(on_diagonal[d] if d in on_diagonal else Affine(next(rest)) for d in range(rank))}


def unfolded(call: OpCall, output: int) -> AccessMap:
    """Overlapping windows of ``size`` every ``step``, the position inside a window being a new last dimension."""
    if not call.args["self"].shape:
        return {"self": ()}
    dim = call.args["dimension"] % len(call.args["self"].shape)
    return _along(call, dim, Affine(dim, call.args["step"], 0, call.args["size"] - 1), kept=True)


def _split_last(call: OpCall, output: int) -> AccessMap:
    return _following(list(range(len(call.args["self"].shape))))


def _joined_last(call: OpCall, output: int) -> AccessMap:
    rank = len(call.args["self"].shape)
    return {"self": (*(Affine(d) for d in range(rank - 1)), All())}


def _reinterpreted(call: OpCall, output: int) -> AccessMap:
    same_size = call.args["self"].itemsize == call.outputs[0].itemsize
    return pointwise(call, output) if same_size else _joined_last(call, output)


register(
    _view(
        "aten.view.default", "aten._unsafe_view.default", access=reshaped(),
        examples=(example(_X, [6, -1]), example(_X, [2, 3, 2, 2])),
    ),
    _view("aten._reshape_alias.default", access=reshaped(), examples=(example(_X, [6, 4], [4, 1]),)),
    _view("aten.view_as.default", access=reshaped(), examples=(example(_X, TensorSpec((4, 6))),)),
    _view("aten.unflatten.int", access=reshaped(), examples=(example(_X, 2, [2, 2]),)),
    _view("aten.view.dtype", access=_reinterpreted, examples=(example(_X, "int32"), example(_X, "float16"))),
    _view("aten.t.default", "aten.t_.default", access=_t,
          examples=(example(TensorSpec((2, 3))), example(TensorSpec((3,))))),
    _view("aten.numpy_T.default", access=_t, examples=(example(_X),)),
    _view("aten.transpose.int", "aten.transpose_.default", access=_swapped("dim0", "dim1"),
          examples=(example(_X, 1, -1),)),
    _view("aten.swapaxes.default", access=_swapped("axis0", "axis1"), examples=(example(_X, 0, 2),)),
    _view("aten.permute.default", access=_permute, examples=(example(_X, [2, 0, 1]), example(_X, [0, -1, 1]))),
    _view("aten.movedim.int", access=_movedim, examples=(example(_X, 0, -1),)),
    _view("aten.movedim.intlist", access=_movedim, examples=(example(_X, [0, 1], [2, 0]),)),
    _view("aten.expand.default", access=_expand, examples=(example(TensorSpec((3, 1)), [2, -1, 4]),)),
    _view("aten.expand_as.default", access=_expand, examples=(example(TensorSpec((3, 1)), _X),)),
    _view(
        "aten.unsqueeze.default", "aten.unsqueeze_.default", access=_unsqueeze,
        examples=(example(_X, 1), example(_X, -1)),
    ),
    _view("aten.squeeze.default", "aten.squeeze_.default", access=_squeeze, examples=(example(_SQUEEZABLE),)),
    _view(
        "aten.squeeze.dim", "aten.squeeze_.dim", access=_squeeze,
        examples=(example(_SQUEEZABLE, -1), example(_SQUEEZABLE, 0)),
    ),
    _view("aten.squeeze.dims", "aten.squeeze_.dims", access=_squeeze, examples=(example(_SQUEEZABLE, [1, -1]),)),
    _view("aten.select.int", access=_select, examples=(example(_X, 1, -1), example(_X, -1, 2))),
    _view(
        "aten.slice.Tensor", access=_slice,
        examples=(example(_X, 1, 1), example(_X, -1, -3, 9, 2), example(_X, 0, None, 1), example(_X)),
    ),
    _view("aten.narrow.default", access=_narrow, examples=(example(_X, 2, 1, 2),)),
    _view("aten.split.Tensor", "aten.unsafe_split.Tensor", access=_piece,
          examples=(example(_X, 3, 2), example(_X, 1, -2))),
    _view(
        "aten.split_with_sizes.default", "aten.unsafe_split_with_sizes.default", "aten.split.sizes", access=_piece,
        examples=(example(_X, [1, 2], 1),),
    ),
    _view("aten.chunk.default", "aten.unsafe_chunk.default", access=_piece, examples=(example(_X, 2, -1),)),
    _view("aten.tensor_split.sections", access=_piece, examples=(example(_X, 3, 2),)),
    _view("aten.tensor_split.indices", access=_piece, examples=(example(_X, [1], 2),)),
    _view("aten.unbind.int", access=_unbind, examples=(example(_X, 1), example(_X, -1))),
    _view(
        "aten.diagonal.default", access=_diagonal,
        examples=(example(_X, 1, 1, 2), example(_X, -1, -1, 0)),
    ),
    _view("aten.unfold.default", access=unfolded, examples=(example(_X, 2, 3, 1), example(_X, -1, 2, 2))),
    _view(
        "aten.as_strided.default", "aten.as_strided_.default", access=everything,
        examples=(example(_X, [3, 2], [1, 3], 2),), because="a view: the same storage under other strides",
    ),
    _view(
        "aten.alias.default", "aten.detach.default", "aten.detach_.default", "aten.positive.default",
        "aten.lift_fresh.default", "aten.lift.default", access=pointwise, examples=(example(_X),),
        because="the tensor itself under another name",
    ),
    _view("aten.view_as_real.default", access=_split_last, examples=(example(TensorSpec((2, 3), "complex64")),)),
    _view("aten.view_as_complex.default", access=_joined_last, examples=(example(TensorSpec((3, 2))),)),
    _view(
        "aten._conj.default", "aten.conj.default", "aten.real.default", "aten.imag.default", "aten.resolve_neg.default",
        access=pointwise, examples=(example(TensorSpec((2, 3), "complex64")),),
        because="a view: a flag on, or a part of, the same storage",
    ),
)  # fmt: skip


def _flatten(args: Arguments) -> Arguments | None:
    x: TensorSpec = args["self"]
    rank = len(x.shape)
    if not x.is_contiguous or rank == 0:
        return None  # it may have to be copied
    first, last = args["start_dim"] % rank, args["end_dim"] % rank
    if first >= last:
        return None
    return {"self": x, "size": [*x.shape[:first], prod(x.shape[first : last + 1]), *x.shape[last + 1 :]]}


def _reshape(args: Arguments) -> Arguments | None:
    return None if not args["self"].is_contiguous else {"self": args["self"], "size": args["shape"]}


register_composites(
    Composite(
        targets=("aten.flatten.using_ints",), core="aten.view.default", arguments=_flatten, examples=(example(_X, 1),)
    ),
    Composite(
        targets=("aten.reshape.default",),
        core="aten.view.default",
        arguments=_reshape,
        examples=(example(_X, [6, -1]),),
    ),
)
