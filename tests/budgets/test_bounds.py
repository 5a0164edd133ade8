"""Bounds as people write them are read exactly, and hold what they say."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmodel.budgets.bounds import Bound, bounds_of, parse
from costmodel.budgets.quantities import quantities, quantity
from costmodel.budgets.subject import Settings
from costmodel.errors import InputError
from costmodel.measures import MEASURES, STEP_MEASURES, Measure, register_measure, unregister_measure

COMPARED = {
    "<=": lambda value, limit: value <= limit, ">=": lambda value, limit: value >= limit,
    "<": lambda value, limit: value < limit, ">": lambda value, limit: value > limit,
    "==": lambda value, limit: value == limit,
}  # fmt: skip
PREFIXES = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}


@given(
    sign=st.sampled_from(sorted(COMPARED)), digits=st.integers(0, 10**6), decimals=st.integers(0, 3),
    prefix=st.sampled_from(sorted(PREFIXES)), unit=st.sampled_from(["", "B"]), blank=st.sampled_from(["", " "]),
    value=st.integers(0, 10**9),
)  # fmt: skip
def test_a_bound_is_what_is_written(
    sign: str, digits: int, decimals: int, prefix: str, unit: str, blank: str, value: int
) -> None:
    """Operator, digits, prefix and unit, with blanks or without; nothing is rounded, and each limit is its own edge."""
    limit = Fraction(digits, 10**decimals) * PREFIXES[prefix]
    written = f"{digits // 10**decimals}.{digits % 10**decimals:0{decimals}}" if decimals else str(digits)
    bound = parse(quantity("peak_memory"), f"{sign}{blank}{written}{blank}{prefix}{unit}")
    assert (bound.operator, bound.limit) == (sign, limit)
    assert bound.holds(value) is COMPARED[sign](value, limit)
    if limit.denominator == 1:
        for near in (limit - 1, limit, limit + 1):
            assert bound.holds(int(near)) is COMPARED[sign](near, limit)


@pytest.mark.parametrize(
    ("name", "text", "limit"),
    [
        ("macs", "≤ 320 MMACs", 320_000_000),
        ("params", "<= 4M params", 4_000_000),
        ("params", "<= 25,557,032", 25_557_032),
        ("memory_access", ">= 1k elements", 1000),
        ("time", "< 5 ms", Fraction(1, 200)),
        ("time", "< 250us", Fraction(1, 4000)),
        ("time", "< 250 µs", Fraction(1, 4000)),
        ("time", "< 250 μs", Fraction(1, 4000)),  # the Greek letter, and before it the sign
        ("time", "<= 0.1", Fraction(1, 10)),
        ("training_time", "<= 2 s", 2),
        ("largest_batch", ">= 64 samples", 64),
    ],
)
def test_each_quantity_has_its_unit(name: str, text: str, limit: Fraction) -> None:
    """Counts, bytes, times and samples, with their units or without."""
    assert parse(quantity(name), text).limit == limit


def test_a_tolerance_is_a_share_of_the_limit() -> None:
    """Within one percent, edges included, of a number that floats do not have."""
    bound = parse(quantity("params"), "== 1000 ± 0.3%")
    assert [n for n in range(990, 1011) if bound.holds(n)] == list(range(997, 1004))
    assert parse(quantity("params"), "== 1000 +- 0.3%") == bound


@pytest.mark.parametrize(
    ("name", "operators"),
    [("macs", (">=", ">")), ("training_peak", (">=", ">")), ("largest_batch", ("<=", "<"))],
)
def test_a_figure_that_is_a_bound_itself_shows_one_side(name: str, operators: tuple[str, ...]) -> None:
    """At least 5 is at least 4, and may be anything above; of the largest batch it is the other way round."""
    for sign in COMPARED:
        for limit in (4, 5, 6):
            bound = Bound(quantity(name), sign, Fraction(limit))
            assert bound.holds(5, exact=False) is (sign in operators and COMPARED[sign](5, limit))


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("macs", "320M", "'320M' is no bound on macs; write it as '<= 320M', with <=, >=, ==, < or >"),
        ("macs", "= 320M", "write it as '<= 320M'"),
        ("macs", 320_000_000, "320000000 is no bound on macs; write it as '<= 320000000'"),
        ("macs", True, "True is no bound"),
        ("macs", [], "[] is no bound"),
        ("peak_memory", "twenty", "write it as '<= 20MB'"),
        ("time", "<= 5 Ms", "time: '5 Ms' is not a number; write it as 250 ms or 0.25"),
        ("time", "<= 5k", "'5k' is not a number"),
        ("peak_memory", "<= 8Gi", "write it as 20MB, 1.5GB, 16GiB or 25557032"),
        ("peak_memory", "<= 20mB", "peak_memory: '20mB' is not a count; write it as 20MB"),
        ("time", "5ms", "write it as '<= 5ms'"),
        ("time", "<= 5 min", "time: '5 min' is not a number; write it as 250 ms or 0.25"),
        ("largest_batch", "96", "write it as '>= 96'"),
        ("macs", "<= 320m", "macs: '320m' is not a count; write it as 320M"),
        ("macs", "<= 320M ± 1%", "a tolerance is one of ==, as in '== 25.6M ± 1%'"),
        ("macs", "== 320M ± 1", "is no bound on macs"),
        ("mac", "<= 1", "no quantity is called 'mac'; did you mean macs"),
        ("macs", "<= 1e400", "macs: '1e400' is not a count"),
        ("macs", f"<= {'9' * 400}", "is not a count"),
        ("macs", "<= 1e999999999", "is not a count"),
        ("xyzzy", "<= 1", "There are params, macs,"),
        ("xyzzy", "<= 1", "largest_batch, and what costmodel.register_measure adds"),
    ],
)
def test_an_error_says_what_to_write(name: str, text: object, says: str) -> None:
    """The quantity, what was written, and an example in its unit."""
    with pytest.raises(InputError) as raised:
        bounds_of({name: text}, Settings(device="h100"))
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("time", Settings(), "a bound on time needs a device, such as h100"),
        ("largest_batch", Settings(), "needs a memory, such as 24GB, or a device, such as h100"),
        (
            "time",
            Settings(device="h100", memory="1GB"),
            "no bound needs memory: leave that out, or bound largest_batch",
        ),
        ("largest_batch", Settings(memory="1GB", math="tf32"), "no bound needs math: leave that out, or bound time"),
        (
            "largest_batch",
            Settings(memory="1GB", device="h100"),
            "no bound needs device: leave that out, or bound time",
        ),
        ("macs", Settings(device="h100"), "no bound needs device: leave that out, or bound time or largest_batch"),
        ("macs", Settings(math="tf32"), "no bound needs math"),
        ("macs", Settings(batch=8, autocast="bfloat16"), "no bound needs batch or autocast: leave that out, or bound"),
        ("time", Settings(device="h100", optimizer="sgd"), "no bound needs optimizer"),
    ],
)
def test_settings_and_bounds_fit(name: str, settings: Settings, says: str) -> None:
    """A setting that is missing, or that no bound needs, is said with what to do."""
    with pytest.raises(InputError) as raised:
        bounds_of({name: "<= 1"}, settings)
    assert says in str(raised.value)


def test_every_measure_can_be_bounded() -> None:
    """Those of a forward, of a step, and what is registered, which may be below 1, from then on."""
    assert [*MEASURES, *STEP_MEASURES] == [name for name in quantities() if not quantity(name).needs]
    energy = Measure(
        name="budget_energy", title="energy", unit="joules", symbol="J", additive=True, means="made up",
        of_layer=lambda layer: 1e-12 * layer.work.macs,
    )  # fmt: skip
    register_measure(energy)
    try:
        assert parse(quantity("budget_energy"), "<= 3 mJ").limit == Fraction(3, 1000)
    finally:
        unregister_measure("budget_energy")
    assert "budget_energy" not in quantities()
