"""Small modules of every kind that a counter meets, each with its inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import prune


class Products(nn.Module):
    """Products of every spelling."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(8, 8))

    def forward(self, x: Tensor) -> Tensor:
        y = x @ self.weight
        y = torch.matmul(y, self.weight).bmm(y.transpose(1, 2))
        y = torch.baddbmm(y, y, y)
        z = torch.mm(x[0], self.weight) + torch.addmm(x[0], x[0], self.weight)
        return y.sum() + F.linear(z, self.weight)


class Einsum(nn.Module):
    """An einsum of an equation."""

    def __init__(self, equation: str) -> None:
        super().__init__()
        self.equation = equation

    def forward(self, *tensors: Tensor) -> Tensor:
        return torch.einsum(self.equation, *tensors)


class Attention(nn.Module):
    """Fused attention without a module, masked."""

    def forward(self, x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x, x, x, is_causal=True)


class Unused(nn.Module):
    """A layer whose output is thrown away, and one that is written in place."""

    def __init__(self) -> None:
        super().__init__()
        self.kept, self.thrown = nn.Linear(8, 4), nn.Linear(8, 16)

    def forward(self, x: Tensor) -> Tensor:
        self.thrown(x)
        y = self.kept(x)
        y[:, :2].add_(1)
        return y


class Functional(nn.Module):
    """A convolution, norms and activations that no module makes."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 3, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(F.conv2d(x, self.weight, padding=1))
        y = F.layer_norm(y, y.shape[1:])
        y = F.interpolate(y, scale_factor=2.0, mode="bilinear")
        y = F.adaptive_avg_pool2d(F.softmax(y, 1), (2, 2))
        return F.gelu(torch.add(torch.mul(y, 2), y))


class Shared(nn.Module):
    """One layer that is called twice, and held by three names; a frozen parameter; one that no layer has."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(8, 8)
        self.b = nn.Sequential(self.a, nn.ReLU())
        self.again = self.a
        self.frozen = nn.Linear(8, 4).requires_grad_(False)
        self.scale = nn.Parameter(torch.ones(8))

    def forward(self, x: Tensor) -> Tensor:
        return self.frozen(self.b(self.a(x)) * self.scale)


class Network(nn.Module):
    """Pools, resizing, a product and attention behind a convolution, for tools that want parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.pools = nn.Sequential(nn.MaxPool2d(2), nn.AvgPool2d(3, 1, 1), nn.ReLU())
        self.resize = nn.Sequential(nn.Upsample(scale_factor=2), nn.Upsample(size=(6, 5)))
        self.transposed = nn.ConvTranspose2d(4, 2, 3, groups=2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.transposed(self.resize(self.pools(self.conv(x))))
        z = F.scaled_dot_product_attention(y, y, y) + torch.einsum("abcd,abde->abce", y, y.transpose(2, 3))[..., :1]
        return F.adaptive_avg_pool2d(torch.add(z, torch.mul(y, y[0, 0, 0])), 2) @ z[..., :2, :]


class ByKeyword(nn.Module):
    """A pool whose size is given by the name that torch has for it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(self.conv(x), output_size=2)


class Packed(nn.Module):
    """A recurrent layer of sequences of two lengths, packed."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([5, 3]))
        y: Tensor = self.layer(packed)[0].data
        return y


class Biased(nn.Module):
    """Attention with a mask that is learned, as T5's positions, with one that is not, and with a part of both."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Embedding(5, 4)
        self.register_buffer("mask", torch.zeros(5, 5))

    def forward(self, x: Tensor) -> Tensor:
        learned = self.bias(torch.zeros(5, 5, dtype=torch.int64)).permute(2, 0, 1)[None]
        y = F.scaled_dot_product_attention(x, x, x, learned + self.mask)
        y = F.scaled_dot_product_attention(y, x, x, self.mask)
        return F.scaled_dot_product_attention(y, x, x, learned.detach().expand(2, 4, 5, 5))


class Entered(nn.Module):
    """A list of layers, which is no call itself, with another layer's call between those of its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])
        self.act = nn.Sequential(nn.Linear(8, 8), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers[1](self.act(self.layers[0](x)))
        return y


def normed(layer: nn.Module) -> nn.Module:
    """A layer whose weight is computed, by torch's older function: its class stays as it is."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.utils.weight_norm(layer)


def spectral(layer: nn.Module) -> nn.Module:
    """A layer whose weight torch's older spectral norm computes: weight_orig is its parameter, without a mask."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.utils.spectral_norm(layer)


class Of(nn.Module):
    """A function of the input and a weight."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function, self.weight = function, nn.Parameter(torch.ones(8, 8))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.weight)


class LstmByKeyword(nn.Module):
    """A recurrent layer that is given its input by keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LSTM(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(input=x)[0]
        return y


class Odd(nn.Conv2d):
    """A class of one's own that is a convolution."""


SMALL: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "linear": (lambda: nn.Linear(8, 4), (2, 8)),
    "linear without bias": (lambda: nn.Linear(8, 4, bias=False), (2, 8)),
    "linear of a sequence": (lambda: nn.Linear(8, 4), (2, 5, 8)),
    "linear of an image": (lambda: nn.Linear(8, 4), (2, 3, 3, 8)),
    "conv1d": (lambda: nn.Conv1d(4, 8, 3, padding=1), (2, 4, 10)),
    "conv2d": (lambda: nn.Conv2d(4, 8, 3, stride=2), (2, 4, 10, 10)),
    "conv2d of groups": (lambda: nn.Conv2d(4, 8, 3, groups=2, bias=False), (2, 4, 10, 10)),
    "conv2d, padding same": (lambda: nn.Conv2d(4, 8, 3, padding="same"), (2, 4, 10, 10)),
    "conv2d, reflected": (lambda: nn.Conv2d(4, 8, 3, padding=1, padding_mode="reflect"), (2, 4, 10, 10)),
    "conv2d of a class of one's own": (lambda: Odd(4, 8, 3), (2, 4, 10, 10)),
    "conv3d": (lambda: nn.Conv3d(4, 8, 3), (1, 4, 5, 5, 5)),
    "transposed conv1d": (lambda: nn.ConvTranspose1d(4, 8, 3), (2, 4, 10)),
    "transposed conv2d of groups": (lambda: nn.ConvTranspose2d(4, 8, 3, stride=2, groups=2), (2, 4, 5, 5)),
    "batch norm": (lambda: nn.BatchNorm2d(4), (2, 4, 5, 5)),
    "batch norm without weights": (lambda: nn.BatchNorm2d(4, affine=False), (2, 4, 5, 5)),
    "batch norm of vectors": (lambda: nn.BatchNorm1d(4), (2, 4)),
    "layer norm": (lambda: nn.LayerNorm(8), (2, 5, 8)),
    "layer norm without weights": (lambda: nn.LayerNorm(8, elementwise_affine=False), (2, 5, 8)),
    "group norm": (lambda: nn.GroupNorm(2, 4), (2, 4, 5, 5)),
    "instance norm": (lambda: nn.InstanceNorm2d(4, affine=True), (2, 4, 5, 5)),
    "max pool": (lambda: nn.MaxPool2d(2), (2, 4, 6, 6)),
    "average pool": (lambda: nn.AvgPool2d(3, 2, padding=1), (2, 4, 7, 7)),
    "adaptive pool": (lambda: nn.AdaptiveAvgPool2d(3), (2, 4, 7, 7)),
    "adaptive pool to one": (lambda: nn.AdaptiveAvgPool2d(1), (2, 4, 6, 6)),
    "adaptive pool of one axis": (lambda: nn.AdaptiveAvgPool1d(2), (2, 4, 6)),
    "activations": (
        lambda: nn.Sequential(
            nn.ReLU(), nn.ReLU6(), nn.PReLU(), nn.ELU(), nn.LeakyReLU(), nn.GELU(), nn.SiLU(), nn.Softmax(1),
            nn.LogSoftmax(1), nn.Hardswish(), nn.Sigmoid(), nn.Dropout(),
        ),
        (2, 4, 5),
    ),
    "upsample": (lambda: nn.Upsample(scale_factor=2), (1, 3, 4, 4)),
    "upsample, bilinear": (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), (1, 3, 4, 4)),
    "bilinear": (lambda: nn.Bilinear(3, 4, 5), [(2, 3), (2, 4)]),
    "embedding": (lambda: nn.Embedding(10, 4), torch.zeros(2, 5, dtype=torch.int64)),
    "lstm": (lambda: nn.LSTM(8, 16, num_layers=2), (5, 2, 8)),
    "lstm with projections": (lambda: nn.LSTM(8, 16, proj_size=4), (5, 2, 8)),
    "gru, both directions": (lambda: nn.GRU(8, 16, bidirectional=True, batch_first=True), (2, 5, 8)),
    "rnn without bias": (lambda: nn.RNN(8, 16, bias=False), (5, 2, 8)),
    "cells": (lambda: nn.GRUCell(8, 16), (2, 8)),
    "lstm cell": (lambda: nn.LSTMCell(8, 16), (2, 8)),
    "rnn cell": (lambda: nn.RNNCell(8, 16), (2, 8)),
    "multi-head attention": (lambda: nn.MultiheadAttention(8, 2), [(5, 2, 8)] * 3),
    "multi-head attention, batch first": (lambda: nn.MultiheadAttention(8, 2, batch_first=True), [(2, 5, 8)] * 3),
    "transformer encoder layer": (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (2, 5, 8)),
    "transformer decoder layer": (lambda: nn.TransformerDecoderLayer(8, 2, 16), [(5, 2, 8), (3, 2, 8)]),
    "products": (Products, (2, 5, 8)),
    "attention": (Attention, (2, 4, 5, 8)),
    "einsum of a batch": (lambda: Einsum("bij,bjk->bik"), [(2, 3, 4), (2, 4, 5)]),
    "einsum of scores": (lambda: Einsum("bhqd,bhkd->bhqk"), [(2, 2, 3, 4), (2, 2, 5, 4)]),
    "einsum as fvcore knows it": (lambda: Einsum("abc,abd->acd"), [(2, 3, 4), (2, 3, 5)]),
    "einsum that is rounded": (lambda: Einsum("ij,jk->ik"), [(37, 41), (41, 43)]),
    "einsum of three": (lambda: Einsum("ij,jk,kl->il"), [(3, 4), (4, 5), (5, 6)]),
    "einsum without a sum": (lambda: Einsum("i,j->ij"), [(3,), (4,)]),
    "packed lstm": (lambda: Packed(nn.LSTM(8, 16, num_layers=2)), (5, 2, 8)),
    "packed gru": (lambda: Packed(nn.GRU(8, 16, bidirectional=True)), (5, 2, 8)),
    "a list that is entered twice": (Entered, (2, 8)),
    "masks": (Biased, (2, 4, 5, 8)),
    "weight-normed conv1d": (lambda: nn.Sequential(normed(nn.Conv1d(4, 8, 3, groups=2))), (2, 4, 10)),
    "parametrised conv1d": (
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv1d(4, 8, 3, groups=2))), (2, 4, 10)
    ),
    "spectral-normed linear": (lambda: spectral(nn.Linear(8, 4)), (2, 8)),
    "linear with a pruned bias": (lambda: prune.l1_unstructured(nn.Linear(8, 4), "bias", 0.5), (2, 8)),
    "pruned conv2d": (lambda: prune.l1_unstructured(nn.Conv2d(4, 8, 3), "weight", 0.5), (2, 4, 10, 10)),
    "pruned lstm": (lambda: prune.l1_unstructured(nn.LSTM(8, 16), "weight_hh_l0", 0.5), (5, 2, 8)),
    "out=": (lambda: Of(lambda x, w: torch.mm(x.detach(), w.detach(), out=torch.empty(5, 8))), (5, 8)),
    "matmul by keyword": (lambda: Of(lambda x, w: torch.matmul(input=x, other=w)), (5, 8)),
    "mm by keyword": (lambda: Of(lambda x, w: torch.mm(x, mat2=w)), (5, 8)),
    "baddbmm to a vector": (lambda: Of(lambda x, w: torch.baddbmm(w[0], x, x)), (2, 8, 8)),
    "linear by a vector": (lambda: Of(lambda x, w: F.linear(x, w[0]) + F.linear(x, w)[:, 0]), (5, 8)),
    "resized by two factors": (lambda: Of(lambda x, w: F.interpolate(x, scale_factor=(2.0, 1.5))), (2, 3, 4, 4)),
    "resized by a list": (lambda: Of(lambda x, w: F.interpolate(x, scale_factor=[2.0, 3.0])), (2, 3, 4, 4)),
    "autocast": (lambda: Of(lambda x, w: torch.autocast("cpu", torch.bfloat16)(F.linear)(x, w)), (5, 8)),
    "empty batch": (lambda: nn.Linear(8, 4), (0, 8)),
    "rnn cell of a vector": (lambda: nn.RNNCell(8, 6), (8,)),
    "lstm by keyword": (LstmByKeyword, (5, 2, 8)),
    "transposed conv2d without a batch": (lambda: nn.ConvTranspose2d(4, 8, 3), (4, 5, 5)),
    "by keyword": (ByKeyword, (1, 3, 8, 8)),
    "network": (Network, (3, 3, 8, 8)),
    "unused": (Unused, (2, 8)),
    "functional": (Functional, (1, 3, 6, 6)),
    "shared": (Shared, (2, 8)),
}  # fmt: skip


def tensors(inputs: Any) -> tuple[Tensor, ...]:
    """Real tensors for the inputs of one of them."""
    if isinstance(inputs, Tensor):
        return (inputs,)
    return tuple(torch.rand(shape) for shape in inputs) if isinstance(inputs, list) else (torch.rand(inputs),)
