"""Numbers for people. Counts are exact integers everywhere else; only here are they rounded."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING

from costmodel.errors import InputError
from costmodel.measures import Number, find

if TYPE_CHECKING:
    from costmodel.other_counter import CounterTotal

STEPS = ((10**15, "P"), (10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))
"""Powers of ten and their SI prefixes."""
_SMALL_STEPS = ((1e-6, "µ"), (1e-9, "n"), (1e-12, "p"))


def si(n: float, unit: str = "", *, exact: bool = True) -> str:
    """Three significant digits with an SI prefix, which joins the unit: ``4.09 GMACs``.

    Args:
        n: a count.
        unit: a symbol that takes a prefix: ``"MACs"``, ``"FLOPs"``, ``"B"``. A word such as ``"params"`` is better put
            behind the result, or given with a space before it (``" params"``).
        exact: where False, the total is a lower bound, and says so.

    >>> si(4_089_184_256, "MACs"), si(25_557_032, " params"), si(177_000_000, "B")
    ('4.09 GMACs', '25.6 M params', '177 MB')
    >>> si(999_999), si(640), si(0, "B"), si(1500, exact=False), si(0.25), si(0.00025, "J")
    ('1.00 M', '640', '0 B', '≥ 1.50 k', '0.25', '250 µJ')
    """
    # 999.5 k would be printed as 1000 k: it belongs to the next prefix.
    steps = _SMALL_STEPS if 0 < abs(n) < 0.9995e-3 else STEPS
    found = next(((step, prefix) for step, prefix in steps if abs(n) >= 0.9995 * step), None)
    if found is None:
        shown = f"{f'{n:,}' if isinstance(n, int) else f'{n:.3g}'} {unit.strip()}".rstrip()
    else:
        scaled = n / found[0]
        digits = 2 if abs(scaled) < 9.995 else 1 if abs(scaled) < 99.95 else 0
        shown = f"{scaled:.{digits}f} {found[1]}{unit}"
    return shown if exact else f"≥ {shown}"


def given(figures: Sequence[Number | None], unit: str = "") -> list[str]:
    """The figures of a column that are not the library's own; of a unit that takes a prefix, rounded with one.

    All others have as many decimals as one of them needs to six digits. Where some are far greater than others, so that
    this would take more than eight digits, each has its own.

    >>> given([72.0, 71.88, 81, None]), given([81.0, 1234567]), given([1234.5, 0.00123]), given([4089184256], "MACs")
    (['72.00', '71.88', '81.00', '–'], ['81', '1,234,567'], ['1,234.5', '0.00123'], ['4.09 G'])
    """
    if unit:
        return ["–" if n is None else si(n) for n in figures]
    alone = ["–" if n is None else _to_six_digits(n) for n in figures]
    whole, decimals = (max((len(text.partition(".")[i]) for text in alone), default=0) for i in (0, 2))
    if not decimals or whole + decimals > 8 or any("e" in text for text in alone):
        return alone
    return ["–" if n is None else f"{n:,.{decimals}f}" for n in figures]


def _to_six_digits(n: Number) -> str:
    return f"{n:,}" if isinstance(n, int) and abs(n) < 10**15 else f"{n:,.6g}"


def grouped(n: Number) -> str:
    """Every digit, in groups of three; of a float without the rounding that binary adds.

    >>> grouped(4089184256), grouped(1234.5), grouped(0.1 + 0.2)
    ('4,089,184,256', '1,234.5', '0.3')
    """
    return f"{n:,}" if isinstance(n, int) else f"{n:,.15g}"


def of_counter(total: CounterTotal) -> str:
    """A tool's total, and whether it was run for it, in a sentence without its point."""
    name = f"{total.tool} {total.version} in total"
    if total.live is None:
        return f"{name}: {grouped(total.counted or 0)} {total.unit}, derived from the trace; it was not run"
    if total.agrees:
        return f"{name}: {grouped(total.live)} {total.unit}, as derived from the trace"
    derived = "that it fails" if total.counted is None else grouped(total.counted)
    return f"{name}: {grouped(total.live)} {total.unit}, where {derived} is derived from the trace"


def plural(n: int, noun: str) -> str:
    """A number of things.

    >>> plural(1, "layer"), plural(1200, "layer")
    ('1 layer', '1,200 layers')
    """
    return f"{grouped(n)} {noun}" if n == 1 else f"{grouped(n)} {noun}s"


def more(n: int, noun: str, verb: str = "") -> str:
    """How many others there are, and what they do.

    >>> more(1, "layer", "need"), more(2, "layer", "need")
    ('1 more layer needs', '2 more layers need')
    """
    said = f" {verb}{'s' if n == 1 else ''}" if verb else ""
    return f"{grouped(n)} more {noun}{'' if n == 1 else 's'}{said}"


def share(part: float, whole: float) -> str:
    """A part of a whole in percent, to one decimal; empty where there is no whole.

    >>> share(1, 3), share(0, 3), share(1, 10**6), share(2, 0)
    ('33.3%', '0%', '< 0.1%', '')
    """
    if not whole:
        return ""
    percent = 100 * part / whole
    if percent == 0:
        return "0%"
    return "< 0.1%" if percent < 0.05 else f"{percent:.1f}%"


def ratio(value: float) -> str:
    """A ratio to three significant digits, with its sign; a dash for a ratio to nothing.

    >>> ratio(1.0), ratio(0.0734), ratio(12.345), ratio(1234.5), ratio(float("nan"))
    ('1.00×', '0.0734×', '12.3×', '1,234×', '–')
    """
    if not isfinite(value):
        return "–"
    digits = next((d for d, limit in ((4, 0.09995), (3, 0.9995), (2, 9.995), (1, 99.95)) if abs(value) < limit), 0)
    return f"{value:,.{digits}f}×"


def shape(size: tuple[int, ...]) -> str:
    """A tensor's shape as the field writes it.

    >>> shape((1, 3, 224, 224)), shape(())
    ('1×3×224×224', 'scalar')
    """
    return "×".join(map(str, size)) or "scalar"


def extent(sizes: tuple[int | None, ...]) -> str:
    """A size along each axis, one number where all are the same; – along an axis that has none.

    >>> extent((427, 427)), extent((13, 7, 7)), extent((7, None)), extent(())
    ('427', '13×7×7', '7×–', '')
    """
    shown = ["–" if n is None else str(n) for n in sizes]
    return shown[0] if len(set(shown)) == 1 else "×".join(shown)


# What follows takes the name of a measure; any other quantity, such as a closed form's, goes by its own name.


def name(quantity: str) -> str:
    """What a quantity is called in print.

    >>> name("macs"), name("params"), name("output_shape")
    ('MACs', 'params', 'output shape')
    """
    measure = find(quantity)
    return quantity.replace("_", " ") if measure is None else measure.title


def head(quantity: str) -> str:
    """The head of a column of a quantity, with its unit.

    >>> head("macs"), head("memory_access"), head("memory_access_bytes")
    ('MACs', 'memory access (elements)', 'memory access (bytes)')
    """
    unit = noun(quantity)
    return f"{name(quantity)} ({unit})" if unit else name(quantity)


def noun(quantity: str) -> str:
    """What a quantity counts, where its title does not say so.

    >>> noun("memory_access"), noun("peak_memory"), noun("macs"), noun("trainable_params")
    ('elements', 'bytes', '', '')
    """
    measure = find(quantity)
    return "" if measure is None or measure.unit in measure.title.split() else measure.unit


def cell(quantity: str, value: Number | None, *, exact: bool = True) -> str:
    """A quantity below the head of its column; bytes keep their unit, for a prefix alone would be of elements.

    >>> cell("macs", 4089184256), cell("memory_access_bytes", 1234, exact=False), cell("macs", None)
    ('4.09 G', '≥ 1.23 kB', '–')
    """
    measure = find(quantity)
    symbol = measure.symbol if measure is not None and noun(quantity) else ""
    return "–" if value is None else si(value, symbol, exact=exact)


def figure(quantity: str, value: Number, *, exact: bool = True) -> str:
    """A quantity by itself, with its unit.

    >>> figure("macs", 4089184256), figure("params", 25557032), figure("memory_access", 3, exact=False)
    ('4.09 GMACs', '25.6 M params', '≥ 3 elements')
    """
    measure = find(quantity)
    unit = "" if measure is None else measure.symbol or f" {measure.unit}"
    return si(value, unit, exact=exact)


def every_digit(quantity: str, value: Number, *, exact: bool = True) -> str:
    """Every digit of a quantity, with its unit where the title does not say it.

    >>> every_digit("macs", 4089184256), every_digit("peak_memory", 1234, exact=False)
    ('4,089,184,256', '≥ 1,234 bytes')
    """
    return f"{'' if exact else '≥ '}{grouped(value)} {noun(quantity)}".rstrip()


def sentence_case(title: str) -> str:
    """A title with a capital initial, unless its first word is a symbol or an acronym.

    >>> sentence_case("memory access"), sentence_case("mAh"), sentence_case("MACs")
    ('Memory access', 'mAh', 'MACs')
    """
    return title[:1].upper() + title[1:] if title.split(" ")[0].islower() else title


def change(before: Number, after: Number) -> str:
    """A relative change in percent, with its sign.

    >>> change(200, 150), change(0, 4), change(7, 7), change(10**9, 10**9 + 1)
    ('-25.0%', 'new', '±0%', '+< 0.1%')
    """
    if before == after:
        return "±0%"
    if before == 0:
        return "new"
    return ("+" if after > before else "-") + share(abs(after - before), abs(before))


def signed(quantity: str, difference: Number) -> str:
    """A difference of a quantity below the head of its column, with its sign.

    >>> signed("params", -1500), signed("macs", 12), signed("macs", 0)
    ('-1.50 k', '+12', '±0')
    """
    return "±0" if difference == 0 else ("+" if difference > 0 else "") + cell(quantity, difference)


def seconds(value: float) -> str:
    """A time to three significant digits.

    >>> seconds(0.00123), seconds(2.5e-7), seconds(12.0)
    ('1.23 ms', '250 ns', '12.0 s')
    """
    unit, factor = next(
        ((u, f) for u, f in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)) if value >= 0.9995 * f), ("ns", 1e-9)
    )
    scaled = value / factor
    return f"{scaled:.{2 if scaled < 9.995 else 1 if scaled < 99.95 else 0}f} {unit}"


def printable(text: str) -> str:
    r"""A text from a model in one line: what would move a cursor, colour a terminal or break a line is spelled out.

    >>> print(printable("a\x1b[31m\nb"))
    a\x1b[31m\nb
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def clipped(text: str, most: int) -> str:
    r"""A printable text of at most so many characters: the middle of a longer one is left out.

    >>> clipped("layer1.0.conv1", 9), clipped("a\nb", 9)
    ('laye…onv1', 'a\\nb')
    """
    text = printable(text)
    return text if len(text) <= most else f"{text[: most // 2]}…{text[len(text) - (most - 1) // 2 :]}"


def require_rows(**limits: int) -> None:
    """Raises ``InputError`` for a number of rows that is none."""
    for name, rows in limits.items():
        if not isinstance(rows, int) or rows < 0:
            raise InputError(f"{name}={rows!r} is no number of rows: give an int that is not negative")
