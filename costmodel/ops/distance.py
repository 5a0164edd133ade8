"""Distances between vectors, and norms that are kept below a bound."""

from __future__ import annotations

from collections.abc import Callable

from costmodel.access import AccessMap, Affine, All, AxisMap
from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops import layout
from costmodel.ops.access import everything, nothing
from costmodel.ops.complex_numbers import ABSOLUTE, Arithmetic, in_parts
from costmodel.ops.reduction import complex_norm_work, norm_work
from costmodel.ops.rule import Rule, Torch, always, every_argument, example, moved, no_temporaries, register
from costmodel.quantities import Traffic, Work

_X = TensorSpec((2, 3, 4))
_POINTS = TensorSpec((5, 4))
_C = TensorSpec((2, 3), "complex64")


def _distance(n: int, order: float) -> Work:
    """The norm of the difference of two vectors of n components."""
    return Work(adds=n) + norm_work(n, order) if n else Work()


def _between_all(args: Arguments) -> TensorSpec:
    a, b = args["x1"], args["x2"]
    batch = layout.broadcast([a.shape[:-2], b.shape[:-2]])
    return TensorSpec((*batch, a.shape[-2], b.shape[-2]), layout.result_dtype([a, b]))


def _between_all_copies(args: Arguments) -> list[TensorSpec]:
    """Points that are not stored in rows, or not for each of the batch; many points by Euclid's products."""
    y = _between_all(args)
    wanted = [(args[name], (*y.shape[:-2], *args[name].shape[-2:])) for name in ("x1", "x2")]
    copies = [TensorSpec(shape, x.dtype) for x, shape in wanted if x.shape != shape or not x.is_contiguous]
    many = args["compute_mode"] == 1 or (args["compute_mode"] in (None, 0) and max(y.shape[-2:]) > 25)
    return [*copies, *(_by_products(args) if args["p"] == 2 and many else ())]


def _by_products(args: Arguments) -> list[TensorSpec]:
    """(-2 x, |x|^2, 1) and (y, 1, |y|^2), of which each product is a squared distance."""
    return [TensorSpec((*x.shape[:-1], x.shape[-1] + 2), x.dtype) for x in (args["x1"], args["x2"])]


def _between_all_work(call: OpCall) -> Work:
    return _distance(call.args["x1"].shape[-1], call.args.get("p", 2)).times(call.outputs[0].size)


def _between_all_access(call: OpCall, output: int) -> AccessMap:
    rank = len(call.outputs[0].shape)
    access: dict[str, tuple[AxisMap, ...]] = {}
    for name, points in (("x1", rank - 2), ("x2", rank - 1)):
        shape = call.args[name].shape
        batch = tuple(All() if n == 1 else Affine(d + rank - len(shape)) for d, n in enumerate(shape[:-2]))
        access[name] = (*batch, Affine(points), All())
    return access


def _pairs(args: Arguments) -> TensorSpec:
    n = args["self"].shape[0]
    return TensorSpec((max(n * (n - 1) // 2, 0),), args["self"].dtype)


def _pairs_work(call: OpCall) -> Work:
    return _distance(call.args["self"].shape[1], call.args["p"]).times(call.outputs[0].size)


def _one(args: Arguments) -> TensorSpec:
    return TensorSpec((), layout.real_dtype(layout.result_dtype([args["self"], args["other"]])))


def _one_work(call: OpCall) -> Work:
    return _distance(_positions(call), call.args["p"])


def _one_complex_work(call: OpCall) -> Work:
    n = _positions(call)
    return in_parts(Work(adds=n)) + complex_norm_work(n, call.args["p"]) if n else Work()


def _positions(call: OpCall) -> int:
    return layout.elementwise({name: call.args[name] for name in ("self", "other")}).size


def _difference(args: Arguments) -> list[TensorSpec]:
    return [layout.elementwise({name: args[name] for name in ("self", "other")})]


def _comparisons(args: Arguments) -> list[TensorSpec]:
    """The bound, the difference and its size, and truth values: four of real numbers, one of complex ones."""
    (y,) = _difference(args)
    size = TensorSpec(y.shape, layout.real_dtype(y.dtype))
    return [y, size, size, *(TensorSpec(y.shape, "bool") for _ in range(1 if size.dtype != y.dtype else 4))]


def _norms(args: Arguments) -> list[TensorSpec]:
    """A norm for each slice; those of half precision are taken in single precision, of a copy."""
    x = args["self"]
    half = x.dtype in ("bfloat16", "float16")
    norms = TensorSpec((x.shape[args["dim"]],), "float32" if half else layout.real_dtype(x.dtype))
    return [norms, TensorSpec(x.shape, "float32")] if half else [norms]


def _close_work(call: OpCall) -> Work:
    # |a - b| <= atol + rtol |b|
    return Work(adds=2, multiplies=1, compares=1).times(_positions(call))


def _complex_close_work(call: OpCall) -> Work:
    # The same of two absolute values, those of a complex difference and of b.
    close = in_parts(Work(adds=1)) + ABSOLUTE.times(2) + Work(adds=1, multiplies=1, compares=1)
    return close.times(_positions(call))


def _bounded(n: int, order: float) -> Work:
    """A vector's norm, compared with a bound, and the vector times bound / (norm + 1e-7)."""
    return norm_work(n, order) + Work(compares=1, adds=1, divides=1, multiplies=n) if n else Work()


def _renorm(args: Arguments) -> TensorSpec:
    return TensorSpec(args["self"].shape, args["self"].dtype)


def _complex_bounded(n: int, order: float) -> Work:
    # The factor is a real number, but meets the vector as a complex one.
    factor = Work(compares=1, adds=1, divides=1)
    return complex_norm_work(n, order) + factor + in_parts(Work(multiplies=n)) if n else Work()


def _renorm_work(bounded: Callable[[int, float], Work]) -> Callable[[OpCall], Work]:
    def work(call: OpCall) -> Work:
        x = call.args["self"]
        vectors = x.shape[call.args["dim"]]
        return bounded(x.size // vectors, call.args["p"]).times(vectors) if vectors else Work()

    return work


def _renorm_access(call: OpCall, output: int) -> AccessMap:
    rank = len(call.args["self"].shape)
    dim = call.args["dim"] % rank
    return {"self": tuple(Affine(d) if d == dim else All() for d in range(rank))}


def _rows(call: OpCall) -> int:
    # How many are equal depends on values.
    return min(int(call.args["indices"].size), int(call.args["self"].shape[0]))


def _embedding_renorm_work(bounded: Callable[[int, float], Work]) -> Callable[[OpCall], Work]:
    return lambda call: bounded(call.args["self"].shape[1], call.args["norm_type"]).times(_rows(call))


def _embedding_renorm_traffic(call: OpCall) -> Traffic:
    table = call.args["self"]
    n = _rows(call) * table.shape[1]
    rows = Traffic(read=n, written=n, read_bytes=n * table.itemsize, written_bytes=n * table.itemsize)
    return moved([call.args["indices"]], ()) + rows


register(
    *(
        Rule(targets=(target,), kind=always("other"), outputs=_between_all, work=_between_all_work,
             traffic=every_argument, access=_between_all_access, temporaries=temporaries, fusible=False,
             source="torch.cdist: the p-norm of each difference", free_because=None, examples=examples)
        for target, temporaries, examples in (
            ("aten._cdist_forward.default", _between_all_copies,
             (example(_X, _X, 2.0, None), example(_X, _POINTS, 1.0, None), example(_POINTS, _X, float("inf"), None),
              example(_X, _X, 3.0, None))),
            ("aten._euclidean_dist.default", _by_products, (example(_X, _X),)),
        )
    ),
    Rule(
        targets=("aten._pdist_forward.default",), kind=always("other"), outputs=_pairs, work=_pairs_work,
        traffic=every_argument, access=everything, temporaries=no_temporaries, fusible=False,
        source="torch.nn.functional.pdist: each pair once", free_because=None, examples=(example(_POINTS),),
    ),
    Rule(
        targets=("aten.dist.default",), kind=always("other"), outputs=_one,
        work=Arithmetic(_one_work, _one_complex_work), traffic=every_argument, access=everything,
        temporaries=_difference, fusible=False,
        source="torch.dist: the p-norm of the difference", free_because=None, examples=(example(_X, _X),),
    ),
    Rule(
        targets=("aten.allclose.default",), kind=always("other"), outputs=Torch.VALUE,
        work=Arithmetic(_close_work, _complex_close_work), traffic=every_argument,
        access=nothing, temporaries=_comparisons, fusible=False,
        source="torch.allclose: |a - b| <= atol + rtol |b|, at every position", free_because=None,
        examples=(example(_X, _X), example(_C, _C)),
    ),
    Rule(
        targets=("aten.renorm.default", "aten.renorm_.default"), kind=always("other"), outputs=_renorm,
        work=Arithmetic(_renorm_work(_bounded), _renorm_work(_complex_bounded)), traffic=every_argument,
        access=_renorm_access, temporaries=_norms, fusible=False,
        source="torch.renorm, every vector longer than the bound", free_because=None,
        examples=(example(_X, 2, 0, 1.0), example(_X, 1, -1, 1.0), example(_C, 2, 0, 1.0)),
    ),
    Rule(
        targets=("aten.embedding_renorm_.default",), kind=always("embedding"), outputs=_renorm,
        work=Arithmetic(_embedding_renorm_work(_bounded), _embedding_renorm_work(_complex_bounded)),
        traffic=_embedding_renorm_traffic, access=everything, temporaries=no_temporaries, fusible=False,
        source="torch.nn.Embedding's max_norm: rows looked up, each another, every one too long",
        free_because=None, examples=(example(_POINTS, TensorSpec((3,), "int64"), 1.0, 2.0),),
    ),
)  # fmt: skip
