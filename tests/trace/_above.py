"""A step with real tensors and one with meta tensors, as the ops that a dispatch mode sees, and what autograd keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from costmodel.ops import RULES
from costmodel.trace.above_autograd import above_autograd
from costmodel.trace.signature import plain, signature
from costmodel.trace.specs import empty_meta, spec_of

Op: TypeAlias = tuple[str, str]
"""Its name, and what it was given and returned."""
_WHERE = ("device", "pin_memory", "layout")
"""Arguments that say where a tensor is made, which differs; and calls from C++ leave out what is the default."""


class Log(TorchDispatchMode):
    """Notes every op. Where torch has no kernel for meta tensors, rules say what is returned."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has not annotated it
        self.ops: list[Op] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        on_meta = any(isinstance(a, Tensor) and a.is_meta for a in args)
        result = by_rule(func, args, kwargs) if on_meta and "rnn_layer" in str(func) else func(*args, **kwargs)
        named = {name: described(value) for name, value in kwargs.items() if name not in _WHERE}
        self.ops.append((str(func), f"{described(args)} {named} -> {described(result)}"))
        return result


def by_rule(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Tensors on meta, as the op's rule describes them."""
    given = [spec_of(a) if isinstance(a, Tensor) else a for a in args]
    outputs = RULES[str(func)].outputs
    assert callable(outputs)
    told = outputs(signature(func).bind(given, kwargs))
    return tuple(empty_meta(t) if t is not None else None for t in (told if isinstance(told, tuple) else (told,)))


def described(value: Any) -> Any:
    """Tensors by shape, strides and dtype; without the strides of empty ones, which torch makes as it likes."""
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)}{value.stride() if value.numel() else ()}{plain(value.dtype)}"
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
    with above_autograd("cpu") if device == "meta" else nullcontext(), log:
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
    return torch.zeros(shape, device=device, dtype=dtype, requires_grad=True)
