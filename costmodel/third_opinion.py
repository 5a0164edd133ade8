"""fvcore's count of each layer's multiply-accumulates, and the reason where it differs from the trace's; its total.

fvcore runs the model for real under ``torch.jit.trace``; the model is restored afterwards. So does torch's own counter.
"""

from __future__ import annotations

import inspect
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from costmodel.default_inputs import default_inputs
from costmodel.errors import ForwardError, InputError
from costmodel.graph import Graph
from costmodel.ops.complex_numbers import is_complex
from costmodel.pricing import Pricing
from costmodel.torch_private import registered_on
from costmodel.trace import outputs_of
from costmodel.trace.inputs import arguments
from costmodel.trace.isolation import one_at_a_time, plain_eager, rng_restored, training_mode
from costmodel.trace.snapshot import restored
from costmodel.trace.target import target_of
from costmodel.trace.values import RealInputs

_PRODUCTS = frozenset({"conv", "linear", "addmm", "matmul", "mm", "bmm", "einsum", "baddbmm"})
"""fvcore's operators whose "flops" are multiply-accumulates."""


@dataclass(frozen=True, slots=True)
class ThirdOpinion:
    """Another tool's count of a layer's multiply-accumulates, and why it differs, if it does."""

    count: int
    why: str = ""
    reason: str = ""
    """What ``short`` is, if given."""

    @property
    def short(self) -> str:
        """The reason without its numbers, the same for layers that differ in the same way."""
        return self.reason or re.sub(r" \([^)]*\)", "", re.sub(r": .*", "", self.why))


@dataclass(frozen=True, slots=True)
class ModuleCount:
    """fvcore's result for one module."""

    operators: Mapping[str, int]
    """Its "flops" by operator."""
    unsupported: tuple[str, ...]
    """Operators that ran and that it does not count."""


def fvcore(
    model: nn.Module | Callable[..., Any], inputs: Any, pricing: Pricing
) -> tuple[dict[str, ThirdOpinion], int | None]:
    """fvcore's count for every layer that is a module, by the layer's name, and its total.

    Raises ``ForwardError`` if fvcore cannot trace the model, ``InputError`` for inputs that it cannot take.
    """
    target = target_of(model)
    if target.method is not None:
        raise InputError(f"fvcore runs a module's forward, not {target.name}: leave against='fvcore' out")
    found = _analyse(target.module, inputs, pricing.graph)
    traced: Counter[str] = Counter()
    of_complex: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    modules: dict[str, str] = {}
    with_macs: dict[str, set[str]] = {}
    for layer in pricing.layers:
        if layer.module is not None:
            traced[layer.name] += layer.work.macs
            of_complex[layer.name] += sum(op.work.macs for op in layer.ops if is_complex(op.call))
            ops = {f"aten::{op.call.op.split('.')[1]}" for op in layer.ops if op.work.macs}
            with_macs.setdefault(layer.name, set()).update(ops)
            calls[layer.name] += 1
            modules[layer.name] = layer.module.name
    opinions = {}
    for name, module in modules.items():
        counted = found.get(module)
        if counted is None:
            opinions[name] = ThirdOpinion(0, "fvcore saw no call of this module")
        else:
            count = sum(counted.operators.values())
            why = explain(
                counted, macs=traced[name], calls=calls[name], with_macs=with_macs[name], of_complex=of_complex[name]
            )
            opinions[name] = ThirdOpinion(count, why)
    return opinions, sum(found[""].operators.values()) if "" in found else None


def flop_counter(model: nn.Module | Callable[..., Any], inputs: Any, graph: Graph) -> int | None:
    """The total of torch's ``FlopCounterMode``; ``None`` for a model without values, and for what is no forward."""
    target = target_of(model)
    if target.method is not None or any(p.is_meta for p in target.module.parameters()):
        return None
    from torch.utils.flop_counter import FlopCounterMode

    with _run_for_real(target.module, inputs, graph) as (args, kwargs), FlopCounterMode(display=False) as counter:
        try:
            target.module(*args, **kwargs)
        except Exception as error:
            raise _failed("FlopCounterMode", "run", graph, error) from error
    return int(counter.get_total_flops())


def _failed(tool: str, does: str, graph: Graph, error: Exception) -> ForwardError:
    line = str(error).strip().split("\n")[0]
    return ForwardError(
        f"{tool} cannot {does} {graph.model}: {type(error).__name__}: {line}. Without against={tool!r} the two "
        f"derivations are compared all the same"
    )


def explain(
    counted: ModuleCount, *, macs: int, calls: int, with_macs: Set[str] = frozenset(), of_complex: int = 0
) -> str:
    """Why fvcore's count of a module differs from the layer's MACs; empty if it does not.

    Args:
        counted: fvcore's result.
        macs: the trace's MACs of all calls of the module.
        calls: the number of calls.
        with_macs: the traced operators that have MACs.
        of_complex: how many of the trace's MACs are those of complex numbers, four for one.

    >>> explain(ModuleCount({"batch_norm": 8}, ()), macs=0, calls=1)
    'fvcore adds batch_norm (8 flops by its own convention), where nothing is a multiply-accumulate'
    """
    count = sum(counted.operators.values())
    others = {op: n for op, n in counted.operators.items() if op not in _PRODUCTS and n}
    products = count - sum(others.values())
    reasons = []
    if others:
        named = ", ".join(f"{op} ({n:,} flops by its own convention)" for op, n in others.items())
        reasons.append(f"fvcore adds {named}, where nothing is a multiply-accumulate")
    if products != macs:
        missing = [op for op in counted.unsupported if op in with_macs] or counted.unsupported
        if of_complex and products == macs - of_complex + of_complex // 4:
            reasons.append("fvcore counts a multiply-accumulate of complex numbers as one, which is four of real ones")
        elif "conv" in counted.operators and macs == of_complex and 4 * products == 3 * macs:
            reasons.append("fvcore counts the three real convolutions that torch makes of a complex one, which is four")
        elif missing:
            reasons.append(f"fvcore does not count {', '.join(missing)}")
        else:
            reasons.append(f"not explained: fvcore's products are {products:,}, the trace's {macs:,}")
    if calls > 1 and count:
        reasons.append(f"fvcore gives the {calls} calls of this module as one sum")
    return "; ".join(reasons)


def _analyse(model: nn.Module, inputs: Any, graph: Graph) -> dict[str, ModuleCount]:
    with _run_for_real(model, inputs, graph) as (args, kwargs):
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(model, _positional(model, args, kwargs))
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        try:
            by_module = analysis.by_module_and_operator()
        except Exception as error:
            raise _failed("fvcore", "trace", graph, error) from error
        uncalled = analysis.uncalled_modules()
        return {
            name: ModuleCount(
                {op: int(n) for op, n in by_module[name].items()},
                tuple(sorted(analysis.unsupported_ops(name))),
            )
            for name in by_module
            if name not in uncalled
        }


@contextmanager
def _run_for_real(model: nn.Module, inputs: Any, graph: Graph) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    """A context in which the model may run, as it was traced, on inputs with values; it is restored at the end."""
    given = default_inputs(model, outputs_of) if inputs is None else inputs
    modules = list(model.modules())
    with (
        one_at_a_time(),
        restored(modules, [*model.parameters(), *model.buffers()], given),
        _buffers_copied(modules),
        rng_restored(set(map(type, modules))),
        plain_eager(set(map(type, modules))),
        torch.no_grad(),
        training_mode(model, modules, graph.mode == "train"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        real = RealInputs(device)
        yield arguments(given, real.make, real.keep, model.parameters(), model.forward)


def _positional(model: nn.Module, args: list[Any], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """The inputs as positional arguments, the only ones that fvcore passes."""
    if not kwargs:
        return tuple(args)
    bound = inspect.signature(model.forward).bind(*args, **kwargs)
    bound.apply_defaults()
    given = list(bound.args)
    if bound.kwargs and any(name in kwargs for name in bound.kwargs):
        raise InputError(f"fvcore takes no keyword inputs, and {type(model).__name__} takes {list(kwargs)} by keyword")
    while given and given[-1] is None:
        given.pop()
    return tuple(given)


@contextmanager
def _buffers_copied(modules: list[nn.Module]) -> Iterator[None]:
    """Replaces the model's buffers by copies, as a forward may write to them; ``restored`` puts them back."""
    copies: dict[int, torch.Tensor] = {}
    for module in modules:
        _, buffers, _ = registered_on(module)
        for name, buffer in buffers.items():
            if buffer is not None:
                buffers[name] = copies.setdefault(id(buffer), buffer.clone())
    yield
