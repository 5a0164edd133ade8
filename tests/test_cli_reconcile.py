"""``costmodel reconcile``: every tool side by side, and one tool's differences."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest
import torch

import costmodel
from costmodel.cli import main

NET = """
from torch import nn

def small():
    return nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5))

def conv():
    return nn.Conv2d(3, 5, 3, padding=1, bias=False)

def norm():
    return nn.LayerNorm(8)
"""


@pytest.fixture
def net(tmp_path: Path) -> str:
    """A file of models: a convolution of 2,160 MACs and a batch norm of 80 elements; the first alone; a norm."""
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
    """A line for each tool with its number, and below it what it differs in."""
    lines = run(capsys, f"{net}:small", "-i", "1,3,4,4").splitlines()
    below = dict(itertools.pairwise(lines))
    for tool in costmodel.TOOLS.values():
        [line] = [line for line in lines if line.startswith(f"{tool.name} {tool.version} ")]
        assert below[line].startswith("  ")
        if tool.name == "fvcore":
            assert line.split()[2:] == ["2,320", "MACs", "150"]
            assert below[line] == "  batch_norm +160"
        if tool.name == "FlopCounterMode":
            assert below[line] == "  the unit alone"


@pytest.mark.parametrize("columns", ["", "80", "100"])
@pytest.mark.parametrize("tool", [(), ("--tool", "ptflops"), ("--tool", "fvcore")])
def test_a_pipe_is_as_wide_as_a_terminal(
    columns: str, tool: tuple[str, ...], net: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a terminal lines are as long as COLUMNS says, or 80 characters, and nothing is left out."""
    monkeypatch.setenv("COLUMNS", columns)
    shown = run(capsys, f"{net}:small", "-i", "1,3,4,4", *tool)
    assert max(map(len, shown.splitlines())) <= int(columns or 80)
    assert "left out" not in shown
    assert "150" in shown


def test_one_tool(net: str, capsys: pytest.CaptureFixture[str]) -> None:
    """From costmodel's MACs to the tool's number, each difference with its reason."""
    shown = run(capsys, f"{net}:small", "-i", "1,3,4,4", "--tool", "fvcore")
    assert "2,160" in shown
    assert "2 an element, its shift and scale" in shown
    assert "+160" in shown
    assert "2,320" in shown


def test_formats(net: str, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON and CSV have the rows, Markdown a table; JSON of one tool is the tool's, with or without differences."""
    given = f"{net}:small", "-i", "1,3,4,4"
    rows = {row["tool"]: row for row in json.loads(run(capsys, *given, "--json"))}
    assert (rows["fvcore"]["total"], rows["FlopCounterMode"]["total"]) == (2320, 4320)
    fvcore = json.loads(run(capsys, *given, "--tool", "fvcore", "--json"))
    assert [(row["name"], row["amount"]) for row in fvcore["differences"]] == [("1", 160)]
    same = json.loads(run(capsys, f"{net}:conv", "-i", "1,3,4,4", "--tool", "fvcore", "--json"))
    assert same.pop("version") == costmodel.TOOLS["fvcore"].version
    assert same == {
        "model": f"{net}:conv", "input": "1×3×4×4 float32", "mode": "eval", "macs": 2160,
        "tool": "fvcore", "total": 2160, "unit": "MACs", "params": 135, "differences": [],
    }  # fmt: skip
    assert run(capsys, *given, "--csv").startswith("tool,version,total,unit,params,why\n")
    assert run(capsys, *given, "--tool", "fvcore", "--csv").startswith("name,op,why,amount\n")
    assert "| fvcore 0.1.5.post20221221 |" in run(capsys, *given, "--markdown")
    assert "as counted by fvcore" in run(capsys, *given, "--tool", "fvcore", "--markdown").splitlines()[0]


def test_files(net: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Pages, Markdown with its figures, LaTeX, JSON and CSV, of all tools and of one."""
    for tool, waterfalls in ((), len(costmodel.TOOLS)), (("--tool", "thop"), 1):
        names = [tmp_path / f"{waterfalls}.{suffix}" for suffix in ("html", "md", "tex", "json", "csv", "txt")]
        saved = [argument for name in names for argument in ("--save", str(name))]
        assert run(capsys, f"{net}:small", "-i", "1,3,4,4", *tool, *saved).count("wrote ") == len(names)
        assert "thop 0.1.1" in names[0].read_text("utf-8")
        assert (
            names[1].read_text("utf-8").count("](")
            == waterfalls
            == len(list((tmp_path / f"{waterfalls}_figures").iterdir()))
        )


def test_a_tool_that_fails(net: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is listed with its reason, beside the others; asked for alone, that is the error."""
    shown = run(capsys, f"{net}:norm", "-i", "8")
    assert re.search(r"^fvcore .*fails .*\n  layer_norm of \[8\]", shown, re.MULTILINE)
    alone = run(capsys, f"{net}:norm", "-i", "8", "--tool", "fvcore", status=2)
    assert "error: fvcore 0.1.5.post20221221 fails: layer_norm of [8]" in alone


def test_a_tool_of_another_name(capsys: pytest.CaptureFixture[str]) -> None:
    """The error comes before the model is read, and names the tool that is meant."""
    for written, meant in (("FVCORE", "fvcore"), ("flopcounter", "FlopCounterMode"), ("ptflop", "ptflops")):
        shown = run(capsys, "no such model", "--tool", written, status=2)
        assert f"'{written}' is no tool whose convention is known; there are fvcore, " in shown
        assert f"; did you mean '{meant}'?" in shown


def test_the_counter_of_torch_is_that_which_is_installed(net: str, capsys: pytest.CaptureFixture[str]) -> None:
    """FlopCounterMode's version is torch's own, and a remark says which were read."""
    version = torch.__version__.partition("+")[0]
    assert f"FlopCounterMode {version} " in run(capsys, f"{net}:small", "-i", "1,3,4,4")
    alone = run(capsys, f"{net}:small", "-i", "1,3,4,4", "--tool", "FlopCounterMode")
    assert f"counted by FlopCounterMode {version}\n" in alone
    assert "counts as the installed torch does" in alone


def test_a_saved_profile(net: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It has no model that could be read, and the help does not say that it would do."""
    path = costmodel.profile(f"{net}:small", (1, 3, 4, 4)).save(tmp_path / "p.json")
    shown = run(capsys, str(path), status=2)
    assert "a saved profile does not have: name the model itself" in shown
    with pytest.raises(SystemExit):
        main(["reconcile", "--help"])
    assert "saved" not in capsys.readouterr().out
