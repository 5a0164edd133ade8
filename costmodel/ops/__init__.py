"""The rules: outputs, work, traffic, temporaries and access map of each aten op, one file per family.

A family's file is imported when one of its ops is first met (``costmodel.ops.registry``); ``find`` looks an op up.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from costmodel.ops.composite import COMPOSITES, Composite
from costmodel.ops.registry import Registry
from costmodel.ops.rule import KINDS, RULES, Rule, Torch, example, find, find_sparse, register, rule_of


def _import_file(name: str) -> ModuleType:
    return import_module(f"costmodel.ops.{name}")


Registry.import_file = staticmethod(_import_file)

__all__ = [
    "COMPOSITES",
    "KINDS",
    "RULES",
    "Composite",
    "Rule",
    "Torch",
    "example",
    "find",
    "find_sparse",
    "register",
    "rule_of",
]
