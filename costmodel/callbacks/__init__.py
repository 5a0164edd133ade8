"""Callbacks that log what a training costs: ``LightningCosts`` for Lightning, ``TransformersCosts`` for transformers.

Importing this imports neither of the two.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from costmodel.callbacks.lightning_costs import LightningCosts
    from costmodel.callbacks.transformers_costs import TransformersCosts

__all__ = ["LightningCosts", "TransformersCosts"]

_MODULES = {"LightningCosts": "lightning_costs", "TransformersCosts": "transformers_costs"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return value
