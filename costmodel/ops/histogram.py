"""Counting by bins, and statistics of order: medians and modes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod

from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops.access import everything
from costmodel.ops.reduction import reduced_shape, reduction
from costmodel.ops.rule import Outputs, Rule, Torch, always, every_argument, example, register
from costmodel.ops.sorting import log2_ceil, sort_compares
from costmodel.ops.temporaries import contiguous
from costmodel.quantities import Work

_X = TensorSpec((2, 3, 4))
_I = TensorSpec((6,), "int64")
_POINTS = TensorSpec((5, 2))
_EDGES = TensorSpec((4,))
_UNIFORM = Work(compares=2, adds=1, multiplies=1, divides=1)
"""Is a coordinate in range, and in which of equal bins: (x - low) * bins / (high - low)."""


def _density(bins: int, axes: int = 1) -> Work:
    """Each count over the sum of all times its bin's width."""
    return Work(adds=bins - 1 + bins * axes, multiplies=bins * axes, divides=bins)


def _histogram(args: Arguments) -> Outputs:
    x, bins = args["self"], args["bins"]
    n = bins if isinstance(bins, int) else bins.size - 1
    return TensorSpec((n,), x.dtype), TensorSpec((n + 1,), x.dtype)


def _histogram_work(call: OpCall) -> Work:
    n, bins = call.args["self"].size, call.args["bins"]
    if isinstance(bins, int):
        # Without a range it is found first.
        work = _UNIFORM.times(n) + _range(call.args, n, 1)
    else:
        work = _search(bins).times(n)
    counted = work + Work(adds=n)
    return counted + _density(call.outputs[0].size) if call.args["density"] else counted


def _search(edges: TensorSpec) -> Work:
    # A value may also lie before the first of n edges: n + 1 answers.
    return Work(compares=log2_ceil(edges.size + 1))


def _range(args: Arguments, n: int, axes: int) -> Work:
    return Work() if args.get("range") is not None else Work(compares=2 * max(n - 1, 0) * axes)


def _edges(args: Arguments) -> Outputs:
    return tuple(TensorSpec((n + 1,), args["self"].dtype) for n in args["bins"])


def _points(args: Arguments) -> tuple[int, int]:
    """(points, axes)."""
    *points, axes = args["self"].shape
    return prod(points), axes


def _edges_work(call: OpCall) -> Work:
    return _range(call.args, *_points(call.args))


def _of_points(args: Arguments) -> TensorSpec:
    shape = [n if isinstance(n, int) else n.size - 1 for n in args["bins"]]
    return TensorSpec(tuple(shape), args["self"].dtype)


def _of_points_work(coordinate: Callable[[Arguments], Work]) -> Callable[[OpCall], Work]:
    def work(call: OpCall) -> Work:
        points, axes = _points(call.args)
        counted = coordinate(call.args).times(points) + Work(adds=points)
        return counted + _density(call.outputs[0].size, axes) if call.args["density"] else counted

    return work


def _uniform(args: Arguments) -> Work:
    return _UNIFORM.times(len(args["bins"]))


def _searched(args: Arguments) -> Work:
    return sum(map(_search, args["bins"]), Work())


def _in_rows(args: Arguments) -> Iterable[TensorSpec]:
    """A copy of elements that are not contiguous; points are read as they lie."""
    return () if "return_inverse" in args or isinstance(args.get("bins"), list) else contiguous("self")(args)


def _per_element(call: OpCall) -> Work:
    return Work(adds=call.args["self"].size)


def _value(args: Arguments) -> TensorSpec:
    return TensorSpec((), args["self"].dtype)


def _value_and_index(args: Arguments) -> Outputs:
    shape = reduced_shape(args)
    return TensorSpec(shape, args["self"].dtype), TensorSpec(shape, "int64")


def _rows(call: OpCall) -> tuple[int, int]:
    """(rows, elements in each); all elements are one row where the op names no dimension."""
    x = call.args["self"]
    n = x.shape[call.args["dim"]] if "dim" in call.args and x.shape else x.size
    return (x.size // n if n else 0), n


def _median(nan: int) -> Callable[[OpCall], Work]:
    def work(call: OpCall) -> Work:
        rows, n = _rows(call)
        k = (n + 1) // 2
        return Work(compares=rows * (n - 1 + (k - 1) * log2_ceil(n) + nan * n)) if rows else Work()

    return work


def _copy(args: Arguments) -> list[TensorSpec]:
    """The elements, to be put in order."""
    x = args["self"]
    return [TensorSpec(x.shape, x.dtype)]


def _copy_of_rows(args: Arguments) -> list[TensorSpec]:
    """A copy of rows whose elements do not lie side by side."""
    x = args["self"]
    return _copy(args) if x.shape and x.shape[args["dim"]] > 1 and x.full_strides[args["dim"]] != 1 else []


def _mode_work(call: OpCall) -> Work:
    # Sorted, then each compared with the one before.
    rows, n = _rows(call)
    return Work(compares=rows * (sort_compares(n) + n - 1)) if rows else Work()


def _neighbours(call: OpCall) -> Work:
    # Along a dimension whole slices are compared.
    x, dim = call.args["self"], call.args["dim"]
    n = x.shape[dim] if dim is not None and x.shape else x.size
    return Work(compares=(n - 1) * (x.size // n)) if n else Work()


_SELECTION = "tournament selection: n - 1 matches, then ceil(log2 n) for each further one (Knuth, vol. 3, 5.3.3)"

register(
    *(
        Rule(targets=targets, kind=always("other"), outputs=outputs, work=work, traffic=every_argument,
             access=everything, temporaries=_in_rows, fusible=False,
             source=source, free_because=None,
             examples=examples)
        for targets, outputs, work, source, examples in (
            (("aten.histogram.bin_ct",), _histogram, _histogram_work, "torch.histogram, equal bins",
             (example(_X, 5), example(_X, 5, range=[0.0, 1.0], density=True))),
            (("aten.histogram.bins_tensor",), _histogram, _histogram_work,
             "torch.histogram: a binary search for each element", (example(_X, _EDGES),)),
            (("aten._histogramdd_bin_edges.default",), _edges, _edges_work, "torch.histogramdd: each axis's range",
             (example(_POINTS, [3, 2]),)),
            (("aten._histogramdd_from_bin_cts.default",), _of_points, _of_points_work(_uniform),
             "torch.histogramdd, equal bins", (example(_POINTS, [3, 2], range=[0.0, 1.0, 0.0, 1.0]),)),
            (("aten._histogramdd_from_bin_tensors.default",), _of_points, _of_points_work(_searched),
             "torch.histogramdd: a binary search for each coordinate", (example(_POINTS, [_EDGES, _EDGES]),)),
            (("aten.bincount.default",), Torch.META, _per_element, "torch.bincount: each element adds to a count",
             (example(_I), example(_I, TensorSpec((6,))))),
            (("aten.unique_consecutive.default",), Torch.META, _neighbours,
             "torch.unique_consecutive: each compared with the one before", (example(_I), example(_I, dim=0))),
        )
    ),
    reduction("aten.median.default", work=_median(0), outputs=_value, access=everything, source=_SELECTION,
              temporaries=_copy,
              examples=(example(_X),)),
    reduction("aten.nanmedian.default", work=_median(1), outputs=_value, access=everything, temporaries=_copy,
              source=f"each compared with itself, then {_SELECTION}", examples=(example(_X),)),
    reduction("aten.nanmedian.dim", work=_median(1), outputs=_value_and_index, temporaries=_copy_of_rows,
              source=f"each compared with itself, then {_SELECTION}",
              examples=(example(_X, 1), example(_X, -1, True))),
    reduction("aten.mode.default", work=_mode_work, outputs=_value_and_index,
              source="merge sort (Knuth, vol. 3, 5.2.4), then each compared with the one before",
              examples=(example(_X), example(_X, 1, True))),
)  # fmt: skip
