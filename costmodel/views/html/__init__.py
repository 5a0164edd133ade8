"""Results as HTML: one self-contained page that opens offline, and a compact table for notebooks."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from costmodel.quantities import EVERY_OPERATION
from costmodel.views import charts, units
from costmodel.views.html import data
from costmodel.views.html.summary import summary

if TYPE_CHECKING:
    from jinja2 import Environment

    from costmodel.compare import Comparison
    from costmodel.profile import Profile

_SCRIPTS = ("page.js", "format.js", "columns.js", "charts.js", "table.js", "tree.js", "start.js")


def profile(p: Profile) -> str:
    """One model as a page: what it costs, where that goes, and whether it is true."""
    return _page("profile.html.j2", [p], p.name, None)


def comparison(c: Comparison) -> str:
    """Several models as a page: side by side, and each by itself."""
    return _page("comparison.html.j2", list(c.profiles.values()), f"{len(c.profiles)} models compared", c.baseline)


def fragment(result: Profile | Comparison) -> str:
    """A compact table of a profile's or comparison's totals, for notebooks. No script, no class names, no page."""
    profiles = getattr(result, "profiles", None)
    if profiles is None:
        return _environment().get_template("fragment_profile.html.j2").render(s=summary(result))  # type: ignore[arg-type]
    rows = [summary(p) for p in profiles.values()]
    return _environment().get_template("fragment_comparison.html.j2").render(rows=rows)


def _page(template: str, profiles: list[Profile], title: str, baseline: str | None) -> str:
    shown = data.kinds(profiles)
    payload: dict[str, Any] = {
        "models": [data.payload(p) for p in profiles],
        "quantities": {key: {"name": name, "unit": unit} for key, (name, unit) in data.QUANTITIES.items()},
        "kinds": {kind: data.KIND_COLORS.get(kind, data.KIND_COLORS["other"]) for kind in shown},
        "charts": charts.of_profile()
        if len(profiles) == 1 and template == "profile.html.j2"
        else charts.of_comparison(),
        "baseline": baseline,
    }
    return (
        _environment()
        .get_template(template)
        .render(
            title=title,
            summaries=[summary(p) for p in profiles],
            payload=payload,
            quantities=data.QUANTITIES,
            kinds=shown,
            convention=EVERY_OPERATION.name,
            baseline=baseline,
        )
    )


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
        "scripts": lambda: Markup("\n".join((static / name).read_text("utf-8") for name in _SCRIPTS)),
        "plotly": lambda: Markup(charts.library()),
    }
    environment.filters |= {"si": units.si, "grouped": units.grouped, "shape": units.shape}
    return environment
