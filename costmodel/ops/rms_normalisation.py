"""Root-mean-square normalisation, and that of weights: by a root of the squares, without a mean."""

from __future__ import annotations

from math import prod

from costmodel.access import AccessMap, Affine, Fixed
from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops import layout
from costmodel.ops.complex_numbers import FUNCTIONS, by_parts
from costmodel.ops.normalisation import over_trailing, sample_rule, statistic
from costmodel.ops.rule import Rule, always, every_argument, example, no_temporaries, register
from costmodel.ops.temporaries import bytes_besides, copied_into_format
from costmodel.ops.versions import Change, has
from costmodel.quantities import Work


def _rms_norm(args: Arguments) -> TensorSpec:
    x, normalized = args["input"], tuple(args["normalized_shape"])
    if x.shape[len(x.shape) - len(normalized) :] != normalized:
        raise ValueError(f"RMS norm over {normalized} got an input of {x.shape}")
    strides = (
        layout.in_format_of(x, x.shape) if has(Change.CONTIGUOUS_RMS_NORM) else layout.preserved_strides(x.shape, [x])
    )
    return TensorSpec(x.shape, x.dtype, strides)


def _rms_norm_temporaries(args: Arguments) -> list[TensorSpec]:
    return _while_scaling(args, _rms_norm(args).nbytes)


def _fused_rms_norm_temporaries(args: Arguments) -> list[TensorSpec]:
    return _while_scaling(args, sum(t.nbytes for t in _fused_rms_norm(args)))


def _while_scaling(args: Arguments, outputs: int) -> list[TensorSpec]:
    """The squares with each row's mean; then the scaled rows, until the weights are applied or the layout is mended."""
    x, n = args["input"], prod(args["normalized_shape"])
    if x.itemsize == 2:
        return _while_scaling_half(args, outputs)
    rows = x.size // n * x.itemsize if n else 0
    mended = copied_into_format(x) and has(Change.CONTIGUOUS_RMS_NORM)
    scaled = 2 * x.nbytes if args["weight"] is not None or mended else x.nbytes
    return bytes_besides(outputs, x.nbytes + 2 * rows, scaled + rows)


def _fused_rms_norm(args: Arguments) -> tuple[TensorSpec, ...]:
    y, n = _rms_norm(args), len(args["normalized_shape"])
    return y, TensorSpec(y.shape[: len(y.shape) - n] + (1,) * n, y.dtype)


def _while_scaling_half(args: Arguments, outputs: int) -> list[TensorSpec]:
    """The same in single precision: the input, its squares; the scaled rows, the weights and their product."""
    x, w = args["input"], args["weight"]
    n = prod(args["normalized_shape"])
    rows = 4 * x.size // n if n else 0
    single = 4 * x.size
    weighted = 3 * single + 4 * w.size + rows if w is not None else 0
    return bytes_besides(outputs, 2 * single + 2 * rows, 2 * single + rows + x.nbytes, weighted)


def _rms_norm_work(call: OpCall) -> Work:
    # x * rsqrt(mean(x^2) + eps) over each row of n elements.
    n, size = prod(call.args["normalized_shape"]), call.args["input"].size
    if not size:
        return Work()
    row = Work(multiplies=n, adds=n - 1, divides=1) + Work(adds=1, transcendentals=1) + Work(multiplies=n)
    return row.times(size // n) + Work(multiplies=size if call.args["weight"] is not None else 0)


_RMS_NORM_WORK = by_parts(_rms_norm_work, FUNCTIONS["rsqrt"])


def _weight_norm(args: Arguments) -> tuple[TensorSpec, ...]:
    v, g = args["v"], args["g"]
    # Norms of half-precision weights are kept in single precision.
    return TensorSpec(v.shape, v.dtype), TensorSpec(g.shape, "float32" if v.itemsize < 4 else v.dtype)


def _weight_norm_work(call: OpCall) -> Work:
    # v * (g / ||v||), for each slice of n elements.
    v = call.args["v"]
    slices = v.shape[call.args["dim"]]
    n = v.size // slices
    return Work(multiplies=n + n, adds=n - 1, transcendentals=1, divides=1).times(slices)


def _weight_norm_access(call: OpCall, output: int) -> AccessMap:
    rank, dim = len(call.args["v"].shape), call.args["dim"] % len(call.args["v"].shape)
    return {
        "v": tuple(Affine(d) if d == dim else statistic(d, output) for d in range(rank)),
        "g": tuple(Affine(d) if d == dim else Fixed(0) for d in range(rank)),
    }


_X, _LAST = TensorSpec((2, 4, 5, 6)), TensorSpec((6,))

register(
    sample_rule(
        "aten.rms_norm.default", outputs=_rms_norm, work=_RMS_NORM_WORK, access=over_trailing,
        temporaries=_rms_norm_temporaries,
        source="Zhang & Sennrich, Root Mean Square Layer Normalization, arXiv:1910.07467",
        examples=(example(_X, [6], _LAST, 1e-5), example(_X, [5, 6])),
    ),
    Rule(
        targets=("aten._weight_norm_interface.default",), kind=always("norm"), outputs=_weight_norm,
        work=_weight_norm_work, traffic=every_argument, access=_weight_norm_access,
        temporaries=no_temporaries, fusible=False,
        source="Salimans & Kingma, Weight Normalization, arXiv:1602.07868, equation 2", free_because=None,
        examples=(example(_X, TensorSpec((2, 1, 1, 1)), 0), example(_X, TensorSpec((1, 1, 1, 6)), 3)),
    ),
    sample_rule(
        "aten._fused_rms_norm.default", outputs=_fused_rms_norm, work=_RMS_NORM_WORK, access=over_trailing,
        temporaries=_fused_rms_norm_temporaries,
        source="Zhang & Sennrich, Root Mean Square Layer Normalization, arXiv:1910.07467",
        examples=(example(_X, [6], _LAST, 1e-5),),
    ),
)  # fmt: skip
