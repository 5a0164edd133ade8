"""Results written to files, in the form that the suffix names; Markdown with its figures beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from costmodel.errors import ConvertError

if TYPE_CHECKING:
    from costmodel.compare import Comparison
    from costmodel.profile import Profile

FORMS = {
    ".html": "to_html", ".htm": "to_html", ".md": "to_markdown", ".markdown": "to_markdown", ".json": "to_json",
    ".csv": "to_csv", ".tex": "to_latex", ".txt": "__str__",
}  # fmt: skip
"""The method that makes what a suffix names."""


def save(result: Profile | Comparison, path: str | Path) -> Path:
    """Writes a result, making folders as needed. Raises ``ConvertError`` for a suffix that names no form.

    The figures of ``report.md`` are ``report_figures/*.svg``, with the same bytes for the same result.
    """
    path = Path(path).expanduser()
    method = getattr(result, FORMS.get(path.suffix.lower(), ""), None)
    if method is None:
        forms = [suffix for suffix, name in FORMS.items() if hasattr(result, name)]
        raise ConvertError(
            f"{path}: nothing is written as {path.suffix or 'a file without suffix'}; there are {' '.join(forms)}"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    text = _illustrated(result, path) if method == result.to_markdown else method()
    path.write_text(text if text.endswith("\n") else f"{text}\n", encoding="utf-8", newline="\n")
    return path


def _illustrated(result: Profile | Comparison, path: Path) -> str:
    """The Markdown of a result, which shows the figures that are written beside it."""
    from costmodel.profile import Profile
    from costmodel.views import figures, markdown

    folder = path.with_name(f"{path.stem}_figures")
    drawn = figures.of_profile(result) if isinstance(result, Profile) else figures.of_comparison(result)
    shown = {}
    for name, (alt, figure) in drawn.items():
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.svg").write_bytes(figures.svg(figure))
        shown[f"{folder.name}/{name}.svg"] = alt
    return markdown.profile(result, shown) if isinstance(result, Profile) else markdown.comparison(result, shown)
