"""Mixtures of experts: matrix products of groups of unequal size, and counting how many tokens each group has."""

from __future__ import annotations

from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops.access import everything
from costmodel.ops.rule import Rule, always, every_argument, example, no_temporaries, register
from costmodel.ops.temporaries import contiguous
from costmodel.quantities import Work


def grouped_product(args: Arguments) -> TensorSpec:
    """(rows, columns) of a product in groups."""
    a, b, ends = args["self"], args["mat2"], args["offs"]
    if {len(a.shape), len(b.shape)} - {2, 3}:
        raise ValueError(f"a grouped product takes tensors of 2 or 3 dimensions, got {a.shape} and {b.shape}")
    groups = {t.shape[0] for t in (a, b) if len(t.shape) == 3} | ({ends.shape[0]} if ends is not None else set())
    if a.shape[-1] != b.shape[-2] or len(groups) != 1:
        raise ValueError(f"a grouped product of {a.shape} and {b.shape} with group ends {ends} does not fit")
    # A dimension of groups stays where both have it (a batch) or neither has (a sum cut in pieces).
    leading = tuple(groups) if len(a.shape) == len(b.shape) else ()
    return TensorSpec((*leading, a.shape[-2], b.shape[-1]), args["out_dtype"] or a.dtype)


def grouped_work(call: OpCall) -> Work:
    """Of a product in groups, with a bias or without."""
    a, b = call.args["self"], call.args["mat2"]
    # Where one factor has a dimension of groups, each row (or column, or summand) of the other is in one group only.
    batch = a.shape[0] if len(a.shape) == len(b.shape) == 3 else 1
    adds = call.outputs[0].size if call.args["bias"] is not None else 0
    return Work(macs=batch * a.shape[-2] * a.shape[-1] * b.shape[-1], adds=adds)


def _histogram_work(call: OpCall) -> Work:
    # In range? (x - min) * bins / (max - min) is the bin, which then counts one more.
    n = call.args["self"].size
    each = Work(compares=2, adds=2, multiplies=1, divides=1).times(n)
    # An empty range is that from the least element to the greatest.
    is_given = call.args["min"] != call.args["max"]
    return each if is_given else each + Work(compares=2 * max(n - 1, 0))


_ENDS = TensorSpec((2,), "int32")

register(
    Rule(
        targets=("aten._grouped_mm.default",), kind=always("matmul"), outputs=grouped_product, work=grouped_work,
        traffic=every_argument, access=everything, temporaries=no_temporaries, fusible=False,
        source="torch.nn.functional.grouped_mm; the groups are taken to cover every row, as a router's do",
        free_because=None,
        examples=(
            example(TensorSpec((6, 8)), TensorSpec((2, 8, 4)), _ENDS),
            example(TensorSpec((4, 8)), TensorSpec((8, 12)), _ENDS),
            example(TensorSpec((2, 4, 8)), TensorSpec((8, 12)), _ENDS),
            example(TensorSpec((2, 4, 8)), TensorSpec((2, 8, 12))),
        ),
    ),
    Rule(
        targets=("aten.histc.default",), kind=always("other"),
        outputs=lambda args: TensorSpec((args["bins"],), args["self"].dtype), work=_histogram_work,
        traffic=every_argument, access=everything,
        temporaries=contiguous("self"), fusible=False, source="torch.histc", free_because=None,
        examples=(example(TensorSpec((2, 6)), 5, 0, 1), example(TensorSpec((7,)))),
    ),
)  # fmt: skip
