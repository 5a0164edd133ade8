"""Sorting, selecting and searching. Their comparisons are those of the textbook algorithm, in its worst case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from costmodel.access import AccessMap, Affine, All, AxisMap
from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops import layout
from costmodel.ops.access import all_of, everything, reduced
from costmodel.ops.reduction import reduced_shape, reduction
from costmodel.ops.rule import Outputs, Rule, Torch, always, every_argument, example, register
from costmodel.ops.temporaries import contiguous, copy
from costmodel.quantities import Work

_X = TensorSpec((2, 3, 4))
_I = TensorSpec((2, 3), "int64")
_SORTED = TensorSpec((5,))
_MERGE = "merge sort: ceil(log2 n) levels (Knuth, The Art of Computer Programming, vol. 3, 5.2.4)"
_TOURNAMENT = "tournament selection: n - 1 matches, then ceil(log2 n) for each further one (Knuth, vol. 3, 5.3.3)"
_BISECTION = "binary search: ceil(log2(n + 1)) comparisons a value (Knuth, vol. 3, 6.2.1)"


def log2_ceil(n: int) -> int:
    """The least k with 2**k >= n.

    >>> [log2_ceil(n) for n in (1, 2, 3, 4, 5)]
    [0, 1, 2, 2, 3]
    """
    return max(n - 1, 0).bit_length()


def sort_compares(n: int) -> int:
    """Comparisons of a merge sort of n numbers at worst.

    >>> [sort_compares(n) for n in (1, 2, 3, 4, 8)]
    [0, 1, 3, 5, 17]
    """
    levels = log2_ceil(n)
    return n * levels - (1 << levels) + 1


def _rows(call: OpCall) -> tuple[int, int]:
    """(rows, elements in each) along the op's dimension, the last one where it names none."""
    x = call.args["self"]
    n = x.shape[call.args.get("dim", -1)] if x.shape else 1
    return (x.size // n if n else 0), n


def _one_row(args: Arguments) -> list[TensorSpec]:
    """The positions 0 .. n - 1, with which every row of indices begins."""
    x = args["self"]
    return [TensorSpec((x.shape[args["dim"]] if x.shape else 1,), "int64")]


def _rows_side_by_side(args: Arguments) -> list[TensorSpec]:
    """A copy with the op's dimension last in memory, unless it is already."""
    x = args["self"]
    order = [d for d in range(len(x.shape)) if d != args["dim"] % len(x.shape)] + [args["dim"]] if x.shape else []
    lies = layout.normal(tuple(x.full_strides[d] for d in order), tuple(x.shape[d] for d in order)) is None
    return [] if lies else [copy(x)]


def _sort_work(call: OpCall) -> Work:
    rows, n = _rows(call)
    return Work(compares=rows * sort_compares(n)) if rows else Work()


def _selection(rank: Callable[[Arguments, int], int]) -> Callable[[OpCall], Work]:
    def work(call: OpCall) -> Work:
        rows, n = _rows(call)
        k = rank(call.args, n)
        return Work(compares=rows * (n - 1 + (k - 1) * log2_ceil(n))) if rows and k else Work()

    return work


def _sorted(args: Arguments) -> Outputs:
    x = args["self"]
    strides = layout.preserved_strides(x.shape, [x])
    return TensorSpec(x.shape, x.dtype, strides), TensorSpec(x.shape, "int64", strides)


def _topk(args: Arguments) -> Outputs:
    x, k = args["self"], args["k"]
    if not x.shape:
        return TensorSpec((), x.dtype), TensorSpec((), "int64")
    dim = args["dim"] % len(x.shape)
    if k > x.shape[dim]:
        raise ValueError(f"the largest {k} of {x.shape[dim]} elements along dimension {dim} of {x.shape}")
    shape = (*x.shape[:dim], k, *x.shape[dim + 1 :])
    return TensorSpec(shape, x.dtype), TensorSpec(shape, "int64")


def _along_dim(call: OpCall, output: int) -> AccessMap:
    return all_of("self", [call.args.get("dim", -1)] if call.args["self"].shape else [])(call, output)


def _one_of(args: Arguments) -> Outputs:
    shape = reduced_shape(args)
    return TensorSpec(shape, args["self"].dtype), TensorSpec(shape, "int64")


def _one_of_access(call: OpCall, output: int) -> AccessMap:
    return reduced("self", [call.args["dim"]], call.args["keepdim"], call)


def _positions(args: Arguments) -> TensorSpec:
    x = args["self"]
    shape = x.shape if type(x) is TensorSpec else ()
    return TensorSpec(shape, "int32" if args["out_int32"] else "int64")


def _bisection_work(sequence: str) -> Callable[[OpCall], Work]:
    def work(call: OpCall) -> Work:
        # A value may also lie before the first of n bounds: n + 1 answers.
        return Work(compares=call.outputs[0].size * log2_ceil(call.args[sequence].shape[-1] + 1))

    return work


def _bisection_access(call: OpCall, output: int) -> AccessMap:
    access: dict[str, tuple[AxisMap, ...]] = {}
    for name, t in call.tensors():
        rank = len(t.shape)
        values = name == "self"
        # One row of bounds for all values, or a row of bounds for each row of values.
        access[name] = tuple(Affine(d) if values or d < rank - 1 else All() for d in range(rank))
    return access


def _membership(args: Arguments) -> TensorSpec:
    elements: Any = args.get("elements", args.get("element"))
    if type(elements) is not TensorSpec:
        return TensorSpec((), "bool")
    return TensorSpec(elements.shape, "bool")


def _membership_work(call: OpCall) -> Work:
    tests = call.args.get("test_elements")
    return Work(compares=call.outputs[0].size * (tests.size if type(tests) is TensorSpec else 1))


def _membership_access(call: OpCall, output: int) -> AccessMap:
    tap = {"elements": Affine}
    return {name: tuple(Affine(d) if name in tap else All() for d in range(len(t.shape))) for name, t in call.tensors()}


def _sorted_copies(args: Arguments) -> list[TensorSpec]:
    """A sorted copy with its positions, those made of a range; and a contiguous copy to begin with."""
    x = args["self"]
    positions = TensorSpec((x.size,), "int64")
    return [*contiguous("self")(args), TensorSpec((x.size,), x.dtype), positions, positions]


def _sorted_for_membership(args: Arguments) -> list[TensorSpec]:
    """Many candidates are sorted together with the elements; few are compared one by one."""
    elements, tests = args.get("elements"), args.get("test_elements")
    if type(elements) is not TensorSpec or type(tests) is not TensorSpec or tests.size < 10 * elements.size**0.145:
        return []
    return _sorted_copies({"self": elements})


def _unique_work(call: OpCall) -> Work:
    n = call.args["self"].size
    return Work(compares=sort_compares(n) + n - 1) if n else Work()


register(
    reduction("aten.sort.default", work=_sort_work, outputs=_sorted, access=_along_dim, temporaries=_one_row,
              source=_MERGE,
              examples=(example(_X), example(_X, 1, True))),
    reduction("aten.sort.stable", work=_sort_work, outputs=_sorted, access=_along_dim, temporaries=_one_row,
              source=_MERGE,
              examples=(example(_X, stable=True, dim=0),)),
    reduction("aten.topk.default", work=_selection(lambda args, n: args["k"]), outputs=_topk, access=_along_dim,
              source=_TOURNAMENT, examples=(example(_X, 2), example(_X, 1, 1, False))),
    reduction("aten.kthvalue.default", work=_selection(lambda args, n: args["k"]), outputs=_one_of,
              temporaries=lambda args: [copy(args["self"])],
              access=_one_of_access, source=_TOURNAMENT, examples=(example(_X, 2), example(_X, 1, 0, True))),
    reduction("aten.median.dim", work=_selection(lambda args, n: (n + 1) // 2), outputs=_one_of,
              temporaries=_rows_side_by_side,
              access=_one_of_access, source=_TOURNAMENT, examples=(example(_X, 1), example(_X, -1, True))),
    *(
        Rule(targets=(target,), kind=always("other"), outputs=_positions, work=_bisection_work(sequence),
             traffic=every_argument, access=_bisection_access,
             temporaries=temporaries, fusible=False, source=_BISECTION, free_because=None,
             examples=examples)
        for target, sequence, temporaries, examples in (
            ("aten.bucketize.Tensor", "boundaries", contiguous("self", "boundaries"),
             (example(_X, _SORTED), example(_X, _SORTED, out_int32=True))),
            ("aten.searchsorted.Tensor", "sorted_sequence", contiguous("self", "sorted_sequence"),
             (example(_SORTED, _X), example(TensorSpec((2, 5)), TensorSpec((2, 3))))),
            ("aten.searchsorted.Scalar", "sorted_sequence", contiguous("sorted_sequence"), (example(_SORTED, 0.5),)),
        )
    ),
    *(
        Rule(targets=(target,), kind=always("other"), outputs=_membership, work=_membership_work,
             traffic=every_argument, access=_membership_access, temporaries=_sorted_for_membership, fusible=False,
             source="every element compared with every candidate, as the CPU kernel does for few candidates",
             free_because=None, examples=(case,))
        for target, case in (
            ("aten.isin.Tensor_Tensor", example(_I, TensorSpec((4,), "int64"))),
            ("aten.isin.Tensor_Scalar", example(_I, 3)),
            ("aten.isin.Scalar_Tensor", example(3, TensorSpec((4,), "int64"))),
        )
    ),
    Rule(targets=("aten._unique2.default", "aten._unique.default"), kind=always("other"), outputs=Torch.META,
         work=_unique_work, traffic=every_argument, access=everything,
         temporaries=_sorted_copies, fusible=False, source=_MERGE, free_because=None,
         examples=(example(_I),)),
)  # fmt: skip
