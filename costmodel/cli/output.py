"""What ``profile`` and ``compare`` write besides a table for the terminal: one format for scripts, and files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from costmodel.cli import console
from costmodel.errors import InputError
from costmodel.files import as_path

if TYPE_CHECKING:
    from costmodel.rendering import Report


def wrote_format(
    result: Report, *, json: bool, csv: bool, markdown: bool, to_markdown: Callable[[], str] | None = None
) -> bool:
    """Writes the format that was asked for to standard output; returns whether one was."""
    writers = ((json, result.to_json), (csv, result.to_csv), (markdown, to_markdown or result.to_markdown))
    wanted = [write for asked, write in writers if asked]
    if len(wanted) > 1:
        raise InputError(
            "only one of --json, --csv and --markdown can go to standard output; --save takes any number of files"
        )
    for write in wanted:
        console.write(write())
    return bool(wanted)


def save_all(result: Report, paths: Iterable[Path] | None) -> None:
    """Writes the files that were asked for, and says so."""
    for path in paths or ():
        with saying(path), console.doing(f"writing {path}"):
            result.save(path)


@contextmanager
def saying(path: Path) -> Iterator[None]:
    """Says that the block wrote a file, and whether it made the folder."""
    is_new = not as_path(path).parent.exists()
    yield
    console.print_status(f"wrote {as_path(path)}{' in a new folder' if is_new else ''}")
