"""What a step of a random network may look at while it draws its sizes."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from torch import Tensor


@dataclass
class Draft:
    """What a step may look at while it draws its sizes."""

    rng: random.Random
    index: int
    x: Tensor
    saved: list[str]
    """Names that hold an earlier ``x``."""
    known: list[str]
    """Names of the modules of earlier steps."""
    modules: dict[str, str] = field(default_factory=dict)
    """Names of this step's modules, and the expressions that build them."""

    def module(self, build: str) -> str:
        """Registers a module; returns the expression that names it."""
        name = f"m{self.index}" + ("" if not self.modules else "abcdef"[len(self.modules) - 1])
        self.modules[name] = build
        return f"self.{name}"

    def one_of(self, *texts: str) -> str:
        """One of several texts."""
        return self.rng.choice(texts)

    @property
    def axes(self) -> int:
        """Axes behind batch and channels."""
        return self.x.dim() - 2

    @property
    def channels(self) -> int:
        """Elements along dimension 1."""
        return self.x.shape[1]


Maker: TypeAlias = Callable[[Draft], "str | None"]
"""Draws a step: its source, or nothing where ``x`` does not fit."""
