"""``costmodel reconcile``: every tool side by side, and one tool's differences."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import costmodel
from costmodel.cli import main

NET = """
from torch import nn

def small():
    return nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5))

def norm():
    return nn.LayerNorm(8)
"""


@pytest.fixture
def net(tmp_path: Path) -> str:
    """A file of models: a convolution of 2,160 MACs and a batch norm of 80 elements; a norm of a vector."""
    path = tmp_path / "net.py"
    path.write_text(NET)
    return str(path)


def run(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    """What the command writes, on both streams; its exit status is as expected."""
    with pytest.raises(SystemExit) as left:
        main(["reconcile", *arguments])
    captured = capsys.readouterr()
    assert (left.value.code or 0) == status, captured.err
    return captured.out + captured.err


def test_all_tools(net: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each tool with its number, and what it differs in."""
    shown = run(capsys, f"{net}:small", "-i", "1,3,4,4")
    assert all(f"{tool.name} {tool.version}" in shown for tool in costmodel.TOOLS.values())
    [fvcore] = [line for line in shown.splitlines() if line.startswith("fvcore")]
    assert fvcore.split()[2:5] == ["2,320", "MACs", "150"]
    assert "batch_norm +160" in fvcore


def test_one_tool(net: str, capsys: pytest.CaptureFixture[str]) -> None:
    """From costmodel's MACs to the tool's number, each difference with its reason."""
    shown = run(capsys, f"{net}:small", "-i", "1,3,4,4", "--tool", "fvcore")
    assert "2,160" in shown
    assert "2 an element, its shift and scale" in shown
    assert "+160" in shown
    assert "2,320" in shown


def test_formats(net: str, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON and CSV have the rows, Markdown a table."""
    given = f"{net}:small", "-i", "1,3,4,4"
    rows = {row["tool"]: row for row in json.loads(run(capsys, *given, "--json"))}
    assert (rows["fvcore"]["total"], rows["FlopCounterMode"]["total"]) == (2320, 4320)
    [row] = json.loads(run(capsys, *given, "--tool", "fvcore", "--json"))
    assert (row["name"], row["amount"]) == ("1", 160)
    assert run(capsys, *given, "--csv").startswith("tool,version,total,unit,params,why\n")
    assert "| fvcore 0.1.5.post20221221 |" in run(capsys, *given, "--markdown")
    assert "as counted by fvcore" in run(capsys, *given, "--tool", "fvcore", "--markdown").splitlines()[0]


def test_a_tool_that_fails(net: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is listed with its reason, beside the others; asked for alone, that is the error."""
    shown = run(capsys, f"{net}:norm", "-i", "8")
    [fvcore] = [line for line in shown.splitlines() if line.startswith("fvcore")]
    assert "fails" in fvcore
    assert "layer_norm of [8]" in fvcore
    alone = run(capsys, f"{net}:norm", "-i", "8", "--tool", "fvcore", status=2)
    assert "error: fvcore 0.1.5.post20221221 fails: layer_norm of [8]" in alone


def test_a_saved_profile(net: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It has no model that could be read."""
    path = costmodel.profile(f"{net}:small", (1, 3, 4, 4)).save(tmp_path / "p.json")
    assert "a saved profile does not have" in run(capsys, str(path), status=2)
