"""`costmodel train`, and training steps in `compare`, `diff` and `check`."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest

import costmodel
from costmodel.cli import main
from costmodel.views import units
from tests.test_cli import process, run

NET = """
from torch import nn

def small(n=8):
    return nn.Sequential(nn.Conv2d(3, n, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64 * n, 10))

def squares(output):
    return (output * output).sum()
"""
PARAMS = 8 * 27 + 8 + 512 * 10 + 10


@pytest.fixture
def net(tmp_path: Path) -> str:
    """The spec of a small model in a file, up to its arguments."""
    path = tmp_path / "net.py"
    path.write_text(NET)
    return f"{path}:small"


def test_train_shows_phases_memory_and_verdicts(net: str) -> None:
    """The plain text has each phase, the peak by category, who keeps most, coverage and cross-check."""
    shown = run("train", net, "--input", "4,3,8,8")
    for phase in ("forward", "backward", "update", "whole step"):
        assert re.search(rf"^{phase} ", shown, re.MULTILINE), phase
    assert "one training step with adamw on 4 samples" in " ".join(shown.split())
    assert re.search(rf"^parameters +{4 * PARAMS / 1e3:.1f} kB", shown, re.MULTILINE)
    assert "layers derived twice" in shown


def test_a_batch_replaces_that_of_the_inputs(net: str) -> None:
    """--batch scales the model's own inputs and those given: MACs are in proportion."""
    once = json.loads(run("train", net, "-i", "1,3,8,8", "--json"))
    many = json.loads(run("train", net, "-i", "1,3,8,8", "--batch", "16", "--json"))
    assert many["inputs"] == [{"shape": [16, 3, 8, 8], "dtype": "float32"}]
    assert many["totals"]["macs"] == 16 * once["totals"]["macs"]
    assert json.loads(run("train", "alexnet", "-b", "3", "--json"))["batch"] == 3


@pytest.mark.parametrize(
    ("options", "optimizer", "state"),
    [
        (("--optimizer", "none"), "", 0),
        (("--optimizer", "sgd"), "sgd", 0),
        (("--optimizer", "momentum"), "momentum", 4 * PARAMS),
        (("--optimizer", "adam"), "adam", 8 * PARAMS),
    ],
)
def test_the_optimizer_is_chosen(net: str, options: tuple[str, ...], optimizer: str, state: int) -> None:
    """Its state is in the peak: none of plain SGD, a copy of the parameters of momentum, two and the steps of Adam."""
    found = json.loads(run("train", net, "-i", "4,3,8,8", *options, "--json"))
    assert optimizer in found["optimizer"]
    assert state <= found["memory"].get("optimizer state", 0) <= state + 64


def test_a_loss_of_ones_own(net: str) -> None:
    """--loss names a function of the output: its multiplications are the loss's."""
    file = net.rpartition(":")[0]
    found = json.loads(run("train", net, "-i", "4,3,8,8", "--loss", f"{file}:squares", "--json"))
    assert found["phases"]["loss"]["flops"] == 40 + 39  # 40 products, and their sum


def test_autocast_and_accumulation_are_named(net: str) -> None:
    """The head says what the options made of the step."""
    shown = run("train", net, "-i", "4,3,8,8", "--autocast", "bfloat16", "--steps", "2")
    assert "autocast to bfloat16" in " ".join(shown.split())
    assert "2 times, gradients added up" in " ".join(shown.split())


def test_a_device_says_how_long_and_whether_it_fits(net: str) -> None:
    """With --device: the least time, whether memory suffices, and the largest batch; with --seconds MFU and HFU."""
    shown = " ".join(run("train", net, "-i", "4,3,8,8", "--device", "h100", "--seconds", "0.001").split())
    assert "on NVIDIA H100" in shown
    assert re.search(r"at least [\d.]+ .s a step", shown)
    assert "✓ fits:" in shown
    assert "of 80.0 GB" in shown
    assert "in 1.00 ms a step: MFU < 0.1%, HFU < 0.1%" in shown
    assert "in 150 ms a step: MFU" in run("train", net, "-i", "4,3,8,8", "--device", "h100", "--seconds", "150ms")


def test_products_in_tf32_have_its_peak(net: str) -> None:
    """--math tf32, which the list of peaks names, is of the least time and of the utilisation."""
    step = costmodel.training_step(costmodel.load(net), (4, 3, 8, 8))
    shown = run("train", net, "-i", "4,3,8,8", "--device", "h100", "--seconds", "1e-6", "--math", "tf32")
    assert "tf32 at 495 TFLOP/s" in shown
    assert f"MFU {100 * 2 * step.macs / (1e-6 * 494.7e12):.1f}%" in shown
    assert "choose tf32" not in shown


def test_a_step_of_one_layer_has_one_blank_line_below_it() -> None:
    """Where no layer is left out, nothing says so, and no empty line stands in its place."""
    assert "\n\n\n" not in run("train", "torch.nn:Linear(3, 4)", "-i", "2,3")


def test_a_size_of_memory_has_a_largest_batch(net: str) -> None:
    """--memory says whether the step fits, and the largest batch that does."""
    fits = " ".join(run("train", net, "-i", "4,3,8,8", "--memory", "1GB").split())
    assert "✓ fits" in fits
    assert "largest batch" in fits
    assert "✗ does not fit" in run("train", net, "-i", "4096,3,8,8", "--memory", "10MB")


def test_every_report_has_what_was_asked(net: str, tmp_path: Path) -> None:
    """Page, Markdown, text and JSON say what the terminal says of a device, a time and a size of memory."""
    options = ("--device", "h100", "--seconds", "1e-6", "--memory", "1GB")
    saves = [f"--save={tmp_path / 'step'}.{suffix}" for suffix in ("html", "md", "txt", "json", "csv", "tex")]
    run("train", net, "-i", "4,3,8,8", *options, *saves)
    step = costmodel.training_step(costmodel.load(net), (4, 3, 8, 8))
    for suffix in ("html", "md", "txt"):
        shown = " ".join((tmp_path / f"step.{suffix}").read_text("utf-8").split())
        for part in (
            "n NVIDIA H100 SXM5 80 GB",
            "n 1GB of memory",
            f"he largest batch that fits: {step.largest_batch('1GB'):,}",
            f"he largest batch that fits: {step.largest_batch('h100'):,}",
            f"t least {units.seconds(step.roofline('h100').time)} a step",
            f"n 1.00 µs a step: MFU {units.share(step.mfu(1e-6, 'h100'), 1)}, HFU",
            "a tensor that two layers keep counts in each"
            if suffix == "txt"
            else "A tensor that two layers keep counts in",
        ):
            assert part in shown, (suffix, part)
    device, memory = json.loads((tmp_path / "step.json").read_text("utf-8"))["answers"]
    assert (device["least_seconds"], device["mfu"]) == (step.roofline("h100").time, step.mfu(1e-6, "h100"))
    assert memory["largest_batch"] == step.largest_batch(10**9)
    assert "answers" not in json.loads(step.to_json())
    assert (tmp_path / "step.csv").read_text("utf-8") == step.to_csv()
    assert "NVIDIA" not in (tmp_path / "step.tex").read_text("utf-8")
    read = costmodel.read_json(tmp_path / "step.json")
    written = json.loads((tmp_path / "step.json").read_text("utf-8"))
    assert json.loads(read.to_json()) == {key: value for key, value in written.items() if key != "answers"}


def test_every_format_is_written(net: str, tmp_path: Path) -> None:
    """--json, --csv and --markdown on standard output; --save by suffix; a saved step is shown again."""
    rows = list(csv.DictReader(io.StringIO(run("train", net, "-i", "4,3,8,8", "--csv"))))
    assert [row["kind"] for row in rows][:2] == ["standard conv", "activation"]
    assert run("train", net, "-i", "4,3,8,8", "--markdown").startswith("# What a training step of")
    saved = tmp_path / "step.json"
    first = run("train", net, "-i", "4,3,8,8", "--save", str(saved), "--save", str(tmp_path / "step.html"))
    assert run("train", str(saved)) == first
    assert "<html" in (tmp_path / "step.html").read_text("utf-8")


def test_steps_are_compared(net: str, tmp_path: Path) -> None:
    """compare --step: a row per model, ratios, memory by category; saved steps need no flag."""
    wide = f"{net}(n=16)"
    shown = run("compare", net, wide, "--step", "-i", "4,3,8,8", "--baseline", net)
    assert "peak" in shown
    assert "1.00×" in shown
    markdown = run("compare", net, wide, "--step", "-i", "4,3,8,8", "--markdown")
    assert "## Memory at the peak" in markdown
    paths = [str(tmp_path / f"{i}.json") for i in range(2)]
    for spec, path in zip((net, wide), paths, strict=True):
        run("train", spec, "-i", "4,3,8,8", "--save", path)
    found = json.loads(run("compare", *paths, "--json"))
    assert found["models"][0]["totals"]["params"] == PARAMS


def test_a_difference_of_steps_is_markdown_and_can_fail(net: str) -> None:
    """diff --step shows totals of the step and the layers that changed; --fail-over holds the peak."""
    arguments = ("diff", net, f"{net}(n=16)", "--step", "-i", "4,3,8,8")
    shown = run(*arguments)
    assert shown.startswith("### Training step: ")
    assert re.search(r"\| training peak \(bytes\) +\|", shown)
    assert re.search(r"\| 0 +\| changed \|", shown)
    run(*arguments, "--fail-over", "1%", status=1)
    assert "No layer changed" in run("diff", net, net, "--step", "-i", "4,3,8,8", "--fail-over", "1%")


def test_check_holds_a_budget_of_training(net: str, tmp_path: Path) -> None:
    """--max-training-peak looks at a step: exactly its peak is within, a byte less is not; of a saved one, too."""
    found = json.loads(run("train", net, "-i", "4,3,8,8", "--json"))
    peak = found["totals"]["peak_memory"]
    assert "training peak" in run("check", net, "-i", "4,3,8,8", "--max-training-peak", str(peak))
    run("check", net, "-i", "4,3,8,8", "--max-training-peak", str(peak - 1), status=1)
    told = json.loads(run("check", net, "-i", "4,3,8,8", "--max-training-peak", "1GB", "--json"))
    assert told["budgets"]["training_peak"] == {"limit": 10**9, "value": peak, "ok": True}
    assert told["training_step"] == {"ok": True, "is_exact": True}
    saved = str(tmp_path / "step.json")
    run("train", net, "-i", "4,3,8,8", "--save", saved)
    run("check", saved, "--max-training-peak", str(peak), "--max-params", str(PARAMS))
    run("check", saved, "--max-training-peak", str(peak - 1), status=1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("train", "resnet18", "--seconds", "1"), "--seconds needs --device"),
        (
            ("train", "resnet18", "--device", "h100", "--seconds", "0"),
            "seconds=0.0: the time of a step is a number above",
        ),
        (("train", "resnet18", "--math", "tf32"), "--math needs --device"),
        (
            ("train", "torch.nn:ReLU", "-i", "2,3"),
            "no gradient leads from the loss to a parameter: there is none, all are",
        ),
        (("train", "resnet18", "--optimizer", "adamx"), "adamw"),
        (("train", "resnet18", "--loss", "cross_entropy"), "package.module:function"),
        (("train", "resnet18", "--autocast", "int8"), "bfloat16"),
        (("train", "resnet18", "--device", "tpu"), "h100"),
        (("train", "resnet18", "--memory", "lots"), "lots"),
        (("train", "missing.json"), "cannot be read"),
        (("diff", "resnet18", "resnet18", "--batch", "2"), "add --step"),
        (("compare", "resnet18", "--step", "--train"), "give one of them"),
        (("check", "resnet18", "--autocast", "bfloat16"), "no bound needs autocast"),
    ],
)
def test_an_error_is_one_line_with_the_remedy(
    arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2, one line on standard error, and what to do."""
    with pytest.raises(SystemExit) as left:
        main(arguments)
    err = capsys.readouterr().err
    assert left.value.code == 2
    assert says in err
    assert err.count("\n") == 1


def test_a_profile_and_a_step_are_not_mixed_up(net: str, tmp_path: Path) -> None:
    """A saved profile is no step and a saved step no profile; each error names the command that takes it."""
    profile, step = str(tmp_path / "p.json"), str(tmp_path / "s.json")
    run("profile", net, "-i", "4,3,8,8", "--save", profile)
    run("train", net, "-i", "4,3,8,8", "--save", step)
    assert "costmodel train" in process("profile", step, cwd=tmp_path).stderr
    assert "saved profile of one forward" in process("train", profile, cwd=tmp_path).stderr
