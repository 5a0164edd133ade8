"""``costmodel sweep``: grids as they are typed, tables, files, folders, engines, and what is said of mistakes."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import costmodel
from costmodel.cli import console, main
from costmodel.cli.sweep import _axis
from costmodel.errors import InputError
from tests.test_cli_progress import Terminal

NET = """
from torch import nn

def make(width, act="ReLU"):
    return nn.Sequential(nn.Conv2d(3, width, 3, padding=1), getattr(nn, act)())
"""


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The spec of a model in a file, with the names of a grid."""
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET)
    return "net.py:make(width={width},act='{act}')"


def run(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    """What the command writes, on both streams; its exit status is as expected."""
    with pytest.raises(SystemExit) as left:
        main(["sweep", *arguments])
    captured = capsys.readouterr()
    assert (left.value.code or 0) == status, captured.err
    return captured.out + captured.err


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("w=0.35,0.5,1", [0.35, 0.5, 1]),
        ("r=96:224:32", [96, 128, 160, 192, 224]),
        ("r=96:225:32", [96, 128, 160, 192, 224]),
        ("r=3:5", [3, 4, 5]),
        ("w=0.1:0.7:0.1", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]),
        ("a=ReLU, GELU", ["ReLU", "GELU"]),
        ("r=224,(192,256)", [224, (192, 256)]),
        ("x=None,True,'1',-1", [None, True, "1", -1]),
        ("x=1,3:5,9", [1, 3, 4, 5, 9]),
        ("net=@vgg1?,alexnet", ["vgg11", "vgg13", "vgg16", "vgg19", "alexnet"]),
    ],
)
def test_values_of_a_name(text: str, values: list[object]) -> None:
    """Lists, ranges with both ends, texts, tuples, and names of networks by a pattern."""
    name, made = _axis("{net}", text)
    assert (name, made) == (text.partition("=")[0], values)
    assert [type(value) for value in made] == [type(value) for value in values]


def test_all_networks_of_this_library() -> None:
    """@all is every name."""
    assert _axis("{net}", "net=@all")[1] == costmodel.models.list_models()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("width", "'width' is no part of a grid: write NAME=VALUES, such as width=0.35,0.5 or"),
        ("width=", "'width=' is no part of a grid"),
        ("1=2", "'1=2' is no part of a grid"),
        ("r=5:3", "r=5:3 is no range"),
        ("r=1:2:0", "r=1:2:0 is no range"),
        ("r=1:99999999999", "is no range"),
        ("r=@all", r"r=@all is a list of networks: it goes with timm:\{r\}, torchvision:\{r\} or \{r\}, not with"),
        ("net=@z*", r"net=@z\*: no network of this library has such a name"),
    ],
)
def test_what_is_no_grid(text: str, message: str) -> None:
    """An error that shows how it is written."""
    with pytest.raises(InputError, match=message):
        _axis("{net}", text)


def test_a_table_of_a_closed_form(capsys: pytest.CaptureFixture[str]) -> None:
    """All combinations; published: 3.4 M parameters and 300 M MACs of MobileNetV2 at 1.0 and 224."""
    shown = run(capsys, "mobilenet_v2", "width=0.35,1.0", "resolution=192:224:32")
    assert "mobilenet_v2: 4 candidates by width, resolution" in shown
    assert re.search(r"^1 +224 +3\.50 M +301 M ", shown, re.MULTILINE)


def test_formats_and_files(net: str, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON on standard output; a page, and a folder to which a second run adds nothing that it has."""
    arguments = [net, "width=4,8", "act=ReLU,GELU,Nil", "-i", "1,3,16,16"]
    document = json.loads(run(capsys, *arguments, "--json"))
    macs = [row[document["columns"].index("macs")] for row in document["rows"]]
    assert macs == [256 * 27 * width for width in (4, 4, 8, 8)]
    for _ in range(2):
        shown = run(capsys, *arguments, "--save", "rows.parquet", "--save", "page.html")
        assert "saved in rows.parquet" in shown
        assert "wrote page.html" in shown
        assert "has no attribute 'Nil'" in shown
    assert len(list(Path("rows.parquet").iterdir())) == 1
    assert "Trade-off" in Path("page.html").read_text("utf-8")
    both = run(capsys, *arguments, "--csv", "--engine", "2")
    assert both == run(capsys, *arguments, "--csv")


def test_sizes_of_inputs_may_have_names(net: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A name of the grid in a shape."""
    written = run(capsys, net, "width=8", "act=ReLU", "b=1,2", "r=8,16", "-i", "b,3,r,r", "--json")
    document = json.loads(written)
    macs = [row[document["columns"].index("macs")] for row in document["rows"]]
    assert macs == [b * r * r * 27 * 8 for b in (1, 2) for r in (8, 16)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mobilenet_v2", "width=-1"], "error: no candidate could be computed; width=-1: "),
        (["mobilenet_v2", "w=1"], "mobilenet_v2 has no argument 'w'"),
        (["mobilenet_v2", "width=1", "width=2"], "give each name of the grid once"),
        (["mobilenet_v2", "width=1", "--save", "a.pdf"], "--save a.pdf: a sweep is saved as .parquet, .html, .md"),
        (["mobilenet_v2", "width=1", "--save", "a", "--save", "b"], "rows go to one folder"),
        (["mobilenet_v2", "width=1", "--engine", "0"], "an engine is None, a number of processes"),
        (["mobilenet_v2", "width=1", "--json", "--csv"], "only one of --json, --csv"),
        (["mobilenet_v2"], "Missing argument"),
    ],
)
def test_mistakes(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: Any
) -> None:
    """One line, exit status 2, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    shown = run(capsys, *arguments, status=2)
    assert message in shown
    assert not list(tmp_path.iterdir())


def test_an_address_without_a_scheduler(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said within the time that is allowed."""
    monkeypatch.setattr("costmodel.candidates.engines.SCHEDULER_TIMEOUT_S", 0.5)
    shown = run(capsys, "mobilenet_v2", "width=1", "--engine", "tcp://127.0.0.1:9", status=2)
    assert "no Dask scheduler answers there" in shown


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many are done, how many failed, and of how many; the line is gone at the end."""
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setattr(console, "PROGRESS_DELAY_S", 0.0)
    monkeypatch.setattr(console, "BAR_INTERVAL_S", 0.0)
    with console.counting("sweeping") as show:
        while not terminal.lines:
            pass
        show(0, 0, 4)
        show(3, 1, 4)
    lines = "\n".join(terminal.lines)
    assert "sweeping: ──────────────────── 0 of 4" in lines
    assert "sweeping: ███████████████───── 3 of 4, 1 failed, 0:00 left" in lines
    assert terminal.lines[-1] == ""


def test_no_bar_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    """Piped standard error stays clean."""
    with console.counting("sweeping") as show:
        show(1, 0, 4)
    assert capsys.readouterr().err == ""
