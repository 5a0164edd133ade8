"""Fourier transforms, by the radix-2 count."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from costmodel.access import AccessMap, Affine, All
from costmodel.graph import Arguments, OpCall, TensorSpec, contiguous_strides
from costmodel.ops import layout
from costmodel.ops.access import all_of
from costmodel.ops.complex_numbers import as_counted
from costmodel.ops.rule import Rule, always, every_argument, example, no_temporaries, register
from costmodel.ops.sorting import log2_ceil
from costmodel.quantities import Work

_COMPLEX = TensorSpec((2, 4, 8), "complex64")
_HALF = TensorSpec((2, 4, 5), "complex64")
_REAL = TensorSpec((2, 4, 8))


def _butterflies(full: tuple[int, ...], dims: list[int]) -> int:
    """Half as many butterflies as points, at each of log2 n levels, along each dimension."""
    points = 1
    for n in full:
        points *= n
    return sum(points // 2 * log2_ceil(full[d]) for d in dims)


def _work(full: tuple[int, ...], call: OpCall, real: bool) -> Work:
    # A butterfly is a complex product (4 multiplies, 2 adds) and two complex sums (4 adds); a real transform is half.
    n = _butterflies(full, call.args["dim"]) // (2 if real else 1)
    y = call.outputs[0]
    parts = y.size if layout.category(y.dtype) < 3 else 2 * y.size
    scaled = parts if call.args["normalization"] else 0
    return Work(multiplies=4 * n + scaled, adds=6 * n)


def _complex_work(call: OpCall) -> Work:
    return _work(call.args["self"].shape, call, real=False)


def _from_real_work(call: OpCall) -> Work:
    return _work(call.args["self"].shape, call, real=True)


def _to_real_work(call: OpCall) -> Work:
    return _work(call.outputs[0].shape, call, real=True)


def _batch_first(rank: int, dims: Sequence[int]) -> list[int]:
    """The dimensions that are not transformed, as ``std::partition`` brings them to the front: out of order."""
    order, first, last = list(range(rank)), 0, rank - 1
    while True:
        while first < rank and order[first] not in dims:
            first += 1
        while last >= 0 and order[last] in dims:
            last -= 1
        if first >= last:
            return order[:first]
        order[first], order[last] = order[last], order[first]


def _by_stride(t: TensorSpec, dims: Sequence[int]) -> list[int]:
    return sorted(dims, key=lambda d: t.full_strides[d], reverse=True)


def _transformed(x: TensorSpec, dims: Sequence[int], shape: tuple[int, ...], dtype: str) -> TensorSpec:
    """A transform's result: batch dimensions in the order in which the input stores them, then ``dims``.

    Source: ``_exec_fft`` in aten/src/ATen/native/mkl/SpectralOps.cpp.
    """
    order = [*_by_stride(x, _batch_first(len(shape), dims)), *dims]
    stored = contiguous_strides(tuple(shape[d] for d in order))
    strides = tuple(stored[order.index(d)] for d in range(len(shape)))
    return TensorSpec(shape, dtype, layout.normal(strides, shape))


def _dims(args: Arguments) -> list[int]:
    return [d % len(args["self"].shape) for d in args["dim"]]


def _complex(args: Arguments) -> TensorSpec:
    x, dims = args["self"], _dims(args)
    if not dims:
        return TensorSpec(x.shape, x.dtype, layout.preserved_strides(x.shape, [x]))
    return _transformed(x, _by_stride(x, dims), x.shape, x.dtype)


def _from_real(args: Arguments) -> TensorSpec:
    # The last dimension, of which half may be left out, keeps its place.
    x = args["self"]
    *others, last = _dims(args)
    half = x.shape[last] // 2 + 1 if args["onesided"] else x.shape[last]
    shape = (*x.shape[:last], half, *x.shape[last + 1 :])
    return _transformed(x, [*_by_stride(x, others), last], shape, layout.complex_dtype(x.dtype))


def _without_last(args: Arguments) -> Iterable[TensorSpec]:
    """The complex transform of all dimensions but the last, where there are others."""
    *others, _ = _dims(args)
    return [_complex({"self": args["self"], "dim": others})] if others else []


def _to_real(args: Arguments) -> TensorSpec:
    x = next(iter(_without_last(args)), args["self"])
    last = _dims(args)[-1]
    shape = (*x.shape[:last], args["last_dim_size"], *x.shape[last + 1 :])
    return _transformed(x, [last], shape, layout.real_dtype(x.dtype))


def _access(call: OpCall, output: int) -> AccessMap:
    if call.args["self"].shape == call.outputs[0].shape:
        return all_of("self", call.args["dim"])(call, output)
    rank = len(call.args["self"].shape)
    mixed = {d % rank for d in call.args["dim"]}
    return {"self": tuple(All() if d in mixed else Affine(d) for d in range(rank))}


register(
    *(
        Rule(targets=(target,), kind=always("other"), outputs=outputs, work=as_counted(work), traffic=every_argument,
             access=_access, temporaries=temporaries, fusible=False,
             source="Cooley & Tukey, Math. Comp. 19 (1965): 10 operations a butterfly",
             free_because=None, examples=(case,))
        for target, outputs, work, temporaries, case in (
            ("aten._fft_c2c.default", _complex, _complex_work, no_temporaries, example(_COMPLEX, [1, 2], 0, True)),
            ("aten._fft_r2c.default", _from_real, _from_real_work, no_temporaries, example(_REAL, [1, 2], 1, True)),
            ("aten._fft_c2r.default", _to_real, _to_real_work, _without_last, example(_HALF, [1, 2], 2, 8)),
        )
    ),
)  # fmt: skip
