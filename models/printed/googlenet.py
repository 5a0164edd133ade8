"""The sizes of GoogLeNet, as papers and libraries print them."""

from __future__ import annotations

from ._record import Published

PUBLISHED = (
    Published(
        name="googlenet",
        params_printed="6.8 M",
        macs_printed="1502 M",
        quoted_as="ops",
        source="Szegedy et al., arXiv:1409.4842, Table 1",
        note="The sums of the table's columns `params` and `ops`, which the paper does not add up itself.",
        why=(
            "The table's first convolution has 2.7K parameters and 34M ops, those of a separable 7x7 with multiplier 8 "
            "(7*7*3*8 + 24*64 = 2712) and not of the 7x7 in its type column (9408 and 118M); its K is mostly 1024."
        ),
    ),
    Published(
        name="googlenet",
        macs_printed="1.5 G",
        quoted_as="multiply-adds",
        source="Szegedy et al., arXiv:1409.4842, section 1",
        why="As Table 1: its first convolution counts 34M, where a 7x7 takes 118M.",
    ),
    Published(
        name="googlenet",
        params_printed="6.8 M",
        macs_printed="1550 M",
        quoted_as="Mult-Adds",
        source="Howard et al., arXiv:1704.04861, Table 8",
        why="Parameters as in Table 1, whose K is mostly 1024. MACs: not explained, Table 1 adds up to 1502 M.",
    ),
    Published(
        name="googlenet",
        params_printed="7 M",
        macs_printed="1.43 G",
        quoted_as="MACs",
        source="Sze et al., arXiv:1703.09039, Table II",
        note="The figure that is quoted most.",
        why="Not explained: it is less even than the paper's own Table 1 adds up to (1502 M).",
    ),
)
