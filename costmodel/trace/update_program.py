"""What an optimizer does to one parameter, as ops on its registers: tensors by number, in the order in which they come.

The parameter, its gradient and its state are the first; each tensor that an op makes is the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, NamedTuple, TypeAlias

from costmodel.graph import OpCall, TensorSpec
from costmodel.records import dataclass
from costmodel.torch_private import OpOverload
from costmodel.trace.dispatch_cache import CachedOutput, View
from costmodel.trace.tensor_meta import TensorMeta
from costmodel.trace.tensor_table import TensorTable

Registers: TypeAlias = list[TensorSpec]


class Register(NamedTuple):
    """Stands for a tensor among an op's arguments."""

    number: int


class NotRepeatableError(Exception):
    """A sample of parameters does not say what happens to all."""


@dataclass(slots=True, eq=False)
class Step:
    """One op."""

    func: OpOverload
    template: CachedOutput | None
    """How it is answered in the sample; ``None`` where it is computed, as a counter of steps is."""
    call: OpCall | None
    """Its record where it is computed."""
    given: list[Any]
    """Arguments by position, ``Register`` in the place of tensors."""
    named: Mapping[str, Any]
    """Likewise those by keyword; of an op that is computed, all."""
    metas: list[object]
    """Shapes and dtypes of the tensors among its arguments, in the sample."""
    outputs: tuple[Register, ...]
    made: tuple[TensorSpec, ...]
    """Those of its outputs that are new, in the sample."""
    number: TensorSpec | None
    """A tensor that torch has just made of a number, without an op: its argument, in the sample."""

    _places: list[tuple[int, int]] = field(init=False)
    """Of tensors among the arguments by position: which is which register."""
    _names: list[tuple[str, int]] = field(init=False)
    """Likewise of those by keyword."""

    def __post_init__(self) -> None:
        self._places = [(i, value.number) for i, value in enumerate(self.given) if type(value) is Register]
        self._names = [(name, value.number) for name, value in self.named.items() if type(value) is Register]

    def text(self) -> str:
        """All that must be the same for all parameters."""
        as_sampled = [self.number, *(self.made if self.template is None else ())]
        kind = type(self.template).__name__
        return repr((str(self.func), kind, self.given, self.named, self.outputs, [str(spec) for spec in as_sampled]))

    def arguments(self, registers: Registers) -> tuple[list[Any], Mapping[str, Any]]:
        """The arguments for a parameter."""
        given = [*self.given]
        for place, number in self._places:
            given[place] = registers[number]
        if not self._names:
            return given, self.named
        return given, {**self.named, **{name: registers[number] for name, number in self._names}}

    def play(self, template: CachedOutput | None, registers: Registers, records: RecordTable) -> None:
        """Records the op for a parameter, by the answer for its shape."""
        log = records.log
        if self.number is not None:
            registers.append(records.made_of_number(self.number))
        given, named = self.arguments(registers)
        if template is None:
            self._repeat_call(registers, named, records)
        elif type(template) is View:
            base = given[0]
            alias = TensorSpec(base.shape, base.dtype, base.strides, base.storage, base.role, base.name, base.meta)
            registers.append(alias)
            log.events.append((template, given, named, (alias,), log.module))
        else:
            template.answer(records, (self.func, given, named, given, named))
            if self.made:
                registers += log.events[-1][3]  # type: ignore[index]  # it is no OpCall

    def _repeat_call(self, registers: Registers, named: Mapping[str, Any], records: RecordTable) -> None:
        assert self.call is not None
        log = records.log
        for spec in self.made:
            registers.append(copied(spec))
            log.add_storage(registers[-1], len(log.events))
        outputs = tuple([registers[register.number] for register in self.outputs])
        log.add_op(self.call.op, dict(named), outputs, self.call.inplace)


def copied(spec: TensorSpec) -> TensorSpec:
    """A tensor of the same kind, without a storage."""
    return TensorSpec(
        spec.shape, spec.dtype, spec.strides, -1, spec.role, spec.name, spec.meta, spec.trainable, spec.sparse
    )


class RecordTable(TensorTable):
    """A table in which records stand for tensors, so that what makes a tensor makes its record alone."""

    def make(self, meta: TensorMeta) -> tuple[Any, TensorSpec]:
        """A record on a storage of its own."""
        log = self.log
        spec = TensorSpec(meta.shape, meta.dtype, meta.strides, len(log.storage_specs), meta.role, "", meta)
        log.storage_specs.append(spec)
        log.allocated_at.append(len(log.events))
        return spec, spec

    def made_of_number(self, sample: TensorSpec) -> TensorSpec:
        """A tensor that torch makes of a number, which the next op takes."""
        spec = copied(sample)
        self.log.add_storage(spec, -1)
        self.log.first_seen_at[spec.storage] = len(self.log.events)
        return spec


class Life(NamedTuple):
    """How long a storage lives that a pass over the parameters makes."""

    register: int
    """A tensor on it."""
    freed_after: int | None
    """The op after which it is freed, counted from the parameter's first; ``None``: it is kept."""


@dataclass(frozen=True, slots=True)
class Run:
    """The ops of one parameter in one pass over all."""

    steps: list[Step]
    lives: list[Life]
    start: int
    """The index of the first op in the sample."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass over the parameters: for each, these ops."""

    steps: list[Step]
    lives: list[Life]
    lives_of_last: list[Life]
    """Those of what is made for the last parameter."""

    @classmethod
    def of(cls, runs: Sequence[Run]) -> Pass:
        """The pass in which these parameters were the sample; all do the same."""
        size = len(runs[0].steps)
        *before, last = runs
        for place, run in enumerate(runs):
            if run.start != runs[0].start + place * size or _texts(run) != _texts(runs[0]):
                raise NotRepeatableError
        lives = before[0].lives if before else last.lives
        if any(run.lives != lives for run in before) or _kept(lives) != _kept(last.lives):
            raise NotRepeatableError
        for found, end in ((lives, 2 * size), (last.lives, size)):
            if any(life.freed_after is not None and not 0 <= life.freed_after < end for life in found):
                raise NotRepeatableError
        return cls(last.steps, lives, last.lives)


def _texts(run: Run) -> list[str]:
    return [step.text() for step in run.steps]


def _kept(lives: Sequence[Life]) -> list[int]:
    return [life.register for life in lives if life.freed_after is None]


Answers: TypeAlias = list[list[list[CachedOutput | None]]]
"""How the ops of one kind of parameter are answered, by update, pass and step."""


@dataclass(slots=True, eq=False)
class Program:
    """What an optimizer does to each parameter of a group."""

    updates: list[list[Pass]] = field(default_factory=list)
    """The passes of the first update, and those of the second."""
    state: list[int] = field(default_factory=list)
    """The registers of its state."""
    answers: dict[tuple[object, ...], Answers] = field(default_factory=dict)
    """By the metadata of a parameter's registers before the first update."""
