"""Classes of torch's by name: closed forms are registered for them, and computed, without importing torch."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import nn as modules


class ClassName(NamedTuple):
    """A class of modules, and where it is found."""

    module: str
    name: str

    def is_class(self, module_type: type) -> bool:
        """Whether this names the class. Where torch has not imported the module, nothing is an instance of it."""
        return getattr(sys.modules.get(self.module), self.name, None) is module_type

    def load(self) -> type[modules.Module]:
        """The class, which ``AttributeError`` says that this release of torch lacks."""
        found: type[modules.Module] = getattr(import_module(self.module), self.name)
        return found


class Names:
    """A module of torch's, whose attributes are the names of its classes.

    >>> Names("torch.nn").Conv2d
    ClassName(module='torch.nn', name='Conv2d')
    """

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> ClassName:
        if name.startswith("_"):
            raise AttributeError(name)
        return ClassName(self._module, name)


nn = Names("torch.nn")
