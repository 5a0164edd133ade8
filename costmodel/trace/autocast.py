"""Automatic mixed precision on tensors that are not there: the casts that ``torch.autocast`` would insert.

torch's autocast acts by the device of a tensor. It casts real weights, cache and all, before the recorder sees an op,
and does nothing to meta tensors: those are cast here. Whether it is on can be seen only outside the dispatch of an op.
So the first sign of it ends the trace, which begins again with an ``Autocast``: a function mode that looks before every
call, at about 4 µs each. A model without autocast pays for one look at the ops on these lists.

Source: aten/src/ATen/autocast_mode.h and autocast_mode.cpp.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch._ops import OpOverload
from torch.overrides import TorchFunctionMode

from costmodel.errors import CostModelError
from costmodel.trace.signature import signature

if TYPE_CHECKING:
    from costmodel.trace.recorder import Handler, Recorder

_CONVOLUTIONS = frozenset(
    f"aten.conv{n}d.{overload}" for n in (1, 2, 3) for overload in ("default", "padding")
) | {"aten.conv_transpose1d.default", "aten.conv_transpose2d.input", "aten.conv_transpose3d.input"}  # fmt: skip
_PRODUCTS = frozenset(
    f"aten.{name}.default"
    for name in (
        "conv_tbc", "mm", "bmm", "addmm", "baddbmm", "addbmm", "matmul", "linear", "linalg_vecdot", "prelu",
        "scaled_dot_product_attention",
    )
)  # fmt: skip
_LOSSES = frozenset(
    f"aten.{name}.default"
    for name in (
        "mse_loss", "cosine_embedding_loss", "nll_loss", "nll_loss2d", "hinge_embedding_loss", "poisson_nll_loss",
        "smooth_l1_loss", "l1_loss", "huber_loss", "margin_ranking_loss", "soft_margin_loss", "triplet_margin_loss",
        "multi_margin_loss", "kl_div", "multilabel_margin_loss", "binary_cross_entropy_with_logits",
    )
)  # fmt: skip

LOWER: Mapping[str, frozenset[str]] = {
    "cpu": _CONVOLUTIONS | _PRODUCTS,
    "cuda": (_CONVOLUTIONS - {f"aten.conv{n}d.padding" for n in (1, 2, 3)}) | _PRODUCTS | {
        *(f"aten.{name}.default" for name in (
            "convolution", "_convolution", "addmv", "addr", "mv", "einsum", "chain_matmul", "linalg_multi_dot",
            "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell", "_thnn_fused_lstm_cell", "_thnn_fused_gru_cell",
            "_scaled_dot_product_flash_attention",
        )),
    },
}  # fmt: skip
"""Ops whose floating arguments are cast to autocast's dtype, by device."""

FLOAT32: Mapping[str, frozenset[str]] = {
    "cpu": _LOSSES | {
        "aten.avg_pool3d.default", "aten.binary_cross_entropy.default", "aten.grid_sampler.default",
        "aten.polar.default", "aten.cdist.default", "aten._cdist_forward.default", "aten.trace.default",
        "aten.view_as_complex.default", "aten.prod.default", "aten.prod.dim_int", "aten.quantile.default",
        "aten.quantile.scalar", "aten.stft.center", "aten.stft.default", "aten.cross_entropy_loss.default",
        "aten.ctc_loss.IntList", "aten.ctc_loss.Tensor",
        *(f"aten.fft_{name}.default" for name in (
            "fft", "ifft", "fft2", "ifft2", "fftn", "ifftn", "rfft", "irfft", "rfft2", "irfft2", "rfftn", "irfftn",
            "hfft", "ihfft",
        )),
    },
    "cuda": _LOSSES | {
        *(f"aten.{name}.default" for name in (
            "acos", "asin", "cosh", "erfinv", "exp", "expm1", "log", "log10", "log2", "log1p", "reciprocal", "rsqrt",
            "sinh", "tan", "softplus", "layer_norm", "native_layer_norm", "rms_norm", "group_norm",
            "cosine_similarity", "dist", "pdist", "cdist", "renorm", "logsumexp", "upsample_nearest1d",
            "_upsample_nearest_exact1d", "upsample_nearest2d", "_upsample_nearest_exact2d", "upsample_nearest3d",
            "_upsample_nearest_exact3d", "upsample_linear1d", "upsample_bilinear2d", "_upsample_bilinear2d_aa",
            "upsample_trilinear3d", "upsample_bicubic2d", "_upsample_bicubic2d_aa",
        )),
        "aten.pow.Tensor_Scalar", "aten.pow.Tensor_Tensor", "aten.pow.Scalar", "aten.norm.Scalar",
        "aten.norm.ScalarOpt_dim", "aten.frobenius_norm.dim",
    },
}  # fmt: skip
"""Ops whose floating arguments are cast to float32."""

FLOAT32_BY_DTYPE: Mapping[str, frozenset[str]] = {
    "cpu": frozenset(),
    "cuda": frozenset({
        "aten.prod.default", "aten.prod.dim_int", "aten.softmax.int", "aten.log_softmax.int", "aten.cumprod.default",
        "aten.cumsum.default", "aten.linalg_vector_norm.default", "aten.sum.default", "aten.sum.dim_IntList",
    }),
}  # fmt: skip
"""Ops that are told to compute in float32 by their own ``dtype`` argument, where it is not given."""

WIDEST: Mapping[str, frozenset[str]] = {
    "cpu": frozenset({"aten.cat.default", "aten.stack.default", "aten.index_copy.default"}),
    "cuda": frozenset({
        *(f"aten.{name}.default" for name in (
            "cat", "stack", "addcdiv", "addcmul", "atan2", "bilinear", "cross", "dot", "vdot", "grid_sampler",
            "index_put", "tensordot", "scatter_add",
        )),
    }),
}  # fmt: skip
"""Ops whose floating arguments are cast to the widest dtype among them, at least autocast's."""

LISTED = frozenset().union(*(ops for by in (LOWER, FLOAT32, FLOAT32_BY_DTYPE, WIDEST) for ops in by.values()))
_CAST = "aten._to_copy.default"


class AutocastSeenError(CostModelError):
    """Autocast may be on: the trace must begin again with an ``Autocast``. Never leaves ``trace``."""


def watched(op: str, handler: Handler) -> Handler:
    """The handler of an op on the lists, or of the cast that torch's own autocast makes of a real weight."""
    if op != _CAST and op not in LISTED:
        return handler

    def handle(recorder: Recorder, func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if recorder.autocast is not None:
            return recorder.autocast.call(handler, recorder, func, args, kwargs)
        if recorder.notices_autocast and _nesting():
            raise AutocastSeenError
        return handler(recorder, func, args, kwargs)

    return handle


class Autocast(TorchFunctionMode):
    """What torch's autocast would do to the arguments of an op on tensors of one device."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        found = next((p.device.type for p in model.parameters()), "cpu")
        if found not in LOWER:  # a model on the meta device: the autocast that is meant is the one that is on
            found = "cuda" if torch.is_autocast_enabled("cuda") else "cpu"
        self.device = found
        self._on = torch.is_autocast_enabled(found)
        torch.clear_autocast_cache()  # of casts that an earlier, real run made: this one makes its own
        self._cast_weights: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self._on = torch.is_autocast_enabled(self.device)
        if not _nesting():
            self._cast_weights.clear()
        return func(*args, **(kwargs or {}))

    def call(
        self, handler: Handler, recorder: Recorder, func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """What a handler returns for the arguments that torch's autocast kernel passes on; the casts are recorded."""
        if not self._on:
            return handler(recorder, func, args, kwargs)
        args, kwargs = self._arguments(recorder, func, args, kwargs)
        self._on = False  # as torch's kernel turns it off for what the op is made of
        try:
            return handler(recorder, func, args, kwargs)
        finally:
            self._on = True

    def _arguments(
        self, recorder: Recorder, func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[Sequence[Any], Mapping[str, Any]]:
        op, lower = str(func), torch.get_autocast_dtype(self.device)
        if op in LOWER[self.device]:
            dtype = lower
        elif op in FLOAT32[self.device]:
            dtype = torch.float32
        elif op in WIDEST[self.device]:
            dtype = torch.float32 if any(t.dtype is torch.float32 for t in _eligible((args, kwargs))) else lower
        elif op in FLOAT32_BY_DTYPE[self.device]:
            at = signature(func).names.index("dtype")
            given = kwargs.get("dtype", args[at] if len(args) > at else None)
            if given is None and _eligible(args[:1]):
                return args[:at], {**kwargs, "dtype": torch.float32}
            return args, kwargs
        else:
            return args, kwargs
        # C++ evaluates a call's arguments from the last to the first.
        kwargs = {name: self._cast(recorder, kwargs[name], dtype) for name in reversed(kwargs)}
        return [self._cast(recorder, value, dtype) for value in reversed(args)][::-1], kwargs

    def _cast(self, recorder: Recorder, value: Any, dtype: torch.dtype) -> Any:
        if isinstance(value, (list, tuple)) and _eligible(value):
            return [self._cast(recorder, item, dtype) for item in value]
        if not isinstance(value, torch.Tensor) or value.dtype is dtype or not _eligible(value):
            return value
        # Weights of a model on the meta device: for others, torch's own cache has been asked.
        is_weight = value.is_leaf and value.requires_grad and not value._is_view() and value.dtype is torch.float32
        kept = is_weight and dtype is torch.get_autocast_dtype(self.device) and torch.is_autocast_cache_enabled()
        if kept and id(value) in self._cast_weights:
            return self._cast_weights[id(value)][1]
        result = recorder.__torch_dispatch__(torch.ops.aten._to_copy.default, (), (value,), {"dtype": dtype})
        if kept:
            self._cast_weights[id(value)] = value, result
        return result


def _eligible(value: Any) -> list[torch.Tensor]:
    """The tensors that autocast would look at: floating ones, not of double precision."""
    if isinstance(value, torch.Tensor):
        return [value] if value.is_floating_point() and value.dtype is not torch.float64 else []
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return []
    return [tensor for item in value for tensor in _eligible(item)]


def _nesting() -> int:
    """In how many ``with torch.autocast(...)`` blocks this is, whether they turn it on or off."""
    torch.autocast_increment_nesting()
    return int(torch.autocast_decrement_nesting())
