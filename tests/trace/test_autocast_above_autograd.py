"""Autocast above autograd: a step on meta tensors casts where a real step on the CPU does, forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from costmodel.trace.above_autograd import above_autograd
from tests.trace._above import Log, assert_same, leaf


def bfloat16(**options: Any) -> torch.autocast:
    """Autocast as most use it."""
    return torch.autocast("cpu", torch.bfloat16, **options)


def convolutions() -> nn.Module:
    """A convolutional network with batch norm, a pool and a classifier."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, groups=4), nn.GroupNorm(2, 4), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Dropout(), nn.Linear(4, 5),
    )  # fmt: skip


def classify(model: nn.Module, device: str) -> Tensor:
    """Logits of two images, and their cross-entropy, which autocast computes in single precision."""
    return F.cross_entropy(model(leaf(device, 2, 3, 12, 12)), torch.zeros(2, dtype=torch.int64, device=device))


def test_convolutional_network() -> None:
    """Every convolution and product in bfloat16, norms and the loss in what they are given."""
    names = assert_same(convolutions, classify, bfloat16)
    assert names.index("aten._to_copy.default") < names.index("backward")


def test_float16() -> None:
    """The other dtype."""
    assert_same(convolutions, classify, lambda: torch.autocast("cpu", torch.float16))


def test_transformer() -> None:
    """Attention in bfloat16, layer norms in single precision."""

    def make() -> nn.Module:
        return nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)

    names = assert_same(make, lambda model, device: model(leaf(device, 2, 5, 8)).sum(), bfloat16)
    assert "aten.mkldnn_rnn_layer.default" not in names


LAYERS: list[type[nn.Module]] = [nn.GRU, nn.RNN]
if torch.ops.mkldnn._is_mkldnn_bf16_supported():  # without which torch refuses an LSTM
    LAYERS.append(nn.LSTM)


@pytest.mark.parametrize("kind", LAYERS)
def test_recurrent_layers(kind: type[nn.Module]) -> None:
    """A layer of an LSTM, or the products of each step, in bfloat16."""
    assert_same(lambda: kind(3, 4, 2, bidirectional=True), lambda m, d: m(leaf(d, 5, 2, 3))[0].float().sum(), bfloat16)


@pytest.mark.parametrize("cell", [nn.LSTMCell, nn.GRUCell])
def test_recurrent_cells(cell: type[nn.Module]) -> None:
    """A step: the CPU has autocast for its products, not for the cell."""

    def run(model: nn.Module, device: str) -> Tensor:
        y = model(leaf(device, 5, 3))
        return (y[0] if isinstance(y, tuple) else y).sum()

    assert_same(lambda: cell(3, 4), run, bfloat16)


class Blocks(nn.Module):
    """A weight used twice in a block, in a block within it, in a second block, and outside."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        with bfloat16():
            x = self.shared(self.shared(x))
            with bfloat16():
                x = self.shared(x)
            x = self.shared(x)
            with bfloat16(enabled=False):
                x = self.shared(x.float())
        with bfloat16():
            x = self.shared(x)
        with bfloat16():
            x = self.shared(x)
        with bfloat16(cache_enabled=False):
            x = self.shared(self.shared(x))
        return self.shared(x.float())


def test_weights_are_cast_once_in_a_block() -> None:
    """The outermost block's end forgets them, whether or not an op runs before the next; a cache may be off."""
    names = assert_same(Blocks, lambda model, device: model(leaf(device, 2, 4)).sum())
    forward = names[: names.index("backward")]
    # Weight and bias: once in each of the first three blocks, twice in the last. The input: to bfloat16 for the first
    # product, and to single precision where autocast is off, and back after it.
    assert forward.count("aten._to_copy.default") == 2 * (1 + 1 + 1 + 2) + 1 + 2 + 1


def test_turned_on_without_a_block() -> None:
    """``torch.set_autocast_enabled`` turns it on, and nothing ends a block."""

    def run(model: nn.Module, device: str) -> Tensor:
        torch.set_autocast_enabled("cpu", True)
        try:
            y: Tensor = model(model(leaf(device, 2, 4)))
        finally:
            torch.set_autocast_enabled("cpu", False)
            torch.clear_autocast_cache()
        return y.sum()

    assert_same(lambda: nn.Linear(4, 4), run)


def test_frozen_weights_are_cast_each_time() -> None:
    """Only what needs a gradient is kept."""
    names = assert_same(lambda: nn.Linear(4, 4).requires_grad_(False), lambda m, d: m(m(leaf(d, 2, 4))).sum(), bfloat16)
    assert names.count("aten._to_copy.default") >= 5


def test_backward_within_the_block() -> None:
    """What is called in a block runs in it, products of the gradients too."""

    def run(model: nn.Module, device: str) -> Tensor:
        with bfloat16():
            model(leaf(device, 2, 4)).sum().backward()
            return model(leaf(device, 2, 4)).sum()  # type: ignore[no-any-return]

    assert_same(lambda: nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)), run)


class Doubled(torch.autograd.Function):
    """A function of the user's, with products, in bfloat16 as its caller."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu")
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        """A product."""
        ctx.save_for_backward(x, weight)
        return torch.mm(x, weight)

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        """Products, in the autocast of the forward."""
        x, weight = ctx.saved_tensors
        return torch.mm(g, weight.t()), torch.mm(x.t(), g)


class Single(torch.autograd.Function):
    """The same in single precision, which casts its inputs."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        """A product."""
        ctx.save_for_backward(x, weight)
        return torch.mm(x, weight)

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        """Products, without autocast."""
        x, weight = ctx.saved_tensors
        return torch.mm(g, weight.t()), torch.mm(x.t(), g)


@pytest.mark.parametrize("function", [Doubled, Single])
def test_functions_of_the_user(function: type[torch.autograd.Function]) -> None:
    """``custom_fwd`` and ``custom_bwd`` find autocast as in a real run."""

    def run(model: nn.Module, device: str) -> Tensor:
        with bfloat16():
            y: Tensor = function.apply(model(leaf(device, 4, 4)), model.weight)  # type: ignore[no-untyped-call]
        return y.float().sum()

    assert_same(lambda: nn.Linear(4, 4), run)


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpoints(use_reentrant: bool) -> None:
    """What is computed again is cast again, in a block of its own."""
    # The first one in a process imports torch's compiler, which runs ops.
    checkpoint(torch.sin, torch.ones(1, requires_grad=True), use_reentrant=use_reentrant)

    def run(model: nn.Module, device: str) -> Tensor:
        x = leaf(device, 2, 4)
        with bfloat16():
            y: Tensor = checkpoint(model, model[0](x), use_reentrant=use_reentrant)  # type: ignore[index]
        return y.float().sum()

    assert_same(lambda: nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 4)), run)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, y: torch.cat([x.bfloat16(), y]), lambda x, y: torch.stack([x, y.bfloat16()]),
        lambda x, y: F.mse_loss(x.bfloat16(), y), lambda x, y: torch.matmul(x, y.t()).softmax(-1),
        lambda x, y: F.interpolate(x.bfloat16()[None, None], scale_factor=2), lambda x, y: torch.einsum("ij,kj", x, y),
        lambda x, y: F.prelu(x, y[0, :1]), lambda x, y: torch.addmm(x, y, y), lambda x, y: torch.cdist(x, y.bfloat16()),
        lambda x, y: F.binary_cross_entropy(x.bfloat16().sigmoid(), torch.ones_like(y)),
    ],
)  # fmt: skip
def test_policies(function: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Ops that compute in bfloat16, in single precision, or in the widest dtype that they are given."""
    assert_same(nn.Identity, lambda _, d: function(leaf(d, 4, 4), leaf(d, 4, 4)).float().sum(), bfloat16)


# -- CUDA, whose autocast has other policies -----------------------------------------------------------------------


def dtypes_on_cuda(run: Callable[[], Tensor]) -> tuple[torch.dtype, list[str]]:
    """The dtype of a result in autocast for CUDA, to float16, and the ops that ran."""
    torch.set_autocast_enabled("cuda", True)  # a block would not without a GPU
    try:
        with above_autograd("cuda"), Log() as log:
            dtype = run().dtype
    finally:
        torch.set_autocast_enabled("cuda", False)
        torch.clear_autocast_cache()
    return dtype, [name for name, _ in log.ops]


def test_autocast_for_cuda() -> None:
    """Its dtype is float16; sums, powers and softmax are in single precision; the CPU's autocast does nothing to it."""
    x = leaf("meta", 4, 4)
    assert dtypes_on_cuda(lambda: torch.mm(x, x))[0] is torch.float16
    assert dtypes_on_cuda(lambda: torch.mm(x, x).softmax(-1))[0] is torch.float32
    assert dtypes_on_cuda(lambda: torch.mm(x, x).sum())[0] is torch.float32
    with bfloat16():
        assert dtypes_on_cuda(lambda: torch.mm(x, x))[0] is torch.float16
    with above_autograd("cuda"), bfloat16():
        assert torch.mm(x, x).dtype is torch.float32
    with pytest.raises(RuntimeError, match=r"binary_cross_entropy.* is unsafe to autocast"):
        dtypes_on_cuda(lambda: F.binary_cross_entropy(x, x))
