"""Note 001: GhostNet."""

from __future__ import annotations

from difflib import SequenceMatcher
from functools import cache, partial

import torch
from torch import nn
from torch.nn import functional as fn

from costmodel import formulas, models
from costmodel.models._blocks import SqueezeExcitation
from costmodel.models.closed.ghostnet import RATIO, TABLE_1
from costmodel.models.closed.mobilenet_v3 import LARGE
from costmodel.models.ghostnet import GhostModule
from costmodel.notes.claim import Finding, Note, claim, holds_if
from costmodel.notes.measure import (
    CLASSICS,
    count_kinds,
    figures,
    modules_of,
    network,
    on_meta,
    output_shape,
    sample,
    traced,
)
from costmodel.views import units

NOTE = Note(number="001", about="GhostNet")

GHOST_PAPER = "Han et al., GhostNet, arXiv:1911.11907"
SE_PAPER = "Hu et al., Squeeze-and-Excitation Networks, arXiv:1709.01507"

FEATURES = (16, 64, 7, 7)
"""The note's example: a batch of 16, 64 channels, 7x7."""


@claim(
    NOTE, 1, "The Ghost module keeps output size and channels while cutting compute and parameters greatly.",
    formula="n c k² h' w' / ((n / s) (c k² + (s - 1) d²) h' w') → s c k² / (c k² + (s - 1) d²) < s",
)  # fmt: skip
def ghost_saves() -> Finding:
    channels, size = 160, (7, 7)
    standard = formulas.pointwise_conv(c_in=channels, c_out=channels, size=size, bias=False)
    ghost = formulas.ghost_module(c_in=channels, c_out=channels, size=size, norm=False)
    ran = traced(partial(GhostModule, channels, channels), 1, channels, *size)
    even = next(c for c in range(2, 99, 2) if formulas.ghost_module(c_in=c, c_out=c, size=size).macs < 49 * c * c)
    ratio = standard.macs / ghost.macs
    return Finding(
        verdict=holds_if(ghost.output_shape == standard.output_shape and ratio > RATIO, otherwise="approximate"),
        value=ratio,
        why=f"Size and channels stay, exactly. The saving is below the ratio s = {RATIO}, so never more than half: "
        f"{ratio:.2f} times fewer MACs for a 1x1 of {channels} channels. With s = 2 and d = 3 it is 2c / (c + 9): 1 at "
        f"c = 9, so with fewer channels it costs more (the first even c that saves is {even}).",
        closed_form={
            "output shape": ghost.output_shape, "MACs": ghost.macs, "MACs of the 1x1": standard.macs,
            "weights": sum(ghost[name].params for name in ("primary", "cheap")) - ghost["primary"].output_shape[1] * 2,
        },
        traced={
            "output shape": output_shape(ran), "MACs": ran.macs,
            "weights": sum(t.size for x in ran.pricing.layers if x.work.macs for t in x.parameters),
        },
        source=f"{GHOST_PAPER}, section 3.2, eqs. 4 and 5",
    )  # fmt: skip


class NoteGhostModule(nn.Module):
    """The module of note 001: a convolution padded by half its kernel to half of the maps, cheap ones, and both."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        made = -(-conv.out_channels // RATIO)
        kernel, stride = (conv.kernel_size[0], conv.kernel_size[1]), (conv.stride[0], conv.stride[1])
        self.c_out = conv.out_channels
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.primary = nn.Conv2d(conv.in_channels, made, kernel, stride, padding, bias=False)
        self.cheap = nn.Conv2d(made, made * (RATIO - 1), 3, padding=1, groups=made, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.primary(x)
        return torch.cat([y, self.cheap(y)], dim=1)[:, : self.c_out]


@claim(
    NOTE, 2, "It works for any convolutional network, as the output's size does not change.",
    formula="⌊(n + 2⌊k/2⌋ - k) / s⌋ + 1",
)  # fmt: skip
def ghost_fits() -> Finding:
    fits = total = 0
    unfit = []
    for name in CLASSICS:
        convs = [m for m in modules_of(on_meta(name), nn.Conv2d, nn.Conv3d) if m.groups == 1]
        same = sum(_keeps_shape(m.kernel_size, m.stride, m.padding) for m in convs)
        fits, total = fits + same, total + len(convs)
        if same < len(convs):
            unfit.append(name)
    return Finding(
        verdict=holds_if(fits == total, otherwise="approximate"),
        value=[fits, total],
        why=f"The module pads by half its kernel and is two-dimensional, so it replaces {fits} of the {total} "
        f"convolutions without groups in the classic networks as it stands; not all in {', '.join(unfit)}, which "
        "leave out that padding or are 3-D. That a network of such modules learns as well, no shape tells: the paper "
        "shows it for VGG-16 and ResNet-50.",
        traced={"convolutions": total, "of them replaced": fits, "networks with others": unfit},
        source=f"{GHOST_PAPER}, section 4.1",
    )


@cache
def _keeps_shape(kernel: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...]) -> bool:
    """Whether the note's module in place of such a convolution, of any channels, gives an output of the same shape."""
    if len(kernel) != 2:
        return False

    def conv() -> nn.Conv2d:
        return nn.Conv2d(8, 16, kernel, stride, padding)  # type: ignore[arg-type]  # two axes, as was just asked

    ghost, plain = (traced(build, 1, 8, 31, 31) for build in (lambda: NoteGhostModule(conv()), conv))
    return output_shape(ghost) == output_shape(plain)


@claim(
    NOTE, 3, "init_channels = ceil(oup / ratio), new_channels = init_channels · (ratio - 1); concatenated and sliced "
    "to oup.",
    formula="s · ⌈n / s⌉ ≥ n",
)  # fmt: skip
def ghost_channels() -> Finding:
    too_much = max(-(-n // s) * s - n for n in range(1, 200) for s in range(1, 9))
    c_out, ratio = 25, 3
    closed = formulas.ghost_module(c_in=16, c_out=c_out, ratio=ratio, size=(7, 7))
    ran = traced(partial(GhostModule, 16, c_out, ratio=ratio), 1, 16, 7, 7)
    made = closed.output_shape[1]
    return Finding(
        verdict=holds_if(output_shape(ran)[1] == c_out and made >= c_out),
        value=[made - made // ratio * (ratio - 1), made // ratio * (ratio - 1), c_out],
        why=f"Rounding up makes never too few maps, and at most ratio - 1 too many (seen up to {too_much} for ratios "
        f"to 8), which are computed and thrown away: {made} are made for {c_out} with ratio {ratio}.",
        closed_form={"MACs": closed.macs, "maps made": made},
        traced={"MACs": ran.macs, "maps returned": output_shape(ran)[1]},
    )


@claim(
    NOTE, 4, "groups = input channels is depthwise; fewer is a grouped convolution.",
    formula="params = C_out (C_in / g) k²",
)  # fmt: skip
def groups_name() -> Finding:
    channels = 64
    closed, ran = {}, {}
    for groups in (1, 4, channels):
        cost = formulas.conv(
            c_in=channels, c_out=channels, kernel=3, padding=1, size=(14, 14), groups=groups, bias=False
        )
        p = traced(partial(nn.Conv2d, channels, channels, 3, padding=1, groups=groups, bias=False), 1, channels, 14, 14)
        closed[f"g = {groups}"] = (cost.kind, cost.params)
        ran[f"g = {groups}"] = (p.pricing.layers[0].kind, p.params)
    kinds = [kind for kind, _ in closed.values()]
    return Finding(
        verdict=holds_if(kinds == ["standard conv", "grouped conv", "depthwise conv"]),
        value=kinds,
        why=f"And groups = 1 is the standard convolution. From {channels} to {channels} channels, 3x3, they have "
        f"{', '.join(f'{n:,}' for _, n in closed.values())} weights.",
        closed_form=closed,
        traced=ran,
    )


@claim(
    NOTE, 5, "Grouped convolution is generally used as depthwise today.",
    formula="layers with g = C_in / layers with g > 1",
)  # fmt: skip
def grouped_is_depthwise() -> Finding:
    depthwise, grouped = {}, {}
    for name in CLASSICS:
        kinds = count_kinds(network(name))
        depthwise[name], grouped[name] = kinds.get("depthwise conv", 0), kinds.get("grouped conv", 0)
    others = [name for name, count in grouped.items() if count]
    users = sum(count > 0 for count in depthwise.values())
    of, all_ = sum(depthwise.values()), sum(depthwise.values()) + sum(grouped.values())
    return Finding(
        verdict=holds_if(not others, otherwise="approximate" if of > all_ / 2 else "fails"),
        value=of / all_,
        why=f"Of the {all_} convolutions with groups in the classic networks, {of} ({units.share(of, all_)}) are "
        f"depthwise, and {users} networks use them. {', '.join(others)} use groups of several channels (as did AlexNet "
        "on two GPUs, and RegNet since), so it is the usual case and not the rule.",
        traced={"depthwise": of, "grouped": all_ - of, "networks with depthwise": users},
    )


@claim(NOTE, 6, "SENet won the ImageNet classification task of 2017.", formula="none")
def senet_won() -> Finding:
    se, plain = models.closed_form("se_resnet50"), models.closed_form("resnet50")
    return Finding(
        verdict="holds",
        value="ILSVRC 2017, first place",
        why="First place of ILSVRC 2017 classification, with 2.251 % top-5 error, an ensemble around SENet-154. The "
        f"blocks cost next to no compute: SE-ResNet-50 takes {units.change(plain.macs, se.macs)} MACs and "
        f"{units.change(plain.params, se.params)} parameters over ResNet-50.",
        closed_form={c.name: figures(c, "params", "macs") for c in (se, plain)},
        traced={name: figures(network(name), "params", "macs") for name in ("se_resnet50", "resnet50")},
        source=f"{SE_PAPER}, abstract and section 7",
    )


def adaptive(output_size: int | tuple[int, int], said: tuple[int, ...], why: str) -> Finding:
    """What an adaptive average pool returns for the note's example, by formula and by running it."""
    batch, channels, *size = FEATURES
    closed = formulas.adaptive_avg_pool(channels=channels, size=tuple(size), output_size=output_size, batch=batch)
    ran = tuple(nn.AdaptiveAvgPool2d(output_size)(sample(*FEATURES)).shape)
    return Finding(
        verdict=holds_if(closed.output_shape == said),
        value=list(closed.output_shape),
        why=why,
        closed_form={"output shape": closed.output_shape},
        traced={"output shape": ran},
    )


@claim(NOTE, 7, "AdaptiveAvgPool2d with (5, 7) on [16, 64, 7, 7] gives [16, 64, 5, 7].", formula="(N, C, out_h, out_w)")
def adaptive_5_7() -> Finding:
    return adaptive((5, 7), (16, 64, 5, 7), "Run, it does.")


@claim(NOTE, 8, "With parameter 1 it gives [16, 64, 1].", formula="(N, C, 1, 1)")
def adaptive_1() -> Finding:
    return adaptive(1, (16, 64, 1), "It gives [16, 64, 1, 1]: one number stands for both axes, and both stay.")


@claim(NOTE, 9, "The batch has 16 feature maps, each picture 64 channels.", formula="(N, C, H, W)")
def batch_of_maps() -> Finding:
    batch, channels, height, width = FEATURES
    return Finding(
        verdict=holds_if(batch * channels == batch),
        value=batch * channels,
        why=f"[{batch}, {channels}, {height}, {width}] is a batch of {batch} pictures (examples) of {channels} "
        f"channels each. In the field's word each channel is a feature map, so there are {batch} · {channels} = "
        f"{batch * channels:,} of {height}x{width}; {batch} only if a picture's whole tensor is called one.",
        closed_form={"feature maps": batch * channels},
        traced={"feature maps": sample(*FEATURES).flatten(0, 1).shape[0]},
    )


@claim(NOTE, 10, "Output size 1 is a global average pool.", formula="y = Σ x / (H W)")
def global_pool() -> Finding:
    batch, channels, *size = FEATURES
    x = sample(*FEATURES)
    same = torch.allclose(nn.AdaptiveAvgPool2d(1)(x)[..., 0, 0], x.mean(dim=(2, 3)), rtol=0, atol=1e-12)
    closed = formulas.global_avg_pool(channels=channels, size=tuple(size), batch=batch)
    ran = traced(partial(nn.AdaptiveAvgPool2d, 1), *FEATURES)
    return Finding(
        verdict=holds_if(same),
        value=list(closed.output_shape),
        why="Its output is the mean over height and width, to the rounding of double precision.",
        closed_form=figures(closed, "flops", "memory_access"),
        traced=figures(ran, "flops", "memory_access"),
    )


class NoteSE(nn.Module):
    """The squeeze-excitation of note 001, with its clamped gate."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce, self.expand = (
            nn.Linear(channels, channels // reduction),
            nn.Linear(channels // reduction, channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate = self.expand(fn.relu(self.reduce(self.pool(x).flatten(1))))
        y: torch.Tensor = x * gate.clamp(0, 1)[..., None, None]
        return y


@claim(
    NOTE, 11, "SE: after two fully connected layers the shape is [16, 64] again, and is multiplied per channel.",
    formula="x_c · σ(W₂ ReLU(W₁ z))_c",
)  # fmt: skip
def se_shapes() -> Finding:
    batch, channels, *size = FEATURES
    reduction = 4
    closed = formulas.squeeze_excitation(
        channels=channels, squeeze=channels // reduction, size=tuple(size), batch=batch
    )
    ran = traced(partial(NoteSE, channels, reduction), *FEATURES)
    linears = [x.outputs[0].shape for x in ran.pricing.layers if x.kind == "linear"]
    return Finding(
        verdict=holds_if(linears[-1] == (batch, channels) and output_shape(ran) == FEATURES),
        value=list(linears[-1]),
        why=f"{units.shape(FEATURES)} is averaged to {batch}x{channels}, then {units.shape(linears[0])} and "
        f"{units.shape(linears[1])}; one factor a channel, broadcast over height and width.",
        closed_form={"MACs": closed.macs, "params": closed.params, "output shape": closed.output_shape},
        traced={"MACs": ran.macs, "params": ran.params, "output shape": output_shape(ran)},
        source=f"{SE_PAPER}, section 3",
    )  # fmt: skip


@claim(NOTE, 12, "The SE gate here is clamp(y, 0, 1).", formula="min(max(y, 0), 1)")
def clamped_gate() -> Finding:
    y = torch.linspace(-6, 6, 1201, dtype=torch.float64)
    apart = (y.clamp(0, 1) - nn.Hardsigmoid()(y)).abs()
    furthest, at = round(float(apart.max()), 6), abs(round(float(y[apart.argmax()]), 6))
    (timm_like,) = {type(m.gate).__name__ for m in modules_of(on_meta("ghostnet"), SqueezeExcitation)}
    return Finding(
        verdict="holds",
        value=[float(y.clamp(0, 1).min()), float(y.clamp(0, 1).max())],
        why="So it is in the note's code, as in the authors' first release. It is neither SENet's sigmoid nor "
        f"MobileNetV3's hard sigmoid: from the latter it differs by up to {furthest:g}, at y = {at:g}, "
        f"and it shuts every channel with y ≤ 0. The authors' later code and timm use the {timm_like} instead.",
        traced={"largest distance from the hard sigmoid": furthest, "at y": at},
    )


@claim(NOTE, 13, "The whole follows MobileNetV3's structure with Ghost modules.", formula="rows of the two tables")
def follows_v3() -> Finding:
    ghost = [(r.kernel, r.expanded, r.c_out, r.se, r.stride) for r in TABLE_1]
    v3 = [(r.kernel, r.expanded, r.c_out, r.se, r.stride) for r in LARGE]
    same = sum(block.size for block in SequenceMatcher(None, ghost, v3, autojunk=False).get_matching_blocks())
    a, b = network("ghostnet"), network("mobilenet_v3_large")
    return Finding(
        verdict=holds_if(same == len(ghost) == len(v3), otherwise="approximate"),
        value=[same, len(ghost)],
        why=f"{same} of GhostNet's {len(ghost)} rows equal rows of V3-Large's {len(v3)} in kernel, widths, SE and "
        "stride, in order. It has one bneck more, other widths and SE in the rest, a depthwise convolution only where "
        f"the stride is 2, and ReLU for h-swish; {units.share(a.macs, b.macs)} of the MACs and "
        f"{units.share(a.params, b.params)} of the parameters.",
        closed_form={"equal rows": same, "rows": len(ghost), "rows of V3-Large": len(v3)},
        traced={"GhostNet": figures(a, "params", "macs"), "MobileNetV3-Large": figures(b, "params", "macs")},
        source=f"{GHOST_PAPER}, section 3.3: 'basically follows the architecture of MobileNetV3'",
    )


@claim(NOTE, 14, "// is floor division (8 // 2 = 4), % the remainder (8 % 2 = 0).", formula="a = b ⌊a / b⌋ + a mod b")
def floor_division() -> Finding:
    pairs = [(a, b) for a in range(-20, 21) for b in (-7, -2, 2, 7)]
    return Finding(
        verdict=holds_if((8 // 2, 8 % 2) == (4, 0) and all(b * (a // b) + a % b == a for a, b in pairs)),
        value=[8 // 2, 8 % 2],
        why=f"As Python has it, which rounds down: -7 // 2 is {-7 // 2}, and -7 % 2 is {-7 % 2}.",
    )
