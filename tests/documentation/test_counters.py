"""The table of docs/counters.md holds."""

from __future__ import annotations

import re

import costmodel
from tests.benchmarks.other_counters import CASES
from tests.documentation.pages import ROOT

PAGE = (ROOT / "docs/counters.md").read_text()

IN_TABLE = {
    "by hand": "", "costmodel": "", "fvcore": "fvcore", "FlopCounterMode": "FlopCounterMode", "ptflops": "ptflops",
    "its aten backend": "ptflops-aten", "thop": "thop", "ultralytics-thop": "ultralytics-thop",
    "torchinfo": "torchinfo", "TorchLens": "",
}  # fmt: skip
"""The columns of the table of counters, and whose convention each is of, if it is known."""


def test_what_counters_say_is_what_they_say() -> None:
    """The table's figures are those of this counter, and of every tool whose convention is known."""
    ((head, table),) = re.findall(r"^\| MACs of (.*)\n\|.*\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    columns = [re.sub(r"\[(.*)\].*", r"\1", cell.strip()) for cell in head.split("|")[1:-1]]
    assert columns == list(IN_TABLE)
    rows = [[cell.strip().replace(",", "") for cell in line.split("|")[2:-1]] for line in table.splitlines()]
    for row, (make, shape, macs) in zip(rows, CASES.values(), strict=True):
        model = make()
        p = costmodel.profile(model, shape, mode="train" if model.training else "eval")
        assert row[:2] == [str(macs), str(p.macs)]
        for cell, tool in zip(row, IN_TABLE.values(), strict=True):
            assert not tool or cell.removesuffix(" / 2") == str(p.counted_as(tool).total), tool
