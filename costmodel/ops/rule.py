"""``Rule``, all that is known of one aten op, and the registry of rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

from costmodel.access import AccessMap
from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.quantities import Traffic, Work


class Torch(Enum):
    """Where a rule leaves its outputs to torch."""

    VIEW = "a view: torch's own view kernel is run, it is fast and moves nothing"
    META = "rare: torch's own meta kernel is run, slower than a shape rule"
    VALUE = "a Python value: torch reads it off a tensor, where the trace has the tensor's values"
    RESIZED = "the first argument under another shape, in other memory: only real tensors are resized"


Outputs: TypeAlias = TensorSpec | tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True)
class Example:
    """Arguments that the op takes: what the contract tests run with real torch. Integer tensors are all zeros."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


def example(*args: Any, **kwargs: Any) -> Example:
    """The arguments of one real call, tensors as ``TensorSpec``."""
    return Example(args, kwargs)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """All that is known of an op. Every field is required: an omission is a type error, and zero is a statement."""

    targets: tuple[str, ...]
    """``namespace.name.overload``; an in-place variant (``relu_``) belongs to the rule of its out-of-place variant."""
    kind: Callable[[OpCall], str]
    """The category, one of ``costmodel.ops.KINDS``."""
    outputs: Callable[[Arguments], Outputs] | Torch
    """Shapes, dtypes and strides of what it returns (not called for in-place ops, which return their first argument).
    It raises ``NeedsValuesError`` where they depend on values, ``ValueError`` where the arguments do not fit."""
    work: Callable[[OpCall], Work]
    traffic: Callable[[OpCall], Traffic]
    temporaries: Callable[[Arguments], Iterable[TensorSpec]]
    """What it allocates besides its outputs and frees before it returns (see ``costmodel.ops.temporaries``)."""
    access: Callable[[OpCall, int], AccessMap]
    """Which positions of each input the output of the given index depends on."""
    fusible: bool
    """Whether it can join the kernel that makes its input: elementwise ops and inference batch norms."""
    source: str
    """Where the definition is written down."""
    free_because: str | None
    """Why it costs neither arithmetic nor traffic, where it does not."""
    examples: tuple[Example, ...]
    bound_because: Callable[[OpCall], str | None] | None = None
    """Why the cost of a call is a lower bound, where it is; ``None``: shapes alone determine the cost of every call."""


class Registry(dict[str, Rule]):
    """Rules by target. It counts its changes, so that caches know when they are stale."""

    changes = 0

    def __setitem__(self, target: str, rule: Rule) -> None:
        self.changes += 1
        super().__setitem__(target, rule)

    def __delitem__(self, target: str) -> None:
        self.changes += 1
        super().__delitem__(target)


RULES = Registry()
"""Every rule by target."""

KINDS = (
    "standard conv", "depthwise conv", "pointwise conv", "grouped conv", "transposed conv", "linear", "matmul",
    "attention", "norm", "activation", "pool", "add", "multiply", "concat", "embedding", "recurrent", "resample",
    "view", "other",
)  # fmt: skip


def register(*rules: Rule) -> None:
    """Adds rules to the registry; a target that has one already is an error."""
    for rule in rules:
        for target in rule.targets:
            if target in RULES:
                raise ValueError(f"{target!r} has a rule already; an op has one rule")
            RULES[target] = rule


def find(op: str) -> Rule | None:
    """The rule of an op by its full name, if there is one."""
    return RULES.get(op)


def always(kind: str) -> Callable[[OpCall], str]:
    """The same kind whatever the arguments."""
    assert kind in KINDS, kind
    return lambda call: kind


def unique(tensors: Iterable[TensorSpec]) -> list[TensorSpec]:
    """The tensors, one that is passed twice (``x * x``) only once."""
    return list({id(t): t for t in tensors}.values())


def moved(read: Iterable[TensorSpec], written: Iterable[TensorSpec]) -> Traffic:
    """The traffic of a kernel that reads and writes whole tensors; expanded dimensions are stored, and read, once."""
    read, written = unique(read), list(written)
    return Traffic(
        read=sum(t.distinct for t in read),
        written=sum(t.distinct for t in written),
        read_bytes=sum(t.distinct * t.itemsize for t in read),
        written_bytes=sum(t.distinct * t.itemsize for t in written),
    )


def every_argument(call: OpCall) -> Traffic:
    """All tensor arguments read once, all outputs written once: what most kernels do."""
    return moved((t for _, t in call.tensors()), call.outputs)


def outputs_only(call: OpCall) -> Traffic:
    """Nothing read, all outputs written: fills."""
    return moved((), call.outputs)


def nothing_moves(call: OpCall) -> Traffic:
    """No traffic."""
    return Traffic()


def no_work(call: OpCall) -> Work:
    """No arithmetic."""
    return Work()


def no_temporaries(args: Arguments) -> Iterable[TensorSpec]:
    """Nothing is allocated but the outputs."""
    return ()


def free(
    *targets: str,
    because: str,
    kind: str,
    outputs: Callable[[Arguments], Outputs] | Torch,
    access: Callable[[OpCall, int], AccessMap],
    examples: tuple[Example, ...],
) -> Rule:
    """The rule of an op that neither computes nor moves anything, with the reason."""
    return Rule(
        targets=targets, kind=always(kind), outputs=outputs, work=no_work, traffic=nothing_moves, access=access,
        temporaries=no_temporaries, fusible=False, source="aten/src/ATen/native",
        free_because=because, examples=examples,
    )  # fmt: skip
