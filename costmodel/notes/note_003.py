"""Note 003: MobileNetV1 and V2."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as fn

from costmodel import formulas, models
from costmodel.models._blocks import InvertedResidual
from costmodel.models.closed.mobilenet_v1 import TABLE_1, Separable
from costmodel.models.closed.mobilenet_v2 import TABLE_2
from costmodel.models.mobilenet_v1 import separable
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

NOTE = Note(number="003", about="MobileNet")

V1_PAPER = "Howard et al., MobileNets, arXiv:1704.04861"
V2_PAPER = "Sandler et al., MobileNetV2, arXiv:1801.04381"


@claim(
    NOTE, 1, "A standard kernel has as many channels as the input, a depthwise kernel has one, a 1x1 has all.",
    formula="W: (N, M, K, K), (M, 1, K, K), (N, M, 1, 1)",
)  # fmt: skip
def kernel_channels() -> Finding:
    m, n, size = 16, 32, 8
    closed = {
        "standard": formulas.conv(c_in=m, c_out=n, kernel=3, size=(size, size), padding=1, bias=False).params
        // (n * 9),
        "depthwise": formulas.depthwise_conv(channels=m, kernel=3, size=(size, size), bias=False).params // (m * 9),
        "1x1": formulas.pointwise_conv(c_in=m, c_out=n, size=(size, size), bias=False).params // n,
    }
    with torch.device("meta"):
        ran = {
            "standard": nn.Conv2d(m, n, 3).weight.shape[1],
            "depthwise": nn.Conv2d(m, m, 3, groups=m).weight.shape[1],
            "1x1": nn.Conv2d(m, n, 1).weight.shape[1],
        }
    return Finding(
        verdict=holds_if(list(closed.values()) == [m, 1, m]),
        value=list(closed.values()),
        why=f"For {m} channels in: {m}, 1 and {m}.",
        closed_form=closed,
        traced=ran,
        source=f"{V1_PAPER}, Figure 2",
    )


@claim(
    NOTE, 2, "A separable convolution costs a DW 3x3 term and a 1x1 term, to a standard one as 1/N + 1/D_K².",
    formula="(D_K² M D_F² + M N D_F²) / (D_K² M N D_F²) = 1/N + 1/D_K²",
)  # fmt: skip
def separable_ratio() -> Finding:
    agrees = True
    for m, n, kernel, stride in ((3, 10, 3, 1), (32, 64, 3, 2), (512, 512, 3, 1), (40, 120, 5, 2), (7, 1, 7, 1)):
        shape: dict[str, Any] = {"c_in": m, "c_out": n, "size": (28, 28), "kernel": kernel, "stride": stride}
        whole = formulas.conv(**shape, padding=kernel // 2).macs
        agrees &= formulas.depthwise_separable(**shape).macs * n * kernel**2 == whole * (n + kernel**2)
    m, n = 512, 512
    pair = traced(partial(separable, m, Separable(n, 1)), 1, m, 14, 14)
    standard = traced(partial(nn.Conv2d, m, n, 3, padding=1), 1, m, 14, 14)
    return Finding(
        verdict=holds_if(agrees),
        value=1 / n + 1 / 9,
        why="Exactly so, in multiply-accumulates, for every width, kernel and stride tried (biases, batch norms and "
        f"activations apart): for 512 to 512 channels it is {1 / n + 1 / 9:.4f}.",
        closed_form={"ratio of MACs": 1 / n + 1 / 9},
        traced={"ratio of MACs": pair.macs / standard.macs, "MACs": pair.macs, "MACs of the standard": standard.macs},
        source=f"{V1_PAPER}, section 3.1",
    )


@claim(
    NOTE, 3, "N is usually above 10 and D_K² generally 9, so the ratio is below 1.", formula="1/N + 1/D_K² < 1",
)  # fmt: skip
def ratio_below_one() -> Finding:
    least = min(
        (n, k) for n in range(1, 20) for k in range(1, 8) if k * k + n < n * k * k
    )  # 1/N + 1/K² < 1, without a division
    kernels: dict[int, int] = {}
    widths = []
    for name in CLASSICS:
        convs = modules_of(on_meta(name), nn.Conv2d)
        for at, conv in enumerate(convs):
            # The 1x1 after a depthwise convolution; those of a squeeze-excitation between them have biases.
            after = next((c for c in convs[at + 1 :] if c.bias is None and c.groups == 1), None)
            if conv.groups == conv.in_channels > 1 and after is not None and after.kernel_size == (1, 1):
                kernels[conv.kernel_size[0]] = kernels.get(conv.kernel_size[0], 0) + 1
                widths.append(after.out_channels)
    total = sum(kernels.values())
    return Finding(
        verdict=holds_if(1 / 11 + 1 / 9 < 1),
        value=1 / 11 + 1 / 9,
        why=f"With N > 10 and 3x3 it is below {1 / 11 + 1 / 9:.3f}. Far less would do: N ≥ {least[0]} and K ≥ "
        f"{least[1]} are enough. In the classic networks N is {min(widths)} to {max(widths)} where a depthwise "
        f"meets a 1x1, but {units.share(total - kernels[3], total)} of those depthwise convolutions are 5x5, where the "
        "ratio is smaller still.",
        closed_form={"largest ratio for N > 10, K = 3": 1 / 11 + 1 / 9, "smallest N": least[0], "smallest K": least[1]},
        traced={"3x3": kernels[3], "5x5": kernels.get(5, 0), "narrowest 1x1": min(widths)},
    )


@claim(NOTE, 4, "Pooling is dropped, stride-2 convolutions downsample.", formula="224 / 2⁵ = 7")
def strides_downsample() -> Finding:
    p = network("mobilenet_v1")
    strided = [m for m in modules_of(on_meta("mobilenet_v1"), nn.Conv2d) if m.stride == (2, 2)]
    pools = [layer for layer in p.pricing.layers if layer.kind == "pool"]
    size = pools[0].inputs[0].shape[-1]
    return Finding(
        verdict=holds_if(not pools, otherwise="approximate" if size * 2 ** len(strided) == 224 else "fails"),
        value=len(strided),
        why=f"{len(strided)} convolutions of stride 2 take 224 to {size}, and no pool downsamples between layers. One "
        "remains, the global average pool before the classifier.",
        traced={"convolutions of stride 2": len(strided), "pools": len(pools), "size before the pool": size},
        source=f"{V1_PAPER}, Table 1",
    )


@claim(
    NOTE, 5, "V2 raises compute against V1 because of the expansion.",
    formula="t c (2c + k²) h w against c (c + k²) h w",
)  # fmt: skip
def v2_raises_compute() -> Finding:
    v1, v2 = models.closed_form("mobilenet_v1"), models.closed_form("mobilenet_v2")
    width, size = 64, (28, 28)
    pair = formulas.depthwise_separable(c_in=width, c_out=width, size=size).macs
    block = formulas.inverted_residual(c_in=width, c_out=width, size=size).macs
    ran = traced(partial(InvertedResidual, width, 6 * width, width, kernel=3, stride=1, act=nn.ReLU6), 1, width, *size)
    ran_pair = traced(partial(separable, width, Separable(width, 1)), 1, width, *size)
    return Finding(
        verdict=holds_if(v2.macs > v1.macs),
        value=v2.macs / v1.macs,
        why=f"The network takes {units.share(v2.macs, v1.macs)} of V1's MACs: {v2.macs:,} to {v1.macs:,}. A block does "
        f"cost more at the same width ({block / pair:.1f} times V1's pair for {width} channels and t = 6), but the "
        f"expansion lets the channels between blocks be few: at 28x28 V2 has {TABLE_2[2].c} where V1 has "
        f"{TABLE_1[3].c_out}.",
        closed_form={
            "MACs of V1's pair": pair, "MACs of V2's block": block, "MACs of V1": v1.macs, "MACs of V2": v2.macs,
        },
        traced={
            "MACs of V1's pair": ran_pair.macs, "MACs of V2's block": ran.macs,
            "MACs of V1": network("mobilenet_v1").macs, "MACs of V2": network("mobilenet_v2").macs,
        },
        source=f"{V2_PAPER}, Table 4",
    )  # fmt: skip


@claim(
    NOTE, 6, "Compared with a standard convolution, its parameters and compute are still small, as it stays dw + pw.",
    formula="t c (2c + 9), against 9 c² outside and 9 t² c² inside",
)  # fmt: skip
def still_small() -> Finding:
    width, t, size = 24, 6, (56, 56)
    shape: dict[str, Any] = {"size": size, "kernel": 3, "padding": 1, "bias": False}
    block = formulas.inverted_residual(c_in=width, c_out=width, size=size, expansion=t).macs
    outside = formulas.conv(c_in=width, c_out=width, **shape).macs
    inside = formulas.conv(c_in=t * width, c_out=t * width, **shape).macs
    ran = [
        traced(partial(nn.Conv2d, c, c, 3, padding=1, bias=False), 1, c, *size).macs for c in (width, t * width)
    ]  # fmt: skip
    built = traced(
        partial(InvertedResidual, width, t * width, width, kernel=3, stride=1, act=nn.ReLU6), 1, width, *size
    )
    low, high = (
        formulas.inverted_residual(c_in=c, c_out=c, size=size).macs / formulas.conv(c_in=c, c_out=c, **shape).macs
        for c in (160, 24)
    )
    return Finding(
        verdict=holds_if(block < outside, otherwise="approximate" if block < inside else "fails"),
        value=[block / outside, block / inside],
        why=f"It depends on which. Against a 3x3 at the expanded width ({t * width} channels) the block takes "
        f"1/{inside / block:.0f}. Against one 3x3 between the narrow ends ({width} to {width}) it takes "
        f"{block / outside:.2f} times as much: t(2c + 9) / 9c, which is {low:.2f} to {high:.2f} over V2's widths, and "
        "never below 4/3 at t = 6.",
        closed_form={"MACs": block, "MACs, outer 3x3": outside, "MACs, inner 3x3": inside},
        traced={"MACs": built.macs, "MACs, outer 3x3": ran[0], "MACs, inner 3x3": ran[1]},
    )


@claim(
    NOTE, 7, "A residual block is wide, narrow, wide; an inverted one narrow, wide, narrow.",
    formula="C, C/4, C; c, tc, c",
)  # fmt: skip
def wide_and_narrow() -> Finding:
    residual, inverted = on_meta("resnet50").layer1[1].body, on_meta("mobilenet_v2").features[3]
    widths = []
    for block in (residual, inverted):
        convs = modules_of(block, nn.Conv2d)
        widths.append([convs[0].in_channels, convs[1].out_channels, convs[-1].out_channels])
    (a, b, c), (d, e, f) = widths
    return Finding(
        verdict=holds_if(a > b < c and d < e > f),
        value=widths,
        why=f"ResNet-50's first identity block: {a}, {b}, {c}. MobileNetV2's: {d}, {e}, {f}.",
        traced={"ResNet-50": widths[0], "MobileNetV2": widths[1]},
        source=f"{V2_PAPER}, Figure 3",
    )


@claim(NOTE, 8, "V2 adds shortcuts, which V1 lacks; its last activation is linear.", formula="additions that ran")
def v2_shortcuts() -> Finding:
    adds = {name: count_kinds(network(name)).get("add", 0) for name in ("mobilenet_v1", "mobilenet_v2")}
    blocks = modules_of(on_meta("mobilenet_v2"), InvertedResidual)
    linear = sum(not hasattr(b.project, "act") for b in blocks)
    return Finding(
        verdict=holds_if(adds["mobilenet_v1"] == 0 < adds["mobilenet_v2"] and linear == len(blocks)),
        value=adds["mobilenet_v2"],
        why=f"V1 runs no addition, V2 {adds['mobilenet_v2']} in its {len(blocks)} blocks, and no block's last 1x1 has "
        "an activation. (The last 1x1 of the network has one.)",
        traced={**adds, "blocks with a linear end": linear},
        source=f"{V2_PAPER}, sections 3.2 and 3.3",
    )


@claim(NOTE, 9, "ReLU6 limits the output to a fixed interval.", formula="min(max(x, 0), 6)")
def relu6_interval() -> Finding:
    y = nn.ReLU6()(torch.linspace(-1000, 1000, 4001, dtype=torch.float64))
    closed = formulas.activation(name="relu6", shape=(1, 8))
    ran = traced(nn.ReLU6, 1, 8)
    return Finding(
        verdict=holds_if((float(y.min()), float(y.max())) == (0.0, 6.0)),
        value=[float(y.min()), float(y.max())],
        why="From -1000 to 1000 in, it gives 0 to 6; two comparisons an element.",
        closed_form=figures(closed, "flops"),
        traced=figures(ran, "flops"),
    )


@claim(
    NOTE, 10, "A depthwise convolution is not the single-kernel case of the standard one, since channels do not mix.",
    formula="(M, 1, K, K) on M groups, against (1, M, K, K)",
)  # fmt: skip
def depthwise_is_no_single_kernel() -> Finding:
    m, size = 8, 6
    x, w = sample(2, m, size, size), sample(m, 1, 3, 3)
    apart = fn.conv2d(x, w, padding=1, groups=m)
    single = fn.conv2d(x, w.transpose(0, 1), padding=1)
    dense = fn.conv2d(x, torch.diag_embed(w[:, 0].permute(1, 2, 0)).permute(2, 3, 0, 1), padding=1)
    a = formulas.depthwise_conv(channels=m, kernel=3, size=(size, size), padding=1, bias=False)
    b = formulas.conv(c_in=m, c_out=1, kernel=3, size=(size, size), padding=1, bias=False)
    ran = traced(partial(nn.Conv2d, m, m, 3, padding=1, groups=m, bias=False), 1, m, size, size)
    return Finding(
        verdict=holds_if(apart.shape != single.shape and torch.equal(apart.sum(1, keepdim=True), single)),
        value=[apart.shape[1], single.shape[1]],
        why=f"With the same {a.params} weights and {a.macs:,} MACs it gives {apart.shape[1]} channels, and a single "
        "standard kernel one, which is their sum: run on whole numbers, exactly. What it is a case of, is a standard "
        f"convolution of {m} kernels with zeros off the diagonal (equal: {torch.equal(apart, dense)}).",
        closed_form={"MACs": a.macs, "params": a.params, "MACs of a single standard kernel": b.macs},
        traced={"MACs": ran.macs, "params": ran.params, "output shape": output_shape(ran)},
    )
