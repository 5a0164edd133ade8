"""Commands that look deeper: guidelines, roofline, notes."""

from __future__ import annotations

from collections.abc import Callable

COMMANDS: tuple[Callable[..., None], ...] = ()
