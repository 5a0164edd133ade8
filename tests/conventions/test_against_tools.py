"""Each convention against the tool itself: totals and parameters are equal to the integer."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

import costmodel
from costmodel.conventions.tool import ToolFailsError
from tests.conventions.live import LIVE
from tests.conventions.record import recorded
from tests.conventions.small import SMALL, tensors

RECORDED = recorded()


def answer(tool: str, name: str) -> tuple[Any, Any] | None:
    """What a tool prints for a small module, and its number of parameters; nothing where it raises."""
    if tool in RECORDED:
        found = RECORDED[tool][name]
        return None if found is None else (found[0], found[1])
    make, inputs = SMALL[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return LIVE[tool](make().eval(), tensors(inputs))
        except Exception:
            return None


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("tool", costmodel.TOOLS)
def test_a_small_module(tool: str, name: str) -> None:
    """What is derived from a trace is what the tool prints, and where it raises, so is said."""
    make, inputs = SMALL[name]
    model = make().eval()
    p = costmodel.profile(model, inputs)
    printed = answer(tool, name)
    if printed is None:
        with pytest.raises(ToolFailsError):
            p.counted_as(tool)
        return
    found = p.counted_as(tool)
    assert (found.total, found.params) == printed
    assert p.macs + found.difference["amount"].sum() == found.total
    assert found.layers["count"].sum() == found.total
