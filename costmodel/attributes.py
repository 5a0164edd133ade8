"""Reads attributes of the user's objects, whose classes may raise anything when they are asked."""

from __future__ import annotations

from typing import Any


def attribute_of(value: Any, name: str, default: Any = None) -> Any:
    """An attribute, or the default where there is none or asking for it raises.

    Stand-ins for packages that are not installed raise ``ImportError``, whatever they are asked for.
    """
    try:
        return getattr(value, name, default)
    except Exception:
        return default
