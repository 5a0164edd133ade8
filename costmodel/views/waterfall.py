"""A waterfall from this library's MACs to another tool's number: its bars, and the figure of them."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, Literal

from costmodel.errors import InputError
from costmodel.records import dataclass
from costmodel.views import palette, units

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from costmodel.conventions.recount import Recount

MOST = 5
"""Differences that have a bar of their own, beside that of the unit."""

_ZOOMED = 0.5
"""The axis begins at 0 unless every bar ends beyond this share of the longest."""

_REASON, _NARROWEST = 46, 12
"""Characters of a line of a reason beside a figure's bars: as many as it has, and at least."""

_ROW = 0.155
"""Inches of a line."""

_TICK = 0.8
"""Inches that a tick's label has for itself."""

_SIZE = 8
"""Points of the texts of a figure."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: a total, or a step between two levels."""

    label: str
    why: str
    start: int
    """The level from which it leads; 0 for a total."""
    end: int
    kind: Literal["total", "unit", "more", "less"]

    @property
    def amount(self) -> int:
        """What the step adds; of a total, itself."""
        return self.end - self.start


def bars(r: Recount, most: int = MOST) -> list[Bar]:
    """From this library's MACs to the tool's number without a remainder.

    The unit's step comes first, then what the tool counts in addition, then what it leaves out, by reason; those that
    are smallest are one step. So no level in between is below 0, unless the smallest make it.
    """
    if not isinstance(most, int) or most < 1:
        raise InputError(f"most={most!r} is no number of differences: give an int of at least 1")
    amounts: dict[str, int] = {}
    ops: dict[str, list[str]] = {}
    for (op, why), amount in r.reasons.items():
        amounts[why] = amounts.get(why, 0) + amount
        ops.setdefault(why, []).append(op)
    unit = amounts.pop(r.unit_reason, 0)
    ranked = sorted(amounts, key=lambda why: -abs(amounts[why]))
    shown = len(ranked) if len(ranked) <= most + 1 else most  # one alone is not joined
    ranked, rest = ranked[:shown], ranked[shown:]
    found = [Bar("costmodel", MACS, 0, r.macs, "total")]

    def step(label: str, why: str, amount: int, kind: Literal["unit"] | None = None) -> None:
        level = found[-1].end
        found.append(Bar(label, why, level, level + amount, kind or ("more" if amount >= 0 else "less")))

    if unit:
        step("unit", r.unit_reason, unit, "unit")
    for why in sorted(ranked, key=lambda why: amounts[why] < 0):
        step(_joined(ops[why]), why, amounts[why])
    if rest:
        step("smaller differences", f"{len(rest)} reasons, together", sum(amounts[why] for why in rest))
    found.append(Bar(r.tool.name, printed(r), 0, r.total, "total"))
    return found


MACS = "MACs: multiply-accumulates of convolutions and matrix products"
"""What a waterfall leads from."""


def printed(r: Recount) -> str:
    """What a waterfall leads to."""
    return f"what it prints, and calls {r.tool.calls_it}"


def _joined(ops: Sequence[str]) -> str:
    """The ops of one reason.

    >>> _joined(["relu"]), _joined(["a", "b", "c", "d"]), _joined([""])
    ('relu', 'a, b and 2 more', 'all')
    """
    named = [op or "all" for op in ops]
    return ", ".join(named) if len(named) < 3 else f"{', '.join(named[:2])} and {len(named) - 2} more"


def first_level(found: Sequence[Bar]) -> int:
    """Where the axis begins: at 0, unless steps are so small beside the totals that all would look alike."""
    levels = [bar.end for bar in found]
    least, most = min(levels), max(levels)
    if least <= _ZOOMED * most or least == most:
        return min(0, least)
    return max(0, least - (most - least) // 2)


def signed(bar: Bar) -> str:
    """Every digit of a bar's amount; of a step with its sign.

    >>> signed(Bar("relu", "1 an output", 12, 2012, "more")), signed(Bar("thop", "", 0, 2012, "total"))
    ('+2,000', '2,012')
    """
    return units.grouped(bar.amount) if bar.kind == "total" else difference(bar.amount)


def difference(amount: int) -> str:
    """Every digit of a difference, with its sign.

    >>> difference(-1500), difference(0)
    ('−1,500', '+0')
    """
    return f"{'−' if amount < 0 else '+'}{units.grouped(abs(amount))}"


def short_difference(amount: int) -> str:
    """A difference, rounded, with its sign.

    >>> short_difference(-1500), short_difference(3)
    ('−1.50 k', '+3')
    """
    return f"{'−' if amount < 0 else '+'}{units.si(abs(amount))}"


def _set_relative(ax: Axes, r: Recount) -> None:
    """Ticks of an axis that does not begin at 0: differences from this library's MACs, as many as there is room for."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

    low, high = ax.get_xlim()
    most = max(1, int(ax.get_window_extent().width / ax.figure.dpi / _TICK))
    amounts = MaxNLocator(most, steps=[1, 2, 5, 10], integer=True).tick_values(low - r.macs, high - r.macs)
    shown = [r.macs + int(amount) for amount in amounts if low <= r.macs + amount <= high]
    ax.xaxis.set_major_locator(FixedLocator(shown))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda level, _: _tick(round(level) - r.macs)))
    ax.set_xlabel(
        f"{r.unit}, counted from costmodel's {units.grouped(r.macs)}; the axis does not begin at 0", fontsize=_SIZE
    )


def _tick(amount: int) -> str:
    """A difference whose digits are few.

    >>> _tick(-50_000), _tick(0), _tick(2_500_000)
    ('−50 k', '0', '+2.5 M')
    """
    from matplotlib.ticker import EngFormatter

    sign = "−" if amount < 0 else "+" if amount > 0 else ""
    return f"{sign}{EngFormatter(sep=' ')(abs(amount))}".strip()


def _that_fit(found: Sequence[Bar], width: float, height: float) -> list[list[str]]:
    """The reasons of bars in a subplot of so many inches, in lines of half its width: as many lines as there is room.

    >>> _that_fit([Bar("relu", "one an output element", 0, 8, "more")], 3.0, 4.0)
    [['one an output element']]
    >>> _that_fit([Bar("relu", "one an output element, as its source says", 0, 8, "more")], 3.0, 1.3)
    [['one an output element, …']]
    """
    a_line = min(_REASON, max(_NARROWEST, int(width * 72 / 2 / (0.55 * _SIZE))))
    lines = int((height - 0.8) / _ROW / len(found)) - 2
    return [wrap(bar.why, a_line, max_lines=lines, placeholder=" …") if lines > 0 else [] for bar in found]


def figure(r: Recount, most: int = MOST, ax: Axes | None = None) -> Figure:
    """The waterfall, drawn into ``ax`` if given: a bar for each reason, its ops and its words beside it."""
    from costmodel.views.figures import axes, figure_of, is_narrow, room, set_scale, set_title

    found = bars(r, most)
    reasons = [wrap(bar.why, _REASON) for bar in found]
    if ax is not None:
        reasons = _that_fit(found, *room(axes(ax, 0, 0)))
    rows = [2 + len(lines) for lines in reasons]  # a label, its reason, and a gap
    at = [sum(rows[:i]) + 0.5 for i in range(len(found))]
    ax = axes(ax, 8.0, 0.8 + _ROW * sum(rows))
    first = first_level(found)
    for bar, y, lines in zip(found, at, reasons, strict=True):
        low, high = sorted((max(bar.start, first), bar.end))
        [drawn] = ax.barh([y], [high - low], left=low, height=1, color=palette.STEPS[bar.kind], zorder=2)
        total = units.grouped if first > 0 else units.si  # rounded, all would read the same
        amount = total(bar.amount) if bar.kind == "total" else short_difference(bar.amount)
        end = drawn.get_x() + drawn.get_width()
        ax.annotate(amount, (end, y), (4, 0), textcoords="offset points", va="center", fontsize=_SIZE)
        for text, below, color in ((bar.label, 0.0, "0"), *((line, n, "0.4") for n, line in enumerate(lines, 1))):
            ax.annotate(
                text, (0, y + below), (-8, 0), xycoords=ax.get_yaxis_transform(), textcoords="offset points",
                ha="right", va="center", fontsize=_SIZE, color=color, parse_math=False, annotation_clip=False,
            )  # fmt: skip
    for bar, here, there in zip(found, at, at[1:], strict=False):
        ax.plot([bar.end, bar.end], [here, there], color="0.55", linewidth=0.8, zorder=1)
    ax.set_yticks([])
    ax.set_ylim(sum(rows), -0.5)
    ax.margins(x=0.24 if first > 0 else 0.14)
    ax.set_xlim(left=first)
    if first > 0:
        _set_relative(ax, r)
    else:
        set_scale(ax, "x", r.unit)
    # Beside bars whose labels take half of a narrow subplot there is no room for a title.
    set_title(ax, f"{r.model}, as counted by {r.tool.name} {r.tool.version}", "right" if is_narrow(ax) else "left")
    return figure_of(ax)
