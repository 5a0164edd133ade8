"""Embeddings: rows looked up in a table, as they are or summed by bags."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from costmodel.access import AccessMap, Affine, All
from costmodel.errors import NeedsValuesError
from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops.movement import copy
from costmodel.ops.rule import Example, Rule, always, example, no_work, register
from costmodel.ops.temporaries import contiguous
from costmodel.ops.versions import Change, has
from costmodel.quantities import Traffic, Work

_SUM, _MEAN, _MAX = 0, 1, 2


def _outputs(args: Arguments) -> TensorSpec:
    w, indices = args["weight"], args["indices"]
    if len(w.shape) != 2:
        raise ValueError(f"an embedding table is (rows, features), got {w.shape}")
    if indices.dtype not in ("int64", "int32"):
        raise ValueError(
            f"an embedding takes int64 or int32 indices, got {indices}; an input of indices is "
            f"costmodel.Input({indices.shape}, torch.int64)"
        )
    return TensorSpec((*indices.shape, w.shape[1]), w.dtype)


def _rows_read(call: OpCall, *further: TensorSpec | None) -> Traffic:
    """One row of the table for every index, the indices themselves, and the result."""
    w, indices, y = call.args["weight"], call.args["indices"], call.outputs[0]
    looked_up = indices.size * w.shape[1]
    small = [indices, *(t for t in further if t is not None)]
    return Traffic(
        read=looked_up + sum(t.distinct for t in small),
        read_bytes=looked_up * w.itemsize + sum(t.distinct_bytes for t in small),
        written=y.size,
        written_bytes=y.nbytes,
    )


def _rows(args: Mapping[str, Any]) -> list[tuple[Any, range]]:
    return [(args["indices"], range(args["weight"].shape[0]))]


def _access(call: OpCall, output: int) -> AccessMap:
    return {"indices": tuple(Affine(d) for d in range(len(call.args["indices"].shape)))}


def _bags(args: Arguments) -> int:
    return int(args["offsets"].shape[0]) - bool(args["include_last_offset"])


def _bag_outputs(*, counts_last_offset: bool) -> Callable[[Arguments], tuple[TensorSpec, ...]]:
    def outputs(args: Arguments) -> tuple[TensorSpec, ...]:
        w, indices, mode = args["weight"], args["indices"], args["mode"]
        bags = _bags(args)
        y = TensorSpec((bags, w.shape[1]), w.dtype)
        # Bookkeeping for the backward pass, which torch's quickest kernels do without.
        fast_sum = (
            mode == _SUM and args["padding_idx"] < 0 and w.dtype in ("float32", "float16", "bfloat16")
            and (w.strides is None or w.strides[1] == 1)
        )  # fmt: skip
        of_each = TensorSpec((0,) if fast_sum else indices.shape, indices.dtype)
        sizes = TensorSpec((args["offsets"].shape[0] if mode == _SUM and counts_last_offset else bags,), indices.dtype)
        return y, of_each, sizes, TensorSpec((bags, w.shape[1]), indices.dtype) if mode == _MAX else sizes

    return outputs


def _bag_work(call: OpCall) -> Work:
    # A bag of k rows takes k - 1 additions (or comparisons) a feature. Which bag an index is in is data: every bag
    # is taken to hold at least one index, and none that is padding.
    args, y = call.args, call.outputs[0]
    looked_up = args["indices"].size * y.shape[1]
    steps = max(looked_up - y.size, 0)
    weighted = looked_up if args["per_sample_weights"] is not None else 0
    if args["mode"] == _MAX:
        return Work(compares=steps)
    return Work(adds=steps, multiplies=weighted, divides=y.size if args["mode"] == _MEAN else 0)


def _bag_temporaries(args: Arguments) -> list[TensorSpec]:
    """A mean divides by the bags' sizes: at least 1, and floating."""
    # The bag of each index is filled in with one place to spare.
    spare = [TensorSpec((1,), args["indices"].dtype)] if _bag_outputs(counts_last_offset=False)(args)[1].size else []
    if args["mode"] != _MEAN:
        return spare
    sizes = TensorSpec((_bags(args),), args["indices"].dtype)
    ones = [] if has(Change.CHEAPER_BAG_SIZES) else [sizes]
    return [*spare, *ones, sizes, TensorSpec(sizes.shape, args["weight"].dtype)]


def _one_hot(args: Arguments) -> TensorSpec:
    x, classes = args["self"], args["num_classes"]
    if classes < 0:
        raise NeedsValuesError("the number of classes is read off the values")
    return TensorSpec((*x.shape, classes), "int64")


def _one_hot_access(call: OpCall, output: int) -> AccessMap:
    return {"self": tuple(Affine(d) for d in range(len(call.args["self"].shape)))}


def _bag_rule(target: str, *, counts_last_offset: bool) -> Rule:
    table, indices, offsets = TensorSpec((10, 4)), TensorSpec((7,), "int64"), TensorSpec((3,), "int64")
    weights = TensorSpec((7,))
    examples: tuple[Example, ...] = (
        example(table, indices, offsets), example(table, indices, offsets, False, _MEAN),
        example(table, indices, offsets, False, _MAX), example(table, indices, offsets, False, _SUM, False, weights),
        example(table, indices, offsets, False, _SUM, False, None, True),
    )  # fmt: skip
    return Rule(
        targets=(target,), kind=always("embedding"), outputs=_bag_outputs(counts_last_offset=counts_last_offset),
        work=_bag_work,
        traffic=lambda call: _rows_read(call, call.args["offsets"], call.args["per_sample_weights"]),
        access=lambda call, output: {"indices": (All(),)},
        temporaries=_bag_temporaries, fusible=False, source="torch.nn.EmbeddingBag",
        free_because=None, examples=examples,
    )  # fmt: skip


register(
    Rule(
        targets=("aten.embedding.default",), kind=always("embedding"), outputs=_outputs, work=no_work,
        traffic=_rows_read, access=_access,
        temporaries=contiguous("indices"), fusible=False, source="torch.nn.Embedding: a table look-up, no arithmetic",
        free_because=None, examples=(example(TensorSpec((10, 4)), TensorSpec((2, 3), "int64")),), indices=_rows,
    ),
    copy(
        "aten.one_hot.default", outputs=_one_hot, access=_one_hot_access,
        source="torch.nn.functional.one_hot: zeros, and a one where the index says",
        examples=(example(TensorSpec((2, 3), "int64"), 4),),
    ),
    _bag_rule("aten._embedding_bag.default", counts_last_offset=False),
    _bag_rule("aten._embedding_bag_forward_only.default", counts_last_offset=True),
)  # fmt: skip
