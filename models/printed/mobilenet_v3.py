"""The sizes of MobileNetV3, as papers and libraries print them."""

from __future__ import annotations

from ._record import Published


def _published(name: str, width: float, params: str, macs: str, *, slim: bool = False, why: str = "") -> Published:
    return Published(
        name=name,
        variant={"width": width},
        params_printed=params,
        macs_printed=macs,
        quoted_as="MACs" if slim else "MAdds",
        source=(
            "tensorflow/models, research/slim/nets/mobilenet/README.md"
            if slim
            else "Howard et al., arXiv:1905.02244, Table 3"
        ),
        note="The page of the authors' released code." if slim else "",
        why=why,
    )


PUBLISHED = (
    _published(
        "mobilenet_v3_large",
        1.0,
        "5.4 M",
        "219 M",
        why="MACs: not explained; the page of the released code has 217 M, as computed.",
    ),
    _published("mobilenet_v3_large", 0.75, "4.0 M", "155 M"),
    _published("mobilenet_v3_small", 1.0, "2.5 M", "56 M"),
    _published(
        "mobilenet_v3_small",
        0.75,
        "2.0 M",
        "44 M",
        why="A hidden layer of 1280, as in Large, would make it 43.8 M MACs, which prints as 44 M.",
    ),
    _published("mobilenet_v3_large", 1.0, "5.4 M", "217 M", slim=True),
    _published(
        "mobilenet_v3_small",
        1.0,
        "2.9 M",
        "66 M",
        slim=True,
        why=(
            "A hidden layer of 1280, as in Large, makes it 2.947 M, which prints as 2.9 M. The 66 M are not explained: "
            "with that layer it is 56.9 M, and the paper says 56 M."
        ),
    ),
    _published(
        "mobilenet_v3_small",
        0.75,
        "2.4 M",
        "44 M",
        slim=True,
        why="A hidden layer of 1280, as in Large, makes it 2.409 M and 43.8 M, which print as these figures.",
    ),
)
