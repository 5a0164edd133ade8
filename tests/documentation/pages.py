"""What stands on a page of documentation, the README included: code blocks in their order, and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
"""Every page whose examples are run."""

_BLOCK = re.compile(r"(?:^<!-- ([\w ]+): ([^\n]*) -->\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of code."""

    language: str
    code: str
    line: int
    """Where its code begins."""
    mark: str = ""
    """What the comment above it says it is: `file`, `not run`, `command`."""
    argument: str = ""
    """What follows in that comment: the file's name, the reason, the command's name."""


def blocks(page: str) -> Iterator[Block]:
    """A page's code blocks, top to bottom."""
    for found in _BLOCK.finditer(page):
        mark, argument, language, code = found.groups(default="")
        yield Block(language, code, page.count("\n", 0, found.start(4)) + 1, mark, argument)


def links(page: str) -> list[str]:
    """Where a page's links and pictures lead, code apart."""
    text = re.sub(r"`[^`\n]*`", "", _BLOCK.sub("", page))
    found = re.findall(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)|\b(?:src|srcset|href)=\"([^\"]+)\"", text, re.MULTILINE)
    return [next(filter(None, link)) for link in found]


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", _BLOCK.sub("", page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
