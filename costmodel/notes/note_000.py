"""Note 000: MobileNetV1, V2 and V3 (claims 1 to 13)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from torch import nn

from costmodel import formulas, models
from costmodel.models._blocks import InvertedResidual
from costmodel.models.closed.mobilenet_v1 import STEM_WIDTH, TABLE_1, Separable
from costmodel.models.closed.mobilenet_v2 import TABLE_2
from costmodel.models.closed.mobilenet_v3 import LARGE, SMALL
from costmodel.models.mobilenet_v1 import separable
from costmodel.notes.claim import Finding, Note, Verdict, claim, holds_if, judge
from costmodel.notes.measure import (
    Spec,
    count_kinds,
    figures,
    modules_of,
    network,
    on_meta,
    output_shape,
    totals,
    traced,
)
from costmodel.views import units

NOTE = Note(number="000", about="MobileNetV1, V2, V3, and HybridSN")

V1_PAPER = "Howard et al., MobileNets, arXiv:1704.04861"
V2_PAPER = "Sandler et al., MobileNetV2, arXiv:1801.04381"
V3_PAPER = "Howard et al., MobileNetV3, arXiv:1905.02244"


VGG16_AND_V1: dict[str, Spec] = {"VGG16": ("vgg16", {}), "MobileNetV1": ("mobilenet_v1", {})}


@claim(NOTE, 1, "MobileNet has 1/32 of VGG16's parameters.", formula="params(VGG16) / params(MobileNetV1)")
def thirty_second() -> Finding:
    closed = totals(models.closed_form, "params", VGG16_AND_V1)
    vgg, mobilenet = closed.values()
    ratio = vgg / mobilenet
    return Finding(
        verdict=judge(ratio, 32, within=0.05),
        value=ratio,
        why=f"{vgg:,} to {mobilenet:,} parameters is 1/{ratio:.1f}, which the paper rounds down to 32 times smaller. "
        f"Its own rounded figures, 138 M and 4.2 M, give 1/{138 / 4.2:.1f}.",
        closed_form=closed,
        traced=totals(network, "params", VGG16_AND_V1),
        source=f"{V1_PAPER}, section 4.2 and Table 8",
    )


@claim(NOTE, 2, "Its accuracy is 0.9 % below VGG16's.", formula="top-1(VGG16) - top-1(MobileNetV1)")
def accuracy_below_vgg16() -> Finding:
    return Finding(
        verdict="not computable",
        why="No count tells an accuracy. The paper prints 71.5 % for VGG 16 and 70.6 % for 1.0 MobileNet-224: "
        f"{71.5 - 70.6:.1f} percentage points, as the note says, if not percent ({1 - 70.6 / 71.5:.1%} as a ratio).",
        source=f"{V1_PAPER}, Table 8",
    )


@claim(NOTE, 3, "The two hyper-parameters are called alpha and beta.", formula="D_K² αM ρ²D_F² + αM αN ρ²D_F²")
def names_of_multipliers() -> Finding:
    networks: dict[str, Spec] = {
        "alpha = rho = 1": ("mobilenet_v1", {}),
        "alpha = 1/2": ("mobilenet_v1", {"width": 0.5}),
        "rho = 1/2": ("mobilenet_v1", {"resolution": 112}),
    }
    macs, params = (totals(models.closed_form, quantity, networks) for quantity in ("macs", "params"))
    whole, thin, small = macs.values()
    return Finding(
        verdict="fails",
        value=["alpha", "rho"],
        why="They are alpha, the width multiplier, and rho, the resolution multiplier; the paper has no beta. At "
        f"alpha = 1/2 the MACs fall to {units.share(thin, whole)}, roughly alpha², and the parameters to "
        f"{units.share(params['alpha = 1/2'], params['alpha = rho = 1'])}; at rho = 1/2 the MACs fall to "
        f"{units.share(small, whole)}, roughly rho², and the parameters stay.",
        closed_form={"MACs": macs, "params": params},
        traced={"MACs": totals(network, "macs", networks), "params": totals(network, "params", networks)},
        source=f"{V1_PAPER}, sections 3.3 and 3.4",
    )


@claim(NOTE, 4, "A DW convolution outputs as many channels as it receives.", formula="C_out = multiplier · C_in")
def depthwise_keeps_channels() -> Finding:
    channels, size = 32, 14
    closed = formulas.depthwise_conv(channels=channels, kernel=3, size=(size, size), padding=1)
    p = traced(lambda: nn.Conv2d(channels, channels, 3, padding=1, groups=channels), 1, channels, size, size)
    return Finding(
        verdict=holds_if(closed.output_shape[1] == channels),
        value=closed.output_shape[1],
        why="So in every MobileNet. In general a depthwise convolution may make several channels of each (a depth "
        "multiplier, in torch out_channels = k · groups); k is 1 here.",
        closed_form={"output shape": closed.output_shape},
        traced={"output shape": output_shape(p)},
    )


@claim(
    NOTE, 5, "A convolution costs about kH x kW x kernel channels x input H x input W (stride 1).",
    formula="MACs = H_out W_out k_H k_W C_in C_out",
)  # fmt: skip
def conv_cost() -> Finding:
    c_in, c_out, size, kernel = 3, 10, 10, 3
    said = kernel * kernel * c_in * size * size
    closed = {
        padding: formulas.conv(c_in=c_in, c_out=c_out, kernel=kernel, size=(size, size), padding=padding).macs
        for padding in (1, 0)
    }
    p = {
        padding: traced(partial(nn.Conv2d, c_in, c_out, kernel, padding=padding), 1, c_in, size, size)
        for padding in (1, 0)
    }
    one = formulas.conv(c_in=c_in, c_out=1, kernel=kernel, size=(size, size), padding=1).macs
    return Finding(
        verdict=holds_if(said == closed[1], otherwise="approximate" if said == one else "fails"),
        value=closed[1],
        why=f"That is the cost of one kernel: a layer has C_out of them, so that for {c_in} to {c_out} channels on "
        f"{size}x{size} it is {said:,} times {c_out}, {closed[1]:,} MACs. And it is the output's H and W that count: "
        "they equal the input's where stride is 1 and the padding keeps the size; without padding it is "
        f"{closed[0]:,}.",
        closed_form={"MACs": closed[1], "MACs without padding": closed[0], "MACs of one kernel": one},
        traced={"MACs": p[1].macs, "MACs without padding": p[0].macs},
    )


def separable_pairs() -> Iterator[tuple[int, Separable, int]]:
    """MobileNetV1's separable convolutions: channels that enter, the row, and the size that enters."""
    c_in, size = STEM_WIDTH, 112
    for row in TABLE_1:
        yield c_in, row, size
        c_in, size = row.c_out, size // row.stride


def eight_to_nine() -> Finding:
    """How many times a standard 3x3 costs a separable one, by the number of kernels N: 9 N / (N + 9)."""
    ratios, ran = [], []
    for c_in, row, size in separable_pairs():
        shape: dict[str, Any] = {"c_in": c_in, "c_out": row.c_out, "size": (size, size), "stride": row.stride}
        standard = formulas.conv(**shape, kernel=3, padding=1)
        ratios.append(standard.macs / formulas.depthwise_separable(**shape).macs)
        x = (1, c_in, size, size)
        whole = traced(partial(nn.Conv2d, c_in, row.c_out, 3, row.stride, padding=1), *x)
        ran.append(whole.macs / traced(partial(separable, c_in, row), *x).macs)
    threshold = next(n for n in range(1, 1000) if 9 * n >= 8 * (n + 9))
    lower, upper = min(ratios), max(ratios)
    return Finding(
        verdict=holds_if(all(8 <= ratio < 9 for ratio in ratios), otherwise="approximate"),
        value=[lower, upper],
        why=f"The ratio is 9N / (N + 9) for N kernels: it reaches 8 at N = {threshold}, and never 9. In MobileNetV1 it "
        f"runs from {lower:.2f} (N = {TABLE_1[0].c_out}) to {upper:.2f}; with N = 16 it would be {9 * 16 / 25:.2f}.",
        closed_form={"lowest ratio": lower, "highest ratio": upper, "N from which it is 8": threshold},
        traced={"lowest ratio": min(ran), "highest ratio": max(ran)},
        source=f"{V1_PAPER}, section 3.1, eq. 5",
    )


@claim(
    NOTE, 6, "In theory an ordinary convolution costs 8 to 9 times DW + PW (3x3).",
    formula="D_K² M N D_F² / (D_K² M D_F² + M N D_F²) = 9N / (N + 9)",
)  # fmt: skip
def times_of_separable() -> Finding:
    return eight_to_nine()


@claim(NOTE, 7, "MobileNetV2 is more accurate and smaller than V1.", formula="params(V2) < params(V1)")
def v2_is_smaller() -> Finding:
    v1, v2 = models.closed_form("mobilenet_v1"), models.closed_form("mobilenet_v2")
    return Finding(
        verdict=holds_if(v2.params < v1.params),
        value=v2.params / v1.params,
        why=f"{v2.params:,} to {v1.params:,} parameters, {units.share(v2.params, v1.params)}, and "
        f"{units.share(v2.macs, v1.macs)} of the MACs. Accuracy is no count: the paper prints 72.0 % to 70.6 % top-1.",
        closed_form={"V1": figures(v1, "params", "macs"), "V2": figures(v2, "params", "macs")},
        traced={f"V{i}": figures(network(f"mobilenet_v{i}"), "params", "macs") for i in (1, 2)},
        source=f"{V2_PAPER}, Table 4",
    )


@claim(
    NOTE, 8, "ResNet's block is 1x1 down, 3x3, 1x1 up; the inverted one 1x1 up, 3x3 DW, 1x1 down, and the last 1x1 is "
    "linear.",
    formula="C → C/4 → C/4 → C; c → tc → tc → c'",
)  # fmt: skip
def block_shapes() -> Finding:
    residual, inverted = on_meta("resnet50").layer1[1].body, on_meta("mobilenet_v2").features[3]
    widths = [[m.out_channels for m in modules_of(block, nn.Conv2d)] for block in (residual, inverted)]
    kernels = [[m.kernel_size[0] for m in modules_of(block, nn.Conv2d)] for block in (residual, inverted)]
    linear = not hasattr(inverted.project, "act")
    t, c = TABLE_2[1].t, TABLE_2[1].c
    return Finding(
        verdict=holds_if(
            kernels == [[1, 3, 1]] * 2 and widths == [[64, 64, 256], [t * c, t * c, c]] and linear
        ),
        value=widths,
        why="Seen in the second block of ResNet-50's first stage (256 channels in) and of MobileNetV2's second (24 "
        "in). ResNet-18 and -34 have two 3x3 instead; with expansion 1 the inverted block has no first 1x1.",
        traced={"channels": widths, "kernels": kernels, "last 1x1 is linear": linear},
    )  # fmt: skip


@claim(
    NOTE, 9, "There is a shortcut only if stride = 1 and the input's shape equals the output's.",
    formula="s = 1 and c_in = c_out",
)  # fmt: skip
def shortcut_rule() -> Finding:
    said = 0
    c_in = 32
    for stage in TABLE_2:
        for i in range(stage.n):
            said += (stage.s if i == 0 else 1) == 1 and c_in == stage.c
            c_in = stage.c
    blocks = modules_of(on_meta("mobilenet_v2"), InvertedResidual)
    ran = count_kinds(network("mobilenet_v2"))["add"]
    return Finding(
        verdict=holds_if(said == ran),
        value=ran,
        why=f"By that rule {said} of the {len(blocks)} blocks have one, and {ran} additions run. Equal shapes imply "
        "stride 1 as soon as a map is larger than 1x1, so the second condition is the whole rule.",
        closed_form={"shortcuts": said},
        traced={"shortcuts": ran, "blocks": len(blocks)},
        source=f"{V2_PAPER}, Figure 4(d)",
    )


@claim(
    NOTE, 10, "In the table t is the expansion, c the output channels, n the repeats, s the stride of the first of n "
    "(the others have 1).",
    formula="stage = block(t, c, s), (n - 1) · block(t, c, 1)",
)  # fmt: skip
def table_letters() -> Finding:
    read = [(s.t, s.c, s.s if i == 0 else 1) for s in TABLE_2 for i in range(s.n)]
    built = [
        (b.depthwise.conv.in_channels // modules_of(b, nn.Conv2d)[0].in_channels, b.project.conv.out_channels,
         b.depthwise.conv.stride[0])
        for b in modules_of(on_meta("mobilenet_v2"), InvertedResidual)
    ]  # fmt: skip
    p = network("mobilenet_v2")
    same = [r.macs for r in models.published() if r.name == "mobilenet_v2" and not r.variant]
    return Finding(
        verdict=holds_if(read == built),
        value=len(read),
        why=f"So read, the table makes {len(read)} blocks and {p.macs:,} MACs, where the paper prints "
        f"{units.si(same[0] or 0)}.",
        closed_form={"blocks": len(read)},
        traced={"blocks": len(built), "MACs": p.macs},
        source=f"{V2_PAPER}, Table 2",
    )


@claim(NOTE, 11, "MobileNetV3's parameter count is as small as ever.", formula="params(V3) / params(V2)")
def v3_parameters() -> Finding:
    names = ("mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small")
    v1, v2, large, small = (models.closed_form(name).params for name in names)
    verdict: Verdict = "holds" if max(large, small) <= v2 else "approximate" if small <= v2 else "fails"
    return Finding(
        verdict=verdict,
        value=large / v2,
        why=f"Small has {units.si(small)}, less than V2's {units.si(v2)} and V1's {units.si(v1)}. Large has "
        f"{units.si(large)}, {units.change(v2, large)} over V2 and {units.change(v1, large)} over V1: what fell is its "
        f"MACs, {units.si(network('mobilenet_v3_large').macs)} to {units.si(network('mobilenet_v2').macs)}.",
        closed_form=dict(zip(names, (v1, v2, large, small), strict=True)),
        traced={name: network(name).params for name in names},
        source=f"{V3_PAPER}, Table 3, which prints 5.4 M and 2.5 M",
    )


@claim(
    NOTE, 12, "In the V3 table columns 3 and 4 are the expanded width and the channel count entering the bneck.",
    formula="columns: input, operator, exp size, #out, SE, NL, s",
)  # fmt: skip
def v3_columns() -> Finding:
    blocks = modules_of(on_meta("mobilenet_v3_large"), InvertedResidual)
    entering = [modules_of(b, nn.Conv2d)[0].in_channels for b in blocks]
    leaving = [b.project.conv.out_channels for b in blocks]
    column = [row.c_out for row in LARGE]
    expanded = [b.depthwise.conv.out_channels for b in blocks] == [row.expanded for row in LARGE]
    differ = sum(a != b for a, b in zip(column, entering, strict=True))
    return Finding(
        verdict=holds_if(expanded and column == entering),
        value="#out",
        why="Column 3 is the expanded width, but column 4, #out, is the number of channels that leave the bneck; those "
        f"that enter stand in column 1, the input. The two differ in {differ} of the {len(LARGE)} rows, as in the "
        f"fourth, which takes {entering[3]} channels to {LARGE[3].expanded} and gives {column[3]}.",
        closed_form={"column 4": column},
        traced={"column 4": leaving, "channels entering": entering},
        source=f"{V3_PAPER}, Table 1",
    )


@claim(NOTE, 13, "V3's bneck uses 3x3 depthwise convolutions.", formula="kernels of the bneck rows, Tables 1 and 2")
def v3_kernels() -> Finding:
    ran = {
        name: [b.depthwise.conv.kernel_size[0] for b in modules_of(on_meta(name), InvertedResidual)]
        for name in ("mobilenet_v3_large", "mobilenet_v3_small")
    }
    large, small = (sum(row.kernel == 5 for row in table) for table in (LARGE, SMALL))
    return Finding(
        verdict=holds_if(large == small == 0),
        value=[large, small],
        why=f"3x3 or 5x5, row by row: {large} of Large's {len(LARGE)} bnecks and {small} of Small's {len(SMALL)} have "
        "a 5x5.",
        closed_form={"5x5 in Large": large, "5x5 in Small": small},
        traced={
            "5x5 in Large": ran["mobilenet_v3_large"].count(5), "5x5 in Small": ran["mobilenet_v3_small"].count(5)
        },
        source=f"{V3_PAPER}, Tables 1 and 2",
    )  # fmt: skip
