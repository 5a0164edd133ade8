"""The sizes of ResNet, as papers and libraries print them."""

from __future__ import annotations

from ._record import Published

_TABLE_1 = "He et al., arXiv:1512.03385, Table 1"
_PAPER_STRIDE = {"stride_in_1x1": True}

PUBLISHED = (
    Published(name="resnet18", macs_printed="1.8 G", quoted_as="FLOPs", source=_TABLE_1),
    Published(
        name="resnet34",
        macs_printed="3.6 G",
        quoted_as="FLOPs",
        source=_TABLE_1,
        why="The paper's 34-layer network has shortcuts without parameters (option A): 3.644 G, printed as 3.6 G.",
    ),
    Published(
        name="resnet50",
        variant=_PAPER_STRIDE,
        macs_printed="3.8 G",
        quoted_as="FLOPs",
        source=_TABLE_1,
    ),
    Published(
        name="resnet50",
        macs_printed="3.8 G",
        quoted_as="FLOPs",
        source=_TABLE_1,
        note="The same figure, held against today's definition, as it is often quoted.",
        why="Today's ResNet-50 has the stride in the 3x3, so its first 1x1, unlike the paper's, sees the larger map.",
    ),
    Published(
        name="resnet50",
        params_printed="25.5 M",
        macs_printed="4.1 G",
        quoted_as="FLOPs",
        source="Xie et al., arXiv:1611.05431, Table 1",
        note="The figure that is quoted most, with the stride in the 3x3.",
    ),
    Published(
        name="resnet50",
        variant=_PAPER_STRIDE,
        params_printed="25.5 M",
        macs_printed="3.9 G",
        quoted_as="MACs",
        source="Sze et al., arXiv:1703.09039, Table II",
    ),
    Published(name="resnet101", variant=_PAPER_STRIDE, macs_printed="7.6 G", quoted_as="FLOPs", source=_TABLE_1),
    Published(name="resnet152", variant=_PAPER_STRIDE, macs_printed="11.3 G", quoted_as="FLOPs", source=_TABLE_1),
    Published(
        name="resnet152",
        params_printed="60 M",
        macs_printed="11 G",
        quoted_as="FLOPs",
        source="Tan & Le, arXiv:1905.11946, Table 2",
        why="Most likely the paper's network, with the stride in the first 1x1: 11.28 G.",
    ),
)
