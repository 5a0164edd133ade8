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

    from costmodel.shown import Shown

SUFFIXES = {
    ".html": "html", ".htm": "html", ".md": "markdown", ".markdown": "markdown", ".json": "json", ".csv": "csv",
    ".tex": "latex", ".txt": "text", ".png": "png", ".svg": "svg",
}  # fmt: skip
"""The format that a file's suffix names."""

Renderer: TypeAlias = Callable[..., Any]
"""Takes a result and the format's options; returns text, for a picture bytes, and for ``figures`` a dict of name to
caption and figure."""


# Each is imported when it is first needed: a text needs no HTML. Their attributes are checked by a test of every row.


def _analyses() -> Any:
    from costmodel.views import analyses

    return analyses


def _conventions() -> Any:
    from costmodel.views import conventions

    return conventions


def _budgets() -> Any:
    from costmodel.views import budgets

    return budgets


def _compact(of: str) -> Any:
    from importlib import import_module

    return import_module(f"costmodel.views.compact.{of}")


def _candidates() -> Any:
    from costmodel.views import candidates

    return candidates


def _csv() -> Any:
    from costmodel.views import csv

    return csv


def _differences() -> Any:
    from costmodel.views import differences

    return differences


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


def _measurement() -> Any:
    from costmodel.views import measurement

    return measurement


def _measurement_page() -> Any:
    from costmodel.views import measurement_page

    return measurement_page


def _provenance() -> Any:
    from costmodel.views import provenance

    return provenance


def _roofline() -> Any:
    from costmodel.views import roofline

    return roofline


def _scaling() -> Any:
    from costmodel.views import scaling

    return scaling


def _scatter() -> Any:
    from costmodel.views import scatter

    return scatter


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
        "fragment": lambda: _compact("models").profile,
        "json": lambda: _json().profile,
        "csv": lambda: _csv().profile,
        "latex": lambda: _latex().profile,
        "figures": lambda: _figures().of_profile,
    },
    "comparison": {
        "text": lambda: _text().comparison,
        "markdown": lambda: _markdown().comparison,
        "html": lambda: _html().comparison,
        "fragment": lambda: _compact("models").comparison,
        "json": lambda: _json().comparison,
        "csv": lambda: _csv().comparison,
        "latex": lambda: _latex().comparison,
        "figures": lambda: _scatter().of_comparison,
    },
    "backward cost": {"fragment": lambda: _compact("formulas").backward},
    "block cost": {"fragment": lambda: _compact("formulas").block},
    "budget": {"fragment": lambda: _budgets().fragment},
    "closed form": {"fragment": lambda: _compact("formulas").network},
    "coverage": {"fragment": lambda: _compact("checks").coverage},
    "crosscheck": {
        "text": lambda: _text().crosscheck,
        "markdown": lambda: _markdown().crosscheck,
        "fragment": lambda: _compact("checks").crosscheck,
    },
    "difference": {
        "text": lambda: _differences().difference,
        "markdown": lambda: _differences().difference,
        "fragment": lambda: _compact("models").difference,
    },
    "differences": {
        "text": lambda: _differences().differences,
        "markdown": lambda: _differences().differences,
        "fragment": lambda: _compact("models").differences,
    },
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
    "generation roofline": {
        "text": lambda: _generation().roofline_text,
        "markdown": lambda: _generation().roofline,
        "fragment": lambda: _generation().roofline_fragment,
    },
    "guidelines": {
        "text": lambda: _analyses().guidelines_text,
        "markdown": lambda: _guidelines().markdown,
        "fragment": lambda: _guidelines().fragment,
    },
    "layer cost": {"fragment": lambda: _compact("formulas").cost},
    "peak memory": {"fragment": lambda: _compact("analyses").peak},
    "receptive field": {"fragment": lambda: _compact("analyses").receptive_field},
    "measurement": {
        "text": lambda: _measurement().text,
        "markdown": lambda: _measurement().markdown,
        "html": lambda: _measurement_page().page,
        "fragment": lambda: _measurement_page().fragment,
        "json": lambda: _measurement().json,
        "csv": lambda: _measurement().csv,
        "latex": lambda: _measurement().tex,
        "figures": lambda: _measurement().of_measurement,
    },
    "provenance": {
        "text": lambda: _provenance().text,
        "markdown": lambda: _provenance().markdown,
        "html": lambda: _provenance().html,
        "fragment": lambda: _provenance().fragment,
        "json": lambda: _provenance().json,
        "csv": lambda: _provenance().csv,
        "latex": lambda: _provenance().tex,
    },
    "recount": {
        "text": lambda: _conventions().recount_text,
        "markdown": lambda: _conventions().recount_markdown,
        "html": lambda: _conventions().recount_page,
        "fragment": lambda: _conventions().recount_fragment,
        "json": lambda: _conventions().recount_json,
        "csv": lambda: _conventions().recount_csv,
        "latex": lambda: _conventions().recount_latex,
        "figures": lambda: _conventions().recount_figures,
    },
    "reconciliation": {
        "text": lambda: _conventions().reconciliation_text,
        "markdown": lambda: _conventions().reconciliation_markdown,
        "html": lambda: _conventions().reconciliation_page,
        "fragment": lambda: _conventions().reconciliation_fragment,
        "json": lambda: _conventions().reconciliation_json,
        "csv": lambda: _conventions().reconciliation_csv,
        "latex": lambda: _conventions().reconciliation_latex,
        "figures": lambda: _conventions().reconciliation_figures,
    },
    "roofline": {
        "text": lambda: _analyses().roofline_text,
        "markdown": lambda: _roofline().markdown,
        "fragment": lambda: _roofline().fragment,
    },
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
"""For each kind of result the formats that it has, and what writes each. A new kind of result is a new row; notebooks
show its ``fragment``."""


def render(result: Shown, form: str, **options: Any) -> Any:
    """A result in a format of its row in ``VIEWS``, with that format's options: a text, or the bytes of a picture.

    ``fragment`` is HTML for a notebook.
    """
    text: str | bytes = VIEWS[result.view][form]()(result, **options)
    return text


def save(result: Shown, path: str | Path) -> Path:
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
