"""What is loaded when it is first used.

Among it are names that a module shows and a file above it defines, which the module may not import.
``costmodel.formulas.compare`` is one: its result is a report, and a formula knows nothing of reports. Whoever knows
both provides the name here, and it is loaded when it is first used.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_LOADERS: dict[tuple[str, str], Callable[[], Any]] = {}


def provide(module: str, name: str, load: Callable[[], Any]) -> None:
    """From now on the module's ``name`` is what ``load`` returns."""
    _LOADERS[module, name] = load


def provided(module: str, name: str) -> Any:
    """What a module's ``__getattr__`` returns: ``AttributeError`` where nothing was provided.

    >>> provide("zoo", "lion", lambda: "roar")
    >>> provided("zoo", "lion")
    'roar'
    >>> provided("zoo", "lyon")
    Traceback (most recent call last):
    AttributeError: module 'zoo' has no attribute 'lyon'
    """
    if (module, name) not in _LOADERS:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    return _LOADERS[module, name]()


@contextmanager
def uncollected() -> Iterator[None]:
    """No pass of the garbage collector while files are imported, and none right afterwards for what they made.

    That stays: a pass through all that torch made, 100 ms, would find nothing.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            make_old()
            gc.enable()


def make_old() -> None:
    """Makes all objects old. Nothing is collected."""
    if gc.get_freeze_count():
        gc.collect(1)  # the user's frozen objects must stay frozen
    else:
        gc.freeze()
        gc.unfreeze()
