"""Which layers a loss uses, and at which of their outputs gradients arrive: by autograd's graph, not by what ran."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import costmodel
from costmodel.training.check import step_check


class Unused(nn.Module):
    """Two layers, of which the loss uses one."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Any:
        """Both outputs."""
        return self.used(x), self.unused(x)


def first(output: Any) -> Tensor:
    """A loss of the first output alone."""
    loss: Tensor = output[0].exp().sum()
    return loss


def test_a_layer_that_the_loss_does_not_use_is_named() -> None:
    """It keeps what its forward keeps, and has no backward pass; every view says how many there are."""
    step = costmodel.training_step(Unused(), (2, 8), loss=first, optimizer=None)
    found = step.crosscheck()
    assert found.ok
    assert found.unreached == ("unused",)
    of_it = {c.quantity: c.traced for c in found.comparisons if c.name == "unused" and c.quantity != "output shape"}
    assert (of_it["backward macs"], of_it["backward memory access"], of_it["saved bytes"]) == (0, 0, 2 * 8 * 4)
    for text in (str(step), step.to_markdown(), step.to_html()):
        assert "he loss does not use 1 layer" in " ".join(text.split())


def test_a_layer_that_is_used_and_runs_nothing_disagrees() -> None:
    """What a trace has left out of a backward pass is not taken for what a loss does not use."""
    step = costmodel.training_step(nn.Sequential(nn.Linear(8, 8), nn.ReLU()), (2, 8), optimizer=None)
    layers = step.step_layers
    layers[0].backward.clear()
    layers[0].compared_traffic = 0
    found = step_check(step.record, step.forward.pricing, layers, step.coverage)
    assert {(c.name, c.quantity) for c in found.mismatches} == {
        ("0", f"backward {of}") for of in ("macs", "flops", "memory access")
    }
    assert not found.unreached


class Whole(torch.autograd.Function):
    """``x y``, whose backward pass gives ``x`` no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        """A product."""
        ctx.save_for_backward(x)
        return x * y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """``None`` for the first."""
        (x,) = ctx.saved_tensors
        return None, gradients[0] * x


class Withheld(Unused):
    """The second layer's output has no gradient, though autograd's graph leads to it."""

    def forward(self, x: Tensor) -> Any:
        """One tensor."""
        return (Whole.apply(self.unused(x), self.used(x)[:, :4]),)


class Overwritten(Unused):
    """Both layers' outputs, which are views of products, are written over before the loss sees them."""

    def forward(self, x: Tensor) -> Any:
        """Their sum."""
        a, b = self.used(x[:, None, :].expand(2, 3, 8).contiguous()), self.unused(x[:, None, :])
        a += 1
        b.mul_(2)
        return (a.sum() + b.sum(),)


class Views(nn.Module):
    """A layer that returns a view, which nobody uses, of what somebody does."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.parts = nn.Linear(8, 8), nn.Unflatten(1, (2, 4))

    def forward(self, x: Tensor) -> Any:
        """Both."""
        y = self.layer(x)
        return y, self.parts(y)


class InForward(Unused):
    """A gradient is computed in the forward, as an attack's, and the layer then has its output anew."""

    def forward(self, x: Tensor) -> Any:
        """Of the input moved along the gradient."""
        x = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(self.unused(x).sum(), x)
        return (self.used(x.detach() + slope),)


@pytest.mark.parametrize(
    ("model", "unreached"),
    [(Withheld(), ("unused",)), (Overwritten(), ()), (Views(), ("parts",)), (InForward(), ("unused",))],
    ids=lambda x: type(x).__name__ if isinstance(x, nn.Module) else "",
)
def test_where_gradients_arrive(model: nn.Module, unreached: tuple[str, ...]) -> None:
    """Not by a user's function that returns none; through what is written over, too; and in the step's own pass."""
    found = costmodel.training_step(model, (2, 8), loss=first, optimizer="sgd").crosscheck()
    assert found.ok, found.mismatches
    assert found.unreached == unreached


def test_a_file_knows_it(tmp_path: Path) -> None:
    """A step read back has the same cross-check."""
    step = costmodel.training_step(nn.LSTM(4, 4), (3, 2, 4), loss=LOSSES["h"], optimizer=None)
    path = tmp_path / "step.json"
    step.save(path)
    again = costmodel.read_json(path)
    assert isinstance(again, costmodel.TrainingStep)
    assert again.crosscheck().comparisons == step.crosscheck().comparisons


class Dropped(Unused):
    """The second layer's output is gone when the first layer runs."""

    def forward(self, x: Tensor) -> Any:
        """The first layer's."""
        self.unused(x.exp())
        return (self.used(x),)


def test_nothing_is_kept_for_what_nobody_uses() -> None:
    """As in a real run, what autograd has kept for a layer is freed with the layer's output."""
    graph = costmodel.training_step(Dropped(), (2, 8), loss=first, optimizer=None).graph
    (exp,) = (op for op in graph.ops if op.op == "aten.exp.default" and op.module == 0)
    freed = graph.storages[exp.outputs[0].storage].freed_after
    assert freed is not None
    assert freed <= exp.index + 2


# -- layers with several outputs --------------------------------------------------------------------------------------

LOSSES: dict[str, Callable[[Any], Any]] = {
    "y": lambda o: o[0].exp().sum(),
    "h": lambda o: o[1][0].exp().sum(),
    "c": lambda o: o[1][1].exp().sum(),
    "y h": lambda o: (o[0].exp().sum(), o[1][0].exp().sum()),
    "h c": lambda o: (o[1][0].exp().sum(), o[1][1].exp().sum()),
    "y h c": lambda o: (o[0].exp().sum(), o[1][0].exp().sum(), o[1][1].exp().sum()),
}
OLDER_ONEDNN = {"saved bytes"} if torch.__version__.startswith("2.6.") else set()
"""What differs of an LSTM where its workspace is that of oneDNN 3.5 (``module_database.txt``)."""


class Learnt(nn.Module):
    """An LSTM or a cell of one between factors that are learnt."""

    def __init__(self, layer: nn.Module, *shapes: tuple[int, ...]) -> None:
        super().__init__()
        self.layer, self.factor, self._shapes = layer, nn.Parameter(torch.ones(())), shapes

    def forward(self, x: Tensor) -> Any:
        """As the layer's, of an LSTM's output also where there is a cell."""
        states = tuple(torch.ones(shape) * self.factor for shape in self._shapes)
        found = self.layer(x * self.factor, states or None)
        return (None, found) if isinstance(self.layer, nn.LSTMCell) else found


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("projected", [0, 4])
@pytest.mark.parametrize("length", [1, 5])
def test_an_lstm(loss: str, projected: int, length: int) -> None:
    """Of one and two layers, in one and two directions, with states that are given and that are zeros."""
    for layers, both, given in ((1, False, False), (1, True, True), (2, False, True), (2, True, False)):
        layer = nn.LSTM(16, 8, layers, bidirectional=both, proj_size=projected)
        cells = layers * (1 + both)
        states = ((cells, 3, projected or 8), (cells, 3, 8)) if given else ()
        model = Learnt(layer, *states)
        found = costmodel.training_step(model, (length, 3, 16), loss=LOSSES[loss], optimizer=None).crosscheck()
        assert {c.quantity for c in found.mismatches} <= OLDER_ONEDNN, (layer, given, found.mismatches)


@pytest.mark.parametrize("loss", ["h", "c", "h c"])
@pytest.mark.parametrize("given", [False, True])
def test_a_cell(loss: str, *, given: bool) -> None:
    """Both of its states are outputs."""
    model = Learnt(nn.LSTMCell(16, 8), *([(3, 8)] * 2 if given else []))
    found = costmodel.training_step(model, (3, 16), loss=LOSSES[loss], optimizer=None).crosscheck()
    assert found.ok, found.mismatches
    assert any(c.quantity == "backward macs" for c in found.comparisons)
