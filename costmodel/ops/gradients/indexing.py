"""Gradients of look-ups and of parts of a tensor: zeros, with what arrives written or added where it came from."""

from __future__ import annotations

from collections.abc import Callable

from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops.access import everything
from costmodel.ops.movement import copy
from costmodel.ops.rule import Example, Rule, always, every_argument, example, moved, register
from costmodel.ops.temporaries import contiguous
from costmodel.ops.temporaries import copy as copy_of
from costmodel.quantities import Traffic, Work

_X, _I = TensorSpec((2, 3, 4)), TensorSpec((2, 3), "int64")
_MEAN, _MAX = 1, 2


def _of_sizes(name: str) -> Callable[[Arguments], TensorSpec]:
    return lambda args: TensorSpec(tuple(args[name]), args["grad_output"].dtype)


def _part(name: str, *examples: Example) -> Rule:
    return copy(
        f"aten.{name}_backward.default",
        outputs=_of_sizes("input_sizes"),
        access=everything,
        examples=examples,
        source="zeros, with the gradient copied to where the part was; nothing computed",
    )


def _table(args: Arguments) -> TensorSpec:
    g = args.get("grad_output") or args["grad"]
    return TensorSpec((args["num_weights"], g.shape[-1]), g.dtype)


def _table_work(call: OpCall) -> Work:
    # Each gradient is added to its row, over how often the row was looked up where that is asked for.
    g = call.args["grad_output"]
    return Work(adds=g.size, divides=g.size if call.args["scale_grad_by_freq"] else 0)


def _bag_work(call: OpCall) -> Work:
    # Each row of a bag gets the bag's gradient, over the bag's size in a mean; of a maximum, one row for each feature.
    args, features = call.args, call.args["grad"].shape[-1]
    if args["mode"] == _MAX:
        return Work(adds=args["grad"].size)
    added = args["indices"].size * features
    weighted = args["per_sample_weights"] is not None or args["scale_grad_by_freq"]
    return Work(adds=added, multiplies=added if weighted else 0, divides=added if args["mode"] == _MEAN else 0)


def _bags_found(args: Arguments) -> list[TensorSpec]:
    """The bag of each index, with one place to spare, where the forward kept none."""
    indices = args["indices"]
    return [TensorSpec((indices.size + 1,), indices.dtype)] if indices.size and not args["offset2bag"].size else []


def _bag_temporaries(args: Arguments) -> list[TensorSpec]:
    """The indices sorted, the order that does it, the bag and the weight of each; the gradient made contiguous."""
    found = [] if "offsets" not in args else _bags_found(args)
    indices, weights = args["indices"], args["per_sample_weights"]
    sorted_ = [TensorSpec(indices.shape, "int64")] * 3 + ([] if weights is None else [copy_of(weights)])
    return [*found, *sorted_, *contiguous("grad")(args)]


def _bag_weights(args: Arguments) -> TensorSpec:
    return TensorSpec((args["indices"].shape[0],), args["grad"].dtype)


def _bag_weights_work(call: OpCall) -> Work:
    # The gradient of each weight is a dot product of the bag's gradient and the row.
    features, n = call.args["grad"].shape[-1], call.args["indices"].size
    return Work(multiplies=features, adds=max(features - 1, 0)).times(n)


def _selected(args: Arguments) -> TensorSpec:
    return TensorSpec(tuple(args["sizes"]), args["grad_output"].dtype)


def _selected_traffic(call: OpCall) -> Traffic:
    # How many elements the mask selects is data: at most as many as there are.
    (y,), g = call.outputs, call.args["grad_output"]
    n = min(y.size, g.size)
    return moved([call.args["mask"]], call.outputs) + Traffic(read=n, read_bytes=n * g.itemsize)


_GRADS, _INDICES, _OFFSETS, _BAGS = TensorSpec((3, 4)), TensorSpec((7,), "int64"), TensorSpec((3,), "int64"), (
    TensorSpec((7,), "int64")
)  # fmt: skip

register(
    _part("select", example(TensorSpec((2, 4)), [2, 3, 4], 1, 2)),
    _part("slice", example(TensorSpec((2, 2, 4)), [2, 3, 4], 1, 0, 2, 1)),
    _part("diagonal", example(TensorSpec((2, 3)), [2, 3, 4], 0, 1, 2)),
    copy(
        "aten.masked_scatter_backward.default", outputs=_selected, traffic=_selected_traffic, access=everything,
        examples=(example(_X, TensorSpec((2, 3, 4), "bool"), [30]),),
        source="what the mask selects, one after the other, then zeros; nothing computed",
    ),
    Rule(
        targets=("aten.embedding_dense_backward.default",), kind=always("embedding"), outputs=_table, work=_table_work,
        traffic=every_argument, access=everything, temporaries=contiguous("grad_output", "indices"), fusible=False,
        source="torch.nn.Embedding: each gradient is added to its row", free_because=None,
        examples=(example(_X, _I, 10, -1, False), example(_X, _I, 10, -1, True)),
    ),
    Rule(
        targets=("aten._embedding_bag_dense_backward.default",), kind=always("embedding"), outputs=_table,
        work=_bag_work, traffic=every_argument, access=everything, temporaries=_bag_temporaries, fusible=False,
        source="torch.nn.EmbeddingBag: each row gets its bag's gradient", free_because=None,
        examples=(
            example(_GRADS, _INDICES, _BAGS, _OFFSETS, _OFFSETS, 10, False, 0, None),
            example(_GRADS, _INDICES, _BAGS, _OFFSETS, _OFFSETS, 10, False, _MEAN, None),
        ),
    ),
    Rule(
        targets=("aten._embedding_bag_backward.default",), kind=always("embedding"), outputs=_table,
        work=_bag_work, traffic=every_argument, access=everything, temporaries=_bag_temporaries, fusible=False,
        source="torch.nn.EmbeddingBag: each row gets its bag's gradient", free_because=None,
        examples=(example(_GRADS, _INDICES, _OFFSETS, _BAGS, _OFFSETS, _OFFSETS, 10, False, 0, False, None),),
    ),
    Rule(
        targets=("aten._embedding_bag_per_sample_weights_backward.default",), kind=always("embedding"),
        outputs=_bag_weights, work=_bag_weights_work, traffic=every_argument, access=everything,
        temporaries=_bags_found, fusible=False, source="torch.nn.EmbeddingBag: a dot product for each weight",
        free_because=None,
        examples=(example(_GRADS, TensorSpec((10, 4)), _INDICES, _OFFSETS, _BAGS, 0),),
    ),
)  # fmt: skip
