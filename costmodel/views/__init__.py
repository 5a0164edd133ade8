"""Results to text, pages and figures. Nothing is counted here, and only here are counts rounded.

This file is the one door: a result asks it for a format, and ``VIEWS`` says which function writes that. Views are given
results and import none of their classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from costmodel.errors import ConvertError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from costmodel.rendering import Rendered

SUFFIXES = {
    ".html": "html", ".htm": "html", ".md": "markdown", ".markdown": "markdown", ".json": "json", ".csv": "csv",
    ".tex": "latex", ".txt": "text", ".png": "png", ".svg": "svg",
}  # fmt: skip
"""The format that a file's suffix names."""

Renderer: TypeAlias = Callable[..., Any]
"""Takes a result and the format's options; returns text, for a picture bytes, and for ``figures`` a dict of name to
caption and figure."""


# Each is imported when it is first needed: a text needs no HTML. Their attributes are checked by a test of every row.


def _conventions() -> Any:
    from costmodel.views import conventions

    return conventions


def _candidates() -> Any:
    from costmodel.views import candidates

    return candidates


def _csv() -> Any:
    from costmodel.views import csv

    return csv


def _figures() -> Any:
    from costmodel.views import figures

    return figures


def _formulas() -> Any:
    from costmodel.views import formulas

    return formulas


def _generation() -> Any:
    from costmodel.views import generation

    return generation


def _guidelines() -> Any:
    from costmodel.views import guidelines

    return guidelines


def _html() -> Any:
    from costmodel.views import html

    return html


def _json() -> Any:
    from costmodel.views import json

    return json


def _latex() -> Any:
    from costmodel.views import latex

    return latex


def _markdown() -> Any:
    from costmodel.views import markdown

    return markdown


def _roofline() -> Any:
    from costmodel.views import roofline

    return roofline


def _scaling() -> Any:
    from costmodel.views import scaling

    return scaling


def _text() -> Any:
    from costmodel.views import text

    return text


def _training(form: str) -> Any:
    from importlib import import_module

    return import_module(f"costmodel.views.training.{form}")


VIEWS: Mapping[str, Mapping[str, Callable[[], Renderer]]] = {
    "profile": {
        "text": lambda: _text().profile,
        "markdown": lambda: _markdown().profile,
        "html": lambda: _html().profile,
        "fragment": lambda: _html().profile_fragment,
        "json": lambda: _json().profile,
        "csv": lambda: _csv().profile,
        "latex": lambda: _latex().profile,
        "figures": lambda: _figures().of_profile,
    },
    "comparison": {
        "text": lambda: _text().comparison,
        "markdown": lambda: _markdown().comparison,
        "html": lambda: _html().comparison,
        "fragment": lambda: _html().comparison_fragment,
        "json": lambda: _json().comparison,
        "csv": lambda: _csv().comparison,
        "latex": lambda: _latex().comparison,
        "figures": lambda: _figures().of_comparison,
    },
    "crosscheck": {"text": lambda: _text().crosscheck, "markdown": lambda: _markdown().crosscheck},
    "difference": {"text": lambda: _markdown().difference, "markdown": lambda: _markdown().difference},
    "formulas": {
        "text": lambda: _formulas().text,
        "markdown": lambda: _formulas().markdown,
        "html": lambda: _formulas().html,
        "fragment": lambda: _formulas().fragment,
        "json": lambda: _formulas().json,
        "csv": lambda: _formulas().csv,
        "latex": lambda: _formulas().tex,
        "figures": lambda: _formulas().of_comparison,
        "png": lambda: _formulas().png,
        "svg": lambda: _formulas().svg,
    },
    "generation": {
        "text": lambda: _generation().text,
        "markdown": lambda: _generation().markdown,
        "html": lambda: _generation().html,
        "fragment": lambda: _generation().fragment,
        "json": lambda: _generation().json,
        "csv": lambda: _generation().csv,
        "latex": lambda: _generation().tex,
        "figures": lambda: _generation().of_generation,
    },
    "generation roofline": {"text": lambda: _generation().roofline, "markdown": lambda: _generation().roofline},
    "guidelines": {"text": lambda: _guidelines().markdown, "markdown": lambda: _guidelines().markdown},
    "recount": {
        "text": lambda: _conventions().recount_text,
        "markdown": lambda: _conventions().recount_markdown,
    },
    "reconciliation": {
        "text": lambda: _conventions().reconciliation_text,
        "markdown": lambda: _conventions().reconciliation_markdown,
    },
    "roofline": {"text": lambda: _roofline().markdown, "markdown": lambda: _roofline().markdown},
    "scaling": {
        "text": lambda: _scaling().text,
        "markdown": lambda: _scaling().markdown,
        "html": lambda: _scaling().html,
        "fragment": lambda: _scaling().fragment,
        "json": lambda: _scaling().json,
        "csv": lambda: _scaling().csv,
        "latex": lambda: _scaling().tex,
        "figures": lambda: _scaling().of_scaling,
    },
    "sweep": {
        "text": lambda: _candidates().text,
        "markdown": lambda: _candidates().markdown,
        "html": lambda: _candidates().html,
        "fragment": lambda: _candidates().fragment,
        "json": lambda: _candidates().json,
        "csv": lambda: _candidates().csv,
        "latex": lambda: _candidates().tex,
        "figures": lambda: _candidates().of_sweep,
    },
    "training": {
        "text": lambda: _training("text").step,
        "markdown": lambda: _training("markdown").step,
        "html": lambda: _training("page").step,
        "fragment": lambda: _training("page").fragment,
        "json": lambda: _training("json").step,
        "csv": lambda: _training("tables").comma_separated,
        "latex": lambda: _training("tables").booktabs,
        "figures": lambda: _training("figures").of_step,
    },
    "step comparison": {
        "text": lambda: _training("comparison").text,
        "markdown": lambda: _training("comparison").markdown,
        "html": lambda: _training("comparison").page,
        "fragment": lambda: _training("comparison").fragment,
        "json": lambda: _training("comparison").written,
        "csv": lambda: _training("comparison").comma_separated,
        "latex": lambda: _training("comparison").booktabs,
        "figures": lambda: _training("comparison").of_comparison,
    },
}
"""For each kind of result the formats that it has, and what writes each. A new kind of result is a new row."""


def render(result: Rendered, form: str, **options: Any) -> Any:
    """A result in a format of its row in ``VIEWS``, with that format's options: a text, or the bytes of a picture.

    ``fragment`` is HTML for a notebook.
    """
    text: str | bytes = VIEWS[result.view][form]()(result, **options)
    return text


def save(result: Rendered, path: str | Path) -> Path:
    """Writes a result in the format of the suffix, making folders as needed.

    The figures of ``report.md`` are ``report_figures/*.svg``, with the same bytes for the same result.
    Raises ``ConvertError`` for a suffix of no format, or of one that the result does not have, and for a file that
    cannot be written; what was there before is then as it was.
    """
    from costmodel.files import as_path, write_bytes, write_text

    path = as_path(path)
    view = VIEWS[result.view]
    form = SUFFIXES.get(path.suffix.lower())
    if form is None or form not in view:
        suffixes = " ".join(suffix for suffix, named in SUFFIXES.items() if named in view)
        raise ConvertError(
            f"{path}: nothing is written as {path.suffix or 'a file without suffix'}; there are {suffixes}"
        )
    options: dict[str, Any] = {}
    if form == "markdown" and "figures" in view:
        options["figures"] = _save_figures(view["figures"]()(result), path.with_name(f"{path.stem}_figures"))
    made = render(result, form, **options)
    return write_bytes(path, made) if isinstance(made, bytes) else write_text(path, made)


def _save_figures(drawn: Mapping[str, tuple[str, Figure]], folder: Path) -> dict[str, str]:
    """Writes figures as SVG; their captions by the paths that a report beside the folder links to."""
    from costmodel.files import write_bytes

    for name, (_, figure) in drawn.items():
        write_bytes(folder / f"{name}.svg", _figures().svg(figure))
    return {f"{folder.name}/{name}.svg": caption for name, (caption, _) in drawn.items()}
