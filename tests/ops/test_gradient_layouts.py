"""The gradients of layers in every layout of memory: outputs are torch's, and so is what is allocated, to the byte."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.ops._op_database_backward import Watch, of_allocator, of_rule

LINE, IMAGE, VOLUME, ROWS = (4, 8, 200), (4, 8, 24, 20), (2, 4, 8, 10, 12), (4, 40, 32)
"""Large enough that no copy is mistaken for bookkeeping."""
LABELS = torch.arange(160) % 32

Layer = Callable[[torch.Tensor], torch.Tensor]

LAYERS: dict[str, tuple[Layer, tuple[int, ...]]] = {
    "convolution of a line": (nn.Conv1d(8, 12, 3, padding=1), LINE),
    "convolution": (nn.Conv2d(8, 12, 3, padding=1), IMAGE),
    "strided convolution": (nn.Conv2d(8, 12, 3, stride=2, bias=False), IMAGE),
    "pointwise convolution": (nn.Conv2d(8, 12, 1), IMAGE),
    "depthwise convolution": (nn.Conv2d(8, 8, 3, groups=8, padding=1), IMAGE),
    "grouped convolution": (nn.Conv2d(8, 12, 3, groups=4), IMAGE),
    "dilated convolution": (nn.Conv2d(8, 12, 3, dilation=2), IMAGE),
    "convolution of a volume": (nn.Conv3d(4, 6, 3), VOLUME),
    "transposed convolution of a line": (nn.ConvTranspose1d(8, 12, 3, stride=2), LINE),
    "transposed convolution": (nn.ConvTranspose2d(8, 12, 3, stride=2), IMAGE),
    "transposed convolution in groups": (nn.ConvTranspose2d(8, 12, 3, stride=2, groups=4, output_padding=1), IMAGE),
    "transposed convolution of a volume": (nn.ConvTranspose3d(4, 6, 3, stride=2), VOLUME),
    "linear": (nn.Linear(32, 48), ROWS),
    "linear on rows": (nn.Linear(32, 48), (160, 32)),
    "batch norm of a line": (nn.BatchNorm1d(8), LINE),
    "batch norm": (nn.BatchNorm2d(8), IMAGE),
    "batch norm of a volume": (nn.BatchNorm3d(4), VOLUME),
    "batch norm in evaluation": (nn.BatchNorm2d(8).eval(), IMAGE),
    "batch norm without weights": (nn.BatchNorm2d(8, affine=False), IMAGE),
    "instance norm": (nn.InstanceNorm2d(8, affine=True), IMAGE),
    "layer norm": (nn.LayerNorm(32), ROWS),
    "layer norm of two dimensions": (nn.LayerNorm((40, 32)), ROWS),
    "group norm": (nn.GroupNorm(4, 8), IMAGE),
    "group norm of a line": (nn.GroupNorm(4, 8), LINE),
    "RMS norm": (nn.RMSNorm(32), ROWS),
    "maximum pooling of a line": (nn.MaxPool1d(2), LINE),
    "maximum pooling": (nn.MaxPool2d(3, 2, 1), IMAGE),
    "maximum pooling of a volume": (nn.MaxPool3d(2), VOLUME),
    "average pooling of a line": (nn.AvgPool1d(2), LINE),
    "average pooling": (nn.AvgPool2d(2), IMAGE),
    "average pooling of a volume": (nn.AvgPool3d(2), VOLUME),
    "adaptive average pooling": (nn.AdaptiveAvgPool2d(7), IMAGE),
    "global average pooling": (nn.AdaptiveAvgPool2d(1), IMAGE),
    "adaptive average pooling of a volume": (nn.AdaptiveAvgPool3d(3), VOLUME),
    "adaptive maximum pooling": (nn.AdaptiveMaxPool2d(7), IMAGE),
    "adaptive maximum pooling of a volume": (nn.AdaptiveMaxPool3d(3), VOLUME),
    "power-average pooling": (nn.LPPool2d(2, 2), IMAGE),
    "fractional maximum pooling": (nn.FractionalMaxPool2d(2, output_ratio=0.5), IMAGE),
    **{
        name: (getattr(nn, name)(), IMAGE)
        for name in (
            "ReLU", "ReLU6", "LeakyReLU", "PReLU", "RReLU", "ELU", "SELU", "CELU", "GELU", "SiLU", "Mish", "Hardswish",
            "Sigmoid", "Hardsigmoid", "LogSigmoid", "Tanh", "Hardtanh", "Tanhshrink", "Softplus", "Softsign",
            "Hardshrink", "Softshrink",
        )
    },
    "GELU by tanh": (nn.GELU("tanh"), IMAGE),
    "GLU": (nn.GLU(1), IMAGE),
    "softmax": (nn.Softmax(-1), ROWS),
    "softmax over channels": (nn.Softmax(1), IMAGE),
    "log softmax": (nn.LogSoftmax(-1), ROWS),
    "cross entropy": (lambda x: F.cross_entropy(x.flatten(0, 1), LABELS), ROWS),
    "cross entropy of images": (lambda x: F.cross_entropy(x, torch.zeros(4, 24, 20, dtype=torch.int64)), IMAGE),
    "smoothed cross entropy": (lambda x: F.cross_entropy(x.flatten(0, 1), LABELS, label_smoothing=0.1), ROWS),
    "squared error": (lambda x: F.mse_loss(x, torch.zeros_like(x)), ROWS),
    "smooth absolute error": (lambda x: F.smooth_l1_loss(x, torch.zeros_like(x), reduction="none"), ROWS),
    "binary cross entropy": (lambda x: F.binary_cross_entropy_with_logits(x, torch.zeros_like(x)), ROWS),
    "attention": (lambda x: F.scaled_dot_product_attention(x, x * 2, x + 1), (2, 4, 50, 16)),
    "embedding of expanded gradients": (
        lambda x: F.embedding(torch.arange(40) % 32, x.flatten(0, 1)), ROWS,
    ),
    "nearest upsampling": (nn.Upsample(scale_factor=2), IMAGE),
    "bilinear upsampling": (nn.Upsample(scale_factor=2, mode="bilinear"), IMAGE),
    "bicubic upsampling": (nn.Upsample(scale_factor=2, mode="bicubic"), IMAGE),
    "linear upsampling": (nn.Upsample(scale_factor=2, mode="linear"), LINE),
    "trilinear upsampling": (nn.Upsample(scale_factor=2, mode="trilinear"), VOLUME),
    "nearest upsampling of a volume": (nn.Upsample(scale_factor=2), VOLUME),
    "reflection padding": (nn.ReflectionPad2d(2), IMAGE),
    "reflection padding of a volume": (nn.ReflectionPad3d(1), VOLUME),
    "replication padding": (nn.ReplicationPad2d(2), IMAGE),
    "circular padding": (nn.CircularPad2d(2), IMAGE),
    "pixel shuffle": (nn.PixelShuffle(2), IMAGE),
    "unfolding": (nn.Unfold(3), IMAGE),
    "dropout": (nn.Dropout(0.3), IMAGE),
    "mean over positions": (lambda x: x.mean((2, 3)), IMAGE),
    "greatest of channels": (lambda x: x.amax(1), IMAGE),
    "normalisation of vectors": (lambda x: F.normalize(x, dim=1), IMAGE),
}  # fmt: skip


def reversed_(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """A tensor whose first dimension is the innermost in memory."""
    return torch.rand(shape[::-1], dtype=dtype).permute(*reversed(range(len(shape))))


def channels_last(x: torch.Tensor) -> torch.Tensor:
    """The same values in the order of channels last."""
    return x.contiguous(memory_format=torch.channels_last if x.dim() == 4 else torch.channels_last_3d)


def inputs(shape: tuple[int, ...], dtype: torch.dtype) -> Iterator[torch.Tensor]:
    """Contiguous, channels last, transposed, and every second channel of another tensor."""
    yield torch.rand(shape, dtype=dtype)
    if len(shape) > 3:
        yield channels_last(torch.rand(shape, dtype=dtype))
    yield reversed_(shape, dtype)
    yield torch.rand((shape[0], 2 * shape[1], *shape[2:]), dtype=dtype)[:, ::2]


def gradients(y: torch.Tensor) -> Iterator[torch.Tensor]:
    """All that inputs are, and expanded: the gradient of a sum, and of a mean over positions."""
    yield torch.ones((), dtype=y.dtype).expand(y.shape)
    if y.dim() > 1:
        yield from inputs(tuple(y.shape), y.dtype)
        yield torch.rand((*y.shape[:2], *[1] * (y.dim() - 2)), dtype=y.dtype).expand(y.shape)
        yield torch.rand((y.shape[0], 2 * y.shape[1], *y.shape[2:]), dtype=y.dtype)[:, : y.shape[1]]


def differences(layer: Layer, shape: tuple[int, ...], dtype: torch.dtype) -> Iterator[tuple[str, str]]:
    """What differs from torch in the backward passes of one layer."""
    torch.manual_seed(0)
    weights = list(layer.to(dtype).parameters()) if isinstance(layer, nn.Module) else []
    forward, backward = Watch(), Watch()
    for x in inputs(shape, dtype):
        x.requires_grad_()
        with forward:
            y = layer(x)
        for gradient in gradients(y):
            with backward:
                torch.autograd.grad(y, [x, *weights], gradient, retain_graph=True)
    for watch in (forward, backward):
        for one in watch.seen.values():
            yield from of_rule(one)
    yield from of_allocator(list(backward.seen.values()))


NO_KERNEL_FOR_HALF = ("average pooling of a volume",)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", LAYERS)
def test_gradients_in_every_layout(name: str, dtype: torch.dtype) -> None:
    """Whatever the layout of the input and of the gradient, each op of the backward is as its rule says."""
    layer, shape = LAYERS[name]
    if dtype is torch.bfloat16 and (name in NO_KERNEL_FOR_HALF or not torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        return  # torch, or this processor, computes in another dtype
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: dict[str, Any] = dict(differences(layer, shape, dtype))
    assert not found
