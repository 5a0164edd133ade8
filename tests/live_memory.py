"""What a real run allocates, from the allocator's own events: torch's profiler, and nothing of the library.

**What counts.** A tensor that one op hands to another, or returns: an allocation that outlives the innermost aten op
that asked for it. What an op asks for and frees itself is its workspace (filters packed by oneDNN, columns of an
im2col, one buffer per thread, the noise of a dropout): it depends on the processor, the build and the number of
threads, and another device has others. Profiles do not count it, and so neither does this measure. What a library
allocates beside torch's allocator, torch cannot see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile, record_function

_ALLOCATES = frozenset(
    f"aten::{name}"
    for name in (
        "empty", "empty_strided", "empty_like", "empty_permuted", "new_empty", "new_empty_strided", "new_zeros",
        "zeros", "zeros_like", "ones", "full", "resize_", "resize_as_", "zero_", "fill_",
    )
) | {"[memory]"}  # fmt: skip
CPU = torch.device("cpu")
_RUN = "a run"
_NUMBER_BYTES = 8


@dataclass(frozen=True)
class Allocation:
    """One tensor's memory in a run."""

    nbytes: int
    begin: int
    end: int | None
    """When it was freed; ``None`` where it still lives at the end."""


def allocations(run: Callable[[], object], device: torch.device = CPU, *, numbers: bool = True) -> list[Allocation]:
    """Everything that counts of what a run without autograd allocates on a device.

    Without ``numbers``: but for what no op has asked for, which are Python numbers that torch makes tensors of, and
    states of random generators; and but for the casts of those numbers.
    """
    (result,), (found,) = allocations_of([run], device, numbers=numbers)
    if isinstance(result, Exception):
        raise result
    return found


def allocations_of(
    runs: Sequence[Callable[[], Any]], device: torch.device = CPU, *, numbers: bool = True
) -> tuple[list[Any], list[list[Allocation]]]:
    """What each of several runs returns, an error that it raises included, and what it allocates."""
    results = []
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        for run in runs:
            with record_function(_RUN):
                try:
                    results.append(run())
                except Exception as error:
                    results.append(error)
    roots = recorded.profiler.kineto_results.experimental_event_tree()
    return results, [_allocated(root, device, numbers=numbers) for root in roots if root.name == _RUN]


def _allocated(root: Any, device: torch.device, *, numbers: bool) -> list[Allocation]:
    """From the events below one: what is freed, and what still lives at its end."""
    asked: dict[int, _Event] = {}  # by address
    found = []
    for event in sorted(_events(root, device)):
        if event.nbytes > 0:
            asked[event.address] = event
        elif event.address in asked:
            begun = asked.pop(event.address)
            if event.when > begun.until and (numbers or not begun.is_number):
                found.append(Allocation(begun.nbytes, begun.when, event.when))
    left = [event for event in asked.values() if numbers or not event.is_number]
    return [*found, *(Allocation(event.nbytes, event.when, None) for event in left)]


def peak(found: Sequence[Allocation]) -> int:
    """The most bytes that are live at once."""
    steps = [(a.begin, a.nbytes) for a in found] + [(a.end, -a.nbytes) for a in found if a.end is not None]
    live = most = 0
    for _, change in sorted(steps):
        live += change
        most = max(most, live)
    return most


def measured_peak(run: Callable[..., object], inputs: Sequence[torch.Tensor]) -> int:
    """The most bytes of tensors that are live at once on the inputs' device, these included."""
    given = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in inputs}  # one may be given twice
    return peak(allocations(lambda: run(*inputs), inputs[0].device)) + sum(given.values())


def _is_of_autograd(name: str) -> bool:
    """Whether an event is a node of a backward pass, or the engine's work around one: neither is an aten op."""
    return "::" not in name or name.startswith(("autograd::", "torch::autograd::"))


class _Event(NamedTuple):
    """An allocation, or a deallocation, which has negative bytes."""

    when: int
    nbytes: int
    address: int
    until: int
    """The end of the innermost op that asked and is not itself an allocation."""
    is_number: bool


_CAST = ("aten::to", "aten::_to_copy", "aten::empty_strided")


def _events(root: Any, device: torch.device) -> Iterator[_Event]:
    # Depth first, without recursion: a network is one tree of many thousand nodes.
    nodes: list[tuple[Any, int, tuple[str, ...]]] = [(child, -1, ()) for child in root.children]
    while nodes:
        node, until, ops = nodes.pop()
        fields = node.extra_fields
        if type(fields).__name__ == "_ExtraFields_Allocation":
            if fields.device == device:
                is_cast = ops[-3:] == _CAST and len(ops) > len(_CAST) and fields.alloc_size <= _NUMBER_BYTES
                yield _Event(node.start_time_ns, fields.alloc_size, fields.ptr, until, not ops or is_cast)
        elif not _is_of_autograd(node.name):
            ops = (*ops, node.name)
            if node.name not in _ALLOCATES:
                until = node.end_time_ns
        nodes += [(child, until, ops) for child in node.children]
