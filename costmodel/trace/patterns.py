"""How ops are answered, and remembered: on tensors of the same shapes an op returns the same shapes again.

A rule is asked once for each pattern of arguments. Networks repeat themselves, within a forward and from one to the
next, so nearly every op of a second profile is answered without binding its arguments by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import torch
from torch._ops import OpOverload

from costmodel.graph import Arguments, OpCall
from costmodel.ops import RULES
from costmodel.ops.defaults import default_float
from costmodel.trace.forms import Form

if TYPE_CHECKING:
    from costmodel.trace.recorder import Recorder


@dataclass(slots=True, eq=False)
class Dispatch:
    """One call of an op, as torch dispatched it."""

    func: OpOverload
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    given: list[Any]
    """``args`` with records in the place of tensors."""
    named: Mapping[str, Any]
    """``kwargs``, likewise."""
    key: tuple[Any, ...]
    """All that the answer depends on, of the call: the op and its arguments, with forms in the place of tensors."""


Asked: TypeAlias = tuple[OpOverload, Sequence[Any], Mapping[str, Any], list[Any], Mapping[str, Any]]
"""A ``Dispatch`` in a hurry, without its key."""

Bind: TypeAlias = Callable[[Sequence[Any], Mapping[str, Any]], Arguments]
"""An op's arguments by name, from what was given by position and by keyword."""


@dataclass(slots=True, eq=False)
class Pattern(ABC):
    """What all calls with the same key have in common."""

    op: str
    bind: Bind
    first: OpCall | None = field(init=False, default=None)
    """One of them, once somebody asked for it: the others do the same work."""
    inplace: ClassVar[bool] = False

    @abstractmethod
    def answer(self, recorder: Recorder, asked: Asked) -> Any:
        """What the op returns; the call is written down."""


@dataclass(slots=True, eq=False)
class Makes(Pattern):
    """An op that returns one new tensor."""

    temporaries: tuple[Form, ...]
    """What is allocated on the way, and freed before the op returns."""
    result: Form
    rest: tuple[Form, ...] = ()
    """Further outputs, which nobody receives: the op is what another came down to."""
    allocates_rest: bool = True

    def answer(self, recorder: Recorder, asked: Asked) -> Any:
        """A new tensor."""
        _, _, _, given, named = asked
        for form in self.temporaries:
            recorder.passing(form)
        result, spec = recorder.make(self.result)
        outputs = (spec, *recorder.unreceived(self.rest, self.allocates_rest)) if self.rest else (spec,)
        recorder.tape.noted.append((self, given, named, outputs, recorder.module))
        return result


@dataclass(slots=True, eq=False)
class MakesSeveral(Pattern):
    """An op that returns several new tensors."""

    temporaries: tuple[Form, ...]
    results: tuple[Form, ...]
    container: Callable[[list[torch.Tensor]], Any]

    def answer(self, recorder: Recorder, asked: Asked) -> Any:
        """New tensors, in a tuple or list."""
        _, _, _, given, named = asked
        for form in self.temporaries:
            recorder.passing(form)
        made = [recorder.make(form) for form in self.results]
        recorder.tape.noted.append((self, given, named, tuple([spec for _, spec in made]), recorder.module))
        return self.container([tensor for tensor, _ in made])


@dataclass(slots=True, eq=False)
class Writes(Pattern):
    """An op that writes into its first argument, which has no values."""

    temporaries: tuple[Form, ...] = ()
    inplace: ClassVar[bool] = True

    def answer(self, recorder: Recorder, asked: Asked) -> Any:
        """That argument."""
        _, args, _, given, named = asked
        for form in self.temporaries:
            recorder.passing(form)
        recorder.tape.noted.append((self, given, named, (given[0],), recorder.module))
        return args[0]


class WritesOnly(Writes):
    """One that returns nothing."""

    __slots__ = ()

    def answer(self, recorder: Recorder, asked: Asked) -> None:
        """Nothing."""
        super().answer(recorder, asked)


@dataclass(slots=True, eq=False)
class Views(Pattern):
    """A view: torch's own kernel, on whatever tensor it is; the result shares its storage."""

    def answer(self, recorder: Recorder, asked: Asked) -> Any:
        """What torch returns."""
        func, args, kwargs, given, named = asked
        result = func(*args, **kwargs)
        base = given[0]
        if result is args[0]:  # an in-place change of shape, or a view that changes nothing
            recorder.shares(result, base)
        recorder.tape.noted.append((self, given, named, recorder.adopt(result, base), recorder.module))
        return result


@dataclass(slots=True, eq=False)
class Passes(Pattern):
    """A call that does nothing, such as dropout in evaluation mode."""

    def answer(self, recorder: Recorder, asked: Asked) -> Any:
        """Its first argument. There is nothing to write down."""
        return asked[1][0]


class Patterns(dict[tuple[Any, ...], Pattern]):
    """The patterns met so far, by key, as long as the rules stay as they are; at most so many."""

    most = 1 << 14

    def __init__(self) -> None:
        self.changes = RULES.changes

    def remember(self, call: Dispatch, pattern: Pattern) -> None:
        """Lets the pattern answer all calls like this one, unless it has an argument that cannot be looked up."""
        if len(self) >= self.most:
            self.clear()
        with suppress(TypeError):
            self[call.key] = pattern


_patterns: dict[tuple[str, str], Patterns] = {}
"""By what answers depend on besides the call: the default dtype, and the type of device that the model lies on."""


def patterns(home: str) -> Patterns:
    """The patterns that hold now: new ones where rules came, went or were replaced since."""
    state = default_float(), home
    known = _patterns.get(state)
    if known is None or known.changes != RULES.changes:
        known = _patterns[state] = Patterns()
    return known
