"""Autocast on meta tensors: the casts that ``torch.autocast`` would insert.

torch's own autocast acts by the device of a tensor. It casts weights on the CPU or on CUDA, cache and all, before the
recorder sees an op, and does nothing to meta tensors: those are cast here.

Source: aten/src/ATen/autocast_mode.h and autocast_mode.cpp.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from functools import cache
from typing import Any, TypeAlias

import torch

from costmodel.torch_private import OpOverload, at_dispatch_entry, is_view, ops_with_autocast_kernel
from costmodel.trace.signature import signature

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

_RECURRENT = [f"{cell}.{kind}" for cell in ("lstm", "gru", "rnn_tanh", "rnn_relu") for kind in ("input", "data")]
_RECURRENT += ["lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"]
"""Ops without an autocast kernel, all of whose products have one."""

_FLOAT32_BY_DTYPE = {
    "cpu": set[str](),
    "cuda": {
        "prod", "prod.dim_int", "softmax.int", "log_softmax.int", "cumprod", "cumsum", "linalg_vector_norm",
        "linalg_matrix_norm", "linalg_matrix_norm.str_ord", "sum", "sum.dim_IntList",
    },
}  # fmt: skip
"""Ops that compute in float32 by their own ``dtype`` argument, where it is not given."""

_WIDEST = {
    "cpu": {"cat", "stack", "index_copy"},
    "cuda": {
        "addcdiv", "addcmul", "atan2", "bilinear", "cross", "dot", "vdot", "grid_sampler", "index_put", "tensordot",
        "scatter_add",
    },
}  # fmt: skip
"""Ops whose floating arguments are cast to the widest dtype among them, at least autocast's."""


_REFUSED = {"cpu": set[str](), "cuda": {"binary_cross_entropy"}}
"""Ops that autocast does not let run, as their results would overflow."""


class Policy(Enum):
    """What autocast does to the arguments of an op."""

    LOWER = 1
    FLOAT32_BY_DTYPE = 2
    WIDEST = 3
    FLOAT32 = 4
    REFUSED = 5


@cache
def kernels(device: str) -> Mapping[str, Policy]:
    """By op, for every op of aten with an autocast kernel in this torch: all that are on no list compute in float32."""
    found = ops_with_autocast_kernel(device)
    names = [name.removeprefix("aten::") for name in found if name.startswith("aten::")]
    return {
        _with_overload(name): (
            Policy.LOWER if name in _LOWER
            else Policy.FLOAT32_BY_DTYPE if name in _FLOAT32_BY_DTYPE[device]
            else Policy.WIDEST if name in _WIDEST[device]
            else Policy.REFUSED if name in _REFUSED[device]
            else Policy.FLOAT32
        )
        for name in names
    }  # fmt: skip


@cache
def policies(device: str) -> Mapping[str, Policy]:
    """By op, also for composite ops that arrive whole, below autograd."""
    return {**kernels(device), **{_with_overload(name): Policy.LOWER for name in _RECURRENT}}


def _with_overload(name: str) -> str:
    return f"aten.{name if '.' in name else name + '.default'}"


Cast: TypeAlias = Callable[[torch.Tensor, torch.dtype], torch.Tensor]
"""Casts a tensor, which is recorded as an op."""


class Autocast:
    """What torch's autocast does to the arguments of an op, for tensors of one type of device."""

    def __init__(self, model_device: str) -> None:
        if model_device not in DEVICES:  # on the meta device: the autocast that is meant is the one that is on
            model_device = "cuda" if torch.is_autocast_enabled("cuda") else "cpu"
        self.device = model_device
        self._suspended = False
        self._weights: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        """Weights by ``id()``, and what they were cast to in this block."""
        self._ops_seen = 0

    def forget_weights(self) -> None:
        """The block has ended in which they were cast."""
        self._weights.clear()

    def enter(self, ops: int) -> None:
        """An op is dispatched in a block, after so many of the trace's: where some ran outside, the block is new."""
        if ops != self._ops_seen:
            self.forget_weights()

    def leave(self, ops: int) -> None:
        """The op has been answered; so many are recorded now."""
        self._ops_seen = ops

    def is_on(self) -> bool:
        """Whether autocast acts on the op that is being dispatched. Within the dispatch torch has it turned off."""
        if self._suspended:
            return False
        with at_dispatch_entry():
            return torch.is_autocast_enabled(self.device)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Off for the ops that an op with an autocast kernel is made of."""
        self._suspended = True
        try:
            yield
        finally:
            self._suspended = False

    def cast_arguments(
        self, policy: Policy, func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any], cast: Cast
    ) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """The arguments that torch's autocast kernel passes on. Raises ``RuntimeError`` where that refuses the op."""
        if policy is Policy.REFUSED:
            raise RuntimeError(f"{func} is unsafe to autocast: use its variant that takes logits")
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
        kwargs = {name: self._cast(kwargs[name], dtype, cast) for name in reversed(list(kwargs))}
        return [self._cast(value, dtype, cast) for value in reversed(args)][::-1], kwargs

    def _cast(self, value: Any, dtype: torch.dtype, cast: Cast) -> Any:
        if isinstance(value, (list, tuple)) and _eligible(value):
            return [self._cast(item, dtype, cast) for item in value]
        if not isinstance(value, torch.Tensor) or value.dtype is dtype or not _eligible(value):
            return value
        # Weights of a model on the meta device: for others, torch's own cache was asked.
        is_weight = value.is_leaf and value.requires_grad and not is_view(value) and value.dtype is torch.float32
        kept = is_weight and dtype is torch.get_autocast_dtype(self.device) and torch.is_autocast_cache_enabled()
        if kept and id(value) in self._weights:
            return self._weights[id(value)][1]
        result = cast(value, dtype)
        if kept:
            self._weights[id(value)] = value, result
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
