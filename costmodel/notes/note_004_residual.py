"""Note 004, a survey of classification networks: ResNet, batch norm and ResNeXt (claims 15 to 24)."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.nn import functional as fn

from costmodel import formulas, models
from costmodel.models.closed.resnext import TEMPLATES
from costmodel.models.resnet import bottleneck
from costmodel.notes.claim import Finding, claim, holds_if
from costmodel.notes.measure import count_kinds, figures, modules_of, network, on_meta, sample, traced
from costmodel.notes.note_004_early import NOTE
from costmodel.views import units

RES_PAPER = "He et al., Deep Residual Learning, arXiv:1512.03385"
BN_PAPER = "Ioffe & Szegedy, Batch Normalization, arXiv:1502.03167"
NEXT_PAPER = "Xie et al., ResNeXt, arXiv:1611.05431"

CIFAR_WIDTHS = (16, 32, 64)
"""The widths of the three stages of the paper's networks for CIFAR-10, of 2n convolutions each."""


def cifar_resnet(n: int) -> formulas.BlockCost:
    """The paper's CIFAR-10 ResNet of 6n + 2 layers; its shortcuts have no parameters."""
    c_in, size = 3, (32, 32)
    path = formulas.BlockCost(layers=())
    for i, width in enumerate((CIFAR_WIDTHS[0], *(w for w in CIFAR_WIDTHS for _ in range(2 * n)))):
        stride = 2 if width > c_in > 3 else 1
        conv = formulas.conv(c_in=c_in, c_out=width, kernel=3, size=size, stride=stride, padding=1, bias=False)
        c_in, size = width, conv.output_size
        norm = formulas.batch_norm(channels=width, size=size)
        path += formulas.BlockCost(layers=((f"conv{i}", conv), (f"norm{i}", norm)))
    return path + formulas.BlockCost(layers=(("fc", formulas.linear(in_features=c_in, out_features=10)),))


def cifar_layers(n: int) -> nn.Module:
    """Its layers with parameters, one after the other."""
    layers: list[nn.Module] = []
    c_in = 3
    for width in (CIFAR_WIDTHS[0], *(w for w in CIFAR_WIDTHS for _ in range(2 * n))):
        stride = 2 if width > c_in > 3 else 1
        layers += [nn.Conv2d(c_in, width, 3, stride, padding=1, bias=False), nn.BatchNorm2d(width)]
        c_in = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c_in, 10))


@claim(NOTE, 15, "ResNet can exceed 1000 layers.", formula="6n + 2")
def thousand_layers() -> Finding:
    n = 200
    closed, p = cifar_resnet(n), traced(partial(cifar_layers, n), 1, 3, 32, 32)
    products = sum(x.work.macs > 0 for x in p.pricing.layers)
    return Finding(
        verdict=holds_if(6 * n + 2 > 1000 and products == 6 * n + 2),
        value=6 * n + 2,
        why=f"The paper trained one of {6 * n + 2} layers (n = {n}) on CIFAR-10: {closed.params:,} parameters, which "
        "it prints as 19.4 M. It could be optimised, but its error, 7.93 %, was above the 110-layer one's 6.43 %.",
        closed_form={"params": closed.params, "MACs": closed.macs},
        traced={"params": p.params, "MACs": p.macs, "layers with weights": products},
        source=f"{RES_PAPER}, section 4.2 and Table 6",
    )


@claim(
    NOTE, 16, "Basic block for 34 layers, bottleneck for 50, 101 and 152; the 1x1 reduces parameters.",
    formula="2 · 9 c² against 2 c m + 9 m²",
)  # fmt: skip
def blocks_by_depth() -> Finding:
    first = {
        name: len(modules_of(on_meta(name).layer1[1].body, nn.Conv2d))
        for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
    }
    size = (56, 56)
    basic = formulas.basic_block(c_in=256, c_out=256, size=size).params
    narrow = formulas.bottleneck(c_in=256, width=64, c_out=256, size=size).params
    ran = traced(partial(bottleneck, 256, 64, 1), 1, 256, *size).params
    return Finding(
        verdict=holds_if(list(first.values()) == [2, 2, 3, 3, 3] and narrow < basic),
        value=basic / narrow,
        why=f"Two 3x3 in 18 and 34 layers, three convolutions from 50 on. At 256 channels a bottleneck has {narrow:,} "
        f"parameters and a basic block {basic:,}, {basic / narrow:.1f} times as many.",
        closed_form={"params of a bottleneck": narrow, "params of a basic block": basic},
        traced={"params of a bottleneck": ran, "convolutions a block": first},
        source=f"{RES_PAPER}, Figure 5 and Table 1",
    )


def _works(operation: str, *shapes: tuple[int, ...]) -> bool:
    tensors = [torch.zeros(shape) for shape in shapes]
    try:
        if operation == "add":
            torch.add(*tensors)
        else:
            torch.cat(tensors, dim=1)
    except RuntimeError:
        return False
    return True


@claim(NOTE, 17, "Addition needs equal H, W and C; concatenation only equal H and W.", formula="(n, c, h, w)")
def add_and_concat() -> Finding:
    base = (1, 8, 6, 6)
    others = {"equal": base, "other C": (1, 4, 6, 6), "other H": (1, 8, 5, 6), "other W": (1, 8, 6, 5)}
    ran = {name: (_works("add", base, shape), _works("cat", base, shape)) for name, shape in others.items()}
    gate = _works("add", base, (1, 8, 1, 1))
    said = {"equal": (True, True), "other C": (False, True), "other H": (False, False), "other W": (False, False)}
    return Finding(
        verdict=holds_if(ran == said),
        value=[sum(add for add, _ in ran.values()), sum(cat for _, cat in ran.values())],
        why="Tried on four pairs, of equal and of other C, H and W: one can be added, two concatenated. Only a size of "
        f"1 is broadcast (that is how a squeeze-excitation multiplies; tried: {gate}).",
        closed_form={"add, concat": said},
        traced={"add, concat": ran},
    )


@claim(
    NOTE, 18, "Addition equals concatenation followed by a convolution whose matching channels share kernels; so "
    "concatenation costs twice as much.",
    formula="W * (x + y) = [W, W] * [x; y]",
)  # fmt: skip
def add_as_concat() -> Finding:
    c, n, size = 16, 24, (14, 14)
    x, y, w = sample(1, c, *size), sample(1, c, *size, low=-2, high=7), sample(n, c, 3, 3)
    equal = torch.equal(
        fn.conv2d(x + y, w, padding=1), fn.conv2d(torch.cat([x, y], 1), torch.cat([w, w], 1), padding=1)
    )
    after_add = formulas.conv(c_in=c, c_out=n, kernel=3, size=size, padding=1, bias=False)
    after_concat = formulas.conv(c_in=2 * c, c_out=n, kernel=3, size=size, padding=1, bias=False)
    ran = [traced(partial(nn.Conv2d, k * c, n, 3, padding=1, bias=False), 1, k * c, *size) for k in (1, 2)]
    adds = formulas.add(shape=(1, c, *size)).flops
    return Finding(
        verdict="approximate" if equal and after_concat.macs == 2 * after_add.macs else "fails",
        value=after_concat.macs / after_add.macs,
        why=f"The identity holds (run on whole numbers: {equal}), and the next convolution has exactly twice the "
        "weights and MACs, where both inputs keep all their channels. But that is the convolution's cost: the "
        f"concatenation itself computes nothing, the addition {adds:,} FLOPs; and nets that concatenate (ShuffleNetV2, "
        "DenseNet) make their inputs narrower, so that it is no rule of nets.",
        closed_form={"MACs after add": after_add.macs, "MACs after concat": after_concat.macs},
        traced={"MACs after add": ran[0].macs, "MACs after concat": ran[1].macs},
    )


@claim(
    NOTE, 19, "BN: mean, variance with 1/m, normalise with eps, scale and shift.",
    formula="y = γ (x - μ) / √(σ² + ε) + β, σ² = Σ (x - μ)² / m",
)  # fmt: skip
def batch_norm_steps() -> Finding:
    x, gamma, beta = sample(8, 4, 5, 5), sample(4, low=1), sample(4)
    mean = x.mean((0, 2, 3), keepdim=True)
    variance = ((x - mean) ** 2).sum((0, 2, 3), keepdim=True) / (x.numel() / 4)
    by_hand = gamma[:, None, None] * (x - mean) / (variance + 1e-5).sqrt() + beta[:, None, None]
    same = torch.allclose(fn.batch_norm(x, None, None, gamma, beta, training=True), by_hand, rtol=0, atol=1e-12)
    running = torch.zeros(4, dtype=torch.float64)
    fn.batch_norm(x, torch.zeros(4, dtype=torch.float64), running, training=True, momentum=1.0)
    m = x.numel() // 4
    unbiased = torch.allclose(running, variance.flatten() * m / (m - 1), rtol=0, atol=1e-12)
    closed = formulas.batch_norm(channels=4, size=(5, 5), batch=8, training=True)
    p = traced(partial(nn.BatchNorm2d, 4), 8, 4, 5, 5, train=True)
    return Finding(
        verdict=holds_if(same),
        value=same,
        why="The four steps by hand equal torch's to the rounding of double precision. The variance kept for inference "
        f"is the other one, with 1/(m - 1) (checked: {unbiased}), as the paper has it.",
        closed_form={"params": closed.params, "FLOPs in training": closed.flops},
        traced={"params": p.params, "FLOPs in training": p.flops},
        source=f"{BN_PAPER}, algorithms 1 and 2",
    )


@claim(NOTE, 20, "With BN, a convolution's bias makes no difference.", formula="(x + b) - mean(x + b) = x - mean(x)")
def bias_before_norm() -> Finding:
    x, w, b = sample(4, 3, 6, 6), sample(5, 3, 3, 3), sample(5)
    with_bias, without = (
        fn.batch_norm(fn.conv2d(x, w, bias), None, None, training=True) for bias in (b, None)
    )  # fmt: skip
    same = torch.allclose(with_bias, without, rtol=0, atol=1e-9)
    relu = fn.batch_norm(fn.relu(fn.conv2d(x, w, b)), None, None, training=True)
    through_relu = torch.allclose(
        relu, fn.batch_norm(fn.relu(fn.conv2d(x, w)), None, None, training=True), rtol=0, atol=1e-9
    )
    convs = network("resnet50")
    bias = sum(x.outputs[0].shape[1] for x in convs.pricing.layers if "conv" in x.kind)
    return Finding(
        verdict=holds_if(same and not through_relu),
        value=bias,
        why="The mean takes it away, in training exactly, and in inference as far as the running mean is that of the "
        "same convolution; only if nothing stands between them (through a ReLU it does differ). It costs, though: "
        f"biases on all convolutions of ResNet-50 would be {bias:,} parameters more.",
        traced={"equal": same, "equal through a ReLU": through_relu, "biases of ResNet-50": bias},
        source=f"{BN_PAPER}, section 3.2",
    )


@claim(NOTE, 21, "The statistics of inference are computed over all batches.", formula="μ ← (1 - m) μ + m μ_B")
def running_statistics() -> Finding:
    batches = [sample(8, 2, 3, 3, low=-4 + i, high=5 + i) for i in range(20)]
    kept: dict[float | None, torch.Tensor] = {}
    for momentum in (0.1, None):
        norm = nn.BatchNorm2d(2, momentum=momentum).double()
        for x in batches:
            norm(x)
        kept[momentum] = norm.get_buffer("running_mean")
    overall = torch.stack([x.mean((0, 2, 3)) for x in batches]).mean(0)
    half = next(k for k in range(1, 99) if 1 - 0.9**k >= 0.5)
    cumulative = torch.allclose(kept[None], overall, rtol=0, atol=1e-12)
    moving = torch.allclose(kept[0.1], overall, rtol=0, atol=1e-3)
    return Finding(
        verdict=holds_if(moving, otherwise="approximate" if cumulative else "fails"),
        value=half,
        why="The paper's algorithm 2 averages over many training batches. What frameworks keep is a moving average: in "
        f"torch the newest batch weighs 0.1 and the last {half} more than all before, so that over 20 drifting batches "
        "it is not their mean. With momentum=None it is (both run).",
        traced={"moving average is the mean": moving, "momentum=None is the mean": cumulative},
        source=f"{BN_PAPER}, algorithm 2; torch.nn.BatchNorm2d",
    )


@claim(NOTE, 22, "ResNeXt lowers the error without more parameters.", formula="params(ResNeXt) ≤ params(ResNet)")
def resnext_parameters() -> Finding:
    pairs = {"50": ("resnet50", "resnext50_32x4d"), "101": ("resnet101", "resnext101_32x4d")}
    counts = {depth: [models.closed_form(name) for name in names] for depth, names in pairs.items()}
    plain, grouped = counts["50"]
    return Finding(
        verdict=holds_if(all(b.params <= a.params for a, b in counts.values())),
        value=grouped.params / plain.params,
        why=f"50 layers: {grouped.params:,} to {plain.params:,} parameters "
        f"({units.change(plain.params, grouped.params)}; MACs {units.change(plain.macs, grouped.macs)}); 101 layers: "
        f"{counts['101'][1].params:,} to {counts['101'][0].params:,}. The error is the paper's: 22.2 % to 23.9 % top-1 "
        "for 50 layers, 21.2 % to 22.0 % for 101.",
        closed_form={c.name: c.params for pair in counts.values() for c in pair},
        traced={name: network(name).params for names in pairs.values() for name in names},
        source=f"{NEXT_PAPER}, Tables 1 and 3",
    )


@claim(
    NOTE, 23, "C is the number of groups, d the kernels per group; more channels than ResNet at a similar size.",
    formula="C (256 d + 9 d² + 256 d) ≈ 256 · 64 + 9 · 64² + 64 · 256",
)  # fmt: skip
def cardinality() -> Finding:
    template = TEMPLATES["resnext50_32x4d"]
    c, d = template.groups, template.width_per_group
    block = formulas.grouped_bottleneck(c_in=256, c_out=256, size=(56, 56), cardinality=c, group_width=d)
    plain = formulas.bottleneck(c_in=256, width=64, c_out=256, size=(56, 56))
    a, b = (sum(x[name].params for name in ("reduce", "conv", "expand")) for x in (plain, block))
    ran = traced(partial(bottleneck, 256, 64, 1, groups=c, width_per_group=d), 1, 256, 56, 56)
    grouped = next(m for m in modules_of(on_meta("resnext50_32x4d"), nn.Conv2d) if m.groups > 1)
    return Finding(
        verdict=holds_if((grouped.groups, grouped.out_channels // grouped.groups) == (c, d) and c * d > 64),
        value=[c, d, c * d],
        why=f"In 32x4d: {c} groups of {d} kernels each in the first stage, {c * d} channels inside where ResNet has "
        f"64, for {b:,} weights to {a:,}. d doubles with every stage, C stays.",
        closed_form={"params": block.params, "MACs": block.macs},
        traced={"params": ran.params, "MACs": ran.macs},
        source=f"{NEXT_PAPER}, Table 1 and eq. 4",
    )


@claim(
    NOTE, 24, "A standard convolution has h₁ w₁ c₁ c₂ parameters, a grouped one h₁ w₁ (c₁/g)(c₂/g) g, that is 1/g "
    "of it.",
    formula="h w c₁ c₂ / g",
)  # fmt: skip
def grouped_parameters() -> Finding:
    c_in, c_out = 64, 128
    closed, ran = {}, {}
    for g in (1, 2, 8, 32, 64):
        cost = formulas.conv(c_in=c_in, c_out=c_out, kernel=3, size=(14, 14), padding=1, groups=g, bias=False)
        p = traced(partial(nn.Conv2d, c_in, c_out, 3, padding=1, groups=g, bias=False), 1, c_in, 14, 14)
        closed[f"g = {g}"], ran[f"g = {g}"] = figures(cost, "params", "macs"), figures(p, "params", "macs")
    whole = closed["g = 1"]["params"]
    listed = ", ".join(f"{name}: {cost['params']:,}" for name, cost in closed.items())
    kinds = count_kinds(network("resnext50_32x4d"))["grouped conv"]
    return Finding(
        verdict=holds_if(all(cost["params"] * int(name[4:]) == whole for name, cost in closed.items())),
        value=[cost["params"] for cost in closed.values()],
        why=f"Weights, and MACs too; a bias keeps its c₂ elements whatever g. 3x3 from {c_in} to {c_out}: "
        f"{listed}. ResNeXt-50 has {kinds} such layers.",
        closed_form=closed,
        traced=ran,
    )
