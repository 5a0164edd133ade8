"""The sizes of MobileNetV1, as papers and libraries print them."""

from __future__ import annotations

from ._record import Published


def _published(
    table: int, width: float, resolution: int, macs: str, params: str, *, why: str = "", note: str = ""
) -> Published:
    return Published(
        name="mobilenet_v1",
        variant={"width": width, "resolution": resolution},
        params_printed=params,
        macs_printed=macs,
        quoted_as="Mult-Adds",
        source=f"Howard et al., arXiv:1704.04861, Table {table}",
        note=note,
        why=why,
    )


def _slim(width: float, macs: str, params: str, *, why: str = "") -> Published:
    return Published(
        name="mobilenet_v1",
        variant={"width": width},
        params_printed=params,
        macs_printed=macs,
        quoted_as="MACs",
        source="tensorflow/models, research/slim/nets/mobilenet_v1.md",
        note="The page of the authors' released code, whose classifier has 1001 classes.",
        why=why,
    )


PUBLISHED = (
    _published(6, 1.0, 224, "569 M", "4.2 M"),
    _published(6, 0.75, 224, "325 M", "2.6 M"),
    _published(6, 0.5, 224, "149 M", "1.3 M"),
    _published(6, 0.25, 224, "41 M", "0.5 M"),
    _published(7, 1.0, 192, "418 M", "4.2 M"),
    _published(7, 1.0, 160, "290 M", "4.2 M"),
    _published(7, 1.0, 128, "186 M", "4.2 M"),
    _published(9, 0.5, 160, "76 M", "1.32 M"),
    _slim(1.0, "569 M", "4.24 M", why="Parameters: not explained; with 1001 classes it is 4.233 M."),
    _slim(0.75, "317 M", "2.59 M", why="Not explained: the paper has 325 M, as computed."),
    _slim(0.5, "150 M", "1.34 M"),
    _slim(0.25, "41 M", "0.47 M"),
    Published(
        name="mobilenet_v1",
        params_printed="4.2 M",
        macs_printed="575 M",
        quoted_as="MAdds",
        source="Sandler et al., arXiv:1801.04381, Table 4",
        note="The figure that is quoted most, by authors of both papers.",
        why="Not explained: the same authors' paper of MobileNetV1 says 569 M; batch norm included, it is 574 M.",
    ),
)
