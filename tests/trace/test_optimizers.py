"""Every optimizer of torch.optim runs in a trace the ops that it runs on the CPU, with the same numbers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn, optim
from torch.utils._python_dispatch import TorchDispatchMode

import costmodel
from costmodel.graph import TensorSpec
from costmodel.ops import find
from costmodel.torch_private.autograd import import_for_optimizers
from costmodel.trace.forward import Attempt, run
from costmodel.trace.target import target_of
from tests.ops._binding import RealCall

MakeOptimizer = Callable[[Iterable[torch.Tensor]], optim.Optimizer]

import_for_optimizers()

ABOVE_AUTOGRAD = Attempt(autograd=True)
"""As a training step is traced."""

NEED_MORE = {
    "Optimizer": "the base class",
    "LBFGS": "it calls the model itself, several times in a step",
    "SparseAdam": "it takes sparse gradients alone",
    "Adafactor": "its step length is a value: the norm of each parameter",
}
"""Classes of torch.optim that no trace on meta runs, and why."""

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "SGD": [{"momentum": 0.9, "weight_decay": 0.1, "nesterov": True}, {"momentum": 0.9, "dampening": 0.5}],
    "Adam": [{"amsgrad": True, "weight_decay": 0.1, "maximize": True}],
    "AdamW": [{"amsgrad": True, "maximize": True}],
    "Adagrad": [{"lr_decay": 0.1, "weight_decay": 0.1}],
    "RMSprop": [{"centered": True, "momentum": 0.9, "weight_decay": 0.1}, {"momentum": 0.9}],
    "NAdam": [{"decoupled_weight_decay": True, "weight_decay": 0.1}],
    "RAdam": [{"weight_decay": 0.1}],
}
"""Settings to try besides the defaults."""


def optimizers() -> list[tuple[str, MakeOptimizer]]:
    """Each class with each of its settings, in each of its implementations."""
    found: list[tuple[str, MakeOptimizer]] = []
    for name in dir(optim):
        kind = getattr(optim, name)
        if not inspect.isclass(kind) or not issubclass(kind, optim.Optimizer) or name in NEED_MORE:
            continue
        takes = inspect.signature(kind).parameters
        ways: list[dict[str, Any]] = [{}]
        ways += [{"foreach": True}] if "foreach" in takes else []
        ways += [{"fused": True}] if "fused" in takes else []
        for settings in [{}, *OPTIONS.get(name, [])]:
            for way in ways:
                chosen = {"lr": 1e-3, **settings, **way}
                found.append((" ".join([name, *settings, *way]), partial(kind, **chosen)))
    return found


class Update(nn.Module):
    """Two updates of two parameters, whose gradients are given."""

    def __init__(self, make: MakeOptimizer) -> None:
        super().__init__()
        self.make = make

    def forward(self, *tensors: torch.Tensor) -> None:
        """Parameters first, then a gradient for each."""
        n = len(tensors) // 2
        for parameter, gradient in zip(tensors[:n], tensors[n:], strict=True):
            parameter.grad = gradient
        optimizer = self.make(tensors[:n])
        optimizer.step()
        optimizer.step()


class Seen(TorchDispatchMode):
    """Notes each op and its arguments, before it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.ops: list[tuple[str, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        names = [a.name for a in func._schema.arguments]
        call = RealCall(func, dict(zip(names, args, strict=False)) | (kwargs or {}))
        if func.namespace != "profiler":
            self.ops.append((str(func), plain(call.arguments())))
        return func(*args, **(kwargs or {}))


def plain(value: Any) -> Any:
    """Shapes and dtypes in the place of tensors; numbers as they are."""
    if isinstance(value, TensorSpec):
        return value.shape, value.dtype
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


NUMBERS = ("aten.lift_fresh.default", "aten.scalar_tensor.default")
"""Ops that make a tensor of a number, which are not compared.

torch's grouping of tensors by device says that these are on meta, where it makes ASGD's numbers without an op. And on
meta it takes one op for ``where(mask, x, 0)`` and for ``x[0] = 0``, which on the CPU are two.
"""


def listed(ops: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """All but numbers."""
    return [(op, given) for op, given in ops if op not in NUMBERS]


def without_out(op: str) -> str:
    """What an op with ``out=`` is recorded as."""
    return op.replace("maximum.out", "maximum.default")


@pytest.mark.parametrize(("name", "make"), [pytest.param(*o, id=o[0]) for o in optimizers()])
def test_ops_are_those_of_a_real_update(name: str, make: MakeOptimizer) -> None:
    """Two steps on meta run op by op what two steps on the CPU run: shapes, dtypes and every number agree.

    The second step's numbers depend on the counters of the first, so these are computed.
    """
    shapes = ((4, 3), (5, 2) if name.startswith("Muon") else (5,)) * 2
    graph = run(
        target_of(Update(make)), shapes, "train", None, lambda module, given, called, output: None, ABOVE_AUTOGRAD
    )
    tensors = [torch.rand(shape) for shape in shapes]
    with Seen() as seen:
        Update(make)(*tensors)
    traced = [(call.op, plain(call.args)) for call in graph.ops]
    assert listed(traced) == listed((without_out(op), given) for op, given in seen.ops)
    assert [call.op for call in graph.ops if find(call.op) is None] == []


def test_classes_that_need_more_are_torchs() -> None:
    """What is left out is there to be left out."""
    assert NEED_MORE.keys() <= set(dir(optim))


class Counts(nn.Module):
    """Makes a counter of Python's number in the forward, counts with it, and runs so many layers."""

    def __init__(self, count: Callable[[torch.Tensor], object]) -> None:
        super().__init__()
        self.count = count

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As many additions as the counter says."""
        counter = torch.tensor(0.0)
        self.count(counter)
        self.count(counter)
        for _ in range(int(counter.item())):
            x = x + 1
        return x


def _add_in_place(counter: torch.Tensor) -> None:
    counter += 2


@pytest.mark.parametrize(
    "count",
    [
        _add_in_place,
        lambda counter: counter.copy_(counter + 2),
        lambda counter: torch._foreach_add_([counter], 2),
        lambda counter: torch.add(counter, 2, out=counter),
        lambda counter: counter.view(1).add_(2),
    ],
    ids=["add_", "copy_", "_foreach_add_", "out=", "through a view"],
)
def test_a_number_of_the_forwards_own_is_computed(count: Callable[[torch.Tensor], object]) -> None:
    """A tensor that torch makes of a number in the forward is written for real: 2 + 2 layers run, on meta."""
    profile = costmodel.profile(Counts(count), (8,), execution="meta")
    assert profile.is_exact
    assert sum(call.op == "aten.add.Tensor" and call.args["self"].shape == (8,) for call in profile.graph.ops) == 4


GIVEN = torch.zeros(3)


def test_a_tensor_that_is_lifted_again_is_restored() -> None:
    """What was there before the trace holds what it held, also where the forward calls the op itself that lifts."""

    class Lifts(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            lifted = torch.ops.aten.lift_fresh(GIVEN)
            lifted += 1
            return x * lifted.sum().item()

    profile = costmodel.profile(Lifts(), (3,), execution="meta")
    assert profile.graph.ops[-1].args["other"] == 3
    assert GIVEN.tolist() == [0, 0, 0]


def test_a_buffer_is_never_written() -> None:
    """A counter that the model holds is not counted up: what depends on it needs a real run."""

    class Holds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.counter = nn.Buffer(torch.tensor(0.0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            torch._foreach_add_([self.counter], 2)
            return x * self.counter.item()

    model = Holds()
    assert costmodel.profile(model, (3,)).execution == "real"
    assert model.counter.item() == 0


class Lists(nn.Module):
    """Writes into lists."""

    def __init__(self) -> None:
        super().__init__()
        self.pool, self.last = nn.AvgPool2d(3, 1, 1), nn.Identity()

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The mean of a neighbourhood arrives in ``a`` by an op that returns nothing."""
        a, b = torch.zeros_like(x), torch.zeros_like(y)
        torch._foreach_add_([a, b], [self.pool(x), y])
        found: torch.Tensor = self.last(a)
        return found


@pytest.mark.parametrize("execution", ["meta", "real"])
def test_what_is_written_is_recorded(execution: Any) -> None:
    """An op on lists in place has what it writes as its outputs, so that a receptive field goes through it."""
    for _ in range(2):  # the second is answered from the dispatch cache
        profile = costmodel.profile(Lists(), ((1, 1, 8, 8), (4,)), execution=execution)
        (call,) = [call for call in profile.graph.ops if call.op == "aten._foreach_add_.List"]
        assert call.inplace
        assert list(call.outputs) == call.args["self"]
        assert profile.receptive_field("last").size == (3, 3)
