"""Automatic mixed precision on tensors that are not there: the casts that ``torch.autocast`` would insert.

torch's autocast acts by the device of a tensor. It casts real weights, cache and all, before the recorder sees an op,
and does nothing to meta tensors: those are cast here. Whether it is on can be seen only outside the dispatch of an op.
So the first sign of it ends the trace, which begins again with an ``Autocast``: a function mode that looks before every
call, at about 4 µs each. A model without autocast pays for one look at the ops on these lists.

Source: aten/src/ATen/autocast_mode.h and autocast_mode.cpp.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch._ops import OpOverload
from torch.overrides import TorchFunctionMode

from costmodel.errors import CostModelError
from costmodel.ops.movement import TO
from costmodel.trace.signature import signature

if TYPE_CHECKING:
    from costmodel.trace.handlers import Handler
    from costmodel.trace.patterns import Dispatch
    from costmodel.trace.recorder import Recorder

DEVICES = ("cpu", "cuda")

_LOWER = {
    "_convolution.deprecated", "_convolution", "conv1d", "conv1d.padding", "conv2d", "conv2d.padding", "conv3d",
    "conv3d.padding", "conv_tbc", "conv_transpose1d", "conv_transpose2d.input", "conv_transpose3d.input", "convolution",
    "cudnn_convolution", "cudnn_convolution_transpose", "prelu", "addmm", "addmv", "addr", "matmul", "einsum", "mm",
    "mv", "linalg_vecdot", "linear", "_addmm_activation", "addbmm", "baddbmm", "bmm", "chain_matmul",
    "linalg_multi_dot", "mkldnn_rnn_layer", "_thnn_fused_lstm_cell", "_thnn_fused_gru_cell", "lstm_cell", "gru_cell",
    "rnn_tanh_cell", "rnn_relu_cell", "_scaled_dot_product_flash_attention", "scaled_dot_product_attention",
    "_native_multi_head_attention",
}  # fmt: skip
"""Ops whose floating arguments are cast to autocast's dtype."""

_FLOAT32_BY_DTYPE = {
    "cpu": set[str](),
    "cuda": {
        "prod", "prod.dim_int", "softmax.int", "log_softmax.int", "cumprod", "cumsum", "linalg_vector_norm",
        "linalg_matrix_norm", "linalg_matrix_norm.str_ord", "sum", "sum.dim_IntList",
    },
}  # fmt: skip
"""Ops that are told to compute in float32 by their own ``dtype`` argument, where it is not given."""

_WIDEST = {
    "cpu": {"cat", "stack", "index_copy"},
    "cuda": {
        "addcdiv", "addcmul", "atan2", "bilinear", "cross", "dot", "vdot", "grid_sampler", "index_put", "tensordot",
        "scatter_add",
    },
}  # fmt: skip
"""Ops whose floating arguments are cast to the widest dtype among them, at least autocast's."""


class Policy(Enum):
    """What autocast does to the arguments of an op."""

    LOWER = 1
    FLOAT32_BY_DTYPE = 2
    WIDEST = 3
    FLOAT32 = 4


@cache
def policies(device: str) -> Mapping[str, Policy]:
    """By op, for every op that has an autocast kernel in this torch: all that are on no list compute in float32."""
    names = (n.removeprefix("aten::") for n in torch._C._dispatch_get_registrations_for_dispatch_key(_KEY[device]))
    return {
        f"aten.{name if '.' in name else name + '.default'}": (
            Policy.LOWER if name in _LOWER
            else Policy.FLOAT32_BY_DTYPE if name in _FLOAT32_BY_DTYPE[device]
            else Policy.WIDEST if name in _WIDEST[device]
            else Policy.FLOAT32
        )
        for name in names
    }  # fmt: skip


_KEY = {"cpu": "AutocastCPU", "cuda": "AutocastCUDA"}


class AutocastSeenError(CostModelError):
    """Autocast may be on: the trace must begin again with an ``Autocast``. Never leaves ``trace``."""


def watched(op: str, handler: Handler) -> Handler:
    """The handler of an op on the lists, or of the cast that torch's own autocast makes of a real weight."""
    if op != TO and not any(op in policies(device) for device in DEVICES):
        return handler

    def handle(recorder: Recorder, call: Dispatch) -> Any:
        if recorder.autocast is not None:
            return recorder.autocast.call(handler, recorder, call)
        if recorder.notices_autocast and nesting():
            raise recorder.wants(AutocastSeenError())
        return handler(recorder, call)

    return handle


class Autocast(TorchFunctionMode):
    """What torch's autocast would do to the arguments of an op on tensors of one device."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        found = next((p.device.type for p in model.parameters()), "cpu")
        if found not in DEVICES:  # a model on the meta device: the autocast that is meant is the one that is on
            found = "cuda" if torch.is_autocast_enabled("cuda") else "cpu"
        self.device = found
        self._on = torch.is_autocast_enabled(found)
        torch.clear_autocast_cache()  # of casts that an earlier, real run made: this one makes its own
        self._cast_weights: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self._on = torch.is_autocast_enabled(self.device)
        if not nesting():
            self._cast_weights.clear()
        return func(*args, **(kwargs or {}))

    def call(self, handler: Handler, recorder: Recorder, call: Dispatch) -> Any:
        """What a handler returns for the arguments that torch's autocast kernel passes on; the casts are recorded."""
        if not self._on:
            return handler(recorder, call)
        call = recorder.dispatched(call.func, *self._arguments(recorder, call.func, call.args, call.kwargs))
        self._on = False  # as torch's kernel turns it off for what the op is made of
        try:
            return handler(recorder, call)
        finally:
            self._on = True

    def _arguments(
        self, recorder: Recorder, func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[Sequence[Any], Mapping[str, Any]]:
        policy = policies(self.device).get(str(func))
        if policy is None:
            return args, kwargs
        if policy is Policy.FLOAT32_BY_DTYPE:
            at = signature(func).names.index("dtype")
            given = kwargs.get("dtype", args[at] if len(args) > at else None)
            if given is None and _eligible(args[:1]):
                return args[:at], {**kwargs, "dtype": torch.float32}
            return args, kwargs
        lower = torch.get_autocast_dtype(self.device)
        floats = any(t.dtype is torch.float32 for t in _eligible((args, kwargs)))
        dtype = lower if policy is Policy.LOWER or (policy is Policy.WIDEST and not floats) else torch.float32
        # C++ evaluates a call's arguments from the last to the first.
        kwargs = {name: self._cast(recorder, kwargs[name], dtype) for name in reversed(list(kwargs))}
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


def nesting() -> int:
    """In how many ``with torch.autocast(...)`` blocks this is, whether they turn it on or off."""
    torch.autocast_increment_nesting()
    return int(torch.autocast_decrement_nesting())
