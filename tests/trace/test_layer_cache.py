"""A layer whose forward is one op is answered without running it: in the same state only, and by the same record."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize, prune
from torch.overrides import TorchFunctionMode

import costmodel
from costmodel.trace.layer_cache import LAYERS, LayerCache

SHAPE = (2, 8, 6, 6)


@pytest.mark.parametrize("kind", LAYERS, ids=lambda kind: kind.__name__)
def test_the_table_has_all_that_a_forward_reads(kind: type[nn.Module]) -> None:
    """By the source of torch that is installed: attributes of the layer, and functions that it calls."""
    reads = LAYERS[kind]
    found, called = set(), set()
    for method in ("forward", *reads.methods):
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(getattr(kind, method))))):
            assert not (isinstance(node, ast.Name) and node.id in ("getattr", "vars", "super")), ast.dump(node)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                if node.value.id == "self":
                    found.add(node.attr)
                elif node.value.id in ("F", "torch"):
                    called.add(node.attr)
    assert found == {*reads.attributes, *reads.parameters, *reads.buffers, *reads.methods}
    # A padding that is no constant is an op of its own, so there are two, and neither is cached.
    assert called - {"pad"} == ({reads.function} if reads.function else set())


def records(model: nn.Module, shape: tuple[int, ...] = SHAPE) -> list[Any]:
    """All that a trace says of each op."""
    graph = costmodel.profile(model, shape, execution="meta").graph
    return [
        (
            op.op, graph.calls[op.module].name, op.inplace,
            [(name, repr(value)) for name, value in op.args.items()],
            [(t.shape, t.dtype, t.strides, t.storage, t.role) for t in op.outputs],
        ) for op in graph.ops
    ] + [(s.nbytes, s.role, s.allocated_at, s.freed_after) for s in graph.storages]  # fmt: skip


@pytest.fixture
def uncached(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """The records where every forward runs."""

    def trace(model: nn.Module, shape: tuple[int, ...] = SHAPE) -> list[Any]:
        with monkeypatch.context() as patch:
            patch.setattr(LayerCache, "run", lambda self, module, x, spec: module.forward(x))
            return records(model, shape)

    return trace


@pytest.fixture
def ran() -> Iterator[set[CodeType]]:
    """The code of every function that has been called."""
    found: set[CodeType] = set()
    sys.setprofile(lambda frame, event, arg: found.add(frame.f_code))
    yield found
    sys.setprofile(None)


def layers() -> dict[str, nn.Module]:
    """Of each class in the table, layers that differ in one attribute."""
    made: list[nn.Module] = [
        nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3, stride=2), nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, dilation=2),
        nn.Conv2d(8, 8, 3, groups=2), nn.Conv2d(8, 8, 3, bias=False), nn.Conv2d(8, 8, 3, padding="same"),
        nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"), nn.Conv2d(8, 4, 1), nn.Linear(6, 5),
        nn.Linear(6, 5, bias=False), nn.Linear(6, 7), nn.BatchNorm2d(8), nn.BatchNorm2d(8, eps=1e-3),
        nn.BatchNorm2d(8, momentum=None), nn.BatchNorm2d(8, affine=False), nn.BatchNorm2d(8, track_running_stats=False),
        nn.LayerNorm(6), nn.LayerNorm((6, 6)), nn.LayerNorm(6, eps=1), nn.LayerNorm(6, bias=False), nn.GroupNorm(2, 8),
        nn.GroupNorm(4, 8), nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), nn.Hardswish(), nn.Hardsigmoid(), nn.SiLU(),
        nn.GELU(), nn.GELU("tanh"), nn.Dropout(), nn.Identity(),
    ]  # fmt: skip
    return {f"{i} {layer}": layer for i, layer in enumerate(made)}


def test_records_are_those_of_a_forward(uncached: Callable[..., list[Any]]) -> None:
    """Of every layer beside all others, the first time and later, in both modes."""
    for mode in (False, True):
        expected = {name: uncached(layer.train(mode)) for name, layer in layers().items()}
        for _ in range(2):
            for name, layer in layers().items():
                assert records(layer.train(mode)) == expected[name], name


def test_the_second_forward_does_not_run(ran: set[CodeType]) -> None:
    """Of a layer with the same attributes, parameters of the same shapes, and the same input."""
    records(nn.Sequential(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8)).eval())
    ran.clear()
    records(nn.Sequential(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8)).eval())
    assert nn.Sequential.forward.__code__ in ran
    assert {nn.Conv2d.forward.__code__, nn.BatchNorm2d.forward.__code__}.isdisjoint(ran)
    records(nn.Conv2d(8, 8, 5, padding=2))
    assert nn.Conv2d.forward.__code__ in ran


class Doubled(nn.ReLU):
    """Another forward."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 2


class Mode(TorchFunctionMode):
    """Replaces relu."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return torch.sigmoid(*args) if func in (F.relu, torch.relu) else func(*args, **(kwargs or {}))


class Within(nn.Module):
    """Calls a layer within a context."""

    def __init__(self, layer: nn.Module, context: Callable[[], Any]) -> None:
        super().__init__()
        self.layer, self.context = layer, context

    def forward(self, x: Tensor) -> Tensor:
        with self.context():
            return self.layer(x)


class Mapped(nn.Module):
    """Calls a layer on each sample."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return torch.vmap(self.layer)(x)


def with_own_forward() -> nn.Module:
    """A method of the instance."""
    layer = nn.ReLU()
    layer.forward = lambda x: x.sigmoid()  # type: ignore[method-assign]
    return layer


def with_a_weight_of_its_own() -> nn.Module:
    """An attribute that hides the parameter."""
    layer = nn.Linear(6, 5)
    layer.__dict__["weight"] = nn.Linear(6, 5).weight.detach() * 2
    return layer


def with_a_hook() -> nn.Module:
    """A hook that changes the output."""
    layer = nn.ReLU()
    layer.register_forward_hook(lambda module, given, output: output * 2)
    return layer


def with_an_integer() -> nn.Module:
    """A bound that is equal to another's, and of another type."""
    layer = nn.ReLU6()
    layer.min_val = 0
    return layer


def pruned() -> nn.Module:
    """A weight that is computed."""
    layer = nn.Linear(6, 5)
    prune.random_unstructured(layer, "weight", 0.5)
    return layer


def parametrized() -> nn.Module:
    """Likewise."""
    layer = nn.Linear(6, 5)
    parametrize.register_parametrization(layer, "weight", nn.Tanh())
    return layer


def shared() -> nn.Module:
    """One weight in two layers, of which one is called twice."""
    first, second = nn.Linear(6, 6), nn.Linear(6, 6)
    second.weight = first.weight
    return nn.Sequential(first, second, first)


OTHERS: dict[str, Callable[[], nn.Module]] = {
    "another class": Doubled,
    "a forward of its own": with_own_forward,
    "a weight of its own": with_a_weight_of_its_own,
    "a hook": with_a_hook,
    "pruned": pruned,
    "parametrized": parametrized,
    "shared": shared,
    "a function mode": lambda: Within(nn.ReLU(), Mode),
    "autocast": lambda: Within(nn.Conv2d(8, 8, 3), lambda: torch.autocast("cpu", torch.bfloat16)),
    "cuDNN off": lambda: Within(nn.BatchNorm2d(8), lambda: torch.backends.cudnn.flags(enabled=False)),
    "vmap": lambda: Mapped(nn.Linear(6, 5)),
    "0 for 0.0": with_an_integer,
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_layer_in_another_state_runs(name: str, uncached: Callable[..., list[Any]]) -> None:
    """After layers of the same class have been cached."""
    for layer in layers().values():
        records(layer.eval())
    uncached(OTHERS[name]().eval())  # torch 2.6 makes tensors in the first vmap of a process
    expected = uncached(OTHERS[name]().eval())
    for _ in range(2):
        assert records(OTHERS[name]().eval()) == expected


def test_a_function_that_was_replaced_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other tools put in the place of torch's functions runs, for as long as it is there."""
    model = nn.Sequential(nn.ReLU()).eval()
    plain = records(model)
    with monkeypatch.context() as patch:
        patch.setattr(F, "relu", lambda x, inplace=False: x.sigmoid())
        assert [op for op, *_ in records(model)][:1] == ["aten.sigmoid.default"]
    with monkeypatch.context() as patch:
        patch.setattr(nn.ReLU, "forward", lambda self, x: x.tanh())
        assert [op for op, *_ in records(model)][:1] == ["aten.tanh.default"]
    assert records(model) == plain


def test_errors_are_raised_again() -> None:
    """A layer that fails is not answered from another's."""
    records(nn.Conv2d(8, 8, 3))
    for _ in range(2):
        with pytest.raises(costmodel.errors.ForwardError):
            records(nn.Conv2d(7, 8, 3))
        with pytest.raises(costmodel.errors.ForwardError):
            records(nn.Conv2d(8, 8, 3, stride=1.0))  # type: ignore[arg-type]
