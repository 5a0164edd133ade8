"""The blocks that more than one paper uses, each written once. Blocks of a single family stay in that family's file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor, nn

Activation: TypeAlias = Callable[..., nn.Module]
"""An activation's class, such as `nn.ReLU`; called with `inplace=True`."""

Kernel: TypeAlias = int | tuple[int, int]


def named(**modules: nn.Module | None) -> nn.Sequential:
    """The modules in order, under these names; those that are None are left out."""
    sequence = nn.Sequential()
    for name, module in modules.items():
        if module is not None:
            sequence.add_module(name, module)
    return sequence


class Network(nn.Sequential):
    """A whole network: named stages in order, and the shape of its paper's input at batch 1."""

    example_inputs: tuple[int, ...]

    def __init__(self, stages: Mapping[str, nn.Module], example_inputs: tuple[int, ...]) -> None:
        super().__init__()
        for name, stage in stages.items():
            self.add_module(name, stage)
        self.example_inputs = example_inputs


def pooled_head(size: int = 1, **classifier: nn.Module) -> dict[str, nn.Module]:
    """The usual last stages: an average pool to size x size, flattened, then the classifier's modules by name."""
    return {"avgpool": nn.AdaptiveAvgPool2d(size), "flatten": nn.Flatten(), **classifier}


class SupervisedNetwork(Network):
    """A network with auxiliary classifiers, each reading the output of the stage it is named after.

    In eval mode they do not run and the result is the logits (n, num_classes). In train mode it is a tuple: the
    logits, then the auxiliary logits in the order of their stages.
    """

    def __init__(
        self,
        stages: Mapping[str, nn.Module],
        example_inputs: tuple[int, ...],
        *,
        auxiliary: Mapping[str, nn.Module],
    ) -> None:
        super().__init__(stages, example_inputs)
        self.auxiliary = nn.ModuleDict(auxiliary)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        auxiliary_logits = []
        for name, stage in self.named_children():
            if stage is self.auxiliary:
                continue
            x = stage(x)
            if self.training and name in self.auxiliary:
                auxiliary_logits.append(self.auxiliary[name](x))
        return (x, *auxiliary_logits) if auxiliary_logits else x


class ConvNormAct(nn.Sequential):
    """Convolution, batch norm, activation: x (n, c_in, h, w) to y (n, c_out, h', w').

    Padding defaults to half the kernel, which keeps the size at stride 1. `act=None` leaves the output linear.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: Kernel = 3,
        *,
        stride: int = 1,
        padding: Kernel | None = None,
        groups: int = 1,
        bias: bool = False,
        act: Activation | None = nn.ReLU,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        if padding is None:
            padding = kernel // 2 if isinstance(kernel, int) else (kernel[0] // 2, kernel[1] // 2)
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, padding, groups=groups, bias=bias)
        self.norm = nn.BatchNorm2d(c_out, eps=eps)
        if act is not None:
            self.act = act(inplace=True)


class Branches(nn.Module):
    """Named branches that read the same input; their outputs, of equal height and width, are joined along channels."""

    def __init__(self, **branches: nn.Module) -> None:
        super().__init__()
        for name, branch in branches.items():
            self.add_module(name, branch)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.children()], dim=1)


class Residual(nn.Module):
    """act(body(x) + shortcut(x)); without a shortcut module, x itself is added."""

    def __init__(self, body: nn.Module, *, shortcut: nn.Module | None = None, act: nn.Module | None = None) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        y += x if self.shortcut is None else self.shortcut(x)
        return y if self.act is None else self.act(y)


class SqueezeExcitation(nn.Module):
    """x * gate(expand(act(reduce(mean of x)))), one gate value per channel: x and y are (n, channels, h, w).

    Source: Hu et al., arXiv:1709.01507, section 3; the two fully connected layers are 1x1 convolutions with bias.
    """

    def __init__(
        self, channels: int, squeezed: int, *, act: Activation = nn.ReLU, gate: Callable[[], nn.Module] = nn.Sigmoid
    ) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.act = act(inplace=True)
        self.expand = nn.Conv2d(squeezed, channels, 1)
        self.gate = gate()

    def forward(self, x: Tensor) -> Tensor:
        scale: Tensor = self.gate(self.expand(self.act(self.reduce(self.pool(x)))))
        return x * scale


class SkipSequential(nn.Sequential):
    """Modules in order, with the input added to their output where stride and channels leave its shape unchanged."""

    def __init__(self, modules: Mapping[str, nn.Module | None], *, skip: bool) -> None:
        super().__init__()
        self.skip = skip
        for name, module in modules.items():
            if module is not None:
                self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for module in self:
            y = module(y)
        if self.skip:
            y += x
        return y


class InvertedResidual(SkipSequential):
    """Narrow to wide (1x1), depthwise, an optional squeeze-excitation, wide to narrow (1x1, linear), and a skip.

    The block of MobileNetV2 (arXiv:1801.04381, Figure 3b) and, with `se`, of MobileNetV3 and EfficientNet (MBConv).
    x is (n, c_in, h, w), inside (n, expanded, ., .), y is (n, c_out, ceil(h / stride), ceil(w / stride)). The first
    1x1 is left out where nothing is expanded; the skip is there where stride is 1 and c_in equals c_out.
    """

    def __init__(
        self,
        c_in: int,
        expanded: int,
        c_out: int,
        *,
        kernel: int,
        stride: int,
        act: Activation,
        se: SqueezeExcitation | None = None,
        eps: float = 1e-5,
    ) -> None:
        expand = ConvNormAct(c_in, expanded, 1, act=act, eps=eps) if expanded != c_in else None
        depthwise = ConvNormAct(expanded, expanded, kernel, stride=stride, groups=expanded, act=act, eps=eps)
        project = ConvNormAct(expanded, c_out, 1, act=None, eps=eps)
        modules = {"expand": expand, "depthwise": depthwise, "se": se, "project": project}
        super().__init__(modules, skip=stride == 1 and c_in == c_out)


class ChannelShuffle(nn.Module):
    """Channels dealt out over the groups: channel j of group i moves to place j * groups + i.

    Source: Zhang et al., ShuffleNet, arXiv:1707.01083, section 3.1. x and y are (n, c, h, w), c a multiple of groups.
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        return x.view(n, self.groups, c // self.groups, h, w).transpose(1, 2).reshape(n, c, h, w)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"
