"""The sizes of AlexNet, as papers and libraries print them."""

from __future__ import annotations

from ._record import Published

PUBLISHED = (
    Published(
        name="alexnet",
        params_printed="60 M",
        source="Krizhevsky et al., NIPS 2012, abstract",
        note="The two-tower network of 2012, which has 60,965,224 parameters.",
        why=(
            "The paper means its two-tower network (60.97 M) and cuts off; this is the single-tower one of "
            "arXiv:1404.5997."
        ),
    ),
    Published(
        name="alexnet",
        params_printed="61 M",
        macs_printed="724 M",
        quoted_as="MACs",
        source="Sze et al., arXiv:1703.09039, Table II",
        note="The figure that is quoted most.",
        why=(
            "Table II counts the two-tower network of 2012, whose layers 2, 4 and 5 have two groups, on 227x227 input: "
            "724.4 M."
        ),
    ),
    Published(
        name="alexnet",
        params_printed="61,100,840",
        macs_printed="0.71 G",
        quoted_as="GFLOPS",
        source="torchvision 0.29, AlexNet_Weights",
    ),
)
