"""The sizes of GhostNet, as papers and libraries print them."""

from __future__ import annotations

from ._record import Published


def _table_7(width: float, params: str, macs: str) -> Published:
    return Published(
        name="ghostnet",
        variant={"width": width},
        params_printed=params,
        macs_printed=macs,
        quoted_as="FLOPs",
        source="Han et al., arXiv:1911.11907, Table 7",
    )


PUBLISHED = (
    _table_7(0.5, "2.6 M", "42 M"),
    _table_7(1.0, "5.2 M", "141 M"),
    _table_7(1.3, "7.3 M", "226 M"),
)
