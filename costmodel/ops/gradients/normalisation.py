"""Gradients of normalisations, from the mean and the deviation that the forward kept.

With n elements x in a group, y = (x - m) r of the mean m and the inverse deviation r, and a gradient d of y:
dx = r (d - mean(d) - y mean(d y)). The weight's gradient sums g y, the bias's sums g, over all that share them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod

from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops import layout
from costmodel.ops.access import everything
from costmodel.ops.reduction import sum_casts
from costmodel.ops.rule import (
    Example,
    Gradients,
    Rule,
    always,
    every_argument,
    example,
    moved,
    no_temporaries,
    register,
)
from costmodel.ops.temporaries import contiguous, copied_into_format, in_format_of
from costmodel.ops.versions import Change, has
from costmodel.quantities import Traffic, Work


def _standardised(n: int) -> Work:
    """y, of each element of a group of n."""
    return Work(adds=n, multiplies=n)


def _sum(n: int) -> Work:
    return Work(adds=max(n - 1, 0))


def _sum_of_products(n: int) -> Work:
    return Work(multiplies=n) + _sum(n)


def _of_group(n: int) -> Work:
    """dx of a group of n, from d, y and the sums of d and of d y."""
    return Work(divides=2, multiplies=2 * n, adds=2 * n)


# Batch normalisation ---------------------------------------------------------------------------------------------


def _batch_norm_work(call: OpCall) -> Work:
    args = call.args
    x, (of_input, of_weight, of_bias) = args["input"], args["output_mask"]
    channels = x.shape[1]
    n = x.size // channels if channels else 0
    if not n:
        return Work()
    weighted = Work(multiplies=1 if args["weight"] is not None else 0)
    if args["train"]:
        # d is w g, so that w multiplies r, and the sums are those of the weight's and the bias's gradients.
        products = _standardised(n) + _sum_of_products(n) if of_input or of_weight else Work()
        sums = _sum(n) if of_input or of_bias else Work()
        channel = products + sums + (_of_group(n) + weighted if of_input else Work())
    else:
        # The statistics are constants: dx = w r g, r = 1 / sqrt(variance + eps).
        deviation = Work(adds=1, transcendentals=1) if of_input or of_weight else Work()
        channel = deviation + (Work(multiplies=n) + weighted if of_input else Work())
        channel += _standardised(n) + _sum_of_products(n) if of_weight else Work()
        channel += _sum(n) if of_bias else Work()
    return channel.times(channels)


def _batch_norm(args: Arguments) -> Gradients:
    x, (of_input, of_weight, of_bias) = args["input"], args["output_mask"]
    given = next((args[name] for name in ("weight", "running_mean", "save_mean") if args[name] is not None), x)
    channel = TensorSpec((x.shape[1],), given.dtype)
    return (
        TensorSpec(x.shape, x.dtype, layout.in_format_of(x, x.shape)) if of_input else None,
        channel if of_weight else None,
        channel if of_bias else None,
    )


def _batch_norm_temporaries(args: Arguments) -> list[TensorSpec]:
    """The sums of what arrives, and its cast, where it and the input are in no one memory format.

    Source: ``batch_norm_backward_cpu_template`` in aten/src/ATen/native/Normalization.cpp.
    """
    x, g = args["input"], args["grad_out"]
    last = layout.suggested_channels_last(x)
    fast = last == layout.suggested_channels_last(g) and not any(map(copied_into_format, (x, g)))
    if fast:
        return []
    return [TensorSpec((x.shape[1],), x.dtype), *sum_casts({"self": g, "dim": [0, *range(2, len(g.shape))]})]


def _batch_norm_traffic(call: OpCall) -> Traffic:
    # Of the statistics, those of the batch in training, the running ones in evaluation.
    args = call.args
    statistics = ("save_mean", "save_invstd") if args["train"] else ("running_mean", "running_var")
    names = ("grad_out", "input", "weight", *statistics)
    return moved([t for name in names if (t := args[name]) is not None], call.outputs)


def _renamed(args: Arguments) -> Arguments:
    """The arguments of ``batch_norm_backward`` by the names of ``native_batch_norm_backward``."""
    return {**args, "train": args["update"], "save_invstd": args["save_var"]}


# Over the elements of each sample --------------------------------------------------------------------------------


def _rows_work(*, rows: int, n: int, shared: int, weight: bool, mask: tuple[bool, ...], centred: bool = True) -> Work:
    """Of ``rows`` groups of ``n`` elements each, the weight and the bias being of ``shared`` elements."""
    of_input, of_weight, of_bias = mask
    size = rows * n
    if not size:
        return Work()
    y = _standardised(n) if centred else Work(multiplies=n)
    total = y.times(rows) if of_input or of_weight else Work()
    if of_input:
        total += Work(multiplies=size if weight else 0)  # d = w g
        total += ((_sum(n) if centred else Work()) + _sum_of_products(n)).times(rows)
        total += (_of_group(n) if centred else Work(divides=1, multiplies=2 * n, adds=n)).times(rows)
    if of_weight:
        total += Work(multiplies=size, adds=max(size - shared, 0))
    if of_bias:
        total += Work(adds=max(size - shared, 0))
    return total


def _layer_norm_work(call: OpCall) -> Work:
    n, args = prod(call.args["normalized_shape"]), call.args
    rows = args["input"].size // n if n else 0
    return _rows_work(rows=rows, n=n, shared=n, weight=args["weight"] is not None, mask=tuple(args["output_mask"]))


def _layer_norm(args: Arguments) -> Gradients:
    x, w, (of_input, of_weight, of_bias) = args["input"], args["weight"], args["output_mask"]
    dtype = x.dtype if w is None else w.dtype
    shape = tuple(args["normalized_shape"])
    return (
        TensorSpec(x.shape, x.dtype) if of_input else None,
        TensorSpec(shape, dtype) if of_weight else None,
        TensorSpec(shape, dtype) if of_bias else None,
    )


def _group_norm_work(call: OpCall) -> Work:
    args = call.args
    rows, channels = args["N"] * args["group"], args["C"]
    n = args["input"].size // rows if rows else 0
    return _rows_work(
        rows=rows, n=n, shared=channels, weight=args["weight"] is not None, mask=tuple(args["output_mask"])
    )


def _group_norm(args: Arguments) -> Gradients:
    x, w, (of_input, of_weight, of_bias) = args["input"], args["weight"], args["output_mask"]
    channel = TensorSpec((args["C"],), x.dtype if w is None else w.dtype)
    return (
        TensorSpec(x.shape, x.dtype, layout.in_format_of(x, x.shape)) if of_input else None,
        channel if of_weight else None,
        channel if of_bias else None,
    )


_in_format_of_input = in_format_of("input", "grad_out", "input")


def _group_norm_temporaries(args: Arguments) -> list[TensorSpec]:
    """What arrives and the input, in the input's memory format."""
    if not has(Change.GROUP_NORM_GRADIENT_COPIES):
        return []
    return list(_in_format_of_input(args))


def _rms_norm_work(call: OpCall) -> Work:
    # Without a mean: dx = r (d - y mean(d y)).
    n, args = prod(call.args["normalized_shape"]), call.args
    rows = args["input"].size // n if n else 0
    mask = (*args["output_mask"], False)
    return _rows_work(rows=rows, n=n, shared=n, weight=args["weight"] is not None, mask=mask, centred=False)


def _rms_norm(args: Arguments) -> Gradients:
    x, w, (of_input, of_weight) = args["input"], args["weight"], args["output_mask"]
    of_weight = of_weight and w is not None
    return TensorSpec(x.shape, x.dtype) if of_input else None, TensorSpec(w.shape, w.dtype) if of_weight else None


def _weight_norm(args: Arguments) -> Gradients:
    v, g = args["saved_v"], args["saved_g"]
    return TensorSpec(v.shape, v.dtype), TensorSpec(g.shape, g.dtype)


def _weight_norm_work(call: OpCall) -> Work:
    # Of each slice v of n elements, with s = sum(d v) and the norm: dg = s / norm, dv = g / norm (d - v s / norm^2).
    v = call.args["saved_v"]
    slices = v.shape[call.args["dim"]]
    n = v.size // slices
    factors = Work(multiplies=1, divides=1 + 1 + 1)
    return (_sum_of_products(n) + factors + Work(multiplies=2 * n, adds=n)).times(slices)


def _rule(
    target: str,
    outputs: Callable[[Arguments], Gradients],
    work: Callable[[OpCall], Work],
    source: str,
    examples: tuple[Example, ...],
    *,
    traffic: Callable[[OpCall], Traffic] = every_argument,
    temporaries: Callable[[Arguments], Iterable[TensorSpec]] = no_temporaries,
) -> Rule:
    return Rule(
        targets=(target,), kind=always("norm"), outputs=outputs, work=work, traffic=traffic, access=everything,
        temporaries=temporaries, fusible=False, source=source, free_because=None, examples=examples,
    )  # fmt: skip


_X, _C, _LAST = TensorSpec((2, 4, 5, 6)), TensorSpec((4,)), TensorSpec((6,))
_ROW, _GROUP = TensorSpec((2, 4, 5, 1)), TensorSpec((2, 2))
_ALL = [True, True, True]

register(
    _rule(
        "aten.native_batch_norm_backward.default", _batch_norm, _batch_norm_work, traffic=_batch_norm_traffic,
        temporaries=_batch_norm_temporaries,
        source="Ioffe & Szegedy, Batch Normalization, arXiv:1502.03167, section 3",
        examples=(
            example(_X, _X, _C, _C, _C, _C, _C, True, 1e-5, _ALL),
            example(_X, _X, _C, _C, _C, _C, _C, False, 1e-5, _ALL),
            example(_X, _X, None, None, None, _C, _C, True, 1e-5, [True, False, False]),
            example(_X, _X, _C, _C, _C, _C, _C, True, 1e-5, [False, True, True]),
        ),
    ),
    Rule(
        targets=("aten.batch_norm_backward.default",), kind=always("norm"),
        outputs=lambda args: _batch_norm(_renamed(args)),
        work=lambda call: _batch_norm_work(OpCall(call.op, _renamed(call.args), call.outputs)),
        traffic=lambda call: _batch_norm_traffic(OpCall(call.op, _renamed(call.args), call.outputs)),
        access=everything, temporaries=_batch_norm_temporaries, fusible=False,
        source="Ioffe & Szegedy, Batch Normalization, arXiv:1502.03167, section 3", free_because=None,
        examples=(example(_X, _X, _C, _C, _C, _C, _C, True, 1e-5, _ALL, TensorSpec((0,), "uint8")),),
    ),
    _rule(
        "aten.native_layer_norm_backward.default", _layer_norm, _layer_norm_work,
        source="Ba, Kiros & Hinton, Layer Normalization, arXiv:1607.06450",
        temporaries=contiguous("grad_out", "input"),
        examples=(
            example(_X, _X, [6], _ROW, _ROW, _LAST, _LAST, _ALL),
            example(_X, _X, [6], _ROW, _ROW, None, None, [True, False, False]),
        ),
    ),
    _rule(
        "aten.native_group_norm_backward.default", _group_norm, _group_norm_work,
        source="Wu & He, Group Normalization, arXiv:1803.08494", temporaries=_group_norm_temporaries,
        examples=(
            example(_X, _X, _GROUP, _GROUP, _C, 2, 4, 30, 2, _ALL),
            example(_X, _X, _GROUP, _GROUP, None, 2, 4, 30, 2, [True, False, False]),
        ),
    ),
    _rule(
        "aten._fused_rms_norm_backward.default", _rms_norm, _rms_norm_work,
        source="Zhang & Sennrich, Root Mean Square Layer Normalization, arXiv:1910.07467",
        examples=(example(_X, _X, [6], _ROW, _LAST, [True, True]),),
    ),
    _rule(
        "aten._weight_norm_interface_backward.default", _weight_norm, _weight_norm_work,
        source="Salimans & Kingma, Weight Normalization, arXiv:1602.07868, equation 3",
        examples=(example(_X, _X, TensorSpec((2, 1, 1, 1)), TensorSpec((2, 1, 1, 1)), 0),),
    ),
)  # fmt: skip
