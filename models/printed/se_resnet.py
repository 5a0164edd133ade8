"""The sizes of SE-ResNet-50, as papers and libraries print them."""

from __future__ import annotations

from ._record import Published

PUBLISHED = (
    Published(
        name="se_resnet50",
        variant={"stride_in_1x1": True},
        macs_printed="3.87 G",
        quoted_as="GFLOPs",
        source="Hu et al., arXiv:1709.01507, Table 2",
    ),
    Published(
        name="se_resnet50",
        params_printed="28.1 M",
        source="Hu et al., arXiv:1709.01507, Table 10 (ratio r = 16)",
    ),
)
