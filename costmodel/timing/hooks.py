"""Which module each call of a profile is, and hooks that time the calls of some modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from threading import get_ident
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from costmodel.graph import ModuleCall
from costmodel.timing.stopwatch import Stopwatch

Place = tuple[nn.Module, int]
"""A module, and which of its calls in one forward."""


@contextmanager
def calls_noted(order: list[nn.Module]) -> Iterator[None]:
    """Every module that this thread calls is added to ``order``, as it begins: those that no module holds, too."""
    thread = get_ident()

    def note(module: nn.Module, _: Any) -> None:
        if get_ident() == thread:
            order.append(module)

    handle = register_module_forward_pre_hook(note)
    try:
        yield
    finally:
        handle.remove()


def difference(order: Sequence[nn.Module], calls: Sequence[ModuleCall], model: nn.Module) -> str:
    """Where the modules that were called are others than a trace has; empty where they are the same."""
    named = dict(model.named_modules())
    for index, (module, call) in enumerate(zip(order, calls, strict=False)):
        # By name where it has one: the class of a copy may be another one, as of what torch.fx made.
        same = type(module).__name__ == call.type if call.owner is None else named.get(call.owner) is module
        if not same:
            where = f" ({call.name})" if call.name else ""
            return f"its call {index + 1} was of a {type(module).__name__}, and of a {call.type}{where} in the profile"
    if len(order) != len(calls):
        return f"it called {len(order):,} modules, and the profile has {len(calls):,} calls"
    return ""


def has_no_hooks(module: nn.Module) -> bool:
    """Whether a module refuses hooks, as those that torch.jit compiled do."""
    return isinstance(module, torch.jit.ScriptModule)


def places(order: Sequence[nn.Module], indices: Sequence[int]) -> list[Place]:
    """The calls of these indices, each as its module and which of that module's calls it is."""
    seen: dict[int, int] = {}
    nth = []
    for module in order:
        nth.append(seen.get(id(module), 0))
        seen[id(module)] = nth[-1] + 1
    return [(order[index], nth[index]) for index in indices]


class Marks:
    """Hooks around modules, each of which takes a mark; installed while the context lasts."""

    def __init__(self, at: Sequence[Place], stopwatch: Stopwatch) -> None:
        self._at, self._stopwatch = at, stopwatch
        self._taken: dict[int, tuple[list[Any], list[Any]]] = {}
        """The marks before and after the calls of each module, by its ``id()``."""

    def __enter__(self) -> Marks:
        self._taken = {}
        with ExitStack() as installed:
            for module, _ in self._at:
                if id(module) not in self._taken:
                    before, after = self._taken[id(module)] = [], []
                    # As in a trace: what the user's hooks run before a forward is the layer's, after it no longer.
                    hooks = (
                        module.register_forward_pre_hook(self._taker(before), prepend=True),
                        module.register_forward_hook(self._taker(after), prepend=True),
                    )
                    for hook in hooks:
                        installed.callback(hook.remove)
            self._installed = installed.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._installed.close()

    def _taker(self, taken: list[Any]) -> Callable[..., None]:
        """A hook. It does no more than this, as all that it does is part of what is measured."""
        add, mark = taken.append, self._stopwatch.mark

        def take(*_: Any) -> None:
            add(mark())

        return take

    def seconds(self) -> list[float] | None:
        """The seconds of each call; ``None`` where one has not ended, or there were fewer."""
        marks = [(*self._taken[id(module)], nth) for module, nth in self._at]
        if any(len(before) != len(after) or nth >= len(after) for before, after, nth in marks):
            return None
        return [self._stopwatch.seconds(before[nth], after[nth]) for before, after, nth in marks]
