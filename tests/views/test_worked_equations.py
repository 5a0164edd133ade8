"""Both sides of an equation that `costmodel explain` prints are the same number, whatever the symbols stand for."""

from __future__ import annotations

import math
import random
import re
from fractions import Fraction
from typing import Any

import pytest
import sympy

from costmodel.errors import CostModelError
from costmodel.formulas import CATALOG
from costmodel.symbolic import is_count
from costmodel.views.worked import explained
from tests.formulas.test_carriers import CALLS

RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
FUNCTIONS = {"floor": math.floor, "Abs": abs, "sqrt": math.sqrt, "max": max, "min": min, "Max": max, "Min": min}
WITHOUT_SYMBOLS = {"receptive_field", "receptive_field_backwards", "concat", "pointwise_memory_access_bound"}
"""Chains of layers, lists of maps and a bound with a root: their arguments are no counts, or not exact."""

SILENT = (
    "adaptive_avg_pool", "adaptive_window_elements", "avg_pool", "conv_macs_on_padding", "conv_output_size",
    "conv_transpose_output_size", "pool_output_size", "view",
)  # fmt: skip
"""Those that print no equation with symbols: a size alone, windows that are counted one by one or rounded up."""


def number(text: str, values: dict[str, Fraction]) -> Any:
    """What an equation's side comes to, read as Python would: exact, with these numbers for the symbols."""
    plain = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    plain = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹]+", lambda m: f"**{m[0].translate(RAISED)}", plain).replace("·", "*")
    plain = re.sub(r"(?<![\w.])\d+(?![\w.])", lambda m: f"Fraction({m[0]})", plain)
    return eval(plain, {"__builtins__": {}}, {"Fraction": Fraction, **FUNCTIONS, **values})


def symbol(name: str) -> sympy.Symbol:
    """A count."""
    return sympy.Symbol(name, integer=True, positive=True)


def mixed(name: str, draw: random.Random) -> dict[str, Any]:
    """A formula's arguments: some counts as numbers, some symbols of their own name or another, some sums."""

    def one(argument: str, value: int) -> Any:
        kinds = (value, value, symbol(argument), symbol(f"{argument}_of_mine"), symbol(argument) + symbol("more"))
        return draw.choice(kinds)

    return {
        k: (tuple(one(f"{k}{i}", v) for i, v in enumerate(value)) if isinstance(value, tuple) else one(k, value))
        if is_count(k, value)
        else value
        for k, value in CALLS[name].items()
    }


@pytest.mark.parametrize("name", [name for name in CATALOG if name not in WITHOUT_SYMBOLS])
def test_both_sides_of_every_equation_are_one_number(name: str) -> None:
    """With some arguments given, others symbols and others sums of symbols; each side is read as it is printed."""
    draw, checked = random.Random(name), 0
    for _ in range(8):
        arguments = mixed(name, draw)
        try:
            lines = explained(name, arguments).worked[1:]
        except CostModelError:  # some arguments can only be numbers
            continue
        names = set(re.findall(r"[A-Za-z_]\w*", " ".join(map(str, arguments.values()))))
        values = {n: Fraction(draw.randint(20, 60)) for n in names if n.isidentifier()}
        for line in lines:
            _, *sides = line.split(" = ")
            if len(sides) == 2:
                left, right = (number(side, values) for side in sides)
                assert left == right, line
                checked += 1
            assert "*" not in line, line
    assert checked or name in SILENT


@pytest.mark.parametrize("bias", ["", "bias=False"])
@pytest.mark.parametrize("name", ["conv", "depthwise_conv", "pointwise_conv", "grouped_conv", "conv_transpose"])
def test_a_bias_is_assumed_where_it_is_the_default(name: str, bias: str) -> None:
    """Whatever the worked example has; the heading says so, and with a flag of one's own that one is shown."""
    found = explained(name) if not bias else explained(name, {**CALLS[name], "bias": False})
    params = dict(found.symbols)["params"]
    outputs = "channels·multiplier" if name == "depthwise_conv" else "c_out"
    assert (f" + {outputs}" in params) == (not bias)
    assert found.assumed == (bias or "bias=True")


def test_groups_divide_the_channels_without_a_floor() -> None:
    """As in the papers; what pads is rounded as it is."""
    symbols = dict(explained("grouped_conv").symbols)
    assert symbols["macs"] == "H_out·W_out·batch·c_in·c_out·kernel²/groups"
    assert "floor" in symbols["output_size"]
    line = explained("grouped_conv", {**CALLS["grouped_conv"], "c_in": symbol("c_in")}).worked[2]
    assert line == "params = c_in·12·3²/4 + 12 = 27·c_in + 12"
