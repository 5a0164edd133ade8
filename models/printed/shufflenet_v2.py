"""The sizes of ShuffleNetV2, as papers and libraries print them."""

from __future__ import annotations

from ._record import Published


def _table_5(width: float, macs: str, params: str, why: str = "") -> Published:
    return Published(
        name="shufflenet_v2",
        variant={"width": width},
        params_printed=params,
        macs_printed=macs,
        quoted_as="FLOPs",
        source="Ma et al., arXiv:1807.11164, Table 5",
        why=why,
    )


_UNEXPLAINED = (
    "No one convention makes the MACs of all four widths; batch norm, pooling or biases fit no more than two of them."
)

PUBLISHED = (
    _table_5(0.5, "41 M", "1.4 M", _UNEXPLAINED),
    _table_5(1.0, "146 M", "2.3 M", _UNEXPLAINED),
    _table_5(1.5, "299 M", "3.5 M", _UNEXPLAINED),
    _table_5(2.0, "591 M", "7.4 M", _UNEXPLAINED),
)
