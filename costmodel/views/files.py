"""Results written to files, in the form that the suffix names."""

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
    """Writes a result, making folders as needed. Raises ``ConvertError`` for a suffix that names no form."""
    path = Path(path).expanduser()
    method = getattr(result, FORMS.get(path.suffix.lower(), ""), None)
    if method is None:
        forms = [suffix for suffix, name in FORMS.items() if hasattr(result, name)]
        raise ConvertError(
            f"{path}: nothing is written as {path.suffix or 'a file without suffix'}; there are {' '.join(forms)}"
        )
    text = method()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text if text.endswith("\n") else f"{text}\n", encoding="utf-8", newline="\n")
    return path
