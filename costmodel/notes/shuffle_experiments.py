"""ShuffleNet V2's four experiments: the networks that its guidelines were drawn from, and their cost in closed form.

Each network is ten equal blocks on a map of 56 x 56. In an experiment all of them do about the same
multiply-accumulates, as far as whole channels allow, and differ in one thing. ``scale`` multiplies the channels.

Source: Ma et al., ShuffleNet V2, arXiv:1807.11164, section 2, Tables 1 to 4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import sqrt

from torch import Tensor, nn

from costmodel import formulas
from costmodel.formulas import LayerCost

SIZE = 56
BLOCKS = 10
SCALES = (1, 2, 4)
CHANNELS = 64
"""What the first row of G1 to G3 has at ×1; G4 has half of it, as its 3x3 does nine times the work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One network of an experiment: a row of the paper's table at one scale."""

    label: str
    scale: int
    channels: tuple[int, ...]
    """Those that one block goes through."""
    layers: tuple[LayerCost, ...]
    """One block in closed form, a layer being a kernel."""
    block: Callable[[], nn.Module]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the whole network on one image."""
        return BLOCKS * sum(int(layer.macs) for layer in self.layers)

    @property
    def memory_access(self) -> int:
        """Elements that it reads and writes, every op a kernel of its own."""
        return BLOCKS * sum(int(layer.memory_access) for layer in self.layers)

    @property
    def kernels(self) -> int:
        """How many ops run."""
        return BLOCKS * len(self.layers)

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """One image."""
        return 1, self.channels[0], SIZE, SIZE

    def build(self) -> nn.Module:
        """The network, for a measurement or a trace."""
        return nn.Sequential(*(self.block() for _ in range(BLOCKS)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One table of the paper."""

    guideline: str
    title: str
    table: int
    """Its number in the paper."""
    differs: str
    """What its rows differ in."""
    formula: str
    """The memory access of one block."""
    variants: tuple[Variant, ...]
    """Row by row, each at every scale."""

    def at(self, scale: int) -> tuple[Variant, ...]:
        """The rows at one scale."""
        return tuple(v for v in self.variants if v.scale == scale)


def experiments() -> tuple[Experiment, ...]:
    """The four of them."""
    return (
        Experiment(
            guideline="G1", title="equal channel widths minimise memory access", table=1, differs="c1 : c2",
            formula="2·(h·w·(c1 + c2) + c1·c2)", variants=tuple(_widths()),
        ),
        Experiment(
            guideline="G2", title="group convolution adds memory access", table=2, differs="groups",
            formula="2·h·w·c + c²/g", variants=tuple(_groups()),
        ),
        Experiment(
            guideline="G3", title="fragmentation reduces parallelism", table=3, differs="fragments",
            formula="n·(2·h·w·c + c²), and in parallel 3·(n - 1)·h·w·c for the additions", variants=tuple(_fragments()),
        ),
        Experiment(
            guideline="G4", title="elementwise ops are not free", table=4, differs="elementwise ops",
            formula="6·h·w·c + 11·c², 3·2·h·w·c for the ReLUs and 3·h·w·c for the shortcut",
            variants=tuple(_elementwise()),
        ),
    )  # fmt: skip


def _conv(c_in: int, c_out: int, *, kernel: int = 1, groups: int = 1) -> LayerCost:
    return formulas.conv(
        c_in=c_in, c_out=c_out, kernel=kernel, padding=kernel // 2, size=(SIZE, SIZE), groups=groups, bias=False
    )


def _widths() -> Iterator[Variant]:
    """G1: a block is a 1x1 from c1 to c2 channels, and one back. c1·c2 is kept."""
    for ratio in (1, 2, 6, 12):
        for scale in SCALES:
            c1 = scale * round(CHANNELS / sqrt(ratio))
            c2 = ratio * c1
            yield Variant(
                label=f"1:{ratio}", scale=scale, channels=(c1, c2), layers=(_conv(c1, c2), _conv(c2, c1)),
                block=partial(_series, c1, c2, c1),
            )  # fmt: skip


def _groups() -> Iterator[Variant]:
    """G2: a block is one grouped 1x1. c²/g is kept."""
    for groups in (1, 2, 4, 8):
        for scale in SCALES:
            c = scale * groups * round(CHANNELS / sqrt(groups))  # g·(C/√g) = C·√g
            yield Variant(
                label=f"g = {groups}", scale=scale, channels=(c,), layers=(_conv(c, c, groups=groups),),
                block=partial(nn.Conv2d, c, c, 1, groups=groups, bias=False),
            )  # fmt: skip


def _fragments() -> Iterator[Variant]:
    """G3: a block is n 1x1, one after the other, or side by side and added. n·c² is kept."""
    for label, n, parallel in (
        ("1", 1, False), ("2 in series", 2, False), ("4 in series", 4, False),
        ("2 in parallel", 2, True), ("4 in parallel", 4, True),
    ):  # fmt: skip
        for scale in SCALES:
            c = scale * round(CHANNELS / sqrt(n))
            added = formulas.add(shape=(1, c, SIZE, SIZE))
            yield Variant(
                label=label, scale=scale, channels=(c,),
                layers=(*(_conv(c, c) for _ in range(n)), *(added for _ in range(n - 1) if parallel)),
                block=partial(Parallel, c, n) if parallel else partial(_series, *[c] * (n + 1)),
            )  # fmt: skip


def _elementwise() -> Iterator[Variant]:
    """G4: a block is a 1x1, a 3x3 and a 1x1 of c channels each, with or without three ReLUs and the shortcut."""
    for relu, shortcut in ((True, True), (True, False), (False, True), (False, False)):
        label = " and ".join(name for name, there in (("ReLU", relu), ("shortcut", shortcut)) if there) or "neither"
        for scale in SCALES:
            c = scale * CHANNELS // 2
            shape = (1, c, SIZE, SIZE)
            yield Variant(
                label=label, scale=scale, channels=(c,),
                layers=(
                    _conv(c, c), _conv(c, c, kernel=3), _conv(c, c),
                    *(formulas.activation(name="relu", shape=shape) for _ in range(3) if relu),
                    *(formulas.add(shape=shape) for _ in range(1) if shortcut),
                ),
                block=partial(Bottleneck, c, relu=relu, shortcut=shortcut),
            )  # fmt: skip


def _series(*channels: int) -> nn.Module:
    """1x1 convolutions one after the other."""
    return nn.Sequential(*(nn.Conv2d(c_in, c_out, 1, bias=False) for c_in, c_out in pairwise(channels)))


class Parallel(nn.Module):
    """1x1 convolutions side by side, added: x, y (batch, c, *size)."""

    def __init__(self, c: int, n: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Conv2d(c, c, 1, bias=False) for _ in range(n))

    def forward(self, x: Tensor) -> Tensor:
        """The branches' sum."""
        first, *rest = self.branches
        y: Tensor = first(x)
        for branch in rest:
            y = y + branch(x)
        return y


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 of as many channels, ReLU after each and a shortcut around, if wanted: x, y (batch, c, *size)."""

    def __init__(self, c: int, *, relu: bool, shortcut: bool) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(c, c, 1, bias=False)
        self.conv = nn.Conv2d(c, c, 3, padding=1, bias=False)
        self.expand = nn.Conv2d(c, c, 1, bias=False)
        self.act = nn.ReLU() if relu else nn.Identity()
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """The body, and the shortcut."""
        y: Tensor = self.expand(self.act(self.conv(self.act(self.reduce(x)))))
        z: Tensor = self.act(y + x if self.shortcut else y)
        return z
