"""The cost of one call of an ``nn.Module`` in closed form: from its hyper-parameters and its inputs' shapes alone.

Nothing here uses an aten op: what the layer really ran is the other derivation. A file of layers is imported when one
of its classes is first met, and needs no torch: ``capture.py`` reads modules, and is imported by whoever has some.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from costmodel import late
from costmodel.layers import registry
from costmodel.layers.registry import USER_LAYERS, cost_of

if TYPE_CHECKING:
    from costmodel.layers.registry import LAYERS

__all__ = ["LAYERS", "USER_LAYERS", "cost_of"]


def _import_file(name: str) -> ModuleType:
    return import_module(f"costmodel.layers.{name}")


late.provide("costmodel.layers.registry", "import_file", lambda: _import_file)


def __getattr__(name: str) -> Any:
    if name == "LAYERS":  # complete for whoever looks at all of them
        registry.import_all()
        return registry.LAYERS
    raise AttributeError(f"module 'costmodel.layers' has no attribute {name!r}")
