"""What the builders of all schemes share: how a factory is called, and how its errors are reported."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from traceback import walk_tb
from types import TracebackType
from typing import Any, TypeAlias

from costmodel.errors import LoadError
from costmodel.loading.spec import Spec

Context: TypeAlias = Callable[[], AbstractContextManager[object]]
"""Makes the context that a constructor runs in. Imports run outside of it, as the tensors that they make are kept."""


def call_factory(
    factory: Any, spec: Spec, text: str, defaults: Mapping[str, Any] | None = None, context: Context = nullcontext
) -> Any:
    """What the factory makes of the spec's arguments and the defaults; a module that is made already."""
    if not isinstance(factory, type) and is_model(factory):
        if spec.args or spec.kwargs:
            raise LoadError(f"{text!r}: {spec.name} is no factory, it takes no arguments")
        return factory  # the file made the model itself
    if not callable(factory):
        raise LoadError(f"{text!r}: {spec.name} is {type(factory).__name__}, neither a factory nor a torch.nn.Module")
    kwargs = {**(defaults or {}), **(spec.kwargs or {})}
    try:
        inspect.signature(factory).bind(*spec.args, **kwargs)
    except TypeError as error:
        raise LoadError(f"{text!r}: {error}; it is called as {spec.name}{inspect.signature(factory)}") from error
    except ValueError:
        pass  # a builtin without a signature
    with as_load_error(text), context():
        return factory(*spec.args, **kwargs)


def is_model(value: Any) -> bool:
    """Whether a value is a ``torch.nn.Module``."""
    from torch import nn

    return isinstance(value, nn.Module)


def package(module: str, package: str) -> Any:
    """A module of another library, which may not be installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if importlib.util.find_spec(package) is None:
            raise LoadError(f"{package} is not installed: pip install {package}") from error
        raise LoadError(f"{package} is installed and cannot be imported: {summary(error)}") from error
    except Exception as error:  # torchvision beside a torch that it was not built for raises RuntimeError
        raise LoadError(f"{package} is installed and cannot be imported: {summary(error)}") from error


def refuse_weights(spec: Spec, text: str) -> None:
    """Refuses arguments that ask for a download."""
    for name in ("weights", "weights_backbone", "pretrained", "pretrained_backbone"):
        if (spec.kwargs or {}).get(name):
            raise LoadError(f"{text!r}: weights are never downloaded, and costs do not depend on them; drop {name}=")


@contextmanager
def as_load_error(text: str) -> Iterator[None]:
    """Raises an error of the model's code as a ``LoadError`` of one line, and silences its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except (Exception, SystemExit) as error:  # a script without a main guard may call sys.exit
            raise LoadError(f"{text!r} cannot be built: {summary(error)}") from error


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Lets a user's file import the files beside it."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def summary(error: BaseException) -> str:
    """The error's type and the first line of its message, behind the import that it was raised from, if from one.

    A library that imports parts of it when they are asked for says which part; what failed is often another library.
    """
    root = error
    while root.__cause__ is not None:
        root = root.__cause__
    imported = "" if root is error else _imported(root.__traceback__)
    why = f"{imported} cannot be imported ({_first_line(root)}): " if imported else ""
    return f"{why}{_first_line(error)}"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    if not lines:
        return type(error).__name__
    # An op of torchvision's is missing where its kernels were built for another torch, such as one for CUDA.
    remedy = "; install torch and torchvision from one index" if "operator torchvision::" in lines[0] else ""
    return f"{type(error).__name__}: {lines[0]}{remedy}"


def _imported(traceback: TracebackType | None) -> str:
    """The package whose import an error ended, or nothing."""
    modules = [frame.f_globals for frame, _ in walk_tb(traceback) if frame.f_code.co_name == "<module>"]
    return str(modules[-1].get("__name__", "")).partition(".")[0] if modules else ""
