"""Updates that are repeated of a sample are those that the optimizer runs: every record is the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn, optim
from torch.optim.optimizer import register_optimizer_step_post_hook

from costmodel.graph import TensorSpec
from costmodel.step_record import StepRecord
from costmodel.trace import step as traced_step
from costmodel.trace import update_loop as loops
from tests.trace.test_optimizers import MakeOptimizer, optimizers

REPEATED = {kind.__name__ for kind in loops._CLASSES}
CASES = [case for case in optimizers() if not case[0].startswith("Muon")]


class Network(nn.Module):
    """Parameters of many shapes, some alike; one shared, one transposed, one of one number, one frozen, one unused."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 1), nn.PReLU()
        )
        self.transposed = nn.ParameterList([nn.Parameter(torch.rand(16, 16).t())])
        self.linear = nn.Sequential(*(nn.Linear(16, 16) for _ in range(4)), nn.Linear(16, 2)).to(dtype)
        self.linear[1].weight = self.linear[0].weight
        self.linear[2].requires_grad_(False)
        self.unused = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of images of 6 x 6."""
        x = self.conv(x).flatten(1) @ self.transposed[0]
        found: torch.Tensor = self.linear(x.to(self.linear[0].weight.dtype))
        return found


def loss(output: torch.Tensor) -> torch.Tensor:
    """Some loss."""
    return output.float().square().mean()


@pytest.fixture
def repeated(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether updates were repeated of a sample, by trace."""
    found: list[bool] = []

    def noted(*given: Any) -> Any:
        loop = loops.update_loop(*given)
        found.append(loop is not None)
        return loop

    monkeypatch.setattr(traced_step, "update_loop", noted)
    return found


def records(model: nn.Module, make: MakeOptimizer) -> Any:
    """All that is recorded of a step."""
    record = traced_step.trace_step(model, (2, 3, 6, 6), loss=loss, optimizer=make)
    return plain(record)


def traced(model: nn.Module, make: MakeOptimizer) -> Any:
    """The same where the optimizer itself runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(traced_step, "update_loop", lambda *given: None)
        return records(model, make)


def plain(record: StepRecord) -> Any:
    """Records as lists of what is in them."""
    graph = record.graph
    ops = [(op.op, listed(op.args), listed(op.outputs), op.module, op.index, op.inplace) for op in graph.ops]
    storages = [(s.nbytes, s.role, s.allocated_at, s.freed_after) for s in graph.storages]
    return {
        "ops": ops, "storages": storages, "state": record.state, "phases": record.phases, "notes": graph.notes,
        "gradients": record.gradients, "execution": graph.execution,
    }  # fmt: skip


def listed(value: Any) -> Any:
    """What is to be known of tensors, in their place."""
    if isinstance(value, TensorSpec):
        return value.storage, value.shape, value.dtype, value.strides, value.role, value.name, value.trainable
    if isinstance(value, dict):
        return {name: listed(item) for name, item in value.items()}
    return [listed(item) for item in value] if isinstance(value, (list, tuple)) else repr(value)


@pytest.mark.parametrize(("name", "make"), [pytest.param(*case, id=case[0]) for case in CASES])
def test_all_optimizers(name: str, make: MakeOptimizer, repeated: list[bool]) -> None:
    """Ops with every number, tensors, and when each storage is allocated and freed; for-loops are repeated."""
    model = Network()
    expected = traced(model, make)
    for _ in range(2):  # the second time from the dispatch cache
        assert records(model, make) == expected
    words = name.split()
    is_loop = words[0] in REPEATED and not {"foreach", "fused"} & set(words)
    assert repeated == [is_loop] * 2


def in_groups(parameters: Iterable[torch.Tensor], kind: Callable[..., optim.Optimizer]) -> optim.Optimizer:
    """Weights without a decay, biases with one, and one parameter by itself, with another rate."""
    first, *rest = parameters
    weights, biases = [p for p in rest if p.ndim > 1], [p for p in rest if p.ndim <= 1]
    return kind([
        {"params": weights, "weight_decay": 0.0},
        {"params": biases, "weight_decay": 0.1},
        {"params": [first], "lr": 0.5},
    ])  # fmt: skip


@pytest.mark.parametrize("kind", [optim.AdamW, optim.Adam, optim.Adagrad, partial(optim.SGD, momentum=0.9)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_groups_and_dtypes(kind: Any, dtype: torch.dtype, repeated: list[bool]) -> None:
    """Groups with settings of their own, of which one has a single parameter; parameters of two dtypes."""
    model, make = Network(dtype), partial(in_groups, kind=kind)
    assert records(model, make) == traced(model, make)
    assert repeated == [True]


def test_a_cold_cache(repeated: list[bool]) -> None:
    """Shapes that no trace has met before are answered by the rules."""
    from costmodel.trace import dispatch_cache

    model = Network()
    expected = traced(model, optim.AdamW)
    dispatch_cache._caches.clear()
    assert records(model, optim.AdamW) == expected
    assert repeated == [True]


class Own(optim.AdamW):
    """A class of the user's."""


def hooked(parameters: Iterable[torch.Tensor]) -> optim.Optimizer:
    """With a hook before its step."""
    made: list[torch.Tensor] = []
    optimizer = optim.AdamW(parameters)
    optimizer.register_step_pre_hook(lambda optimizer, args, kwargs: made.append(torch.ones(3)))
    return optimizer


def patched(parameters: Iterable[torch.Tensor]) -> optim.Optimizer:
    """With a step of the user's."""
    optimizer = optim.AdamW(parameters)
    step = optimizer.step
    optimizer.step = lambda: (optimizer.param_groups[0]["params"][0].detach().mul_(2), step())  # type: ignore[method-assign, assignment]  # as schedulers do
    return optimizer


def resumed(parameters: Iterable[torch.Tensor]) -> optim.Optimizer:
    """With a state from before."""
    listed = list(parameters)
    optimizer = optim.AdamW(listed)
    for parameter in listed:
        optimizer.state[parameter] = {
            "step": torch.tensor(3.0), "exp_avg": torch.zeros_like(parameter), "exp_avg_sq": torch.zeros_like(parameter)
        }  # fmt: skip
    return optimizer


def summed_before(parameters: Iterable[torch.Tensor]) -> optim.Optimizer:
    """With a state that is no longer as it was made."""
    optimizer = optim.Adagrad(parameters, lr_decay=0.1)
    *_, last = optimizer.param_groups[0]["params"]
    optimizer.state[last]["step"] += 5
    return optimizer


@pytest.mark.parametrize(
    "make",
    [
        Own, hooked, patched, resumed, summed_before, optim.Rprop,
        partial(optim.AdamW, lr=torch.tensor(0.1)),
        lambda parameters: optim.AdamW(list(parameters)[:6]),
    ],
    ids=["subclass", "hook", "step", "state", "counter", "Rprop", "rate", "few"],
)  # fmt: skip
def test_the_optimizer_itself_runs(make: Any, repeated: list[bool]) -> None:
    """Where it is not, or not any more, what the sample would be; and where there is little to repeat."""
    model = Network()
    found = records(model, make)
    assert not any(repeated)
    assert found == traced(model, make)


def test_a_hook_of_all_optimizers(repeated: list[bool]) -> None:
    """It runs in every step, and is recorded."""
    handle = register_optimizer_step_post_hook(lambda optimizer, args, kwargs: torch.ones(3) + 1)
    try:
        ops = [op for op, *_ in records(Network(), optim.AdamW)["ops"]]
    finally:
        handle.remove()
    assert ops.count("aten.ones.default") == 2
    assert repeated == [False]


def test_sparse_and_complex_parameters(repeated: list[bool]) -> None:
    """They are updated by other ops than dense real ones."""

    class Others(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(9, 4, sparse=True)
            self.linear = nn.Sequential(*(nn.Linear(4, 4) for _ in range(8)))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.linear(self.embedding(x))
            return found

    record = traced_step.trace_step(Others(), torch.zeros(2, 3, dtype=torch.int64), loss=loss, optimizer=optim.SGD)
    assert any(op.outputs and op.outputs[0].sparse for op in record.graph.ops)
    waves = nn.ParameterList(torch.zeros(n, dtype=torch.complex64) for n in range(2, 12))

    class Waves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.waves = waves

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return sum((wave.abs().sum() for wave in self.waves), x.sum())

    assert "aten.view_as_real.default" in [op for op, *_ in records(Waves(), optim.AdamW)["ops"]]
    assert repeated == [False, False]


class Odd(optim.Optimizer):
    """An update of the test's own: ``step`` is given each parameter with its place."""

    def __init__(self, parameters: Any, change: Any) -> None:
        super().__init__(parameters, {"change": change})
        self.held: list[torch.Tensor] = []

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Changes one parameter after the other."""
        self.held.clear()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            for place, parameter in enumerate(parameters):
                group["change"](self, place, parameter, parameters)
        self.held.clear()


def by_shape(optimizer: Odd, place: int, p: Any, all_: list[Any]) -> None:
    """An op more for matrices."""
    if p.ndim > 1:
        p.mul_(0.5)
    p.sub_(p.grad)


def by_place(optimizer: Odd, place: int, p: Any, all_: list[Any]) -> None:
    """Another number for each."""
    p.sub_(p.grad, alpha=place)


def of_the_first(optimizer: Odd, place: int, p: Any, all_: list[Any]) -> None:
    """All take a tensor of the first parameter's."""
    p.mul_(all_[0].grad.sum())


def held_in_part(optimizer: Odd, place: int, p: Any, all_: list[Any]) -> None:
    """What is made for every second parameter is held to the end."""
    doubled = p.grad * 2
    if place % 2:
        optimizer.held.append(doubled)
    p.sub_(doubled)


def by_size(optimizer: Odd, place: int, p: Any, all_: list[Any]) -> None:
    """The same op with a number for each shape."""
    p.sub_(p.grad, alpha=1 / p.numel())


def viewed(optimizer: Odd, place: int, p: Any, all_: list[Any]) -> None:
    """A view by another shape."""
    p.unsqueeze(0).sub_(p.grad.unsqueeze(0))


def narrowed(optimizer: Odd, place: int, p: Any, all_: list[Any]) -> None:
    """A view that is all of the sample's parameters, and a part of others."""
    p[:4].sub_(p.grad[:4])


@pytest.mark.parametrize("change", [narrowed, by_shape, by_place, of_the_first, held_in_part, by_size, viewed])
def test_a_sample_that_is_no_example_of_all(change: Any, repeated: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is seen of an optimizer's sample, also where its class is taken for one that can be repeated."""
    monkeypatch.setattr(loops, "_CLASSES", (Odd,))
    monkeypatch.setattr(Odd.__init__, "__defaults__", (change,))
    model, make = Network(), partial(Odd, change=change)
    found = records(model, make)
    assert repeated == [False]
    assert found == traced(model, make)


def alike(optimizer: Odd, place: int, p: Any, all_: list[Any]) -> None:
    """Twice the gradient, and a tensor that is held until the next parameter's is made."""
    optimizer.held[:] = [p.grad * 2]
    p.sub_(optimizer.held[0])


def test_what_is_held_until_the_next(repeated: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is freed in the ops of the next parameter, and what the last has made at the end."""
    monkeypatch.setattr(loops, "_CLASSES", (Odd,))
    monkeypatch.setattr(Odd.__init__, "__defaults__", (alike,))
    model, make = Network(), partial(Odd, change=alike)
    assert records(model, make) == traced(model, make)
    assert repeated == [True]
