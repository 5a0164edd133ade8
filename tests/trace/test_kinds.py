"""Modules that torch made, or that are called in other ways than most."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

import costmodel


class Doubled(nn.Module):
    """A layer that is called with other weights than its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """By way of torch.func."""
        y: torch.Tensor = functional_call(self.layer, {"weight": self.layer.weight * 2}, (x,))
        return y


class Labelled(nn.Module):
    """A layer with a label for torch's profiler."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Nothing but the label."""
        with torch.profiler.record_function("label"):
            y: torch.Tensor = self.layer(x)
        return y


class Follows(nn.Module):
    """A running mean, for TorchScript."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(4))
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The input and its mean so far."""
        self.mean = self.mean * 0.5 + x.mean(0)
        y: torch.Tensor = self.norm(x)
        return y + self.mean


class Checkpointed(nn.Module):
    """A layer that is called by torch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """By way of torch.utils.checkpoint."""
        y: torch.Tensor = checkpoint(self.layer, x, use_reentrant=False)
        return y


def compiled() -> nn.Module:
    """A layer that torch has put something in the slot of."""
    layer = nn.Linear(4, 4)
    layer.compile(backend="eager")
    return layer


KINDS: dict[str, Callable[[], nn.Module]] = {
    "jit.script": lambda: torch.jit.script(nn.Linear(4, 4)),
    "jit.trace": lambda: torch.jit.trace(nn.Linear(4, 4), torch.ones(2, 4)),
    "jit.freeze": lambda: torch.jit.freeze(torch.jit.script(nn.Linear(4, 4).eval())),
    "fx": lambda: torch.fx.symbolic_trace(nn.Sequential(nn.Linear(4, 4))),
    "weight_norm": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)),
    "compile": compiled,
    "torch.compile": lambda: torch.compile(nn.Linear(4, 4), backend="eager"),
    "DataParallel": lambda: nn.DataParallel(nn.Linear(4, 4)),
    "functional_call": Doubled,
    "record_function": Labelled,
    "checkpoint": Checkpointed,
}


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_module_is_traced_and_left_as_it_was(kind: str) -> None:
    """Its product is counted once, under its own name, and its attributes are as before."""
    model = nn.Sequential(KINDS[kind](), nn.Linear(4, 4))
    before = {name: dict(vars(module)) for name, module in model.named_modules()}
    p = costmodel.profile(model, (2, 4))
    assert p.macs == 2 * (2 * 4 * 4)
    assert p.crosscheck().ok
    assert p.is_exact
    assert list(p.modules.set_index("name")["macs"][["0", "1"]]) == [32, 32]
    assert costmodel.profile(model, (2, 4), mode="train").macs == p.macs
    after = {name: dict(vars(module)) for name, module in model.named_modules()}
    assert {name: list(own) for name, own in after.items()} == {name: list(own) for name, own in before.items()}
    assert all(value is after[name][key] for name, own in before.items() for key, value in own.items())


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_the_mode_of_a_scripted_module_is_put_back() -> None:
    """It is no attribute of the Python object."""
    model = nn.Sequential(torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.Dropout())))
    for training in (True, False):
        model.train(training)
        for mode in ("eval", "train"):
            costmodel.profile(model, (2, 4), mode=mode)
            assert {module.training for module in model.modules()} == {training}


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize(("mode", "execution"), [("eval", "meta"), ("train", "meta"), ("train", "real")])
def test_what_a_scripted_module_holds_is_put_back(mode: Any, execution: Any) -> None:
    """Its buffers lie in C++, and are written or replaced there."""
    model = torch.jit.script(Follows())
    before = {name: (buffer, buffer.clone()) for name, buffer in model.named_buffers()}
    costmodel.profile(model, (2, 4), mode=mode, execution=execution)
    for name, buffer in model.named_buffers():
        assert buffer is before[name][0]
        assert torch.equal(buffer, before[name][1])


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_convolution_as_torch_jit_traces_it() -> None:
    """It has the arguments of a back end with it, and costs what any convolution does."""
    traced = torch.jit.trace(nn.Conv2d(3, 4, 3), torch.ones(1, 3, 8, 8))
    p = costmodel.profile(traced, (1, 3, 8, 8))
    assert p.is_exact
    assert p.macs == 6 * 6 * 4 * 3 * 3 * 3


@pytest.mark.parametrize("where", ["forward", "function", "attribute"])
def test_what_is_compiled_is_compiled_afterwards(where: str) -> None:
    """torch.compile sees nothing of a profile, wherever in the model it is."""
    graphs = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    function = torch.compile(lambda x: x.relu() * 2, backend=backend)

    class Compiled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> Any:
            return function(self.layer(x)) if where == "function" else self.layer(x).relu()

    model = Compiled()
    if where == "attribute":
        model.forward = torch.compile(model.forward, backend=backend)  # type: ignore[method-assign]
    if where == "forward":
        Compiled.forward = torch.compile(Compiled.forward, backend=backend)  # type: ignore[method-assign]
    assert costmodel.profile(model, (2, 4)).macs == 32
    assert not graphs
    with torch.no_grad():
        model(torch.ones(2, 4))
    assert len(graphs) == 1


def test_an_exported_program() -> None:
    """Its ``train`` refuses."""
    model = torch.export.export(nn.Sequential(nn.Linear(4, 4), nn.ReLU()).eval(), (torch.ones(2, 4),)).module()
    p = costmodel.profile(model, (2, 4))
    assert p.is_exact
    assert p.macs == 32


def test_operators_that_take_functions() -> None:
    """What they run is seen: both ways of a condition are the model's, and one is taken."""

    class Conditional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> Any:
            return torch.cond(x.sum() > x.abs().sum(), lambda x: self.layer(self.layer(x)), self.layer, (x,))

    p = costmodel.profile(Conditional(), (2, 4))
    assert (p.execution, p.is_exact, p.macs) == ("real", True, 32)

    from torch.nn.attention.flex_attention import flex_attention

    class Flexible(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            return flex_attention(x, x, x, score_mod=lambda score, b, h, i, j: score + (i - j))

    with warnings.catch_warnings():  # torch 2.6 says nothing
        warnings.filterwarnings("ignore", "flex_attention called without torch.compile")
        p = costmodel.profile(Flexible(), (1, 2, 16, 8))
    assert (p.is_exact, p.macs) == (True, 2 * (2 * 16 * 16 * 8))
