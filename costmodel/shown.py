"""What a notebook shows: results of every package, those below the views too, are shown by their row in ``VIEWS``."""

from __future__ import annotations

from typing import ClassVar

from costmodel import late


class Shown:
    """Something that a notebook shows as compact HTML."""

    __slots__ = ()

    view: ClassVar[str]
    """The row of ``costmodel.views.VIEWS`` that shows results of this class."""

    def _repr_html_(self) -> str:
        html: str = late.provided(__name__, "render")(self, "fragment")
        return html
