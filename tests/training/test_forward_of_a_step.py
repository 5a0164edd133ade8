"""The forward of a training step moves more than one by itself: what it makes for the backward pass, for instance.

Figures are worked out by hand from the kernels that torch runs; that it runs those is held to real forwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import costmodel


class Learnt(nn.Module):
    """A layer of inputs that are learnt, or not, as torch.no_grad has it or as all before it is frozen."""

    def __init__(self, layer: nn.Module, way: str, view: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.layer, self.factor, self._way, self._view = layer, nn.Parameter(torch.ones(())), way, view
        layer.requires_grad_(way == "learnt")

    def forward(self, *given: Tensor) -> Tensor:
        """The layer's output, times what is learnt."""
        if self._way == "learnt":
            given = tuple(x * self.factor if x.is_floating_point() else x for x in given)
        if self._view is not None:
            given = (self._view(given[0]),)
        with torch.set_grad_enabled(self._way != "no grad"):
            y: Any = self.layer(*given)
        return (y if isinstance(y, Tensor) else y[0]).exp() * self.factor


class Seen(TorchDispatchMode):
    """Notes which ops run, and between which shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.ops: list[tuple[str, list[tuple[int, ...]]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the op."""
        result = func(*args, **(kwargs or {}))
        made = [tuple(y.shape) for y in torch.utils._pytree.tree_leaves(result) if isinstance(y, Tensor)]
        self.ops.append((str(func).replace("_.", "."), made))
        return result


WAYS = ("learnt", "frozen", "no grad")
ids = costmodel.Input((15,), "int64")
N = 2 * 3 * 8
LAYERS: list[tuple[nn.Module, tuple[Any, ...], int, int]] = [
    # layer, inputs, elements moved where its inputs are learnt, and where nothing is
    (nn.MaxPool1d(2), ((2, 3, 8),), N + N, N + N),  # x, and half of N each: y, indices
    (nn.MaxPool2d(2), ((2, 3, 8, 8),), 8 * N + 4 * N, 8 * N + 4 * N),
    (nn.MaxPool3d(2), ((2, 3, 8, 8, 8),), 64 * N + 16 * N, 64 * N + 16 * N),
    (nn.AdaptiveMaxPool2d(2), ((2, 3, 8, 8),), 8 * N + 2 * 24, 8 * N + 2 * 24),
    (nn.Dropout(), ((2, 3, 8),), 6 * N, 6 * N),  # a mask is drawn, and divided; a product
    (nn.Dropout(inplace=True), ((2, 3, 8),), 6 * N, 6 * N),
    (nn.LogSigmoid(), ((2, 3, 8),), 3 * N, 3 * N),  # x, y, exp(-|x|)
    (nn.InstanceNorm1d(3), ((2, 3, 8),), 2 * N + 2 * 6, 2 * N + 2 * 6),  # x, y, statistics of 6 rows
    # Besides, repeated for each sample and read: weight, bias, both averages; of the latter those of each sample,
    # written, their mean, which reads them, and its copy.
    (
        nn.InstanceNorm1d(3, affine=True, track_running_stats=True), ((2, 3, 8),),
        2 * N + 12 + 4 * (3 + 6 + 6) + 2 * (6 + 6 + 3 + 6), 2 * N + 12 + 4 * (3 + 6 + 6) + 2 * (6 + 6 + 3 + 6),
    ),
    # Squares, means of 6 rows, eps, roots, products with both.
    (nn.RMSNorm(8), ((2, 3, 8),), 2 * N + (N + 6) + 12 + 12 + (2 * N + 6) + (2 * N + 8), 380),
    # Zeros, margin, difference, its maximum with 0 (in its place, so that it is copied), two choices with their
    # conditions, a sum, a mean.
    (nn.HingeEmbeddingLoss(), ((10,), (10,)), 22 * 10 + 11 + 20, 22 * 10 + 11),
    (nn.MarginRankingLoss(), ((50,), (50,), (50,)), 12 * 50 + 51 + 100, 12 * 50 + 51),
    # Two distances (a difference, eps, a norm), margin, their difference, its maximum with 0, a mean.
    (nn.TripletMarginLoss(), ((3, 8),) * 3, 2 * (72 + 48 + 27) + 6 + 9 + 6 + 4, 319),
    (nn.MultiLabelSoftMarginLoss(), ((5, 10), (5, 10)), 1021 + 100, 1021 + 100),  # log sigmoids, twice
    (nn.Bilinear(3, 4, 5), ((2, 3), (2, 4)), 6 + 8 + 60 + 10 + 25, 6 + 8 + 60 + 10 + 25),  # a product; its bias
    (nn.CircularPad1d((1, 2)), ((2, 3, 8),), 2 * N + 2 * 18, 2 * N + 2 * 18),  # the middle, and both sides
    # A state of zeros, products of the input and of the state; their sum and its tanh.
    (nn.RNNCell(3, 4), ((2, 3),), 8 + 30 + 36 + 24 + 16, 8 + 30 + 36 + 24 + 16),
    # Likewise; four gates in place, f c + i g, tanh(c), o tanh(c).
    (nn.LSTMCell(3, 4), ((2, 3),), 8 + 102 + 120 + 96 + 64 + 72 + 16 + 24, 8 + 102 + 120 + 96 + 64 + 72 + 16 + 24),
    # A sum and a sigmoid in place for each of r and z; r times its half, a sum and a tanh; (h - n) z + n. For gradients
    # of r and z, what each is multiplied to in place is copied before.
    (nn.GRUCell(3, 4), ((2, 3),), 8 + 78 + 92 + 27 * 8 + 4 * 8, 8 + 78 + 92 + 27 * 8),
    # The input's product of all steps at once; what they show in one, and the last state.
    (nn.GRU(3, 4), ((5, 2, 3),), 8 + 198 + 5 * (92 + 31 * 8) + 80 + 16, 8 + 198 + 5 * (92 + 27 * 8) + 80 + 16),
    # Zeros; x, weights, biases, states, y, states by one kernel; both last states.
    (nn.LSTM(3, 4), ((5, 2, 3),), 16 + 30 + 112 + 32 + 16 + 40 + 16 + 32, 16 + 30 + 112 + 32 + 16 + 40 + 16 + 32),
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("layer", "shapes", "learnt", "frozen"), LAYERS, ids=lambda x: type(x).__name__)
def test_what_a_forward_moves(layer: nn.Module, shapes: Any, learnt: int, frozen: int, way: str) -> None:
    """By both derivations, whether a gradient is asked for or not; torch's own forward runs the same kernels."""
    model = Learnt(layer, way)
    step = costmodel.training_step(model, costmodel.call(*shapes), optimizer=None)
    checks = step.crosscheck().comparisons
    (moved,) = (c for c in checks if c.name.startswith("layer") and c.quantity == "memory_access")
    expected = learnt if way == "learnt" else frozen
    assert (moved.closed_form, moved.traced) == (expected, expected)
    # The workspace of the oneDNN of torch 2.6 has two states more (module_database.txt).
    others = {"saved bytes"} if isinstance(layer, nn.LSTM) and torch.__version__.startswith("2.6") else set()
    assert {c.quantity for c in checks if not c.agree} <= others
    inside = {i for i, call in enumerate(step.graph.calls) if call.name.startswith("layer")}
    traced = [op for op in step.forward.graph.ops if op.module in inside]
    with Seen() as seen, torch.set_grad_enabled(way != "no grad"):
        layer(*(torch.rand(shape).requires_grad_(way == "learnt") * 1.0 for shape in shapes))
    assert _kernels((op.op, [y.shape for y in op.outputs]) for op in traced) <= _kernels(seen.ops)


IN_PLACE = {
    # elements moved where the input is learnt, by those that keep it (x is copied, and read and written) or the result
    4 * N: (
        nn.ReLU6(True), nn.Hardtanh(inplace=True), nn.SiLU(True), nn.Mish(True), nn.Hardswish(True),
        nn.Hardsigmoid(True), nn.Threshold(0.1, 20, True),
    ),
    2 * N: (
        nn.ReLU(True), nn.LeakyReLU(inplace=True), nn.ELU(inplace=True), nn.SELU(True), nn.CELU(inplace=True),
        nn.CELU(2.0, inplace=True), nn.ELU(2.0, inplace=True),
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("moved", "layer"), [(moved, x) for moved, layers in IN_PLACE.items() for x in layers], ids=lambda x: str(x)
)
def test_activations_in_place(moved: int, layer: nn.Module, way: str) -> None:
    """What its gradient needs of an input is copied before it is written over, where one is asked for."""
    found = costmodel.training_step(Learnt(layer, way), (2, 3, 8), optimizer=None).crosscheck()
    (check,) = (c for c in found.comparisons if c.name == "layer" and c.quantity == "memory_access")
    expected = moved if way == "learnt" else 2 * N
    assert (check.closed_form, check.traced) == (expected, expected)
    assert found.ok, found.mismatches


def _kernels(ops: Any) -> set[tuple[str, str]]:
    """Those that make something, whether in place or not."""
    views = ("view", "alias", "detach", "unsqueeze", "squeeze", "empty")
    found = ((op.replace("_.", ".").split(".")[1], str(made)) for op, made in ops)
    return {(op, made) for op, made in found if not any(view in op for view in views)}


VIEWS: dict[str, tuple[tuple[int, ...], Callable[[Tensor], Tensor], int, int]] = {
    # shape, view, and how many elements the layer of 8 to 6 features, with 48 weights and 6 biases, moves: learnt, not
    "whole": ((2, 5, 8), lambda x: x, 80 + 54 + 60, 80 + 54 + 60),
    "matrix": ((8, 5), lambda x: x.t(), 40 + 54 + 30, 40 + 54 + 30),
    "even rows": ((2, 3, 16), lambda x: x[:, :, :8], 48 + 54 + 36 + 2 * 36, 48 + 54 + 36 + 2 * 36),
    "one row each": ((2, 5, 8), lambda x: x[:, :1], 16 + 54 + 12 + 2 * 12, 16 + 54 + 12 + 2 * 12),
    "uneven rows": ((2, 5, 8), lambda x: x[:, 1:3], 32 + 54 + 24 + 2 * 24 + 2 * 32, 32 + 54 + 24 + 2 * 24),
    "transposed": ((2, 8, 5), lambda x: x.transpose(1, 2), 80 + 54 + 60 + 120 + 160, 80 + 54 + 60 + 120),
    "images": ((2, 8, 3, 5), lambda x: x.permute(0, 2, 3, 1), 240 + 54 + 180 + 360 + 480, 240 + 54 + 180 + 360 + 480),
    "vector": ((8, 5), lambda x: x[:, 0], 8 + 54 + 6 + 12, 8 + 54 + 6 + 12),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("view", VIEWS)
def test_a_linear_layer_of_a_part(view: str, way: str) -> None:
    """Its bias is added by itself; rows at uneven distances are copied for the weight's gradient, matrices always."""
    shape, part, learnt, frozen = VIEWS[view]
    found = costmodel.training_step(Learnt(nn.Linear(8, 6), way, part), shape, optimizer=None).crosscheck()
    (moved,) = (c for c in found.comparisons if c.name == "layer" and c.quantity == "memory_access")
    expected = learnt if way == "learnt" else frozen
    assert (moved.closed_form, moved.traced) == (expected, expected)
    assert found.ok, found.mismatches


@pytest.mark.parametrize("layer", [nn.Linear(8, 8), nn.MultiheadAttention(8, 2, batch_first=True)])
def test_a_weight_that_requires_a_gradient_where_autograd_is_off(layer: nn.Module) -> None:
    """Rows are copied for it all the same: torch looks at the weight alone."""

    class Off(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.factor = layer, nn.Parameter(torch.ones(()))

        def forward(self, x: Tensor) -> Tensor:
            """Times what is learnt."""
            with torch.no_grad():
                y = self.layer(x.transpose(0, 1)) if isinstance(self.layer, nn.Linear) else self.layer(x, x, x)[0]
            return y * self.factor

    found = costmodel.training_step(Off(), (2, 5, 8), optimizer=None).crosscheck()
    assert found.ok, found.mismatches


def test_a_frozen_backbone() -> None:
    """Its pools make indices and its dropout a mask, though nobody needs them."""
    net = costmodel.models.build("alexnet")
    for parameter in list(net.parameters())[:-2]:
        parameter.requires_grad_(False)
    found = costmodel.training_step(net, (2, 3, 224, 224), optimizer="sgd").crosscheck()
    assert found.ok, found.mismatches


def test_a_check_has_the_name_of_what_it_is_of() -> None:
    """Of a step, and of its forward, whose kind of profile compares with closed forms of its own."""
    step = replace(costmodel.training_step(nn.Linear(2, 2), (1, 2), optimizer="sgd"), name="mine")
    assert (step.crosscheck().model, step.forward.crosscheck().model, step.backward.crosscheck().model) == ("mine",) * 3
