"""The sizes of Inception-v4, as papers and libraries print them."""

from __future__ import annotations

from ._record import Published

PUBLISHED = (
    Published(
        name="inception_v4",
        params_printed="48 M",
        macs_printed="13 G",
        quoted_as="FLOPs",
        source="Tan & Le, arXiv:1905.11946, Table 2",
        note="The Inception-v4 paper itself gives no figure.",
        why=(
            "Not explained: neither running statistics (42.7 M with them) nor an auxiliary classifier like that of "
            "Inception-v3 (about 3.4 M) make up 48 M, and 12.25 G would print as 12 G."
        ),
    ),
    Published(
        name="inception_v4",
        params_printed="42.7 M",
        macs_printed="12.3 G",
        quoted_as="GMACs",
        source="timm, model card of inception_v4.tf_in1k",
    ),
)
