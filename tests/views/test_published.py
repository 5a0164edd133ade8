"""Published figures beside computed ones."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from costmodel import models
from costmodel.cli import app
from costmodel.models import Published
from costmodel.views import grid, published, styled

RECORDS = tuple(r for r in models.published() if r.name in ("alexnet", "mobilenet_v1"))


def test_a_difference_is_of_the_computed_to_the_printed_figure() -> None:
    """Relative and signed; there is none where nothing is printed."""
    line = published.Line(Published(name="x", params_printed="4 M", source="a paper"), 4_100_000, 7)
    assert line.params_difference == pytest.approx(0.025)
    assert line.macs_difference is None


def test_the_terminal_and_scripts_see_the_same() -> None:
    """JSON has the exact numbers of which the table shows three digits."""
    lines = published.compute(RECORDS)
    rows = json.loads(published.json(lines))
    name = "mobilenet_v1(width=1.0)"
    (v1,) = [row for row in rows if row["model"] == name]
    assert (v1["macs"], v1["params"]) == (568_740_352, 4_231_976)
    assert v1["macs_difference"] == pytest.approx(568_740_352 / 569_000_000 - 1, rel=1e-12)
    text = styled.plain(published.parts(lines, grid.WIDE), grid.WIDE)
    (shown,) = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    assert "569 M" in shown
    assert published.percent(v1["macs_difference"]) in shown


@pytest.mark.parametrize("width", [80, 120])
def test_a_narrow_terminal_loses_nothing(width: int) -> None:
    """Where a row has no room, both figures, source and reason stand below each other, none of them cut."""
    lines = published.compute(RECORDS)
    text = styled.plain(published.parts(lines, width), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert re.search(r"params +61 M +61\.1 M +\+0\.17 %", text)
    assert re.search(r"MACs +724 M +714 M +-1\.36 %", text)
    words = " ".join(line[: line.find("   ")] if "   " in line else line for line in text.splitlines()).split()
    for x in lines:
        assert " ".join(f"{x.record.source} {x.record.why}".split()) in " ".join(words)


def test_the_command_lists_every_statement() -> None:
    """`costmodel models --published --json` has a row for each."""
    result = CliRunner().invoke(app, ["models", "--published", "--json"])
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)) == len(models.published())
