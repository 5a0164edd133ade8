"""The sizes of MobileNetV2, as papers and libraries print them."""

from __future__ import annotations

from ._record import Published

_TABLE_4 = "Sandler et al., arXiv:1801.04381, Table 4"


def _slim(width: float, resolution: int, params: str, macs: str) -> Published:
    return Published(
        name="mobilenet_v2",
        variant={"width": width, "resolution": resolution},
        params_printed=params,
        macs_printed=macs,
        quoted_as="MACs",
        source="tensorflow/models, research/slim/nets/mobilenet/README.md",
        note="The page of the authors' released code.",
    )


PUBLISHED = (
    Published(
        name="mobilenet_v2",
        params_printed="3.4 M",
        macs_printed="300 M",
        quoted_as="MAdds",
        source=_TABLE_4,
    ),
    Published(
        name="mobilenet_v2",
        variant={"width": 1.4},
        params_printed="6.9 M",
        macs_printed="585 M",
        quoted_as="MAdds",
        source=_TABLE_4,
        why=(
            "Parameters: most likely a typo for 6.06 M, which the authors' own page has. MACs: not explained; that "
            "page has 582 M, as computed."
        ),
    ),
    _slim(1.0, 224, "3.47 M", "300 M"),
    _slim(1.4, 224, "6.06 M", "582 M"),
    _slim(0.75, 224, "2.61 M", "209 M"),
    _slim(0.5, 224, "1.95 M", "97 M"),
    _slim(0.35, 96, "1.66 M", "11 M"),
)
