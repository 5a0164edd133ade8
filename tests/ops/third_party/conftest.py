"""Stand-ins for libraries that need a GPU: their names and signatures around plain torch, which no trace looks into."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import torch

from costmodel.declared import DECLARED
from costmodel.ops import third_party
from costmodel.ops.rule import RULES
from costmodel.ops.third_party import FILES
from tests.ops.third_party._plain import StandIn


@pytest.fixture(scope="module", autouse=True)
def tables() -> Iterator[None]:
    """What these tests register is gone after them."""
    declared, rules, loaded = dict(DECLARED), set(RULES), set(third_party._loaded)
    yield
    DECLARED.clear()
    DECLARED.update(declared)
    for target in set(RULES) - rules:
        del RULES[target]
    for name in set(FILES.values()) - loaded:
        sys.modules.pop(f"{third_party.__name__}.{name}", None)
    third_party._loaded.intersection_update(loaded)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Makes ``module.name`` an autograd function with the given forward, and every package above a module."""

    def make(module: str, name: str, forward: Callable[..., Any]) -> Any:
        parts = module.split(".")
        for n in range(1, len(parts) + 1):
            path = ".".join(parts[:n])
            if path not in sys.modules:
                monkeypatch.setitem(sys.modules, path, ModuleType(path))
        made = type(name, (torch.autograd.Function,), {"forward": staticmethod(forward), "__module__": module})
        setattr(sys.modules[module], name, made)
        return made

    return make
