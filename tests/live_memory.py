"""What a real forward allocates, from the allocator's own events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

_ALLOCATES = frozenset(
    f"aten::{name}"
    for name in (
        "empty", "empty_strided", "empty_like", "empty_permuted", "new_empty", "new_empty_strided", "new_zeros",
        "zeros", "zeros_like", "ones", "full", "resize_", "resize_as_", "zero_", "fill_",
    )
) | {"[memory]"}  # fmt: skip


def measured_peak(run: Callable[..., object], inputs: Sequence[torch.Tensor]) -> int:
    """The most bytes of tensors that are live at once on the inputs' device, these included, in a run without autograd.

    What a kernel allocates and frees while it runs is its workspace and not a tensor: an allocation counts if it
    outlives the innermost op that asked for it. Events come from torch's profiler, so nothing of the library is used.
    """
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        result = run(*inputs)
    events: list[tuple[int, int, int, int]] = []  # when, bytes, address, end of the op that asked

    def walk(node: Any, inside: list[Any]) -> None:
        fields = node.extra_fields
        if type(fields).__name__ == "_ExtraFields_Allocation" and fields.device == inputs[0].device:
            asked = next((n for n in reversed(inside) if n.name not in _ALLOCATES), None)
            until = -1 if asked is None else asked.end_time_ns
            events.append((node.start_time_ns, fields.alloc_size, fields.ptr, until))
        for child in node.children:
            walk(child, [*inside, node])

    for root in recorded.profiler.kineto_results.experimental_event_tree():  # type: ignore[union-attr]  # it has run
        walk(root, [])
    del result
    begun: dict[int, tuple[int, int, int]] = {}
    steps: list[tuple[int, int]] = []
    for when, size, address, until in sorted(events):
        if size > 0:
            begun[address] = when, size, until
        elif address in begun:
            start, size, until = begun.pop(address)
            if when > until:
                steps += [(start, size), (when, -size)]
    steps += [(start, size) for start, size, _ in begun.values()]
    live = peak = 0
    for _, change in sorted(steps):
        live += change
        peak = max(peak, live)
    return peak + sum(t.untyped_storage().nbytes() for t in inputs)
