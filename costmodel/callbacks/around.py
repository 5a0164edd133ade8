"""Runs the calls of a trainer's method within something, for several callbacks at once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any


@contextmanager
def around(owner: Any, name: str, context: Callable[..., AbstractContextManager[Any]]) -> Iterator[None]:
    """In the block, each call of a method of ``owner`` runs in a context, which is made from its arguments.

    Blocks for the same method may end in any order. After the last, the owner is as it was, but for what others put in
    the place of the method meanwhile.
    """
    surrounded: _Surrounded = getattr(getattr(owner, name), "surrounded", None) or _Surrounded(owner, name)
    surrounded.contexts.append(context)
    try:
        yield
    finally:
        surrounded.contexts.remove(context)
        surrounded.restore()


class _Surrounded:
    """A method whose calls run in contexts."""

    def __init__(self, owner: Any, name: str) -> None:
        self.contexts: list[Callable[..., AbstractContextManager[Any]]] = []
        self._owner, self._name, self._own = owner, name, vars(owner).get(name)
        method = getattr(owner, name)

        @functools.wraps(method)
        def within(*args: Any, **kwargs: Any) -> Any:
            with ExitStack() as stack:
                for context in self.contexts:
                    stack.enter_context(context(*args, **kwargs))
                return method(*args, **kwargs)

        vars(within)["surrounded"] = self
        self._within = within
        setattr(owner, name, within)

    def restore(self) -> None:
        """Gives the owner its method back, after the last of the contexts."""
        if self.contexts or vars(self._owner).get(self._name) is not self._within:
            return
        if self._own is None:
            delattr(self._owner, self._name)
        else:
            setattr(self._owner, self._name, self._own)
