"""``Rule``, all that is known of one aten op, and the registry of rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from enum import Enum
from typing import Any, TypeAlias

from costmodel.access import AccessMap
from costmodel.graph import Arguments, OpCall, TensorSpec, is_sparse
from costmodel.ops import files
from costmodel.ops.access import nothing
from costmodel.ops.complex_numbers import Arithmetic, by_parts
from costmodel.ops.registry import Registry
from costmodel.quantities import Traffic, Work
from costmodel.records import dataclass


class Torch(Enum):
    """Where a rule leaves its outputs to torch."""

    VIEW = "a view: torch's own view kernel is run, it is fast and moves nothing"
    META = "rare: torch's own meta kernel is run, slower than a shape rule"
    VALUE = "a Python value: torch reads it off a tensor, where the trace has the tensor's values"
    RESIZED = "the first argument under another shape, in other memory: only real tensors are resized"


TO = "aten._to_copy.default"
"""``Tensor.to``: a copy of another dtype, in another memory format or on another device. Autocast casts by it."""

Outputs: TypeAlias = TensorSpec | tuple[TensorSpec, ...]
Gradients: TypeAlias = tuple[TensorSpec | None, ...]
"""``None``: one that ``output_mask`` does not ask for."""


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
    outputs: Callable[[Arguments], Outputs | Gradients] | Torch
    """Shapes, dtypes and strides of what it returns (not called for in-place ops, which return their first argument).
    Of an op that writes into lists and returns nothing: those of its arguments that it writes into; ``META``: of all
    lists that its schema says are written.
    It raises ``NeedsValuesError`` where they depend on values, ``ValueError`` where the arguments do not fit."""
    work: Callable[[OpCall], Work]
    """Arithmetic, a number being one whatever its dtype: with complex numbers it is counted by parts, unless this is an
    ``Arithmetic``, which states both."""
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
    observe: Callable[[Mapping[str, Any]], dict[str, int]] | None = None
    """What a run on real tensors reads off the arguments' values, where cost depends on those. It is called before the
    op with tensors as they are, and ``work`` finds what it returned in ``call.args["observed"]``."""
    indices: Callable[[Mapping[str, Any]], Iterable[tuple[Any, range]]] | None = None
    """Of arguments with tensors as they are: each tensor of indices, and which of its values torch does not refuse."""

    def __post_init__(self) -> None:
        if type(self.work) is not Arithmetic:
            object.__setattr__(self, "work", by_parts(self.work))


RULES = Registry[Rule](files.RULES)
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
            if RULES.is_registered(target):
                raise ValueError(f"{target!r} has a rule already; an op has one rule")
            RULES[target] = rule


OF_NO_TORCH_OP = Registry[Rule](files.OF_NO_TORCH_OP)
"""Rules of what a trace records in the place of calls that it does not look into."""

SPARSE_RULES = Registry[Rule](files.SPARSE)
"""Rules of calls with a sparse argument or output, by target: no rule of ``RULES`` answers those, for it reads shapes.

A target may end in a layout, ``aten.t.default@coo``, and then is of calls whose first sparse tensor has that layout.
"""


def register_sparse(*rules: Rule) -> None:
    """Adds rules of calls with sparse tensors; a target that has one already is an error."""
    for rule in rules:
        for target in rule.targets:
            if SPARSE_RULES.is_registered(target):
                raise ValueError(f"{target!r} has a rule for sparse tensors already; an op has one")
            SPARSE_RULES[target] = replace(rule, bound_because=_or_uncounted(rule.bound_because))


QUANTISED_RULES = Registry[Rule](files.QUANTISED)
"""Rules of ops that take quantised tensors or packed weights, which no example of plain tensors calls."""


def register_quantised(*rules: Rule) -> None:
    """Adds rules of ops for quantised tensors; a target that has one already is an error."""
    for rule in rules:
        for target in rule.targets:
            if QUANTISED_RULES.is_registered(target) or RULES.is_registered(target):
                raise ValueError(f"{target!r} has a rule already; an op has one rule")
            QUANTISED_RULES[target] = rule


GPU_RULES = Registry[Rule](files.FOR_GPUS)
"""Rules of ops that no CPU runs."""


def register_for_gpus(*rules: Rule) -> None:
    """Adds rules of ops that no CPU runs; a target that has one already is an error."""
    for rule in rules:
        for target in rule.targets:
            if GPU_RULES.is_registered(target) or RULES.is_registered(target):
                raise ValueError(f"{target!r} has a rule already; an op has one rule")
            GPU_RULES[target] = rule


def _or_uncounted(bound_because: Callable[[OpCall], str | None] | None) -> Callable[[OpCall], str | None]:
    def because(call: OpCall) -> str | None:
        tensors = [*(t for _, t in call.tensors()), *call.outputs]
        if any(t.sparse is not None and t.sparse.nnz is None for t in tensors):
            return f"no value says how many elements of a sparse tensor of {call.op} are not zero; it counts as empty"
        return bound_because(call) if bound_because is not None else None

    return because


def find(op: str) -> Rule | None:
    """The rule of an op by its full name, if there is one, for dense tensors."""
    rule = RULES.get(op) or QUANTISED_RULES.get(op) or GPU_RULES.get(op)
    if rule is None:
        from costmodel.ops.third_party import load  # which imports this file

        return RULES.get(op) if load(op.partition(".")[0]) else OF_NO_TORCH_OP.get(op)
    return rule


def find_sparse(op: str, tensors: Iterable[TensorSpec]) -> Rule | None:
    """The rule of an op for tensors of which some are sparse."""
    layout = next(t.sparse.layout for t in tensors if t.sparse is not None)
    return SPARSE_RULES.get(f"{op}@{layout}") or SPARSE_RULES.get(op)


def rule_of(call: OpCall) -> Rule | None:
    """The rule of a call: sparse tensors have rules of their own."""
    if is_sparse(call):
        return find_sparse(call.op, (*(t for _, t in call.tensors()), *call.outputs))
    return find(call.op)


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
        read_bytes=sum(t.distinct_bytes for t in read),
        written_bytes=sum(t.distinct_bytes for t in written),
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


def fill(
    *targets: str,
    outputs: Callable[[Arguments], TensorSpec],
    examples: tuple[Example, ...],
    traffic: Callable[[OpCall], Traffic] = outputs_only,
    access: Callable[[OpCall, int], AccessMap] = nothing,
    source: str = "a fill: every element is written once",
) -> Rule:
    """The rule of an op that writes a tensor and reads none."""
    return Rule(
        targets=targets, kind=always("other"), outputs=outputs, work=no_work, traffic=traffic, access=access,
        temporaries=no_temporaries, fusible=False, source=source, free_because=None, examples=examples,
    )  # fmt: skip
