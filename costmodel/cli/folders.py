"""Folders of saved profiles and training steps, which ``check`` writes and ``diff`` compares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from costmodel.cli import console
from costmodel.errors import InputError

if TYPE_CHECKING:
    from costmodel.budgets.verdict import Verdict
    from costmodel.difference import Side


def save_costs(folder: Path, found: Mapping[str, Verdict], budgets: Collection[str] | None = None) -> None:
    """Writes the profile of each model into a folder, and its training step, where a bound is on one, beside it.

    What an earlier check left of the same models is removed; where ``budgets`` are all that a file has, so is what it
    left of others.
    """
    sides: dict[str, Side] = {}
    for name, checked in found.items():
        sides[name] = checked.profile
        if checked.step is not None:
            sides[_step_of(name)] = checked.step
    before = _saved_in(folder)
    gone = {name for name in before if name not in sides and _is_gone(name, found, budgets)}
    files = _file_names([*sides, *(name for name in before if name not in gone)])
    written = {name.casefold() for name in sides}
    for name, path in before.items():
        if name in gone:
            path.unlink()
            console.print_status(f"removed {path}")
        elif name.casefold() in written and path.name != files[name]:
            path.replace(folder / files[name])
    for name, side in sides.items():
        side.save(folder / files[name])


def _step_of(name: str) -> str:
    return f"{name} (training step)"


def _is_gone(name: str, found: Collection[str], budgets: Collection[str] | None) -> bool:
    """Whether what is not saved now is a step of a model that was checked, or of none of the budgets."""
    of_checked = name in map(_step_of, found)
    return of_checked or (budgets is not None and name not in {*budgets, *map(_step_of, budgets)})


def _saved_in(folder: Path) -> dict[str, Path]:
    """The files in a folder that hold saved costs, by the names of these."""
    return {unquote(path.stem): path for path in sorted(folder.glob("*.json")) if _holds_costs(path)}


def _holds_costs(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8") as file:
            start = file.read(200)
    except (OSError, ValueError):
        return False
    return any(f'"costmodel-{kind}"' in start for kind in ("profile", "training-step"))


def _file_names(names: Collection[str]) -> dict[str, str]:
    """A file's name for each: names that differ in capitals alone have none, as some file systems take both for one.

    >>> _file_names(["a/b", "Net", "net"])
    {'a/b': 'a%2Fb.json', 'Net': '%4Eet.json', 'net': 'net.json'}
    """
    alike = Counter(quote(name).casefold() for name in dict.fromkeys(names))
    found = {}
    for name in names:
        escaped = [f"%{ord(c):02X}" if "A" <= c <= "Z" else quote(c, safe=" ()[],=+@") for c in name]
        plain = quote(name, safe=" ()[],=+@")
        found[name] = f"{plain if alike[quote(name).casefold()] == 1 else ''.join(escaped)}.json"
    return found


def read_costs(folder: Path) -> dict[str, Side]:
    """The profiles and training steps in a folder, each by its file's name. Raises ``InputError`` for no folder."""
    from costmodel import saved

    if not folder.is_dir():
        raise InputError(f"{folder} is no folder: give two folders of saved profiles, or two models")
    with console.doing(f"reading {folder}"):
        return {
            unquote(path.stem): saved.read_costs(path)
            for path in sorted(folder.glob("*.json"), key=lambda path: path.stem)
        }
