"""The errors that a caller can cause. A message says what happened, where, with which shapes, and what to do."""

from __future__ import annotations

from importlib import import_module


class CostModelError(Exception):
    """The base class of the library's errors."""


class ForwardError(CostModelError):
    """The model's forward failed during the trace; the message names the layer and the shapes."""


class UnknownOpError(CostModelError):
    """An op without a rule ran, or a figure is a lower bound, with ``strict=True``."""


class NeedsValuesError(CostModelError):
    """The model reads a tensor's value, and tensors have none (``execution="meta"``)."""


class InputError(CostModelError, ValueError):
    """An argument is invalid, or the inputs do not fit the model."""


class SignatureError(InputError, TypeError):
    """A function has no argument of that name, or lacks one that it needs."""


class NotPolynomialError(CostModelError):
    """A cost is no polynomial of a size; the message gives two sizes that show it."""

    quantities: tuple[str, ...] = ()
    """The totals that are none, where that is known."""


class LoadError(CostModelError):
    """The model that a spec string names cannot be built."""


class ConvertError(CostModelError):
    """A saved profile cannot be read, or a result cannot be written in the requested format."""


def not_installed(package: str, *, what: str, extra: str) -> CostModelError:
    """The error where a package of one of our extras is missing.

    ``pip install`` of the package works in any environment. How an extra is installed depends on how costmodel
    was: from a checkout (``-e '.[extra]'``) or from an index (``'torch-costmodel[extra]'``).
    """
    remedy = f"pip install {package} (the extra {extra!r} of costmodel has it)"
    return CostModelError(f"{what} needs {package}, which is not installed: {remedy}")


def require_torch(what: str) -> None:
    """Imports torch for what needs it; ``CostModelError`` where it is not installed."""
    try:
        import_module("torch")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise  # torch's own
        raise CostModelError(
            f"{what} needs torch, which is not installed: pip install torch. Closed forms (costmodel.formulas, "
            "costmodel.models.closed_form) and all that reads, shows and compares saved profiles work without."
        ) from error
