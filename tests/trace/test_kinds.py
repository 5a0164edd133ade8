"""Modules that torch made, or that are called in other ways than most."""

from __future__ import annotations

from collections.abc import Callable

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


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
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


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_the_mode_of_a_scripted_module_is_put_back() -> None:
    """It is no attribute of the Python object."""
    model = nn.Sequential(torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.Dropout())))
    for training in (True, False):
        model.train(training)
        for mode in ("eval", "train"):
            costmodel.profile(model, (2, 4), mode=mode)
            assert {module.training for module in model.modules()} == {training}
