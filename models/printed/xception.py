"""The sizes of Xception, as papers and libraries print them."""

from __future__ import annotations

from ._record import Published

PUBLISHED = (
    Published(name="xception", params_printed="22,855,952", source="Chollet, arXiv:1610.02357, Table 3"),
    Published(
        name="xception",
        params_printed="23 M",
        macs_printed="8.4 G",
        quoted_as="FLOPs",
        source="Tan & Le, arXiv:1905.11946, Table 2",
    ),
)
