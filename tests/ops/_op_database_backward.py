"""torch's own operator database, differentiated: every op that a forward above autograd, and its backward, really run.

A sample runs on the CPU, where its ops are seen below autograd, and each distinct call is held to its rule. It runs on
meta tensors too, where its backward has to run the same ops.
"""

from __future__ import annotations

import random
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any

import torch
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from costmodel.errors import NeedsValuesError
from costmodel.graph import Arguments, OpCall, TensorSpec, is_sparse, tensors_in
from costmodel.ops import Rule, Torch, rule_of
from costmodel.quantities import Traffic, Work
from costmodel.trace.above_autograd import above_autograd
from costmodel.trace.executor import leaves, map_leaves
from costmodel.trace.plan import How, Plan, plan_for_sparse, plans
from costmodel.trace.signature import signature
from costmodel.trace.specs import copy_as_laid_out, empty_meta, spec_of, twin_on_meta
from tests.live_memory import allocations_of, peak
from tests.ops._op_database import BOOKKEEPING, MOST

DTYPES = ("float32", "bfloat16", "complex64")


@dataclass(frozen=True)
class Seen:
    """One call of an op on the CPU."""

    func: OpOverload
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    plan: Plan
    record: OpCall

    @property
    def key(self) -> str:
        """The same for calls that differ in values alone."""
        return f"{self.record.op} {self.record.args}"

    @property
    def rule(self) -> Rule | None:
        """The rule that a trace finds."""
        return rule_of(self.record)

    @property
    def depends_on_values(self) -> bool:
        """Whether torch says so of its outputs' shapes, or a sparse tensor stores as much as it stores."""
        return torch.Tag.dynamic_output_shape in self.func.tags or is_sparse(self.record)

    def again(self) -> Callable[[], Any]:
        """The same call, on copies of its tensors that are made now."""
        args, kwargs = map_leaves((list(self.args), dict(self.kwargs)), copy_as_laid_out)
        return lambda: self.func(*args, **kwargs)

    def told(self, rule: Rule) -> tuple[TensorSpec, ...] | None:
        """The outputs as a trace has them; ``None`` where they depend on values."""
        if self.plan.how is How.VIEW:
            views = self.func(*map_leaves(list(self.args), twin_on_meta), **map_leaves(dict(self.kwargs), twin_on_meta))
            return tuple(map(spec_of, leaves(views)))
        if isinstance(rule.outputs, Torch) or self.plan.how is How.INPLACE or self.plan.signature.outs:
            return self.record.outputs
        try:
            return tuple(tensors_in(rule.outputs(self.record.args)))
        except NeedsValuesError:
            return None

    def made(self, rule: Rule) -> list[TensorSpec] | None:
        """What the call allocates by its rule; ``None`` where that depends on values."""
        told = self.told(rule)
        if told is None or self.depends_on_values:
            return None
        new = () if self.plan.how in (How.VIEW, How.INPLACE) or self.plan.signature.outs else told
        return [*new, *rule.temporaries(self.record.args)]


class Watch(TorchDispatchMode):
    """Sees every op below autograd: how often each ran, and one of each distinct call."""

    def __init__(self) -> None:
        super().__init__()
        self.ran: Counter[str] = Counter()
        self.seen: dict[str, Seen] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        specs = [spec_of(t) for t in leaves((args, kwargs))]
        plan = plan_for_sparse(func, specs) if any(spec.sparse for spec in specs) else plans().of(func)
        self.ran[plan.op] += 1
        bound = signature(func).bind(*map_leaves((list(args), dict(kwargs)), spec_of))
        copies = map_leaves((list(args), dict(kwargs)), copy_as_laid_out)  # before the call, which may write them
        try:
            result = func(*args, **kwargs)
        except NotImplementedError:
            if not any(t.is_meta for t in leaves((args, kwargs))):
                raise
            # torch has no such kernel for meta tensors: the rule answers, as in a trace
            result = _answer(plan, bound)
        record = OpCall(plan.op, bound, tuple(map(spec_of, leaves(result))), inplace=plan.how is How.INPLACE)
        if plan.how is not How.UNTRACED:
            one = Seen(func, *copies, plan, record)
            self.seen.setdefault(one.key, one)
        return result


def _answer(plan: Plan, bound: Arguments) -> Any:
    """What an op returns on meta tensors, by its rule."""
    if plan.rule is None or isinstance(plan.rule.outputs, Torch) or plan.how is not How.RULE:
        raise NeedsValuesError(f"no shape rule of {plan.op}")
    outputs = plan.rule.outputs(bound)
    if isinstance(outputs, TensorSpec):
        return empty_meta(outputs)
    return tuple(None if spec is None else empty_meta(spec) for spec in outputs)


@dataclass(frozen=True)
class Step:
    """A sample and the gradient that arrives at its outputs."""

    run: Callable[..., Any]
    given: tuple[Any, ...]
    is_dense: bool
    """Whether that gradient has values of its own; else it is that of a sum: one number, expanded."""

    def on_meta(self) -> Step:
        """The same on meta tensors."""

        def twin(t: torch.Tensor) -> torch.Tensor:
            return twin_on_meta(t.detach()).requires_grad_(t.requires_grad)

        return Step(self.run, tree_map_only(torch.Tensor, twin, self.given), self.is_dense)

    def backward(self, forward: TorchDispatchMode, backward: TorchDispatchMode) -> bool:
        """Runs both, each watched; False where nothing has a gradient."""
        x, args, kwargs = self.given
        inputs = [t for t in tree_leaves(self.given) if isinstance(t, torch.Tensor) and t.requires_grad]
        with forward:
            y = self.run(x, *args, **kwargs)
        outputs = [t for t in tree_leaves(y) if isinstance(t, torch.Tensor) and t.requires_grad]
        if not inputs or not outputs:
            return False
        gradients = [self._gradient(t.detach()) for t in outputs]
        with backward:
            torch.autograd.grad(outputs, inputs, gradients, allow_unused=True)
        return True

    def _gradient(self, y: torch.Tensor) -> torch.Tensor:
        if y.layout is not torch.strided:
            return y
        if self.is_dense:
            return torch.rand_like(y, memory_format=torch.contiguous_format)
        return torch.ones((), dtype=y.dtype, device=y.device).expand(y.shape)


def steps(entry: Any, dtype: str) -> Iterator[Step]:
    """Up to so many samples, with a dense gradient and with an expanded one in turn; the same every time."""
    torch.manual_seed(0)
    random.seed(0)
    samples = entry.sample_inputs("cpu", getattr(torch, dtype), requires_grad=True)
    for i, sample in enumerate(islice(samples, MOST)):
        yield Step(entry.op, (sample.input, sample.args, sample.kwargs), is_dense=i % 2 == 0)


def _alike(told: TensorSpec, real: TensorSpec) -> bool:
    """Whether shape, dtype and, where they matter, strides are the same."""
    if (told.shape, told.dtype) != (real.shape, real.dtype):
        return False
    if 0 in told.shape or real.sparse is not None:
        return True
    return all(n == 1 or a == b for n, a, b in zip(told.shape, told.full_strides, real.full_strides, strict=True))


def _named(tensors: Iterable[TensorSpec]) -> str:
    return "; ".join(f"{t} of strides {t.full_strides}" for t in tensors)


def of_rule(one: Seen) -> Iterator[tuple[str, str]]:
    """Where outputs are not torch's, or work and traffic no counts: a kind of difference, and both sides."""
    rule = one.rule
    if rule is None:
        yield "no rule", one.record.op
        return
    told, real = one.told(rule), one.record.outputs
    if told is None and not one.depends_on_values:
        yield "outputs", f"the rule of {one.record.op} needs values"
    elif told is not None and not (len(told) == len(real) and all(map(_alike, told, real))):
        yield "outputs", f"{one.record.op}: ours {_named(told)}, torch's {_named(real)}"
    work, traffic = rule.work(one.record), rule.traffic(one.record)
    counts = [getattr(work, f.name) for f in fields(Work)] + [getattr(traffic, f.name) for f in fields(Traffic)]
    if any(type(n) is not int or n < 0 for n in counts):
        yield "cost", f"{one.record.op}: {work} {traffic}"


def of_allocator(calls: Sequence[Seen]) -> Iterator[tuple[str, str]]:
    """Where outputs and temporaries are not what the allocator gives to the call when it runs once more."""
    made = [(one, tensors) for one in calls if one.rule and (tensors := one.made(one.rule)) is not None]
    torch.manual_seed(0)
    results, found = allocations_of([one.again() for one, _ in made])
    for (one, tensors), result, allocated in zip(made, results, found, strict=True):
        ours, held = sum(t.nbytes for t in tensors), peak(allocated)
        if not isinstance(result, Exception) and abs(ours - held) > BOOKKEEPING:
            yield "temporaries", f"{one.record.op}: ours {ours} bytes, torch's {held}, of {one.record.args}"


def of_meta(step: Step, ran: Counter[str]) -> Iterator[tuple[str, str]]:
    """Where the backward runs other ops on meta tensors than on real ones."""
    watch = Watch()
    try:
        with above_autograd("cpu"):
            step.on_meta().backward(Watch(), watch)
    except Exception as error:
        yield "meta", repr(error)
    else:
        if watch.ran != ran:
            yield "meta", f"on meta {dict(watch.ran - ran)} instead of {dict(ran - watch.ran)}"


def differences_of(entry: Any, dtype: str) -> dict[str, str]:
    """The first difference of each kind in the samples of one dtype; nothing where torch has no gradient of it."""
    if not entry.supports_autograd or getattr(torch, dtype) not in entry.supported_backward_dtypes("cpu"):
        return {}
    found: dict[str, str] = {}
    forward, backward = Watch(), Watch()
    differs: list[tuple[str, str]] = []
    ran = failed = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for step in steps(entry, dtype):
            before = backward.ran.copy()
            try:
                ran += step.backward(forward, backward)
            except Exception:  # torch refuses what does not have a gradient here
                failed += 1
            else:
                differs += of_meta(step, backward.ran - before)
        for watch in (forward, backward):
            differs += [difference for one in watch.seen.values() for difference in of_rule(one)]
        differs += of_allocator(list(backward.seen.values()))
    for kind, text in differs:
        found.setdefault(kind, text)
    return found if ran or not failed else {"does not run": ""}
