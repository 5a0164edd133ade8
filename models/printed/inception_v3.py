"""The sizes of Inception-v3, as papers and libraries print them."""

from __future__ import annotations

from ._record import Published

PUBLISHED = (
    Published(
        name="inception_v3",
        params_printed="25 M",
        macs_printed="5 G",
        quoted_as="multiply-adds",
        source="Szegedy et al., arXiv:1512.00567, abstract",
        note="'5 billion multiply-adds per inference', 'less than 25 million parameters'.",
        why=(
            "An upper bound and a figure of one digit, for the paper's outline; the stem of the released code, which "
            "this follows, is another one."
        ),
    ),
    Published(
        name="inception_v3",
        params_printed="23,626,728",
        source="Chollet, arXiv:1610.02357, Table 3",
        why="Not explained: without the scales of batch norm, as in Keras, it is 23,817,352.",
    ),
    Published(
        name="inception_v3",
        params_printed="24 M",
        macs_printed="5.7 G",
        quoted_as="FLOPs",
        source="Tan & Le, arXiv:1905.11946, Table 2",
        note="The figure that is quoted most.",
    ),
)
