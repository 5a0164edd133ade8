"""The README's commands are the ones that CI runs, and links lead to files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.documentation.pages import PAGES, ROOT, Block, anchors, blocks, links

README = (ROOT / "README.md").read_text()


def command(name: str) -> Block:
    """The README's command of this name."""
    (found,) = (block for block in blocks(README) if (block.mark, block.argument) == ("command", name))
    return found


@pytest.mark.parametrize("name", ["main", "test"])
def test_a_command_is_complete_by_itself(name: str) -> None:
    """Each of the two commands is marked once, is one line, and makes the environment that it uses."""
    assert command(name).code.count("\n") == 1
    assert command(name).code.startswith("python3 -m venv .venv && .venv/bin/pip install ")


def test_ci_reads_the_commands_from_the_readme() -> None:
    """.ci/run finds both commands where the README has them, and holds no copy of its own."""
    script = (ROOT / ".ci/run").read_text()
    function = script[script.index("readme_command()") : script.index("\nstep()")]
    for name in ("main", "test"):
        found = subprocess.check_output(["bash", "-c", f"{function}\nreadme_command {name}"], cwd=ROOT, text=True)
        assert found == command(name).code
    assert ".venv/bin" not in script


def dead(page: Path) -> list[str]:
    """The relative links of a page in the repository that lead to no file, or to no heading of one."""
    found = []
    for link in links(page.read_text()):
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        if "://" not in link and not (
            target.exists() and (not anchor or target.suffix != ".md" or anchor in anchors(target.read_text()))
        ):
            found.append(link)
    return found


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"], ids=lambda page: str(page.relative_to(ROOT))
)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    """In a checkout, every relative link of a page leads to a file, and to a heading of it where it names one."""
    assert dead(page) == []


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    """A file that is not there is found, and a heading that is not; neither in code."""
    (tmp_path / "other.md").write_text("# A title: `with` code\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](other.md#a-title-with-code) [b](other.md#no) [c](gone.md) `[d](gone.md)` [e](https://gone.org)\n"
    )
    assert dead(page) == ["other.md#no", "gone.md"]
