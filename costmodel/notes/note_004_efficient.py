"""Note 004, a survey of classification networks: EfficientNet V1 and V2 (claims 47 to 57)."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import nn

from costmodel import formulas, models
from costmodel.models._blocks import ConvNormAct, InvertedResidual, SkipSequential, SqueezeExcitation
from costmodel.models.closed import efficientnet as table_v1
from costmodel.models.closed import efficientnet_v2 as table_v2
from costmodel.models.closed._rounding import make_divisible
from costmodel.models.efficientnet import BuiltStage, EfficientNet
from costmodel.models.efficientnet import mbconv as build_mbconv
from costmodel.models.efficientnet_v2 import fused_mbconv
from costmodel.notes.claim import Finding, claim, holds_if
from costmodel.notes.measure import figures, modules_of, network, on_meta, sample, traced
from costmodel.notes.note_004_early import NOTE
from costmodel.profiling import Profile
from costmodel.views import units

V1_PAPER = "Tan & Le, EfficientNet, arXiv:1905.11946"
V2_PAPER = "Tan & Le, EfficientNetV2, arXiv:2104.00298"

GPIPE = 557_000_000
"""GPipe's parameters as EfficientNet's Table 2 prints them."""


@claim(
    NOTE, 47, "EfficientNet-B7 has 84.3 % top-1, 1/8.4 of GPipe's parameters and is 6.1 times faster.",
    formula="params(GPipe) / params(B7)",
)  # fmt: skip
def b7() -> Finding:
    p = network("efficientnet_b7")
    ratio = GPIPE / p.params
    return Finding(
        verdict=holds_if(round(ratio, 1) == 8.4),
        value=ratio,
        why=f"{units.si(GPIPE)} (as published) to {p.params:,} parameters is {ratio:.2f} times. Accuracy and speed are "
        "no counts; 84.3 % and 6.1 times are what the paper states.",
        closed_form={"params of B7": models.closed_form("efficientnet_b7").params},
        traced={"params of B7": p.params},
        source=f"{V1_PAPER}, abstract and Table 2",
    )


@claim(NOTE, 48, "Scaling one dimension alone saturates around 80 %.", formula="top-1 against w, d or r")
def one_dimension() -> Finding:
    base = network("efficientnet_b0")
    wide = network("efficientnet_b0", resolution=560).macs / base.macs
    return Finding(
        verdict="not computable",
        why="An accuracy. The paper states it so, of B0: 'the accuracy gain quickly saturates after reaching 80%'. The "
        f"price can be computed: 2.5 times the resolution takes {wide:.2f} times the MACs, about r².",
        traced={"MACs at r = 2.5, relative": wide},
        source=f"{V1_PAPER}, section 3.2 and Figure 3",
    )


@claim(NOTE, 49, "EfficientNetV2 appeared at CVPR 2021.", formula="none")
def v2_venue() -> Finding:
    return Finding(
        verdict="fails",
        value="ICML 2021",
        why="It appeared at ICML 2021 (Proceedings of Machine Learning Research 139). The year is right.",
        source=V2_PAPER,
    )


@claim(
    NOTE, 50, "V2 drops V1's last stride-1 stage, prefers 3x3, and has a smaller expansion.",
    formula="rows of the two tables",
)  # fmt: skip
def v2_design() -> Finding:
    v1, s = table_v1.TABLE_1, table_v2.S
    last = {
        "B0": v1[-1].stride, "S": s[-1].stride, "M": table_v2.M[-1].stride, "L": table_v2.L[-1].stride
    }  # fmt: skip
    expansions = [max(row.expansion for row in table) for table in (v1, s)]
    mean = [sum(row.expansion * row.depth for row in table) / sum(row.depth for row in table) for table in (v1, s)]
    kernels = {
        name: sorted({b.depthwise.conv.kernel_size[0] for b in modules_of(on_meta(name), InvertedResidual)})
        for name in ("efficientnet_b0", "efficientnet_v2_s")
    }
    as_said = last["S"] == 2 and kernels["efficientnet_v2_s"] == [3] and mean[1] < mean[0]
    everywhere = as_said and last["M"] == last["L"] == 2 and expansions[1] < expansions[0]
    return Finding(
        verdict=holds_if(everywhere, otherwise="approximate" if as_said else "fails"),
        value=mean,
        why="Of S, the paper's Table 4, it is right: the last stage has stride 2, all kernels are 3x3, and the "
        f"expansion is {mean[1]:.2f} a block on average to B0's {mean[0]:.2f} (1 and 4 in the first four stages, 6 "
        "still in the last two). M and L of the released code end in a stage of stride 1 again.",
        closed_form={"stride of the last stage": last},
        traced={"kernels": kernels},
        source=f"{V2_PAPER}, section 3.3 and Table 4",
    )


@claim(
    NOTE, 51, "MBConv: the first 1x1 has n times the input's channels; there is a shortcut only for equal shapes.",
    formula="n c_in; s = 1 and c_in = c_out",
)  # fmt: skip
def mbconv() -> Finding:
    blocks = modules_of(on_meta("efficientnet_b0"), InvertedResidual)
    n = [
        b.expand.conv.out_channels // b.expand.conv.in_channels for b in blocks if hasattr(b, "expand")
    ]  # fmt: skip
    ruled = sum(
        b.depthwise.conv.stride == (1, 1) and modules_of(b, nn.Conv2d)[0].in_channels == b.project.conv.out_channels
        for b in blocks
    )
    ran = sum(x.kind == "add" for x in network("efficientnet_b0").pricing.layers)
    return Finding(
        verdict=holds_if(set(n) == {6} and ruled == ran),
        value=ran,
        why=f"In B0 {len(n)} of {len(blocks)} blocks have a first 1x1, with n = 6; the first, with n = 1, has none. "
        f"{ran} have the shortcut, those of stride 1 and equal channels.",
        closed_form={"shortcuts": ruled},
        traced={"shortcuts": ran, "n": sorted(set(n))},
        source=f"{V1_PAPER}, Table 1",
    )


@claim(NOTE, 52, "swish(x) = x · sigmoid(x).", formula="x / (1 + e⁻ˣ)")
def swish() -> Finding:
    x = sample(2000, low=-60, high=61) / 8
    same = torch.allclose(nn.SiLU()(x), x / (1 + torch.exp(-x)), rtol=0, atol=1e-12)
    closed, p = formulas.activation(name="silu", shape=(1, 8)), traced(nn.SiLU, 1, 8)
    return Finding(
        verdict=holds_if(same),
        value=same,
        why="Run on two thousand values; torch calls it SiLU. (Swish in general has a factor in the sigmoid, 1 here.)",
        closed_form=figures(closed, "flops"),
        traced=figures(p, "flops"),
        source="Ramachandran et al., arXiv:1710.05941",
    )


@claim(
    NOTE, 53, "SE in MBConv: the first fully connected layer has 1/4 of the channels that enter the MBConv, and swish; "
    "the second those of the depthwise, and a sigmoid.",
    formula="tc → c/4 → tc",
)  # fmt: skip
def mbconv_se() -> Finding:
    blocks = modules_of(on_meta("efficientnet_b0"), InvertedResidual)
    rows = [(modules_of(b, nn.Conv2d)[0].in_channels, b.depthwise.conv.out_channels, b.se) for b in blocks]
    right = all(
        (se.reduce.in_channels, se.reduce.out_channels, se.expand.out_channels) == (wide, c_in // 4, wide)
        and isinstance(se.act, nn.SiLU) and isinstance(se.gate, nn.Sigmoid)
        for c_in, wide, se in rows
    )  # fmt: skip
    c_in, wide, se = rows[3]
    closed = formulas.squeeze_excitation(
        channels=wide, squeeze=c_in // 4, size=(28, 28), activation="silu", convolutional=True
    )
    p = traced(lambda: se, 1, wide, 28, 28)
    return Finding(
        verdict=holds_if(right),
        value=[wide, c_in // 4, wide],
        why=f"In all {len(blocks)} blocks of B0; the fourth goes {wide}, {c_in // 4}, {wide}, with {c_in} channels "
        "entering: 1/24 of what the gate sees.",
        closed_form={"params": closed.params, "MACs": closed.macs},
        traced={"params": p.params, "MACs": p.macs},
        source="the authors' code (se_ratio = 0.25 of the block's input)",
    )


@claim(
    NOTE, 54, "This SE is basically the same as MobileNetV3's.", formula="2 (tc)(c/4) against 2 (tc)(tc/4)",
)  # fmt: skip
def same_se() -> Finding:
    c, t = 40, 6
    wide = t * c
    squeezed = {"EfficientNet": c // 4, "MobileNetV3": make_divisible(wide // 4)}
    styles: dict[str, dict[str, Any]] = {
        "EfficientNet": {"act": nn.SiLU, "gate": nn.Sigmoid}, "MobileNetV3": {"gate": nn.Hardsigmoid}
    }  # fmt: skip
    closed = {
        name: formulas.squeeze_excitation(channels=wide, squeeze=s, size=(14, 14), convolutional=True).params
        for name, s in squeezed.items()
    }
    ran = {
        name: traced(partial(SqueezeExcitation, wide, s, **styles[name]), 1, wide, 14, 14).params
        for name, s in squeezed.items()
    }
    ratio = closed["MobileNetV3"] / closed["EfficientNet"]
    b0, v3 = _se_share("efficientnet_b0"), _se_share("mobilenet_v3_large")
    return Finding(
        verdict="approximate",
        value=ratio,
        why=f"The steps are the same. But V3 squeezes to a quarter of the expanded channels ({wide} to "
        f"{squeezed['MobileNetV3']}), MBConv to a quarter of those that enter the block ({wide} to "
        f"{squeezed['EfficientNet']}): {ratio:.1f} times the parameters. And V3 has ReLU and a hard sigmoid for swish "
        f"and sigmoid. SE holds {b0:.1%} of B0's parameters and {v3:.1%} of V3-Large's.",
        closed_form={"params": closed},
        traced={"params": ran, "share of B0's params": b0, "share of V3-Large's params": v3},
        source=f"{V1_PAPER}, section 4; Howard et al., arXiv:1905.02244, section 5.3",
    )


def _se_share(name: str) -> float:
    net = on_meta(name)
    held = sum(t.numel() for gate in modules_of(net, SqueezeExcitation) for t in gate.parameters())
    return float(held / network(name).params)


@claim(
    NOTE, 55, "Fused-MBConv merges the expansion's 1x1 and the depthwise into one dense 3x3; the actual net has no "
    "SE in it.",
    formula="h w c t (9 c + c') against h w c t (c + 9 + c')",
)  # fmt: skip
def fused() -> Finding:
    c, t, size = 48, 4, (48, 48)
    closed = formulas.fused_mbconv(c_in=c, c_out=c, size=size, expansion=t)
    plain = formulas.mbconv(c_in=c, c_out=c, size=size, expansion=t, squeeze=0)
    p = traced(partial(fused_mbconv, c, c, expansion=t, stride=1, eps=1e-3), 1, c, *size)
    blocks = [
        b for b in modules_of(on_meta("efficientnet_v2_s"), SkipSequential) if not isinstance(b, InvertedResidual)
    ]
    gates = sum(len(modules_of(b, SqueezeExcitation)) for b in blocks)
    depthwise = sum(m.groups > 1 for b in blocks for m in modules_of(b, nn.Conv2d))
    return Finding(
        verdict=holds_if(gates == depthwise == 0 and len(blocks) == sum(r.depth for r in table_v2.S if r.fused)),
        value=len(blocks),
        why=f"None of S's {len(blocks)} fused blocks has an SE or a depthwise convolution. It costs "
        f"{closed.macs / plain.macs:.1f} times the MACs of the unfused block at {c} channels and t = {t}, and pays in "
        "speed alone. With expansion 1 the 1x1 at the end is gone, too.",
        closed_form={"MACs": closed.macs, "params": closed.params},
        traced={"MACs": p.macs, "params": p.params, "SE in fused blocks": gates},
        source=f"{V2_PAPER}, Figure 2 and Table 4",
    )


def fused_block(c_in: int, c_out: int, *, expansion: int, kernel: int, stride: int, eps: float) -> nn.Module:
    """Fused-MBConv with a kernel of any size."""
    if expansion == 1:
        conv = ConvNormAct(c_in, c_out, kernel, stride=stride, act=nn.SiLU, eps=eps)
        return SkipSequential({"conv": conv}, skip=stride == 1 and c_in == c_out)
    expand = ConvNormAct(c_in, c_in * expansion, kernel, stride=stride, act=nn.SiLU, eps=eps)
    project = ConvNormAct(c_in * expansion, c_out, 1, act=None, eps=eps)
    return SkipSequential({"expand": expand, "project": project}, skip=stride == 1 and c_in == c_out)


def b4_traced(stages: int) -> Profile:
    """EfficientNet-B4 at 380x380 whose first stages of MBConv are fused, with the kernels they have."""
    scale = table_v1.SCALES["efficientnet_b4"]
    built = [
        BuiltStage(
            partial(fused_block if i < stages else build_mbconv, expansion=row.expansion, kernel=row.kernel),
            make_divisible(row.c_out * scale.width),
            row.stride,
            math.ceil(row.depth * scale.depth),
        )
        for i, row in enumerate(table_v1.TABLE_1)
    ]
    width, head = make_divisible(table_v1.STEM_WIDTH * scale.width), table_v1.HEAD_EXPANSION * built[-1].c_out
    build = partial(
        EfficientNet, width, built, head, dropout=0.0, eps=1e-3, num_classes=1000, resolution=scale.resolution
    )
    return traced(build, 1, 3, scale.resolution, scale.resolution)


def b4_closed(stages: int, kernel: int | None = None) -> formulas.LayerCost:
    """The same in closed form; ``kernel`` instead of the table's in the fused stages."""
    scale = table_v1.SCALES["efficientnet_b4"]
    c, size = make_divisible(table_v1.STEM_WIDTH * scale.width), (scale.resolution, scale.resolution)
    layers = [formulas.conv(c_in=3, c_out=c, kernel=3, size=size, stride=2, padding=1, bias=False)]
    layers.append(formulas.batch_norm(channels=c, size=layers[0].output_size))
    for i, row in enumerate(table_v1.TABLE_1):
        for j in range(math.ceil(row.depth * scale.depth)):
            shape: dict[str, Any] = {
                "c_in": c, "c_out": make_divisible(row.c_out * scale.width), "size": layers[-1].output_size,
                "expansion": row.expansion, "stride": row.stride if j == 0 else 1,
            }  # fmt: skip
            if i < stages:
                block = formulas.fused_mbconv(**shape, kernel=kernel or row.kernel)
            else:
                block = formulas.mbconv(**shape, kernel=row.kernel)
            c = block.output_shape[1]
            layers.append(block.total)
    head, size = table_v1.HEAD_EXPANSION * c, layers[-1].output_size
    layers.append(formulas.pointwise_conv(c_in=c, c_out=head, size=size, bias=False))
    layers.append(formulas.batch_norm(channels=head, size=size))
    return formulas.total([*layers, formulas.linear(in_features=head, out_features=1000)])


@claim(NOTE, 56, "Fused-MBConv is best in stages 1 to 3.", formula="EfficientNet-B4 with its first stages fused")
def best_stages() -> Finding:
    closed = {f"stages fused: {n}": figures(b4_closed(n), "params", "macs") for n in (0, 3, 5, 7)}
    none, three, five, seven = (units.si(cost["params"]) for cost in closed.values())
    return Finding(
        verdict="not computable",
        value=[cost["params"] for cost in closed.values()],
        why="Best in accuracy and speed, which are measured: the paper's Table 3 finds stages 1-3 the best trade-off, "
        f"on EfficientNet-B4. The price can be computed: {none} parameters become {three} with three stages fused, "
        f"{five} with five and {seven} with all seven, where the paper prints 19.3, 20.0, 43.4 and 132.0 M (three "
        f"stages with 3x3 only make {units.si(b4_closed(3, kernel=3).params)}).",
        closed_form=closed,
        traced={name: figures(b4_traced(int(name[-1])), "params", "macs") for name in closed},
        source=f"{V2_PAPER}, section 3.2 and Table 3",
    )


@claim(
    NOTE, 57, "Progressive learning: small images early, growing with the regularisation.",
    formula="MACs(128) / MACs(300)",
)  # fmt: skip
def progressive() -> Finding:
    small, large = (models.closed_form("efficientnet_v2_s", resolution=r) for r in (128, 300))
    ran = [network("efficientnet_v2_s", resolution=r) for r in (128, 300)]
    return Finding(
        verdict="holds",
        value=small.macs / large.macs,
        why="So the paper trains: S from 128 to 300 pixels in four stages, with dropout, RandAugment and mixup "
        f"growing. The same network runs on all sizes, and at 128 takes {units.share(small.macs, large.macs)} "
        "of the MACs at 300.",
        closed_form={"MACs at 128": small.macs, "MACs at 300": large.macs, "params": small.params},
        traced={"MACs at 128": ran[0].macs, "MACs at 300": ran[1].macs, "params": ran[0].params},
        source=f"{V2_PAPER}, section 4 and Table 6",
    )
