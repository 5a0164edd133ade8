"""A prompt and the tokens after it: for a terminal, as Markdown, as a page, for scripts and papers, as a figure."""

from __future__ import annotations

import json as writer
import shutil
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from costmodel.measures import shown_in
from costmodel.views import answers, compact, grid, latex, units
from costmodel.views import csv as tables
from costmodel.views.markdown import escape, pictures, table
from costmodel.views.styled import Part, Text, plain
from costmodel.views.text import text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from costmodel.decoding import Generation
    from costmodel.decoding.bounds import GenerationRoofline
    from costmodel.decoding.fit import GenerationFit


def title(g: Generation) -> str:
    """What is generated."""
    new = units.plural(g.new, "new one") if g.prompt > 1 else units.plural(g.new, "new token")
    return f"a prompt of {units.plural(g.prompt, 'token')}, then {new}, batch {units.grouped(g.batch)}, {g.dtype}"


def columns(g: Generation) -> list[str]:
    """The calls that a table shows: the prompt's, the first and the last with a cache, and all together."""
    each = list(dict.fromkeys([*g.contexts[:1], *g.contexts[-1:]]))
    return ["prompt", *(f"token after {units.grouped(context)}" for context in each), "all"]


def rows(g: Generation) -> list[tuple[str, list[int]]]:
    """What adds up over calls: the name of a measure, and its figures in the columns; last, MACs that no mask hides."""
    found = []
    for measure in shown_in("totals"):
        of_prompt = g.prefill.total(measure.name)
        if measure.name in g.additive:
            ends = [end.totals[measure.name] for end in _ends(g)]
            found.append((measure.name, [int(of_prompt or 0), *ends, int(g.total(measure.name) or 0)]))
    if g.executed_macs != g.macs:
        ends = [end.totals["macs"] for end in _ends(g)]
        found.append((EXECUTED, [g.prefill_executed_macs, *ends, g.executed_macs]))
    return found


EXECUTED = "executed_macs"


def _ends(g: Generation) -> list[Any]:
    if not g.pieces:
        return []
    first, last = g.pieces[0].at_first, g.pieces[-1].at_last
    return [first, last] if len(g.contexts) > 1 else [first]


def _head(name: str) -> str:
    return "MACs, hidden ones skipped" if name == EXECUTED else units.head(name)


def _cell(name: str, value: int, *, exact: bool) -> str:
    return units.cell("macs" if name == EXECUTED else name, value, exact=exact)


def facts(g: Generation) -> Iterator[tuple[str, str]]:
    """What does not add up: parameters, memory, positions."""
    return ((name, figure + said) for name, figure, said in _facts(g))


def _facts(g: Generation) -> Iterator[tuple[str, str, str]]:
    """Of each the name, the figure, and what is said of it."""
    used = "" if g.active_params == g.params else f", {_used(g)}"
    yield "parameters", units.si(g.params), used
    packed = f", packed as {g.weights}, the rest {g.dtype}" if g.weights else f", {g.dtype}"
    yield "weights", units.si(g.params_bytes, "B"), packed
    yield "cache", *_cache(g)
    yield "peak memory", units.si(g.peak_memory, "B"), ", weights and cache included, in eager mode"
    if g.steps.positions is not None:
        tokens = g.steps.begins_with + g.new - 1
        beyond = ": more than it is made for" if tokens > g.steps.positions else ""
        yield "positions", units.grouped(tokens), f" of {units.grouped(g.steps.positions)}{beyond}"


def _used(g: Generation) -> str:
    share = units.share(g.active_params, g.params)
    return f"of which a new token uses {units.si(g.active_params)} ({share})"


def _cache(g: Generation) -> tuple[str, str]:
    before, after = g.steps.prefill().cache_bytes, g.kv_cache_bytes
    if not g.contexts:
        return units.si(after, "B"), " after the prompt"
    if before == after:
        return units.si(after, "B"), ", however many tokens follow"
    each = (after - before) / len(g.contexts)
    return units.si(before, "B"), f" after the prompt, {units.si(after, 'B')} at the end: {units.si(each, 'B')} a token"


def remarks(g: Generation) -> list[str]:
    """What a reader has to know of the figures."""
    lines = ["the prompt's call gives the first new token; the last one is never read"]
    if g.steps.scores_last and g.steps.begins_with > 1:
        lines.append(
            "of the prompt only the last token has its scores computed; a profile of the model has those of all"
        )
    if g.executed_macs != g.macs:
        lines.append("hidden: pairs of tokens that a causal mask leaves out; kernels may skip them")
    if g.active_params < g.params and not g.steps.has_encoder:
        lines.append("memory access takes all experts to be read, as which are depends on the tokens")
    if g.weights:
        lines.append(
            "packed weights are in memory, in what fits and in the least times; the table has those of weights in "
            f"{g.dtype}"
        )
    if not g.is_exact:
        lines.append("an operation has no rule, or a cost depends on values: totals are lower bounds")
    return lines


def text(g: Generation, width: int | None = None) -> str:
    """A generation as plain text, as wide as the terminal (or 80 characters)."""
    wide = width or (shutil.get_terminal_size((80, 40)).columns if sys.stdout.isatty() else 80)
    return plain(parts(g, wide), wide)


def parts(g: Generation, width: int) -> list[Part | str]:
    """A table of what adds up over calls, what memory they need, and what was asked for a device."""
    shown = rows(g)
    labels = [Text(_head(name)) for name, _ in shown]
    cells = [[_cell(name, value, exact=g.is_exact) for value in values] for name, values in shown]
    heads = columns(g)
    made = [
        grid.numbers(head.replace(" after ", "\nafter "), [row[i] for row in cells], 10 if head == heads[-1] else 9 - i)
        for i, head in enumerate(heads)
    ]
    work, dropped = grid.table("", labels, made, width, least=max(label.cell_len for label in labels))
    listed = list(facts(g))
    memory = grid.listing(
        [name for name, _ in listed],
        [grid.Column("", [said for _, said in listed], right=False, wrap=True)],
        width,
    )
    head = [Text(units.printable(g.name), style="bold"), Text(title(g))]
    below = grid.dim([*remarks(g), *grid.left_out(dropped)])
    return [*head, "", work, "", memory, "", below, *answers.parts(sections(g))]


def markdown(g: Generation, figures: Mapping[str, str] | None = None) -> str:
    """The same as Markdown, every digit of the totals."""
    body = [[escape(_head(name)), *map(units.grouped, values)] for name, values in rows(g)]
    lines = [
        f"# {escape(g.name)}: {title(g)}",
        table(["", *columns(g)], body),
        "\n".join(f"- {name}: {said}" for name, said in facts(g)),
        "\n".join(f"{line[:1].upper()}{line[1:]}." for line in remarks(g)),
        *answers.markdown(sections(g)),
        *pictures(figures or {}),
    ]
    return "\n\n".join(lines) + "\n"


def html(g: Generation) -> str:
    """The same as one self-contained page."""
    from costmodel.views import html as pages

    return pages.from_template("generation.html.j2", **_context(g), drawn=pages.embedded(of_generation(g)))


def fragment(g: Generation) -> str:
    """What the prompt and the tokens after it cost, and what memory they need."""
    heads, shown, asked = columns(g), rows(g), sections(g)
    made = [
        compact.Column("", [_head(name) for name, _ in shown], is_text=True),
        *(
            compact.Column(
                where,
                [_cell(name, values[i], exact=g.is_exact) for name, values in shown],
                [units.grouped(values[i]) for _, values in shown],
            )
            for i, where in enumerate(heads)
        ),
    ]
    return compact.Card(
        g.name,
        title(g),
        totals=[(units.sentence_case(name), figure, said.lstrip(", ")) for name, figure, said in _facts(g)],
        verdicts=[*([] if g.is_exact else [(compact.BOUND, "totals are lower bounds")]), *answers.verdicts(asked)],
        tables=[compact.Table(made, len(shown), "measure")],
        folded=[
            *answers.folded(asked),
            ("What to know of the figures", [units.sentence_case(line) for line in remarks(g)]),
        ],
    ).html()


def _context(g: Generation) -> dict[str, Any]:
    shown = [
        (_head(name), [(_cell(name, value, exact=g.is_exact), units.grouped(value)) for value in values])
        for name, values in rows(g)
    ]
    return {
        "title": g.name, "what": title(g), "columns": columns(g), "rows": shown, "facts": list(facts(g)),
        "remarks": remarks(g), "answers": sections(g),
    }  # fmt: skip


def json(g: Generation) -> str:
    """Every figure, and what each call costs at the ends of pieces in which it is linear."""
    document: dict[str, Any] = {
        "format": "costmodel-generation",
        "version": 1,
        "model": g.name,
        **{name: getattr(g, name) for name in ("prompt", "new", "batch", "dtype", "weights", "is_exact")},
        "totals": {name: g.total(name) for name in (*g.additive, *OWN)},
        **{name: getattr(g, name) for name in ("executed_macs", "kv_cache_bytes")},
        "prefill": dict(g.additive) | {"executed_macs": g.prefill_executed_macs},
        "decode": [
            {
                "from": piece.first,
                "to": piece.last,
                "first": dict(piece.at_first.totals) | {"cache_bytes": piece.at_first.cache_bytes},
                "last": dict(piece.at_last.totals) | {"cache_bytes": piece.at_last.cache_bytes},
            }
            for piece in g.pieces
        ],
    }
    if g.answered:
        document["answers"] = [_written(answer) for answer in g.answered]
    return writer.dumps(document, indent=1, ensure_ascii=False) + "\n"


OWN = ("params", "params_bytes", "active_params", "buffers", "peak_memory")
"""The totals that do not add up over calls."""


def csv(g: Generation) -> str:
    """One line per call that the table shows, and one for all."""
    import pandas as pd

    return tables.rows(pd.DataFrame({"call": [name.replace(",", "") for name in columns(g)], **dict(rows(g))}))


def tex(g: Generation) -> str:
    """One row per measure."""
    body = [[_head(name), *(_cell(name, value, exact=g.is_exact) for value in values)] for name, values in rows(g)]
    return latex.table(["", *columns(g)], body, left=1)


# -- on a device ---------------------------------------------------------------------------------------------------


def on_device(r: GenerationRoofline) -> list[str]:
    """The least times on a device, and what limits them."""
    prompt, token = (f"{n:,.0f}" if n > 100 else f"{n:.3g}" for n in (r.prefill.intensity, r.decode.intensity))
    waits = (
        "tokens wait for memory at every batch size, as the cache grows with the batch"
        if r.ridge_batch is None
        else f"tokens wait for arithmetic from a batch of {units.grouped(r.ridge_batch)} on"
    )
    rate = units.grouped(float(f"{r.tokens_per_second:.3g}"))
    of_all = "" if r.batch == 1 else f", of {units.grouped(r.batch)} samples together"
    return [
        f"at least {units.seconds(r.first_token)} to the first token (waits for {_for(r.prefill.bound)})",
        f"at least {units.seconds(r.per_token)} for each token after it (waits for {_for(r.decode.bound)})",
        f"at most {rate} tokens per second after the first{of_all}",
        f"at least {units.seconds(r.time)} in all",
        f"the ridge is at {r.ridge:.1f} FLOPs/B: the prompt has {prompt}, a token {token}",
        waits,
    ]


def _for(bound: str) -> str:
    return "arithmetic" if bound == "compute" else "memory"


def roofline_text(r: GenerationRoofline) -> str:
    """The least times on a device as plain text, as wide as the terminal (or 120 characters)."""
    width = text_width()
    heading = Text(f"{units.printable(r.model)} on {r.device.title}: a lower bound of its time", style="bold")
    return plain([heading, *(f"  {line}" for line in on_device(r))], width)


def roofline(r: GenerationRoofline) -> str:
    """The same as Markdown."""
    lines = "\n".join(f"- {line}" for line in on_device(r))
    return f"# {escape(r.model)} on {r.device.title}: a lower bound of its time\n\n{lines}\n"


def roofline_fragment(r: GenerationRoofline) -> str:
    """The least times, and what limits them."""
    *_, ridge, waits = on_device(r)
    rate = units.grouped(float(f"{r.tokens_per_second:.3g}"))
    of_all = "" if r.batch == 1 else f", of all {units.grouped(r.batch)} samples"
    return compact.Card(
        f"{r.model} on {r.device.title}",
        "a lower bound of its time",
        totals=[
            ("First token, at least", units.seconds(r.first_token), f"waits for {_for(r.prefill.bound)}"),
            ("Each after it, at least", units.seconds(r.per_token), f"waits for {_for(r.decode.bound)}"),
            ("Tokens a second, at most", rate, f"after the first{of_all}"),
            ("Together, at least", units.seconds(r.time), units.plural(r.new, "new token")),
        ],
        remarks=[units.sentence_case(ridge), units.sentence_case(waits)],
    ).html()


def sections(g: Generation) -> list[answers.Section]:
    """What was asked for a device, and for a size of memory."""
    return [
        answers.Section(
            where=a.where, fits=a.fits, room=_room(g, a), times=on_device(a.roofline) if a.roofline is not None else ()
        )
        for a in g.answered
    ]


def _room(g: Generation, a: GenerationFit) -> list[str]:
    """Whether it fits into a size of memory, and the largest batch and prompt that do."""
    if a.memory is None or a.fits is None:
        return []
    batch, prompt = a.largest_batch or 0, a.largest_prompt or 0
    largest = (
        f"the largest batch that fits: {units.grouped(batch)}; the longest prompt: {units.plural(prompt, 'token')}"
        if batch and prompt
        else f"the largest batch that fits: {units.grouped(batch)}" if batch
        else f"the longest prompt that fits: {units.plural(prompt, 'token')}" if prompt
        else "not even one sample of one token fits"
    )  # fmt: skip
    said = [answers.fit(units.si(g.peak_memory, "B"), a.memory, fits=a.fits), largest]
    made_for = None if g.steps.has_encoder else g.steps.positions
    if made_for is not None and prompt > (most := made_for - g.new + 1) > 0:
        said.append(
            f"the model is made for {units.grouped(made_for)} positions: with {units.plural(g.new, 'new token')}, "
            f"a prompt of {units.grouped(most)}"
        )
    return said


def _written(a: GenerationFit) -> dict[str, Any]:
    """An answer for scripts; times are in seconds, and bounds."""
    r = a.roofline
    found: dict[str, Any] = {
        name: getattr(a, name) for name in ("where", "memory", "fits", "largest_batch", "largest_prompt")
    }
    if r is not None:
        found |= {
            "device": r.device.title,
            "first_token_seconds": r.first_token,
            "per_token_seconds": r.per_token,
            "seconds": r.time,
            "tokens_per_second": r.tokens_per_second,
            **{f"{name}_bound": getattr(r, name).bound for name in ("prefill", "decode")},
            **{name: getattr(r, name) for name in ("ridge", "ridge_batch")},
        }
    return found


# -- a figure ------------------------------------------------------------------------------------------------------


def of_generation(g: Generation) -> dict[str, tuple[str, Figure]]:
    """The figures of a report, each with its caption."""
    return {"cost-of-a-token": ("What one more token costs, by the tokens before it", figure(g))}


DOTS = 6
"""Contexts in a figure, each four times the one before it."""


def figure(g: Generation, ax: Axes | None = None) -> Figure:
    """MACs of one token against the context, exact at each dot: up to the positions that the model is made for."""
    from costmodel.views.figures import axes, figure_of, set_scale, set_title

    last = g.steps.begins_with + g.new
    most = g.steps.positions or 8 * last
    contexts = sorted({n for n in (most // 4**i - 1 for i in range(DOTS)) if n > 0}) or [1]
    macs = [g.decode(context).macs for context in contexts]
    ax = axes(ax, 6.0, 3.8)
    ax.plot(contexts, macs, "o-", markersize=4, linewidth=1.5)
    ax.set_xscale("log", base=2)
    ax.set_xticks(contexts, labels=map(units.grouped, contexts))
    ax.xaxis.set_minor_formatter("")
    ax.set_ylim(0, 1.1 * max(macs))
    ax.set_xlabel("tokens in the cache")
    set_title(ax, f"{g.name}: MACs of one token")
    set_scale(ax, "y", units.head("macs"))
    return figure_of(ax)
