"""Note 002: a MobileNetV1 for CIFAR-10. Its "FLOPs" are read as multiply-accumulates, as papers have them."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.nn import functional as fn

from costmodel import formulas, models
from costmodel.models.closed.mobilenet_v1 import CIFAR, TABLE_1, Separable
from costmodel.models.mobilenet_v1 import separable
from costmodel.notes.claim import Finding, Note, claim, holds_if, judge
from costmodel.notes.measure import (
    Spec,
    count_kinds,
    figures,
    macs_by_kind,
    modules_of,
    network,
    on_meta,
    output_shape,
    sample,
    totals,
    traced,
)
from costmodel.profiling import Profile
from costmodel.views import units

NOTE = Note(number="002", about="MobileNetV1 on CIFAR-10")

V1_PAPER = "Howard et al., MobileNets, arXiv:1704.04861"

SIZE, KERNEL, C_IN, C_OUT = 10, 3, 3, 10
"""The note's example: 10x10, 3x3, from 3 to 10 channels."""


def conv_on(size: int, *, c_out: int, stride: int = 1, padding: int = 1, groups: int = 1, kernel: int = KERNEL) -> int:
    """MACs of a convolution of the note's three channels, in closed form."""
    cost = formulas.conv(
        c_in=C_IN, c_out=c_out, kernel=kernel, size=(size, size), stride=stride, padding=padding, groups=groups,
        bias=False,
    )  # fmt: skip
    return int(cost.macs)


def conv_traced(*, c_out: int, stride: int = 1, padding: int = 1, groups: int = 1, kernel: int = KERNEL) -> Profile:
    """The same, traced."""
    build = partial(nn.Conv2d, C_IN, c_out, kernel, stride, padding, groups=groups, bias=False)
    return traced(build, 1, C_IN, SIZE, SIZE)


def input_size_formula(said: int, what: str, **conv: int) -> Finding:
    """A cost with the input's size in it: right where the output's is the same."""
    same, unpadded, strided = (
        conv_on(SIZE, **conv, padding=padding, stride=stride) for padding, stride in ((1, 1), (0, 1), (1, 2))
    )
    ran = [conv_traced(**conv, padding=padding, stride=stride).macs for padding, stride in ((1, 1), (0, 1), (1, 2))]
    factors = [said / unpadded, said / strided]
    return Finding(
        verdict=holds_if(said == same == unpadded == strided, otherwise="approximate" if said == same else "fails"),
        value=same,
        why=f"H and W must be the output's. They are the input's only at stride 1 with padding (K - 1) / 2; for the "
        f"{what} on {SIZE}x{SIZE} the formula counts {factors[0]:.2f} times too much without padding and "
        f"{factors[1]:g} times too much at stride 2. And it counts multiply-accumulates; in operations, twice as many.",
        closed_form={"MACs": same, "MACs without padding": unpadded, "MACs at stride 2": strided},
        traced=dict(zip(("MACs", "MACs without padding", "MACs at stride 2"), ran, strict=True)),
        source=f"{V1_PAPER}, section 3.1, which has D_F for a feature map of one size, in and out",
    )


@claim(
    NOTE, 1, "A standard convolution takes H·W·K·K·C_in·C_out FLOPs, H and W being the input's size.",
    formula="MACs = H_out W_out K² C_in C_out",
)  # fmt: skip
def standard_formula() -> Finding:
    return input_size_formula(SIZE**2 * KERNEL**2 * C_IN * C_OUT, "standard convolution", c_out=C_OUT)


@claim(NOTE, 2, "A depthwise one takes H·W·K·K·C_in FLOPs.", formula="MACs = H_out W_out K² C_in")
def depthwise_formula() -> Finding:
    return input_size_formula(SIZE**2 * KERNEL**2 * C_IN, "depthwise convolution", c_out=C_IN, groups=C_IN)


@claim(NOTE, 3, "A pointwise one takes H·W·1·1·C_in·C_out FLOPs.", formula="MACs = H W C_in C_out")
def pointwise_formula() -> Finding:
    said = SIZE**2 * C_IN * C_OUT
    closed = conv_on(SIZE, c_out=C_OUT, kernel=1, padding=0)
    pair = traced(partial(separable, C_IN, Separable(C_OUT, 2)), 1, C_IN, SIZE, SIZE)
    inside = macs_by_kind(pair)["pointwise conv"]
    return Finding(
        verdict=holds_if(said == closed),
        value=closed,
        why="As multiply-accumulates (operations are twice as many): at stride 1 a 1x1 has as large an output as its "
        f"input, without any padding. H and W are what the depthwise convolution leaves: after one of stride 2, "
        f"{inside:,}, not {said:,}.",
        closed_form={"MACs": closed},
        traced={
            "MACs": conv_traced(c_out=C_OUT, kernel=1, padding=0).macs, "MACs after a depthwise of stride 2": inside
        },
        source=f"{V1_PAPER}, section 3.1",
    )  # fmt: skip


def pair_on_ten() -> tuple[int, int]:
    """MACs of the note's depthwise and pointwise convolution."""
    return conv_on(SIZE, c_out=C_IN, groups=C_IN), conv_on(SIZE, c_out=C_OUT, kernel=1, padding=0)


def pair_traced() -> dict[str, int]:
    """MACs of the same pair, traced, by kind."""
    return macs_by_kind(traced(partial(separable, C_IN, Separable(C_OUT, 1)), 1, C_IN, SIZE, SIZE))


PADDED = "Multiply-accumulates, with padding 1, so that the output is 10x10 too"


@claim(
    NOTE, 4, "For H = W = 10, K = 3, from 3 to 10 channels, the standard one takes 27000.", formula="H W K² C_in C_out"
)
def standard_on_ten() -> Finding:
    closed, p = conv_on(SIZE, c_out=C_OUT), conv_traced(c_out=C_OUT)
    return Finding(
        verdict=judge(closed, 27000),
        value=closed,
        why=f"{PADDED}: in operations {2 * closed:,}. Without padding the output is 8x8, and it takes "
        f"{conv_on(SIZE, c_out=C_OUT, padding=0):,}.",
        closed_form={"MACs": closed, "FLOPs": 2 * closed},
        traced={"MACs": p.macs, "FLOPs": p.flops},
    )


@claim(NOTE, 5, "Its depthwise part takes 2700.", formula="H W K² C_in")
def depthwise_on_ten() -> Finding:
    closed, _ = pair_on_ten()
    unpadded = conv_on(SIZE, c_out=C_IN, groups=C_IN, padding=0)
    return Finding(
        verdict=judge(closed, 2700),
        value=closed,
        why=f"{PADDED}: in operations {2 * closed:,}. Without padding, {unpadded:,}.",
        closed_form={"MACs": closed},
        traced={"MACs": pair_traced()["depthwise conv"]},
    )


@claim(NOTE, 6, "Its pointwise part takes 3000.", formula="H W C_in C_out")
def pointwise_on_ten() -> Finding:
    _, closed = pair_on_ten()
    return Finding(
        verdict=judge(closed, 3000),
        value=closed,
        why=f"Multiply-accumulates on the 10x10 that a padded depthwise leaves: in operations {2 * closed:,}.",
        closed_form={"MACs": closed},
        traced={"MACs": pair_traced()["pointwise conv"]},
    )


@claim(NOTE, 7, "Together 5700.", formula="H W C_in (K² + C_out)")
def pair_together() -> Finding:
    closed, whole = sum(pair_on_ten()), conv_on(SIZE, c_out=C_OUT)
    return Finding(
        verdict=judge(closed, 5700),
        value=closed,
        why=f"Multiply-accumulates, padded: {whole / closed:.2f} times fewer than the standard convolution's "
        f"{whole:,}, not the 8 to 9 times of wide layers, since N is only 10.",
        closed_form={"MACs": closed},
        traced={"MACs": sum(pair_traced().values())},
    )


@claim(NOTE, 8, "FLOPs are floating-point operations per second.", formula="FLOPS = FLOPs / time")
def flops_are_no_rate() -> Finding:
    p = conv_traced(c_out=C_OUT)
    return Finding(
        verdict="fails",
        value="floating-point operations",
        why="FLOPs, with a small s, is a number of operations and no rate: the same on every machine, as the note's "
        f"own {p.macs:,} is, with no second in its formula. FLOPS, operations per second, is what a machine delivers. "
        "What papers call FLOPs is nearly always multiply-accumulates.",
        traced=figures(p, "macs", "flops"),
        source="Ma et al., ShuffleNet V2, arXiv:1807.11164, section 1, footnote: 'the number of multiply-adds'",
    )


@claim(NOTE, 9, "MobileNetV1 on 224x224x3 needs about 569 wan (5.69 million) FLOPs.", formula="Σ MACs of all layers")
def v1_macs() -> Finding:
    wan = 10**4
    said = 569 * wan
    p = network("mobilenet_v1")
    printed = next(r.macs for r in models.published() if r.name == "mobilenet_v1" and r.variant.get("width") == 1.0)
    return Finding(
        verdict=judge(p.macs, said, within=0.05),
        value=p.macs,
        why=f"It needs {p.macs:,} MACs: 569 million, which the paper prints as {units.si(printed or 0)}. '569万' is "
        f"{said:,}, {p.macs / said:.0f} times too few; it should read 5.69亿. As operations it is {p.flops:,}.",
        closed_form=figures(models.closed_form("mobilenet_v1"), "macs", "flops"),
        traced=figures(p, "macs", "flops"),
        source=f"{V1_PAPER}, Table 6",
    )


@claim(
    NOTE, 10, "MobileNetV1 has about 4 to 6 million parameters, depending on the width multiplier.",
    formula="Σ α²MN + α(9M + 2M + 2N) + α · 1024 · 1000 + 1000, and the first convolution's",
)  # fmt: skip
def v1_params() -> Finding:
    networks: dict[str, Spec] = {
        f"α = {width:g}": ("mobilenet_v1", {"width": width}) for width in (0.25, 0.5, 0.75, 1.0)
    }
    counts = totals(models.closed_form, "params", networks)
    inside = [w / 100 for w in range(80, 141) if 4e6 <= models.closed_form("mobilenet_v1", width=w / 100).params <= 6e6]
    return Finding(
        verdict=holds_if(all(4e6 <= count <= 6e6 for count in counts.values())),
        value=[min(counts.values()), max(counts.values())],
        why=f"At the paper's widths, 0.25 to 1, it has {units.si(min(counts.values()))} to "
        f"{units.si(max(counts.values()))}; 4 to 6 million take widths of {inside[0]:g} to {inside[-1]:g}, of which "
        "the paper has 1 alone.",
        closed_form=counts,
        traced=totals(network, "params", networks),
        source=f"{V1_PAPER}, Table 6: 4.2, 2.6, 1.3 and 0.5 million",
    )


@claim(
    NOTE, 11, "Global average pooling reduces the model's size.",
    formula="(C + 1) · classes, instead of (C H W + 1) · classes",
)  # fmt: skip
def pooling_saves() -> Finding:
    channels, classes, size = 1024, 1000, 7
    pooled = formulas.linear(in_features=channels, out_features=classes).params
    flat = formulas.linear(in_features=channels * size * size, out_features=classes).params
    p = network("mobilenet_v1")
    ran = sum(t.size for layer in p.pricing.layers if layer.kind == "linear" for t in layer.parameters)
    return Finding(
        verdict=holds_if(pooled < flat),
        value=flat / pooled,
        why=f"The pool itself has no parameter. In MobileNetV1 the classifier behind it has {pooled:,}; on the "
        f"flattened {size}x{size}x{channels} it would have {flat:,}, {flat / p.params:.1f} times the whole network.",
        closed_form={"params of the classifier": pooled, "params of one on the flattened maps": flat},
        traced={"params of the classifier": ran},
    )


@claim(
    NOTE, 12, "The network takes 3x32x32 and ten classes, and its output is [1, 10].",
    formula="32 → 16 → 8 → 4 → 2 → 1",
)  # fmt: skip
def cifar_shape() -> Finding:
    size = 32
    for row in CIFAR:
        (size, _) = formulas.conv_output_size(size=(size, size), kernel=3, stride=row.stride, padding=1)
    (pooled, _) = formulas.pool_output_size(size=(size, size), kernel=2, stride=2)
    closed = (1, formulas.linear(in_features=CIFAR[-1].c_out * pooled**2, out_features=10).output_shape[-1])
    p = network("mobilenet_v1_cifar")
    return Finding(
        verdict=holds_if(output_shape(p) == (1, 10) == closed),
        value=list(output_shape(p)),
        why=f"The last map is {size}x{size}, pooled to {pooled}x{pooled}. The network has {p.params:,} parameters and "
        f"takes {p.macs:,} MACs.",
        closed_form={"output shape": closed},
        traced={"output shape": output_shape(p), **figures(p, "params", "macs")},
    )


@claim(NOTE, 13, "F.avg_pool2d(out, 2) is max pooling with stride 2, a comment says.", formula="mean, not max")
def average_pool() -> Finding:
    x = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]], dtype=torch.float64)
    average, largest = float(fn.avg_pool2d(x, 2)), float(fn.max_pool2d(x, 2))
    stride = tuple(fn.avg_pool2d(sample(1, 1, 8, 8), 2).shape[2:])
    before = next(x for x in network("mobilenet_v1_cifar").pricing.layers if x.kind == "pool").inputs[0].shape
    return Finding(
        verdict="fails",
        value="average pooling",
        why=f"It is average pooling: of 1, 2, 3 and 6 it makes {average:g}, and a max pool {largest:g}. The stride is "
        f"right, for it defaults to the kernel's 2 (8x8 becomes {units.shape(stride)}). On this network's last map, "
        f"{units.shape(before[2:])}, it is the global average pool.",
        traced={"average pool": average, "max pool": largest, "8x8 becomes": stride},
        source="torch.nn.functional.avg_pool2d: stride defaults to kernel_size",
    )


@claim(NOTE, 14, "This net is MobileNet V1.", formula="rows of the two tables")
def cifar_is_v1() -> Finding:
    note, paper = network("mobilenet_v1_cifar"), network("mobilenet_v1", num_classes=10)
    small = on_meta("mobilenet_v1_cifar")
    stem, (widest,) = modules_of(small, nn.Conv2d)[0], {CIFAR[-1].c_out}
    pairs = count_kinds(note)["depthwise conv"], count_kinds(paper)["depthwise conv"]
    return Finding(
        verdict=holds_if(CIFAR == TABLE_1),
        value=list(pairs),
        why=f"It has V1's block and not its network: {pairs[0]} separable pairs instead of {pairs[1]}, {widest} "
        f"channels at the end instead of {TABLE_1[-1].c_out}, and a first convolution of stride {stem.stride[0]} with "
        f"bias. It has {note.params:,} parameters; V1 for ten classes {paper.params:,}.",
        closed_form={"pairs": len(CIFAR), "pairs in V1": len(TABLE_1)},
        traced={
            "pairs": pairs[0], "pairs in V1": pairs[1], "params": note.params, "params of V1, ten classes": paper.params
        },
        source=f"{V1_PAPER}, Table 1",
    )  # fmt: skip
