"""How composite ops that are not recorded come apart: as in torch, but for convolutions of complex numbers.

Torch makes three real convolutions of a complex one as soon as it takes it apart, also where that only adds a batch
dimension or puts numbers in the place of ``padding="same"``. Those steps are done here, and the convolution stays one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from costmodel.graph import Arguments
from costmodel.torch_private import OpOverload, run_composite
from costmodel.trace.signature import signature

_CONVOLUTIONS = frozenset({
    "aten.conv1d.default", "aten.conv2d.default", "aten.conv3d.default",
    "aten.conv1d.padding", "aten.conv2d.padding", "aten.conv3d.padding",
    "aten.conv_transpose1d.default", "aten.conv_transpose2d.input", "aten.conv_transpose3d.input",
})  # fmt: skip


def decompose(func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What a composite op returns, by the ops that it is made of."""
    if str(func) in _CONVOLUTIONS:
        given = signature(func).bind(args, kwargs)
        x, weight, padding = given["input"], given["weight"], given["padding"]
        if x.is_complex() and x.dim() == weight.dim() - 1:
            return func(**(given | {"input": x.unsqueeze(0)})).squeeze(0)
        if x.is_complex() and x.dim() == weight.dim() and (padding == "valid" or _is_same(given)):
            return _with_numbers(func, given)
    return run_composite(func, args, kwargs)


def _is_same(given: Arguments) -> bool:
    return given["padding"] == "same" and set(given["stride"]) == {1}  # which torch takes no other stride with


def _with_numbers(func: OpOverload, given: Arguments) -> Any:
    """The convolution with the padding that its name stands for.

    Source: ``_convolution_same`` in aten/src/ATen/native/Convolution.cpp.
    """
    x, kernel, dilation = given["input"], given["weight"].shape[2:], given["dilation"]
    dilations = list(dilation) * (len(kernel) if len(dilation) == 1 else 1)
    totals = [d * (k - 1) if given["padding"] == "same" else 0 for d, k in zip(dilations, kernel, strict=True)]
    if any(total % 2 for total in totals):
        # What an axis has more of behind it than before it is an op of its own, which takes the last axis first.
        x = torch.ops.aten.constant_pad_nd.default(x, [side for t in reversed(totals) for side in (0, t % 2)], 0)
    return func.overloadpacket.default(**(given | {"input": x, "padding": [total // 2 for total in totals]}))
