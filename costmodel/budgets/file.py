"""The budget file: ``costmodel.toml``, with a table ``[budget.NAME]`` for each model."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from contextlib import chdir
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from costmodel.arguments import short
from costmodel.budgets.bounds import Bound, bounds_of
from costmodel.budgets.subject import Settings, Subject, examine
from costmodel.errors import CostModelError, InputError
from costmodel.files import as_path
from costmodel.inputs import is_shape, read_inputs
from costmodel.loading import import_code

Result = TypeVar("Result")

DEFAULT = "costmodel.toml"
"""The file that is read where none is named."""

EXAMPLE = '[budget.NAME] with model = "mobilenet_v2" and macs = "<= 320M"'
_SETTINGS = tuple(field.name for field in fields(Settings))
_KEYS = ("model", "input", *_SETTINGS)
_TEXTS = ("model", "mode", "dtype", "optimizer", "loss", "autocast", "device", "math")


@dataclass(frozen=True)
class Budget:
    """One table of the file."""

    name: str
    file: Path
    model: str
    inputs: Any
    settings: Settings
    bounds: tuple[Bound, ...]

    def examine(self, look: Callable[[Subject], Result], model: Any = None, inputs: Any = None) -> Result:
        """What a function finds in the model, or in another one in its place. Paths are those from the file's folder.

        An error names the budget.
        """
        with chdir(self.file.parent):
            try:
                model, inputs = self.model if model is None else model, self.inputs if inputs is None else inputs
                return examine(model, inputs, self.settings, look)
            except CostModelError as error:
                raise type(error)(f"{self.file.name}, [budget.{self.name}]: {error}") from error


def read_budgets(path: str | Path = DEFAULT) -> dict[str, Budget]:
    """The budgets of a file by name.

    Raises ``InputError`` that names the budget and the key, and says what to write.
    """
    path = as_path(path).absolute()
    try:
        found = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}. A budget file has {EXAMPLE}") from error
    except ValueError as error:  # no TOML, or no UTF-8
        raise InputError(f"{path} is no TOML file: {error}") from error
    if unknown := found.keys() - {"budget", "import"}:
        raise InputError(f"{path.name} has {', '.join(sorted(unknown))}: a budget file has {EXAMPLE}, and import")
    tables, code = found.get("budget"), found.get("import", [])
    if not isinstance(tables, dict) or not tables or not all(isinstance(table, dict) for table in tables.values()):
        raise InputError(f"{path.name} has no budget: write {EXAMPLE}")
    if not isinstance(code, list) or not all(isinstance(text, str) for text in code):
        raise InputError(f"{path.name}: import is a list of modules and .py files, as ['my_measures.py']")
    with chdir(path.parent):
        for text in code:
            try:
                import_code(text)
            except CostModelError as error:
                raise type(error)(f"{path.name}, import: {error}") from error
    budgets = {}
    for name, table in tables.items():
        try:
            budgets[name] = _budget(name, path, table)
        except InputError as error:
            raise InputError(f"{path.name}, [budget.{name}]: {error}") from error
    return budgets


def named(budgets: Mapping[str, Budget], name: str) -> Budget:
    """The budget of that name; raises ``InputError`` where the file has none."""
    __tracebackhide__ = True  # of the tests that name one
    if name not in budgets:
        file = next(iter(budgets.values())).file.name
        raise InputError(f"{file} has no budget {name!r}; it has {', '.join(budgets)}")
    return budgets[name]


def _budget(name: str, path: Path, table: Mapping[str, Any]) -> Budget:
    if "model" not in table:
        raise InputError('it has no model: add model = "mobilenet_v2"')
    for key in _TEXTS:
        if key in table and not isinstance(table[key], str):
            raise InputError(f"{key} = {short(table[key])}: must be a text")
    settings = Settings(**{key: table[key] for key in _SETTINGS if key in table})
    bounds = bounds_of({key: table[key] for key in table if key not in _KEYS}, settings, _KEYS)
    return Budget(name, path, table["model"], _inputs(table.get("input")), settings, bounds)


def _inputs(given: Any) -> Any:
    """One shape, as ``[1, 3, 224, 224]`` or ``"1,3,224,224"``, or a list of them."""
    if given is None:
        return None
    inputs = [given] if isinstance(given, str) or is_shape(given) else given
    if not isinstance(inputs, list) or not inputs or not all(isinstance(one, str) or is_shape(one) for one in inputs):
        raise InputError(f"input = {short(given)}: write [1, 3, 224, 224], or ['1,128:int64'], or a list of several")
    return read_inputs([one if isinstance(one, str) else ",".join(map(str, one)) for one in inputs])
