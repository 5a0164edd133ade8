"""The sizes of ShuffleNet, as papers and libraries print them."""

from __future__ import annotations

from ._record import Published


def _table_1(groups: int, macs: str) -> Published:
    return Published(
        name="shufflenet_v1",
        variant={"groups": groups},
        macs_printed=macs,
        quoted_as="FLOPs",
        source="Zhang et al., arXiv:1707.01083, Table 1 (complexity)",
    )


def _table_2(width: float, macs: str, why: str = "") -> Published:
    return Published(
        name="shufflenet_v1",
        variant={"groups": 3, "width": width},
        macs_printed=macs,
        quoted_as="FLOPs",
        source="Zhang et al., arXiv:1707.01083, Table 2 (complexity)",
        note="One figure for every number of groups.",
        why=why,
    )


def _authors_code(groups: int, width: float, macs: str, params: str, why: str = "") -> Published:
    return Published(
        name="shufflenet_v1",
        variant={"groups": groups, "width": width},
        params_printed=params,
        macs_printed=macs,
        quoted_as="FLOPs",
        source="megvii-model/ShuffleNet-Series, ShuffleNetV1/README.md",
        note="The page of the authors' released code; the paper gives no parameters.",
        why=why,
    )


_STEM_OF_24 = "The authors' code keeps 24 channels in the first convolution, here scaled to 36: with 24 it is {}."

PUBLISHED = (
    _table_1(1, "143 M"),
    _table_1(2, "140 M"),
    _table_1(3, "137 M"),
    _table_1(4, "133 M"),
    _table_1(8, "137 M"),
    _table_2(0.5, "38 M"),
    _table_2(0.25, "13 M", why="The first convolution may not be scaled to 6 channels: with 12 it is 13.3 M."),
    _authors_code(3, 0.5, "38 M", "0.7 M"),
    _authors_code(8, 0.5, "40 M", "1.0 M"),
    _authors_code(3, 1.0, "138 M", "1.9 M", why="MACs: not explained; the paper has 137 M, as computed."),
    _authors_code(8, 1.0, "138 M", "2.4 M"),
    _authors_code(3, 1.5, "292 M", "3.4 M", why=_STEM_OF_24.format("292.4 M")),
    _authors_code(8, 1.5, "290 M", "4.3 M", why=_STEM_OF_24.format("290.2 M")),
    _authors_code(3, 2.0, "524 M", "5.4 M"),
    _authors_code(8, 2.0, "522 M", "6.5 M"),
)
