"""The updates of an optimizer that does the same for each parameter: traced for a few of them, repeated for all.

On a CPU torch's optimizers are loops over the parameters, with a dozen ops for each; and two updates are traced, as the
first makes the optimizer's state. What is repeated are ops that really ran: up to three parameters of each group are
updated twice by an optimizer of the same class and settings, in a trace of their own. They are a sample of all, if

- each op is of one parameter, and no two parameters share a tensor;
- the ops of all sampled parameters are the same, tensors apart, down to every number and in the same order;
- what is made for a parameter is freed after the same of its own ops or of the next parameter's, for all but the last
  one; what is made for the last is freed as it is for the last of all.

What an op returns for another shape, and what it allocates in between, is the answer of the dispatch cache or of the
op's rule, as ever. Where any of this does not hold, and for classes other than torch's own, the optimizer itself runs.
A step of ResNet-50 with AdamW takes 49 ms so, where it takes 112 when each op is traced.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.optim import ASGD, SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, Optimizer, RAdam, RMSprop

from costmodel.graph import tensors_in
from costmodel.torch_private import without_modes
from costmodel.torch_private.autograd import has_step_hooks
from costmodel.trace.dispatch_cache import CachedOutput, Dispatch, dispatch_cache
from costmodel.trace.events import EventLog
from costmodel.trace.executor import Executor
from costmodel.trace.plan import How, plans
from costmodel.trace.signature import signature
from costmodel.trace.tensor_table import TensorTable, lies_on_meta
from costmodel.trace.twins import TracedParameter
from costmodel.trace.update_program import Answers, NotRepeatableError, Pass, Program, RecordTable, Registers, Step
from costmodel.trace.update_sample import Learnt, Sample, registers_before

_CLASSES = (SGD, Adam, AdamW, NAdam, RAdam, Adamax, Adadelta, Adagrad, ASGD, RMSprop)
"""Whose update of a parameter depends on its own tensors and on the settings of its group alone, and takes the same ops
for every shape, each on tensors of one parameter. Muon's, Adafactor's and Rprop's do not, SparseAdam's are sparse."""

_SAMPLED = 3
"""Parameters of each group."""

_SAMPLES = 64
"""Samples whose result is kept."""

_KINDS = 1 << 12
"""Kinds of parameters whose answers are kept, for each group of a sample."""


def update_loop(optimizer: Optimizer, table: TensorTable, executor: Executor) -> UpdateLoop | None:
    """The first two updates of a new optimizer; ``None`` where it must run itself."""
    if type(optimizer) not in _CLASSES or not executor.fills_cache or has_step_hooks(optimizer):
        return None
    groups = [[p for p in group["params"] if p.grad is not None] for group in optimizer.param_groups]
    if sum(map(len, groups)) <= 2 * sum(min(len(group), _SAMPLED) for group in groups):
        return None  # the sample would take as long
    if any(isinstance(value, torch.Tensor) for group in optimizer.param_groups for value in group.values()):
        return None
    if not all(_is_plain(p) for group in groups for p in group):
        return None
    try:
        with without_modes():
            learnt = _learnt(optimizer, groups, table, executor)
            if learnt is None or not learnt.is_of(optimizer):
                return None
            return UpdateLoop(learnt.programs, optimizer, groups, table, executor)
    except NotRepeatableError:
        return None


def _learnt(
    optimizer: Optimizer, groups: Sequence[Sequence[torch.Tensor]], table: TensorTable, executor: Executor
) -> Learnt | None:
    """What a sample of these parameters shows: it is made once for all of its kind."""
    sampled = [group[:_SAMPLED] for group in groups]
    key: list[Any] = [type(optimizer), type(optimizer).step]
    for group, parameters in zip(optimizer.param_groups, sampled, strict=True):
        key.append(repr({name: value for name, value in group.items() if name != "params"}))
        key += [(table.spec(p).meta, table.spec(p.grad).meta) for p in parameters if p.grad is not None]
    known = dispatch_cache(executor.model_device).updates
    if tuple(key) not in known:
        if len(known) >= _SAMPLES:
            known.clear()
        known[tuple(key)] = Sample(optimizer, sampled, table, executor).learn()
    found: Learnt | None = known[tuple(key)]
    return found


def _is_plain(parameter: torch.Tensor) -> bool:
    gradient = parameter.grad
    assert gradient is not None
    is_dense = parameter.layout is torch.strided and gradient.layout is torch.strided
    return type(parameter) is TracedParameter and is_dense


class UpdateLoop:
    """Records the updates."""

    def __init__(
        self, programs: Sequence[Program], optimizer: Optimizer, groups: Sequence[Sequence[torch.Tensor]],
        table: TensorTable, executor: Executor,
    ) -> None:  # fmt: skip
        self._log = table.log
        self._groups = [
            _Group(program, [registers_before(optimizer, p, table) for p in group], executor)
            for program, group in zip(programs, groups, strict=True)
        ]

    def update(self, which: int) -> None:
        """Records the first update (0) or the second (1)."""
        records = RecordTable(self._log)
        for group in self._groups:
            group.update(which, records)

    def state(self) -> Iterator[int]:
        """The storages of the optimizer's state."""
        for group in self._groups:
            for registers in group.registers:
                yield from (registers[number].storage for number in group.program.state)

    def end(self) -> None:
        """The optimizer is gone, and all that it kept."""
        for group in self._groups:
            for storage in group.kept:
                self._log.freed_after[storage] = len(self._log.events) - 1


class _Group:
    """The parameters of one group that have gradients."""

    def __init__(self, program: Program, registers: list[Registers], executor: Executor) -> None:
        self.program, self.registers = program, registers
        self.kept: list[int] = []
        """Storages that live as long as the optimizer."""
        self._executor = executor
        self._cache = dispatch_cache(executor.model_device)
        self._templates: list[Answers] = []
        for before in registers:
            kind = tuple([spec.meta for spec in before])
            known = program.answers.get(kind)
            if known is None:
                if len(program.answers) >= _KINDS:
                    program.answers.clear()
                known = program.answers[kind] = self._answers(before)
            self._templates.append(known)

    def update(self, which: int, records: RecordTable) -> None:
        """One update of all, pass by pass."""
        for number, of_pass in enumerate(self.program.updates[which]):
            for place, registers in enumerate(self.registers):
                is_last = place == len(self.registers) - 1
                self._play(of_pass, self._templates[place][which][number], registers, records, is_last=is_last)

    def _play(
        self, of_pass: Pass, templates: Sequence[Any], registers: Registers, records: RecordTable, *, is_last: bool
    ) -> None:
        log = records.log
        start = len(log.events)
        for step, template in zip(of_pass.steps, templates, strict=True):
            step.play(template, registers, records)
        for number, freed_after in of_pass.lives_of_last if is_last else of_pass.lives:
            storage = registers[number].storage
            if freed_after is None:
                self.kept.append(storage)
            else:
                log.freed_after[storage] = start + freed_after

    def _answers(self, before: Registers) -> Answers:
        """How each op is answered for a parameter of this kind."""
        registers, records = list(before), RecordTable(EventLog())
        found: Answers = []
        for passes in self.program.updates:
            found.append([])
            for of_pass in passes:
                found[-1].append([])
                for step in of_pass.steps:
                    sampled = [*registers, step.number] if step.number is not None else registers
                    template = self._answer(step, sampled)
                    found[-1][-1].append(template)
                    step.play(template, registers, records)
        return found

    def _answer(self, step: Step, registers: Registers) -> CachedOutput | None:
        given, named = step.arguments(registers)
        tensors = list(tensors_in((given, named)))
        is_as_sampled = [spec.meta for spec in tensors] == step.metas
        if step.template is None and (is_as_sampled or not step.made):
            return None
        if not any(map(lies_on_meta, tensors)) and is_as_sampled:
            return step.template
        found = self._by_shape(step, given, named)
        if type(found) is not type(step.template):
            raise NotRepeatableError
        return found

    def _by_shape(self, step: Step, given: list[Any], named: Mapping[str, Any]) -> CachedOutput | None:
        """The answer of the dispatch cache, which learns it where it does not know it."""
        given, named, key = signature(step.func).read(given, named, _itself)
        known = self._cache.get(key)
        if known is not None:
            return known
        plan = plans().of(step.func)
        how, bound = plan.of(given, named)
        if how not in (How.RULE, How.INPLACE, How.VIEW) or (plan.rule is not None and plan.rule.observe is not None):
            return None
        call = Dispatch(step.func, given, named, given, named, key)
        answer = self._executor.answer(plan, how, call, bound)
        if not isinstance(answer, CachedOutput):
            return None
        self._cache.add(call, answer)
        return answer


def _itself(_: int, value: Any) -> Any:
    """Finds the record of what is its own record."""
    return value
