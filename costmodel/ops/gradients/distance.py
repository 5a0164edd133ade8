"""Gradients of distances between vectors: each pair pulls its two points, by the derivative of the p-norm."""

from __future__ import annotations

import math

from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops import layout
from costmodel.ops.access import everything
from costmodel.ops.rule import Rule, always, every_argument, example, no_temporaries, register
from costmodel.ops.temporaries import copy
from costmodel.quantities import Work


def _pull(n: int, order: float) -> Work:
    """On one point, by another, of n components each: g sign(d) (|d| / norm)^(p - 1), of the difference d."""
    difference = Work(adds=n)
    if order == 0:
        return Work()
    if order == 1:  # g or -g
        return difference
    if order == 2:  # d (g / norm)
        return difference + Work(divides=1, multiplies=n)
    if order == math.inf:  # g where the component is the greatest
        return difference + Work(compares=n)
    # d |d|^(p - 2) g / norm^(p - 1)
    return difference + Work(transcendentals=n + 1, divides=1, multiplies=2 * n)


def _expanded(args: Arguments) -> tuple[TensorSpec, TensorSpec]:
    """Both sides, expanded to all batches."""
    x, y = args["x1"], args["x2"]
    batch = layout.broadcast([x.shape[:-2], y.shape[:-2]])
    return _of_batch(x, batch), _of_batch(y, batch)


def _of_batch(t: TensorSpec, batch: tuple[int, ...]) -> TensorSpec:
    if t.shape[:-2] == batch:
        return t
    given = (1,) * (len(batch) - len(t.shape) + 2) + t.shape[:-2]
    strides = (0,) * (len(batch) - len(t.shape) + 2) + t.full_strides[:-2]
    expanded = tuple(s if n == m else 0 for n, m, s in zip(given, batch, strides, strict=True))
    return TensorSpec((*batch, *t.shape[-2:]), t.dtype, (*expanded, *t.full_strides[-2:]))


def _between_all(args: Arguments) -> TensorSpec:
    x, (left, right) = args["x1"], _expanded(args)
    if 0 in left.shape or 0 in right.shape[:-1]:  # zeros, of which nothing is expanded
        return TensorSpec(x.shape, x.dtype, layout.preserved_strides(x.shape, [x]))
    return TensorSpec(left.shape, x.dtype)


def _between_all_work(call: OpCall) -> Work:
    n, pairs = call.args["x1"].shape[-1], call.args["cdist"].size
    pull = _pull(n, call.args["p"])
    return (pull + Work(adds=n if pull != Work() else 0)).times(pairs)


def _copies(args: Arguments) -> list[TensorSpec]:
    """Contiguous copies of both sides, expanded to all batches, of the distances and of their gradient."""
    sides = _expanded(args)
    if 0 in sides[0].shape or 0 in sides[1].shape[:-1]:
        return []
    # torch 2.15 gave the gradient another name
    others = [t for name, t in args.items() if type(t) is TensorSpec and name not in ("x1", "x2")]
    return [copy(t) for t in (*sides, *others) if not t.is_contiguous]


def _pairs(args: Arguments) -> TensorSpec:
    return TensorSpec(args["self"].shape, args["self"].dtype)


def _pairs_work(call: OpCall) -> Work:
    # One point is pulled by what the other is pushed by.
    n = call.args["self"].shape[1]
    pull = _pull(n, call.args["p"])
    return (pull + Work(adds=2 * n if pull != Work() else 0)).times(call.args["pdist"].size)


_X, _Y, _POINTS = TensorSpec((2, 3, 4)), TensorSpec((2, 5, 4)), TensorSpec((5, 4))
_BETWEEN, _PAIRS = TensorSpec((2, 3, 5)), TensorSpec((10,))
_ORDERS = (1.0, 2.0, 3.0, math.inf)

register(
    Rule(
        targets=("aten._cdist_backward.default",), kind=always("other"), outputs=_between_all, work=_between_all_work,
        traffic=every_argument, access=everything, temporaries=_copies, fusible=False,
        source="torch.cdist: the derivative of the p-norm of x - y", free_because=None,
        examples=tuple(example(_BETWEEN, _X, _Y, p, _BETWEEN) for p in _ORDERS),
    ),
    Rule(
        targets=("aten._pdist_backward.default",), kind=always("other"), outputs=_pairs, work=_pairs_work,
        traffic=every_argument, access=everything, temporaries=no_temporaries, fusible=False,
        source="torch.nn.functional.pdist: the derivative of the p-norm of x - y", free_because=None,
        examples=tuple(example(_PAIRS, _POINTS, p, _PAIRS) for p in _ORDERS),
    ),
)  # fmt: skip
