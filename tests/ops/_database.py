"""torch's own operator database: each entry's samples called for real, profiled, and what differs between the two."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch.utils.flop_counter import FlopCounterMode

import costmodel
from costmodel.errors import CostModelError
from costmodel.graph import TensorSpec, tensors_in

DTYPES = ("float32", "bfloat16", "complex64", "int64", "bool")
MOST = 20
"""Samples of an entry and dtype."""


class Calls(torch.nn.Module):
    """A module that calls a function on its inputs, and on all else that the call takes."""

    def __init__(self, function: Callable[..., Any], nest: Any, leaves: list[Any]) -> None:
        super().__init__()
        self.function, self.nest, self.leaves = function, nest, leaves

    def forward(self, *tensors: torch.Tensor) -> Any:
        given = iter(tensors)
        leaves = [next(given) if isinstance(leaf, torch.Tensor) else leaf for leaf in self.leaves]
        x, args, kwargs = tree_unflatten(leaves, self.nest)
        return self.function(x, *args, **kwargs)


@dataclass(frozen=True)
class Sample:
    """One call: a function, and its arguments flattened."""

    model: Calls
    tensors: tuple[torch.Tensor, ...]

    @classmethod
    def of(cls, entry: Any, sample: Any) -> Sample:
        leaves, nest = tree_flatten((sample.input, sample.args, sample.kwargs))
        tensors = tuple(leaf for leaf in leaves if isinstance(leaf, torch.Tensor))
        return cls(
            Calls(entry.op, nest, [torch.empty(0) if isinstance(v, torch.Tensor) else v for v in leaves]), tensors
        )


def seed() -> None:
    """The same samples every time, whatever ran before."""
    torch.manual_seed(0)
    random.seed(0)


def samples(entry: Any, dtype: str) -> Iterator[Sample]:
    """Up to so many calls of an entry with tensors of one dtype."""
    seed()
    for sample in islice(entry.sample_inputs("cpu", getattr(torch, dtype)), MOST):
        yield Sample.of(entry, sample)


@dataclass(frozen=True)
class Facts:
    """What is known of an output: shape, dtype, strides where they matter, and whose storage it has."""

    shape: tuple[int, ...]
    dtype: str
    strides: tuple[int | None, ...]
    of: int | None
    """The first of the inputs whose storage it shares."""

    def __str__(self) -> str:
        strides = ",".join("-" if s is None else str(s) for s in self.strides)
        return f"{self.dtype}{list(self.shape)}({strides})" + ("" if self.of is None else f"@{self.of}")


def where_it_matters(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int | None, ...]:
    """Strides of dimensions longer than 1, in tensors that have elements."""
    return tuple(None if 0 in shape or n == 1 else s for n, s in zip(shape, strides, strict=True))


def of_torch(tensors: tuple[torch.Tensor, ...], outputs: Any) -> list[Facts]:
    """The facts of real outputs."""
    storages = [storage(t) for t in tensors]
    facts = []
    for leaf in tree_flatten(outputs)[0]:
        if isinstance(leaf, torch.Tensor):
            own = storage(leaf)
            of = storages.index(own) if leaf.numel() and own in storages else None
            shape = tuple(leaf.shape)
            strides = where_it_matters(shape, leaf.stride()) if leaf.layout is torch.strided else ()
            facts.append(Facts(shape, str(leaf.dtype).removeprefix("torch."), strides, of))
    return facts


def storage(t: torch.Tensor) -> int | None:
    """What tells storages apart."""
    return t.untyped_storage().data_ptr() if t.layout is torch.strided and t.numel() else -1


def of_profile(profile: costmodel.Profile) -> list[Facts]:
    """The facts of traced outputs."""
    storages = [t.storage for t in tensors_in(profile.graph.inputs)]
    facts = []
    for t in tensors_in(profile.graph.outputs):
        of = storages.index(t.storage) if t.size and t.storage in storages else None
        facts.append(Facts(t.shape, t.dtype, where_it_matters(t.shape, t.full_strides), of))
    return facts


def differences(sample: Sample) -> dict[str, str] | None:
    """What the profile says otherwise than torch, by kind; ``None`` where torch itself refuses the call."""
    try:
        with torch.no_grad():
            macs = None
            seed()
            counted = FlopCounterMode(display=False)
            try:
                profile = costmodel.profile(sample.model, sample.tensors)
            except CostModelError as error:
                sample.model(*sample.tensors)
                return {"refused": str(error)}
            except Exception as error:
                sample.model(*sample.tensors)
                return {"raw error": f"{type(error).__name__}: {error}"}
            if profile.macs:
                with counted:
                    sample.model(*sample.tensors)
                macs = counted.get_total_flops() // 2
            seed()
            outputs = sample.model(*sample.tensors)
    except Exception:
        return None
    found = {}
    if profile.coverage.unknown:
        found["not exact"] = " ".join(profile.coverage.unknown)
    real, told = of_torch(sample.tensors, outputs), of_profile(profile)
    if real != told:
        kind = (
            "outputs"
            if [(f.shape, f.dtype) for f in real] != [(f.shape, f.dtype) for f in told]
            else "strides"
            if [f.strides for f in real] != [f.strides for f in told]
            else "aliasing"
        )
        found[kind] = f"ours {', '.join(map(str, told))}; torch's {', '.join(map(str, real))} {profile.execution}"
    if macs and macs != profile.macs:
        found["macs"] = f"ours {profile.macs}; torch's {macs}"
    return found
