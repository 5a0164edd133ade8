"""What papers and libraries say of a network's size: one frozen record per statement, without torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
_FIGURE = re.compile(r"((?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?) ?([KMG]?)")


def read_figure(printed: str) -> int:
    """The number that a printed figure states, exactly.

    >>> read_figure("4.2 M"), read_figure("22,855,952")
    (4200000, 22855952)
    """
    match = _FIGURE.fullmatch(printed)
    if match is None:
        raise ValueError(f"{printed!r} is not a published figure; write it as '569 M', '1.8 G' or '5,122,176'")
    return int(Decimal(match[1].replace(",", "")) * _UNITS[match[2]])


@dataclass(frozen=True, kw_only=True)
class Published:
    """One statement about one network, with its source. A figure is never adjusted to fit.

    `name` and `variant` build the network that is meant: `costmodel.models.build(name, **variant)`.
    """

    name: str
    variant: Mapping[str, Any] = field(default_factory=dict, hash=False)
    params_printed: str | None = None
    """The parameters as printed ("4.2 M"), None where the source does not say."""
    macs_printed: str | None = None
    """The multiply-accumulates as printed ("569 M"), None where the source does not say."""
    quoted_as: str = ""
    """The source's own word for what is called a MAC here; empty where it gives none."""
    source: str
    """arXiv number and table, or the library's page."""
    note: str = ""
    """What the reader should know of the source."""
    why: str = ""
    """Why the source prints that, wherever no convention makes it (`costmodel.published`)."""

    @property
    def params(self) -> int | None:
        return None if self.params_printed is None else read_figure(self.params_printed)

    @property
    def macs(self) -> int | None:
        return None if self.macs_printed is None else read_figure(self.macs_printed)
