"""What a claim's test asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from costmodel.notes import results


@pytest.fixture
def holds() -> Callable[[str, tuple[str, Any]], None]:
    """`holds(id, (verdict, value))`: that is what computing the claim finds, and both derivations agree."""

    def check(name: str, expected: tuple[str, Any]) -> None:
        (result,) = results([name])
        found, (verdict, value) = result.finding, expected
        assert (name, found.verdict) == (name, verdict)
        if isinstance(value, float) or (isinstance(value, list) and any(isinstance(n, float) for n in value)):
            assert found.value == pytest.approx(value, rel=1e-12)
        else:
            assert (found.value, type(found.value)) == (value, type(value))
        for figure in found.closed_form.keys() & found.traced.keys():
            assert found.closed_form[figure] == found.traced[figure], f"{name}: {figure}"

    return check
