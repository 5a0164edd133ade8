"""What results share: each says which view shows it, and the door of ``costmodel.views`` does the rest."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from costmodel import late
from costmodel.shown import Shown


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


class Rendered(Shown):
    """A result that can be printed, and written as Markdown."""

    def to_markdown(self) -> str:
        """The result as Markdown."""
        return self._render("markdown")

    def __str__(self) -> str:
        return self._render("text")

    def __repr__(self) -> str:
        from costmodel.views import units

        # No table: a shell shows this, and a list of results one of each.
        of: str = getattr(self, "name", "") or getattr(self, "model", "")
        return f"<{type(self).__name__}{f' of {units.printable(of)}' if of else ''}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """The text of a result that is a cell's value; inside of a list it is one line."""
        printer.text(repr(self) if cycle or len(printer.stack) > 1 else str(self))

    def _render(self, form: str, **options: Any) -> str:
        with late.uncollected():
            from costmodel import views

        with without_passes():
            text: str = views.render(self, form, **options)
        return text


class Report(Rendered):
    """A result that is a report: a page, tables for scripts and papers, and files of each.

    Two are equal if they are of one class and have the same JSON: a copy, what was pickled, what was saved and read.
    """

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return self.to_json() == other.to_json() if isinstance(other, Report) and type(other) is type(self) else False

    def __hash__(self) -> int:
        return hash((type(self), self.to_json()))

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
