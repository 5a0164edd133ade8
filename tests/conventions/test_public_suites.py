"""The tools' own public tests, with what ``counted_as`` says in place of the tool's number.

The cases are written anew; figures are those that the tools' tests have:
torchinfo: github.com/TylerYep/torchinfo, tests/torchinfo_test.py and tests/test_output/*.out, of its main branch, which
prints more digits than 1.8.0; of v1.8.0 where main counts otherwise: the linear layer behind an LSTM (#318);
fvcore: github.com/facebookresearch/fvcore, tests/test_flop_count.py;
torch: github.com/pytorch/pytorch, test/test_flop_counter.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import costmodel

Shape = tuple[int, ...]


class Does(nn.Module):
    """A forward of one's own over layers that it holds."""

    def __init__(self, forward: Callable[..., Any], **layers: nn.Module | nn.Parameter) -> None:
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.does = forward

    def forward(self, *inputs: Any) -> Any:
        return self.does(self, *inputs)


# -- torchinfo -----------------------------------------------------------------------------------------------------


def digits() -> nn.Module:
    """Two convolutions and two linear layers for images of digits."""
    return nn.Sequential(
        nn.Conv2d(1, 10, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(10, 20, 5), nn.Dropout2d(0.3), nn.MaxPool2d(2),
        nn.ReLU(), nn.Flatten(), nn.Linear(320, 50), nn.ReLU(), nn.Linear(50, 10), nn.LogSoftmax(1),
    )  # fmt: skip


def two_branches() -> nn.Module:
    """A pair of linear layers for each of two inputs."""
    return Does(
        lambda m, x, y: torch.cat((m.b(F.relu(m.a(x))), m.d(F.relu(m.c(y)))), 0),
        a=nn.Linear(300, 50), b=nn.Linear(50, 10), c=nn.Linear(300, 50), d=nn.Linear(50, 10),
    )  # fmt: skip


def recursive() -> nn.Module:
    """One convolution, six times."""

    def forward(m: Any, x: Tensor) -> Tensor:
        for _ in range(6):
            x = m.conv(x)
        return x

    return Does(forward, conv=nn.Conv2d(64, 64, 3, 1, 1))


def lstm() -> nn.Module:
    """An embedding, two layers of an LSTM, a decoder."""

    def forward(m: Any, x: Tensor) -> tuple[Tensor, Any]:
        out, states = m.encoder(m.embedding(x))
        return m.decoder(out).view(-1, 20), states

    encoder = nn.LSTM(300, 512, num_layers=2)
    return Does(forward, embedding=nn.Embedding(20, 300), encoder=encoder, decoder=nn.Linear(512, 20))


def siamese() -> nn.Module:
    """Two images through the same convolutions."""
    pool = nn.MaxPool2d(2, 2)
    convs = nn.ModuleList([nn.Conv2d(1, 64, 10), nn.Conv2d(64, 128, 7), nn.Conv2d(128, 128, 4), nn.Conv2d(128, 256, 4)])

    def features(m: Any, x: Tensor) -> Tensor:
        for conv in m.convs:
            x = m.pool(F.relu(conv(x)))
        first: Tensor = m.fc1(x.flatten(1))
        return first

    def forward(m: Any, x: Tensor, y: Tensor) -> Tensor:
        return torch.sigmoid(m.fc2(m.drop(torch.abs(features(m, x) - features(m, y)))))

    return Does(forward, pool=pool, convs=convs, fc1=nn.Linear(256, 4096), fc2=nn.Linear(4096, 1), drop=nn.Dropout())


def container() -> nn.Module:
    """A list of layers, whose second calls its sequence as a whole and layer by layer."""

    def inner(m: Any, x: Tensor) -> Tensor:
        x = m.between(m.sequence(x))
        for layer in m.sequence:
            x = layer(x)
        x = m.sequence(x)
        for layer in m.sequence:
            x = layer(x)
        return x

    child = Does(inner, sequence=nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 5)), between=nn.Linear(5, 5))

    def forward(m: Any, x: Tensor) -> Tensor:
        for layer in m.layers:
            x = layer(x)
        return x

    return Does(forward, layers=nn.ModuleList([nn.Linear(5, 5), child, nn.Linear(5, 5)]))


def autoencoder() -> nn.Module:
    """A pool whose indices an unpooling takes by keyword."""

    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.encoder(x)
        y, indices = m.pool(x)
        decoded: Tensor = m.decode(m.unpool(y, indices=indices, output_size=x.size()))
        return decoded

    return Does(
        forward,
        encoder=nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU()), pool=nn.MaxPool2d(2, 2, return_indices=True),
        unpool=nn.MaxUnpool2d(2, 2), decode=nn.Sequential(nn.Conv2d(16, 3, 3, padding=1), nn.ReLU()),
    )  # fmt: skip


def reused_linear() -> nn.Module:
    """One linear layer in four places."""
    layer = nn.Linear(10, 10)
    return nn.Sequential(*[layer, nn.ReLU()] * 4)


def reused_relu() -> nn.Module:
    """One activation behind four convolutions."""
    relu = nn.ReLU()
    blocks: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(4, 1, 1), nn.BatchNorm2d(1), relu]
    for n in (1, 2, 4):
        blocks += [nn.Conv2d(n, 2 * n, 1, stride=2, padding=1), nn.BatchNorm2d(2 * n), relu]
    return nn.Sequential(*blocks)


def own_parameters(out: int = 0) -> nn.Module:
    """A product with a parameter that no layer has, and a linear layer or none."""
    parameters = {"a": nn.Parameter(torch.ones(128, 64)), "b": nn.Parameter(torch.ones(64))}
    if not out:
        return Does(lambda m, x: torch.mm(x, m.a) + m.b, **parameters)
    return Does(lambda m, x: m.fc2(torch.mm(x, m.a) + m.b), **parameters, fc2=nn.Linear(64, out))


def pruned() -> nn.Module:
    """Half of what is left of every weight is pruned, of those that are neither bias nor of the first layer."""
    from torch.nn.utils import prune

    model = digits()
    for layer in model:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            prune.l1_unstructured(layer, "weight", 0.5)
    return model


def ids(*shape: int) -> Tensor:
    """Indices of an embedding."""
    return torch.zeros(shape, dtype=torch.int64)


TORCHINFO: dict[str, tuple[Callable[[], nn.Module], Any, int, str]] = {
    "single_input": (digits, (2, 1, 28, 28), 21_840, "975.20 k"),
    "string_result": (digits, (16, 1, 28, 28), 21_840, "7.80 M"),
    "formatting_options": (digits, (16, 1, 28, 28), 21_840, "7801600"),
    "input_tensor": (digits, (5, 1, 28, 28), 21_840, "2.44 M"),
    "batch_size_optimization": (digits, (1, 1, 28, 28), 21_840, "487.60 k"),
    "single_linear_layer": (lambda: nn.Linear(2, 5), (1, 2), 15, "15"),
    "multiple_input_types": (two_branches, [(1, 300), (1, 300)], 31_120, "31.12 k"),
    "pruning": (pruned, (16, 1, 28, 28), 10_965, "3.96 M"),
    "recursive": (recursive, (1, 64, 28, 28), 36_928, "173.71 M"),
    "lstm": (lstm, ids(1, 100), 3_784_580, "376.85 M"),
    "lstm_custom_batch_size": (lstm, ids(100, 1), 3_784_580, "378.46 M"),
    "siamese_net": (siamese, [(1, 1, 88, 88)] * 2, 2_251_585, "1.06 G"),
    "container": (container, (1, 5), 150, "330"),
    "autoencoder": (autoencoder, (1, 3, 64, 64), 883, "3.62 M"),
    "too_many_linear": (reused_linear, (2, 10), 110, "880"),
    "too_many_relus": (reused_relu, (4, 4, 64, 64), 91, "155.54 k"),
    "custom_parameter": (
        lambda: Does(lambda m, x: m.weight, weight=nn.Parameter(torch.ones(4, 8))), (1,), 32, "128"
    ),
    "pruned_adversary": (
        lambda: Does(lambda m, x: m.weight_orig, weight_orig=nn.Parameter(torch.ones(4, 8))), (1,), 32, "1024"
    ),
    "parameters_with_other_layers": (lambda: own_parameters(32), (3, 128), 10_336, "6.24 k"),
    "parameters_with_other_layers, without one": (own_parameters, (3, 128), 8_256, "0"),
}  # fmt: skip
"""By the name of the recorded output: the model, its input, parameters and mult-adds as they are printed."""


@pytest.mark.parametrize("name", TORCHINFO)
def test_torchinfo(name: str) -> None:
    """Parameters to the integer, mult-adds to the last printed digit."""
    make, inputs, params, printed = TORCHINFO[name]
    model = make().eval()
    found = costmodel.profile(model, inputs).counted_as("torchinfo")
    number, _, unit = printed.partition(" ")
    divisor = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}[unit]
    assert (found.params, f"{found.total / divisor:.{2 if unit else 0}f}") == (params, number)


# -- fvcore --------------------------------------------------------------------------------------------------------


def three_layers() -> nn.Module:
    """A convolution, a pool and two linear layers."""
    return nn.Sequential(nn.Conv2d(2, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3), nn.Linear(3, 1))


def function(forward: Callable[..., Any]) -> Callable[[], nn.Module]:
    """A module that is a function of its inputs."""
    return lambda: Does(lambda m, *inputs: forward(*inputs))


FVCORE: dict[str, tuple[Callable[[], nn.Module], Any, int]] = {
    "linear": (lambda: nn.Linear(10, 20), (5, 10), 5 * 10 * 20),
    "linear of three dimensions": (lambda: nn.Linear(10, 20), (5, 5, 10), 5 * 5 * 10 * 20),
    "sigmoid is skipped": (lambda: nn.Sequential(nn.Linear(5, 4), nn.Sigmoid()), (10, 5), 10 * 5 * 4),
    "conv2d": (lambda: nn.Conv2d(10, 3, 3, 1, 1), (5, 10, 15, 15), 5 * 10 * 3 * 9 * 225),
    "conv2d, strided": (lambda: nn.Conv2d(10, 6, 3, 2, 1), (2, 10, 20, 20), 2 * 10 * 6 * 9 * 100),
    "conv2d of groups": (lambda: nn.Conv2d(16, 8, 5, 1, 2, groups=4), (5, 16, 15, 15), 5 * 16 * 8 * 25 * 225 // 4),
    "conv2d, depthwise": (lambda: nn.Conv2d(16, 8, 3, 1, 1, groups=8), (5, 16, 15, 15), 5 * 16 * 8 * 9 * 225 // 8),
    "conv1d": (lambda: nn.Conv1d(10, 3, 3, 1, 1), (5, 10, 15), 5 * 10 * 3 * 3 * 15),
    "conv3d": (lambda: nn.Conv3d(10, 3, 3, 1, 1), (5, 10, 15, 15, 15), 5 * 10 * 3 * 27 * 15**3),
    "transposed": (lambda: nn.ConvTranspose2d(10, 3, 3, 1, 1), (5, 10, 15, 15), 5 * 10 * 3 * 9 * 225),
    "transposed, strided": (lambda: nn.ConvTranspose2d(10, 3, 3, 2, 1), (5, 10, 15, 15), 5 * 10 * 3 * 9 * 225),
    "transposed, padded": (lambda: nn.ConvTranspose2d(10, 3, 3, 3, 1, 2), (5, 10, 15, 15), 5 * 10 * 3 * 9 * 225),
    "matmul": (function(torch.matmul), [(20, 10), (10, 100)], 20 * 10 * 100),
    "matmul, batch of one": (function(torch.matmul), [(1, 20, 10), (1, 10, 100)], 20 * 10 * 100),
    "matmul, batch of four": (function(torch.matmul), [(2, 2, 20, 10), (2, 2, 10, 100)], 4 * 20 * 10 * 100),
    "matmul, expanded": (function(torch.matmul), [(2, 20, 10), (10, 100)], 2 * 20 * 10 * 100),
    "mm": (function(torch.mm), [(3, 4), (4, 5)], 60),
    "bmm": (function(torch.bmm), [(2, 5, 2), (2, 2, 12)], 2 * 2 * 12 * 5),
    "einsum to ntp": (function(lambda a, b: torch.einsum("nct,ncp->ntp", a, b)), [(1, 5, 2), (1, 5, 12)], 2 * 12 * 5),
    "einsum to nct": (function(lambda a, b: torch.einsum("ntg,ncg->nct", a, b)), [(1, 2, 6), (1, 5, 6)], 2 * 6 * 5),
    "complicated einsum": (
        function(lambda a, b: torch.einsum("nc,nchw->hw", a, b)), [(3, 4), (3, 4, 2, 3)], 72
    ),
    "batch norm 1d": (lambda: nn.BatchNorm1d(10, affine=False).eval(), (10, 10), 10 * 10),
    "batch norm 2d, training": (lambda: nn.BatchNorm2d(10, affine=False), (10, 10, 5, 5), 4 * 10 * 10 * 25),
    "batch norm 3d, training": (lambda: nn.BatchNorm3d(10, affine=False), (10, 10, 5, 5, 5), 4 * 10 * 10 * 125),
    "batch norm, affine": (lambda: nn.BatchNorm2d(2).eval(), (2, 2, 2, 2), 32),
    "batch norm, affine, training": (lambda: nn.BatchNorm2d(2), (2, 2, 2, 2), 80),
    "group norm": (lambda: nn.GroupNorm(2, 2), (2, 2, 2, 2), 80),
    "group norm without weights": (lambda: nn.GroupNorm(2, 2, affine=False), (2, 2, 2, 2), 64),
    "upsample": (function(lambda x: F.interpolate(x, None, 2, "bilinear", False)), (2, 2, 2, 2), 2**4 * 4 * 4),
    "three layers": (three_layers, (4, 2, 10, 10), 4 * 5 * 2 * 100 + 4 * 5 * 100 + 4 * 5 * 3 + 4 * 3),
}  # fmt: skip
"""By what is tested: the model, its inputs, and the flops that the test expects."""


@pytest.mark.parametrize("name", FVCORE)
def test_fvcore(name: str) -> None:
    """To the integer."""
    make, inputs, flops = FVCORE[name]
    model = make()
    p = costmodel.profile(model, inputs, mode="train" if "training" in name else "eval")
    assert p.counted_as("fvcore").total == flops


# -- torch's FlopCounterMode ---------------------------------------------------------------------------------------


def variety(*x: Tensor) -> list[Tensor]:
    """Products of four spellings."""
    return [
        torch.mm(x[0], x[1]), torch.addmm(x[2], x[0], x[1], beta=0.5, alpha=0.5), torch.matmul(x[3], x[4]),
        torch.einsum("ab,bc->ac", x[4], x[5]), F.linear(x[6], x[7], x[8]),
    ]  # fmt: skip


def added(*x: Tensor) -> list[Tensor]:
    """What is added has the product's shape, or is expanded to it."""
    return [torch.addmm(bias, x[3], x[4]) for bias in x[:3]]


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


TORCH: dict[str, tuple[Callable[..., Any], list[Shape], int]] = {
    "variety": (
        variety, [(4, 5), (5, 6), (4, 6), (5, 6), (6, 7), (7, 8), (8, 9), (10, 9), (10,)], 3012
    ),
    "mm": (torch.mm, [(4, 5), (5, 6)], 240),
    "bmm": (torch.bmm, [(3, 4, 5), (3, 5, 6)], 720),
    "addmm": (added, [(4, 6), (4, 1), (6,), (4, 5), (5, 6)], 720),
    "baddbmm": (torch.baddbmm, [(3, 4, 6), (3, 4, 5), (3, 5, 6)], 720),
    "conv2d": (lambda x, w: F.conv2d(x, w, padding=1), [(2, 3, 6, 6), (6, 3, 4, 4)], 28_800),
    "conv1d": (lambda x, w: F.conv1d(x, w, padding=1), [(2, 3, 6), (6, 3, 4)], 1440),
    "cos": (torch.cos, [(4, 5)], 0),
}  # fmt: skip
"""By what is tested: the function, its inputs, and the FLOPs that the test expects."""


@pytest.mark.parametrize("name", TORCH)
def test_torchs_own(name: str) -> None:
    """To the integer."""
    forward, inputs, flops = TORCH[name]
    model = function(forward)()
    assert (
        costmodel.profile(model, inputs if len(inputs) > 1 else inputs[0]).counted_as("FlopCounterMode").total == flops
    )


@pytest.mark.parametrize(("keys", "flops"), [(128, 134_217_728), (256, 268_435_456)])
def test_attention_as_torch_counts_its_products(keys: int, flops: int) -> None:
    """In float16 on a GPU, masked or not; the CPU's fused kernel has a formula from torch 2.15 on."""
    from costmodel.machine import torch_release

    shapes = [costmodel.Input((4, 8, n, 64), torch.float16) for n in (128, keys, keys)]
    model = function(attention)()
    found = costmodel.profile(model, shapes).counted_as("FlopCounterMode")
    assert found.total == (flops if torch_release() > (2, 13) else 0)
    assert costmodel.profile(model, shapes).counted_as("deepspeed").total == flops
