"""Tensors of classes that wrap others: quantised, sparse or distributed parameters, each made of plain tensors."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import torch


def is_wrapper(kind: type[torch.Tensor]) -> bool:
    """Whether tensors of a class are made of others, and say which by torch's protocol for it."""
    return hasattr(kind, "__tensor_flatten__")


@lru_cache(maxsize=1 << 10)
def runs_ops_itself(kind: type[torch.Tensor]) -> bool:
    """Whether a class runs ops on the tensors inside. Distributed tensors, which exchange them first, do not count."""
    return is_wrapper(kind) and not kind.__module__.startswith("torch.distributed.")


def plain_tensors(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """The plain tensors that a wrapper is made of, at any depth: numbers as they are stored, scales, zero points."""
    names, _ = tensor.__tensor_flatten__()  # type: ignore[attr-defined]  # of a class for which ``is_wrapper``
    for name in names:
        inner = getattr(tensor, name, None)
        if not isinstance(inner, torch.Tensor):
            continue
        if is_wrapper(type(inner)):
            yield from plain_tensors(inner)
        else:
            yield inner
