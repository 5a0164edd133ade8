"""What results share: each says which view shows it, and the door of ``costmodel.views`` does the rest."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from costmodel import late


@contextmanager
def without_passes() -> Iterator[None]:
    """No pass of the garbage collector meanwhile; one afterwards, over what was made.

    Records of many layers are kept, and passes over them, again and again, would take as long as making them: with
    10,000 layers, half of a roofline's 96 microseconds a row.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


class Rendered:
    """A result that can be printed, and written as Markdown."""

    view: ClassVar[str]
    """The row of ``costmodel.views.VIEWS`` that shows results of this class."""

    def to_markdown(self) -> str:
        """The result as Markdown."""
        return self._render("markdown")

    def __str__(self) -> str:
        return self._render("text")

    def _render(self, form: str, **options: Any) -> str:
        with late.uncollected():
            from costmodel import views

        with without_passes():
            text: str = views.render(self, form, **options)
        return text


class Report(Rendered):
    """A result that is a report: a page, tables for scripts and papers, and files of each."""

    def to_html(self) -> str:
        """The result as one self-contained HTML page."""
        return self._render("html")

    def to_json(self) -> str:
        """The result as JSON."""
        return self._render("json")

    def to_csv(self) -> str:
        """Its table as CSV."""
        return self._render("csv")

    def to_latex(self) -> str:
        """Its table in LaTeX, with booktabs."""
        return self._render("latex")

    def save(self, path: str | Path) -> Path:
        """Writes the result in the format of the suffix: .html, .md (figures beside it), .json, .csv, .tex or .txt.

        Raises ``ConvertError`` for another suffix, and for a file that cannot be written: the old one is then whole.
        """
        from costmodel import views

        return views.save(self, path)

    def _repr_html_(self) -> str:
        return self._render("fragment")
