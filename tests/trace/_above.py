"""A step with real tensors and one with meta tensors, as the ops that a dispatch mode sees, and what autograd keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from costmodel.graph import TensorSpec
from costmodel.ops import find
from costmodel.trace.above_autograd import above_autograd
from costmodel.trace.executor import leaves, map_leaves
from costmodel.trace.signature import plain, signature
from costmodel.trace.specs import empty_meta, spec_of
from costmodel.trace.traced_tensor import as_traced, is_on_meta, tensors_on

Op: TypeAlias = tuple[str, str]
"""Its name, and what it was given and returned."""
_WHERE = ("device", "pin_memory", "layout")
"""Arguments that say where a tensor is made, which differs; and calls from C++ leave out what is the default."""


class Log(TorchDispatchMode):
    """Notes every op. On meta, rules say what is returned: torch has not all kernels, and some err about dtypes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has not annotated it
        self.ops: list[Op] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        on_meta = any(map(is_on_meta, leaves(args)))
        result = map_leaves(by_rule(func, args, kwargs), as_traced) if on_meta else func(*args, **kwargs)
        named = {name: described(value) for name, value in kwargs.items() if name not in _WHERE}
        if str(func) == "aten._to_copy.default" and not named:
            return result  # to the device alone, which the model's tensors are on
        if "convolution_backward" in str(func):
            args = (*args[:3], *args[4:])  # no bias has the size [0] where autocast's kernel passed it on
        if "mkldnn_rnn_layer" in str(func):  # the mode, which torch's kernels ignore
            at = -1 if str(func) == "aten.mkldnn_rnn_layer.default" else 18
            args = [a for i, a in enumerate(args) if i != at % len(args)]
        self.ops.append((str(func), f"{described(args)} {named} -> {described(result)}"))
        return result


def by_rule(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Tensors on meta, as the op's rule describes them; else what torch makes."""
    rule, sig = find(str(func)), signature(func)
    if rule is None or not callable(rule.outputs) or sig.is_inplace or sig.is_view:
        with tensors_on(torch.device("meta")):  # some of torch's kernels are in Python, and ask
            return func(*args, **kwargs)
    given, named = map_leaves(list(args), spec_of), map_leaves(dict(kwargs), spec_of)
    told = rule.outputs(sig.bind(given, named))
    if isinstance(told, TensorSpec):
        return empty_meta(told)
    return tuple(empty_meta(t) if t is not None else None for t in told)


def described(value: Any) -> Any:
    """Tensors by shape, strides and dtype; without strides that say nothing, which torch makes as it likes."""
    if isinstance(value, Tensor):
        strides = [s for n, s in zip(value.shape, value.stride(), strict=True) if n > 1 and value.numel()]
        return f"{tuple(value.shape)}{strides}{plain(value.dtype)}"
    if isinstance(value, (list, tuple)):
        return [described(item) for item in value]
    return plain(value)


def step(
    make: Callable[[], nn.Module],
    run: Callable[[nn.Module, str], Tensor],
    within: Callable[[], AbstractContextManager[Any]] = nullcontext,
    *,
    device: str,
) -> tuple[list[Op], list[str]]:
    """The ops of a forward and its backward, and the tensors that autograd keeps, in order."""
    torch.manual_seed(0)
    model = make().to(device)
    kept: list[str] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(described(tensor))
        return tensor

    log = Log()
    on_cpu = torch.device("cpu")
    with tensors_on(on_cpu), above_autograd("cpu") if device == "meta" else nullcontext(), log:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t), within():
            loss = run(model, device)
        log.ops.append(("backward", ""))
        loss.backward()  # type: ignore[no-untyped-call]  # torch has not annotated it
    return log.ops, kept


def assert_same(*args: Any) -> list[str]:
    """Compares a step on the CPU with one on meta; the names of its ops."""
    real, real_kept = step(*args, device="cpu")
    meta, meta_kept = step(*args, device="meta")
    assert meta == real
    assert meta_kept == real_kept
    return [name for name, _ in real]


def leaf(device: str, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """An input that needs a gradient."""
    return as_traced(torch.zeros(shape, device=device, dtype=dtype, requires_grad=True))
