"""The sizes of EfficientNetV2, as papers and libraries print them."""

from __future__ import annotations

from ._record import Published


def _table_7(variant: str, params: str, macs: str, why: str = "") -> Published:
    return Published(
        name=f"efficientnet_v2_{variant}",
        params_printed=params,
        macs_printed=macs,
        quoted_as="FLOPs",
        source="Tan & Le, arXiv:2104.00298, Table 7",
        why=why,
    )


def _authors_code(variant: str, params: str, macs: str, why: str = "") -> Published:
    return Published(
        name=f"efficientnet_v2_{variant}",
        params_printed=params,
        macs_printed=macs,
        quoted_as="FLOPs",
        source="google/automl, efficientnetv2/README.md",
        note="The page of the authors' released code.",
        why=why,
    )


_UNEXPLAINED = (
    "MACs: not explained; the authors say that they changed the networks a little after the paper (google/automl, "
    "issue 999)."
)

PUBLISHED = (
    _table_7(
        "s",
        "22 M",
        "8.8 G",
        "MACs: likely those of the paper's first version, with 272 "
        "channels in stage 6 (google/automl, issue 999) and 1792 in the head: 8.6 G; the rest is not explained.",
    ),
    _table_7("m", "54 M", "24 G"),
    _table_7("l", "120 M", "53 G", _UNEXPLAINED),
    _authors_code("s", "21.5 M", "8.4 G"),
    _authors_code("m", "54.1 M", "24.7 G"),
    _authors_code("l", "119.5 M", "56.3 G", "Parameters: not explained; with running statistics it is 119.0 M."),
)
