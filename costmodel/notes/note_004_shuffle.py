"""Note 004, a survey of classification networks: ShuffleNetV1 and V2 (claims 33 to 46)."""

from __future__ import annotations

import math
from functools import partial

from torch import nn

from costmodel import formulas
from costmodel.models.closed.resnext import TEMPLATES
from costmodel.models.closed.shufflenet_v1 import stage_2_width
from costmodel.models.resnet import bottleneck
from costmodel.models.shufflenet_v1 import shuffle_unit
from costmodel.models.shufflenet_v2 import ShuffleUnit
from costmodel.notes.claim import Finding, claim, holds_if, judge
from costmodel.notes.measure import CLASSICS, count_kinds, macs_by_kind, modules_of, network, on_meta, traced
from costmodel.notes.note_004_early import NOTE
from costmodel.notes.shuffle_experiments import experiments
from costmodel.views import units

V1_PAPER = "Zhang et al., ShuffleNet, arXiv:1707.01083"
V2_PAPER = "Ma et al., ShuffleNet V2, arXiv:1807.11164"

CONVS = ("standard conv", "pointwise conv", "grouped conv", "depthwise conv")


@claim(
    NOTE, 33, "ShuffleNetV1 is entirely grouped convolution and depthwise convolution.",
    formula="MACs by kind of layer",
)  # fmt: skip
def v1_is_grouped() -> Finding:
    counts, macs = count_kinds(network("shufflenet_v1")), macs_by_kind(network("shufflenet_v1"))
    others = {kind: (counts[kind], macs[kind]) for kind in macs if kind not in ("grouped conv", "depthwise conv")}
    outside, total = sum(n for _, n in others.values()), sum(macs.values())
    return Finding(
        verdict=holds_if(not others, otherwise="approximate" if outside < total / 5 else "fails"),
        value=1 - outside / total,
        why=f"{units.share(total - outside, total)} of the MACs (g = 3). The rest is the first 3x3, the first 1x1 of "
        "stage 2, which has too few channels to be grouped, and the classifier: "
        f"{', '.join(f'{kind} {units.share(n, total)}' for kind, (_, n) in others.items())}.",
        traced={"layers": {k: counts[k] for k in macs}, "MACs": macs},
        source=f"{V1_PAPER}, section 3.2 and Table 1",
    )


@claim(
    NOTE, 34, "Figure (a) is ResNeXt's block with depthwise convolution.",
    formula="groups of the 3x3 against its channels",
)  # fmt: skip
def figure_a() -> Finding:
    conv = next(m for m in modules_of(on_meta("resnext50_32x4d"), nn.Conv2d) if m.groups > 1)
    template = TEMPLATES["resnext50_32x4d"]
    return Finding(
        verdict=holds_if(conv.groups == conv.in_channels),
        value=[conv.groups, conv.in_channels],
        why="It is ResNet's bottleneck unit with its 3x3 made depthwise. ResNeXt's has a grouped 3x3: "
        f"{conv.groups} groups of {conv.in_channels // conv.groups} channels in 32x4d, where a depthwise one would "
        f"have {conv.in_channels} groups of one.",
        closed_form={"groups": template.groups, "channels": template.groups * template.width_per_group},
        traced={"groups": conv.groups, "channels": conv.in_channels},
        source=f"{V1_PAPER}, Figure 2(a): 'bottleneck unit with depthwise convolution'",
    )


@claim(NOTE, 35, "A ResNeXt block costs hw(2cm + 9m²/g).", formula="h w (2 c m + 9 m² / g)")
def resnext_cost() -> Finding:
    c, m, g, size = 256, 128, 32, 56
    said = size * size * (2 * c * m + 9 * m * m // g)
    block = formulas.grouped_bottleneck(c_in=c, c_out=c, size=(size, size), cardinality=g, group_width=m // g)
    p = traced(partial(bottleneck, c, 64, 1, groups=g, width_per_group=m // g), 1, c, size, size)
    return Finding(
        verdict=judge(block.macs, said),
        value=block.macs,
        why=f"In MACs, for a block of stride 1 whose shortcut is the identity: {said:,} for c = {c}, m = {m}, g = {g}. "
        "Batch norms, activations and the addition come to it.",
        closed_form={"MACs": block.macs},
        traced={"MACs": p.macs},
        source=f"{V1_PAPER}, section 3.2",
    )


@claim(NOTE, 36, "93.4 % of it is 1x1.", formula="2cm / (2cm + 9m²/g) = 4 / (4 + 9/g) for c = 2m")
def resnext_pointwise() -> Finding:
    c, m, g, size = 256, 128, 32, 56
    block = formulas.grouped_bottleneck(c_in=c, c_out=c, size=(size, size), cardinality=g, group_width=m // g)
    share = (block["reduce"].macs + block["expand"].macs) / block.macs
    one = macs_by_kind(traced(partial(bottleneck, c, 64, 1, groups=g, width_per_group=m // g), 1, c, size, size))
    whole = macs_by_kind(network("resnext50_32x4d"))
    plain = formulas.bottleneck(c_in=c, width=c // 4, c_out=c, size=(size, size))
    resnet = (plain["reduce"].macs + plain["expand"].macs) / plain.macs
    return Finding(
        verdict=holds_if(round(100 * share, 1) == 93.4),
        value=share,
        why=f"{share:.4%} of the MACs in a unit of cardinality {g} with c = 2m, in every stage alike, for m grows with "
        f"d. It is not general: of all of ResNeXt-50 the 1x1 take {whole['pointwise conv'] / sum(whole.values()):.1%}, "
        f"with ResNet's dense 3x3 {resnet:.1%}, and with a depthwise 3x3 {4 / (4 + 9 / m):.1%}.",
        closed_form={"share of 1x1": share},
        traced={"share of 1x1": one["pointwise conv"] / sum(one.values())},
        source=f"{V1_PAPER}, section 3.1",
    )


@claim(NOTE, 37, "A ShuffleNet block costs hw(2cm/g + 9m).", formula="h w (2 c m / g + 9 m)")
def shuffle_cost() -> Finding:
    g, size = 3, 28
    c = stage_2_width(g)
    m = c // 4
    said = size * size * (2 * c * m // g + 9 * m)
    block = formulas.shuffle_unit_v1(c_in=c, c_out=c, size=(size, size), groups=g)
    p = traced(partial(shuffle_unit, c, c, stride=1, groups=g, first_groups=g), 1, c, size, size)
    resnext = size * size * (2 * c * m + 9 * m * m // g)
    return Finding(
        verdict=judge(block.macs, said),
        value=block.macs,
        why=f"In MACs, for a unit of stride 1: {said:,} for c = {c}, m = {m}, g = {g}, where ResNeXt's formula gives "
        f"{resnext:,}.",
        closed_form={"MACs": block.macs},
        traced={"MACs": p.macs},
        source=f"{V1_PAPER}, section 3.2",
    )


@claim(NOTE, 38, "In ShuffleNetV1 convolutions take only about 50 % of the GPU time.", formula="time(conv) / time")
def conv_time() -> Finding:
    p = network("shufflenet_v1")
    macs, access = p.macs, p.memory_access
    moved = sum(x.traffic.elements for x in p.pricing.layers if x.kind in CONVS)
    done = sum(x.work.macs for x in p.pricing.layers if x.kind in CONVS)
    return Finding(
        verdict="not computable",
        why="A time is measured, on a machine: V2's paper shows about half for ShuffleNet v1 on a GTX 1080 Ti. What "
        f"can be counted speaks for it: convolutions do {units.share(done, macs)} of the MACs, but only "
        f"{units.share(moved, access)} of the memory access (every operation a kernel of its own).",
        traced={"share of MACs": done / macs, "share of memory access": moved / access},
        source=f"{V2_PAPER}, section 2 (run time decomposition on GPU and ARM)",
    )


@claim(NOTE, 39, "FLOPs usually count convolutions only.", formula="MACs of convolutions / MACs")
def convs_only() -> Finding:
    shares = {}
    for name in CLASSICS:
        macs = macs_by_kind(network(name))
        shares[name] = sum(n for kind, n in macs.items() if kind in CONVS) / sum(macs.values())
    lowest = min(shares, key=lambda name: shares[name])
    v1, vgg = network("mobilenet_v1"), network("vgg16")
    conv_vgg = sum(n for kind, n in macs_by_kind(vgg).items() if kind in CONVS)
    conv_v1 = sum(n for kind, n in macs_by_kind(v1).items() if kind in CONVS)
    return Finding(
        verdict="approximate",
        value=[min(shares.values()), max(shares.values())],
        why="Papers count the multiply-adds of convolutions, and most those of fully connected layers too: the 569 M "
        f"of MobileNetV1 are {v1.macs / 1e6:.1f} M with its classifier and {conv_v1 / 1e6:.1f} M without; but VGG16's "
        f"15.3 G in the ResNet paper are its convolutions, {units.si(conv_vgg)} of {units.si(vgg.macs)}. It matters "
        f"little: convolutions are {min(shares.values()):.1%} ({lowest}) to {max(shares.values()):.1%} of the MACs in "
        "the classic networks. Right is that norms, activations, pools and additions are left out.",
        traced={"share of convolutions": shares},
        source=f"{V2_PAPER}, section 1: 'FLOPs metric only account for the convolution part'",
    )


# -- the guidelines -------------------------------------------------------------------------------------------------


def access_at(ratio: tuple[int, int], *, groups: int = 1, size: int = 56, macs_of: int = 128) -> float:
    """Memory access of a 1x1 with channels in this ratio, at the MACs of ``macs_of`` to ``macs_of`` without groups.

    At fixed MACs the channels are no whole numbers, so this is the formula over the reals.
    """
    unit = math.sqrt(macs_of * macs_of * groups / (ratio[0] * ratio[1]))
    c1, c2 = ratio[0] * unit, ratio[1] * unit
    return size * size * (c1 + c2) + c1 * c2 / groups


def pointwise(c_in: int, c_out: int, groups: int = 1, size: int = 56) -> tuple[int, int, int, int]:
    """MACs and memory access of a 1x1 without bias: closed form and trace."""
    cost = formulas.conv(c_in=c_in, c_out=c_out, kernel=1, size=(size, size), groups=groups, bias=False)
    p = traced(partial(nn.Conv2d, c_in, c_out, 1, groups=groups, bias=False), 1, c_in, size, size)
    return cost.macs, cost.memory_access, p.macs, p.memory_access


@claim(
    NOTE, 40, "G1: at fixed FLOPs, equal input and output channels minimise the memory access cost.",
    formula="MAC = hw(c₁ + c₂) + c₁c₂ ≥ 2√(hwB) + B/(hw)",
)  # fmt: skip
def guideline_1() -> Finding:
    equal = (128, 128)
    splits = [(2**i, 2 ** (14 - i)) for i in range(3, 12)]
    found = {split: pointwise(*split) for split in splits}
    best = min(found, key=lambda split: found[split][1])
    macs, access, *_ = found[equal]
    bound = formulas.pointwise_memory_access_bound(macs=macs, size=(56, 56))
    return Finding(
        verdict=holds_if(best == equal and access == bound and len({f[0] for f in found.values()}) == 1),
        value=access,
        why=f"Of {len(splits)} splits of the same {macs:,} MACs on 56x56, {best[0]} to {best[1]} moves the least, "
        f"{access:,} elements, and that is the bound itself. It speaks of a 1x1 of stride 1 that reads and writes "
        "everything once.",
        closed_form={"memory access": {f"{a}:{b}": f[1] for (a, b), f in found.items()}},
        traced={"memory access": {f"{a}:{b}": f[3] for (a, b), f in found.items()}},
        source=f"{V2_PAPER}, section 2, G1, eq. 1",
    )


@claim(NOTE, 41, "c1 and c2 are the input's and output's feature sizes.", formula="B = h w c₁ c₂")
def channel_letters() -> Finding:
    c1, c2, size = 24, 96, 28
    macs, access, ran_macs, ran_access = pointwise(c1, c2, size=size)
    return Finding(
        verdict="fails",
        value="channels",
        why="They are the numbers of input and output channels; the size of the map is h and w. Only so is B = h w c1 "
        f"c2 the cost of a 1x1: {size}·{size}·{c1}·{c2} = {size * size * c1 * c2:,}, as traced.",
        closed_form={"MACs": macs, "memory access": access},
        traced={"MACs": ran_macs, "memory access": ran_access},
        source=f"{V2_PAPER}, section 2, G1",
    )


@claim(NOTE, 42, "The more uneven c1 : c2, the slower.", formula="hw(c₁ + c₂) + c₁c₂ at fixed c₁c₂")
def uneven_is_slower() -> Finding:
    ratios = ((1, 1), (1, 2), (1, 6), (1, 12))
    access = [access_at(ratio) for ratio in ratios]
    channels = ((128, 128), (90, 180), (52, 312), (36, 432))
    found = [pointwise(*pair) for pair in channels]
    relative = {f"{a}:{b}": n / access[0] for (a, b), n in zip(ratios, access, strict=True)}
    return Finding(
        verdict=holds_if(access == sorted(access)),
        value=list(relative.values()),
        why=f"In memory access, at equal MACs on 56x56: "
        f"{', '.join(f'{r} {n:.2f} times' for r, n in relative.items())}. Speed itself is measured; the "
        "paper's Table 1, with these ratios, falls in the same order on GPU and ARM.",
        closed_form={"memory access": [f[1] for f in found]},
        traced={"memory access": [f[3] for f in found]},
        source=f"{V2_PAPER}, Table 1",
    )


@claim(
    NOTE, 43, "G2: at fixed FLOPs, more groups raise the memory access cost.", formula="MAC = hwc₁ + Bg/c₁ + B/(hw)",
)  # fmt: skip
def guideline_2() -> Finding:
    groups = (1, 2, 4, 8)
    access = [access_at((1, 1), groups=g) for g in groups]
    same_channels = [pointwise(128, 128, groups=g)[1] for g in groups]
    ran = [pointwise(128, 128, groups=g)[3] for g in groups]
    return Finding(
        verdict=holds_if(access == sorted(access)),
        value=[n / access[0] for n in access],
        why=f"At equal MACs, with channels growing as √g: "
        f"{', '.join(f'g = {g}: {n / access[0]:.2f} times' for g, n in zip(groups, access, strict=True))}. At equal "
        "channels it is the other way round: more groups have fewer weights and MACs, and "
        f"{units.change(same_channels[0], same_channels[-1])} memory access at g = 8.",
        closed_form={"memory access, 128 to 128": same_channels},
        traced={"memory access, 128 to 128": ran},
        source=f"{V2_PAPER}, section 2, G2, eq. 2, and Table 2",
    )


@claim(
    NOTE, 44, "G3: fragmentation slows; four fragments in parallel are the slowest.", formula="kernels at equal MACs",
)  # fmt: skip
def guideline_3() -> Finding:
    blocks = experiments()[2].at(1)
    ran = {v.label: traced(v.build, *v.input_shape) for v in blocks}
    kernels, access = {v.label: v.kernels for v in blocks}, {v.label: v.memory_access for v in blocks}
    most = max(access, key=lambda name: access[name])
    return Finding(
        verdict="not computable",
        value=access["4 in parallel"] / access["1"],
        why="Slow is measured: in the paper's Table 3 four in parallel are the slowest on the GPU, while on ARM the "
        "differences are small. What can be counted agrees: at nearly equal MACs they launch "
        f"{kernels['4 in parallel']} kernels instead of {kernels['1']} and move "
        f"{access['4 in parallel'] / access['1']:.2f} times the elements, the most of the five ({most}).",
        closed_form={"kernels": kernels, "memory access": access},
        traced={
            "kernels": {name: len(p.pricing.ops) for name, p in ran.items()},
            "memory access": {name: p.memory_access for name, p in ran.items()},
        },
        source=f"{V2_PAPER}, section 2, G3, and Table 3",
    )


@claim(NOTE, 45, "G4: without ReLU and shortcut it is the fastest.", formula="memory access of elementwise operations")
def guideline_4() -> Finding:
    networks = experiments()[3].at(1)
    access = {v.label: v.memory_access for v in networks}
    most, least = access["ReLU and shortcut"], access["neither"]
    return Finding(
        verdict=holds_if(min(access.values()) == least),
        value=least / most,
        why=f"In memory access, at equal MACs: without both the unit moves {units.share(least, most)} of what it moves "
        "with both. Speed is measured; the paper's Table 4 has the same order, about 20 % faster on the GPU. Where a "
        "ReLU is fused into the convolution before it, most of that is gone.",
        closed_form={"memory access": access},
        traced={"memory access": {v.label: traced(v.build, *v.input_shape).memory_access for v in networks}},
        source=f"{V2_PAPER}, section 2, G4, and Table 4",
    )


@claim(
    NOTE, 46, "V2's block: a channel split and a concatenation replace the addition, there is no grouped convolution, "
    "and the shuffle comes after the concatenation.",
    formula="h w (c/2)(c + 9)",
)  # fmt: skip
def v2_unit() -> Finding:
    c, size = 116, 28
    block = formulas.shuffle_unit_v2(c_in=c, c_out=c, size=(size, size))
    p = traced(partial(ShuffleUnit, c), 1, c, size, size)
    kinds = [x.kind for x in p.pricing.layers]
    counts = count_kinds(network("shufflenet_v2"))
    order = [kinds[0], *kinds[kinds.index("concat") :]]
    return Finding(
        verdict=holds_if(
            "add" not in counts and "grouped conv" not in counts and kinds[0] == "view" and "concat" in kinds
            and kinds.index("concat") > max(i for i, k in enumerate(kinds) if "conv" in k)
            and "ShuffleUnit" not in kinds
        ),
        value=kinds,
        why=f"In the whole network no addition and no grouped convolution run, and {counts['concat']} concatenations "
        "do. The split is a view; after the concatenation comes the shuffle, which copies. A unit takes "
        f"{block.macs:,} MACs.",
        closed_form={"MACs": block.macs, "memory access": block.memory_access},
        traced={"MACs": p.macs, "memory access": p.memory_access, "first and last steps": order},
        source=f"{V2_PAPER}, section 3 and Figure 3(c)",
    )  # fmt: skip
