"""What must hold of every network: each check takes an ``Observed`` network and says what is wrong, or nothing."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import costmodel
from costmodel.graph import OpCall, TensorSpec, tensors_in
from costmodel.saved import parse
from tests.live_memory import allocations, peak
from tests.random_networks.generator import Network


class Observed:
    """A network's profiles, and what torch itself makes of it, each computed when it is asked for."""

    def __init__(self, network: Network) -> None:
        self.network = network

    @cached_property
    def meta(self) -> costmodel.Profile:
        """The profile from a trace on meta."""
        return self._profile("meta")

    @cached_property
    def real(self) -> costmodel.Profile:
        """The profile from a trace of a real run."""
        return self._profile("real")

    def _profile(self, execution: str) -> costmodel.Profile:
        model, x = self.network.build()
        with self.network.block():
            return costmodel.profile(model, x, mode=self.network.mode, execution=execution)  # type: ignore[arg-type]

    @cached_property
    def output(self) -> Any:
        """The output of a plain forward."""
        return self.network.run(*self.network.build())


def untouched(seen: Observed) -> str:
    """Neither trace changes the model, its input, the random generators or torch's settings."""
    for execution in ("meta", "real"):
        network = seen.network
        model, x = network.build()
        before, given = _state(model), [copy.copy(module.__dict__) for module in model.modules()]
        values, strides, world = x.clone(), x.stride(), _world()
        with network.block():
            costmodel.profile(model, x, mode=network.mode, execution=execution)  # type: ignore[arg-type]  # one of two words
        if not _same(before, _state(model)):
            return f"{execution}: the model's state has changed"
        if given != [module.__dict__ for module in model.modules()]:
            return f"{execution}: a module's attributes have changed"
        if x.stride() != strides or not _same([values], [x]):
            return f"{execution}: the input has changed"
        if changed := [name for name, value in _world().items() if repr(value) != repr(world[name])]:
            return f"{execution}: {', '.join(changed)} changed"
    return ""


def exact(seen: Observed) -> str:
    """Every op has a rule."""
    unknown = {**seen.meta.coverage.unknown, **seen.real.coverage.unknown}
    return f"no rule for {sorted(unknown)}" if unknown else ""


def outputs(seen: Observed) -> str:
    """Shapes, dtypes and strides of what the model returns are those of a plain forward."""
    expected = [_facts_of_tensor(t) for t in _tensors(seen.output)]
    for p in (seen.meta, seen.real):
        found = [_facts(spec) for spec in tensors_in(p.graph.outputs)]
        if found != expected:
            return f"{p.execution}: the output is {found}, of a plain forward {expected}"
    return ""


def executions(seen: Observed) -> str:
    """Both traces record the same ops on tensors of the same layout, with the same traffic."""
    on_meta, for_real = seen.meta.pricing.ops, seen.real.pricing.ops
    for a, b in zip(on_meta, for_real, strict=False):
        if _call(a.call) != _call(b.call):
            return f"on meta {_call(a.call)}, for real {_call(b.call)}"
        if (a.traffic, a.work) != (b.traffic, b.work):
            return f"{a.call.op}: on meta {a.traffic} {a.work}, for real {b.traffic} {b.work}"
    if len(on_meta) != len(for_real):
        longer = max(on_meta, for_real, key=len)
        return (
            f"{len(on_meta)} ops on meta, {len(for_real)} for real: {longer[min(len(on_meta), len(for_real))].call.op}"
        )
    return ""


NOT_COUNTED = frozenset({
    "aten.mv.default", "aten.addmv.default", "aten.dot.default", "aten.vdot.default", "aten.bilinear.default",
})  # fmt: skip
"""Products that torch's ``FlopCounterMode`` has no formula for."""


def macs(seen: Observed) -> str:
    """The multiply-accumulates are half the FLOPs that torch counts in the kernels of a real run."""
    network = seen.network
    model, x = network.build()
    counter = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), torch.backends.mkldnn.flags(enabled=False), counter:
        network.run(model, x)
    found = sum(op.work.macs for op in seen.meta.pricing.ops if op.call.op not in NOT_COUNTED)
    expected = counter.get_total_flops() // 2
    return f"{found} MACs, torch counts {expected}: {counter.get_flop_counts()}" if found != expected else ""


def json_round_trip(seen: Observed) -> str:
    """What is read back from JSON has the same figures, and is written as the same text."""
    text = seen.meta.to_json()
    read = parse(text)
    if read.to_json() != text:
        return "the text read back is written differently"
    for name in (
        "macs",
        "flops",
        "memory_access_bytes",
        "fused_memory_access_bytes",
        "peak_memory",
        "params",
        "is_exact",
    ):
        if getattr(read, name) != getattr(seen.meta, name):
            return f"{name} was {getattr(seen.meta, name)}, read back it is {getattr(read, name)}"
    return ""


def crosscheck(seen: Observed) -> str:
    """Closed forms and trace agree on every layer that has both."""
    return "; ".join(map(str, (c for c in seen.meta.crosscheck().comparisons if not c.agree)))


def peak_memory(seen: Observed) -> str:
    """The peak is the allocator's, but for the scalars that torch's CPU kernels make of Python numbers.

    Not asked of numbers in half precision: most of torch's CPU kernels compute those through copies in single
    precision, which no GPU makes, and which profiles do not count. Nor of what the allocator's measure takes apart in
    another way: the noise of a dropout is the workspace of a composite op to it, and cells keep their gates.
    """
    network = seen.network
    builds = " ".join(build for step in network.steps for _, build in step.modules)
    if "Cell(" in builds or ("Dropout" in builds and network.mode == "train"):
        return ""
    if any(spec.dtype in HALF for op in seen.real.graph.ops for _, spec in op.tensors()):
        return ""
    model, x = network.build()
    found = allocations(lambda: network.run(model, x))
    held = min(x.nbytes, x.untyped_storage().nbytes())  # neither gaps nor expanded dimensions
    least, most = held + peak([a for a in found if a.nbytes > SCALAR]), held + peak(found)
    told = seen.real.peak_memory
    return "" if least <= told <= most else f"a peak of {told} bytes, the allocator has {least} to {most}"


HALF = frozenset({"float16", "bfloat16"})

SCALAR = 8
"""The most bytes of a Python number as a tensor."""


CHECKS: Mapping[str, Callable[[Observed], str]] = {
    check.__name__: check
    for check in (untouched, exact, outputs, executions, macs, json_round_trip, crosscheck, peak_memory)
}


def first_failure(network: Network, checks: Mapping[str, Callable[[Observed], str]] = CHECKS) -> tuple[str, str] | None:
    """The first check that does not hold of a network, by name, with what is wrong."""
    seen = Observed(network)
    for name, check in checks.items():
        try:
            wrong = check(seen)
        except Exception as error:
            wrong = f"{type(error).__name__}: {error}"
        if wrong:
            return name, wrong
    return None


def shrunken(network: Network, check: str) -> Network:
    """The network with as few of its steps as still run and still fail the check."""
    checks = {check: CHECKS[check]}
    index = len(network.steps) - 1
    while index >= 0:
        smaller = network.without(index)
        if smaller.runs() and first_failure(smaller, checks):
            network, index = smaller, min(index, len(smaller.steps))
        index -= 1
    return network


# Facts ------------------------------------------------------------------------------------------------------------


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)


def _facts_of_tensor(t: Tensor) -> tuple[Any, ...]:
    return tuple(t.shape), str(t.dtype).removeprefix("torch."), _where_it_matters(tuple(t.shape), t.stride())


def _where_it_matters(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of dimensions with more than one index, of tensors with elements."""
    return () if 0 in shape else tuple(s for n, s in zip(shape, strides, strict=True) if n != 1)


def _facts(t: TensorSpec) -> tuple[Any, ...]:
    return t.shape, t.dtype, _where_it_matters(t.shape, t.full_strides)


def _call(call: OpCall) -> str:
    def facts(value: Any) -> Any:
        if isinstance(value, TensorSpec):
            return _facts(value)
        return [facts(item) for item in value] if isinstance(value, (list, tuple)) else value

    args = {name: facts(value) for name, value in call.args.items()}
    return f"{call.op}{args} -> {facts(call.outputs)}{' in place' if call.inplace else ''}"


def _state(model: nn.Module) -> list[Tensor]:
    return [t.clone() for t in model.state_dict().values()]


def _same(before: list[Tensor], after: list[Tensor]) -> bool:
    return all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(before, after, strict=True))


def _world() -> dict[str, Any]:
    return {
        "torch's generator": torch.get_rng_state().tolist(), "Python's generator": random.getstate(),
        "NumPy's generator": np.random.get_state(), "the default dtype": torch.get_default_dtype(),
        "gradient mode": torch.is_grad_enabled(), "threads": torch.get_num_threads(),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")),
        "autocast's cache": torch.is_autocast_cache_enabled(),
        "mkldnn": torch.backends.mkldnn.enabled, "attention's fast path": torch.backends.mha.get_fastpath_enabled(),
        "determinism": torch.are_deterministic_algorithms_enabled(),
        "attention's kernels": (torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.math_sdp_enabled()),
    }  # fmt: skip
