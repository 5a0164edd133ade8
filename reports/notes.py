"""Every claim of the study notes, computed: notes.md and notes.html."""

from __future__ import annotations

from costmodel.notes import results
from costmodel.views import notes as view


def files() -> dict[str, bytes]:
    """The report's files, by their names."""
    found = results()
    return {"notes.md": view.markdown(found).encode(), "notes.html": view.page(found).encode()}
