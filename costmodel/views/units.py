"""Numbers for people. Counts are exact integers everywhere else; only here are they rounded."""

from __future__ import annotations

_STEPS = ((10**15, "P"), (10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))


def si(n: float, unit: str = "", *, exact: bool = True) -> str:
    """Three significant digits with an SI prefix, which joins the unit: ``4.09 GMACs``.

    Args:
        n: a count.
        unit: a symbol that takes a prefix: ``"MACs"``, ``"FLOPs"``, ``"B"``. A word such as ``"params"`` is better put
            behind the result, or given with a space before it (``" params"``).
        exact: where False, the total is a lower bound, and says so.

    >>> si(4_089_184_256, "MACs"), si(25_557_032, " params"), si(177_000_000, "B")
    ('4.09 GMACs', '25.6 M params', '177 MB')
    >>> si(999_999), si(640), si(0, "B"), si(1500, exact=False)
    ('1.00 M', '640', '0 B', '≥ 1.50 k')
    """
    bound = "" if exact else "≥ "
    for step, prefix in _STEPS:
        # 999.5 k would be printed as 1000 k: it belongs to the next prefix.
        if abs(n) >= 0.9995 * step:
            scaled = n / step
            digits = 2 if abs(scaled) < 9.995 else 1 if abs(scaled) < 99.95 else 0
            return f"{bound}{scaled:.{digits}f} {prefix}{unit}"
    small = f"{n:,}" if isinstance(n, int) else f"{n:.3g}"
    return f"{bound}{small} {unit.strip()}".rstrip()


def grouped(n: int) -> str:
    """Every digit, in groups of three.

    >>> grouped(4089184256)
    '4,089,184,256'
    """
    return f"{n:,}"


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
    """A ratio to three significant digits, with its sign.

    >>> ratio(1.0), ratio(0.0734), ratio(12.345), ratio(1234.5)
    ('1.00×', '0.0734×', '12.3×', '1,234×')
    """
    digits = next((d for d, limit in ((4, 0.09995), (3, 0.9995), (2, 9.995), (1, 99.95)) if abs(value) < limit), 0)
    return f"{value:,.{digits}f}×"


def shape(size: tuple[int, ...]) -> str:
    """A tensor's shape as the field writes it.

    >>> shape((1, 3, 224, 224)), shape(())
    ('1×3×224×224', 'scalar')
    """
    return "×".join(map(str, size)) or "scalar"
