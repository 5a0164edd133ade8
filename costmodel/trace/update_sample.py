"""Two updates of a few parameters, in a trace of their own: what an optimizer does to each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any, TypeAlias

import torch
from torch.optim import Optimizer

from costmodel.graph import OpCall, TensorSpec, tensors_in
from costmodel.records import dataclass
from costmodel.torch_private import OpOverload
from costmodel.trace.backward import StepLog
from costmodel.trace.dispatch_cache import NewTensor, NewTensors, View, Written
from costmodel.trace.executor import Executor, leaves, map_leaves
from costmodel.trace.step_recorder import StepRecorder
from costmodel.trace.storage_table import StorageTable
from costmodel.trace.tensor_table import TensorTable
from costmodel.trace.traced_tensor import TracedTensor, is_on_meta
from costmodel.trace.twins import TracedParameter
from costmodel.trace.update_program import (
    Life,
    NotRepeatableError,
    Pass,
    Program,
    Register,
    Registers,
    Run,
    Step,
    copied,
)

UPDATES = 2

_REPEATABLE = (NewTensor, NewTensors, Written, View)
_SAME_TENSOR = frozenset({"aten.detach.default", "aten.lift_fresh.default", "aten.alias.default"})
"""Views that are their argument in another object."""

_Owner: TypeAlias = tuple[int, int]
"""The parameter that an op is of: which group, and which of its parameters."""


def registers_before(optimizer: Optimizer, parameter: torch.Tensor, table: TensorTable) -> Registers:
    """A parameter's tensors before the first update."""
    assert parameter.grad is not None
    state = optimizer.state.get(parameter, {})
    return [table.spec(parameter), table.spec(parameter.grad), *(table.spec(state[name]) for name in sorted(state))]


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a sample shows of all parameters."""

    programs: list[Program]
    """By group."""
    attributes: frozenset[str]
    """Of an optimizer that has just been made."""
    states: list[dict[str, Any]]
    """What it then keeps for a parameter, by group."""

    def is_of(self, optimizer: Optimizer) -> bool:
        """Whether an optimizer is as it was made: not with a state of the user's, or a step, as schedulers wrap it."""
        return vars(optimizer).keys() == self.attributes and all(
            given.keys() == state.keys() and all(_is_same(given[name], state[name]) for name in state)
            for group, state in zip(optimizer.param_groups, self.states, strict=True)
            for given in [optimizer.state.get(p, {}) for p in group["params"]]
        )


class Sample:
    """An optimizer of the same class and settings, which updates stand-ins of some of the parameters."""

    def __init__(
        self, optimizer: Optimizer, groups: Sequence[Sequence[torch.Tensor]], table: TensorTable, executor: Executor
    ) -> None:
        self._log = StepLog()
        self._table = StorageTable(self._log)
        own = type(executor)(self._table, executor.model_device)
        recorder = _SampleRecorder(self._table, own)
        self._funcs = recorder.funcs
        self._groups = [[self._stand_in(p, table) for p in group] for group in groups]
        make: Callable[[Any], Optimizer] = type(optimizer)
        settings = [
            {**of_group, "params": group} for of_group, group in zip(optimizer.param_groups, self._groups, strict=True)
        ]
        with recorder:
            self._optimizer = make(settings)
        self._attributes = frozenset(vars(self._optimizer))
        states = [self._optimizer.state.get(group[0], {}) if group else {} for group in self._groups]
        self._states = [map_leaves(dict(state), torch.clone) for state in states]
        self._registers = [[registers_before(self._optimizer, p, self._table) for p in group] for group in self._groups]
        self._ends = [len(self._log.events)]
        with recorder:
            for _ in range(UPDATES):
                self._optimizer.step()
                self._ends.append(len(self._log.events))
        own.close()

    def _stand_in(self, parameter: torch.Tensor, table: TensorTable) -> torch.Tensor:
        gradient = parameter.grad
        assert gradient is not None
        twins = []
        for tensor, kind in ((parameter, TracedParameter), (gradient, TracedTensor)):
            twin = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
            twin.__class__ = kind
            spec = copied(table.spec(tensor))
            self._log.add_storage(spec, -1)
            twins.append(twin)
            self._table.bind(twin, spec)
        twins[0].requires_grad_()
        twins[0].grad = twins[1]
        return twins[0]

    def learn(self) -> Learnt | None:
        """What the sample shows; ``None`` where it does not show what happens to other parameters."""
        try:
            return Learnt(self._programs(), self._attributes, self._states)
        except NotRepeatableError:
            return None

    # -- its ops ------------------------------------------------------------------------------------------------------

    def _programs(self) -> list[Program]:
        """What is done to each parameter of each group."""
        if self._log.noted:
            raise NotRepeatableError
        self._table.drop_collected()
        owners = self._owners()
        found = [Program() for _ in self._groups]
        for start, end in pairwise(self._ends):
            for program in found:
                program.updates.append([])
            runs: dict[_Owner, Run] = {}
            for owner, indices in groupby(range(start, end), key=owners.__getitem__):
                group, place = owner
                if list(runs) != [(group, before) for before in range(place)]:
                    raise NotRepeatableError
                runs[owner] = self._run(list(indices), self._registers[group][place])
                if len(runs) == len(self._groups[group]):
                    found[group].updates[-1].append(Pass.of(list(runs.values())))
                    runs = {}
            if runs:
                raise NotRepeatableError
        for program, group_, registers in zip(found, self._groups, self._registers, strict=True):
            states = [self._state(p, known) for p, known in zip(group_, registers, strict=True)]
            if any(state != states[0] for state in states):
                raise NotRepeatableError
            program.state = states[0] if states else []
        return found

    def _state(self, parameter: torch.Tensor, registers: Registers) -> list[int]:
        """The registers of what the optimizer keeps for a parameter."""
        numbers = {id(spec): number for number, spec in enumerate(registers)}
        kept = [id(self._table.spec(tensor)) for tensor in leaves(self._optimizer.state.get(parameter, {}))]
        if not numbers.keys() >= set(kept):
            raise NotRepeatableError
        return [numbers[key] for key in kept]

    def _owners(self) -> Mapping[int, _Owner]:
        """Whose each op is. An op on none of a parameter's tensors is of those that what it makes is used with."""
        of_storage: dict[int, _Owner] = {}
        for i, group in enumerate(self._groups):
            for j, parameter in enumerate(group):
                kept = leaves(self._optimizer.state.get(parameter, {}))
                for spec in (*self._registers[i][j], *map(self._table.spec, kept)):
                    of_storage[spec.storage] = i, j
        events = range(self._ends[0], self._ends[-1])
        found: dict[int, _Owner] = {}
        for order in (reversed(events), events):
            for index in order:
                storages = {spec.storage for spec in self._tensors(index)}
                owners = {of_storage[storage] for storage in storages if storage in of_storage}
                if len(owners) == 1:
                    found[index] = owners.pop()
                    of_storage.update(dict.fromkeys(storages, found[index]))
                elif owners:
                    raise NotRepeatableError
        if len(found) < len(events):
            raise NotRepeatableError
        return found

    def _tensors(self, index: int) -> Iterable[TensorSpec]:
        event = self._log.events[index]
        return tensors_in((event.args, event.outputs) if isinstance(event, OpCall) else event[1:4])

    def _run(self, indices: Sequence[int], registers: Registers) -> Run:
        """The ops of one parameter; what they make is added to its registers."""
        size = len(registers)
        steps = [self._step(index, registers) for index in indices]
        lives = {}
        for number, spec in enumerate(registers[size:], size):
            if spec.storage not in lives and not any(spec.storage == known.storage for known in registers[:number]):
                freed = self._log.freed_after.get(spec.storage)
                lives[spec.storage] = Life(number, None if freed is None else freed - indices[0])
        return Run(steps, list(lives.values()), indices[0])

    def _step(self, index: int, registers: Registers) -> Step:
        log = self._log
        event = log.events[index]
        template: Any = None
        call: OpCall | None = None
        given: Sequence[Any]
        named: Mapping[str, Any]
        if isinstance(event, OpCall):
            call, given, named, outputs = event, [], event.args, event.outputs
        else:
            template, given, named, outputs, _ = event
        numbers = {id(spec): number for number, spec in enumerate(registers)}

        def add(spec: TensorSpec) -> None:
            numbers[id(spec)] = len(registers)
            registers.append(spec)

        made_of_number = None
        for spec in tensors_in((given, named)):
            if id(spec) not in numbers:
                if log.first_seen_at.get(spec.storage) != index or made_of_number is not None:
                    raise NotRepeatableError
                made_of_number = spec
                add(spec)

        metas = [spec.meta for spec in tensors_in((given, named))]

        def register(value: Any) -> Any:
            if type(value) is TensorSpec:
                return Register(numbers[id(value)])
            if type(value) in (list, tuple) and any(tensors_in(value)):
                raise NotRepeatableError
            return value

        given, named = [register(value) for value in given], {name: register(value) for name, value in named.items()}
        made = tuple([spec for spec in outputs if id(spec) not in numbers])
        for spec in made:
            add(spec)
        func = self._funcs[index]
        self._require_repeatable(func, template, registers, given, made, index)
        written = tuple([Register(numbers[id(spec)]) for spec in outputs])
        return Step(func, template, call, list(given), named, metas, written, made, made_of_number)

    def _require_repeatable(
        self, func: OpOverload, template: Any, registers: Registers, given: Sequence[Any],
        made: Sequence[TensorSpec], index: int,
    ) -> None:  # fmt: skip
        log = self._log
        if template is None:
            allocated = [i for i, at in enumerate(log.allocated_at) if at == index]
            if allocated != [spec.storage for spec in made]:
                raise NotRepeatableError
        elif type(template) is View:
            if str(func) not in _SAME_TENSOR or [spec.meta for spec in made] != [registers[given[0].number].meta]:
                raise NotRepeatableError
        elif type(template) not in _REPEATABLE or any(log.allocated_at[spec.storage] != index for spec in made):
            raise NotRepeatableError


def _is_same(given: object, new: object) -> bool:
    """Whether a part of an optimizer's state is as a new optimizer's; tensors without values may differ in shape."""
    if isinstance(given, torch.Tensor) and isinstance(new, torch.Tensor):
        return is_on_meta(given) == is_on_meta(new) and (is_on_meta(given) or torch.equal(given, new))
    return False


class _SampleRecorder(StepRecorder):
    """Notes the op that was called beside each that is recorded."""

    def __init__(self, table: TensorTable, executor: Executor) -> None:
        super().__init__(table, executor)
        self.funcs: dict[int, OpOverload] = {}

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] = {}
    ) -> Any:
        first = len(self._log.events)
        result = super().__torch_dispatch__(func, types, args, kwargs)
        for index in range(first, len(self._log.events)):
            self.funcs.setdefault(index, func)
        return result
