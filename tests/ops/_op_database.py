"""torch's own operator database: each entry's samples called for real and profiled, and what differs between the two.

Torch wrote it for its own tests: some 700 operators, each with sample arguments for every dtype that it takes.
"""

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
from tests._listed import Key
from tests.live_memory import allocations_of, peak

DTYPES = ("float32", "bfloat16", "complex64", "int64", "bool")
MOST = 20
"""Samples of an entry and dtype."""
BOOKKEEPING = 24
"""So many bytes are not told: three Python numbers as tensors, an op's own notes on dimensions."""
RANDOM_STATE = torch.get_rng_state().nbytes
"""What the database's own wrappers keep while a random operator runs."""
_INPUT = object()


class Calls(torch.nn.Module):
    """A module that calls a function on its inputs, and on all else that the call takes."""

    def __init__(self, function: Callable[..., Any], nest: Any, leaves: list[Any]) -> None:
        super().__init__()
        self.function, self.nest, self.leaves = function, nest, leaves

    def forward(self, *tensors: torch.Tensor) -> Any:
        given = iter(tensors)
        leaves = [next(given) if leaf is _INPUT else leaf for leaf in self.leaves]
        x, args, kwargs = tree_unflatten(leaves, self.nest)
        return self.function(x, *args, **kwargs)


@dataclass(frozen=True)
class Sample:
    """One call of an operator: a module that makes it, and the tensors that it takes."""

    model: Calls
    tensors: tuple[torch.Tensor, ...]

    @classmethod
    def of(cls, entry: Any, sample: Any) -> Sample:
        leaves, nest = tree_flatten((sample.input, sample.args, sample.kwargs))
        tensors = tuple(leaf for leaf in leaves if isinstance(leaf, torch.Tensor))
        others = [_INPUT if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
        return cls(Calls(entry.op, nest, others), tensors)

    def run(self) -> Any:
        """What torch returns."""
        with torch.no_grad():
            return self.model(*self.tensors)


def database() -> list[Any]:
    """Every entry. The import is slow (3 s), and switches warnings and torch's global flags."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db

        return list(op_db)


def is_of_another_processor(key: Key) -> bool:
    """Where a processor has no instructions for bfloat16, kernels cast; the lists are of one that has them."""
    _, dtype, kind = key
    return (dtype, kind) == ("bfloat16", "temporaries") and not torch.ops.mkldnn._is_mkldnn_bf16_supported()


def name_of(entry: Any) -> str:
    """The entry's name, with its variant's."""
    return entry.name + (f".{entry.variant_test_name}" if entry.variant_test_name else "")


def samples(entry: Any, dtype: str) -> Iterator[Sample]:
    """Up to so many calls with tensors of one dtype, the same every time."""
    torch.manual_seed(0)
    random.seed(0)
    for sample in islice(entry.sample_inputs("cpu", getattr(torch, dtype)), MOST):
        yield Sample.of(entry, sample)


@dataclass(frozen=True)
class Output:
    """What is compared of an output. Strides count where a dimension is longer than 1."""

    shape: tuple[int, ...]
    dtype: str
    strides: tuple[int | None, ...]
    input: int | None
    """The first of the inputs whose memory it shares."""

    def __str__(self) -> str:
        strides = ", ".join("-" if s is None else str(s) for s in self.strides)
        shared = "" if self.input is None else f" in the memory of input {self.input}"
        return f"{self.dtype}{list(self.shape)} of strides ({strides}){shared}"


def _strides(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int | None, ...]:
    return tuple(None if 0 in shape or n == 1 else s for n, s in zip(shape, strides, strict=True))


def _memory(t: torch.Tensor) -> int:
    # A sparse tensor has several, and one without elements none.
    return t.untyped_storage().data_ptr() if t.layout is torch.strided and t.numel() else -1


def of_torch(inputs: tuple[torch.Tensor, ...], outputs: Any) -> list[Output]:
    """The outputs of a real call."""
    memories = [_memory(t) for t in inputs]
    found = []
    for t in tree_flatten(outputs)[0]:
        if isinstance(t, torch.Tensor):
            own, shape = _memory(t), tuple(t.shape)
            shared = memories.index(own) if own != -1 and own in memories else None
            strides = _strides(shape, t.stride()) if t.layout is torch.strided else ()
            found.append(Output(shape, str(t.dtype).removeprefix("torch."), strides, shared))
    return found


def of_profile(profile: costmodel.Profile) -> list[Output]:
    """The outputs of a traced call."""
    inputs: list[TensorSpec] = list(tensors_in(profile.graph.inputs))
    memories = [t.storage if t.size else -1 for t in inputs]
    return [
        Output(
            t.shape, t.dtype, _strides(t.shape, t.full_strides),
            memories.index(t.storage) if t.size and t.storage in memories else None,
        )
        for t in tensors_in(profile.graph.outputs)
    ]  # fmt: skip


def _counted(sample: Sample) -> int | None:
    """The MACs that torch's own counter sees, if it gets through.

    It counts one of complex numbers, which is four of real ones, like any other.
    """
    try:
        with FlopCounterMode(display=False) as counter:
            sample.run()
    except Exception:
        return None
    macs = counter.get_total_flops() // 2
    return 4 * macs if any(t.is_complex() for t in sample.tensors) else macs


@dataclass
class Told:
    """What the library says of a sample: a profile, or the error that it raises."""

    sample: Sample
    profile: costmodel.Profile | None = None
    raised: tuple[str, str] | None = None
    counted: int | None = None
    """The MACs that torch's own counter sees."""

    @classmethod
    def of(cls, sample: Sample) -> Told:
        try:
            profile = costmodel.profile(sample.model, sample.tensors)
        except CostModelError as error:
            return cls(sample, raised=("refused", str(error)))
        except Exception as error:
            return cls(sample, raised=("raw error", repr(error)))
        return cls(sample, profile, counted=_counted(sample) if profile.macs else None)

    def differences(self, outputs: Any, allocated: int) -> dict[str, str]:
        """What a real call does otherwise, by kind."""
        profile = self.profile
        if profile is None:
            assert self.raised is not None
            return dict([self.raised])
        found = {}
        if profile.coverage.unknown:
            found["not exact"] = " ".join(profile.coverage.unknown)
        if self.counted and self.counted != profile.macs:
            found["macs"] = f"ours {profile.macs}, torch's {self.counted}"
        found |= differing_outputs(profile, self.sample.tensors, outputs)
        given = sum(s.nbytes for s in profile.graph.storages if s.allocated_at < 0)
        if abs(profile.peak_memory - given - allocated) > BOOKKEEPING:
            found["temporaries"] = f"ours {profile.peak_memory - given} bytes beside the inputs, torch's {allocated}"
        return found


_FACTS: dict[str, Callable[[Output], Any]] = {
    "shape": lambda o: o.shape, "dtype": lambda o: o.dtype, "strides": lambda o: o.strides, "memory": lambda o: o.input,
}  # fmt: skip


def differing_outputs(profile: costmodel.Profile, inputs: tuple[torch.Tensor, ...], outputs: Any) -> dict[str, str]:
    """The first kind of fact in which the outputs of a trace are not those of the real call, if there is one."""
    ours, torchs = of_profile(profile), of_torch(inputs, outputs)
    for kind, fact in _FACTS.items():
        if [fact(o) for o in ours] != [fact(o) for o in torchs]:
            return {kind: f"ours {'; '.join(map(str, ours))}. torch's {'; '.join(map(str, torchs))}"}
    return {}


def differences_of(entry: Any, dtype: str) -> dict[str, str]:
    """The first difference of each kind in the samples of one dtype; nothing where torch has no such dtype."""
    if getattr(torch, dtype) not in entry.supported_dtypes("cpu"):
        return {}
    found: dict[str, str] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        told = [Told.of(sample) for sample in samples(entry, dtype)]  # first: a real call may resize its input
        torch.manual_seed(0)
        results, allocated = allocations_of([one.sample.run for one in told])
        ran = [case for case in zip(told, results, allocated, strict=True) if not isinstance(case[1], Exception)]
        for one, outputs, tensors in ran:
            held = peak([t for t in tensors if t.nbytes != RANDOM_STATE])
            for kind, text in one.differences(outputs, held).items():
                found.setdefault(kind, text)
    return found if ran else {"does not run": ""}
