"""Commands of costmodel that pages name and do not run exist, and take the options that they are given."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from costmodel.cli import app
from tests.documentation.pages import PAGES, ROOT, blocks


def misused(page: str) -> list[str]:
    """The commands in blocks of bash and in sentences that do not exist, or have an option that does not."""
    lines = [line for block in blocks(page) if block.language == "bash" for line in block.code.splitlines()]
    for block in blocks(page):
        page = page.replace(block.code, "")
    lines += re.findall(r"`(costmodel \w[^`]*)`", re.sub(r"\s+", " ", page))
    commands = typer.main.get_command(app).commands  # of the group
    found = []
    for line in lines:
        program, *words = shlex.split(line, comments=True)[:2] or [""]
        if program != "costmodel":
            continue
        options = {option.split("=")[0] for option in re.findall(r"(?<=\s)--?[a-z][a-z-]*", line)}
        name = words[0]
        known = {o for parameter in commands[name].params for o in parameter.opts} if name in commands else set()
        if not options <= known | {"--help", "-h", "--traceback"} or name not in commands:
            found.append(line)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_that_are_not_run_exist(page: Path) -> None:
    """A page names no command or option that costmodel has not."""
    assert misused(page.read_text()) == []


def test_a_command_that_does_not_exist_is_found() -> None:
    """A misspelt command is found, and a misspelt option, in a block and in a sentence."""
    page = "`costmodel profil x`, `costmodel profile x --depth 2`\n\n```bash\ncostmodel compare x --sav y.html\n```\n"
    assert misused(page) == ["costmodel compare x --sav y.html", "costmodel profil x"]
