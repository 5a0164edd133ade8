"""Note 004, a survey of classification networks: the MobileNets (claims 25 to 32)."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn

from costmodel import formulas, models
from costmodel.models._blocks import InvertedResidual, SqueezeExcitation
from costmodel.models.closed.mobilenet_v1 import Separable
from costmodel.models.mobilenet_v1 import separable
from costmodel.notes.claim import Finding, claim, holds_if
from costmodel.notes.measure import (
    count_kinds,
    figures,
    macs_by_kind,
    modules_of,
    network,
    on_meta,
    sample,
    totals,
    traced,
)
from costmodel.notes.note_000 import V1_PAPER, V2_PAPER, V3_PAPER, VGG16_AND_V1, eight_to_nine
from costmodel.notes.note_004_early import NOTE
from costmodel.views import units


@claim(
    NOTE, 25, "MobileNet has 0.9 % lower accuracy and 1/32 of VGG16's parameters; its hyper-parameters are alpha and "
    "beta.",
    formula="params(VGG16) / params(MobileNetV1)",
)  # fmt: skip
def mobilenet_summary() -> Finding:
    closed = totals(models.closed_form, "params", VGG16_AND_V1)
    ratio = closed["VGG16"] / closed["MobileNetV1"]
    return Finding(
        verdict="fails",
        value=ratio,
        why=f"Three claims in one. The names are wrong: alpha and rho. The parameters are 1/{ratio:.1f}, about as "
        "said. The accuracy cannot be computed; the paper prints 70.6 % and 71.5 %, 0.9 points as said.",
        closed_form=closed,
        traced=totals(network, "params", VGG16_AND_V1),
        source=f"{V1_PAPER}, sections 3.3 and 3.4, Table 8",
    )


MAP, KERNEL, M, N = 10, 3, 3, 10
"""A map of 10x10, kernels of 3x3, from 3 to 10 channels: the numbers of note 002."""


@claim(
    NOTE, 26, "The input is D_K x D_K x M, the N kernels D_F x D_F x M; a standard convolution costs D_K² M N D_F².",
    formula="D_K² M N D_F², D_K the kernel and D_F the map",
)  # fmt: skip
def letters_swapped() -> Finding:
    said = MAP**2 * M * N * KERNEL**2
    shape: dict[str, Any] = {"c_in": M, "c_out": N, "kernel": KERNEL, "size": (MAP, MAP), "bias": False}
    same, strided = (formulas.conv(**shape, padding=1, stride=s).macs for s in (1, 2))
    p = traced(partial(nn.Conv2d, M, N, KERNEL, padding=1, bias=False), 1, M, MAP, MAP)
    return Finding(
        verdict="approximate" if said == same else "fails",
        value=same,
        why="The letters are swapped: in the paper D_K is the kernel and D_F the feature map. The product is the same "
        f"either way, {said:,} for {MAP}x{MAP}, 3x3, {M} to {N}. It is the output's map that counts: at stride 2 it is "
        f"{strided:,}.",
        closed_form={"MACs": same},
        traced={"MACs": p.macs},
        source=f"{V1_PAPER}, section 3.1, eq. 2",
    )


@claim(NOTE, 27, "A separable convolution costs D_K² M D_F² + M N D_F².", formula="D_K² M D_F² + M N D_F², D_F the map")
def separable_letters() -> Finding:
    in_paper = KERNEL**2 * M * MAP**2 + M * N * MAP**2
    in_note = MAP**2 * M * KERNEL**2 + M * N * KERNEL**2
    block = formulas.depthwise_separable(c_in=M, c_out=N, size=(MAP, MAP)).macs
    p = traced(partial(separable, M, Separable(N, 1)), 1, M, MAP, MAP)
    return Finding(
        verdict=holds_if(in_note == block),
        value=block,
        why="In the paper's letters it is right. In the note's own (claim 26: D_K the input, D_F the kernel) the "
        f"second term would grow with the kernel instead of the map: {in_note:,} for the example, where it is "
        f"{block:,}. It should be M N D_K² there.",
        closed_form={"MACs": block, "in the paper's letters": in_paper, "in the note's letters": in_note},
        traced={"MACs": p.macs},
        source=f"{V1_PAPER}, section 3.1, eq. 5",
    )


@claim(
    NOTE, 28, "Hence a standard convolution costs 8 to 9 times as much.", formula="1 / (1/N + 1/9) = 9N / (N + 9)",
)  # fmt: skip
def hence_eight_to_nine() -> Finding:
    return eight_to_nine()


@claim(NOTE, 29, "Most of V1's depthwise weights end up zero.", formula="share of zeros in trained weights")
def dead_depthwise() -> Finding:
    p = network("mobilenet_v1")
    depthwise = sum(t.size for x in p.pricing.layers if x.kind == "depthwise conv" for t in x.parameters)
    return Finding(
        verdict="not computable",
        why="Trained weights are no matter of shapes, and neither paper says so: V1's advises little or no weight "
        "decay on the depthwise filters, V2's argues that ReLU loses information in narrow layers. What shapes tell is "
        f"how few they are: {depthwise:,} of {p.params:,} parameters, {units.share(depthwise, p.params)}.",
        traced={"depthwise weights": depthwise, "params": p.params},
        source=f"{V1_PAPER}, section 3.2; {V2_PAPER}, section 3.2",
    )


@claim(
    NOTE, 30, "ReLU6 = min(max(x, 0), 6); the shortcut needs stride 1 and equal shapes; 1x1 up, depthwise, 1x1 down.",
    formula="min(max(x, 0), 6); s = 1 and c_in = c_out",
)  # fmt: skip
def v2_block() -> Finding:
    x = sample(1000, low=-100, high=100) / 8
    relu6 = torch.equal(nn.ReLU6()(x), torch.minimum(torch.maximum(x, torch.tensor(0.0)), torch.tensor(6.0)).double())
    blocks = modules_of(on_meta("mobilenet_v2"), InvertedResidual)
    order = [[name for name, _ in b.named_children()] for b in blocks]
    ruled = sum(
        b.depthwise.conv.stride == (1, 1) and modules_of(b, nn.Conv2d)[0].in_channels == b.project.conv.out_channels
        for b in blocks
    )
    adds = count_kinds(network("mobilenet_v2"))["add"]
    expected = ["expand", "depthwise", "project"]
    return Finding(
        verdict=holds_if(relu6 and ruled == adds and order[1:] == [expected] * (len(blocks) - 1)),
        value=adds,
        why=f"ReLU6 run on a thousand values; {ruled} of {len(blocks)} blocks fulfil the rule and {adds} additions "
        "run; all have the three convolutions in this order, but for the first, whose expansion is 1 and "
        "which has no 1x1 up.",
        traced={"ReLU6 is that": relu6, "shortcuts": adds},
        source=f"{V2_PAPER}, Tables 1 and 2",
    )


@claim(NOTE, 31, "hard-sigmoid = ReLU6(x + 3) / 6.", formula="min(max(x + 3, 0), 6) / 6")
def hard_sigmoid() -> Finding:
    x = sample(2000, low=-40, high=41) / 8
    same = torch.allclose(nn.Hardsigmoid()(x), nn.ReLU6()(x + 3) / 6, rtol=0, atol=1e-12)
    line = torch.linspace(-8, 8, 1601, dtype=torch.float64)
    apart = round(float((nn.Hardsigmoid()(line) - line.sigmoid()).abs().max()), 4)
    closed, p = formulas.activation(name="hardsigmoid", shape=(1, 8)), traced(nn.Hardsigmoid, 1, 8)
    return Finding(
        verdict=holds_if(same),
        value=same,
        why=f"Equal on two thousand values; from the sigmoid it is {apart} apart at most, and it needs no exponential.",
        closed_form=figures(closed, "flops"),
        traced={**figures(p, "flops"), "largest distance from the sigmoid": apart},
        source=f"{V3_PAPER}, section 5.2",
    )


@claim(
    NOTE, 32, "SE in V3: pool, then fc + ReLU, fc + hard-sigmoid, and scale.", formula="x · hσ(W₂ ReLU(W₁ mean(x)))",
)  # fmt: skip
def v3_se() -> Finding:
    gates = modules_of(on_meta("mobilenet_v3_large"), SqueezeExcitation)
    p = traced(partial(_same, gates[0]), 1, gates[0].reduce.in_channels, 28, 28)
    steps = [x.kind for x in p.pricing.layers]
    types = [type(getattr(gates[0], name)).__name__ for name in ("pool", "reduce", "act", "expand", "gate")]
    closed = formulas.squeeze_excitation(
        channels=gates[0].reduce.in_channels, squeeze=gates[0].reduce.out_channels, size=(28, 28), gate="hardsigmoid",
        convolutional=True,
    )  # fmt: skip
    macs = 0
    for gate in gates:
        macs += macs_by_kind(traced(partial(_same, gate), 1, gate.reduce.in_channels, 7, 7))["pointwise conv"]
    return Finding(
        verdict=holds_if(types[0::2] == ["AdaptiveAvgPool2d", "ReLU", "Hardsigmoid"] and steps[-1] == "multiply"),
        value=steps,
        why=f"In {len(gates)} bnecks of V3-Large, all {macs:,} MACs of which are "
        f"{units.share(macs, network('mobilenet_v3_large').macs)} of the network's. Its fully connected "
        "layers are written as 1x1 convolutions, at the same cost.",
        closed_form={"MACs": closed.macs, "params": closed.params},
        traced={"MACs": p.macs, "params": p.params, "modules": types},
        source=f"{V3_PAPER}, section 5.3",
    )


def _same(module: nn.Module) -> nn.Module:
    return module
