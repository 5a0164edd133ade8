"""Results as HTML: one self-contained page that opens offline."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from costmodel.measures import RANKED_BY, TRADE_OFF, Measure, of_layers, shown_in
from costmodel.quantities import EVERY_OPERATION
from costmodel.views import charts, palette, units
from costmodel.views.columns import has_input, head, remarks
from costmodel.views.figures import svg
from costmodel.views.html import data, summary
from costmodel.views.scatter import of_interest

if TYPE_CHECKING:
    from jinja2 import Environment
    from matplotlib.figure import Figure as StaticFigure

    from costmodel.comparison import Comparison
    from costmodel.metrics import Metric
    from costmodel.profiling import Profile

_SCRIPTS = {
    "theme": ("theme.js",),
    "profile": (
        "page.js",
        "format.js",
        "front.js",
        "columns.js",
        "charts.js",
        "sorting.js",
        "lazy.js",
        "table.js",
        "tree.js",
        "start.js",
    ),
    "training": ("page.js", "format.js", "charts.js", "sorting.js", "training.js"),
    "candidates": ("page.js", "format.js", "front.js", "charts.js", "sorting.js", "candidates.js"),
    "measurement": ("page.js", "sorting.js", "measurement.js"),
}
"""The scripts of each kind of page, in order."""


def profile(p: Profile) -> str:
    """One model as a page: its costs, where they arise, and whether they are verified."""
    return _page("profile.html.j2", [p], p.name, charts.of_profile())


def comparison(c: Comparison) -> str:
    """Several models as a page: side by side, and each by itself."""
    title = f"{units.plural(len(c.profiles), 'model')} compared"
    columns, (across, up, _) = summary.columns(c), TRADE_OFF
    if (metric := of_interest(c)) is not None:
        across, up = RANKED_BY[0], metric
    axes = [*(_axis(measure) for measure in shown_in("summary")), *map(_axis_of_metric, c.metrics.values())]
    return _page(
        "comparison.html.j2", list(c.profiles.values()), title, charts.of_comparison(),
        {
            "axes": {axis["name"]: axis for axis in axes}, "labels": list(c.labels.values()),
            "metrics": {name: list(metric.figures.values()) for name, metric in c.metrics.items()},
        },
        baseline=c.baseline, warnings=c.warnings, columns=columns, has_input=has_input(c), axes=axes,
        ranges=summary.ranges(list(c.labels.values()), columns), remarks=remarks(c), across=across, up=up,
    )  # fmt: skip


def _axis(m: Measure) -> dict[str, Any]:
    """What the page's scatter needs to know of a measure."""
    title = "Parameters" if m.name == "params" else units.sentence_case(units.head(m.name))
    return {"name": m.name, "title": title, "symbol": m.symbol, "unit": m.unit, "lower": True, "given": False}


def _axis_of_metric(m: Metric) -> dict[str, Any]:
    lower = m.better == "lower"
    return {"name": m.name, "title": head(m), "symbol": m.unit, "unit": "", "lower": lower, "given": True}


def page(source: str, **context: Any) -> str:
    """A page in the style of all, from the text of a template that extends ``base.html.j2``."""
    return _environment().from_string(source).render(**context)


def from_template(name: str, **context: Any) -> str:
    """A template of ``templates/``, filled in."""
    return _environment().get_template(name).render(**context)


def embedded(drawn: Mapping[str, tuple[str, StaticFigure]]) -> list[tuple[str, str]]:
    """Static figures for a template's ``plot``: of each its caption, and its SVG in base64."""
    return [(caption, b64encode(svg(figure)).decode()) for caption, figure in drawn.values()]


def _page(
    template: str, profiles: list[Profile], title: str, figures: dict[str, charts.Figure],
    data_of_several: Mapping[str, Any] = MappingProxyType({}), **of_several: Any,
) -> str:  # fmt: skip
    shown = data.kinds(profiles)
    summaries = [summary.summary(p) for p in profiles]
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
        **data_of_several,
    }
    return (
        _environment()
        .get_template(template)
        .render(
            title=title,
            summaries=summaries,
            payload=payload,
            quantities=[{"name": m.name, "shown": m.name == RANKED_BY[0], **_measure(m)} for m in data.switched()],
            kinds=shown,
            convention=EVERY_OPERATION.name,
            **of_several,
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
    environment.filters |= {
        # Where a long name may be broken: behind what joins its parts.
        "breakable": lambda text: Markup(re.sub(r"([:_/])", r"\1<wbr>", str(Markup.escape(text)))),
        "clipped": units.clipped, "si": units.si, "grouped": units.grouped, "plural": units.plural,
        "shape": units.shape, "sentence_case": units.sentence_case, "extent": units.extent,
    }  # fmt: skip
    return environment
