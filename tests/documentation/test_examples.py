"""Every example of the README and of docs/ runs, and prints what the page says.

A page is one session from top to bottom, in a folder of its own: Python as doctest, commands by what they print.
A comment above a block says what else it is: `<!-- file: net.py -->` a file (`test_*.py` runs under pytest),
`<!-- not run: reason -->` not to be run.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from costmodel.layers import USER_LAYERS
from costmodel.measures import MEASURES, unregister_measure
from costmodel.ops import RULES
from tests.documentation.pages import PAGES, ROOT, Block, blocks
from tests.documentation.session import Python, commands, in_folder, is_as_shown, printed, rewritten

SHOWN = {"python", "console", "bash", "toml", "text", "yaml", "latex", ""}
"""The languages of blocks; one that is not here would not be looked at."""


@pytest.fixture
def registered() -> Iterator[None]:
    """What an example registers, other tests do not see."""
    rules, layers, measures = set(RULES), set(USER_LAYERS), set(MEASURES)
    yield
    for target in RULES.keys() - rules:
        del RULES[target]
    for module_type in USER_LAYERS.keys() - layers:
        del USER_LAYERS[module_type]
    for name in set(MEASURES) - measures:
        unregister_measure(name)


def run_python(block: Block, python: Python, where: str) -> None:
    """Run a block as doctest, in the session of its page."""
    python.examples(block, where)
    assert not python.told, "".join(python.told)


def run_tests(file: Path) -> None:
    """Run a file of tests, in its folder, as a reader would."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", file.name]
    done = subprocess.run(command, cwd=file.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def run_console(block: Block) -> None:
    """Run a block's commands, and hold what they print to what stands below each."""
    for command, shown in commands(block.code):
        out, err, status = printed(command)
        assert is_as_shown(shown, out), f"costmodel {command}\n{out}\n{err}"
        assert status == 0 or "✗" in shown, err


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_examples_print_what_they_are_shown_to(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page's examples, run top to bottom in one folder, print what they say."""
    monkeypatch.delenv("COLUMNS", raising=False)  # without a terminal, tables of sentences are as wide
    with in_folder(tmp_path):
        run_page(page, tmp_path)


def run_page(page: Path, folder: Path) -> None:
    """Run a page's blocks, top to bottom."""
    python = Python()
    for block in blocks(page.read_text()):
        where = f"{page.name}:{block.line}"
        assert block.language in SHOWN, where
        if block.mark == "file":
            (folder / block.argument).write_text(block.code)
            if block.argument.startswith("test_"):
                run_tests(folder / block.argument)
        elif block.mark == "not run":
            assert block.argument, where
        elif block.language == "python":
            assert ">>> " in block.code, f"{where}: neither a doctest, nor a file, nor marked as not run"
            run_python(block, python, where)
        elif block.language == "console":
            run_console(block)


def test_every_kind_of_block_is_run() -> None:
    """The pages have examples of each kind that is run, so that none of them is overlooked."""
    found = [block for page in PAGES for block in blocks(page.read_text())]
    for language in ("python", "console"):
        assert sum(block.language == language and not block.mark for block in found) >= 3
    assert any(block.mark == "file" for block in found)


def test_an_example_that_says_another_thing_is_a_failure(tmp_path: Path) -> None:
    """No kind of example passes when its output is another, or when it lacks an import."""
    with pytest.raises(AssertionError, match="Expected:"):
        run_python(Block("python", ">>> 1 + 1\n3\n", 1), Python(), "page:1")
    with pytest.raises(AssertionError, match="models --json"):
        run_console(Block("console", "$ costmodel models --json\nnothing\n", 1))
    with pytest.raises(AssertionError, match="not costmodel's"):
        run_console(Block("console", "$ costmodel models\n$ ls\n", 1))
    (tmp_path / "test_it.py").write_text("def test_it():\n    costmodel.profile\n")
    with pytest.raises(AssertionError, match="name 'costmodel' is not defined"):
        run_tests(tmp_path / "test_it.py")


FILE_AND_EXAMPLE = """\
<!-- file: numbers_of_the_page.py -->
```python
SEVEN = 7
```

```python
>>> from numbers_of_the_page import SEVEN
>>> SEVEN
8
>>> missing
9
```
"""


def test_a_page_is_rewritten_with_what_its_examples_print(tmp_path: Path) -> None:
    """Examples import the page's files; one with an error stays as it is, and is known to have failed."""
    python = Python()
    with in_folder(tmp_path):
        text = rewritten(FILE_AND_EXAMPLE, python)
    assert text == FILE_AND_EXAMPLE.replace("SEVEN\n8", "SEVEN\n7")
    assert [example.source for example in python.raised] == ["missing\n"]
    assert "numbers_of_the_page" not in sys.modules


def test_a_line_of_dots_stands_for_any_lines() -> None:
    """Lines that a page leaves out may be any, those that it shows may not."""
    assert is_as_shown("a\n...\nd\n", "a\nb\nc\nd")
    assert is_as_shown("a\n...\n", "a\nb")
    assert not is_as_shown("a\n...\nd\n", "a\nb\nc")
    assert not is_as_shown("a\n", "a\nb")
