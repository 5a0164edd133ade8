"""An update's closed form against real updates: op by op with a table written by hand, its state, and the allocator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import optim
from torch.utils._python_dispatch import TorchDispatchMode

from costmodel import InputError
from costmodel import formulas as f
from costmodel.quantities import Work
from tests.live_memory import allocations, peak

W = Work
SHAPES = ((7, 11), (64,), (3,), (40, 5), (5,), (100,))
SIZES = (77, 64, 3, 200, 5, 100)

KINDS: dict[str, type[optim.Optimizer]] = {
    "sgd": optim.SGD, "momentum": optim.SGD, "adam": optim.Adam, "adamw": optim.AdamW, "adagrad": optim.Adagrad,
    "rmsprop": optim.RMSprop,
}  # fmt: skip
IMPLEMENTATIONS: dict[str, dict[str, bool]] = {"for-loop": {}, "foreach": {"foreach": True}, "fused": {"fused": True}}

_DECAYED = {"weight_decay": 0.1}
_UPWARDS = {"maximize": True}
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "sgd": [{}, _DECAYED, _UPWARDS, _DECAYED | _UPWARDS, {"weight_decay": 1.0},
            {"momentum": 0.9, "nesterov": True}, {"momentum": 0.9, "nesterov": True} | _UPWARDS,
            {"momentum": 0.9, "nesterov": True} | _DECAYED | _UPWARDS, {"momentum": 0.9} | _DECAYED | _UPWARDS],
    "momentum": [{}, {"dampening": 0.5}, _DECAYED, _UPWARDS],
    "adam": [{}, _DECAYED, _UPWARDS, _DECAYED | _UPWARDS, {"amsgrad": True}, {"beta2": 0.0}],
    "adamw": [{}, {"weight_decay": 0.0}, _UPWARDS, {"amsgrad": True}],
    "adagrad": [{}, _DECAYED, _UPWARDS, _DECAYED | _UPWARDS],
    "rmsprop": [{}, _DECAYED, _UPWARDS, _DECAYED | _UPWARDS, {"centered": True}, {"momentum": 0.9}, {"alpha": 0.0},
                {"centered": True, "momentum": 0.9} | _DECAYED],
}  # fmt: skip


def cases() -> Iterator[Any]:
    """Each formula with each of its settings, in each implementation that torch has."""
    for name, settings in SETTINGS.items():
        for chosen in settings:
            for how in IMPLEMENTATIONS:
                if (name, how) != ("rmsprop", "fused"):
                    yield pytest.param(name, chosen, how, id=" ".join([name, *map(str, chosen), how]))


CASES = list(cases())


def after_a_step(name: str, settings: dict[str, Any], how: str) -> optim.Optimizer:
    """A real optimizer that has its state, with gradients for the next step."""
    given = {"lr": 0.1, **({"momentum": 0.9} if name == "momentum" else {}), **settings, **IMPLEMENTATIONS[how]}
    if "beta2" in given:
        given["betas"] = (0.9, given.pop("beta2"))
    parameters = [torch.nn.Parameter(torch.rand(shape)) for shape in SHAPES]
    for parameter in parameters:
        parameter.grad = torch.rand_like(parameter)
    optimizer = KINDS[name](parameters, **given)
    optimizer.step()
    return optimizer


def of_an_element(op: str, given: dict[str, Any]) -> Work:
    """What an op computes of one element, counted by hand; a factor of 1 is no multiplication."""
    factor = next((given[n] for n in ("alpha", "value") if n in given), 1)
    scale = W() if factor == 1 else W(multiplies=1)
    return {
        "add": W(adds=1) + scale, "mul": W(multiplies=1), "div": W(divides=1), "lerp": W(adds=2, multiplies=1),
        "addcmul": W(multiplies=1, adds=1) + scale, "addcdiv": W(divides=1, adds=1) + scale,
        "sqrt": W(transcendentals=1), "maximum": W(compares=1), "neg": W(), "local_scalar_dense": W(),
    }[op]  # fmt: skip


class Counted(TorchDispatchMode):
    """Adds up what each op computes, reads and writes."""

    def __init__(self) -> None:
        super().__init__()
        self.work, self.read, self.written = W(), 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func._schema.name.removeprefix("aten::")
        if func.namespace == "profiler" or name == "lift_fresh":
            return result
        if name.startswith("_fused"):
            lists = [value for value in args if isinstance(value, list)]
            self.read += sum(t.numel() for each in lists for t in each)
            # All but gradients and counters are written.
            self.written += sum(t.numel() for i, each in enumerate(lists) if i != 1 for t in each if t.dim())
            return result
        op = name.removeprefix("_foreach_").strip("_")
        names = [a.name for a in func._schema.arguments]
        bound = {**dict(zip(names, args, strict=False)), **(kwargs or {})}
        bound.pop("out", None)
        lists = [value for value in bound.values() if isinstance(value, list)]
        tensors = {id(t): t for v in bound.values() for t in (v if isinstance(v, list) else [v])
                   if isinstance(t, torch.Tensor)}  # fmt: skip
        self.read += sum(t.numel() for t in tensors.values())
        for i, own in enumerate(lists[0] if lists else [bound["self"]]):
            scalars = bound.get("scalars")
            given = {**bound, "value": scalars[i]} if scalars is not None and op.startswith("addc") else bound
            self.work += of_an_element(op, given).times(own.numel())
            self.written += own.numel() if op != "local_scalar_dense" else 0
        return result


def closed(name: str, settings: dict[str, Any], how: str) -> f.OptimizerCost:
    """The closed form of the update."""
    cost: f.OptimizerCost = f.CATALOG[name](elements=SIZES, implementation=how, **settings)
    return cost


@pytest.mark.parametrize(("name", "settings", "how"), CASES)
def test_what_a_real_update_computes_reads_and_writes(name: str, settings: dict[str, Any], how: str) -> None:
    """The second step, op by op. What one fused kernel computes is what the for-loop computes."""
    optimizer = after_a_step(name, settings, how)
    with Counted() as counted:
        optimizer.step()
    cost = closed(name, settings, how)
    assert (cost.read, cost.written) == (counted.read, counted.written)
    if how == "fused":
        assert cost.work == closed(name, settings, "for-loop").work
    else:
        assert cost.work == counted.work


@pytest.mark.parametrize(("name", "settings", "how"), CASES)
def test_what_a_real_optimizer_keeps(name: str, settings: dict[str, Any], how: str) -> None:
    """Elements and bytes of every tensor of its state."""
    optimizer = after_a_step(name, settings, how)
    state = [t for own in optimizer.state.values() for t in own.values() if t is not None]
    cost = closed(name, settings, how)
    assert cost.state_bytes == sum(t.nbytes for t in state)
    assert cost.state == sum(t.numel() for t in state if t.dim())


@pytest.mark.parametrize(("name", "settings", "how"), CASES)
def test_what_a_real_update_holds(name: str, settings: dict[str, Any], how: str) -> None:
    """The most that the allocator has given to tensors that the second step makes; torch's tensors of one number apart.

    Those have 4 or 8 bytes, and no parameter here has so few.
    """
    optimizer = after_a_step(name, settings, how)
    found = [made for made in allocations(lambda: optimizer.step() and None) if made.nbytes > 8]
    assert peak(found) == 4 * closed(name, settings, how).temporaries


def test_kinds_of_arithmetic() -> None:
    """AdamW of one element by hand: a decay, two moments, a root, a quotient, eps, and the update; and its counter."""
    assert f.adamw(elements=1).work == W(adds=2 + 1 + 1 + 1 + 1, multiplies=1 + 1 + 3 + 1, divides=2, transcendentals=1)


def test_two_groups() -> None:
    """Groups of parameters are updated one after the other."""
    both = f.adamw(elements=(10, 20)) + f.adamw(elements=5, weight_decay=0.0)
    assert both.flops == 30 * 14 + 2 + 5 * 13 + 1
    assert (both.state, both.state_bytes, both.temporaries) == (70, 70 * 4 + 3 * 4, 2 * 20 + 10)


def test_a_large_model() -> None:
    """70 billion parameters in 16 bits: the state of Adam is 4 bytes for each, and exact."""
    assert f.adam(elements=(35 * 10**9,) * 2, itemsize=2).state_bytes == 4 * 70 * 10**9 + 8


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: f.rmsprop(elements=8, implementation="fused"), "no fused implementation"),
        (lambda: f.adam(elements=8, implementation="gpu"), "choose one of for-loop, foreach, fused"),
        (lambda: f.sgd(elements=8, nesterov=True), "nesterov: needs a momentum"),
        (lambda: f.adam(elements=-1), "must be at least 0"),
    ],
)
def test_what_makes_no_sense(call: Any, says: str) -> None:
    """The error names the argument."""
    with pytest.raises(InputError, match=says):
        call()
