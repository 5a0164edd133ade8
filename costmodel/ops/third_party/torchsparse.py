"""torchsparse: convolutions of sparse points, by the kernel map that a run makes: pairs of input and output points.

Which points meet depends on values, so these run for real.
Source: ``torchsparse/nn/functional/conv`` of torchsparse 1.4 and 2.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from costmodel.graph import OpCall
from costmodel.ops.functions import register_function
from costmodel.quantities import Work


def _work(call: OpCall) -> Work:
    """Each pair multiplies one point's channels with the weight of one offset."""
    c_in, c_out = call.args["weight"].shape[-2:]
    pairs = call.args["observed"]["pairs"] if "observed" in call.args else 0
    return Work(macs=pairs * c_in * c_out)


def _pairs(args: Mapping[str, Any]) -> dict[str, int]:
    return {"pairs": int(args["nbsizes"].sum())}


def _pairs_of_map(args: Mapping[str, Any]) -> dict[str, int]:
    kernel_map = args["kmap"]
    if kernel_map.get("nbsizes") is not None:
        return {"pairs": int(kernel_map["nbsizes"].sum())}
    points = kernel_map["out_in_map_t" if args.get("transposed") else "out_in_map"]
    return {"pairs": int((points >= 0).sum())}


register_function("torchsparse.nn.functional.conv:ConvolutionFunction", kind="standard conv", observe=_pairs)(_work)
for _name in (
    "ImplicitGEMMConvolutionFuntion", "GatherScatterConvolutionFuntion", "FetchOnDemandConvolutionFuntion"
):  # fmt: skip  # spelled so in torchsparse
    register_function(
        f"torchsparse.nn.functional.conv.func:{_name}", kind="standard conv", observe=_pairs_of_map
    )(_work)  # fmt: skip
