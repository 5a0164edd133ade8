from __future__ import annotations

import csv
import dataclasses
import importlib
import io
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn
from typer.testing import CliRunner

import costmodel
from costmodel.cli import app, console, main
from costmodel.errors import CostModelError, InputError
from costmodel.formulas import CATALOG

NET = """
import torch
from torch import nn

if not hasattr(torch.ops.cli_test, "odd"):  # the file is loaded once per test

    @torch.library.custom_op("cli_test::odd", mutates_args=())
    def odd_op(x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    odd_op.register_fake(torch.empty_like)

class Odd(nn.Module):
    def forward(self, x):
        return torch.ops.cli_test.odd(x)

class Reads(nn.Module):
    def forward(self, x):
        return x * x.sum().item()

def small(n=8):
    return nn.Sequential(nn.Conv2d(3, n, 3), nn.ReLU())

def odd():
    return nn.Sequential(nn.Linear(4, 4), Odd())
"""


@pytest.fixture
def net(tmp_path: Path) -> str:
    """The spec of a small model in a file, up to its arguments."""
    path = tmp_path / "net.py"
    path.write_text(NET)
    return f"{path}:small"


def run(*arguments: str, status: int = 0) -> str:
    """What a command writes on standard output; its exit status is as expected."""
    result = CliRunner().invoke(app, arguments, catch_exceptions=True)
    assert result.exit_code == status, (result.output, result.exception)
    return result.stdout


def process(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, piped."""
    command = [sys.executable, "-m", "costmodel", *arguments]
    # Said explicitly: readline, which a debugger imports, sets COLUMNS where os.environ does not see it.
    environment = dict(os.environ)
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, env=environment)


def test_profile_shows_totals_layers_and_verdicts(net: str) -> None:
    """The plain table has the exact totals, every layer, coverage and cross-check."""
    shown = run("profile", net, "--input", "1,3,32,32")
    assert "194,400" in shown  # 30 * 30 * 8 * 27
    assert re.search(r"├─ 0 +Conv2d +standard conv", shown)
    assert "all agree to the last integer" in shown


def test_piped_output_is_plain_and_never_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal, and without COLUMNS: no colours, no cursor movements, all columns, names in full."""
    monkeypatch.delenv("COLUMNS", raising=False)
    done = process("profile", "googlenet", "--depth", "9", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "…" not in done.stdout
    assert "mem. access" in done.stdout
    assert "columns left out" not in done.stdout


@pytest.mark.parametrize(
    "arguments", ["explain transformer", "models", "devices", "profile googlenet", "guidelines vgg11"]
)
def test_piped_output_keeps_to_columns(arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where COLUMNS is set no line is longer, also without a terminal; otherwise no text is longer than 140."""
    monkeypatch.setenv("COLUMNS", "100")
    assert max(map(len, run(*arguments.split()).splitlines())) <= 100
    monkeypatch.delenv("COLUMNS")
    assert max(map(len, run(*arguments.split()).splitlines())) <= 140


def test_a_terminal_gets_colours_and_its_width(net: str) -> None:
    """On a terminal of 70 columns no line is longer, and there are colours."""
    master, slave = pty.openpty()
    environment = {**os.environ, "COLUMNS": "70", "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    command = [sys.executable, "-m", "costmodel", "profile", net, "-i", "1,3,32,32"]
    running = subprocess.Popen(command, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    seen = b""
    while True:
        try:
            chunk = os.read(master, 4096)
        except OSError:  # Linux's way to say that the other side has closed
            break
        if not chunk:
            break
        seen += chunk
    os.close(master)
    assert running.wait() == 0
    text = seen.decode().replace(f"\r{console.ERASE_LINE}", "\n")  # a line in the place of another
    assert "\x1b[" in text
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert max(len(line.rstrip("\r")) for line in plain.split("\n")) <= 70


def test_json_and_csv_go_to_standard_output_alone(net: str, tmp_path: Path) -> None:
    """Scripts get nothing but the data; a saved JSON profile can be shown again without the model."""
    written = run("profile", net, "-i", "1,3,32,32", "--json")
    assert json.loads(written)["totals"]["macs"] == 194_400
    rows = list(csv.DictReader(io.StringIO(run("profile", net, "-i", "1,3,32,32", "--csv"))))
    assert [int(row["macs"]) for row in rows] == [194_400, 0]
    (tmp_path / "p.json").write_text(written)
    assert "194,400" in run("profile", str(tmp_path / "p.json"))


def test_options_choose_the_table(net: str) -> None:
    """--columns, --top, --sort and --full-names reach the table."""
    assert "standard conv" not in run("profile", net, "-i", "1,3,9,9", "--columns", "params,macs")
    assert "1 more layer;" in run("profile", net, "-i", "1,3,9,9", "--top", "1")
    assert "features.0.conv" in run("profile", "mobilenet_v2", "--depth", "3", "--full-names")
    assert "features.18.conv" in run("profile", "mobilenet_v2", "--sort", "params", "--top", "2")


def test_columns_are_of_the_table_alone(net: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With a format that has all columns they are refused, and not ignored."""
    with pytest.raises(SystemExit) as left:
        main(["profile", net, "-i", "1,3,9,9", "--csv", "--columns", "bogus"])
    assert left.value.code == 2
    assert "--columns chooses those of the terminal's table" in capsys.readouterr().err


def test_compare_saves_and_tells(tmp_path: Path) -> None:
    """The table is on standard output, what was saved is told on standard error."""
    done = process("compare", "alexnet", "mobilenet_v1(width=0.5)", "--baseline", "alexnet", "--save", "out/c.md",
                   "--save", "out/c.csv", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == ["wrote out/c.md in a new folder", "wrote out/c.csv"]
    assert re.search(r"mobilenet_v1\(width=0.5\) +1.33 M", done.stdout)
    assert "1331592" in (tmp_path / "out/c.csv").read_text()
    assert "| mobilenet_v1(width=0.5) |" in (tmp_path / "out/c.md").read_text()


@pytest.mark.parametrize(
    ("budget", "status"),
    [(("--max-macs", "194_400"), 0), (("--max-macs", "194399"), 1), (("--max-params", "0.224k"), 0),
     (("--max-params", "223"), 1), (("--max-flops", "1"), 1), (("--max-memory-access", "1G"), 0)],
)  # fmt: skip
def test_check_holds_a_budget_to_the_last_integer(net: str, budget: tuple[str, str], status: int) -> None:
    """A budget that is met exactly is met; one less is exit status 1."""
    shown = run("check", net, "-i", "1,3,32,32", *budget, status=status)
    assert ("✗" in shown) == bool(status)


def test_check_fails_where_an_operation_has_no_rule(net: str) -> None:
    """A lower bound within budget shows nothing, and says so."""
    shown = run("check", net.replace("small", "odd"), "-i", "1,4", "--max-macs", "1G", status=1)
    assert "cli_test.odd.default" in shown
    assert "✗ MACs: ≥ 16 MACs" in shown


def test_check_fails_where_the_wings_disagree(net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed form that is wrong is exit status 1, with the layer's name."""
    from costmodel.formulas import convolution

    right = convolution.conv_output_size
    monkeypatch.setattr(
        convolution, "conv_output_size", lambda *, kernel, stride, **rest: right(kernel=stride, stride=kernel, **rest)
    )
    shown = run("check", net, "-i", "1,3,32,32", status=1)
    assert re.search(r"^0 +Conv2d +output shape +", shown, re.MULTILINE)
    assert not json.loads(run("check", net, "-i", "1,3,32,32", "--json", status=1))["ok"]


@pytest.mark.parametrize(
    "arguments", [("mobilenet_v2(width=0.75)",), ("googlenet(aux=True)", "--train"), ("hybridsn", "-i", "2,1,30,25,25")]
)
def test_check_holds_a_whole_network_to_its_closed_form(arguments: tuple[str, ...]) -> None:
    """The library's own networks have a second derivation, with their arguments, in training, on a batch."""
    assert re.search(r"^✓ closed form of the whole network: \d+ layers", run("check", *arguments), re.MULTILINE)
    assert json.loads(run("check", *arguments, "--json"))["closed_form"] is True


def test_check_fails_where_a_network_s_table_is_wrong(net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One entry that is wrong in the closed form alone is exit status 1, with the layers and both figures."""
    importlib.import_module("costmodel.models.mobilenet_v1")  # the module takes the table's entry while it is right
    monkeypatch.setattr("costmodel.models.closed.mobilenet_v1.STEM_WIDTH", 40)
    shown = run("check", "mobilenet_v1(width=0.5)", status=1)
    assert "✗ closed form of the whole network: " in shown
    assert re.search(r"^features\.0\.conv +params +648 +432", shown, re.MULTILINE)
    told = json.loads(run("check", "mobilenet_v1(width=0.5)", "--json", status=1))
    assert (told["ok"], told["crosscheck"], told["closed_form"]) == (False, True, False)
    assert ["", "params"] in told["differences"]
    assert json.loads(run("check", net, "-i", "1,3,32,32", "--json"))["closed_form"] is None


def test_check_against_fvcore(net: str) -> None:
    """The third opinion is shown."""
    assert "fvcore: the same MACs for 2 layers\n" in run("check", net, "-i", "1,3,32,32", "--against", "fvcore")


def test_check_against_any_counter(net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are not run are counted by their conventions; a total that differs where one runs is status 1."""
    told = json.loads(run("check", net, "-i", "1,3,32,32", "--against", "thop", "--json"))["against"]
    assert (told["tool"], told["unit"], told["live"], told["ok"]) == ("thop", "MACs", None, True)
    refused = CliRunner().invoke(app, ["check", net, "--against", "fvcorr"]).exception
    assert isinstance(refused, InputError)
    assert "did you mean 'fvcore'" in str(refused)
    held = costmodel.TOOLS["fvcore"]
    conv = dataclasses.replace(held.ops["convolution"], count=lambda _: 13)
    monkeypatch.setitem(vars(held), "ops", {**held.ops, "convolution": conv})
    told = json.loads(run("check", net, "-i", "1,3,32,32", "--against", "fvcore", "--json", status=1))
    assert (told["ok"], told["crosscheck"], told["against"]["derived"]) == (False, False, 13)
    assert told["mismatches"] == []


def test_diff_is_markdown_and_can_fail(net: str, tmp_path: Path) -> None:
    """A saved profile against a spec; growth beyond the limit is exit status 1, named on standard error."""
    before = tmp_path / "before.json"
    before.write_text(run("profile", net, "-i", "1,3,32,32", "--json"))
    arguments = ("diff", str(before), f"{net}(n=9)", "-i", "1,3,32,32")
    shown = run(*arguments)
    assert "+12.5%" in shown
    assert re.search(r"\| 0 +\| changed", shown)
    run(*arguments, "--fail-over", "13%")
    result = CliRunner().invoke(app, [*arguments, "--fail-over", "12%"])
    assert result.exit_code == 1
    assert "grew by more than 12%" in result.stderr
    assert "❌" in result.stdout
    assert "No layer changed" in run("diff", str(before), str(before), "--fail-over", "0%")


@pytest.mark.parametrize("formula", list(CATALOG))
def test_every_formula_is_explained(formula: str) -> None:
    """Each has its source; and where it has a worked example, the number is that of its docstring."""
    shown = run("explain", formula)
    assert "Source: " in shown
    assert formula in shown


def test_explain_works_a_number_out() -> None:
    """The symbols, the substituted expression and the number, which anyone can check."""
    shown = run("explain", "conv")
    assert "macs = H_out·W_out·batch·c_in·c_out·kernel²/groups" in shown
    assert "macs = 112·112·1·3·64·7²/1 = 118,013,952" in shown
    assert 112 * 112 * 64 * 49 * 3 == 118_013_952


def test_explain_compares_formulas(tmp_path: Path) -> None:
    """The three convolutions in one table, on the terminal and in files; what is not given stays a symbol."""
    three, numbers = ("conv", "depthwise_separable", "grouped_conv"), "c_in=64,c_out=128,kernel=3,size=56"
    shown = run("explain", *three, "--with", numbers, "--save", str(tmp_path / "c.md"), "-o", str(tmp_path / "c.png"))
    macs = 54 * 54 * 128 * 64 * 9
    assert f"{macs:,}" in shown
    assert f"= {macs}/groups" in shown
    assert "ratio 1/c_out + 1/kernel²" in shown
    assert "The outputs differ in size" in shown
    assert "1704.04861" in shown
    assert "![" in (tmp_path / "c.md").read_text("utf-8")
    padded = run("explain", *three, "--with", f"{numbers},padding=1", "--with", "groups=4", "--csv")
    rows = {row["formula"]: row for row in csv.DictReader(io.StringIO(padded))}
    assert rows["depthwise_separable"]["macs"] == str(56 * 56 * 64 * (9 + 128))
    assert float(rows["depthwise_separable"]["macs_ratio"]) == 1 / 128 + 1 / 9
    assert json.loads(run("explain", "conv", "--json"))["formulas"][0]["figures"]["macs"] == 118_013_952


def test_explain_with_numbers_of_ones_own() -> None:
    """As a call or by --with, with the steps of the sum."""
    for arguments in (
        ("conv(c_in=64, c_out=128, kernel=3, size=56)",),
        ("conv", "-w", "c_in=64,c_out=128,kernel=3,size=56"),
    ):
        shown = run("explain", *arguments)
        assert "With these numbers:" in shown
        assert "macs = 54·54·1·64·128·3²/1 = 214,990,848" in shown


def test_explain_lists_formulas_in_groups() -> None:
    """All of them, or those of one group."""
    shown = run("explain")
    assert all(f"  {name} " in shown for name in CATALOG)
    assert "global_avg_pool" in run("explain", "pooling")
    assert "grouped_conv" not in run("explain", "pooling")


def test_models_lists_every_name() -> None:
    """All names, with their arguments; as JSON for scripts."""
    assert json.loads(run("models", "--json")) == costmodel.models.list_models()
    shown = run("models")
    assert all(re.search(rf"^{name} ", shown, re.MULTILINE) for name in costmodel.models.list_models())


def test_guidelines_and_roofline() -> None:
    """Both have a table, and rows for scripts."""
    assert "G4" in run("guidelines", "shufflenet_v2", "--top", "3")
    assert "wait for memory" in run("roofline", "alexnet", "--device", "h100")
    assert "bfloat16 at 989 TFLOP/s" in run("roofline", "alexnet", "--device", "h100", "--dtype", "bf16", "--top", "1")
    rows = list(csv.DictReader(io.StringIO(run("roofline", "alexnet", "--device", "h100", "--csv"))))
    assert len(rows) == 22
    # As exact as the rows themselves, however few nanoseconds a layer needs.
    times = [row["time"] for row in json.loads(run("roofline", "alexnet", "--device", "h100", "--json"))]
    assert times == [float(row["time"]) for row in rows]


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("profile", "resnet51"), 2, "did you mean resnet50"),
        (("generate", "config.json", "--prompt", "1"), 2, "did you mean hf:config.json?"),
        (("profile", "net.py"), 2, "did you mean net.py:factory?"),
        (("published", "resnet18"), 2, "--flops"),
        (("explain", "resnet50"), 2, "`costmodel profile resnet50`"),
        (("profile", "resnet18", "--input", "1;3"), 2, "write 1,3,224,224"),
        (("profile", "resnet18", "--input", "1,4,224,224"), 2, "'conv1"),
        (("profile", "resnet18", "--sort", "speed"), 2, "'speed'"),
        (("profile", "resnet18", "--json", "--csv"), 2, "--save"),
        (("profile", "missing.json"), 2, "cannot be read"),
        (("profile", "resnet18", "--save", "x.doc"), 2, ".html"),
        (("check", "resnet18", "--max-macs", "much"), 2, "320M"),
        (("explain", "konv"), 2, "did you mean conv"),
        (("explain", "konv", "conv"), 2, "did you mean conv"),
        (("explain", "xyzzy"), 2, "convolutions, linear layers, norms"),
        (("explain", "conv", "conv"), 2, "conv is given twice"),
        (("explain", "--csv"), 2, "name the formulas"),
        (("explain", "conv", "--with", "c_in"), 2, "write NAME=VALUE"),
        (("explain", "conv_output_size", "--csv"), 2, "no cost to compare"),
        (("diff", "resnet18", "resnet18", "--fail-over", "1"), 2, "1%"),
        (("roofline", "resnet18", "--device", "tpu"), 2, "h100"),
        (("check", "saved.json", "--against", "fvcore"), 2, "needs the model itself"),
        (("profil", "resnet18"), 2, "`costmodel --help`"),
        (("profile", "resnet18", "--dept", "2"), 2, "--depth"),
        (("profile", "resnet18", "--depth", "two"), 2, "'--depth'"),
        (("compare",), 2, "`costmodel compare --help`"),
    ],
)
def test_an_error_is_one_line_with_the_remedy(
    arguments: tuple[str, ...], status: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing on standard output, one line on standard error, exit status 2, and no traceback."""
    with pytest.raises(SystemExit) as left:
        main(arguments)
    out, err = capsys.readouterr()
    assert left.value.code == status
    assert says in err
    assert err.count("\n") == 1
    assert err.startswith("error: ")
    assert out == "" or "--save" in arguments


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("costmodel ex", {"explain"}),
        ("costmodel profile --so", {"--sort"}),
        ("costmodel compare vgg16 mobilenet_v3", {"mobilenet_v3_large", "mobilenet_v3_small"}),
        ("costmodel profile torchv", {"torchvision:"}),
        ("costmodel reconcile vgg16 --tool pt", {"ptflops", "ptflops-aten"}),
        ("costmodel compare vgg16 --tool th", {"thop"}),
    ],
)
def test_the_shell_completes(
    words: str, completed: set[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Commands, options, and names of models and counters are completed."""
    monkeypatch.setenv("_COSTMODEL_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    with pytest.raises(SystemExit):
        main([])
    assert set(capsys.readouterr().out.split()) == completed


def test_traceback_shows_the_whole() -> None:
    """--traceback, anywhere, lets the error through."""
    with pytest.raises(costmodel.LoadError):
        main(["profile", "resnet51", "--traceback"])


def test_a_fault_of_the_library_is_told_apart(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is no error of the user's has exit status 3."""

    def broken(*arguments: object, **options: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("costmodel.cli.profile.profiled", broken)
    with pytest.raises(SystemExit) as left:
        main(["profile", "resnet18"])
    assert left.value.code == 3
    assert "ZeroDivisionError: oops" in capsys.readouterr().err


def test_exit_statuses_are_documented() -> None:
    """The help of the whole names them, once; that of a command does not repeat them."""
    assert "1 a check failed" in " ".join(run("--help").split())
    assert "1 a check failed" not in " ".join(run("check", "--help").split())


COMMANDS = sorted(command.callback.__name__ for command in app.registered_commands if command.callback is not None)

CUT = "--max-training-memory-access-byt…"
"""The one name that typer cuts at 80 columns: it gives names no more room than help texts, 33 characters."""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A file of each kind that is read back."""
    model, shape, folder = nn.Linear(3, 2), (4, 3), tmp_path_factory.mktemp("saved")
    made = {
        "a profile": costmodel.profile(model, shape),
        "a training step": costmodel.training_step(model, shape),
        "a measurement": costmodel.measure(model, shape, peaks="h100", repeats=1),
    }
    return {kind: str(result.save(folder / f"{kind}.json")) for kind, result in made.items()}


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("profile", []), ("train", []), ("measure", []), ("guidelines", []), ("check", []), ("reconcile", []),
        ("roofline", ["--device", "h100"]), ("published", ["--macs", "24"]), ("generate", ["--prompt", "5"]),
        ("scale", ["--input", "B,3"]),
    ],
)  # fmt: skip
def test_a_command_takes_the_saved_results_that_its_help_names(
    command: str, options: list[str], saved: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It shows those, and refuses any other with one line that says what it is, or names what is to be given."""
    monkeypatch.setenv("COLUMNS", "80")
    named = re.search(r"or (a [a-z ]+) saved as \.json", re.sub(r"[\s│]+", " ", run(command, "--help")))
    taken = re.split(r" or ", named[1]) if named else []
    for kind, file in saved.items():
        result = CliRunner().invoke(app, [command, file, *options])
        if kind in taken:
            assert result.exit_code == 0, result.output
        else:
            assert isinstance(result.exception, CostModelError), (kind, result.output)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_names_values_and_is_never_cut(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 80 columns: no Python type such as <bool> stands beside an option, and no option's name is cut."""
    monkeypatch.setenv("COLUMNS", "80")
    shown = run(*filter(None, [command]), "--help")
    assert "--help" in shown
    assert not re.findall(r"<\w+( \w+)?>|…", shown.replace(CUT, ""))
    assert max(map(len, shown.splitlines())) <= 80


ARGUMENTS = {
    "compare": ["nonsense", "nonsense"], "diff": ["nonsense", "nonsense"],
    "scale": ["nonsense", "--input", "B,3,H,H"], "sweep": ["nonsense", "width=1"],
    "generate": ["nonsense", "--prompt", "8"], "published": ["nonsense", "--macs", "1G"],
}  # fmt: skip
"""What a command that saves a file is given, where it is not the name of one model."""


@pytest.mark.parametrize("command", [c for c in COMMANDS if "--save" in run(c, "--help") and c != "check"])
@pytest.mark.parametrize(("name", "said"), [("a.pdf", ".pdf|.md"), ("b.md/a.md", "b.md is no folder"), ("", "")])
def test_what_cannot_be_saved_is_refused_before_the_work(
    command: str, name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong suffix, and a place where no file can be, are found before a model is looked for; a good one is not."""
    monkeypatch.chdir(tmp_path)
    Path("b.md").write_text("", encoding="utf-8")
    result = CliRunner().invoke(app, [command, *ARGUMENTS.get(command, ["nonsense"]), "--save", name or "a.md"])
    assert result.exit_code != 0
    assert ("nonsense" in str(result.exception)) is not bool(name), result.exception
    assert re.search(said, str(result.exception))
    assert not Path("a.md").exists()


def test_a_folder_that_is_made_is_said(net: str, tmp_path: Path) -> None:
    """A file in a folder that was not there is written, and the folder named as new; the next one there is not."""
    for expected in ("a.csv in a new folder", "a.csv"):
        result = CliRunner().invoke(app, ["profile", net, "-i", "1,3,32,32", "--save", str(tmp_path / "new" / "a.csv")])
        assert result.stderr.strip().endswith(expected)


def test_the_version_is_told() -> None:
    """--version needs no command."""
    assert run("--version") == f"costmodel {costmodel.__version__}\n"


def test_a_terminal_without_unicode_is_no_error(net: str, tmp_path: Path) -> None:
    """Characters that an encoding lacks are spelled, so that a verdict can still be read."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "costmodel"]
    given = ["profile", net, "-i", "1,3,9,9"]
    done = subprocess.run([*command, *given], cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"1x3x9x9" in done.stdout
    assert b"ok coverage" in done.stdout
    assert b"?" not in done.stdout
    given = ["check", net, "-i", "1,3,9,9", "--max-macs", "1"]
    done = subprocess.run([*command, *given], cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert done.returncode == 1, done.stderr
    assert b"not ok MACs" in done.stdout


def test_saved_profiles_are_compared_as_models_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A .json stands for the model that it was made of."""
    saved = tmp_path / "small.json"
    costmodel.profile("mobilenet_v3_small").save(saved)
    with pytest.raises(SystemExit) as left:
        main(["compare", str(saved), "mobilenet_v3_large", "--json"])
    assert left.value.code == 0
    assert str(saved) in capsys.readouterr().out


def test_strict_reads_a_saved_profile_too(net: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says which operation has no rule."""
    saved = tmp_path / "unknown.json"
    costmodel.profile(net.replace(":small", ":odd"), (1, 4)).save(saved)
    with pytest.raises(SystemExit) as left:
        main(["profile", str(saved), "--strict"])
    assert left.value.code == 2
    assert "no rule for 'cli_test.odd.default'" in capsys.readouterr().err


def test_a_difference_is_markdown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is not written into a file of another kind."""
    with pytest.raises(SystemExit) as left:
        main(["diff", "vgg11", "vgg13", "--save", str(tmp_path / "d.html")])
    assert left.value.code == 2
    assert "a file named .md" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
