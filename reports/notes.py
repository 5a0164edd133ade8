"""Every claim of the study notes, computed: notes.md and notes.html."""

from __future__ import annotations

from costmodel.notes import report, results


def files() -> dict[str, bytes]:
    """The report's files, by their names."""
    found = results()
    return {"notes.md": report.markdown(found).encode(), "notes.html": report.page(found).encode()}
