"""Which kernel torch's CPU build takes for a convolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class FallbackError(Exception):
    """A convolution whose layout on the way is that of a fallback kernel."""


class NoFallback(TorchDispatchMode):
    """Refuses convolutions in any layout but the contiguous one where torch does not give them to oneDNN.

    Small ones, those in double precision and, on most processors, in half go to loops of torch's own. Which those are
    depends on the number of threads and on the processor. They copy maps that are channels last, and the 3-d ones
    return contiguous maps. Profiles say what oneDNN and cuDNN do. oneDNN itself takes the process down on some rows
    that are channels last beside (torch 2.13: ``conv1d`` of one position, stride 2, padding 1).
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten.convolution.default and (args[8] > 1 or not all(map(_is_plain, args[:2]))):
            backend = torch._C._select_conv_backend(*args[:9], None)  # type: ignore[attr-defined]  # no stub has it
            if "Mkldnn" not in str(backend) or (
                args[0].dim() == 3 and args[0].is_contiguous() and not _is_plain(args[0])
            ):
                raise FallbackError(f"{backend} of {[(t.shape, t.stride()) for t in args[:2]]}")
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.convolution.default and args[0].numel() and not result.numel():
            raise FallbackError("oneDNN alone makes an empty map")
        return result


def _is_plain(t: Tensor) -> bool:
    """Whether the layout is contiguous, and no channels last beside."""
    return (t.is_contiguous() and (t.dim() < 3 or t.shape[1] * t.stride(1) > t.stride(-1))) or not t.numel()
