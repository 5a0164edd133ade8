"""Writes ``docs/conventions.md`` from the conventions: ``python -m tests.conventions.page``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import costmodel
from costmodel.conventions import Tool

PAGE = Path(__file__).parents[2] / "docs" / "conventions.md"
_KEPT = "<!-- made by tests/conventions/page.py from here on -->\n"
"""What is above this line is written by hand."""


def made() -> str:
    """The part of the page that is made: a section for each tool."""
    return "\n".join(line for tool in costmodel.TOOLS.values() for line in _section(tool))


def _section(tool: Tool) -> Iterator[str]:
    yield f"\n## {tool.name}\n"
    per_mac = "1 per multiply-accumulate" if tool.unit == "MACs" else "2 per multiply-accumulate"
    version = "the installed version" if tool.package == "torch" else f"version {tool.version}"
    params = "It also gives a number of parameters." if tool.params else "It gives no number of parameters."
    yield f"`{tool.package}`, {version}. Unit: {tool.unit} ({per_mac}), which it calls {tool.calls_it}. {params}"
    if tool.mode:
        yield f"It runs every model in {tool.mode} mode."
    yield ""
    yield from ("| counted | how much |", "| --- | --- |")
    for why, names in _by_reason(tool).items():
        fault, _, rest = why.partition("fault: ")
        text = f"**fault**: {rest}" if not fault and rest else why
        yield f"| {_listed(names)} | {text} |"
    yield ""
    anything = tool.not_counted("any other op").replace("fault: ", "")
    yield from (f"- {remark}" for remark in (*tool.remarks, f"{anything[0].upper()}{anything[1:]}."))


def _by_reason(tool: Tool) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for entries in (tool.modules, tool.functions, tool.ops):
        for name, entry in entries.items():
            found.setdefault(entry.why, []).append(_short(name))
    return found


def _short(name: str) -> str:
    """A class of torch's, or a function, as it is written in a model."""
    if name.startswith("torch.nn.modules."):
        return f"nn.{name.rpartition('.')[2]}"
    return name.replace("torch.nn.functional.", "F.")


def _listed(names: Iterable[str]) -> str:
    """In order; what there is of one, two and three dimensions is written once, with an N."""
    names = set(names)
    for name in sorted(names):
        each = {re.sub(r"\dd$", f"{n}d", name) for n in (1, 2, 3)}
        if len(each) == 3 and each <= names:
            names = (names - each) | {re.sub(r"\dd$", "Nd", name)}
    return ", ".join(name if " " in name else f"`{name}`" for name in sorted(names))


def page() -> str:
    """The whole page."""
    by_hand, _, _ = PAGE.read_text().partition(_KEPT)
    return f"{by_hand}{_KEPT}{made()}\n"


if __name__ == "__main__":
    PAGE.write_text(page())
