"""The README is true: its examples run, its figures hold, and its commands are the ones that CI runs."""

from __future__ import annotations

import doctest
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import costmodel
from costmodel.cli import main
from costmodel.layers import USER_LAYERS
from costmodel.ops import RULES
from tests.benchmarks.other_counters import CASES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def fenced(language: str) -> list[str]:
    """The README's code blocks in a language, top to bottom."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def registered() -> Iterator[None]:
    """What an example registers, other tests do not see."""
    rules, layers = set(RULES), set(USER_LAYERS)
    yield
    for target in RULES.keys() - rules:
        del RULES[target]
    for module_type in USER_LAYERS.keys() - layers:
        del USER_LAYERS[module_type]


@pytest.mark.usefixtures("registered")
def test_examples_hold() -> None:
    """The README's Python examples, run top to bottom as one session, print what they say."""
    examples = "\n".join(block for block in fenced("python") if ">>>" in block)
    test = doctest.DocTestParser().get_doctest(examples, {}, "README.md", "README.md", 0)
    assert len(test.examples) > 5
    told: list[str] = []
    assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=told.append).failed == 0, "".join(told)


def test_commands_print_what_they_are_shown_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The README's sessions at a shell, run top to bottom in one folder, print what stands below each command."""
    monkeypatch.chdir(tmp_path)
    (budgets,) = fenced("toml")
    (tmp_path / "costmodel.toml").write_text(budgets)
    sessions = "".join(fenced("console"))
    shown = re.findall(r"^\$ costmodel (.*)\n((?:(?!\$ ).*\n)*)", sessions, re.MULTILINE)
    assert sessions.count("$ ") == len(shown) >= 3
    for command, output in shown:
        with pytest.raises(SystemExit) as left:
            main(shlex.split(command))
        told = capsys.readouterr()
        assert left.value.code == 0, told.err
        assert told.out.strip("\n") == output.strip("\n"), command


IN_TABLE = {
    "by hand": "", "costmodel": "", "fvcore": "fvcore", "FlopCounterMode": "FlopCounterMode", "ptflops": "ptflops",
    "its aten backend": "ptflops-aten", "thop": "thop", "ultralytics-thop": "ultralytics-thop",
    "torchinfo": "torchinfo", "TorchLens": "",
}  # fmt: skip
"""The columns of the table of counters, and whose convention each is of, if it is known."""


def test_what_counters_say_is_what_they_say() -> None:
    """The table's figures are those of this counter, and of every tool whose convention is known."""
    ((head, table),) = re.findall(r"^\| MACs of (.*)\n\|.*\n((?:\|.*\n)+)", README, re.MULTILINE)
    columns = [re.sub(r"\[(.*)\].*", r"\1", cell.strip()) for cell in head.split("|")[1:-1]]
    assert columns == list(IN_TABLE)
    rows = [[cell.strip().replace(",", "") for cell in line.split("|")[2:-1]] for line in table.splitlines()]
    for row, (make, shape, macs) in zip(rows, CASES.values(), strict=True):
        model = make()
        p = costmodel.profile(model, shape, mode="train" if model.training else "eval")
        assert row[:2] == [str(macs), str(p.macs)]
        for cell, tool in zip(row, IN_TABLE.values(), strict=True):
            assert not tool or cell.removesuffix(" / 2") == str(p.counted_as(tool).total), tool


@pytest.mark.parametrize("name", ["main", "test"])
def test_a_command_is_complete_by_itself(name: str) -> None:
    """Each of the two commands is marked once, is one line, and makes the environment that it uses."""
    (block,) = re.findall(rf"^<!-- command: {name} -->\n```bash\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert block.count("\n") == 1
    assert block.startswith("python3 -m venv .venv && .venv/bin/pip install ")


def test_ci_reads_the_commands_from_the_readme() -> None:
    """.ci/run finds both commands where the README has them, and holds no copy of its own."""
    script = (ROOT / ".ci/run").read_text()
    function = script[script.index("readme_command()") : script.index("\nstep()")]
    for name in ("main", "test"):
        found = subprocess.check_output(["bash", "-c", f"{function}\nreadme_command {name}"], cwd=ROOT, text=True)
        assert found in fenced("bash")
    assert ".venv/bin" not in script


def test_linked_files_exist() -> None:
    """Every relative link of the README leads to a file."""
    found = re.findall(r"\]\(([^)]+)\)|\bsrc(?:set)?=\"([^\"]+)\"", README)
    links = [(link or source).split("#")[0] for link, source in found if "://" not in link]
    assert links
    assert [link for link in links if link and not (ROOT / link).exists()] == []
