"""The sizes of VGG, as papers and libraries print them."""

from __future__ import annotations

from ._record import Published

_TABLE_2 = "Simonyan & Zisserman, arXiv:1409.1556, Table 2"
_RESNET_PAPER = "He et al., arXiv:1512.03385, section 4.1"

PUBLISHED = (
    Published(name="vgg11", params_printed="133 M", source=_TABLE_2),
    Published(name="vgg13", params_printed="133 M", source=_TABLE_2),
    Published(name="vgg16", params_printed="138 M", source=_TABLE_2),
    Published(name="vgg19", params_printed="144 M", source=_TABLE_2),
    Published(
        name="vgg16",
        macs_printed="15.3 G",
        quoted_as="FLOPs",
        source=_RESNET_PAPER,
    ),
    Published(name="vgg19", macs_printed="19.6 G", quoted_as="FLOPs", source=_RESNET_PAPER),
    Published(
        name="vgg16",
        macs_printed="15.47 G",
        quoted_as="GFLOPs",
        source="Hu et al., arXiv:1709.01507, Table 2",
    ),
    Published(
        name="vgg16",
        params_printed="138 M",
        macs_printed="15.5 G",
        quoted_as="MACs",
        source="Sze et al., arXiv:1703.09039, Table II",
    ),
)
