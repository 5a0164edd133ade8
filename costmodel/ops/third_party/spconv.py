"""spconv: convolutions of sparse points, by the rulebook that a run makes: pairs of an input and an output point.

Which points meet depends on values, so these run for real. Source: ``spconv/pytorch/functional.py`` of spconv 2.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from costmodel.graph import OpCall, TensorSpec
from costmodel.ops.functions import register_function
from costmodel.quantities import Work

_FUNCTIONS = "spconv.pytorch.functional"


def _work(call: OpCall) -> Work:
    """Each pair multiplies one point's channels with the filter of one offset."""
    (y,) = call.outputs
    bias = isinstance(call.args.get("bias"), TensorSpec)
    pairs = call.args["observed"]["pairs"] if "observed" in call.args else 0
    return Work(macs=pairs * call.args["features"].shape[1] * y.shape[1], adds=y.size if bias else 0)


def _pairs(args: Mapping[str, Any]) -> dict[str, int]:
    return {"pairs": int(args["indice_pair_num"].sum())}


def _pairs_on_the_same_points(args: Mapping[str, Any]) -> dict[str, int]:
    # Points stay where they are: the offset in the middle pairs each with itself, and of two opposite ones, which have
    # as many pairs, the rulebook may hold the first alone.
    numbers = args["indice_pair_num"].tolist()
    return {"pairs": args["features"].shape[0] + 2 * sum(numbers[: len(numbers) // 2])}


def _pairs_of_map(args: Mapping[str, Any]) -> dict[str, int]:
    return {"pairs": int((args["pair_fwd"] >= 0).sum())}


for _name, _observe in (
    ("SparseConvFunction", _pairs), ("SparseInverseConvFunction", _pairs),
    ("SubMConvFunction", _pairs_on_the_same_points), ("SparseImplicitGemmFunction", _pairs_of_map),
):  # fmt: skip
    register_function(f"{_FUNCTIONS}:{_name}", kind="standard conv", observe=_observe)(_work)
