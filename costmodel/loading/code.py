"""Models that a factory makes, and functions, in a file or a module of the user's. Both run that code."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from costmodel.errors import LoadError
from costmodel.files import as_path
from costmodel.loading.building import Context, as_load_error, call_factory, importable, summary
from costmodel.loading.spec import Spec, hint, how_to_name, parse


def from_file(spec: Spec, text: str, _: Context) -> Any:
    """``path/to/file.py:factory``: the file may import what lies beside it."""
    return call_factory(_in_file(spec, text), spec, text)


def from_module(spec: Spec, text: str, _: Context) -> Any:
    """``package.module:factory``."""
    return call_factory(_in_module(spec, text), spec, text)


def function(text: str) -> Callable[..., Any]:
    """The function that ``path/to/file.py:function`` or ``package.module:function`` names, or what a call of it makes.

    Raises ``LoadError`` for a text that names no function.
    """
    spec = parse(text)
    if spec.scheme not in ("file", "module"):
        raise LoadError(f"{text!r} names no function: write package.module:function or path/to/file.py:function")
    found = _in_file(spec, text) if spec.scheme == "file" else _in_module(spec, text)
    if "(" in text:
        found = call_factory(found, spec, text)
    if not callable(found):
        raise LoadError(f"{text!r} is {type(found).__name__}, not a function")
    return found  # type: ignore[no-any-return]  # what a file holds has no type


def _in_file(spec: Spec, text: str) -> Any:
    return _attribute(_run(spec.where, text), spec, text)


def import_code(text: str) -> None:
    """Imports a module, or runs a file that ends in .py, once, for what it registers."""
    if not text.endswith(".py"):
        _imported(text, text)
    elif _name_of(_path(text)) not in sys.modules:
        _run(text, text)


def _path(where: str) -> Path:
    return as_path(where).resolve()


def _name_of(path: Path) -> str:
    return f"_costmodel_loaded_{path.stem}_{abs(hash(str(path))):x}"


def _run(where: str, text: str) -> ModuleType:
    path = _path(where)
    if not path.is_file():
        raise LoadError(f"{text!r}: there is no file {path}")
    name = _name_of(path)
    source = importlib.util.spec_from_file_location(name, path)
    assert source is not None
    assert source.loader is not None  # the name ends in .py
    module = importlib.util.module_from_spec(source)
    sys.modules[name] = module  # dataclasses and pickles look their module up
    try:
        with as_load_error(text), importable(path.parent):
            source.loader.exec_module(module)
    except LoadError:
        del sys.modules[name]
        raise
    return module


def _in_module(spec: Spec, text: str) -> Any:
    return _attribute(_imported(spec.where, text), spec, text)


def _imported(where: str, text: str) -> ModuleType:
    with importable(Path.cwd()):
        try:
            return importlib.import_module(where)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{where}.".startswith(f"{error.name}."):
                raise LoadError(f"{text!r}: importing {where} failed: {error}") from error
            close = hint(where, ("torchvision", "timm", "hf"), suffix=":") or (
                "" if text == where else f". {how_to_name()}"
            )
            raise LoadError(f"{text!r}: no module is called {where!r}{close}") from error
        except (Exception, SystemExit) as error:
            raise LoadError(f"{text!r}: importing {where} failed: {summary(error)}") from error


def _attribute(module: Any, spec: Spec, text: str) -> Any:
    if not hasattr(module, spec.name):
        names = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise LoadError(f"{text!r}: {spec.where} has no {spec.name!r}{hint(spec.name, names)}")
    return getattr(module, spec.name)
