"""Interactive charts, as plotly figures in JSON.

A chart is written once, for any number of models. In it, a text ``"@table.column"`` stands for a column that the page
computes from the chosen model and quantity, and ``"$name"`` for a colour of the page's theme; ``static/charts.js``
fills both in and hands the figure to plotly.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from costmodel.errors import ConvertError

Figure = dict[str, Any]

_HOVER = "%{customdata}<extra></extra>"


def library() -> str:
    """The source of plotly.js, as the Python package ships it. The package itself is not imported: that takes 45 ms."""
    from importlib.util import find_spec

    found = find_spec("plotly")
    if found is None or found.origin is None:
        raise ConvertError("a page has charts of plotly.js, which plotly brings: pip install plotly")
    return Path(found.origin).with_name("package_data").joinpath("plotly.min.js").read_text("utf-8")


def _layout(height: int | str, **more: Any) -> dict[str, Any]:
    return {
        "height": height,
        "margin": {"l": 56, "r": 12, "t": 12, "b": 44},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "$font", "size": 12.5, "color": "$text"},
        "hoverlabel": {
            "bgcolor": "$surface", "bordercolor": "$line", "align": "left",
            "font": {"family": "$font", "size": 12.5, "color": "$text"},
        },
        "showlegend": False,
        "dragmode": False,
        **more,
    }  # fmt: skip


def _axis(title: str = "", **more: Any) -> dict[str, Any]:
    return {
        "title": {"text": title, "font": {"size": 12.5, "color": "$muted"}, "standoff": 10},
        "gridcolor": "$grid", "zerolinecolor": "$line", "linecolor": "$line", "tickfont": {"color": "$muted"},
        "automargin": True, "fixedrange": True,
        **more,
    }  # fmt: skip


def _bars(table: str, lengths: str, labels: str, **options: Any) -> dict[str, Any]:
    """A trace of horizontal bars with texts behind them: the columns of a table that have their lengths and labels."""
    return {
        "type": "bar", "orientation": "h", "x": f"@{table}.{lengths}", "y": f"@{table}.{labels}",
        "text": f"@{table}.text", "textposition": "outside", "cliponaxis": False,
        "marker": {"color": f"@{table}.color"}, "customdata": f"@{table}.hover", "hovertemplate": _HOVER, **options,
    }  # fmt: skip


def _names(**options: Any) -> dict[str, Any]:
    """The axis of the names of horizontal bars, the first on top."""
    return _axis(autorange="reversed", showgrid=False, ticksuffix="  ", tickfont={"color": "$text"}, **options)


def hierarchy() -> Figure:
    """Where a quantity goes, module by module: an icicle, which the page can turn into a treemap."""
    return {
        "data": [
            {
                "type": "icicle",
                "ids": "@nodes.id", "labels": "@nodes.label", "parents": "@nodes.parent", "values": "@nodes.value",
                "branchvalues": "total", "sort": False, "maxdepth": 6,
                "customdata": "@nodes.hover", "hovertemplate": _HOVER, "textinfo": "label+percent root",
                "marker": {"colors": "@nodes.color", "line": {"width": 1, "color": "$surface"}},
                "tiling": {"orientation": "@nodes.orientation", "pad": 0},
                "pathbar": {"visible": True, "thickness": 24},
                "textfont": {"color": "@nodes.ink"},
                "root": {"color": "rgba(0,0,0,0)"}, "leaf": {"opacity": 1},
            }
        ],
        "layout": _layout(
            480, margin={"l": 0, "r": 0, "t": 4, "b": 4}, uniformtext={"minsize": 10, "mode": "hide"},
        ),
    }  # fmt: skip


def kinds() -> Figure:
    """A quantity by kind of layer, the biggest first."""
    return {
        "data": [
            _bars("kinds", "value", "kind"),
        ],
        "layout": _layout(
            "@kinds.height", margin={"l": 8, "r": 8, "t": 4, "b": 4}, bargap=0.35,
            xaxis=_axis(visible=False, range="@kinds.range"),
            yaxis=_names(),
        ),
    }  # fmt: skip


def depth() -> Figure:
    """A quantity layer by layer, in the order of execution."""
    return {
        "data": [
            {
                "type": "bar", "x": "@layers.index", "y": "@layers.value",
                "marker": {"color": "@layers.color", "line": {"width": 0}},
                "customdata": "@layers.hover", "hovertemplate": _HOVER,
            }
        ],
        "layout": _layout(
            320, bargap=0.08, hovermode="closest",
            xaxis=_axis("layer, in order of execution", showgrid=False, zeroline=False, range="@layers.range"),
            yaxis=_axis("@quantity.title", tickformat="~s", rangemode="tozero"),
        ),
    }  # fmt: skip


def receptive_field() -> Figure:
    """How far one output position sees, layer by layer."""
    return {
        "data": [
            {
                "type": "scatter", "mode": "lines+markers", "connectgaps": False,
                "x": "@field.index", "y": "@field.size", "line": {"shape": "hv", "width": 2, "color": "$accent"},
                "marker": {"size": 4, "color": "$accent"},
                "customdata": "@field.hover", "hovertemplate": _HOVER,
            },
            {
                "type": "scatter", "mode": "markers", "x": "@field.whole_index", "y": "@field.whole_size",
                "marker": {"size": 5, "symbol": "circle-open", "color": "$muted"},
                "customdata": "@field.whole_hover", "hovertemplate": _HOVER,
            },
        ],
        "layout": _layout(
            320, hovermode="closest",
            xaxis=_axis("layer, in order of execution", showgrid=False, zeroline=False, range="@field.range"),
            yaxis=_axis("input positions", rangemode="tozero"),
            shapes=[
                {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": "@field.input", "y1": "@field.input",
                 "line": {"dash": "dot", "width": 1.5, "color": "$muted"}},
            ],
            annotations=[
                {"xref": "paper", "x": 0, "y": "@field.input", "yanchor": "bottom", "xanchor": "left",
                 "showarrow": False, "text": "size of the input", "font": {"color": "$muted", "size": 12}},
            ],
        ),
    }  # fmt: skip


def live_memory() -> Figure:
    """Bytes of live activations while each op runs."""
    return {
        "data": [
            {
                "type": "scatter", "mode": "lines", "x": "@live.index", "y": "@live.bytes", "fill": "tozeroy",
                "fillcolor": "$accent-soft", "line": {"shape": "hvh", "width": 1.8, "color": "$accent"},
                "customdata": "@live.hover", "hovertemplate": _HOVER,
            },
            {
                "type": "scatter", "mode": "markers+text", "x": "@live.peak_at", "y": "@live.peak",
                "text": "@live.peak_text", "textposition": "@live.peak_side", "textfont": {"color": "$text"},
                "marker": {"size": 9, "color": "$accent", "line": {"width": 2, "color": "$surface"}},
                "hoverinfo": "skip",
            },
        ],
        "layout": _layout(
            300, hovermode="x",
            xaxis=_axis("op, in order of execution", showgrid=False),
            yaxis=_axis("live activations", tickformat="~s", ticksuffix="B", range="@live.range"),
        ),
    }  # fmt: skip


def roofline() -> Figure:
    """What a device can attain on each layer, under its roof; a bubble's area is the layer's least time."""
    return {
        "data": [
            {
                "type": "scatter", "mode": "lines", "x": "@roof.edge_x", "y": "@roof.edge_y", "hoverinfo": "skip",
                "line": {"width": 2, "color": "$muted"},
            },
            {
                "type": "scatter", "mode": "markers", "x": "@roof.x", "y": "@roof.y", "cliponaxis": False,
                "marker": {
                    "size": "@roof.size", "sizemode": "area", "sizeref": 1, "color": "@roof.color", "opacity": 0.8,
                    "line": {"width": 1, "color": "$surface"},
                },
                "customdata": "@roof.hover", "hovertemplate": _HOVER,
            },
        ],
        "layout": _layout(
            400, hovermode="closest",
            xaxis=_axis("arithmetic intensity: FLOPs per byte moved", type="log", tickformat="~f",
                        range="@roof.range_x", dtick=1),
            yaxis=_axis("attainable FLOP/s", type="log", tickformat="~s", range="@roof.range_y", dtick=1),
            shapes=[{"type": "line", "yref": "paper", "x0": "@roof.ridge", "x1": "@roof.ridge", "y0": 0, "y1": 1,
                     "line": {"dash": "dot", "width": 1.2, "color": "$muted"}}],
            annotations=[
                {"xref": "paper", "yref": "paper", "x": 0.01, "y": 1, "xanchor": "left", "yanchor": "top",
                 "showarrow": False, "text": "← waits for memory", "font": {"color": "$muted", "size": 12}},
                {"xref": "paper", "yref": "paper", "x": 0.99, "y": 0.02, "xanchor": "right", "yanchor": "bottom",
                 "showarrow": False, "text": "waits for arithmetic →", "font": {"color": "$muted", "size": 12}},
            ],
        ),
    }  # fmt: skip


def trade_off() -> Figure:
    """Two columns against each other, a bubble per model, with the front of those that no other beats in both."""
    return {
        "data": [
            {
                "type": "scatter", "mode": "lines", "x": "@front.x", "y": "@front.y", "hoverinfo": "skip",
                "line": {"shape": "hv", "dash": "dot", "width": 1.5, "color": "$muted"},
            },
            {
                "type": "scatter", "mode": "markers+text",
                "x": "@models.across", "y": "@models.up", "text": "@models.label",
                "textposition": "@models.position", "textfont": {"color": "$text", "size": 12.5}, "cliponaxis": False,
                "marker": {
                    "size": "@models.size", "sizemode": "area", "sizeref": 1, "color": "@models.color",
                    "opacity": 0.82, "line": {"width": 1.5, "color": "$surface"},
                },
                "customdata": "@models.hover", "hovertemplate": _HOVER,
            },
        ],
        "layout": _layout(
            500, hovermode="closest", margin={"l": 60, "r": 16, "t": 16, "b": 50},
            xaxis=_axis("@models.title_x", type="@models.type_x", tickformat="@models.format_x",
                        dtick="@models.dtick_x", range="@models.range_x"),
            yaxis=_axis("@models.title_y", type="@models.type_y", tickformat="@models.format_y",
                        dtick="@models.dtick_y", range="@models.range_y"),
        ),
    }  # fmt: skip


def candidates() -> Figure:
    """Two measures of many candidates against each other, with the Pareto front."""
    return {
        "data": [
            {
                "type": "scatter", "mode": "markers", "x": "@points.x", "y": "@points.y",
                "marker": {
                    "size": 6, "opacity": 0.7, "color": "@points.color", "colorscale": "Viridis",
                    "showscale": "@points.scale", "colorbar": {"thickness": 12, "title": {"text": "@points.by"}},
                },
                "customdata": "@points.hover", "hovertemplate": _HOVER,
            },
            {
                "type": "scatter", "mode": "lines+markers", "x": "@points.front_x", "y": "@points.front_y",
                "line": {"shape": "hv", "dash": "dot", "width": 1.5, "color": "$text"},
                "marker": {"size": 4, "color": "$text"},
                "customdata": "@points.front_hover", "hovertemplate": _HOVER,
            },
        ],
        "layout": _layout(
            520, hovermode="closest", margin={"l": 60, "r": 16, "t": 16, "b": 50},
            xaxis=_axis("@points.title_x", type="@points.type_x", tickformat="~s", dtick="@points.dtick_x"),
            yaxis=_axis("@points.title_y", type="@points.type_y", tickformat="~s", dtick="@points.dtick_y"),
        ),
    }  # fmt: skip


def ratios() -> Figure:
    """A quantity of each model as a ratio to the baseline, on a logarithmic axis around 1."""
    return {
        "data": [
            _bars("ratios", "length", "row", base=1),
        ],
        "layout": _layout(
            "@ratios.height", margin={"l": 8, "r": 8, "t": 4, "b": 40}, bargap=0.4,
            xaxis=_axis("@ratios.title", type="log", range="@ratios.range", tickvals="@ratios.ticks",
                        ticktext="@ratios.ticktext", tickangle=0),
            yaxis=_names(tickvals="@ratios.row", ticktext="@ratios.name", zeroline=False),
            shapes=[{"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": 1, "x1": 1,
                     "line": {"width": 1.5, "color": "$text"}}],
        ),
    }  # fmt: skip


def mix() -> Figure:
    """What share of a quantity each kind of layer has, model by model. The page repeats the trace for each kind."""
    return {
        "data": [
            _bars("mix", "share", "row", name="@mix.kind", text=None),
        ],
        "layout": _layout(
            "@ratios.height", margin={"l": 8, "r": 8, "t": 4, "b": 40}, bargap=0.4, barmode="stack",
            xaxis=_axis("share of the model's total", tickformat=".0%", range=[0, 1]),
            yaxis=_names(tickvals="@ratios.row", ticktext="@ratios.name", zeroline=False),
        ),
    }  # fmt: skip


def step_memory(categories: Sequence[str]) -> Figure:
    """Bytes that are live while each op of a training step runs, stacked by category, with a mark at the peak."""
    stack = [
        {
            "type": "scatter", "mode": "lines", "x": "@step.index", "y": f"@step.{category}", "stackgroup": "memory",
            "line": {"shape": "hvh", "width": 0}, "fillcolor": f"@step.color of {category}", "hoverinfo": "skip",
        }
        for category in categories
    ]  # fmt: skip
    return {
        "data": [
            *stack,
            {
                "type": "scatter", "mode": "lines", "x": "@step.index", "y": "@step.total", "line": {"width": 0},
                "customdata": "@step.hover", "hovertemplate": _HOVER,
            },
            {
                "type": "scatter", "mode": "markers+text", "x": "@step.peak_at", "y": "@step.peak",
                "text": "@step.peak_text", "textposition": "@step.peak_side", "textfont": {"color": "$text"},
                "marker": {"size": 9, "color": "$text", "line": {"width": 2, "color": "$surface"}},
                "hoverinfo": "skip",
            },
        ],
        "layout": _layout(
            400, hovermode="x",
            xaxis=_axis("operation, in order of execution", showgrid=False, range="@step.range_x",
                        showspikes=True, spikemode="across", spikethickness=1, spikedash="solid", spikecolor="$text"),
            yaxis=_axis("", tickformat="~s", ticksuffix="B", range="@step.range_y"),
            shapes="@step.lines", annotations="@step.phases",
        ),
    }  # fmt: skip


def keepers() -> Figure:
    """The layers for which autograd keeps most."""
    return {
        "data": [
            _bars("keepers", "bytes", "row"),
        ],
        "layout": _layout(
            "@keepers.height", margin={"l": 8, "r": 8, "t": 4, "b": 4}, bargap=0.35,
            xaxis=_axis(visible=False, range="@keepers.range"),
            yaxis=_names(tickvals="@keepers.row", ticktext="@keepers.name", zeroline=False),
        ),
    }  # fmt: skip


def passes() -> Figure:
    """MACs of the forward and of the backward pass, by kind of layer."""

    def bars(which: str, text: str | None, opacity: float) -> dict[str, Any]:
        return _bars("passes", which, "kind", text=text, opacity=opacity)

    return {
        "data": [bars("forward", None, 0.5), bars("backward", "@passes.text", 1)],
        "layout": _layout(
            "@passes.height", margin={"l": 8, "r": 8, "t": 4, "b": 4}, barmode="group", bargap=0.3, bargroupgap=0.08,
            xaxis=_axis(visible=False, range="@passes.range"),
            yaxis=_names(),
        ),
    }  # fmt: skip


def of_step(categories: Sequence[str]) -> dict[str, Figure]:
    """The charts of a training step."""
    return {"step-memory": step_memory(categories), "keepers": keepers(), "by-kind": passes()}


def of_sweep() -> dict[str, Figure]:
    """The chart of a sweep."""
    return {"candidates": candidates()}


def of_profile() -> dict[str, Figure]:
    """The charts of one model, by the ids of the places they go to."""
    return {
        "hierarchy": hierarchy(),
        "kinds": kinds(),
        "depth": depth(),
        "receptive-field": receptive_field(),
        "live-memory": live_memory(),
        "roofline": roofline(),
    }


def of_comparison() -> dict[str, Figure]:
    """The charts over several models, and those of the one that is looked at."""
    return {"trade-off": trade_off(), "ratios": ratios(), "mix": mix()} | of_profile()
