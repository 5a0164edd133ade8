"""A figure of matplotlib that a notebook shows by itself.

IPython shows figures once pyplot or ``%matplotlib`` has registered a printer for them, and pyplot keeps those that it
makes. A figure with a picture of its own needs neither. Where a printer is registered, IPython asks it first, so the
notebook's own settings hold, and there is one picture.
"""

from __future__ import annotations

from io import BytesIO

import matplotlib.figure

SCALE = 2
"""Pixels of the picture for each one on the page: sharp on screens of high density."""


class Figure(matplotlib.figure.Figure):
    """A figure that a notebook shows as the value of a cell, and whose pixels are freed with it."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]] | None:
        if not self.axes:
            return None
        out = BytesIO()
        self.savefig(out, format="png", dpi=SCALE * self.dpi, bbox_inches="tight")
        png = out.getvalue()
        width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))  # of the PNG's first chunk, IHDR
        return png, {"width": width // SCALE, "height": height // SCALE}
