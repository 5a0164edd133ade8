"""The command that says where a figure comes from: ``explain``."""

from __future__ import annotations

from collections.abc import Callable

COMMANDS: tuple[Callable[..., None], ...] = ()
