"""Models that a factory makes, in a file or a module of the user's. Both run that code."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from costmodel.errors import LoadError
from costmodel.load.building import Context, as_load_error, call_factory, importable, summary
from costmodel.load.spec import Spec, hint, how_to_name


def from_file(spec: Spec, text: str, _: Context) -> Any:
    """``path/to/file.py:factory``: the file may import what lies beside it."""
    path = Path(spec.where).expanduser().resolve()
    if not path.is_file():
        raise LoadError(f"{text!r}: there is no file {path}")
    name = f"_costmodel_loaded_{path.stem}_{abs(hash(str(path))):x}"
    source = importlib.util.spec_from_file_location(name, path)
    assert source is not None
    assert source.loader is not None  # the name ends in .py
    module = importlib.util.module_from_spec(source)
    sys.modules[name] = module  # dataclasses and pickles look their module up
    with as_load_error(text), importable(path.parent):
        source.loader.exec_module(module)
    return call_factory(_attribute(module, spec, text), spec, text)


def from_module(spec: Spec, text: str, _: Context) -> Any:
    """``package.module:factory``."""
    with importable(Path.cwd()):
        try:
            module = importlib.import_module(spec.where)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{spec.where}.".startswith(f"{error.name}."):
                raise LoadError(f"{text!r}: importing {spec.where} failed: {error}") from error
            close = hint(spec.where, ("torchvision", "timm", "hf"), suffix=":") or f". {how_to_name()}"
            raise LoadError(f"{text!r}: no module is called {spec.where!r}{close}") from error
        except Exception as error:
            raise LoadError(f"{text!r}: importing {spec.where} failed: {summary(error)}") from error
    return call_factory(_attribute(module, spec, text), spec, text)


def _attribute(module: Any, spec: Spec, text: str) -> Any:
    if not hasattr(module, spec.name):
        names = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise LoadError(f"{text!r}: {spec.where} has no {spec.name!r}{hint(spec.name, names)}")
    return getattr(module, spec.name)
