"""Note 004, a survey of classification networks: Inception 3a and the auxiliary classifiers (claims 10 to 14)."""

from __future__ import annotations

from functools import partial

from torch import nn

from costmodel import formulas
from costmodel.models._blocks import Branches, named
from costmodel.models.closed.googlenet import AUXILIARY_HIDDEN, AUXILIARY_WIDTH, Inception
from costmodel.models.closed.googlenet import TABLE_1 as INCEPTIONS
from costmodel.models.googlenet import conv_relu, inception
from costmodel.notes.claim import Finding, claim, holds_if, judge
from costmodel.notes.measure import count_kinds, figures, modules_of, network, on_meta, output_shape, traced
from costmodel.notes.note_004_early import GOOGLE_PAPER, NOTE
from costmodel.views import units

IN_3A = (1, 192, 28, 28)
ROW_3A: Inception = INCEPTIONS[0][0]


def closed_3a() -> formulas.BlockCost:
    """Inception 3a from the row of the paper's table."""
    r = ROW_3A
    return formulas.inception_module(
        c_in=IN_3A[1], size=IN_3A[2:], c1=r.conv1, c3_reduce=r.reduce3, c3=r.conv3, c5_reduce=r.reduce5, c5=r.conv5,
        pool_proj=r.pool_project,
    )  # fmt: skip


def naive_3a() -> nn.Module:
    """The paper's Figure 2(a) with 3a's widths: no 1x1 before the 3x3 and 5x5, none after the pool."""
    c = IN_3A[1]
    return Branches(
        branch1=conv_relu(c, ROW_3A.conv1, 1), branch3=conv_relu(c, ROW_3A.conv3, 3),
        branch5=conv_relu(c, ROW_3A.conv5, 5), branch_pool=named(pool=nn.MaxPool2d(3, 1, padding=1)),
    )  # fmt: skip


def naive_conv(kernel: int, c_out: int) -> formulas.LayerCost:
    """One of its convolutions."""
    return formulas.conv(c_in=IN_3A[1], c_out=c_out, kernel=kernel, size=IN_3A[2:], padding=kernel // 2)


def closed_naive() -> formulas.LayerCost:
    """Its three convolutions."""
    return formulas.total([naive_conv(1, ROW_3A.conv1), naive_conv(3, ROW_3A.conv3), naive_conv(5, ROW_3A.conv5)])


def weights_3a() -> tuple[int, int, int]:
    """Weights without biases: 3a's three convolved branches, its pool's 1x1, and the naive module."""
    block, r, c = closed_3a(), ROW_3A, IN_3A[1]
    biases = r.conv1 + r.reduce3 + r.conv3 + r.reduce5 + r.conv5 + r.pool_project
    project = c * r.pool_project
    return block.params - biases - project, project, closed_naive().params - r.conv1 - r.conv3 - r.conv5


@claim(
    NOTE, 10, "Inception 3a: 64; 96 to 128 (pad 1); 16 to 32 (pad 2); pool 192 to 32; together 256 channels at 28x28.",
    formula="Σ c_out of the branches",
)  # fmt: skip
def inception_3a() -> Finding:
    block, p = closed_3a(), traced(partial(inception, IN_3A[1], ROW_3A), *IN_3A)
    return Finding(
        verdict=holds_if(output_shape(p) == (1, 256, 28, 28)),
        value=list(block.output_shape[1:]),
        why="64 + 128 + 32 + 32; each branch keeps 28x28.",
        closed_form={"output shape": block.output_shape, "MACs": block.macs},
        traced={"output shape": output_shape(p), "MACs": p.macs},
        source=f"{GOOGLE_PAPER}, Table 1",
    )


@claim(
    NOTE, 11, "With 1x1 its parameters are 1·1·192·64 + (192·96 + 9·96·128) + (192·16 + 25·16·32).",
    formula="c c₁ + (c r₃ + 9 r₃ c₃) + (c r₅ + 25 r₅ c₅) + c p",
)  # fmt: skip
def with_reductions() -> Finding:
    said = 1 * 1 * 192 * 64 + (192 * 96 + 9 * 96 * 128) + (192 * 16 + 25 * 16 * 32)
    branches, project, _ = weights_3a()
    block, p = closed_3a(), traced(partial(inception, IN_3A[1], ROW_3A), *IN_3A)
    weights = sum(t.size for x in p.pricing.layers for t in x.parameters if len(t.shape) > 1)
    return Finding(
        verdict=holds_if(said == block.params, otherwise="approximate" if said == branches else "fails"),
        value=branches,
        why=f"{said:,} is right for the three branches it counts. The fourth, the pool's 1x1 of 192 to 32, is left "
        f"out: {project:,} more make {branches + project:,} weights, and {block.params:,} parameters with the biases, "
        f"{units.change(said, block.params)}.",
        closed_form={"weights": branches + project, "params": block.params, "weights of three branches": branches},
        traced={"weights": weights, "params": p.params},
        source=f"{GOOGLE_PAPER}, Table 1: 159K (of 1024)",
    )


@claim(
    NOTE, 12, "Without 1x1 they are 192·64 + 9·192·128 + 25·192·32.", formula="c c₁ + 9 c c₃ + 25 c c₅",
)  # fmt: skip
def without_reductions() -> Finding:
    said = 192 * 64 + 9 * 192 * 128 + 25 * 192 * 32
    *_, naive = weights_3a()
    p = traced(naive_3a, *IN_3A)
    return Finding(
        verdict=judge(naive, said),
        value=naive,
        why=f"The weights of the naive module, whose pool has no convolution ({p.params - naive} biases come to them). "
        f"It is no drop-in: the pool's {IN_3A[1]} channels stay, and the output has {output_shape(p)[1]} instead of "
        f"{ROW_3A.c_out}.",
        closed_form={"params": closed_naive().params, "MACs": closed_naive().macs, "weights": naive},
        traced={
            "params": p.params, "MACs": p.macs, "output shape": output_shape(p),
            "weights": sum(t.size for x in p.pricing.layers for t in x.parameters if len(t.shape) > 1),
        },
        source=f"{GOOGLE_PAPER}, Figure 2(a)",
    )  # fmt: skip


@claim(
    NOTE, 13, "Removing the 1x1 makes the parameters three times as many.", formula="params without / params with",
)  # fmt: skip
def three_times() -> Finding:
    branches, project, naive = weights_3a()
    block, flat = closed_3a(), closed_naive()
    ran = traced(naive_3a, *IN_3A), traced(partial(inception, IN_3A[1], ROW_3A), *IN_3A)
    ratio = naive / branches
    return Finding(
        verdict=judge(ratio, 3, within=0.1),
        value=ratio,
        why=f"The note's own two sums give {naive:,} / {branches:,} = {ratio:.2f} times. With the pool's 1x1 counted "
        f"in the real module it is {naive / (branches + project):.2f}, with biases too "
        f"{flat.params / block.params:.2f}, and in MACs {flat.macs / block.macs:.2f}.",
        closed_form={"ratio of params": flat.params / block.params, "ratio of MACs": flat.macs / block.macs},
        traced={"ratio of params": ran[0].params / ran[1].params, "ratio of MACs": ran[0].macs / ran[1].macs},
    )


@claim(
    NOTE, 14, "Auxiliary classifiers: loss weight 0.3; average pool 5x5 of stride 3; 128 1x1 filters; fully connected "
    "1024; dropout 70 %; removed at inference.",
    formula="(14 - 5) / 3 + 1 = 4; 128 · 4² → 1024 → 1000",
)  # fmt: skip
def auxiliary() -> Finding:
    net = on_meta("googlenet", aux=True)
    heads = list(net.auxiliary.values())
    rates = {m.p for head in heads for m in modules_of(head, nn.Dropout)}
    widths = {(head.conv.conv.out_channels, head.fc1.out_features) for head in heads}
    pools = {(head.avgpool.kernel_size, head.avgpool.stride) for head in heads}
    ran = traced(lambda: net, 1, 3, 224, 224)
    trained = traced(lambda: net, 2, 3, 224, 224, train=True)
    extra = count_kinds(trained)["linear"] - count_kinds(ran)["linear"]
    ours = sum(t.numel() for head in heads for t in head.parameters())
    return Finding(
        verdict=holds_if(
            rates == {0.7} and widths == {(AUXILIARY_WIDTH, AUXILIARY_HIDDEN)} == {(128, 1024)} and pools == {(5, 3)}
            and extra == 2 * len(heads) and ran.macs == network("googlenet").macs
        ),
        value=[*pools.pop(), *widths.pop(), *rates],
        why=f"{len(heads)} heads of {ours // len(heads):,} parameters on average, which run in training alone: in eval "
        "mode the MACs are those of the network without them. The weight 0.3 of their losses is the paper's.",
        traced={"params of the heads": ours, "linear layers that run in training only": extra, **figures(ran, "macs")},
        source=f"{GOOGLE_PAPER}, section 5",
    )  # fmt: skip
