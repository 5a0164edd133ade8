"""What changed, as Markdown for a pull request: of one model, and of all models in a folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from numbers import Real
from typing import TYPE_CHECKING, Any

from costmodel.errors import InputError
from costmodel.measures import find
from costmodel.views import units
from costmodel.views.cells import inputs, is_exact
from costmodel.views.markdown import collapsed, coverage_line, escape, in_html, table, verdict
from costmodel.views.training import words

if TYPE_CHECKING:
    from costmodel.difference import Difference, Differences, Side
    from costmodel.measures import Number

SHORT = ("params", "macs", "memory_access_bytes", "peak_memory")
"""The totals of a forward that the table of several models shows."""
SHORT_OF_STEPS = ("params", "training_macs", "saved_bytes", "training_peak")
"""And those of a training step."""


def difference(d: Difference, *, top: int = 20, limit: Fraction | None = None) -> str:
    """What changed, short enough for a comment on a pull request: totals, and the layers that caused it, ranked."""
    _require(top, limit)
    old, new = escape(d.old.name), escape(d.new.name)
    what = "Training step" if d.of_steps else "Costs"
    title = f"### {what} of {new}" if old == new else f"### {what}: {old} → {new}"
    return "\n\n".join([title, *_body(d, top, limit)]) + "\n"


def _require(top: int, limit: Fraction | None) -> None:
    units.require_rows(top=top)
    if limit is not None and not (isinstance(limit, Real) and float(limit) >= 0):
        raise InputError(f"limit={limit!r} is no share: give a Fraction or a float that is not negative, such as 0.01")


def _body(d: Difference, top: int, limit: Fraction | None) -> list[str]:
    over = d.grown(limit) if limit is not None else []
    rows = []
    for total, (was, now) in d.totals.items():
        before, after = _cell(d.old, total, was), _cell(d.new, total, now)
        change = units.change(was, now) + (" ❌" if total in over else "")
        rows.append([units.head(total), before, after, units.signed(total, now - was), change])
    parts = [table(["", "before", "after", "difference", "change"], rows)]
    if over and limit is not None:
        parts.append(f"❌ Grew by more than {_percent(limit)}: {', '.join(units.head(total) for total in over)}.")
    if _differ_in_settings(d):
        parts.append(f"⚠️ Inputs or settings differ: before {_made(d, d.old)}; after {_made(d, d.new)}.")
    parts.append(_layers(d, top))
    for side, p in (("before", d.old), ("after", d.new)):
        check = p.crosscheck()
        if not check.ok:
            parts.append(f"{side}: {verdict(check)}")
        if not p.is_exact:
            parts.append(f"{side}: {coverage_line(p.coverage)}")
    return parts


def _layers(d: Difference, top: int) -> str:
    if not d.layers:
        same = len(set(d.totals["params"])) == 1
        return "No layer changed." if same else "No layer changed; parameters that no layer uses did."
    listed, names = d.layers[:top], d.shown
    cells = [[escape(c.name), c.what, *(units.signed(n, c.difference(n)) for n in names)] for c in listed]
    caused = table(["layer", "", *map(units.head, names)], cells, left=2)
    more = len(d.layers) - len(listed)
    rest = f"\n\n… and {units.plural(more, 'more layer')}." if more else ""
    head = f"{units.plural(len(d.layers), 'layer')} changed, those first that moved a total most"
    head = "1 layer changed" if len(d.layers) == 1 else head
    return f"**{head}:**\n\n{caused}{rest}" if len(listed) <= 10 else collapsed(head, caused + rest)


def _differ_in_settings(d: Difference) -> bool:
    return _made(d, d.old) != _made(d, d.new)


def _made(d: Difference, side: Any) -> str:
    """On what, and how, the figures of one side are."""
    if d.of_steps:
        return f"{escape(words.title(side))}, on {words.inputs(side)}"
    return f"on {inputs(side)}, in {side.mode} mode"


def _cell(side: Side, total: str, value: Number) -> str:
    measure = find(total)
    assert measure is not None
    return units.cell(total, value, exact=is_exact(side, measure))


def _percent(limit: Fraction) -> str:
    return f"{float(100 * limit):g}%"


# -- several models ------------------------------------------------------------------------------------------------


def differences(d: Differences, *, top: int = 20, limit: Fraction | None = None, size: int = 60_000) -> str:
    """A table of the models that changed, and of each, collapsed, what changed: at most ``size`` characters.

    GitHub takes comments of 65,536. Details that have no room left are left out, and so are the table's last rows,
    where there are very many; both are said.
    """
    _require(top, limit)
    units.require_rows(size=size)
    changed = d.changed
    parts = [_heading(d, len(changed))]
    grown = {} if limit is None else {name: found for name, found in d.grown(limit).items() if found}
    if limit is not None and grown:
        parts.append(f"❌ Grew by more than {_percent(limit)}: {_listed(grown)}.")
    if other := [name for name, found in changed.items() if _differ_in_settings(found)]:
        parts.append(f"⚠️ Inputs or settings differ: {_listed(other)}.")
    parts += _tables(d, grown, size // 2)
    if unchanged := [name for name in d.both if name not in changed]:
        parts.append(f"Unchanged: {_listed(unchanged)}.")
    room, left_out = size - sum(len(part) + 2 for part in parts) - 200, 0
    for name, found in changed.items():
        detail = collapsed(_summary(name, found), "\n\n".join(_body(found, top, limit)))
        if len(detail) + 2 <= room:
            room -= len(detail) + 2
            parts.append(detail)
        else:
            left_out += 1
    if left_out:
        parts.append(f"Left out, for they are too long: the details of {units.plural(left_out, 'model')}.")
    return "\n\n".join(parts) + "\n"


def _heading(d: Differences, changed: int) -> str:
    counts = [f"{changed or 'none'} of {len(d.both):,} changed"] if d.both else []
    counts += [f"{len(sides):,} {what}" for what, sides in (("new", d.added), ("gone", d.gone)) if sides]
    return f"### Costs: {', '.join(counts) or 'no models'}"


def _summary(name: str, d: Difference) -> str:
    count = units.plural(len(d.layers), "layer")
    return f"{in_html(name)}: {count if d.layers else 'no layer'} changed"


def _listed(names: Iterable[str], most: int = 20) -> str:
    every = [*map(escape, names)]
    more = len(every) - most
    return ", ".join(every[:most]) + (f" and {more:,} more" if more > 0 else "")


def _tables(d: Differences, grown: Mapping[str, Sequence[str]], room: int) -> list[str]:
    """Models and, apart from them, training steps: those that changed, are new or are gone."""
    found = []
    for of_steps, names in ((False, SHORT), (True, SHORT_OF_STEPS)):
        rows = [
            [escape(name), *(_moved(x, total, total in grown.get(name, ())) for total in names)]
            for name, x in d.changed.items()
            if x.of_steps == of_steps
        ]
        rows += [
            [f"{escape(name)} ({what})", *(_cell(side, total, d.total(side, total)) for total in names)]
            for what, sides in (("new", d.added), ("gone", d.gone))
            for name, side in sides.items()
            if d.is_step(side) == of_steps
        ]
        if not rows:
            continue
        head = ["training step" if of_steps else "model", *map(units.head, names)]
        fit = max(1, room // (len(table(head, rows)) // len(rows) + 1))
        more = len(rows) - fit
        found.append(table(head, rows[:fit]) + (f"\n\n… and {units.plural(more, 'more row')}." if more > 0 else ""))
    return found


def _moved(d: Difference, total: str, is_over: bool) -> str:
    was, now = d.totals[total]
    moved = f" ({units.change(was, now)})" if was != now else ""
    return f"{_cell(d.new, total, now)}{moved}{' ❌' if is_over else ''}"
