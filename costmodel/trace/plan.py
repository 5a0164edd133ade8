"""What is known of an op before any call of it: how it is answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum, auto
from typing import Any

import torch

from costmodel.graph import Arguments, TensorSpec, tensors_in
from costmodel.ops import COMPOSITES, RULES, Composite, Rule, Torch, find, find_sparse
from costmodel.ops.rule import TO, no_temporaries
from costmodel.records import dataclass
from costmodel.torch_private import OpOverload, is_composite
from costmodel.trace.events import Bind
from costmodel.trace.signature import Signature, signature


class How(Enum):
    """How a call is answered."""

    RULE = auto()
    """New tensors, by a rule."""
    COPY = auto()
    """Likewise, where it is a copy to another dtype or device."""
    VIEW = auto()
    """By torch's view kernel."""
    INPLACE = auto()
    """Its first argument, which it writes."""
    INPLACE_LISTS = auto()
    """Nothing: it writes into the tensors of its first list, and may into those of others."""
    RESIZE = auto()
    """Its first argument, whose memory it changes."""
    KERNEL = auto()
    """By torch's kernel for meta tensors, or for small tensors with values."""
    VALUE = auto()
    """A value, read off a tensor."""
    IDENTITY = auto()
    """Its first argument: it does nothing."""
    DECOMPOSE = auto()
    """By the ops that it is made of, which are traced in its place."""
    UNTRACED = auto()
    """By torch, with nothing recorded: a label for torch's profiler."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One for each op."""

    op: str
    """The op that is recorded."""
    how: How
    signature: Signature
    rule: Rule | None = None
    composite: Composite | None = None
    """Where calls of a composite op are recorded as calls of its core op, ``op``."""

    @property
    def temporaries(self) -> Callable[[Arguments], Iterable[TensorSpec]]:
        """What the op allocates and frees before it returns."""
        if self.composite is not None and self.composite.temporaries is not None:
            return self.composite.temporaries
        return no_temporaries if self.rule is None else self.rule.temporaries

    @property
    def allocates_unused(self) -> bool:
        """Whether further outputs of the core op are allocated, which a composite op does not return."""
        return self.composite is None or self.composite.temporaries is None

    def written(self, bound: Arguments) -> tuple[TensorSpec, ...]:
        """What an op that writes into lists writes into."""
        if self.rule is not None and callable(self.rule.outputs):
            return tuple(tensors_in(self.rule.outputs(bound)))
        return tuple(tensors_in([bound[name] for name in self.signature.written_names()]))

    @property
    def bind(self) -> Bind:
        """The arguments of the op that is recorded, from those of a call that was not decomposed."""
        return self.signature.bind if self.composite is None else self._bind_core

    def _bind_core(self, given: Sequence[Any], named: Mapping[str, Any]) -> Arguments:
        how, bound = self.of(given, named)
        assert how is not How.DECOMPOSE
        return bound

    def of(self, given: Sequence[Any], named: Mapping[str, Any]) -> tuple[How, Arguments]:
        """How a call is answered, and the arguments of the op that is recorded."""
        bound = self.signature.bind(given, named)
        if self.composite is None:
            return self.how, bound
        if self.composite.is_identity(bound):
            return How.IDENTITY, bound
        core = self.composite.arguments(bound)
        return (How.DECOMPOSE, bound) if core is None else (self.how, core)


class Plans(dict[int, Plan]):
    """The plans of ops seen so far, by the op's ``id()``; valid until a rule changes."""

    def __init__(self) -> None:
        self.changes = RULES.changes

    def of(self, func: OpOverload) -> Plan:
        """The plan for an op."""
        known = self.get(id(func))
        if known is None:
            known = self[id(func)] = _plan(func)
        return known


def plan_for_sparse(func: OpOverload, tensors: Sequence[TensorSpec]) -> Plan:
    """The plan for a call on tensors of which some are sparse."""
    op, sig = str(func), signature(func)
    rule = find_sparse(op, tensors)
    if rule is not None:
        return Plan(op, _by_rule(rule, sig), sig, rule)
    return Plan(op, How.DECOMPOSE if is_composite(func) else _by_torch(func, sig), sig)


_plans = Plans()


def plans() -> Plans:
    """The plans that are valid now: made anew where rules were added, removed or replaced since."""
    global _plans
    if _plans.changes != RULES.changes:
        _plans = Plans()
    return _plans


def _plan(func: OpOverload) -> Plan:
    op, sig = str(func), signature(func)
    rule, composite = find(op), COMPOSITES.get(op)
    if func.namespace == "profiler":
        return Plan(op, How.UNTRACED, sig)
    if rule is not None:
        return Plan(op, How.COPY if op == TO else _by_rule(rule, sig), sig, rule)
    if composite is not None and composite.core in RULES:
        rule = RULES[composite.core]
        return Plan(composite.core, _by_rule(rule, sig), sig, rule, composite)
    if is_composite(func):
        return Plan(op, How.DECOMPOSE, sig)
    return Plan(_without_out(func, sig), _by_torch(func, sig), sig)


def _by_rule(rule: Rule, sig: Signature) -> How:
    if rule.outputs is Torch.VIEW:
        return How.VIEW
    if rule.outputs is Torch.VALUE:
        return How.VALUE
    if rule.outputs is Torch.RESIZED:
        return How.RESIZE
    return _in_place(sig) or How.RULE


def _by_torch(func: OpOverload, sig: Signature) -> How:
    if torch.Tag.inplace_view in func.tags:
        return How.RESIZE
    if sig.outs:
        return How.KERNEL
    if sig.is_view:
        return How.VIEW
    return _in_place(sig) or How.KERNEL


def _in_place(sig: Signature) -> How | None:
    return How.INPLACE if sig.is_inplace else How.INPLACE_LISTS if sig.writes_lists else None


def _without_out(func: OpOverload, sig: Signature) -> str:
    """The overload that returns what this one writes into ``out``, where that has a rule: they cost the same."""
    if not sig.outs:
        return str(func)
    packet = func.overloadpacket
    twins = (getattr(packet, name) for name in packet.overloads())
    return next((str(twin) for twin in twins if signature(twin).takes == sig.takes and find(str(twin))), str(func))
