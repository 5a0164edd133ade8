"""Runs the examples of pages; as a program, writes below each what it prints today.

    python -m tests.documentation.session docs/profile.md

An example that raises an error it does not show stays as it is, and the program exits with status 1. A line `...` in
what a command shows stands for any lines, and `...` in what Python shows for any text.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from costmodel.cli import main
from tests.documentation.pages import Block, blocks


def commands(code: str) -> list[tuple[str, str]]:
    """The commands of a console block, each with what is shown below it."""
    shown = re.findall(r"^\$ costmodel ?(.*)\n((?:(?!\$ ).*\n)*)", code, re.MULTILINE)
    assert len(re.findall(r"^\$ ", code, re.MULTILINE)) == len(shown) > 0, f"a command that is not costmodel's:\n{code}"
    return shown


def printed(command: str) -> tuple[str, str, object]:
    """What a command of costmodel writes to standard output and to standard error, and its exit status."""
    out, err = io.StringIO(), io.StringIO()
    status: object = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(shlex.split(command))
        except SystemExit as left:
            status = left.code
    return out.getvalue().strip("\n"), err.getvalue(), status


def is_as_shown(shown: str, out: str) -> bool:
    """Whether a command printed what is shown."""
    parts = re.split(r"^\.\.\.\n", shown.strip("\n") + "\n", flags=re.MULTILINE)
    return re.fullmatch("(?:.*\n)*?".join(map(re.escape, parts)), out + "\n") is not None


class Python(doctest.DocTestRunner):
    """The Python session of a page. `told` has what failed, `got` what was printed instead, `raised` the errors."""

    def __init__(self) -> None:
        super().__init__(optionflags=doctest.ELLIPSIS)
        self.session: dict[str, Any] = {}
        self.told: list[str] = []
        self.got: dict[doctest.Example, str] = {}
        self.raised: list[doctest.Example] = []

    def examples(self, block: Block, where: str = "") -> list[doctest.Example]:
        """Run a block, and keep what it leaves for the next one. Gives its examples."""
        test = doctest.DocTestParser().get_doctest(block.code, self.session, where, where, block.line)
        self.run(test, out=self.told.append, clear_globs=False)
        self.session = test.globs
        return test.examples

    def report_failure(self, out: Any, test: doctest.DocTest, example: doctest.Example, got: str) -> None:
        """Note what an example printed that is not what it shows."""
        self.got[example] = got
        super().report_failure(out, test, example, got)

    def report_unexpected_exception(
        self, out: Any, test: doctest.DocTest, example: doctest.Example, error: Any
    ) -> None:
        """Note an example that raised an error that it does not show."""
        self.raised.append(example)
        super().report_unexpected_exception(out, test, example, error)


@contextlib.contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    """Runs a page's examples in a folder, from which they import the page's files."""
    known = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        with contextlib.chdir(folder):
            yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - known:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
                del sys.modules[name]


def rewritten(page: str, python: Python) -> str:
    """The page with what its examples print today; what is as shown stays, with its `...`."""
    for block in blocks(page):
        code = block.code
        if block.mark == "file":
            Path(block.argument).write_text(code)
        elif block.language == "console" and block.mark != "not run":
            for command, shown in commands(code):
                out, err, _ = printed(command)
                if not is_as_shown(shown, out):
                    code = code.replace(f"$ costmodel {command}\n{shown}", f"$ costmodel {command}\n{out}\n")
                    sys.stderr.write(f"costmodel {command}\n{err}")
        elif block.language == "python" and block.mark != "not run":
            lines = code.splitlines(keepends=True)
            for example in reversed(python.examples(block)):
                if example in python.got:
                    first = example.lineno + example.source.count("\n")
                    lines[first : first + example.want.count("\n")] = [python.got[example]]
            code = "".join(lines)
        page = page.replace(f"```{block.language}\n{block.code}```", f"```{block.language}\n{code}```")
    sys.stderr.write("".join(python.told))
    return page


if __name__ == "__main__":
    import tests.conftest  # noqa: F401 -- lets torchvision be imported, as in the tests

    os.environ.pop("COLUMNS", None)
    failed = False
    for path in [Path(name).resolve() for name in sys.argv[1:]]:
        python = Python()
        with tempfile.TemporaryDirectory() as folder, in_folder(Path(folder)):
            text = rewritten(path.read_text(), python)
        path.write_text(text)
        failed |= bool(python.raised)
    sys.exit(failed)
