"""The sizes of HybridSN, as papers and libraries print them."""

from __future__ import annotations

from ._record import Published

PUBLISHED = (
    Published(
        name="hybridsn",
        params_printed="5,122,176",
        source="Roy et al., arXiv:1902.06701, Table I",
        note="Indian Pines: a 25x25 window, 30 bands, 16 classes.",
    ),
)
