"""Private names of torch's autograd and optimizers, wrapped: what tracing a training step takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch

sequence_number: Callable[[], int] = getattr(torch.autograd, "_get_sequence_nr")  # noqa: B009  # no stub has it; 2.6, 2.13, 2.15
"""The number that autograd gives the next node that it makes in this thread."""

current_node: Callable[[], Any] = torch._C._current_autograd_node  # 2.6, 2.13, 2.15
"""The node of autograd's graph whose backward runs now, or has just run: ``None`` outside of one."""

GRADIENT_OF_LEAF = (1 << 64) - 1  # 2.6, 2.13, 2.15
"""The sequence number of every node that adds to a leaf's ``.grad``."""


def runs_in_engine() -> bool:
    """Whether autograd's engine runs a node that is none of Python's."""
    node = current_node()
    return node is not None and not isinstance(node, torch.autograd.function.BackwardCFunction)


def sequence_of(node: Any) -> int:
    """The number that a node of autograd's graph was given when it was made: nodes of a forward have them in order."""
    number: int = node._sequence_nr()  # 2.6, 2.13, 2.15
    return number


def base_of(tensor: torch.Tensor) -> torch.Tensor | None:
    """What autograd takes a tensor to be a view of; ``None`` where it is a view of none."""
    return tensor._base  # 2.6, 2.13, 2.15


@contextmanager
def engine_wrapped(wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
    """A context in which every backward pass starts by what ``wrap`` makes of the function that starts one."""
    holders = torch.autograd, torch.autograd.graph
    originals = [holder._engine_run_backward for holder in holders]  # 2.6, 2.13, 2.15
    for holder, original in zip(holders, originals, strict=True):
        setattr(holder, "_engine_run_backward", wrap(original))  # noqa: B010  # 2.6, 2.13, 2.15
    try:
        yield
    finally:
        for holder, original in zip(holders, originals, strict=True):
            setattr(holder, "_engine_run_backward", original)  # noqa: B010  # 2.6, 2.13, 2.15


class OwnHooks(torch.autograd.graph.saved_tensors_hooks):
    """Hooks on saved tensors of the library's own ops, which ``saved_tensors_noted`` does not note."""

    __enter__ = torch.autograd.graph.saved_tensors_hooks.__enter__


@contextmanager
def saved_tensors_noted(note: Callable[[torch.Tensor], Any]) -> Iterator[None]:
    """A context in which each tensor that autograd keeps is noted, also where a checkpoint's own hooks take it."""
    hooks = torch.autograd.graph.saved_tensors_hooks
    enter = hooks.__enter__

    def enter_noting(own: Any) -> None:
        pack = own.pack_hook  # 2.6, 2.13, 2.15
        own.pack_hook = lambda tensor: (note(tensor), pack(tensor))[1]
        try:
            enter(own)
        finally:
            own.pack_hook = pack

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        note(tensor)
        return tensor

    with hooks(keep, lambda kept: kept):
        setattr(hooks, "__enter__", enter_noting)  # noqa: B010
        try:
            yield
        finally:
            setattr(hooks, "__enter__", enter)  # noqa: B010


def use_counts(tensor: torch.Tensor) -> tuple[int, int]:
    """How many references to a tensor and to its storage there are in C++."""
    of_tensor: int = getattr(tensor, "_use_count")()  # noqa: B009  # no stub has it; 2.6, 2.13, 2.15
    return of_tensor, torch._C._storage_Use_Count(tensor.untyped_storage()._cdata)  # 2.6, 2.13, 2.15


# -- optimizers --------------------------------------------------------------------------------------------------


def import_for_optimizers() -> None:
    """Imports what torch imports when the first optimizer is made: that may run ops, which are no trace's."""
    import_module("torch._dynamo")  # 2.6, 2.13, 2.15


@contextmanager
def foreach_takes(kind: type) -> Iterator[None]:
    """In the block, optimizers treat parameters of this class as they treat torch's own.

    On a GPU they update lists of all tensors, unless a parameter is of a class that they do not know.
    """
    known = import_module("torch.optim.optimizer")._foreach_supported_types  # 2.6, 2.13, 2.15
    known.append(kind)
    try:
        yield
    finally:
        known.remove(kind)


def has_step_hooks(optimizer: torch.optim.Optimizer) -> bool:
    """Whether functions of a user's run before or after its steps."""
    every = import_module("torch.optim.optimizer")
    return bool(
        optimizer._optimizer_step_pre_hooks  # 2.6, 2.13, 2.15
        or optimizer._optimizer_step_post_hooks  # 2.6, 2.13, 2.15
        or every._global_optimizer_pre_hooks  # 2.6, 2.13, 2.15
        or every._global_optimizer_post_hooks  # 2.6, 2.13, 2.15
    )
