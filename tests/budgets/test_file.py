"""The budget file: what it says is what is checked, and what it cannot mean is an error with a remedy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import costmodel
from costmodel import CostModelError
from costmodel.budgets.file import read_budgets
from costmodel.cli import main
from costmodel.measures import MEASURES

NETWORK = """
from torch import nn

def small(n=8):
    return nn.Sequential(nn.Conv2d(3, n, 3), nn.ReLU())
"""
MACS, PARAMS = 2 * 6 * 6 * 8 * 27, 8 * 27 + 8
FILE = """
[budget.first]
model = "net.py:small"
input = [2, 3, 8, 8]
macs = "<= {macs}"
params = ["<= 1k", "== 224 ± 1%"]
training_peak = "<= 8GB"
largest_batch = ">= 64"
memory = "24GB"
optimizer = "sgd"

[budget."the second"]
model = "net.py:small(n=16)"
input = "2,3,8,8"
time = "<= 5 ms"
device = "h100"
"""
Check = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a network and a budget file, in which commands run."""
    (tmp_path / "net.py").write_text(NETWORK)
    (tmp_path / "costmodel.toml").write_text(FILE.format(macs=MACS))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str]) -> Check:
    """Runs the command; returns what it prints, on standard error where it is exit status 2."""

    def run(*arguments: str, status: int = 0) -> str:
        with pytest.raises(SystemExit) as left:
            main(["check", *arguments])
        out, err = capsys.readouterr()
        assert left.value.code == status, out + err
        assert err.count("\n") == (status == 2)
        return err if status == 2 else out

    return run


def test_every_budget_of_the_file_is_checked(folder: Path, check: Check) -> None:
    """Without arguments: a paragraph for each with a line for each bound, and a line for all."""
    said = check()
    assert [line for line in said.splitlines() if "coverage" not in line and "cross-check" not in line] == [
        "first: net.py:small",
        "one training step with sgd on 2 samples:",
        "✓ MACs: 15.6 kMACs of at most 15.6 kMACs",
        "✓ params: 224 params of at most 1.00 k params",
        "✓ params: 224 params of exactly 224 params ± 1%",
        f"✓ training peak: {largest(peak=True)} of at most 8.00 GB",
        f"✓ largest training batch in 24GB: {largest()} samples of at least 64 samples",
        "",
        "the second: net.py:small(n=16)",
        f"✓ least time on h100: {nanoseconds()} ns of at most 5.00 ms",
        "",
        "✓ 2 budgets kept",
    ]
    (folder / "costmodel.toml").write_text(FILE.format(macs=MACS - 1))
    said = check(status=1)
    assert f"✗ MACs: {MACS:,} MACs of at most {MACS - 1:,} MACs, < 0.1% over" in said
    assert said.endswith("✗ not kept: first (of 2 budgets)\n")
    assert "first" not in check("--budget", "the second")


def largest(*, peak: bool = False) -> str:
    """Figures of the first budget, from the library."""
    from torch import nn

    step = costmodel.training_step(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), (2, 3, 8, 8), optimizer="sgd")
    return costmodel.views.units.si(step.peak_memory, "B") if peak else f"{step.largest_batch('24GB'):,}"


def nanoseconds() -> str:
    """The least time of the second: every byte that is moved, at the device's bandwidth."""
    conv = 4 * (2 * 3 * 8 * 8 + 16 * 27 + 16 + 2 * 16 * 36)
    relu = 4 * 2 * (2 * 16 * 36)
    return f"{(conv + relu) / 3.35e12 * 1e9:.2f}"


def test_json_has_each_figure(folder: Path, check: Check) -> None:
    """By budget, with what the command says of one model."""
    told = json.loads(check("--json"))
    assert told["ok"] is True
    first = told["models"]["first"]
    assert (first["model"], first["ok"], first["crosscheck"]) == ("net.py:small", True, True)
    assert first["budgets"]["macs"] == {"limit": MACS, "value": MACS, "ok": True}
    assert [b["quantity"] for b in first["bounds"]] == ["macs", "params", "params", "training_peak", "largest_batch"]
    assert first["bounds"][2] == {
        "quantity": "params", "operator": "==", "limit": PARAMS, "tolerance": 0.01, "value": PARAMS, "is_exact": True,
        "where": "", "ok": True,
    }  # fmt: skip
    assert first["bounds"][4]["where"] == "in 24GB"


def test_paths_are_those_from_the_file_s_folder(folder: Path, check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model, a saved profile, a device and code that is imported, wherever the command runs."""
    (folder / "away").mkdir()
    monkeypatch.chdir(folder / "away")
    assert "✓ 2 budgets kept" in check("--file", "../costmodel.toml")
    costmodel.profile("mobilenet_v1_cifar").save(folder / "saved.json")
    (folder / "mine.toml").write_text(
        '[own]\ntitle = "Mine"\npeak.float32 = {value = 1e12, source = "me"}\n'
        'bandwidth = {value = 1e12, source = "me"}\n'
    )
    (folder / "measure.py").write_text(
        "from costmodel import Measure, register_measure\n"
        "register_measure(Measure(name='file_energy', title='energy', unit='J', symbol='J', additive=True,\n"
        "                         means='made up', of_layer=lambda layer: 4e-12 * layer.work.macs))\n"
    )
    (folder / "costmodel.toml").write_text(
        'import = ["measure.py"]\n[budget.saved]\nmodel = "saved.json"\ntime = "<= 1s"\ndevice = "mine.toml"\n'
        'file_energy = "<= 3 mJ"\n'
    )
    try:
        for _ in range(2):  # the code is run once
            said = check("--file", "../costmodel.toml")
            energy = 4e-12 * costmodel.models.closed_form("mobilenet_v1_cifar").macs
            assert f"✓ energy: {energy * 1e6:.1f} µJ of at most 0.003 J" in said
            assert "✓ least time on mine.toml: " in said
    finally:
        costmodel.unregister_measure("file_energy")
    assert "file_energy" not in MEASURES


@pytest.mark.parametrize(
    ("given", "shapes"),
    [
        ("[1, 3, 8, 8]", [(1, 3, 8, 8)]),
        ('"1,3,8,8"', [(1, 3, 8, 8)]),
        ('["1,3,8,8"]', [(1, 3, 8, 8)]),
        ("[[1, 3, 8, 8], [1, 5]]", [(1, 3, 8, 8), (1, 5)]),
        ('["1,3,8,8", [1, 5]]', [(1, 3, 8, 8), (1, 5)]),
    ],
)
def test_inputs_are_shapes(given: str, shapes: list[tuple[int, ...]], tmp_path: Path) -> None:
    """One shape as numbers or as a text, or a list of them."""
    file = tmp_path / "b.toml"
    file.write_text(f'[budget.a]\nmodel = "m"\ninput = {given}\nmacs = "<= 1"\n')
    inputs = read_budgets(file)["a"].inputs
    assert inputs == (shapes[0] if len(shapes) == 1 else tuple(shapes))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[budget.a", "is no TOML file"),
        ("", 'has no budget: write [budget.NAME] with model = "mobilenet_v2" and macs = "<= 320M"'),
        ("[budgets.a]\n", "costmodel.toml has budgets: a budget file has [budget.NAME]"),
        ("budget = 3\n", "has no budget"),
        ('[budget]\nmodel = "m"\n', "has no budget"),
        ('import = "x.py"\n[budget.a]\n', "import is a list of modules and .py files, as ['my_measures.py']"),
        ('import = ["gone.py"]\n[budget.a]\nmodel = "m"\n', "costmodel.toml, import: 'gone.py': there is no file"),
        ('import = ["gone"]\n[budget.a]\nmodel = "m"\n', "import: 'gone': no module is called 'gone'\n"),
        ('[budget.a]\nmacs = "<= 1"\n', '[budget.a]: it has no model: add model = "mobilenet_v2"'),
        ("[budget.a]\nmodel = 3\n", "[budget.a]: model = 3: must be a text"),
        ('[budget.a]\nmodel = "m"\ndevice = ["h100"]\n', "device = ['h100']: must be a text"),
        ('[budget.a]\nmodel = "m"\ninput = 3\n', "[budget.a]: input = 3: write [1, 3, 224, 224]"),
        ('[budget.a]\nmodel = "m"\ninput = []\n', "[budget.a]: input = []: write [1, 3, 224, 224]"),
        ('[budget.a]\nmodel = "m"\ninput = ["1;3"]\n', "'1;3' is not a shape; write 1,3,224,224"),
        ('[budget.a]\nmodel = "m"\nbatch = "8"\n', "[budget.a]: batch='8' is no number of samples: give an int from 1"),
        ('[budget.a]\nmodel = "m"\nmac = "<= 1"\n', "[budget.a]: no quantity is called 'mac'; did you mean macs"),
        ('[budget.a]\nmodel = "m"\ninputs = [1]\n', "no quantity is called 'inputs'; did you mean input"),
        ('[budget.a]\nmodel = "m"\nmacs = 1\n', "[budget.a]: 1 is no bound on macs; write it as '<= 1'"),
        (
            '[budget.a]\nmodel = "m"\ntime = "<= 1s"\n',
            "[budget.a]: a bound on time needs a device, such as h100",
        ),
        ('[budget.a]\nmodel = "m"\nautocast = "bfloat16"\n', "[budget.a]: no bound needs autocast"),
        ('[budget.a]\nmodel = "resnet51"\n', "costmodel.toml, [budget.a]: "),
        ('[budget.a]\nmodel = "resnet18"\ninput = [1, 4, 8, 8]\n', "[budget.a]: "),
        ('[budget.a]\nmodel = "resnet18"\ntime = "<= 1s"\ndevice = "tpu"\n', "[budget.a]: no device is called 'tpu'"),
    ],
)
def test_an_error_names_the_budget_and_the_remedy(text: str, says: str, folder: Path, check: Check) -> None:
    """Exit status 2 and one line, before any model is built where the file alone is wrong."""
    (folder / "costmodel.toml").write_text(text)
    assert says in check(status=2)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--file", "gone.toml"), "gone.toml cannot be read: No such file or directory. A budget file has [budget."),
        (("--budget", "third"), "costmodel.toml has no budget 'third'; it has first, the second"),
        (("--max-macs", "1"), "name a model; without one, the budget file alone says what is checked"),
        (("-i", "1,3,8,8"), "name a model"),
        (("--device", "h100"), "name a model"),
        (("resnet18", "--file", "costmodel.toml"), "give a model, or --file and --budget"),
        (("resnet18", "--bound", "speed >= 3"), "no quantity is called 'speed'"),
        (("resnet18", "--bound", ">= 3"), "no quantity is called ''"),
        (("resnet18", "--max-time", "5ms"), "a bound on time needs a device"),
        (("costmodel.toml",), "costmodel.toml is no model: for a budget file write --file costmodel.toml"),
        (("resnet18", "--max-time", "5", "--device", "tpu"), "no device is called 'tpu'"),
    ],
)
def test_an_error_of_the_command(arguments: tuple[str, ...], says: str, folder: Path, check: Check) -> None:
    """Options that do not go together, and a file or a budget that there is not."""
    assert says in check(*arguments, status=2)


def test_help_fits_the_terminal(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """A paragraph of the docstring is one of the help, broken where the terminal ends, and brackets are no markup."""
    monkeypatch.setenv("COLUMNS", "80")
    lines = [line.strip() for line in check("--help").splitlines()]
    first = next(i for i, line in enumerate(lines) if line.startswith("Without a model"))
    last = lines.index("", first)
    assert 'with model = "resnet18", input = [1, 3, 224, 224], and' in " ".join(lines[first:last])
    assert all(len(line) > 60 for line in lines[first : last - 1])


def test_bounds_of_the_command_line(folder: Path, check: Check) -> None:
    """--bound has every operator, and may be repeated, also beside --max-NAME; the figures are the file's."""
    arguments = ("net.py:small", "-i", "2,3,8,8", "--bound", "macs>=15k", "--bound", "macs < 15.6k", "--max-macs", "1M")
    said = check(*arguments, "--max-training-time", "1ms", "--device", "h100", "--math", "tf32")
    assert said.count("✓ MACs: ") == 3
    assert "✓ least training time on h100: " in said
    said = check("net.py:small", "-i", "2,3,8,8", "--bound", "largest_batch >= 10M", "--memory", "1GB", status=1)
    assert "✗ largest training batch in 1GB: " in said


def test_a_budget_takes_another_model(folder: Path) -> None:
    """What is in memory is held in the place of the file's model, also with other inputs; an error names the budget."""
    from torch import nn

    budget = read_budgets()["first"]
    names: list[Any] = [budget.examine(lambda subject: subject.profile.params, nn.Conv2d(3, 8, 3, bias=False))]
    names.append(budget.examine(lambda subject: subject.profile.macs, nn.Linear(5, 7), (3, 5)))
    assert names == [8 * 27, 3 * 5 * 7]
    with pytest.raises(CostModelError, match=r"costmodel\.toml, \[budget\.first\]: "):
        budget.examine(lambda subject: subject.profile, nn.Linear(5, 7))


def test_a_figure_that_rounds_to_its_bound_is_written_out(folder: Path, check: Check) -> None:
    """One that misses it by less than the digits shown has every digit, and so has the bound."""
    peak = costmodel.profile("net.py:small", (2, 3, 8, 8)).peak_memory
    said = check("net.py:small", "-i", "2,3,8,8", "--bound", f"peak_memory > {peak}", status=1)
    assert f"✗ peak memory: {peak:,} bytes of more than {peak:,} bytes\n" in said


def test_a_byte_order_mark_is_no_text(folder: Path, check: Check) -> None:
    """As editors on Windows write it."""
    file = folder / "costmodel.toml"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert "✓ 2 budgets kept" in check()


def test_a_memory_in_bytes_is_said_to_be(folder: Path, check: Check) -> None:
    """A number has its unit; and one kind of operation is in the singular."""
    text = '[budget.a]\nmodel = "torch.nn:Linear(3, 4)"\ninput = [2, 3]\nlargest_batch = ">= 1"\nmemory = 8000000\n'
    (folder / "costmodel.toml").write_text(text)
    said = check()
    assert "✓ largest training batch in 8000000 bytes: " in said
    assert "✓ coverage: the 1 kind of operation that ran has a rule\n" in said
