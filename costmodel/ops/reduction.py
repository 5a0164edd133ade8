"""Reductions: sums, means, extremes, variances, norms; and running (cumulative) ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from costmodel.access import AccessMap
from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops import layout
from costmodel.ops.access import all_of, reduced
from costmodel.ops.complex_numbers import ABSOLUTE, EXP, LOG, LOG_ADD_EXP, Arithmetic, in_parts
from costmodel.ops.defaults import default_float
from costmodel.ops.rule import Example, Outputs, Rule, always, every_argument, example, no_temporaries, register
from costmodel.ops.temporaries import are_one, cast_like, contiguous, mean_of_half
from costmodel.quantities import Work

_X = TensorSpec((2, 3, 4))
_I = TensorSpec((2, 3, 4), "int64")
_B = TensorSpec((2, 3, 4), "bool")
_C = TensorSpec((2, 3), "complex64")
_ALL = (example(_X),)
_DIMS = (example(_X, [1, -1]), example(_X, [0], True), example(_X, []))
_DIM = (example(_X, 1), example(_X, -1, True))


def dims_of(args: Arguments) -> list[int]:
    """The dimensions that a reduction removes: none given, or an empty list, means all."""
    rank = len(args["self"].shape)
    dim: Any = args.get("dim")
    if dim is None or dim == []:
        return list(range(rank))
    if not rank:
        return []
    return [dim % rank] if isinstance(dim, int) else [d % rank for d in dim]


def reduced_shape(args: Arguments) -> tuple[int, ...]:
    """The shape without those dimensions, or with them of length 1."""
    shape, dims = args["self"].shape, dims_of(args)
    if args.get("keepdim"):
        return tuple(1 if d in dims else n for d, n in enumerate(shape))
    return tuple(n for d, n in enumerate(shape) if d not in dims)


def _same_dtype(args: Arguments) -> TensorSpec:
    return TensorSpec(reduced_shape(args), args.get("dtype") or args["self"].dtype)


def _summed(args: Arguments) -> TensorSpec:
    # Sums and products of integers are 64 bits wide.
    dtype = args["self"].dtype
    wide: str = args.get("dtype") or (dtype if layout.category(dtype) >= 2 else "int64")
    return TensorSpec(reduced_shape(args), wide)


def _boolean(args: Arguments) -> TensorSpec:
    return TensorSpec(reduced_shape(args), "uint8" if args["self"].dtype == "uint8" else "bool")


def _norm_dtype(args: Arguments) -> TensorSpec:
    # The norm of a complex vector, or its variance, is real.
    dtype: str = args.get("dtype") or args["self"].dtype
    return TensorSpec(reduced_shape(args), layout.real_dtype(dtype))


def _floating(args: Arguments) -> TensorSpec:
    dtype = args["self"].dtype
    return TensorSpec(reduced_shape(args), dtype if layout.category(dtype) >= 2 else default_float())


def _indices(args: Arguments) -> TensorSpec:
    return TensorSpec(reduced_shape(args), "int64")


def _with_indices(args: Arguments) -> Outputs:
    return _same_dtype(args), _indices(args)


def _spread_and_mean(args: Arguments) -> Outputs:
    return _norm_dtype(args), _same_dtype(args)


def _twice(args: Arguments) -> Outputs:
    return _same_dtype(args), _same_dtype(args)


def _counts(call: OpCall) -> tuple[int, int]:
    """(results, elements that go into each)."""
    results = call.outputs[0].size
    return results, call.args["self"].size // results if results else 0


def per_result(work: Callable[[int], Work]) -> Callable[[OpCall], Work]:
    """``work(n)`` for each result, from n elements."""

    def total(call: OpCall) -> Work:
        results, n = _counts(call)
        return work(n).times(results) if n else Work()

    return total


def norm_work(n: int, order: float) -> Work:
    """The ``order``-norm of n numbers."""
    if order == 2:
        return Work(multiplies=n, adds=n - 1, transcendentals=1)
    if order == 1:
        return Work(adds=n - 1)
    if order in (float("inf"), float("-inf")):
        return Work(compares=n - 1)
    if order == 0:
        return Work(compares=n, adds=n - 1)
    return Work(transcendentals=n + 1, adds=n - 1)  # powers, their sum, its root


def complex_norm_work(n: int, order: float) -> Work:
    """The ``order``-norm of n complex numbers: that of their absolute values, but |z|^2 takes no root."""
    if order == 2:
        return norm_work(2 * n, 2)
    if order == 0:
        return Work(compares=2 * n, adds=n - 1)
    return ABSOLUTE.times(n) + norm_work(n, order)


def _norm(name: str) -> Arithmetic:
    def of(norm: Callable[[int, float], Work]) -> Callable[[OpCall], Work]:
        def work(call: OpCall) -> Work:
            order = call.args[name]
            return per_result(lambda n: norm(n, 2 if order is None else float(order)))(call)

        return work

    return Arithmetic(of(norm_work), of(complex_norm_work))


def _variance(n: int) -> Work:
    # The mean, then the squared distances from it, then their mean.
    return Work(adds=(n - 1) + n + (n - 1), multiplies=n, divides=2)


def _complex_variance(n: int) -> Work:
    # Those of the real and of the imaginary parts, added.
    return _variance(n).times(2) + Work(adds=1)


def _complex_log_sum_exp(n: int) -> Work:
    # The greatest is the one of greatest real part.
    return Work(compares=n - 1) + in_parts(Work(adds=n + (n - 1) + 1)) + EXP.times(n) + LOG


def _log_sum_exp(n: int) -> Work:
    # The maximum is subtracted before the exponentials and added after the logarithm.
    return Work(compares=n - 1, adds=n + (n - 1) + 1, transcendentals=n + 1)


def _access(call: OpCall, output: int) -> AccessMap:
    return reduced("self", dims_of(call.args), bool(call.args.get("keepdim")), call)


def reduction(
    *targets: str,
    work: Callable[[OpCall], Work],
    outputs: Callable[[Arguments], Outputs] = _same_dtype,
    examples: tuple[Example, ...] = _DIM,
    access: Callable[[OpCall, int], AccessMap] = _access,
    kind: str = "other",
    temporaries: Callable[[Arguments], Iterable[TensorSpec]] = no_temporaries,
    source: str = "the definition, summed from left to right: n - 1 operations join n numbers",
) -> Rule:
    """The rule of an op that joins the elements along some dimensions."""
    return Rule(
        targets=targets, kind=always(kind), outputs=outputs, work=work, traffic=every_argument, access=access,
        temporaries=temporaries, fusible=False, source=source, free_because=None, examples=examples,
    )  # fmt: skip


_cast_to_sum = cast_like(_summed)


def sum_casts(args: Arguments) -> list[TensorSpec]:
    """A cast to the dtype of the sum; and to single precision, where halves are summed that are not one dimension.

    Source: ``should_use_acc_buffer`` in aten/src/ATen/native/ReduceOps.cpp, in which the kernel's innermost dimensions
    are the summed ones.
    """
    x, dims = args["self"], dims_of(args)
    if _summed(args).dtype not in ("bfloat16", "float16") or not x.size:
        return list(_cast_to_sum(args))
    by_stride = sorted((d for d in dims), key=lambda d: x.full_strides[d], reverse=True)
    whole = are_one([x.shape[d] for d in by_stride], [x.full_strides[d] for d in by_stride])
    return list(_cast_to_sum(args)) if whole else [TensorSpec(x.shape, "float32")]


def _cast_to_mean(args: Arguments) -> list[TensorSpec]:
    mean = _same_dtype(args)
    return mean_of_half(args["self"], mean) or list(cast_like(_same_dtype)(args))


_contiguous = contiguous("self")


def _booleans(args: Arguments) -> list[TensorSpec]:
    x = args["self"]
    return [] if x.dtype in ("bool", "uint8") else [TensorSpec(x.shape, "bool")]


def _ones(args: Arguments) -> list[TensorSpec]:
    """A boolean per element, and what is summed of them; counting everything needs neither."""
    x = args["self"]
    return [] if args["dim"] is None else [TensorSpec(x.shape, "bool"), TensorSpec(x.shape, "int64")]


def _cast_to_norm(args: Arguments) -> list[TensorSpec]:
    x, dtype = args["self"], args["dtype"]
    if layout.category(x.dtype) == 3 and args["ord"] in (float("inf"), float("-inf")):
        return [TensorSpec(x.shape, layout.real_dtype(x.dtype))]  # absolute values have an order
    return [] if dtype in (None, x.dtype) else [TensorSpec(x.shape, dtype)]


def _shifted(args: Arguments) -> list[TensorSpec]:
    """The exponentials, and the maxima, of real parts, that were taken off first; of integers a cast."""
    x, y = args["self"], _floating(args)
    cast = [] if layout.category(x.dtype) >= 2 else [TensorSpec(x.shape, y.dtype)]
    return [TensorSpec(x.shape, y.dtype), TensorSpec(y.shape, layout.real_dtype(y.dtype)), *cast]


def _contiguous_where_all(args: Arguments) -> list[TensorSpec]:
    return list(_contiguous(args)) if args["dim"] is None else []


_sum = per_result(lambda n: Work(adds=n - 1))
_mean = per_result(lambda n: Work(adds=n - 1, divides=1))
_product = per_result(lambda n: Work(multiplies=n - 1))
_extreme = per_result(lambda n: Work(compares=n - 1))
_both_extremes = per_result(lambda n: Work(compares=2 * (n - 1)))
_count = Arithmetic(
    per_result(lambda n: Work(compares=n, adds=n - 1)), per_result(lambda n: Work(compares=2 * n, adds=n - 1))
)
_spread = Arithmetic(per_result(_variance), per_result(_complex_variance))
_deviation = Arithmetic(
    per_result(lambda n: _variance(n) + Work(transcendentals=1)),
    per_result(lambda n: _complex_variance(n) + Work(transcendentals=1)),
)
_nothing = per_result(lambda n: Work())


def _cumulative(each: Work) -> Callable[[OpCall], Work]:
    # Each row's first element is taken as it is.
    def work(call: OpCall) -> Work:
        x = call.args["self"]
        n = x.shape[call.args["dim"]] if x.shape else 1
        return each.times(x.size - x.size // n) if n else Work()

    return work


def _running(args: Arguments) -> TensorSpec:
    x = args["self"]
    wide = args.get("dtype") or (x.dtype if layout.category(x.dtype) >= 2 else "int64")
    return TensorSpec(x.shape, wide)


_cast_to_running = cast_like(_running)


def _running_extremes(args: Arguments) -> Outputs:
    return TensorSpec(args["self"].shape, args["self"].dtype), TensorSpec(args["self"].shape, "int64")


def _running_access(call: OpCall, output: int) -> AccessMap:
    rank = len(call.args["self"].shape)
    return all_of("self", [call.args["dim"]] if rank else [])(call, output)


register(
    reduction("aten.sum.default", work=_sum, outputs=_summed, temporaries=_cast_to_sum,
              examples=(*_ALL, example(_I), example(_B))),
    reduction("aten.sum.dim_IntList", work=_sum, outputs=_summed, temporaries=sum_casts,
              examples=(*_DIMS, example(_I, None), example(_B, [1]), example(_X, [1], dtype="float64"))),
    reduction("aten.nansum.default", work=_sum, outputs=_summed, temporaries=_cast_to_sum, examples=_DIMS),
    reduction("aten.mean.default", work=_mean, temporaries=_cast_to_mean, examples=_ALL),
    reduction("aten.mean.dim", work=_mean, kind="pool", temporaries=_cast_to_mean,
              examples=(*_DIMS, example(_X, None, dtype="float64"))),
    reduction("aten.prod.default", work=_product, outputs=_summed, temporaries=_cast_to_sum,
              examples=(*_ALL, example(_B))),
    reduction("aten.prod.dim_int", work=_product, outputs=_summed, temporaries=_cast_to_sum,
              examples=(*_DIM, example(_B, 1))),
    reduction("aten.amax.default", "aten.amin.default", work=_extreme, examples=_DIMS),
    reduction("aten.max.default", "aten.min.default", work=_extreme, temporaries=_contiguous, examples=_ALL),
    reduction("aten.max.dim", "aten.min.dim", work=_extreme, outputs=_with_indices),
    reduction("aten.argmax.default", "aten.argmin.default", work=_extreme, outputs=_indices,
              temporaries=_contiguous_where_all, examples=(*_ALL, *_DIM)),
    reduction("aten.aminmax.default", work=_both_extremes, outputs=_twice, temporaries=_contiguous_where_all,
              examples=(*_ALL, example(_X, dim=1), example(_X, dim=-1, keepdim=True))),
    reduction("aten.all.default", "aten.any.default", work=_nothing, outputs=_boolean, temporaries=_booleans,
              examples=_ALL, source="bit operations, not arithmetic"),
    reduction("aten._is_all_true.default", "aten._is_any_true.default", work=_nothing, outputs=_boolean,
              examples=(example(TensorSpec((2, 3), "bool")),), source="bit operations, not arithmetic"),
    reduction("aten.all.dim", "aten.any.dim", work=_nothing, outputs=_boolean, temporaries=_booleans,
              source="bit operations, not arithmetic"),
    reduction("aten.all.dims", "aten.any.dims", work=_nothing, outputs=_boolean, temporaries=_booleans,
              examples=(example(_X, [1, -1]), example(_X, None, True)), source="bit operations, not arithmetic"),
    reduction("aten.count_nonzero.default", work=_count, outputs=_indices, temporaries=_ones,
              examples=(*_ALL, example(_X, 1))),
    reduction("aten.count_nonzero.dim_IntList", work=_count, outputs=_indices, temporaries=_ones,
              examples=(example(_X, [0, 2]),)),
    reduction("aten.var.correction", work=_spread, outputs=_norm_dtype,
              examples=(*_ALL, example(_X, [1, 2], correction=0, keepdim=True))),
    reduction("aten.std.correction", work=_deviation, outputs=_norm_dtype, examples=(*_ALL, example(_X, [-1]))),
    reduction("aten.var_mean.correction", work=_spread, outputs=_spread_and_mean,
              examples=(*_ALL, example(_X, [1], correction=0))),
    reduction("aten.std_mean.correction", work=_deviation, outputs=_spread_and_mean,
              examples=(*_ALL, example(_X, [1]))),
    reduction("aten.linalg_vector_norm.default", work=_norm("ord"), outputs=_norm_dtype,
              temporaries=_cast_to_norm,
              examples=(*_ALL, *(example(_X, p, [1, -1], True) for p in (2, 1, 0, float("inf"), 3.0)),
                        example(_X, 2, [1], dtype="float64"), example(_C), example(_C, float("inf"), [1]))),
    reduction("aten.norm.Scalar", work=_norm("p"), outputs=_norm_dtype, examples=(*_ALL, example(_X, 1))),
    reduction("aten.norm.ScalarOpt_dim", work=_norm("p"), outputs=_norm_dtype,
              examples=(example(_X, 2, [1]), example(_X, None, [-1], True))),
    reduction("aten.logsumexp.default", work=Arithmetic(per_result(_log_sum_exp), per_result(_complex_log_sum_exp)),
              outputs=_floating, temporaries=_shifted, examples=(*_DIMS[:2], example(_C, [0]))),
    reduction("aten.cumsum.default", "aten.cumsum_.default", work=_cumulative(Work(adds=1)), outputs=_running,
              temporaries=_cast_to_running,
              access=_running_access, examples=(example(_X, 1), example(_X, -1))),
    reduction("aten.cumprod.default", "aten.cumprod_.default", work=_cumulative(Work(multiplies=1)), outputs=_running,
              temporaries=_cast_to_running,
              access=_running_access, examples=(example(_X, 1), example(_X, -1))),
    reduction("aten.cummax.default", "aten.cummin.default", work=_cumulative(Work(compares=1)),
              outputs=_running_extremes, access=_running_access, examples=(example(_X, 1),)),
    reduction("aten.logcumsumexp.default",
              work=Arithmetic(_cumulative(Work(compares=1, adds=3, transcendentals=2)), _cumulative(LOG_ADD_EXP)),
              outputs=_running, access=_running_access, examples=(example(_X, 1),),
              source="each step is log(exp(a - m) + exp(b - m)) + m with m = max(a, b), as log1p(exp(-|a - b|)) + m"),
)  # fmt: skip
