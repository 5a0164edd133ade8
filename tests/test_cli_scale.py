"""``costmodel scale``: formulas, the largest size, figures at a size, files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from costmodel.cli import main

NET = """
from torch import nn

def small():
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())

def bare():
    return nn.Conv2d(3, 8, 3, padding=1)
"""


@pytest.fixture
def net(tmp_path: Path) -> str:
    """The spec of a small model in a file."""
    path = tmp_path / "net.py"
    path.write_text(NET)
    return f"{path}:small"


def run(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    """What the command writes, on both streams; its exit status is as expected."""
    with pytest.raises(SystemExit) as left:
        main(["scale", *arguments])
    captured = capsys.readouterr()
    assert (left.value.code or 0) == status, captured.err
    return captured.out + captured.err


def test_formulas_and_figures(net: str, capsys: pytest.CaptureFixture[str]) -> None:
    """MACs of a 3x3 convolution of 3 to 8 channels, 3 * 8 * 9 = 216 for each of B H² positions, and at B=2, H=100."""
    shown = run(capsys, net, "--input", "B,3,H,H", "--at", "B=2", "--at", "H=100")
    assert "216·B·H²" in shown
    assert "4,320,000" in shown


def test_the_largest(net: str, capsys: pytest.CaptureFixture[str]) -> None:
    """216 MACs for each position: a million fit 4,629 positions, so a side of 68."""
    shown = run(capsys, net, "-i", "B,3,H,H", "--largest", "H", "--max-macs", "1M", "--at", "B=1")
    assert "The largest H is 68, with B = 1." in shown


def test_the_largest_beside_the_weights(net: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What fits is said without and with the parameters of a forward.

    A convolution holds its input and output, 4 * (3 + 8) * 100 = 4,400 bytes a sample, and beside them in the same
    memory 4 * (216 + 8) = 896 bytes of weights: 44,000 are ten samples, or nine.
    """
    bounds = ("-i", "B,3,H,H", "--largest", "B", "--at", "H=10")
    shown = run(capsys, f"{net.removesuffix(':small')}:bare", *bounds, "--memory", "44kB")
    assert "The largest B is 10, with H = 10." in shown
    assert "With parameters and buffers (896 B) in the same memory it is 9." in shown
    assert "in the same memory none fits." in run(
        capsys, f"{net.removesuffix(':small')}:bare", *bounds, "--memory", "5kB"
    )
    assert "same memory" not in run(capsys, net, *bounds, "--memory", "1MB", "--train")


def test_a_step(net: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The weight's gradient has as many MACs as the forward; the image needs none."""
    shown = run(capsys, net, "-i", "B,3,H,H", "--train", "--optimizer", "sgd")
    assert "a training step" in shown
    assert "432·B·H²" in shown


def test_files_and_json(net: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every format is written; JSON has the formulas as sympy reads them."""
    files = [tmp_path / f"s{suffix}" for suffix in (".html", ".md", ".json", ".csv", ".tex", ".txt")]
    told = run(capsys, net, "-i", "B,3,H,H", "--json", *(f"--save={file}" for file in files))
    assert all(file.stat().st_size for file in files)
    document = json.loads(told[: told.rindex("}") + 1])
    assert document["totals"]["macs"] == "216*B*H**2"
    assert document["sizes"]["H"] == {"lattice": 1, "least": 1, "greatest": 8192}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("-i", "1,3,8,8"), "no size has a name"),
        (("-i", "B,3,H,H", "--memory", "1GB"), "add --largest NAME"),
        (("-i", "B,3,H,H", "--largest", "B", "--at", "H"), "write --at H=224"),
        (("-i", "B,3,H,H", "--largest", "B", "--at", "H=8"), "--largest B needs a bound: --memory"),
        (("-i", "B,3,H,H", "--largest", "B", "--memory", "1GB"), "--at has no size: the inputs name H beside B"),
        (("-i", "B,3,H,H", "--at", "B=2"), "--at has B: the inputs name B, H"),
        (("-i", "B,3,H,H", "--at", "B=2", "--at", "H=8", "--at", "Z=1"), "--at has B, H, Z: the inputs name B, H"),
        (("-i", "B,3,H,H", "--start", "H"), "write --start H=224"),
        (("-i", "B,3,H,H", "--autocast", "bfloat16"), "add --train"),
        (("-i", "B;3"), "is not a shape; write B,3,H,H"),
    ],
)
def test_errors(net: str, arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each says what to write, with exit status 2."""
    assert says in run(capsys, net, *arguments, status=2)


@pytest.mark.parametrize(
    "arguments", [("devices",), ("roofline", "vgg11", "--device"), ("train", "vgg11", "--device", "--top", "3")]
)
def test_devices_are_listed(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """By a command of its own, and where ``--device`` has no name; also one whose only peak is that of int8."""
    with pytest.raises(SystemExit) as left:
        main(arguments)
    shown = capsys.readouterr().out
    assert not left.value.code
    assert {"b200", "tpu-v5e", "stm32h743"} <= set(shown.split())
    (npu,) = (line.split() for line in shown.splitlines() if line.startswith("hexagon-x-elite"))
    assert npu[-8:] == ["–", "–", "45.0", "T", "136", "GB/s", "–", "–"]
