"""Notes calls of Python functions, by the name under which they are called: as counters that replace them see them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from importlib import import_module
from threading import get_ident
from typing import Any

import torch

Note = Callable[[str, Callable[..., Any], Any, Any], Any]
"""Takes a function's name, the function and its arguments; calls it and returns what it returns."""


@contextmanager
def patched(names: Iterable[str], note: Note) -> Iterator[None]:
    """In this thread, calls of the functions with these names go to ``note``.

    >>> with patched(["torch.relu"], lambda name, f, args, kwargs: (name, f(*args, **kwargs))):
    ...     torch.relu(torch.ones(1)), torch.nn.functional.relu(torch.ones(1))
    (('torch.relu', tensor([1.])), ('torch.relu', tensor([1.])))
    """
    replaced: list[tuple[Any, str, Any, bool]] = []
    thread = get_ident()
    try:
        for name in names:
            owner, _, attribute = name.rpartition(".")
            holder = torch.Tensor if owner == "torch.Tensor" else import_module(owner)
            original = getattr(holder, attribute)
            replaced.append((holder, attribute, original, attribute in vars(holder)))
            setattr(holder, attribute, _noting(name, original, note, thread))
        yield
    finally:
        for holder, attribute, original, was_own in reversed(replaced):
            if was_own:
                setattr(holder, attribute, original)
            else:
                delattr(holder, attribute)  # torch.Tensor inherits its methods


def _noting(name: str, function: Callable[..., Any], note: Note, thread: int) -> Callable[..., Any]:
    @wraps(function, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        if get_ident() != thread:
            return function(*args, **kwargs)
        return note(name, function, args, kwargs)

    return call
