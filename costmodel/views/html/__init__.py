"""Results as HTML: one self-contained page that opens offline, and a compact table for notebooks."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from costmodel.measures import RANKED_BY, TRADE_OFF, Measure, of_layers
from costmodel.quantities import EVERY_OPERATION
from costmodel.views import charts, palette, units
from costmodel.views.html import data
from costmodel.views.html.summary import ranges, summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jinja2 import Environment

    from costmodel.comparison import Comparison
    from costmodel.profiling import Profile

_SCRIPTS = {
    "profile": (
        "page.js",
        "format.js",
        "columns.js",
        "charts.js",
        "sorting.js",
        "lazy.js",
        "table.js",
        "tree.js",
        "start.js",
    ),
    "training": ("page.js", "format.js", "charts.js", "sorting.js", "training.js"),
    "candidates": ("page.js", "format.js", "charts.js", "sorting.js", "candidates.js"),
}
"""The scripts of each kind of page, in order."""


def profile(p: Profile) -> str:
    """One model as a page: its costs, where they arise, and whether they are verified."""
    return _page("profile.html.j2", [p], p.name, charts.of_profile())


def comparison(c: Comparison) -> str:
    """Several models as a page: side by side, and each by itself."""
    title = f"{len(c.profiles)} models compared"
    return _page("comparison.html.j2", list(c.profiles.values()), title, charts.of_comparison(), c.baseline, c.warnings)


def profile_fragment(p: Profile) -> str:
    """A compact table of a profile's totals, for notebooks. No script, no class names, no page."""
    return _environment().get_template("fragment_profile.html.j2").render(s=summary(p))


def comparison_fragment(c: Comparison) -> str:
    """A compact table of several models' totals, for notebooks."""
    rows = [summary(p) for p in c.profiles.values()]
    return _environment().get_template("fragment_comparison.html.j2").render(rows=rows, warnings=c.warnings)


def page(source: str, **context: Any) -> str:
    """A page in the style of all, from the text of a template that extends ``base.html.j2``."""
    return _environment().from_string(source).render(**context)


def from_template(name: str, **context: Any) -> str:
    """A template of ``templates/``, filled in."""
    return _environment().get_template(name).render(**context)


def _page(
    template: str, profiles: list[Profile], title: str, figures: dict[str, charts.Figure], baseline: str | None = None,
    warnings: Sequence[str] = (),
) -> str:  # fmt: skip
    shown = data.kinds(profiles)
    summaries = [summary(p) for p in profiles]
    models = [data.payload(p) for p in profiles]
    payload: dict[str, Any] = {
        "models": models,
        "devices": data.devices(models),
        "measures": {m.name: _measure(m) for m in of_layers("summary")},
        "shown": RANKED_BY[0],
        "trade_off": TRADE_OFF,
        "kinds": {kind: palette.of_kind(kind) for kind in shown},
        "palette": palette.MODELS,
        "charts": figures,
    }
    return (
        _environment()
        .get_template(template)
        .render(
            title=title,
            summaries=summaries,
            ranges=ranges(summaries),
            payload=payload,
            quantities=[{"name": m.name, "shown": m.name == RANKED_BY[0], **_measure(m)} for m in data.switched()],
            kinds=shown,
            convention=EVERY_OPERATION.name,
            baseline=baseline,
            warnings=warnings,
        )
    )


def _measure(m: Measure) -> dict[str, Any]:
    """What the page needs to know of a measure: its titles, unit and meaning."""
    return {
        "heading": units.sentence_case(m.title), "short": units.sentence_case(m.short or m.title), "title": m.title,
        "unit": m.unit, "noun": units.noun(m.name), "symbol": m.symbol, "means": m.means, "additive": m.additive,
    }  # fmt: skip


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("costmodel.views.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Compact, and as exact as Python has them; jinja's own escaping of <, > and & still goes over it.
    environment.policies["json.dumps_function"] = lambda value, **_: json.dumps(
        value, separators=(",", ":"), ensure_ascii=False
    )
    static = files("costmodel.views.html") / "static"
    environment.globals |= {
        # Only what the library itself ships is marked as safe.
        "style": lambda: Markup((static / "report.css").read_text("utf-8")),
        "scripts": lambda of: Markup("\n".join((static / name).read_text("utf-8") for name in _SCRIPTS[of])),
        "plotly": lambda: Markup(charts.library()),
    }
    environment.filters |= {"si": units.si, "grouped": units.grouped, "shape": units.shape, "extent": units.extent}
    return environment
