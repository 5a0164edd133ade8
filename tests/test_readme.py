"""The README is true: its examples run, and its commands are the ones that CI runs."""

from __future__ import annotations

import doctest
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def fenced(language: str) -> list[str]:
    """The README's code blocks in a language, top to bottom."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_examples_hold() -> None:
    """The README's Python examples, run top to bottom as one session, print what they say."""
    examples = "\n".join(block for block in fenced("python") if ">>>" in block)
    test = doctest.DocTestParser().get_doctest(examples, {}, "README.md", "README.md", 0)
    assert len(test.examples) > 5
    told: list[str] = []
    assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=told.append).failed == 0, "".join(told)


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
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if link and not (ROOT / link).exists()] == []
