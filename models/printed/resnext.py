"""The sizes of ResNeXt, as papers and libraries print them."""

from __future__ import annotations

from ._record import Published

_HU = (
    "One MAC an element of each batch norm, as torchprofile counts, with further digits cut off: ResNet-50 and "
    "SE-ResNet-50 in the same table are made so, too."
)

PUBLISHED = (
    Published(
        name="resnext50_32x4d",
        params_printed="25.0 M",
        macs_printed="4.2 G",
        quoted_as="FLOPs",
        source="Xie et al., arXiv:1611.05431, Table 1",
    ),
    Published(
        name="resnext50_32x4d",
        macs_printed="4.24 G",
        quoted_as="GFLOPs",
        source="Hu et al., arXiv:1709.01507, Table 2",
        why=_HU,
    ),
    Published(
        name="resnext101_32x4d",
        macs_printed="7.99 G",
        quoted_as="GFLOPs",
        source="Hu et al., arXiv:1709.01507, Table 2",
        why=_HU,
    ),
    Published(
        name="resnext101_32x8d",
        params_printed="88 M",
        macs_printed="16 G",
        quoted_as="FLOPs",
        source="PyTorch Hub, facebookresearch/WSL-Images",
        note="The models of Mahajan et al., arXiv:1805.00932.",
    ),
    Published(
        name="resnext101_64x4d",
        params_printed="84 M",
        macs_printed="32 G",
        quoted_as="FLOPs",
        source="Tan & Le, arXiv:1905.11946, Table 2",
        note="The figure that is quoted most.",
        why="Counted on 320x320 input, where this network takes 31.5 G; at 224x224 it is half of that.",
    ),
)
