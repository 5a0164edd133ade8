"""The sizes of EfficientNet-B0 to B7, as papers and libraries print them."""

from __future__ import annotations

from ._record import Published


def _table_2(variant: str, params: str, macs: str, why: str = "") -> Published:
    return Published(
        name=f"efficientnet_{variant}",
        params_printed=params,
        macs_printed=macs,
        quoted_as="FLOPs",
        source="Tan & Le, arXiv:1905.11946, Table 2",
        why=why,
    )


_UNEXPLAINED = "MACs: not explained; the paper prints neither the resolution nor the multipliers it counted with."

PUBLISHED = (
    _table_2("b0", "5.3 M", "0.39 G"),
    _table_2(
        "b1",
        "7.8 M",
        "0.70 G",
        "With one MAC an element of each batch norm it is 0.698 G; the other variants do not settle it.",
    ),
    _table_2("b2", "9.2 M", "1.0 G"),
    _table_2("b3", "12 M", "1.8 G"),
    _table_2("b4", "19 M", "4.2 G", _UNEXPLAINED),
    _table_2("b5", "30 M", "9.9 G", _UNEXPLAINED),
    _table_2("b6", "43 M", "19 G"),
    _table_2("b7", "66 M", "37 G"),
)
